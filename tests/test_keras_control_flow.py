"""Control flow of keras.ops in layers, models and functional graphs: what it becomes, and where it can go."""

import inspect

import keras
import numpy as np
import pytest
from keras.src.ops import core

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.ops.control import If, Loop, Scan
from leaky_interop.verification import verify_conversion

ops = keras.ops
BACKEND = keras.backend.backend()
TARGETS = ("onnx", "torch", "keras")
KINDS = (
    core.Cond,
    core.Switch,
    core.WhileLoop,
    core.ForiLoop,
    core.Scan,
    core.Map,
    core.VectorizedMap,
    core.AssociativeScan,
)


class Subclassed(keras.Model):
    def __init__(self, code):
        super().__init__()
        self.code = code
        self.dense = keras.layers.Dense(4)
        self.first = keras.layers.Dense(4, activation="tanh")
        self.w = self.add_weight(shape=(4,), initializer="random_normal", name="w")

    def call(self, x):
        return self.code(self, x)


def net_of(code, *shape):
    net = Subclassed(code)
    for layer in (net.dense, net.first):
        layer.build((None, 4))
    net(np.ones((2, *shape), np.float32))
    for weight in net.weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(size=weight.shape) / 2)
    return net


def inputs(*shape, batches=(1, 2, 3, 7)):
    random = np.random.default_rng(0)
    return [random.normal(size=(b, *shape)).astype(np.float32) * sign for b in batches for sign in (1, -1)]


def assert_same(net, arrays, targets=TARGETS, tolerance=1e-5, **options):
    """The network and what is made of it give the same for every array; the graph."""
    graph = li.load(net, arrays[0], **options)
    for to in targets:
        done = transfer_graph(graph, to)
        report = verify_conversion(done)
        assert report.passed, str(report)
        for array in arrays:
            for wanted, got in zip(li.run(net, [array]), li.run(done.model, [array]), strict=True):
                assert wanted.shape == got.shape and wanted.dtype == got.dtype
                np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    return graph


def kinds(graph):
    return {type(node.op) for node in graph.all_nodes()} & {If, Loop, Scan}


def branches(net, x):
    y = ops.relu(x) + 1
    return ops.cond(ops.sum(x) > 0, lambda: net.dense(y) * net.w, lambda: net.first(y) - net.w)


def nested_results(net, x):
    found = ops.cond(
        ops.mean(x) > 0, lambda: {"a": x, "b": (x * 2, ops.sum(x))}, lambda: {"a": -x, "b": (x, ops.max(x))}
    )
    return found["a"] + found["b"][0], found["b"][1]


def constants(net, x):
    return x * ops.cond(ops.sum(x) > 0, lambda: 2.0, lambda: -1.5)


def branches_within(net, x):
    def inner():
        return ops.cond(ops.max(x) > 1, lambda: x * net.w, lambda: net.dense(x))

    return ops.cond(ops.sum(x) > 0, inner, lambda: x)


def switched(net, x):
    return ops.switch(ops.cast(ops.sum(x), "int32"), [lambda a: a * 2, net.dense, lambda a: a * net.w], x)


def counted(net, x):
    return ops.fori_loop(2, 6, lambda i, s: ops.tanh(s * net.w + ops.cast(i, "float32")) + x, x)


def from_zeros(net, x):
    return ops.fori_loop(0, 4, lambda i, s: s + x[:, i], ops.zeros(())) if x.shape[0] == 1 else ops.fori_loop(
        0, 4, lambda i, s: s + ops.take(x, i, axis=1), ops.zeros_like(x[:, 0]))  # fmt: skip


def computed_count(net, x):
    rounds = ops.cast(ops.abs(ops.sum(x)), "int32")
    return ops.fori_loop(0, rounds, lambda i, s: s * 0.5 + net.dense(x), x), ops.fori_loop(
        rounds, 9, lambda i, s: s + i, rounds
    )


def until(net, x):
    def going(i, state):
        return ops.logical_and(ops.sum(state["a"]) < 100.0, i < 20)

    def step(i, state):
        return i + 1, {"a": net.dense(state["a"]) * 2 + x, "b": state["b"] + ops.cast(i, "float32") * net.w}

    steps, state = ops.while_loop(going, step, (0, {"a": x, "b": ops.zeros_like(x)}))
    return state["a"], state["b"], steps


