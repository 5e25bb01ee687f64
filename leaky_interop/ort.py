"""onnxruntime, opened and fed: what the ONNX engine and inference share. Imports no operator, so that it opens fast."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import RuntimeFailure, Usage, require
from .numeric import BITS

if TYPE_CHECKING:
    import onnx

AS_BITS = {  # by onnxruntime's name: the element types that its plain interface does not take
    "tensor(bfloat16)": "bfloat16", "tensor(float8e4m3fn)": "float8_e4m3fn", "tensor(float8e4m3fnuz)": "float8_e4m3fnuz",
    "tensor(float8e5m2)": "float8_e5m2", "tensor(float8e5m2fnuz)": "float8_e5m2fnuz", "tensor(float8e8m0)": "float8_e8m0fnu",
    "tensor(float4e2m1)": "float4_e2m1fn", "tensor(int4)": "int4", "tensor(uint4)": "uint4", "tensor(int2)": "int2",
    "tensor(uint2)": "uint2",
}  # fmt: skip
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


def outline(model: Any) -> onnx.ModelProto:
    """The ModelProto of either kind of model; of an onnx_ir model without its large weights."""
    import onnx

    return model if isinstance(model, onnx.ModelProto) else hollowed(model)[0]


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
    hollow, weights = hollowed(model) if _weight(model) > MOST_INLINE else (as_proto(model), {})
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


def hollowed(model: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
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
            held_so = isinstance(tensor.raw, np.ndarray)  # shares memory, as do the maps of files
            weights[name] = tensor.raw.reshape(-1).view(np.uint8) if held_so else np.frombuffer(tensor.tobytes(), np.uint8)
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


def stored(tensor: Any, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """The numbers of a tensor, which a hollow model says are among these `weights`; shares memory where it can."""
    from onnx import TensorProto, helper, numpy_helper

    if tensor.data_location != TensorProto.EXTERNAL:
        return numpy_helper.to_array(tensor)
    data = weights[next(entry.value for entry in tensor.external_data if entry.key == "location")]
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if dtype.name in BITS:
        packed = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=data.tobytes())
        return numpy_helper.to_array(packed)
    return data.view(dtype).reshape(tuple(tensor.dims))


def feed(made: Any, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session on arrays in the order of its inputs, or by name."""
    names = [i.name for i in made.get_inputs()]
    feeds = dict(arrays) if isinstance(arrays, Mapping) else dict(zip(names, arrays, strict=True))
    for port in made.get_inputs():
        if port.type.startswith("tensor") and isinstance(feeds.get(port.name), list):  # a sequence feeds no tensor
            feeds[port.name] = np.asarray(feeds[port.name])
    try:
        if any(port.type in AS_BITS for port in (*made.get_inputs(), *made.get_outputs())):
            return [_array(v) for v in made.run_with_ort_values(None, {k: _value(a) for k, a in feeds.items()})]
        return made.run(None, feeds)
    except Exception as error:  # as above
        raise RuntimeFailure("onnxruntime failed", why=str(error).strip().partition("\n")[0]) from error


def _value(array: np.ndarray) -> Any:
    """An array as onnxruntime's own value; packed numbers fill the first of the bytes that its shape asks for."""
    import onnxruntime
    from onnx import helper

    if array.dtype.name not in AS_BITS.values():
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    bits = np.zeros(array.shape, np.int16 if array.dtype.itemsize == 2 else np.uint8)
    content = raw(array)
    bits.reshape(-1).view(np.uint8)[: len(content)] = content
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, helper.np_dtype_to_tensor_dtype(array.dtype))


def _array(value: Any) -> np.ndarray:
    """The numbers of onnxruntime's own value."""
    from onnx import TensorProto, numpy_helper

    if value.data_type() not in AS_BITS:
        return value.numpy()
    tensor = TensorProto(dims=value.shape(), data_type=value.element_type())
    if count := value.tensor_size_in_bytes():
        tensor.raw_data = bytes(ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_uint8 * count)).contents)
    return numpy_helper.to_array(tensor)


def raw(array: np.ndarray) -> np.ndarray:
    """The bytes of an array as ONNX files hold them, those of 4 and 2 bits packed; shares memory where it can."""
    from onnx import numpy_helper

    if array.dtype.name in BITS:
        return np.frombuffer(numpy_helper.from_array(array).raw_data, np.uint8)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
