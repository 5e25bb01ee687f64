"""ONNX files: every tensor in the message judged, external data read only from inside the model's folder.

onnxruntime and onnx are never given a stranger's path: what leaves here is a model with its tensors inside it, or,
above `MOST_INLINE`, an `onnx_ir.Model` over memory maps of descriptors that were checked here. Functions that call each
other in a ring, or that would expand beyond reason, and nesting beyond protobuf's own limit are refused.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from leaky_interop.errors import UnsafeFile, Usage, require

from .external import ExternalFiles
from .source import MIB, damaged, opened, size_of

MOST_INLINE = 1500 * MIB
MOST_PROTOBUF = 2**31 - 1
MOST_CALLS = 5_000_000  # nodes after all functions are expanded
MOST_NESTED = 200  # functions that call each other, one within the other
# Messages that can lead to a tensor; the others are not walked.
CARRIERS = ("Model", "Graph", "Node", "Attribute", "Function", "TrainingInfo", "SparseTensor", "Tensor")
BITS = (
    {name: 8 for name in ("UINT8", "INT8", "BOOL")}
    | {name: 16 for name in ("UINT16", "INT16", "FLOAT16", "BFLOAT16")}
    | {name: 32 for name in ("FLOAT", "INT32", "UINT32")}
    | {name: 64 for name in ("DOUBLE", "INT64", "UINT64", "COMPLEX64")}
    | {name: 8 for name in ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0")}
    | {"COMPLEX128": 128, "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}
)
LEARNING = "ai.onnx.ml"
TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def read_onnx(
    path: str | os.PathLike[str], allow_root: str | os.PathLike[str] | None = None, *, trust: bool = False
) -> Any:
    """The model, complete: an `onnx.ModelProto`, or an `onnx_ir.Model` on memory maps above `MOST_INLINE`.

    `allow_root`: a folder inside which symbolic links of external data may lead, as in the caches of model hubs.
    `trust`: operators of ai.onnx.ml are taken, whose kernels in onnxruntime have read beyond their data.
    """
    path = Path(path)
    model, length = _parse(path)
    _judge_messages(model, path.name, trust)
    _judge_functions(model, path.name)
    tensors = [(tensor, place, kept) for tensor, place, kept in _tensors(model)]
    sizes = [_size(tensor, f"{place} of {path.name}") for tensor, place, _ in tensors]
    external = [i for i, (tensor, _, _) in enumerate(tensors) if tensor.data_location == tensor.EXTERNAL]
    large = sum(sizes[i] for i in external) + length > MOST_INLINE
    mapped: dict[str, np.ndarray] = {}
    with ExternalFiles(path, allow_root) as files:
        for i in external:
            tensor, place, is_initializer = tensors[i]
            data = files.read(tensor, sizes[i], place)
            if large and is_initializer:
                mapped[_mark(tensor, len(mapped))] = data
            else:
                tensor.ClearField("data_location")
                tensor.ClearField("external_data")
                tensor.raw_data = data.tobytes()
    return _on_maps(model, mapped) if mapped else model


def _parse(path: Path) -> tuple[Any, int]:
    """The message and how long it is in the file: to ask the message itself would serialize it once more."""
    onnx = require("onnx")
    from google.protobuf.message import DecodeError

    with opened(path) as handle:
        length = size_of(handle)
        if length > MOST_PROTOBUF:
            raise Usage(
                f"{path.name} is larger than 2 GiB", why="a protobuf message cannot be", hint="Use external data"
            )
        model = onnx.ModelProto()
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text, memoryview(text) as view:
            try:
                model.ParseFromString(view)
            except DecodeError as error:
                if any(word in str(error).lower() for word in ("depth", "recursion")):
                    raise UnsafeFile(f"{path.name} is nested too deeply", why="it could overflow the stack") from None
                raise damaged(path.name, "its protobuf message does not parse") from None
    if not model.HasField("graph"):
        raise damaged(path.name, "it has no graph")
    return model, length


def _tensors(model: Any) -> Iterator[tuple[Any, str, bool]]:
    """Every tensor of the model, wherever it hides: itself, where it stands, whether it is a graph's initializer."""
    stack = [(model, "the model", False)]
    while stack:
        message, place, is_initializer = stack.pop()
        if message.DESCRIPTOR.name == "TensorProto":
            yield (
                message,
                f"tensor {message.name!r} in {place}" if message.name else f"a tensor in {place}",
                is_initializer,
            )
            continue
        name = getattr(message, "name", "")
        place = f"{message.DESCRIPTOR.name.removesuffix('Proto').lower()} {name!r}" if name else place
        for field, value in message.ListFields():
            if field.message_type and field.message_type.name.removesuffix("Proto") in CARRIERS:
                several = [value] if hasattr(value, "DESCRIPTOR") else value
                stack.extend((child, place, field.name == "initializer") for child in several)