def at_most(net, x):
    return ops.while_loop(lambda s: ops.sum(s) < 50.0, lambda s: s + ops.abs(x) + 0.1, x, maximum_iterations=3)


def loops_within(net, x):
    def outer(i, s):
        return ops.fori_loop(0, 3, lambda j, t: ops.cond(ops.sum(t) > 0, lambda: t * net.w - x, lambda: t + x), s)

    return ops.fori_loop(0, 2, outer, x)


def reshaped(net, x):
    def step(i, s):
        return ops.reshape(ops.reshape(s, (ops.shape(x)[0], 2, 2)) * 2, ops.shape(x)) + x

    return ops.fori_loop(0, 3, step, x)


def counted_by_itself(net, x):
    return ops.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, ops.tanh(s) * net.w), (0, x))


def of_the_batch(net, x):
    n = ops.shape(x)[0]
    twice = ops.cond(ops.sum(x) > 0, lambda: ops.reshape(ops.stack([x, x]), (2 * n, 4)), lambda: ops.zeros((2 * n, 4)))
    return ops.fori_loop(0, n, lambda i, s: s * 0.5 + x, ops.zeros((n, 4))), twice


def over_a_list(net, x):
    weights = [net.w, net.w * 2, net.dense.bias]
    return ops.fori_loop(0, 3, lambda i, s: s + weights[i], x)


def over_columns(net, x):
    return ops.fori_loop(0, 4, lambda i, s: s + x[:, i], ops.zeros_like(x[:, 0]))


def over_constants(net, x):
    return ops.map(lambda i: x * ops.cast(i, "float32") + net.dense(x), ops.arange(3))


def variables(net, x):
    chosen = ops.cond(ops.sum(x) > 0, lambda: net.w, lambda: net.dense.kernel[0])
    return ops.fori_loop(0, 3, lambda i, s: ops.matmul(s, net.dense.kernel) + chosen, x)


def other_sizes(net, x):
    return ops.cond(ops.sum(x) > 0, lambda: x[:, :2] * 1.0, lambda: x + 1)


def known(net, x):
    start = ops.fori_loop(0, 3, lambda i, s: s + i, 1)
    return ops.cond(True, lambda: x * ops.cast(start, "float32"), lambda: x), ops.switch(7, [lambda a: a, lambda a: -a], x)


def walks_within(net, x):
    return ops.map(lambda r: ops.scan(lambda c, t: (c * 0.5 + t, c * 0.5 + t), ops.zeros(()), r)[1] + ops.max(x), x)


VECTORS = {
    "branches": (branches, {If}),
    "nested results": (nested_results, {If}),
    "constants": (constants, {If}),
    "branches within": (branches_within, {If}),
    "switch": (switched, {If}),
    "counted": (counted, {Loop}),
    "from zeros": (from_zeros, {Loop}),
    "computed count": (computed_count, {Loop}),
    "until": (until, {Loop}),
    "at most": (at_most, {Loop}),
    "loops within": (loops_within, {If, Loop}),
    "reshaped": (reshaped, {Loop}),
    "counted by itself": (counted_by_itself, {Loop}),
    "of the batch": (of_the_batch, {If, Loop}),
    "over a list": (over_a_list, set()),
    "over columns": (over_columns, set()),
    "over constants": (over_constants, {Scan}),
    "variables": (variables, {If, Loop}),
    "other sizes": (other_sizes, {If}),
    "known": (known, set()),
    "walks within": (walks_within, {Scan}),
}
# Keras holds no loop whose rounds only a run tells, and no branches that differ in size
UNBOUNDED = {"computed count", "until", "at most", "of the batch", "other sizes", "walks within"}
NOT_ON_TENSORFLOW = {
    "over a list",
    "reverse",
    "no rows",
}  # there a step is a tensor, and a row is like the carried value


def skip_on_tensorflow(name):
    if BACKEND == "tensorflow" and name in NOT_ON_TENSORFLOW:
        pytest.skip("Keras on TensorFlow does not run it")


@pytest.mark.parametrize("name", VECTORS)
def test_code_of_a_model(name):
    skip_on_tensorflow(name)
    code, found = VECTORS[name]
    graph = assert_same(net_of(code, 4), inputs(4), TARGETS[:2] if name in UNBOUNDED else TARGETS)
    assert kinds(graph) == found


