"""What every whole network must stand: shared by the network tests."""

from __future__ import annotations

import copy

import numpy as np

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.graph import Graph
from leaky_interop.layout import ChannelsLast, transposes
from leaky_interop.ops.noise import Dropout
from leaky_interop.verification import verify_conversion

BATCHES = (1, 2, 7)


def example(network, batch: int = 1) -> tuple[np.ndarray, ...]:
    """Seeded inputs of a network's PyTorch form."""
    rng = np.random.default_rng(3)
    return tuple(rng.standard_normal((batch, *shape)).astype(np.float32) for shape in network.SHAPES.values())


def source(network, framework: str, *, dynamic: bool = False):
    """The network in one framework, and the example that loading it needs. ONNX comes from the Keras form."""
    if framework == "torch":
        return network.torch_model(), example(network)
    keras_model = network.keras_model(dynamic=dynamic)
    return (keras_model if framework == "keras" else li.convert(keras_model, to="onnx")), None


def converted(model, to: str, given=None, *, io: str = "as_source", **options):
    """A verified conversion: its numbers agree node by node and end to end, at every batch that is drawn."""
    graph = li.load(model, given, **options)
    conversion = transfer_graph(graph, to, io=io)
    return graph, conversion, verified(conversion)


def verified(conversion):
    """The report of a conversion whose numbers agree, most of its nodes among them."""
    report = verify_conversion(conversion)
    assert report.passed, str(report)
    computing = [n for n in conversion.graph.nodes if not isinstance(n.op, Dropout)]  # files leave that out
    assert len(report.nodes) >= 0.8 * sum(v.anchor is not None for n in computing for v in n.outputs)
    return report


def check_batches(graph: Graph, conversion) -> None:
    """The converted model runs at batch 1, 2 and 7 and gives each row what it gives it alone."""
    from leaky_interop.draws import example_arrays

    arrays = example_arrays(graph, batch=max(BATCHES), seed=5)
    whole = graph.program.whole(arrays)
    for batch in BATCHES:
        part = li.run(conversion.model, [a[:batch] for a in arrays])
        part = [part[i] for i in conversion.order or range(len(part))]
        for received, expected in zip(part, whole, strict=True):
            assert received.shape == expected[:batch].shape
            np.testing.assert_allclose(received, expected[:batch], rtol=2e-4, atol=2e-4 * np.abs(expected).max())


def check_transposes(conversion) -> None:
    """No transpose inside, at most one at each input and output."""
    graph = conversion.graph
    allowed = len(graph.inputs) + len(graph.outputs)
    found = transposes(graph)
    inside = [
        n for n in found if not any(v in graph.inputs for v in n.inputs) and not any(v in graph.outputs for v in n.outputs)
    ]
    assert not inside, "\n".join(map(str, inside))
    assert len(found) <= allowed, "\n".join(map(str, found))


def same_graph(first: Graph, second: Graph, *, weight_names: bool = True) -> None:
    """Equal op for op, with the same names (of weights too, unless said), bit-equal parameters and the same trainable flags."""
    ops = [[n.op.op if isinstance(n.op, ChannelsLast) else n.op for n in g.nodes] for g in (first, second)]
    assert len(ops[0]) == len(ops[1]), f"{len(ops[0])} nodes became {len(ops[1])}:\n{first}\n\n{second}"
    for a, b, n, m in zip(*ops, first.nodes, second.nodes, strict=True):
        assert a.matches(b), f"{n}\n{m}"
        assert n.name == m.name, f"{n}\n{m}"
        for v, w in zip(n.inputs, m.inputs, strict=True):
            assert (v is None) == (w is None) and (v is None or (v.const is None) == (w.const is None)), f"{n}\n{m}"
            if v is not None and v.const is not None:
                np.testing.assert_array_equal(v.array(), w.array(), err_msg=str(n))
                assert v.const.trainable == w.const.trainable, f"{n.name}: {v.const} and {w.const}"
                assert bool(v.const.name) == bool(w.const.name), f"{n.name}: {v.const} and {w.const}"
    names = [[p.name for p in g.parameters()] for g in (first, second)]
    assert names[0] == names[1] or (not weight_names and len(names[0]) == len(names[1]))


def without_dropout(graph: Graph) -> Graph:
    """The graph for `same_graph`, without the operators that ONNX files leave out."""
    found = copy.copy(graph)
    found.nodes = [n for n in graph.nodes if type(n.op).__name__ != "Dropout"]
    return found
