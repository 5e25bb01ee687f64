"""What TorchScript computes with numbers, texts and lists: in Python, so that sizes may stay symbolic."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

# c10/core/ScalarType.h, c10/core/Layout.h, c10/core/MemoryFormat.h
TYPES = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, torch.qint8, torch.quint8, torch.qint32, torch.bfloat16,
)  # fmt: skip
LAYOUTS = (torch.strided,)
FORMATS = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
CODES: Mapping[str, Callable[[int], Any]] = {
    "ScalarType": TYPES.__getitem__,
    "Layout": LAYOUTS.__getitem__,
    "MemoryFormat": FORMATS.__getitem__,
}


def _divided(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    made = a / b
    return made if rounding_mode is None else math.floor(made) if rounding_mode == "floor" else math.trunc(made)


def _tensor(content: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> torch.Tensor:
    kind = TYPES[dtype] if isinstance(dtype, int) else dtype
    return (
        torch.scalar_tensor(content, dtype=kind or _kind(content))
        if not isinstance(content, list)
        else torch.tensor(content, dtype=kind)
    )


def _kind(content: Any) -> torch.dtype | None:
    if isinstance(content, bool | torch.SymBool):
        return torch.bool
    return torch.int64 if isinstance(content, int | torch.SymInt) else None


def _part(items: Any, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return items[start:end:step]


def _format(text: str, *values: Any) -> str:
    return text.format(*values)


def _same(value: Any, *_: Any) -> Any:
    return value


# By kind, where no operand is a tensor. What a trace holds as a tensor of one number (NumToTensor) is that number here.
PLAIN: Mapping[str, Callable[..., Any]] = {
    "aten::add": lambda a, b, alpha=1: a + b if alpha == 1 else a + alpha * b,
    "aten::sub": lambda a, b, alpha=1: a - alpha * b,
    "aten::rsub": lambda a, b, alpha=1: b - alpha * a,
    "aten::mul": operator.mul,
    "aten::div": _divided,
    "aten::floordiv": operator.floordiv,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::pow": operator.pow,
    "aten::neg": operator.neg,
    "prim::abs": abs,
    "aten::floor": math.floor,
    "aten::ceil": math.ceil,
    "aten::sqrt": math.sqrt,
    "aten::log": math.log,
    "prim::min": min,
    "prim::max": max,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::__not__": operator.not_,
    "aten::__getitem__": operator.getitem,
    "aten::__contains__": operator.contains,
    "aten::_set_item": operator.setitem,
    "prim::TupleIndex": operator.getitem,
    "aten::len": len,
    "aten::list": list,
    "aten::slice": _part,
    "aten::format": _format,
    "aten::Int": lambda a: a if isinstance(a, torch.SymInt) else int(a),
    "aten::Float": float,
    "aten::Bool": bool,
    "aten::IntImplicit": _same,
    "aten::FloatImplicit": _same,
    "aten::ScalarImplicit": _same,
    "prim::NumToTensor": _same,
    "aten::detach": _same,
    "aten::tensor": _tensor,
    "aten::as_tensor": _tensor,
    "aten::__range_length": lambda low, high, step: len(range(low, high, step)),
    "aten::__derive_index": lambda index, start, step: start + index * step,
    "aten::keys": lambda d: list(d.keys()),
    "aten::values": lambda d: list(d.values()),
    "aten::items": lambda d: list(d.items()),
    "aten::extend": lambda items, more: items.extend(more),
    "aten::copy": lambda items: type(items)(items),
}