def walked(net, x):
    carry, rows = ops.scan(lambda c, t: (c * net.w + t, net.dense(c) + t), x[:, 0], ops.transpose(x, (1, 0, 2)))
    return carry, rows


def walked_backwards(net, x):
    def step(carry, places):
        one, two = places["one"], places["two"]
        return {"s": carry["s"] + one, "n": carry["n"] + 1.0}, carry["s"] * two

    lists = ops.moveaxis(x, 1, 0)
    carry, rows = ops.scan(
        step, {"s": ops.zeros_like(x[:, 0]), "n": 0.0}, {"one": lists, "two": lists * 2}, reverse=True
    )
    return carry["s"], carry["n"], rows


def rows_of_a_loop(net, x):
    carry, rows = ops.scan(lambda c, _: (c * 0.5, c + net.w), x[:, 0], length=3, reverse=True)
    return carry, rows


def a_row_of_nothing(net, x):
    return ops.scan(lambda c, t: (c + t, None), x[:, 0], ops.moveaxis(x, 1, 0))[0]


def mapped(net, x):
    return ops.map(lambda t: {"y": ops.matmul(t, ops.transpose(t)) + net.w[0], "s": ops.sum(t)}, x)


def mapped_at_once(net, x):
    return ops.vectorized_map(lambda t: t / (1 + ops.sum(ops.abs(t))) * net.w, x)


def mapped_in_pairs(net, x):
    return ops.vectorized_map(lambda pair: pair[0] * pair[1] + ops.max(pair[0]), [x, x * 2])


def combined(net, x):
    return ops.associative_scan(lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]), (x, x * 2), axis=1)


def combined_backwards(net, x):
    return ops.associative_scan(lambda a, b: a + b, x, reverse=True, axis=-2)


SEQUENCES = {
    "scan": (walked, {Scan}),
    "reverse": (walked_backwards, {Scan}),
    "length": (rows_of_a_loop, {Loop}),
    "no rows": (a_row_of_nothing, {Scan}),
    "map": (mapped, {Scan}),
    "vectorized_map": (mapped_at_once, {Scan}),
    "pairs": (mapped_in_pairs, {Scan}),
    "associative": (combined, set()),
    "associative backwards": (combined_backwards, set()),
}
OVER_THE_BATCH = {"map", "vectorized_map", "pairs"}


@pytest.mark.parametrize("name", SEQUENCES)
def test_code_of_a_model_over_sequences(name):
    skip_on_tensorflow(name)
    code, found = SEQUENCES[name]
    graph = assert_same(net_of(code, 5, 4), inputs(5, 4), TARGETS[:2] if name in OVER_THE_BATCH else TARGETS)
    assert kinds(graph) == found


@pytest.mark.parametrize("length", [1, 2, 3, 4, 6, 9])
def test_combining_keeps_the_order_of_keras(length):
    """A product of matrices: no two may change places."""

    def code(net, x):
        return ops.associative_scan(ops.matmul, ops.reshape(x, (-1, length, 2, 2)), axis=1)

    assert_same(net_of(code, length, 4), inputs(length, 4, batches=(1, 3)), TARGETS[:2])


def test_combining_along_an_open_axis():
    given = keras.Input((None, 2))
    if BACKEND == "tensorflow":
        pytest.skip("Keras on TensorFlow does not make such a model")
    model = keras.Model(given, ops.associative_scan(lambda a, b: a * b + b, given, axis=1))
    for to in TARGETS[:2]:
        made = li.convert(model, to=to)
        for length in (1, 2, 5):
            array = np.random.default_rng(length).normal(size=(3, length, 2)).astype(np.float32)
            if length > 1:
                np.testing.assert_allclose(li.run(made, [array])[0], in_a_row(array), rtol=1e-5)


def in_a_row(array):
    rows = [array[:, 0]]
    for step in range(1, array.shape[1]):
        rows.append(rows[-1] * array[:, step] + array[:, step])
    return np.stack(rows, 1)


