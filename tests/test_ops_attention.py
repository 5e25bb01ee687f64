"""Attention in every native spelling."""

import keras
import numpy as np
import pytest
import torch
from family_checks import ALL, check, kinds, onnx_model

import leaky_interop as li
from leaky_interop.numeric import compare, sum_limit
from leaky_interop.op import CASES
from leaky_interop.ops.attention import Attention

rng = np.random.default_rng(14)
BATCH, LENGTH, OTHER, SIZE = 2, 5, 4, 6
QUERY = rng.standard_normal((BATCH, LENGTH, SIZE)).astype(np.float32)
VALUE = rng.standard_normal((BATCH, OTHER, SIZE)).astype(np.float32)
MASK = rng.random((BATCH, LENGTH, OTHER)) < 0.5
MASK[0, 1], MASK[1, 2] = False, True  # a row that forbids everything, and one that allows it


def keras_model(layer, *, mask=False, length=LENGTH, **call):
    """A layer between a query and a value, its biases not zeros."""
    inputs = [keras.Input((length, SIZE)), keras.Input((OTHER, SIZE))]
    given = {}
    if mask:
        inputs.append(keras.Input(MASK.shape[1:], dtype="bool"))
        given = {"attention_mask": inputs[-1]}
    model = keras.Model(inputs, layer(*inputs[:2], **given, **call))
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape).astype(np.float32) * 0.5)
    return model


# --- Keras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"value_dim": 5}, {"output_shape": 7}, {"output_shape": (3, 2)}, {"use_bias": False}],
    ids=["plain", "value_dim", "output_shape", "output_shapes", "no_bias"],
)
def test_multi_head_attention(settings):
    graph = check(keras_model(keras.layers.MultiHeadAttention(2, 3, **settings)), QUERY, VALUE)
    assert kinds(graph).count("Attention") == 1
    assert kinds(graph).count("Dense") == 4
    assert graph.nodes[0].op is not None
    assert len(graph.parameters()) == (8 if settings.get("use_bias", True) else 4)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("scores", [True, False])
def test_masks_and_scores(causal, mask, scores):
    layer = keras.layers.MultiHeadAttention(2, 3)
    model = keras_model(layer, mask=mask, use_causal_mask=causal, return_attention_scores=scores)
    graph = check(model, QUERY, VALUE, *((MASK,) if mask else ()))
    assert len(graph.outputs) == 1 + scores


@pytest.mark.parametrize("mask", [True, False])
def test_dropout_of_scores_is_kept(mask):
    model = keras_model(keras.layers.MultiHeadAttention(2, 3, dropout=0.3), mask=mask)
    graph = check(model, QUERY, VALUE, *((MASK,) if mask else ()))
    assert kinds(graph).count("Dropout") == 1


@pytest.mark.parametrize("axes", [None, (1, 2), (2,), (1,), (-2,)], ids=str)
@pytest.mark.parametrize("scores", [False, True])
def test_attention_over_several_axes(axes, scores):
    inputs = keras.Input((3, 4, SIZE))
    x = rng.standard_normal((BATCH, 3, 4, SIZE)).astype(np.float32)
    layer = keras.layers.MultiHeadAttention(2, 3, attention_axes=axes)
    check(keras.Model(inputs, layer(inputs, inputs, return_attention_scores=scores)), x)


@pytest.mark.parametrize("kind", ["multi", "grouped"])
@pytest.mark.parametrize("settings", [{"sliding_window": 2}, {"use_gate": True}, {"sliding_window": 3, "dropout": 0.2}], ids=str)
@pytest.mark.parametrize("call", [{}, {"use_causal_mask": True}, {"return_attention_scores": True}], ids=str)
def test_windows_and_gates(kind, settings, call):
    layers = {"multi": lambda: keras.layers.MultiHeadAttention(2, 3, **settings),
              "grouped": lambda: keras.layers.GroupQueryAttention(3, 4, 2, **settings)}  # fmt: skip
    check(keras_model(layers[kind](), **call), QUERY, VALUE)


