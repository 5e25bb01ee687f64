"""Attention in other operators becomes the operator where it computes the same, and nowhere else."""

import copy

import keras
import numpy as np
import pytest
import torch
from family_checks import check, close, kinds

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.graph import Anchor, Graph, Parameter, label
from leaky_interop.op import symbol
from leaky_interop.ops.attention import Attention, guarded_softmax, lowest
from leaky_interop.ops.bounds import Clip
from leaky_interop.ops.cast import Cast
from leaky_interop.ops.compare import Equal, Where
from leaky_interop.ops.expand import filled
from leaky_interop.ops.gather import Gather
from leaky_interop.ops.math import Add, Div, Mul
from leaky_interop.ops.matmul import MatMul
from leaky_interop.ops.noise import Dropout
from leaky_interop.ops.range import Triangle
from leaky_interop.ops.softmax import Softmax
from leaky_interop.passes.attention import recognise_attention

rng = np.random.default_rng(41)
HEADS, LENGTH, OTHER, SIZE, FEATURES = 2, 5, 7, 4, 3
LOW = -2e38


def drawn(*shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


def blind_rows(*shape):
    """Booleans, some rows of which allow nothing, one everything."""
    mask = rng.random(shape) < 0.6
    mask[..., 1, :], mask[..., 2, :] = False, True
    return mask


def seeing_rows(*shape):
    """Booleans that allow something in every row."""
    mask = rng.random(shape) < 0.4
    mask[..., 0] = True
    return mask


class Net:
    """A graph with q, k (its last axes turned), v and a mask as inputs; `made` is what a test makes of them."""

    def __init__(self, form, mask=None, dtype="float32", q=None, k=None, v=None, static=False):
        self.graph, self.dtype = Graph(), np.dtype(dtype)
        batch = 2 if static else symbol("batch")
        shapes = (
            q or (batch, HEADS, LENGTH, SIZE),
            k or (batch, HEADS, OTHER, SIZE),
            v or (batch, HEADS, OTHER, FEATURES),
        )
        self.q, self.k, self.v = (self.graph.input(n, s, dtype) for n, s in zip("qkv", shapes, strict=True))
        self.mask = None
        if mask is not None:
            self.mask = self.graph.input("mask", mask, bool if form.__name__.endswith("booleans") else dtype)
        made = form(self)
        self.graph.outputs = list(made) if isinstance(made, tuple) else [made]
        self.graph.output_names = [f"y{i}" for i in range(len(self.graph.outputs))]
        for i, node in enumerate(self.graph.nodes):
            node.name = f"block.attn.{type(node.op).__name__.lower()}_{i}"
            node.outputs[0].anchor = Anchor(node.name)
        label(self.graph)

    def scores(self, scale=0.3):
        product = MatMul()(self.q, self.k.transpose(*range(self.k.rank - 2), self.k.rank - 1, self.k.rank - 2))
        return product if scale is None else Mul()(product, scale)

    def weights(self, scores):
        return Softmax(axes=(scores.rank - 1,))(scores)

    def attend(self, weights):
        return MatMul()(weights, self.v)

    def over(self, scores):
        return self.attend(self.weights(scores))

    def constant(self, array, dtype=None):
        return self.graph.constant(array, dtype or self.dtype)

    def weight(self, array, name="block.attn.bias"):
        return self.graph.parameter(Parameter(name, array.shape, array.dtype, lambda: array, array, True))

    def arrays(self, batch, mask=None):
        shapes = [tuple(d if isinstance(d, int) else batch for d in v.shape) for v in (self.q, self.k, self.v)]
        return [*(drawn(*s, dtype=self.dtype) for s in shapes), *([] if mask is None else [mask])]


# --- what is taken ----------------------------------------------------------------------------------------------------


def plain(net):
    return net.over(net.scores())


def no_scale(net):
    return net.over(net.scores(None))


def divided(net):
    return net.over(Div()(net.scores(None), 4.0))


def number_first(net):
    return net.over(Mul()(net.constant(0.25), net.scores(None)))


def scaled_twice(net):
    return net.over(Mul()(net.scores(0.5), 0.5))


def negative(net):
    return net.over(net.scores(-0.5))


def turned_already(net):
    return net.over(MatMul()(net.q, net.k))


def query_scaled(net):
    net.q = Mul()(net.q, 0.3)
    return net.over(net.scores(None))


def added_constant(net):
    return net.over(Add()(net.scores(), net.constant(rng.standard_normal((LENGTH, OTHER)))))


def added_first(net):
    return net.over(Add()(net.constant(rng.standard_normal((HEADS, 1, OTHER))), net.scores()))


def added_infinities(net):
    return net.over(Add()(net.scores(), net.constant(np.where(seeing_rows(HEADS, LENGTH, OTHER), 0.5, -np.inf))))


def added_weight(net):
    return net.over(Add()(net.scores(), net.weight(drawn(1, HEADS, LENGTH, OTHER, dtype=net.dtype))))


def added_places_of_a_weight(net):
    table = net.weight(drawn(HEADS, 11, dtype=net.dtype))
    places = net.graph.constant(rng.integers(0, 11, (LENGTH, OTHER)))
    return net.over(Add()(net.scores(), Gather(axis=1)(table, places)))


def cleared_booleans(net):
    scores = Where()(net.mask, net.scores(), lowest(net.dtype))
    return net.attend(Where()(net.mask, net.weights(scores), 0.0))


def guarded_numbers(net):
    return net.attend(guarded_softmax(Add()(net.scores(), net.mask)))


def guarded_booleans(net):
    return net.attend(guarded_softmax(Where()(net.mask, net.scores(), -np.inf)))


def chosen_numbers_booleans(net):
    low = lowest(net.dtype)
    return net.over(Add()(net.scores(), Where()(net.mask, net.constant(0), net.constant(low))))


def constant_booleans(net):
    return net.over(Where()(net.graph.constant(seeing_rows(LENGTH, OTHER)), net.scores(), lowest(net.dtype)))


def filled_with_infinity(net):
    return net.over(Where()(net.graph.constant(~seeing_rows(HEADS, LENGTH, OTHER)), -np.inf, net.scores()))


TAKEN = (
    plain, no_scale, negative, divided, number_first, scaled_twice, turned_already, query_scaled, added_constant, added_first,
    added_infinities, added_weight, added_places_of_a_weight, constant_booleans, filled_with_infinity,
)  # fmt: skip
MASKED = (cleared_booleans, guarded_numbers, guarded_booleans, chosen_numbers_booleans)
MASKS = ((LENGTH, OTHER), (HEADS, 1, OTHER), ("batch", 1, LENGTH, OTHER), ("batch", HEADS, LENGTH, OTHER))


def taken(net, batches=(1, 2, 7), mask=None, to=("torch", "onnx")):
    """The graph with the operator: it gives what the graph before gave, by its definition and in every framework."""
    after = recognise_attention(net.graph)
    (node,) = (n for n in after.nodes if isinstance(n.op, Attention))
    assert not {"Softmax", "MatMul"} & set(kinds(after))
    assert node.outputs[0].anchor == net.graph.outputs[0].anchor
    assert node.name == "block.attn"
    models = [transfer_graph(after, framework).model for framework in to]
    for batch in batches:
        arrays = net.arrays(batch, None if mask is None else mask(batch))
        expected = net.graph.run(*arrays)
        close(after, arrays, expected, after.run(*arrays), "by its definition")
        for model in models:
            close(after, arrays, expected, li.run(model, arrays), type(model).__name__)
    return after, node


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("form", TAKEN, ids=lambda f: f.__name__)
def test_what_is_taken(form, dtype):
    turned = {"k": (symbol("batch"), HEADS, SIZE, OTHER)} if form is turned_already else {}
    after, node = taken(Net(form, dtype=dtype, **turned))
    scale = {no_scale: 1, negative: -0.5, divided: 0.25, number_first: 0.25, scaled_twice: 0.25, turned_already: 1, query_scaled: 1}
    assert node.op.scale == pytest.approx(scale.get(form, 0.3), rel=1e-3 if dtype == "float16" else 1e-7)
    assert kinds(after).count("Mul") == (1 if form is query_scaled else 0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", MASKS, ids=str)
@pytest.mark.parametrize("form", MASKED, ids=lambda f: f.__name__)
def test_masks_that_forbid_whole_rows(form, shape, dtype):
    net = Net(form, mask=tuple(symbol(d) if d == "batch" else d for d in shape), dtype=dtype)

    def mask(batch):
        allowed = (
            blind_rows(*(batch if d == "batch" else d for d in shape)) if LENGTH in shape else rng.random(shape) < 0.4
        )
        return allowed if net.mask.dtype == bool else np.where(allowed, drawn(*allowed.shape), -np.inf).astype(dtype)

    _, node = taken(net, mask=mask)
    assert (node.inputs[3].dtype == bool) == (form in (cleared_booleans, guarded_booleans))


@pytest.mark.parametrize("form", [plain, cleared_booleans, guarded_numbers], ids=lambda f: f.__name__)
@pytest.mark.parametrize("before", [(), (3,), (2, 1, 3)], ids=str)
def test_any_number_of_axes_before(before, form):
    shapes = {"q": (*before, 1, 6), "k": (*before, 9, 6), "v": (*before, 9, 1)}
    net = Net(form, mask=None if form is plain else (1, 9), **shapes)
    masks = {cleared_booleans: np.zeros((1, 9), bool), guarded_numbers: np.full((1, 9), -np.inf, np.float32)}
    _, node = taken(net, mask=None if form is plain else lambda batch: masks[form])
    assert node.outputs[0].shape == (*before, 1, 1)


def triangle_of_numbers(net):
    return net.over(Add()(net.scores(), net.constant(np.where(np.tri(LENGTH, dtype=bool), 0, -np.inf))))


def triangle_of_booleans(net):
    return net.over(Where()(net.graph.constant(np.tri(LENGTH, dtype=bool)), net.scores(), lowest(net.dtype)))


def triangle_filled(net):
    return net.over(Where()(net.graph.constant(~np.tri(LENGTH, dtype=bool)), -np.inf, net.scores()))


def triangle_guarded(net):
    mask = net.constant(np.where(np.tri(LENGTH, dtype=bool), 0, -np.inf))
    return net.attend(guarded_softmax(Add()(net.scores(), mask)))


def triangle_computed(net):
    ones = filled(net.graph, (net.q.shape[-2], net.k.shape[-2]), 1, net.dtype)
    seen = Triangle(upper=False, diagonal=0)(ones).cast(bool)
    return net.over(Where()(seen, net.scores(), -np.inf))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "form",
    [triangle_of_numbers, triangle_of_booleans, triangle_filled, triangle_guarded, triangle_computed],
    ids=lambda f: f.__name__,
)
def test_triangles_are_causal(form, dtype):
    batch = symbol("batch")
    rows = symbol("rows") if form is triangle_computed else LENGTH
    shapes = {"q": (batch, rows, SIZE), "k": (batch, rows, SIZE), "v": (batch, rows, FEATURES)}
    after, node = taken(Net(form, dtype=dtype, **shapes))
    assert node.op.causal and node.inputs[3] is None
    assert kinds(after) == ["Attention"]


def test_a_triangle_given_to_the_operator_is_causal():
    def form(net):
        return Attention(scale=0.3, causal=False)(
            net.q, net.k, net.v, net.graph.constant(np.tri(LENGTH, OTHER, dtype=bool))
        )

    net = Net(form)
    after = recognise_attention(net.graph)
    assert after.nodes[0].op == Attention(scale=0.3, causal=True)
    arrays = net.arrays(2)
    np.testing.assert_array_equal(after.run(*arrays)[0], net.graph.run(*arrays)[0])


# --- what is left -----------------------------------------------------------------------------------------------------


def weights_are_shown(net):
    weights = net.weights(net.scores())
    return net.attend(weights), weights


def scores_are_read_elsewhere(net):
    scores = net.scores()
    return net.over(scores), Mul()(scores, 2.0)


def product_is_shown(net):
    scores = net.scores(None)
    return net.over(Mul()(scores, 0.5)), scores


def weights_are_dropped(net):
    return net.attend(Dropout(rate=0.1)(net.weights(net.scores())))


def softmax_over_queries(net):
    return net.attend(Softmax(axes=(2,))(net.scores()))


def softmax_over_two_axes(net):
    return net.attend(Softmax(axes=(2, 3))(net.scores()))


def scale_of_each_head(net):
    return net.over(Mul()(net.scores(None), net.constant(rng.uniform(0.1, 1, (HEADS, 1, 1)))))


def scale_after_the_mask(net):
    return net.over(Mul()(Add()(net.scores(None), net.constant(rng.standard_normal((LENGTH, OTHER)))), 0.3))


def weights_are_scaled(net):
    return net.attend(Mul()(net.weights(net.scores()), 0.5))


def added_numbers_may_forbid(net):
    return net.over(Add()(net.scores(), net.mask))


def added_constant_forbids(net):
    return net.over(Add()(net.scores(), net.constant(np.where(blind_rows(LENGTH, OTHER), 0, -np.inf))))


def sum_of_lows_booleans(net):
    """Two of them together are -inf."""
    low = Where()(net.mask, net.constant(0), net.constant(lowest(net.dtype)))
    return net.over(Add()(net.scores(), Add()(low, low)))


def blind_rows_get_no_number_booleans(net):
    return net.over(Where()(net.mask, net.scores(), -np.inf))


def blind_rows_get_the_mean_booleans(net):
    return net.over(Where()(net.mask, net.scores(), LOW))


def constant_row_gets_the_mean(net):
    return net.over(Where()(net.graph.constant(blind_rows(LENGTH, OTHER)), net.scores(), LOW))


def low_is_not_low(net):
    return net.over(Where()(net.graph.constant(seeing_rows(LENGTH, OTHER)), net.scores(), -100.0))


def cleared_by_another_mask_booleans(net):
    weights = net.weights(Where()(net.mask, net.scores(), LOW))
    return net.attend(Where()(net.graph.constant(seeing_rows(LENGTH, OTHER)), weights, 0.0))


def triangle_cleared_by_another_mask_booleans(net):
    weights = net.weights(Where()(net.graph.constant(np.tri(LENGTH, OTHER, dtype=bool)), net.scores(), LOW))
    return net.attend(Where()(net.mask, weights, 0.0))


def added_triangle_cleared_by_another_mask_booleans(net):
    numbers = net.constant(np.where(np.tri(LENGTH, OTHER, dtype=bool), 0, -np.inf))
    return net.attend(Where()(net.mask, net.weights(Add()(net.scores(), numbers)), 0.0))


def added_and_cleared_booleans(net):
    return net.attend(Where()(net.mask, net.weights(Add()(net.scores(), net.constant(rng.standard_normal(OTHER)))), 0.0))


def scale_is_infinite(net):
    return net.over(net.scores(np.inf))


def one_row_of_a_triangle(net):
    """Every query sees the first key alone."""
    ones = filled(net.graph, (1, net.k.shape[-2]), 1, net.dtype)
    return net.over(Where()(Triangle(upper=False, diagonal=0)(ones).cast(bool), net.scores(), LOW))


def mask_from_afar(net):
    """What its lowest number is takes too many steps to see."""
    mask = Where()(net.graph.input("some", (OTHER,), bool), net.constant(0), net.constant(-1.0))
    for _ in range(2000):
        mask = Add()(mask, mask)
    return net.over(Add()(net.scores(), mask))


def cleared_to_one_booleans(net):
    return net.attend(Where()(net.mask, net.weights(Where()(net.mask, net.scores(), LOW)), 1.0))


def cleared_without_a_mask_booleans(net):
    return net.attend(Where()(net.mask, net.weights(net.scores()), 0.0))


def guard_is_higher_numbers(net):
    scores = Add()(net.scores(), net.mask)
    weights = net.weights(Clip(minimum=-1.0, maximum=None)(scores))
    return net.attend(Where()(Equal()(scores, -np.inf), 0.0, weights))


def guard_of_other_scores_numbers(net):
    scores = Add()(net.scores(), net.mask)
    weights = net.weights(Clip(minimum=LOW, maximum=None)(net.scores()))
    return net.attend(Where()(Equal()(scores, -np.inf), 0.0, weights))


def guard_of_another_number_numbers(net):
    scores = Add()(net.scores(), net.mask)
    weights = net.weights(Clip(minimum=LOW, maximum=None)(scores))
    return net.attend(Where()(Equal()(scores, -1.0), 0.0, weights))


def guard_of_a_finite_low_booleans(net):
    return net.attend(guarded_softmax(Where()(net.mask, net.scores(), LOW)))


def mask_makes_more_scores(net):
    return net.over(Add()(net.scores(), net.constant(rng.standard_normal((3, 1, 1, 1, OTHER)))))


def computed_in_another_dtype(net):
    return net.attend(Cast(dtype="float32")(net.weights(Cast(dtype="float64")(net.scores()))))


def key_broadcasts(net):
    return net.over(net.scores())


def value_broadcasts(net):
    return net.over(net.scores())


LEFT = (
    weights_are_shown, scores_are_read_elsewhere, product_is_shown, weights_are_dropped, softmax_over_queries,
    softmax_over_two_axes, scale_of_each_head, scale_after_the_mask, weights_are_scaled, added_numbers_may_forbid,
    added_constant_forbids, sum_of_lows_booleans, blind_rows_get_no_number_booleans, blind_rows_get_the_mean_booleans,
    constant_row_gets_the_mean, low_is_not_low, cleared_by_another_mask_booleans, cleared_to_one_booleans,
    cleared_without_a_mask_booleans, triangle_cleared_by_another_mask_booleans,
    added_triangle_cleared_by_another_mask_booleans, added_and_cleared_booleans, scale_is_infinite, one_row_of_a_triangle,
    mask_from_afar, guard_is_higher_numbers, guard_of_other_scores_numbers,
    guard_of_another_number_numbers, guard_of_a_finite_low_booleans, mask_makes_more_scores, computed_in_another_dtype,
    key_broadcasts, value_broadcasts,
)  # fmt: skip


@pytest.mark.parametrize("form", LEFT, ids=lambda f: f.__name__)
def test_what_only_looks_alike_is_left_alone(form):
    name = form.__name__
    mask = (LENGTH, OTHER) if name.endswith(("booleans", "numbers", "may_forbid")) else None
    rows = symbol("rows")
    shapes = {
        key_broadcasts: {"k": (1, HEADS, OTHER, SIZE)},
        value_broadcasts: {"v": (OTHER, FEATURES)},
        one_row_of_a_triangle: {"k": (2, HEADS, rows, SIZE), "v": (2, HEADS, rows, FEATURES)},
    }
    graph = Net(form, mask=mask, static=True, **shapes.get(form, {})).graph
    assert str(recognise_attention(graph)) == str(graph)


# --- what people and other exporters write ----------------------------------------------------------------------------


class ByHand(torch.nn.Module):
    """Attention as people write it, in a module of its own."""

    def __init__(self, weights):
        super().__init__()
        self.attn = torch.nn.Module()
        self.attn.qkv, self.attn.proj = torch.nn.Linear(8, 24), torch.nn.Linear(8, 8)
        self.attn.bias = torch.nn.Parameter(torch.randn(2, 5, 5))
        self.attn.forward = self.attend
        self.make_weights = weights

    def attend(self, x):
        batch, length, _ = x.shape
        q, k, v = self.attn.qkv(x).reshape(batch, length, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = self.make_weights(self.attn, q, k) @ v
        return self.attn.proj(y.transpose(1, 2).reshape(batch, length, 8))

    def forward(self, x):
        return self.attn(x)


BEFORE = torch.ones(5, 5, dtype=torch.bool).triu(1)
SPELLINGS = {
    "scores": lambda m, q, k: (q @ k.transpose(-2, -1) * 0.5).softmax(-1),
    "query": lambda m, q, k: ((q * 0.3) @ k.transpose(-2, -1)).softmax(-1),
    "divided": lambda m, q, k: torch.softmax(torch.matmul(q, k.permute(0, 1, 3, 2)) / 2.0, -1),
    "biased": lambda m, q, k: (q @ k.mT * 0.5 + m.bias).softmax(-1),
    "causal": lambda m, q, k: (q @ k.mT * 0.5).masked_fill(BEFORE, -torch.inf).softmax(-1),
    "added": lambda m, q, k: (q @ k.mT * 0.5 + torch.zeros(5, 5).masked_fill(BEFORE, -torch.inf)).softmax(-1),
}
X = drawn(2, 5, 8)


@pytest.mark.parametrize("name", SPELLINGS)
def test_attention_of_a_module_by_hand(name):
    model = ByHand(SPELLINGS[name]).eval()
    graph = check(model, X)
    (node,) = (n for n in graph.nodes if isinstance(n.op, Attention))
    assert node.name == "attn" and node.op.causal == (name in ("causal", "added"))
    back = transfer_graph(li.load(transfer_graph(graph, "onnx").model), "torch").model
    assert "scaled_dot_product_attention" in back.code or "MultiheadAttention" in str(back)
    assert torch.isfinite(copy.deepcopy(back).half()(torch.from_numpy(X).half())).all()


def nodes(model):
    """An ONNX model's nodes, all but where they came from."""
    return [(n.op_type, n.name, list(n.input), list(n.output), list(n.attribute)) for n in model.graph.node]


class Native(torch.nn.Module):
    def forward(self, q, k, v, mask=None):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.3)


@pytest.mark.parametrize("mask", ["none", "booleans", "numbers"])
def test_attention_comes_back_from_a_file_and_computes_in_float16(mask):
    allowed = blind_rows(3, 5, 7)
    masks = {"none": (), "booleans": (allowed,), "numbers": (np.where(allowed, 0.5, -np.inf).astype("f"),)}
    arrays = (drawn(3, 5, 4), drawn(3, 7, 4), drawn(3, 7, 2), *masks[mask])
    graph = check(Native(), *arrays)
    file = transfer_graph(graph, "onnx").model
    back = li.load(file)
    assert [n.op for n in back.nodes] == [n.op for n in graph.nodes] and kinds(back) == ["Attention"]
    assert nodes(transfer_graph(back, "onnx").model) == nodes(file)
    model = transfer_graph(back, "torch").model
    narrow = [torch.from_numpy(a) if a.dtype == bool else torch.from_numpy(a).half() for a in arrays]
    received = model.half()(*narrow)
    expected = Native()(*map(torch.from_numpy, arrays))
    torch.testing.assert_close(received.float(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("positive", [True, False])
def test_attention_in_a_branch(positive):
    class Choosing(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: (x @ x.mT * 0.5).softmax(-1) @ x, lambda x: x + 1, (x,))

    x = np.abs(drawn(2, 5, 4)) * (1 if positive else -1)
    graph = check(Choosing(), x)
    assert [type(n.op).__name__ for n in graph.all_nodes()].count("Attention") == 1


def test_attention_of_keras_functions():
    q, k = keras.Input((5, 4)), keras.Input((7, 4))
    scores = keras.ops.matmul(q, keras.ops.transpose(k, (0, 2, 1))) * 0.5
    graph = check(keras.Model([q, k], keras.ops.matmul(keras.ops.softmax(scores), k)), drawn(2, 5, 4), drawn(2, 7, 4))
    assert kinds(graph) == ["Attention"]


def test_two_of_one_layer_keep_names_apart():
    def form(net):
        first = net.over(net.scores())
        return MatMul()(net.weights(Mul()(MatMul()(first, first.transpose(0, 1, 3, 2)), 0.5)), first)

    after = recognise_attention(Net(form).graph)
    assert kinds(after) == ["Attention", "Attention"]
    assert [n.name for n in after.nodes] == ["block.attn", "block.attn.matmul_9"]
