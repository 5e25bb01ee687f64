"""Small networks and pictures that the tests of inference share."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image


def network(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    *,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    kind: int = TensorProto.FLOAT,
    result: int = TensorProto.FLOAT,
    weights: dict[str, np.ndarray] | None = None,
    result_shape: Sequence[int | str] | None = None,
    opset: int = 21,
) -> onnx.ModelProto:
    """An ONNX model of one input shape."""
    constants = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    ins = [helper.make_tensor_value_info(name, kind, list(shape)) for name in inputs]
    outs = [helper.make_tensor_value_info(name, result, result_shape) for name in outputs]
    graph = helper.make_graph(list(nodes), "net", ins, outs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def same(shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A network that gives what it takes: what preprocessing made can be seen."""
    return network([helper.make_node("Identity", ["x"], ["y"])], shape, kind=kind, result=kind)


def classifier(
    classes: int = 5, size: int = 8, *, last: str | None = None, batch: int | str = "batch"
) -> onnx.ModelProto:
    """A convolution, LeakyReLU and a dense layer over NCHW pictures."""
    rng = np.random.default_rng(3)
    weights = {
        "k": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "w": rng.standard_normal((4, classes)).astype(np.float32),
        "b": rng.standard_normal(classes).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("LeakyRelu", ["c"], ["r"], alpha=0.2),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["s" if last else "y"]),
    ]
    nodes += [helper.make_node(last, ["s"], ["y"])] if last else []
    return network(nodes, [batch, 3, size, size], weights=weights, result_shape=[batch, classes])


def saved(model: onnx.ModelProto, path) -> str:
    """The model in a file."""
    path.write_bytes(model.SerializeToString())
    return str(path)


def photo(width: int = 60, height: int = 45, seed: int = 0) -> Image.Image:
    """A picture with smooth and sharp parts."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    pixels = np.array(small)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """The bytes of the picture's file."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()
