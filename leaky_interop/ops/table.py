"""Rows: one line makes a plain pointwise operator of a numpy function and its native names, for all frameworks.

    Exp = unary("Exp", "e to the power x.", np.exp, torch="exp", keras="exp", onnx="Exp")

defines the operator, its importers and its exporters. A native name is a function of the framework that has the same
meaning; where there is none, a function writes the shortest composition instead. What needs more than that is written
out in its family file.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Op, Pointwise, Shape, Value, exports, imports, op
from .promotion import aligned, as_value, floating, in_one_dtype

Native = str | Callable[..., Any]


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
          floats: bool = True, terms: Callable[..., Any] | None = None, **fields: Any) -> type[Op]:  # fmt: skip
    """A row of one operand.

    floats: integers become float32 first, as torch and Keras do. terms: for results that cancel, the magnitude that
    their error is measured by (see `Op.terms`). Further fields of the class: tolerance, predicate.
    """
    if terms is not None:
        fields |= {"tolerance": "sum", "terms": lambda self, *arrays: (1, terms(*(np.asarray(a, float) for a in arrays)))}
    kind = _kind(name, meaning, function, **fields)
    prepared = floating if floats else as_value

    def read(call: Any, x: Any) -> Any:
        return kind()(prepared(call, x))

    for framework, native in (("torch", torch), ("keras", keras), ("onnx", onnx)):
        if isinstance(native, str):
            imports(framework, _printed(framework, native))(_named(read, f"{name} from {framework}"))
        _writes(kind, framework, native)
    return kind


def binary(name: str, meaning: str, function: Callable[..., Any], *, torch: Native, keras: Native, onnx: Native,
           aten: tuple[str, ...] = (), legacy: bool = False, read: Callable[..., Any] | None = None,
           **fields: Any) -> type[Op]:  # fmt: skip
    """A row of two operands, brought to one dtype first.

    aten: the torch operators that take just these two operands. legacy: ONNX had it before opset 7, with an `axis`.
    read(x, y): what two operands mean where that is not always this operator. Further fields of the class: tolerance,
    predicate, symbolic, scalars.
    """
    kind = _kind(name, meaning, function, **{"scalars": True, **fields})

    def promoted(call: Any, x: Any, y: Any) -> Any:
        return (read or kind())(*in_one_dtype(call, x, y))

    if aten:
        imports("torch", *aten)(_named(promoted, f"{name} from torch"))
    if isinstance(keras, str):
        imports("keras", _printed("keras", keras))(_named(promoted, f"{name} from keras"))
    if isinstance(onnx, str):
        imports("onnx", onnx, since=7 if legacy else 1)(_named(promoted, f"{name} from onnx"))
        if legacy:
            imports("onnx", onnx)(_named(lambda node, x, y: promoted(node, *aligned(node, x, y)), f"{name} from old onnx"))
    for framework, native in (("torch", torch), ("keras", keras), ("onnx", onnx)):
        _writes(kind, framework, native)
    return kind


def _kind(name: str, meaning: str, function: Callable[..., Any], **fields: Any) -> type[Op]:
    return op(type(name, (Plain,), {"__doc__": meaning, "function": staticmethod(function), **fields}))


def _writes(kind: type[Op], framework: str, native: Native) -> None:
    """Register the exporter of a row: a native function, or the composition given for it."""

    def write(op: Op, fw: Any, *operands: Any) -> Any:
        if callable(native):
            return native(fw, *operands)
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