def test_windows_over_an_open_length():
    inputs = keras.Input((None, SIZE))
    layer = keras.layers.MultiHeadAttention(2, 3, sliding_window=2)
    model = keras.Model(inputs, layer(inputs, inputs, use_causal_mask=True))
    for length in (1, 6):
        check(model, rng.standard_normal((BATCH, length, SIZE)).astype(np.float32))


def test_a_key_of_its_own_and_an_open_length():
    query, value, key = (keras.Input((n, SIZE)) for n in (None, OTHER, OTHER))
    model = keras.Model([query, value, key], keras.layers.MultiHeadAttention(2, 3)(query, value, key=key))
    for length in (1, 6):
        check(model, rng.standard_normal((BATCH, length, SIZE)).astype(np.float32), VALUE, VALUE[::-1].copy())


WITH_MASKS = {
    "multi": lambda a, b: keras.layers.MultiHeadAttention(2, 3)(a, b),
    "multi_causal": lambda a, b: keras.layers.MultiHeadAttention(2, 3)(a, b, use_causal_mask=True),
    "grouped": lambda a, b: keras.layers.GroupQueryAttention(3, 4, 2)(a, b),
    "dot": lambda a, b: keras.layers.Attention()([a, b]),
    "additive": lambda a, b: keras.layers.AdditiveAttention()([a, b]),
    "twice": lambda a, b: keras.layers.MultiHeadAttention(2, 3)(a, keras.layers.MultiHeadAttention(2, 3)(b, a)),
    "query_again": lambda a, b: keras.layers.Add()(
        [keras.layers.MultiHeadAttention(2, 3)(a, b), keras.layers.MultiHeadAttention(2, 4)(a, b)]
    ),
}


@pytest.mark.parametrize("kind", WITH_MASKS)
def test_masks_that_come_along(kind):
    one, other = (keras.Input((n,), dtype="int32") for n in (LENGTH, OTHER))
    embedded = [keras.layers.Embedding(4, SIZE, mask_zero=True)(x) for x in (one, other)]
    model = keras.Model([one, other], WITH_MASKS[kind](*embedded))
    check(model, *(rng.integers(0, 4, (BATCH, n)).astype(np.int32) for n in (LENGTH, OTHER)))


def test_the_mask_of_a_query_counts_only_where_it_comes_along():
    query, value, mask = keras.Input((LENGTH, SIZE)), keras.Input((OTHER, SIZE)), keras.Input((LENGTH,), dtype="bool")
    layer = keras.layers.MultiHeadAttention(2, 3)
    model = keras.Model([query, value, mask], layer(query, value, query_mask=mask))
    check(model, QUERY, VALUE, rng.random((BATCH, LENGTH)) < 0.5)


@pytest.mark.parametrize("kind", ["dot", "additive"])
def test_masks_given_as_a_list(kind):
    layer = keras.layers.Attention() if kind == "dot" else keras.layers.AdditiveAttention()
    query, value = keras.Input((LENGTH, SIZE)), keras.Input((OTHER, SIZE))
    masks = [keras.Input((n,), dtype="bool") for n in (LENGTH, OTHER)]
    given = [np.ones((BATCH, n), bool) for n in (LENGTH, OTHER)]
    given[0][:, 1] = given[1][:, 0] = False
    check(keras.Model([query, value, *masks], layer([query, value], mask=masks)), QUERY, VALUE, *given)


def test_a_mask_of_numbers_that_are_known_is_not_lost():
    x = keras.Input((3, 2, 5))
    mask = np.tri(3, dtype=bool)[None, None]
    model = keras.Model(x, keras.ops.dot_product_attention(x, x, x, mask=mask))
    check(model, rng.standard_normal((BATCH, 3, 2, 5)).astype(np.float32))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_query_attention(groups):
    check(keras_model(keras.layers.GroupQueryAttention(3, 4, groups)), QUERY, VALUE)


