"""Makes `torch.export` quicker: no stack trace for each node, and no Python definition run only to learn a known shape.

With an open batch, torch learns the shape that a function gives from its own definition in Python, one call for each of
the additions and comparisons in it: 0.15 s for a hardswish. For functions of one tensor of floats, and for a batch norm
with fixed statistics, the result is as the first operand: told here, to torch's own table of such shortcuts. Where an
operand is unusual, or torch has no such table, torch's definition says it as ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

aten: Any = torch.ops.aten

# Functions of one tensor and numbers, with an in-place form each.
UNARY = (
    "celu", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "rsqrt", "sigmoid", "silu", "sqrt", "tanh",
)  # fmt: skip


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Exports within are quicker, and their nodes carry no stack traces; everything is then as it was."""
    config = torch.fx.config
    before = config.do_not_emit_stack_traces
    known = _table()
    told = {f: made for f, made in _shortcuts().items() if f not in known}
    config.do_not_emit_stack_traces = True
    known.update(told)
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before
        for function in told:
            known.pop(function, None)


def _table() -> dict[Any, Callable[..., Any]]:
    """Torch's shortcuts by operator; an empty table, which no one reads, where this torch has none."""
    try:
        from torch._subclasses.fake_impls import get_fast_op_impls
    except ImportError:
        return {}
    return get_fast_op_impls()


def _shortcuts() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import decomposition_table

    wanted: dict[Any, Callable[..., Any]] = {aten.cat.default: _joined, aten.clone.default: _copied}
    wanted[aten._native_batch_norm_legit_no_training.default] = _normalised
    for name in UNARY:
        wanted |= {getattr(aten, name).default: _copied, getattr(aten, f"{name}_").default: lambda mode, x, *_, **__: x}
    return {f: _shortcut(decomposition_table[f], told) for f, told in wanted.items() if f in decomposition_table}


def _shortcut(definition: Callable[..., Any], told: Callable[..., Any]) -> Callable[..., Any]:
    """The result as `told`, where each tensor is of floats and lies in memory in its order; otherwise as torch defines it."""
    from torch._prims_common import is_contiguous_or_false as in_order

    def shortcut(mode: Any, first: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = first if isinstance(first, list | tuple) else [first]
        if all(x.dtype.is_floating_point and x.layout == torch.strided and in_order(x) for x in tensors):
            made = told(mode, first, *args, **kwargs)
            if made is not None:
                return made
        with mode:
            return definition(first, *args, **kwargs)

    return shortcut


def _empty(mode: Any, shape: Any, like: torch.Tensor) -> torch.Tensor:
    from torch._subclasses.fake_tensor import FakeTensor

    return FakeTensor(mode, torch.empty(shape, dtype=like.dtype, device="meta"), device=like.device)


def _copied(mode: Any, x: torch.Tensor, *_: Any, memory_format: Any = None, **__: Any) -> torch.Tensor | None:
    return _empty(mode, x.shape, x) if memory_format in (None, torch.contiguous_format, torch.preserve_format) else None


def _normalised(mode: Any, x: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, ...]:
    """What was normalised, and the batch's statistics, which do not exist."""
    return _empty(mode, x.shape, x), _empty(mode, (0,), x), _empty(mode, (0,), x)


def _joined(mode: Any, tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor | None:
    """Tensors joined along an axis, where the texts of all other sizes are the same."""
    first = tensors[0]
    axis = dim % max(first.ndim, 1)
    others = {(x.dtype, x.device, x.ndim, *(str(s) for a, s in enumerate(x.shape) if a != axis)) for x in tensors}
    if first.ndim < 2 or len(others) > 1:  # of one axis, empty tensors of any shape may stand among them
        return None
    shape = list(first.shape)
    shape[axis] = sum(x.shape[axis] for x in tensors)
    return _empty(mode, shape, first)
