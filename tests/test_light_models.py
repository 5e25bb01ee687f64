"""The nine light models that the onnx package ships, with seeded weights in place of their constants, to every framework."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import leaky_interop as li
from leaky_interop.converting import transfer_graph

pytestmark = pytest.mark.one_backend  # the networks of models/ cover both of Keras'
FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
NAMES = sorted(p.stem for p in FOLDER.glob("*.onnx"))


def seeded(name):
    """The model with weights that keep the size of what passes through; no two of them alike."""
    model = onnx.load(FOLDER / f"{name}.onnx")
    graph, random = model.graph, np.random.default_rng(0)
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made = {n.output[0]: shapes[n.input[0]] for n in graph.node if n.op_type == "ConstantOfShape"}
    nodes = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    positive = {n.input[i] for n in nodes if n.op_type == "BatchNormalization" for i in (1, 4)}
    taken = {name for n in nodes for name in n.input}
    kept = [i for i in graph.initializer if i.name in taken]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    for output, shape in made.items():
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 100
        array = random.standard_normal(shape.tolist(), np.float32) * np.float32(np.sqrt(2 / fan_in))
        graph.initializer.append(numpy_helper.from_array(np.abs(array) + 0.5 if output in positive else array, output))
    inputs = [i for i in graph.input if i.name not in shapes]
    del graph.input[:]
    graph.input.extend(inputs)
    return model


def test_all_nine_are_here():
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_converts(name):
    model = seeded(name)
    (port,) = model.graph.input
    image = np.random.default_rng(1).standard_normal([d.dim_value for d in port.type.tensor_type.shape.dim], np.float32)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {port.name: image})
    assert np.ptp(expected) > 1e-6  # the image arrives
    graph = li.load(model)
    for framework in ("onnx", "torch", "keras"):
        (received,) = li.run(transfer_graph(graph, framework).model, [image])
        np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