SINGLE = {
    "scaled": lambda: keras.layers.Attention(use_scale=True),
    "concat": lambda: keras.layers.Attention(score_mode="concat"),
    "additive": keras.layers.AdditiveAttention,
}


@pytest.mark.parametrize("kind", SINGLE)
@pytest.mark.parametrize("call", [{}, {"use_causal_mask": True}, {"return_attention_scores": True}], ids=str)
def test_single_headed_attention(kind, call):
    layer = SINGLE[kind]()
    check(keras_model(lambda a, b: layer([a, b], **call)), QUERY, VALUE)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("given", ["nothing", "mask", "bias"])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_the_function_of_keras(causal, given, scale):
    if causal and given == "bias":
        pytest.skip("Keras drops one of the two, which one depends on the backend")
    heads, kv_heads = 4, 2
    shapes = [(LENGTH, heads, 3), (OTHER, kv_heads, 3), (OTHER, kv_heads, 3)]
    inputs = [keras.Input(s) for s in shapes]
    arrays = [rng.standard_normal((BATCH, *s)).astype(np.float32) for s in shapes]
    more = {}
    if given == "mask":
        inputs.append(keras.Input((1, LENGTH, OTHER), dtype="bool"))
        arrays.append(MASK[:, None])
        more = {"mask": inputs[-1]}
    elif given == "bias":
        inputs.append(keras.Input((heads, LENGTH, OTHER)))
        arrays.append(rng.standard_normal((BATCH, heads, LENGTH, OTHER)).astype(np.float32))
        more = {"bias": inputs[-1]}
    result = keras.ops.dot_product_attention(*inputs[:3], scale=scale, is_causal=causal, **more)
    check(keras.Model(inputs, result), *arrays)


# --- PyTorch ----------------------------------------------------------------------------------------------------------


class Function(torch.nn.Module):
    """scaled_dot_product_attention with settings."""

    def __init__(self, **settings):
        super().__init__()
        self.settings = settings

    def forward(self, q, k, v, mask=None):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, **self.settings)


def heads(count, length=LENGTH, size=3):
    return rng.standard_normal((BATCH, count, length, size)).astype(np.float32)


@pytest.mark.parametrize(
    "settings", [{}, {"is_causal": True}, {"scale": 0.7}, {"is_causal": True, "scale": 1.0}], ids=str
)
def test_the_function_of_torch(settings):
    graph = check(Function(**settings), heads(2), heads(2, OTHER), heads(2, OTHER, 4))
    op = next(n.op for n in graph.nodes if isinstance(n.op, Attention))
    assert op.causal == settings.get("is_causal", False)
    assert op.scale == pytest.approx(settings.get("scale", 3**-0.5), rel=1e-12)


def test_fewer_heads_of_keys():
    check(Function(enable_gqa=True), heads(4), heads(2, OTHER), heads(2, OTHER))


@pytest.mark.parametrize("counts", [(4, 1, 1), (1, 3, 3), (2, 1, 2)], ids=str)
def test_a_single_head_is_every_heads(counts):
    q, k, v = counts
    check(Function(), heads(q), heads(k, OTHER), heads(v, OTHER, 4))


NUMBERS = rng.standard_normal((BATCH, 2, LENGTH, OTHER)).astype(np.float32)


@pytest.mark.parametrize("mask", [MASK[:, None], NUMBERS], ids=["bool", "float"])
def test_masks_of_torch(mask):
    """A row that forbids everything is zeros in every framework, as it is in PyTorch."""
    graph = check(Function(), heads(2), heads(2, OTHER), heads(2, OTHER), mask)
    (y,) = graph.run(heads(2), heads(2, OTHER), heads(2, OTHER), mask)
    assert (mask.dtype == bool) == (not y[0, :, 1].any())


