"""Rows: one line makes a plain pointwise operator of a numpy function and its native names, for all frameworks.

    Exp = unary("Exp", "e to the power x.", np.exp, torch="exp", keras="exp", onnx="Exp")

defines the operator, its importers and its exporters. A native name is a function of the framework that has the same
meaning; where there is none, a function writes the shortest composition instead. What needs more than that is written
out in its family file.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Op, Pointwise, Shape, Value, exports, imports, op
from .promotion import aligned, floating, in_one_dtype, in_stated_dtype

Native = str | Callable[..., Any]
SIGNS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
    "%": operator.mod,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "<<": operator.lshift, ">>": operator.rshift,
}  # fmt: skip


def widened(function: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """`function` as every framework computes it: float16 and bfloat16 in float32, rounded once at the end."""
    dtype = arrays[0].dtype
    if dtype.kind in "fV" and dtype.itemsize < 4:
        arrays = tuple(a.astype(np.float32) for a in arrays)
    with np.errstate(all="ignore"):
        result = np.asarray(function(*arrays))
    return result if result.dtype in (bool, object, dtype) else result.astype(dtype)


class Plain(Pointwise):
    """A numpy function of operands of one dtype."""

    function: Callable[..., Any]
    predicate = False  # answers with booleans

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        ((shape, dtype),) = super().infer(*inputs)
        return [(shape, np.dtype(bool) if self.predicate else dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(type(self).function, *arrays)


def unary(name: str, meaning: str, function: Callable[..., Any], *, torch: Native, keras: Native, onnx: Native,
          operand: Callable[..., Any] = floating, read: Callable[..., Any] | None = None,
          terms: Callable[..., Any] | None = None, **fields: Any) -> type[Op]:  # fmt: skip
    """A row of one operand.

    operand: what the frameworks do to it first; by default integers become float32. read(x): what it means where that
    is not always this operator. terms: for results that cancel, the magnitude that their error is measured by (see
    `Op.terms`). Further fields of the class: tolerance, predicate.
    """
    if terms is not None:
        fields |= {
            "tolerance": "sum",
            "terms": lambda self, *arrays: (1, terms(*(np.asarray(a, float) for a in arrays))),
        }
    kind = _kind(name, meaning, function, **fields)

    def prepared(call: Any, x: Any) -> Any:
        value = operand(call, x)
        return (read or kind())(value if kind.predicate else in_stated_dtype(call, value)[0])

    for framework, native in (("torch", torch), ("keras", keras), ("onnx", onnx)):
        if isinstance(native, str):
            imports(framework, _printed(framework, native))(_named(prepared, f"{name} from {framework}"))
        _writes(kind, framework, native)
    return kind


def binary(name: str, meaning: str, function: Callable[..., Any], *, torch: Native, keras: Native, onnx: Native,
           aten: tuple[str, ...] = (), ops: tuple[str, ...] = (), legacy: bool = False,
           operands: Callable[..., Any] = in_one_dtype, read: Callable[..., Any] | None = None,
           **fields: Any) -> type[Op]:  # fmt: skip
    """A row of two operands. torch may be a sign, "+".

    aten, ops: the torch and Keras operators that take just these two. legacy: ONNX had it before opset 7, with an
    `axis`. operands: what the frameworks do to them first; by default they are promoted to one dtype. read(x, y): what
    they mean where that is not always this operator. Further fields of the class: tolerance, predicate, symbolic.
    """
    kind = _kind(name, meaning, function, **{"scalars": True, **fields})

    def promoted(call: Any, x: Any, y: Any) -> Any:
        values = operands(call, x, y)
        return (read or kind())(*(values if kind.predicate else in_stated_dtype(call, *values)))

    printed = (_printed("keras", keras),) if isinstance(keras, str) else ()
    for framework, names in (("torch", aten), ("keras", (*printed, *ops))):
        if names:
            imports(framework, *names)(_named(promoted, f"{name} from {framework}"))
    if isinstance(onnx, str):
        imports("onnx", onnx, since=7 if legacy else 1)(_named(promoted, f"{name} from onnx"))
        if legacy:
            imports("onnx", onnx)(
                _named(lambda node, x, y: promoted(node, *aligned(node, x, y)), f"{name} from old onnx")
            )
    for framework, native in (("torch", torch), ("keras", keras), ("onnx", onnx)):
        _writes(kind, framework, native)
    return kind


def tensors(torch: Any, *operands: Any) -> list[Any]:
    """The operands of a torch function that takes no bare numbers."""
    values = zip(operands, torch.node.inputs, strict=True)
    return [torch.tensor(v) if isinstance(o, bool | int | float) else o for o, v in values]


def _kind(name: str, meaning: str, function: Callable[..., Any], **fields: Any) -> type[Op]:
    return op(type(name, (Plain,), {"__doc__": meaning, "function": staticmethod(function), **fields}))


def _writes(kind: type[Op], framework: str, native: Native) -> None:
    """Register the exporter of a row: a native function, or the composition given for it."""

    def write(op: Op, fw: Any, *operands: Any) -> Any:
        if callable(native):
            return native(fw, *operands)
        if native in SIGNS:
            return SIGNS[native](*operands)
        if framework == "torch":
            operands = tuple(tensors(fw, *operands))
        return getattr(fw.ops if framework == "keras" else fw, native)(*operands)

    exports(framework, kind)(_named(write, f"{kind.__name__} to {framework}"))


def _printed(framework: str, function: str) -> str:
    """What a framework prints for a function of this name: exp is aten.exp.default, ops.Exp, Exp."""
    camel = "".join(part.capitalize() for part in function.split("_"))
    return {"torch": f"aten.{function}.default", "keras": f"ops.{camel}", "onnx": function}[framework]


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """An adapter of its own, under the name that messages show."""

    def adapter(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    adapter.__name__ = adapter.__qualname__ = name
    return adapter
