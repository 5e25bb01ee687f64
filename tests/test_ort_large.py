"""Models above what a message can hold: onnxruntime gets the weights from memory, of every type, and opens no file."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop import files, ort
from leaky_interop.files import onnx as reader

pytestmark = pytest.mark.one_backend

RNG = np.random.default_rng(3)
WEIGHTS = {
    "float32": (TensorProto.FLOAT, RNG.standard_normal((30, 40)).astype(np.float32)),
    "float64": (TensorProto.DOUBLE, RNG.standard_normal((30, 40))),
    "float16": (TensorProto.FLOAT16, RNG.standard_normal((30, 40)).astype(np.float16)),
    "bfloat16": (TensorProto.BFLOAT16, RNG.standard_normal((30, 40)).astype(ml_dtypes.bfloat16)),
    "float8": (TensorProto.FLOAT8E4M3FN, RNG.standard_normal((30, 40)).astype(ml_dtypes.float8_e4m3fn)),
    "int64": (TensorProto.INT64, RNG.integers(-9, 9, (30, 40))),
    "bool": (TensorProto.BOOL, RNG.random((30, 40)) > 0.5),
    "int4": (TensorProto.INT4, RNG.integers(-8, 8, (30, 80)).astype(ml_dtypes.int4)),
    "scalar": (TensorProto.FLOAT, np.float32(2.5)),
    "none": (TensorProto.FLOAT, np.zeros((0, 40), np.float32)),
}


def _model(folder, name):
    """y = x + w as float32, its numbers in a file beside it; the float32 one is read by a branch as well."""
    kind, array = WEIGHTS[name]
    packed = onnx.numpy_helper.from_array(array, "w").raw_data
    (folder / "w.bin").write_bytes(bytes(64) + packed)
    weight = TensorProto(name="w", data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
    for key, text in (("location", "w.bin"), ("offset", "64"), ("length", str(len(packed)))):
        weight.external_data.add(key=key, value=text)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1] * array.ndim)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "c"], ["y"])]
    if name == "float32":
        side = helper.make_graph(
            [helper.make_node("Identity", ["w"], ["b"])], "side", [], [helper.make_tensor_value_info("b", 1, None)]
        )
        yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
        nodes[0] = helper.make_node("If", ["yes"], ["c"], then_branch=side, else_branch=side)
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, *([yes] if name == "float32" else [])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx", array


@pytest.mark.parametrize("kind", ["message", "maps"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_of_every_type_come_from_memory(tmp_path, monkeypatch, name, kind):
    path, array = _model(tmp_path, name)
    monkeypatch.setattr(ort, "MOST_INLINE", 0)
    monkeypatch.setattr(reader, "MOST_INLINE", 0 if kind == "maps" else 2**40)
    monkeypatch.chdir("/")
    native = files.read_onnx(path)
    assert isinstance(native, onnx_ir.Model if kind == "maps" else onnx.ModelProto)
    (tmp_path / "w.bin").rename(tmp_path / "gone.bin")  # the maps are what is read
    x = np.full([1] * array.ndim, 0.5, np.float32)
    for _ in range(2):  # what is lent to a session is given back
        np.testing.assert_array_equal(li.run(native, x)[0], array.astype(np.float32) + np.float32(0.5))
    if array.nbytes > ort.SMALL:
        hollow, weights = ort.hollowed(native)
        assert len(hollow.SerializeToString()) < 1000 and len(weights) == 1


def test_a_large_model_is_verified_value_by_value(tmp_path, monkeypatch):
    path, _ = _model(tmp_path, "float16")
    monkeypatch.setattr(ort, "MOST_INLINE", 0)
    monkeypatch.setattr(reader, "MOST_INLINE", 0)
    assert li.convert(path, tmp_path / "net.pt2").passed
    assert li.verify(path, tmp_path / "net.pt2").passed


def test_a_small_model_stays_a_message(tmp_path, monkeypatch):
    path, _ = _model(tmp_path, "float32")
    monkeypatch.setattr(ort, "hollowed", lambda model: pytest.fail("it is small"))
    assert li.run(path, np.zeros((1, 1), np.float32))[0].shape == (30, 40)