def _judge_messages(model: Any, name: str, trust: bool) -> None:
    """Refuse texts that are not UTF-8, which protobuf hands over as bytes, and operators that are not trusted."""
    stack = [model]
    while stack:
        message = stack.pop()
        if not trust and message.DESCRIPTOR.name == "NodeProto" and message.domain == LEARNING:
            raise UnsafeFile(
                f"{name} has an operator of {LEARNING}",
                where=message.op_type,
                why="kernels of such trees and vectors have read beyond their data",
                hint="If you trust whoever wrote the file, pass --trust, in Python trust=True",
            )
        for field, value in message.ListFields():
            if field.message_type:
                stack.extend([value] if hasattr(value, "DESCRIPTOR") else value)
            elif field.type == field.TYPE_STRING:
                for text in [value] if isinstance(value, str | bytes) else value:
                    if isinstance(text, bytes):
                        raise damaged(name, f"the {field.name} {text[:100]!r} is not UTF-8")


def _size(tensor: Any, place: str) -> int:
    """Bytes that the tensor's shape and type need; a shape that its data does not fill is refused."""
    if any(d < 0 for d in tensor.dims):
        raise UnsafeFile("a tensor has a negative size", where=place)
    count = math.prod(tensor.dims)
    type_name = tensor.DataType.Name(tensor.data_type) if tensor.data_type in tensor.DataType.values() else "unknown"
    bits = BITS.get(type_name)
    external = tensor.data_location == tensor.EXTERNAL
    if bits is None:
        if external or type_name != "STRING":
            raise Usage(f"a tensor has the element type {type_name}, which is not read", where=place)
        stored, needed = len(tensor.string_data), {count}
    elif external:
        stored, needed = 0, {0}
    elif tensor.HasField("raw_data"):
        stored, needed = len(tensor.raw_data), {-(-count * bits // 8)}
    else:
        stored = sum(len(getattr(tensor, field)) for field in TYPED)
        per_entry = max(1, 8 // bits)  # small numbers share an entry
        needed = {2 * count} if type_name.startswith("COMPLEX") else {count, -(-count // per_entry)}
    if stored not in needed:
        shape = "x".join(map(str, tensor.dims)) or "scalar"
        raise UnsafeFile(
            "a tensor's data does not fill its shape", where=place, why=f"{type_name} {shape}, {stored} stored"
        )
    return int(-(-count * (bits or 0) // 8))


def _judge_functions(model: Any, name: str) -> None:
    """Refuse model-local functions that call each other in a ring, or a graph that expands to far too many nodes."""
    bodies = {_key(f.domain, f.name, f): f for f in model.functions}
    if len(bodies) != len(model.functions):
        raise UnsafeFile(f"{name} defines a function twice")
    calls = {key: _called(body.node) for key, body in bodies.items()}
    calls["the graph",] = _called(model.graph.node)
    total: dict[Any, int] = {}
    depth: dict[Any, int] = {}
    for root in calls:
        stack: list[tuple[Any, bool]] = [(root, False)]
        open_calls: set[Any] = set()
        while stack:
            key, done = stack.pop()
            if done:
                open_calls.discard(key)
                total[key] = sum(total.get(callee, 1) for callee in calls[key])
                if total[key] > MOST_CALLS:
                    raise UnsafeFile(f"{name} expands beyond {MOST_CALLS:,} nodes", where=" ".join(filter(None, key)))
                depth[key] = 1 + max((depth.get(callee, 0) for callee in calls[key]), default=0)
                if depth[key] > MOST_NESTED:
                    raise UnsafeFile(f"{name} has functions nested deeper than {MOST_NESTED}", where=f"function {key[1]!r}")
            elif key not in total:
                if key in open_calls:
                    raise UnsafeFile(
                        f"{name} has functions that call each other in a ring", where=f"function {key[1]!r}"
                    )
                open_calls.add(key)
                stack.append((key, True))
                stack.extend((callee, False) for callee in set(calls[key]) if callee in calls)


def _key(domain: str, name: str, owner: Any) -> tuple[str, ...]:
    """What a function is called by; ONNX's own domain has two names."""
    return ("" if domain == "ai.onnx" else domain), name, getattr(owner, "overload", "")


def _called(nodes: Any) -> list[tuple[str, ...]]:
    """What every node calls, subgraphs included."""
    found, stack = [], list(nodes)
    while stack:
        node = stack.pop()
        found.append(_key(node.domain, node.op_type, node))
        for attribute in node.attribute:
            for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                stack.extend(graph.node)
    return found


def _mark(tensor: Any, number: int) -> str:
    """Write the tensor's number where its file's name stood, and return that."""
    del tensor.external_data[:]
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", f"mapped-{number}"
    return str(entry.value)


def _on_maps(model: Any, mapped: dict[str, np.ndarray]) -> Any:
    """The model as `onnx_ir`, its large tensors being views of the maps."""
    onnx_ir = require("onnx_ir")
    result = onnx_ir.from_proto(model)
    for graph in result.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if not isinstance(tensor, onnx_ir.ExternalTensor):
                continue
            data, kind = mapped[str(tensor.location)], tensor.dtype
            if kind.bitwidth < 8:
                value.const_value = onnx_ir.PackedTensor(data, kind, shape=tensor.shape, name=tensor.name)
            else:
                array = data.view(kind.numpy()).reshape(tensor.shape.numpy())
                value.const_value = onnx_ir.Tensor(array, dtype=kind, name=tensor.name)
    return result
