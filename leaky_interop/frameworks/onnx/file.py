"""ONNX files: the message weight by weight, so that it is never in memory a second time, and large weights beside it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from ...graph import Graph
from ...numeric import BITS

SMALL = 1024  # bytes of a tensor that always stays in the message: readers look there for shapes
MOST_INLINE = 1500 * 2**20  # bytes of weights in one file; a protobuf message cannot pass 2 GiB
PAGE = 4096  # bytes; external tensors start on pages, so that runtimes can map them


def save(model: onnx.ModelProto, path: Path, graph: Graph, *, external_data: bool | None = None) -> None:
    """Write an `.onnx` file, weight by weight: the whole message is never in memory a second time.

    external_data : whether the numbers go into a file of their own beside it, `net.onnx.data`; where nothing is said,
        above `MOST_INLINE` bytes. Source: onnx, docs/ExternalData.md.
    """
    stream(model, path, lambda index: model.graph.initializer[index].raw_data, external_data)


def stream(model: onnx.ModelProto, path: Path, numbers: Callable[[int], Any], external_data: bool | None) -> None:
    """Write a model whose tensors' raw data comes one at a time, as bytes or an array.

    A tensor without raw data, of which only name, shape and type are here, gets it all the same: that is how a weight
    goes from its owner into the file.
    """
    tensors = model.graph.initializer
    counts = [_bytes(t) for t in tensors]
    outside = [False] * len(counts)
    if external_data or (external_data is None and sum(counts) > MOST_INLINE):
        outside = [count > SMALL for count in counts]
    heads, place = [], 0
    for tensor, count, out in zip(tensors, counts, outside, strict=True):
        head = _without(tensor, "raw_data")
        if out:
            place += -place % PAGE
            head += _location(f"{path.name}.data", place, count)
            place += count
        else:
            head += _prefix(onnx.TensorProto, "raw_data", count)
        heads.append(_prefix(onnx.GraphProto, "initializer", len(head) + (0 if out else count)) + head)
    body = _without(model.graph, "initializer")
    inside = sum(count for count, out in zip(counts, outside, strict=True) if not out)
    with contextlib.ExitStack() as files:
        file = files.enter_context(path.open("wb"))
        beside = files.enter_context(path.with_name(f"{path.name}.data").open("wb")) if any(outside) else file
        file.write(
            _without(model, "graph")
            + _prefix(onnx.ModelProto, "graph", len(body) + sum(map(len, heads)) + inside)
            + body
        )
        for index, (head, count, out) in enumerate(zip(heads, counts, outside, strict=True)):
            file.write(head)
            if out:
                beside.write(bytes(-beside.tell() % PAGE))
            written = (beside if out else file).write(numbers(index))
            assert written == count, f"{tensors[index].name}: {written} bytes instead of {count}"


def _bytes(tensor: onnx.TensorProto) -> int:
    """How many bytes the numbers of a tensor take: those of 4 and 2 bits are packed."""
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return -(-math.prod(tensor.dims) * BITS.get(dtype.name, 8 * dtype.itemsize) // 8)


def _location(name: str, offset: int, length: int) -> bytes:
    """The fields that send a reader to another file."""
    tensor = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", name), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor.SerializeToString()


def _without(message: Any, name: str) -> bytes:
    """A message without one of its fields, serialized."""
    return type(message)(
        **{field.name: value for field, value in message.ListFields() if field.name != name}
    ).SerializeToString()


def _prefix(kind: Any, name: str, size: int) -> bytes:
    """What stands before a message of `size` bytes in a field: the field's number, and the size in seven bits a byte.

    Source: protobuf.dev/programming-guides/encoding, "length-delimited records".
    """
    found = bytearray([kind.DESCRIPTOR.fields_by_name[name].number << 3 | 2])
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size])
