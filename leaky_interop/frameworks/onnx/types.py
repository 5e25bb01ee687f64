"""Between ONNX's types and the shapes, dtypes and kinds of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from ... import kinds
from ...errors import Refused
from ...graph import Value
from ...sizes import name_of


def read_type(proto: Any) -> tuple[kinds.Sizes | None, Any]:
    """What a file says of a value: sizes (None where they are open, or all are) and dtype or kind.

    A sequence's members of rank 0 may have any rank: that is what onnx's own tools write for those.
    """
    if proto.HasField("sequence_type"):
        shape, dtype = read_type(proto.sequence_type.elem_type)
        return (), kinds.Sequence(dtype, shape or None)
    if proto.HasField("optional_type"):
        shape, dtype = read_type(proto.optional_type.elem_type)
        return (), kinds.Optional(dtype, shape)
    if not proto.HasField("tensor_type"):
        raise Refused("a value that is no tensor, sequence or optional", why="maps and sparse tensors are no values here")
    tensor = proto.tensor_type
    sizes = tuple(d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim)
    return sizes if tensor.HasField("shape") else None, np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))


def type_proto(dtype: Any, shape: Any) -> onnx.TypeProto:
    """The type of a value; a shape of None is left out."""
    if isinstance(dtype, kinds.Optional):
        return helper.make_optional_type_proto(type_proto(dtype.content, dtype.shape))
    if isinstance(dtype, kinds.Sequence):
        return helper.make_sequence_type_proto(type_proto(dtype.element, None if dtype.empty else dtype.shape))
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(dtype), shape)


def info(name: str, value: Value) -> onnx.ValueInfoProto:
    """Type and shape of a port; a symbol keeps its name, an expression stays open."""
    dims = [d if isinstance(d, int) else open_size.lstrip("?") if (open_size := name_of(d)) else None for d in value.shape]
    return helper.make_value_info(name, type_proto(value.dtype, dims))
