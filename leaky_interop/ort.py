"""onnxruntime, opened and fed: what the ONNX engine and inference share. Imports no operator, so that it opens fast."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import RuntimeFailure, Usage, require

if TYPE_CHECKING:
    import onnx

CPU = "CPUExecutionProvider"
MOST_INLINE = 1500 * 2**20  # bytes of weights in a message, which cannot pass 2 GiB
SMALL = 1024  # bytes of a tensor that always stays in the message


def as_proto(model: Any) -> onnx.ModelProto:
    """The ModelProto of either kind of model."""
    import onnx

    if isinstance(model, onnx.ModelProto):
        return model
    import onnx_ir

    return onnx_ir.to_proto(model)


def session(
    model: Any, *, optimise: bool = True, providers: Sequence[str] = (CPU,), threads: int | None = None
) -> Any:
    """An onnxruntime session of either kind of model, on the CPU if nothing is said.

    onnxruntime opens no file: above `MOST_INLINE` it gets a message without the large weights, and those from our memory,
    or the memory maps of checked files. Raises RuntimeFailure where it does not take the model.
    """
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
    hollow, weights = _hollow(model) if _weight(model) > MOST_INLINE else (as_proto(model), {})
    lent = _lend(options, hollow, weights)
    try:
        made = runtime.InferenceSession(tidied(hollow).SerializeToString(), options, providers=list(providers))
        made.lent = lent  # it reads them as long as it lives
        return made
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise RuntimeFailure(
            "onnxruntime does not take the model", why=str(error).strip().partition("\n")[0]
        ) from error


def _weight(model: Any) -> int:
    """Bytes of the initializers, as far as sizes and types tell; one byte for a number of less."""
    from onnx import TensorProto, helper

    if hasattr(model, "opset_imports"):
        return sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
    types = set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED, TensorProto.STRING}
    known = [t for t in model.graph.initializer if t.data_type in types]
    return sum(math.prod(t.dims) * helper.tensor_dtype_to_np_dtype(t.data_type).itemsize for t in known)


def _lend(options: Any, hollow: Any, weights: Mapping[str, np.ndarray]) -> Any:
    """Give a session's options the weights that its message lacks, by the names of their files; returns who holds them."""
    import onnxruntime
    from onnx import TensorProto

    outside = [t for t in hollow.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    packed, values = [], {}
    for tensor in outside:
        data = weights[tensor.external_data[0].value]
        size, rest = divmod(data.nbytes, math.prod(tensor.dims))
        if rest or size == 0:  # several numbers in a byte: no value of onnxruntime's holds them
            packed.append(tensor.external_data[0].value)
            continue
        bits = data.view({1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64, 16: np.complex128}[size])
        values[tensor.name] = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
            bits.reshape(tuple(tensor.dims)), tensor.data_type
        )
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    if packed:
        found = [weights[name] for name in packed]
        options.add_external_initializers_from_files_in_memory(packed, found, [data.nbytes for data in found])
    return values, weights


def _hollow(model: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model without its large weights, and their bytes by the name of the file in which it says they are."""
    from onnx import ModelProto, TensorProto

    weights: dict[str, np.ndarray] = {}
    if not isinstance(model, ModelProto):
        return _hollow_ir(model, weights), weights
    hollow = ModelProto(**{field.name: value for field, value in model.ListFields() if field.name != "graph"})
    graph = hollow.graph
    graph.MergeFrom(type(graph)(**{f.name: value for f, value in model.graph.ListFields() if f.name != "initializer"}))
    for tensor in model.graph.initializer:
        data = tensor.raw_data
        if len(data) <= SMALL:
            graph.initializer.add().CopyFrom(tensor)
            continue
        made = graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        made.data_location = TensorProto.EXTERNAL
        name = f"memory-{len(weights)}"
        weights[name] = np.frombuffer(data, np.uint8)
        for key, text in (("location", name), ("offset", "0"), ("length", str(len(data)))):
            made.external_data.add(key=key, value=text)
    return hollow, weights


def _hollow_ir(model: Any, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The same of an onnx_ir model, whose tensors are put back as they were."""
    import onnx_ir

    held = [(v, v.const_value) for v in model.graph.initializers.values() if v.const_value is not None and v.const_value.nbytes > SMALL]
    try:
        for value, tensor in held:
            name = f"memory-{len(weights)}"
            weights[name] = np.asarray(tensor.raw).reshape(-1).view(np.uint8)
            value.const_value = onnx_ir.ExternalTensor(
                name, 0, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=tensor.name, base_dir=""
            )
        return onnx_ir.to_proto(model)
    finally:
        for value, tensor in held:
            value.const_value = tensor


def tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the empty names that onnxruntime 1.32 dies of.

    Those at the end of a node's inputs say nothing; those among the results of a loop or branch become names.
    """
    if not any((n.input and not n.input[-1]) or ("" in n.output and _runs_graphs(n)) for n in _nodes(model.graph)):
        return model
    tidied = type(model)()
    tidied.CopyFrom(model)
    for number, node in enumerate(_nodes(tidied.graph)):
        while node.input and not node.input[-1]:
            node.input.pop()
        for index, name in enumerate(node.output):
            if not name and _runs_graphs(node):
                node.output[index] = f":unread_{number}_{index}"
    return tidied


def _runs_graphs(node: Any) -> bool:
    """Whether a node is a branch or loop."""
    return any(attribute.HasField("g") for attribute in node.attribute)


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of those inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _nodes(body)


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
    if 0 in shape:  # there is nothing to point at
        return np.zeros(shape, dtype("bfloat16"))
    bits = ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_int16 * math.prod(shape))).contents
    return np.array(bits, np.int16).reshape(shape).view(dtype("bfloat16"))
