"""onnxruntime, opened and fed: what the ONNX engine and inference share. Imports no operator, so that it opens fast."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import RuntimeFailure, Usage, require

if TYPE_CHECKING:
    import onnx

CPU = "CPUExecutionProvider"


def as_proto(model: Any) -> onnx.ModelProto:
    """The ModelProto of either kind of model."""
    import onnx

    if isinstance(model, onnx.ModelProto):
        return model
    import onnx_ir

    return onnx_ir.to_proto(model)


def session(
    model: onnx.ModelProto, *, optimise: bool = True, providers: Sequence[str] = (CPU,), threads: int | None = None
) -> Any:
    """An onnxruntime session, on the CPU if nothing is said. Raises RuntimeFailure where onnxruntime does not take the model."""
    runtime = require("onnxruntime", "onnx")
    if unknown := [name for name in providers if name not in runtime.get_available_providers()]:
        have = ", ".join(runtime.get_available_providers())
        raise Usage(f"onnxruntime has no provider {', '.join(unknown)} here", why=f"it has {have}")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(tidied(model).SerializeToString(), options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise RuntimeFailure(
            "onnxruntime does not take the model", why=str(error).strip().partition("\n")[0]
        ) from error


def tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without empty names at the end of inputs, which say nothing: onnxruntime 1.32 dies of one at LayerNormalization."""
    if not any(node.input and not node.input[-1] for node in model.graph.node):
        return model
    tidied = type(model)()
    tidied.CopyFrom(model)
    for node in tidied.graph.node:
        while node.input and not node.input[-1]:
            node.input.pop()
    return tidied


def write_for_runtime(model: Any, path: Path) -> None:
    """Write a model that was read, as it is; one too large for a message, with its weights in a file beside it."""
    import onnx

    if isinstance(model, onnx.ModelProto):
        path.write_bytes(tidied(model).SerializeToString())
    else:
        import onnx_ir

        onnx_ir.save(model, path, external_data=f"{path.name}.data")


def feed(made: Any, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session on arrays in the order of its inputs, or by name."""
    names = [i.name for i in made.get_inputs()]
    feeds = dict(arrays) if isinstance(arrays, Mapping) else dict(zip(names, arrays, strict=True))
    for port in made.get_inputs():
        if port.type.startswith("tensor") and isinstance(feeds.get(port.name), list):  # a sequence feeds no tensor
            feeds[port.name] = np.asarray(feeds[port.name])
    try:
        if any(port.type == "tensor(bfloat16)" for port in (*made.get_inputs(), *made.get_outputs())):
            return [_array(v) for v in made.run_with_ort_values(None, {k: _value(a) for k, a in feeds.items()})]
        return made.run(None, feeds)
    except Exception as error:  # as above
        raise RuntimeFailure("onnxruntime failed", why=str(error).strip().partition("\n")[0]) from error


def _value(array: np.ndarray) -> Any:
    """An array as onnxruntime's own value; its plain interface takes no bfloat16."""
    import onnxruntime
    from onnx import TensorProto

    if array.dtype.name != "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    bits = np.asarray(array, order="C").view(np.int16)  # ascontiguousarray gives a number an axis
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, TensorProto.BFLOAT16)


def _array(value: Any) -> np.ndarray:
    """The numbers of onnxruntime's own value."""
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    from .numeric import dtype

    shape = tuple(value.shape())
    bits = ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_int16 * math.prod(shape))).contents
    return np.array(bits, np.int16).reshape(shape).view(dtype("bfloat16"))