def test_functional_graphs():
    given = keras.Input((5, 4), batch_size=2)
    dense = keras.layers.Dense(4)
    dense.build((None, 4))
    rows = ops.map(lambda t: ops.tanh(t) * 2, given)
    state, steps = ops.while_loop(
        lambda s, i: ops.sum(s) < 30.0, lambda s, i: (s * 1.5 + 0.5, i + 1), (rows, ops.sum(ops.zeros_like(rows)))
    )
    chosen = ops.switch(ops.cast(ops.sum(given), "int32"), [lambda a: a, lambda a: -a], state)
    carry, walked = ops.scan(lambda c, t: (c + dense(t), c + t), chosen[0], chosen)
    model = keras.Model(given, [carry, walked, ops.fori_loop(0, 3, lambda i, s: s * 0.5, chosen), steps])
    graph = li.load(model)
    assert kinds(graph) == {If, Loop, Scan}
    for to in TARGETS[:2]:
        report = verify_conversion(transfer_graph(graph, to))
        assert report.passed, str(report)


class Gate(keras.layers.Layer):
    """What a user writes: a layer of its own inside, and a branch."""

    def build(self, shape):
        self.inner = keras.layers.Dense(shape[-1], name="inner", dtype=self.dtype_policy)
        self.inner.build(shape)
        self.w = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="w")

    def call(self, x):
        return ops.cond(ops.mean(x) > 0, lambda: self.inner(x) * self.w, lambda: x + self.w)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"] + ["float64"] * (BACKEND == "tensorflow"))
def test_a_layer_in_a_functional_model(dtype):
    given = keras.Input((4,), dtype="float64" if dtype == "float64" else "float32")
    model = keras.Model(given, Gate(dtype=dtype, name="gate")(Gate(dtype=dtype, name="before")(given)))
    graph = li.load(model)
    assert {p.name for p in graph.parameters()} >= {"gate.w", "gate.inner.kernel", "gate.inner.bias"}
    for to in TARGETS if dtype == "float32" else TARGETS[:2]:
        report = verify_conversion(transfer_graph(graph, to))
        assert report.passed, str(report)


def test_a_cell_with_a_branch():
    class Cell(keras.layers.Layer):
        state_size = output_size = 4

        def call(self, x, states):
            h = ops.cond(ops.sum(x) > 0, lambda: ops.tanh(x + states[0]), lambda: states[0])
            return h, [h]

    given = keras.Input((6, 4))
    assert_same(keras.Model(given, keras.layers.RNN(Cell())(given)), inputs(6, 4), TARGETS[:2])


def at(function, text):
    """file:line of the first line with this text in a function."""
    lines, start = inspect.getsourcelines(function)
    return f"test_keras_control_flow.py:{start + next(i for i, line in enumerate(lines) if text in line)}"


def other_dtypes(net, x):
    return ops.cond(ops.sum(x) > 0, lambda: x, lambda: ops.cast(x, "int32"))


def growing(net, x):
    return ops.while_loop(lambda s: ops.sum(s) < -1e9, lambda s: ops.concatenate([s, s], 1), x)


def drawing(net, x):
    return ops.cond(ops.sum(x) > 1e9, lambda: x + keras.random.normal((4,)), lambda: x)


@pytest.mark.parametrize(
    ("code", "text", "why"),
    [
        (other_dtypes, "ops.cond", "branches whose results differ in number, rank or dtype"),
        (growing, "ops.while_loop", "carried value changes its structure, shape or dtype"),
        (drawing, "", "random numbers"),
    ],
)
def test_what_is_refused_says_where(code, text, why):
    with pytest.raises(li.Refused, match=why) as caught:
        li.load(net_of(code, 4) if BACKEND == "torch" else Subclassed(code), np.ones((2, 4), np.float32))
    assert not text or at(code, text) in str(caught.value)


def test_what_keras_cannot_hold_says_where():
    graph = li.load(net_of(at_most, 4), np.ones((2, 4), np.float32))
    with pytest.raises(li.Refused, match="Keras saves no loops") as caught:
        transfer_graph(graph, "keras")
    assert at(at_most, "while_loop") in str(caught.value)


def test_keras_is_left_as_it_was():
    """Tracing puts other functions into Keras' place only for a while, whatever happens."""
    before = [vars(kind).get(name) for kind in KINDS for name in ("__call__", "symbolic_call")]
    with pytest.raises(li.Refused):
        li.load(net_of(drawing, 4), np.ones((2, 4), np.float32))
    assert [vars(kind).get(name) for kind in KINDS for name in ("__call__", "symbolic_call")] == before
    assert core.backend is keras.src.backend