class Wrapped(torch.nn.Module):
    """nn.MultiheadAttention on two sequences."""

    def __init__(self, settings, **call):
        super().__init__()
        self.attention, self.call = torch.nn.MultiheadAttention(SIZE, 2, **settings), call

    def forward(self, q, k):
        y, weights = self.attention(q, k, k, **self.call)
        return y if weights is None else (y, weights)


@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
@pytest.mark.parametrize("call", [{}, {"need_weights": False}, {"average_attn_weights": False}], ids=str)
def test_multi_head_attention_of_torch(settings, call):
    check(Wrapped({"batch_first": True, **settings}, **call), QUERY, VALUE, static_batch=bool(settings))


def test_masks_of_multi_head_attention_of_torch():
    causal = torch.ones(LENGTH, OTHER, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * OTHER, [False, False, True, True]])
    model = Wrapped({"batch_first": True}, attn_mask=causal, key_padding_mask=padding, need_weights=False)
    check(model, QUERY, VALUE, static_batch=True)


@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_encoder(norm_first):
    layer = torch.nn.TransformerEncoderLayer(SIZE, 2, 8, batch_first=True, norm_first=norm_first, activation="gelu")
    graph = check(torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), QUERY)
    assert kinds(graph).count("Attention") == 2
    assert kinds(graph).count("LayerNorm") == 4


def test_transformer_decoder():
    layer = torch.nn.TransformerDecoderLayer(SIZE, 2, 8, batch_first=True)
    check(layer, QUERY, VALUE)


# --- ONNX -------------------------------------------------------------------------------------------------------------


def attention_model(data, mask=None, **attributes):
    return onnx_model("Attention", data, [mask] if mask is not None else [], opset=23, **attributes)


@pytest.mark.parametrize("attributes", [{}, {"is_causal": 1}, {"scale": 0.7}], ids=str)
def test_onnx_attention(attributes):
    data = [heads(2), heads(2, LENGTH), heads(2, LENGTH, 4)]
    check(attention_model(data, **attributes), *data)


def test_onnx_heads_in_the_features():
    data = [rng.standard_normal((BATCH, n, s)).astype(np.float32) for n, s in ((LENGTH, 12), (OTHER, 6), (OTHER, 6))]
    check(attention_model(data, q_num_heads=4, kv_num_heads=2), *data)


@pytest.mark.parametrize("mask", [MASK[0, 2:], NUMBERS[0, 0, 2:]], ids=["bool", "float"])
def test_onnx_masks(mask):
    data = [heads(2, 3), heads(2, OTHER), heads(2, OTHER)]
    check(attention_model(data, mask), *data)


# --- bounds -----------------------------------------------------------------------------------------------------------


def faults(case):
    op, arrays = case.op, case.arrays()
    yield "scale", Attention(scale=op.scale * 1.001, causal=op.causal), arrays
    yield "keys in another order", op, [arrays[0], arrays[1][..., ::-1, :], *arrays[2:]]
    if op.causal:
        yield "not causal", Attention(scale=op.scale, causal=False), arrays
    if arrays[3] is not None:
        yield "mask dropped", op, [*arrays[:3], None]


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("attention/") and "float16" not in n])
def test_the_bound_notices_faults(name):
    case = CASES[name]
    right = case.op.reference(*case.arrays())
    length, magnitude = case.op.terms(*case.arrays())
    limit = sum_limit(length, magnitude, right.dtype)
    assert np.median(limit / np.maximum(np.abs(right), 0.1)) < 1e-4
    for fault, op, operands in faults(case):
        assert compare(right, op.reference(*operands), limit).ratio > 1, f"{fault} passes"


def test_every_framework_converts_to_every_other():
    model = keras_model(keras.layers.MultiHeadAttention(2, 3), mask=True)
    arrays = (QUERY, VALUE, MASK)
    for framework in ALL:
        check(li.convert(model, to=framework), *arrays)
