"""Control flow of keras.ops in layers, models and functional graphs: what it becomes, and where it can go."""

import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.ops.control import If, Loop, Scan
from leaky_interop.verification import verify_conversion

ops = keras.ops
BACKEND = keras.backend.backend()
TARGETS = ("onnx", "torch", "keras")


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
}
UNBOUNDED = {"computed count", "until", "at most"}  # Keras holds no loop whose rounds only a run tells


@pytest.mark.parametrize("name", VECTORS)
def test_code_of_a_model(name):
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
NOT_ON_TENSORFLOW = {"reverse", "no rows"}  # there a row has to be like the carried value


@pytest.mark.parametrize("name", SEQUENCES)
def test_code_of_a_model_over_sequences(name):
    if BACKEND == "tensorflow" and name in NOT_ON_TENSORFLOW:
        pytest.skip("TensorFlow wants a row to be like the carried value")
    code, found = SEQUENCES[name]
    graph = assert_same(net_of(code, 5, 4), inputs(5, 4), TARGETS[:2] if name in OVER_THE_BATCH else TARGETS)
    assert kinds(graph) == found
