"""Optionals: values that may be absent.

| op                  | onnx                             | torch                    |
|---------------------|----------------------------------|--------------------------|
| Optional            | Optional                         | x, None                  |
| OptionalGetElement  | OptionalGetElement               | x                        |
| OptionalHasElement  | OptionalHasElement               | x is not None            |

An optional whose presence is known is no more than what it holds.
"""

import operator
from typing import Any

import numpy as np

from ..op import Shape, Value, exports, imports, kinds, op
from .sequence import OnSequences, asked_in_torch, fixed, opened, same_to_onnx


@op
class Optional(OnSequences):
    """An optional that is there (of one operand), or is not (of none)."""

    kind: Any  # what it holds, where it is not there

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        if not inputs:
            return [((), self.kind)]
        (x,) = inputs
        if isinstance(x.dtype, kinds.Optional):
            return [((), x.dtype)]
        return [((), kinds.Optional(x.dtype, None if isinstance(x.dtype, kinds.Sequence) else fixed(x.shape)))]

    def reference(self, *arrays: Any) -> Any:
        return arrays[0] if arrays else None


@op
class OptionalGetElement(OnSequences):
    """What an optional holds."""

    label: str

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        kind = inputs[0].dtype
        if isinstance(kind.content, kinds.Sequence):
            return [((), kind.content)]
        return [(opened(kind.shape, self.label), kind.content)]

    def reference(self, *arrays: Any) -> Any:
        if arrays[0] is None:
            raise ValueError("an optional that is not there has no element")
        return arrays[0]


@op
class OptionalHasElement(OnSequences):
    """Whether an optional is there."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [((), np.dtype(bool))]

    def reference(self, *arrays: Any) -> Any:
        return np.asarray(arrays[0] is not None)


# --- ONNX -------------------------------------------------------------------------------------------------------------


@imports("onnx", "Optional")
def optional_from_onnx(node, x=None):
    if x is not None:
        return Optional(kind=None)(x)
    (made,) = node.graph.emit(Optional(kind=node.kind_of(node.type)), ())
    return made


def held(value: Value) -> Value | None:
    """What an optional holds, where that is known."""
    made = value.node
    return made.inputs[0] if made is not None and isinstance(made.op, Optional) and made.inputs else None


@imports("onnx", "OptionalGetElement")
def optional_get_element_from_onnx(node, x):
    if not isinstance(x.dtype, kinds.Optional):
        return x
    return held(x) or OptionalGetElement(label=node.label)(x)


@imports("onnx", "OptionalHasElement")
def optional_has_element_from_onnx(node, x=None):
    if x is None or not isinstance(x.dtype, kinds.Optional) or isinstance(getattr(x.node, "op", None), Optional):
        return node.graph.constant(x is not None and (not isinstance(x.dtype, kinds.Optional) or held(x) is not None))
    return OptionalHasElement()(x)


exports("onnx", OptionalGetElement)(same_to_onnx)
exports("onnx", OptionalHasElement)(same_to_onnx)


@exports("onnx", Optional)
def optional_to_onnx(op, onnx, *x):
    return onnx.Optional(*x) if x else onnx.Optional(type=onnx.type_of(op.kind.content, op.kind.shape))


# --- PyTorch ----------------------------------------------------------------------------------------------------------


exports("torch", OptionalHasElement)(asked_in_torch)


@exports("torch", Optional)
def optional_to_torch(op, torch, *x):
    return x[0] if x else torch.call(operator.getitem, (None,), 0)  # a value of the graph that is None


@exports("torch", OptionalGetElement)
def optional_get_element_to_torch(op, torch, x):
    return x
