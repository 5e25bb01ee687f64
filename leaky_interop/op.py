"""What an operator is, and the decorators that attach frameworks to it: all that an operator file needs.

An operator file imports numpy and this module, nothing else. It defines frozen `Op` classes without defaults,
importers (`@imports`) that turn one native call into ops, exporters (`@exports`) that write an op as ordinary code of
the target framework, and cases (`case`) on which all of them are tested.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from . import kinds
from .bodies import alike, run_body, sizes_outside, tells_sizes
from .errors import Refused
from .graph import Graph, Parameter, Value, prune
from .numeric import NARROW_INTEGERS, shortest
from .parameter import invert
from .sizes import (
    Dim,
    Shape,
    Size,
    agree,
    broadcast_together,
    ceil_divide,
    evaluate,
    maximum,
    may_agree,
    name_of,
    product,
    rename,
    symbol,
    symbols,
    together,
)  # fmt: skip

__all__ = [
    "CASES", "Case", "Dim", "Graph", "Link", "Moved", "Op", "Operand", "Parameter", "Pointwise", "Shape", "Size", "Value", "agree",
    "broadcast", "case", "ceil_divide", "constant", "exports", "imports", "invert", "kinds", "maximum",
    "may_agree", "name_of", "op", "product", "prune", "refuses", "rename", "run_body", "shortest", "sizes_outside", "symbol", "symbols",
    "tells_sizes", "together", "weight",
]  # fmt: skip

Perm = tuple[int, ...]
T = TypeVar("T", bound="Op")


@dataclasses.dataclass(frozen=True)
class Moved:
    """How an operator works when its data arrives permuted: `op(T(x), ...) == T'(moved(x, ...))`.

    `inputs` holds, per operand, the permutation that operand arrives in (None: it is not affected); `outputs` the
    permutation that each output then needs. A permuted operand of lower rank is broadcast to full rank first.
    """

    op: Op
    inputs: tuple[Perm | None, ...]
    outputs: tuple[Perm | None, ...]


@dataclasses.dataclass(frozen=True)
class Link:
    """Axes with one order: permute the entries along each of `inputs` (operand -> axis) and those of the result move alike.

    `output` is that axis of the result; None where it is summed away, so that the order no longer matters.
    """

    inputs: Mapping[int, int]
    output: int | None


class Op:
    """Base of every canonical operator: what it computes, on channels-first arrays. Axes are non-negative.

    Subclasses are frozen dataclasses made by `@op`; none of their fields has a default, because frameworks disagree
    about defaults: an importer writes down every value.
    """

    tolerance: ClassVar[str] = "rounding"  # "exact" | "rounding" | "sum": see verify
    deterministic: ClassVar[bool] = True
    weights: ClassVar[tuple[int, ...]] = ()  # operands that a native module may hold: exporters get the Value itself
    any_dtype: ClassVar[bool] = False  # reads even the element types in which a framework has no arithmetic
    texts: ClassVar[bool] = False  # exporters take arrays of text; what does not only moves or compares elements of any kind
    scalars: ClassVar[bool] = False  # exporters take a constant of rank 0 as a Python number
    folds: ClassVar[bool] = True  # on constants alone, its result is a constant
    grid: ClassVar[str] = ""  # "made": rounds to few numbers, so that a small difference may become a step; "kept": hands them on
    symbolic: ClassVar[bool] = False  # the reference also computes on object arrays of sizes: shape arithmetic

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        """Shape and dtype of each output. The default: those of the first input."""
        return [(inputs[0].shape, inputs[0].dtype)]  # type: ignore[union-attr]

    def reference(self, *arrays: Any) -> Any:
        """The definition, in plain numpy."""
        raise NotImplementedError(f"{type(self).__name__} has no reference")

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """The same job on permuted data. None, the default, means that data must arrive unpermuted: always safe."""
        return None

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        """The axes that carry one and the same order of features through this operator: see `Link`."""
        return []

    def view(self, *inputs: Value | None) -> Parameter | None:
        """The result as a view of a weight, where the operator only moves the numbers of one."""
        return None

    def told(self, *inputs: Value | None) -> Value | None:
        """The result as a value that exists already, or of a simpler operator, where the operands tell it."""
        return None

    def lowered(self, exact: Any, *inputs: Value | None) -> Any:
        """The results in other operators, for frameworks without an exporter; `exact` is their widest float dtype."""
        raise NotImplementedError(f"{type(self).__name__} is said in no other operators")

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        """For tolerance "sum": the number of terms of each sum, and the sum of their absolute values."""
        absolute = (None if a is None else np.abs(a) for a in arrays)
        return self.length(*arrays), self.reference(*absolute)

    def length(self, *arrays: np.ndarray) -> int:
        """For tolerance "sum": how many terms each output adds up."""
        raise NotImplementedError(f"{type(self).__name__} is a sum and must say of how many terms")

    def readings(self, *arrays: Any) -> Mapping[str, np.ndarray]:
        """By name, the legal results where several are (a slope held in float32, or rounded to float16); usually none."""
        return {}

    @property
    def open(self) -> bool:
        """Whether a field holds a size that is known only at run time."""
        return any(symbols(getattr(self, f.name)) for f in dataclasses.fields(self))  # type: ignore[arg-type]

    @property
    def bodies(self) -> tuple[Graph, ...]:
        """The graphs that the operator runs: the branches of an If, the body of a Loop."""
        fields = (getattr(self, f.name) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return tuple(field for field in fields if isinstance(field, Graph))

    def with_bodies(self: T, change: Callable[[Graph], Graph]) -> T:
        """The operator with each of its graphs changed."""
        fields = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return dataclasses.replace(self, **{name: change(field) for name, field in fields if isinstance(field, Graph)})  # type: ignore[type-var]

    def bound(self: T, sizes: Mapping[str, int]) -> T:
        """The operator with every symbolic size replaced by its value."""
        changed = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Op):
                changed[field.name] = value.bound(sizes)
            elif symbols(value):
                changed[field.name] = evaluate(value, sizes)
        return dataclasses.replace(self, **changed) if changed else self  # type: ignore[type-var]

    def matches(self, other: Op) -> bool:
        """Equal, with floats compared as the 32-bit values that ONNX can store and sizes by value."""
        if type(self) is not type(other):
            return False
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return all(_same(a, b) for a, b in pairs)

    def __call__(self, *operands: Any) -> Any:
        """Apply to values while importing; one result alone, several as a tuple."""
        graph = next(o.graph for o in operands if isinstance(o, Value))
        outputs = graph.emit(self, operands)
        return outputs[0] if len(outputs) == 1 else outputs

    def __str__(self) -> str:
        fields = ", ".join(f"{f.name}={_text(getattr(self, f.name))}" for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({fields})" if fields else type(self).__name__


@dataclass_transform(frozen_default=True, kw_only_default=True)
def op(cls: type[T]) -> type[T]:
    """Freeze an operator class; a field with a default is an error."""
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    if "__str__" not in cls.__dict__:
        cls.__str__ = Op.__str__  # type: ignore[method-assign]
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING:
            raise TypeError(f"{cls.__name__}.{field.name} has a default; importers must write every value down")
    return cls


class Pointwise(Op):
    """An operator on elements that stand at the same place, with numpy broadcasting between its operands."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        live = [v for v in inputs if v is not None]
        kinds = {v.dtype for v in live}
        if len(kinds) > 1:
            raise TypeError(f"{self} takes operands of one dtype, received {sorted(map(str, kinds))}: cast in the importer")
        return [(broadcast(*(v.shape for v in live)), live[0].dtype)]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        extra = max(v.rank for v in inputs if v is not None) - len(perm)  # a broadcast operand may have fewer axes
        perm = (*range(extra), *(p + extra for p in perm))
        return Moved(self, (perm,) * len(inputs), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        rank = max(v.rank for v in inputs if v is not None)
        found = []
        for axis in range(rank):
            places = {i: axis - (rank - v.rank) for i, v in enumerate(inputs) if v is not None}
            found.append(Link({i: a for i, a in places.items() if a >= 0 and inputs[i].shape[a] != 1}, axis))  # type: ignore[union-attr]
        return found


def broadcast(*shapes: Shape) -> Shape:
    """The shape that several shapes broadcast to, numpy's rule; a symbolic size is taken to be the larger."""
    rank = max(map(len, shapes))
    result: list[Dim] = []
    for dims in zip(*((1,) * (rank - len(s)) + tuple(s) for s in shapes), strict=True):
        size: Dim | None = 1
        for dim in dims:
            size = dim if size == 1 else size if dim == 1 or size is None else broadcast_together(size, dim)
        if size is None:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} do not broadcast")
        result.append(size)
    return tuple(result)


# --- attaching frameworks ---------------------------------------------------------------------------------------------

IMPORTERS: dict[tuple[str, str], list[tuple[int, Callable[..., Any]]]] = {}  # newest first: (since, importer)
EXPORTERS: dict[tuple[str, type[Op]], Callable[..., Any]] = {}
REFUSING: set[Callable[..., Any]] = set()  # importers that only say why there is none
CHANNELS_LAST: set[Callable[..., Any]] = set()  # adapters of frameworks that keep channels last
F = TypeVar("F", bound=Callable[..., Any])


def imports(framework: str, *native: Any, since: int = 1, channels_last: bool = False) -> Callable[[F], F]:
    """Register an importer for native operators, named by the exact string the framework prints.

    A class (a Keras layer of the user's own) or an operator (torch.ops.mine.twice.default) may stand for its name. The
    same function defined anew, as in a notebook's cell that is run twice, takes the place of the first.

    since: first opset (ONNX) whose meaning the importer reads. channels_last: the native operator follows its
    framework's `data_format`; the engine then hands over channels-first data and turns the results back.
    """

    def register(importer: F) -> F:
        for one in native:
            name = f"{one.__module__}.{one.__qualname__}" if isinstance(one, type) else str(one)
            versions = IMPORTERS.setdefault((framework, name), [])
            versions[:] = [v for v in versions if _identity(v[1]) != _identity(importer) or v[0] != since]
            if any(version == since for version, _ in versions):
                raise ValueError(f"{framework} {name} (since {since}) is imported twice: {importer.__name__} is the second")
            versions.append((since, importer))
            versions.sort(key=lambda v: -v[0])
        if channels_last:
            CHANNELS_LAST.add(importer)
        return importer

    return register


def _identity(importer: Callable[..., Any]) -> tuple[str, str]:
    return importer.__module__, importer.__qualname__


def refuses(framework: str, *native: str, what: str, why: str, instead: str) -> None:
    """Register native operators that nothing converts: who meets one is told why, and what to do."""

    def refuse(call: Any, *operands: Any) -> Any:
        name = getattr(call.native, "op_type", None) or type(call.native).__name__
        raise Refused(f"{name}, {what}", why=why, hint=instead)

    REFUSING.add(refuse)
    imports(framework, *native)(refuse)


def exports(framework: str, kind: type[Op], *, channels_last: bool = False) -> Callable[[F], F]:
    """Register the exporter of an operator. channels_last: it writes an operator that wants channels-last data."""

    def register(exporter: F) -> F:
        if (framework, kind) in EXPORTERS:
            raise ValueError(f"{framework} already exports {kind.__name__} by {EXPORTERS[framework, kind].__name__}")
        EXPORTERS[framework, kind] = exporter
        if channels_last:
            CHANNELS_LAST.add(exporter)
        return exporter

    return register


def importer_of(framework: str, native: str, version: int = 1_000_000) -> Callable[..., Any] | None:
    """The importer that reads `native` as of a version: the newest not newer than asked."""
    return next((fn for since, fn in IMPORTERS.get((framework, native), ()) if since <= version), None)


# --- cases ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Operand:
    """One operand of a case: a shape to draw, or numbers as they are."""

    shape: tuple[int, ...] = ()
    kind: str = "input"  # "input" | "weight" | "constant"
    dtype: str = "float32"
    low: float | None = None  # uniform in [low, high) instead of normal; integers always
    high: float | None = None
    numbers: Any = None

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Seeded random numbers of this operand's shape and dtype."""
        from .numeric import dtype

        kind = dtype(self.dtype)
        if self.numbers is not None:
            return np.asarray(self.numbers, kind)
        if kind.kind == "b":
            return rng.random(self.shape) < 0.5
        if kind.kind in "iu" or self.dtype in NARROW_INTEGERS:
            return rng.integers(int(self.low or 0), int(5 if self.high is None else self.high), self.shape).astype(kind)
        if self.low is not None and self.high is not None:
            return rng.uniform(self.low, self.high, self.shape).astype(kind)
        return (rng.standard_normal(self.shape) * (0.4 if self.kind == "weight" else 1.5)).astype(kind)


@dataclasses.dataclass(frozen=True)
class Case:
    """One configuration of one operator, tested through every framework."""

    name: str
    op: Op
    operands: tuple[Operand | None, ...]
    refused: Mapping[str, str]  # framework -> why it cannot say this exactly
    refused_computed: Mapping[str, str]  # framework -> why it cannot, where the weights are computed
    composed: Mapping[str, str]  # framework -> as what it comes back, where no native form says it as one operator

    def arrays(self, seed: int = 0) -> list[np.ndarray | None]:
        """Seeded numbers for every operand."""
        rng = np.random.default_rng(seed)
        return [None if o is None else o.draw(rng) for o in self.operands]


CASES: dict[str, Case] = {}


def case(
    name: str,
    op: Op,
    *operands: Any,
    refused: Mapping[str, str] | None = None,
    refused_computed: Mapping[str, str] | None = None,
    composed: Mapping[str, str] | None = None,
) -> None:
    """Declare a case "op/what_is_special". Operands are shapes of float32 inputs, `Operand`s, or None.

    refused, refused_computed, composed: by framework, the reason why it must be refused (with weights; with computed
    weights), or in which other operators it comes back.
    """
    if name in CASES:
        raise ValueError(f"case {name} is declared twice")
    made = tuple(Operand(o) if isinstance(o, tuple) else o for o in operands)
    CASES[name] = Case(name, op, made, dict(refused or {}), dict(refused_computed or {}), dict(composed or {}))


def weight(*shape: int, dtype: str = "float32", low: float | None = None, high: float | None = None) -> Operand:
    """A weight of a case: tested as a Parameter and again as a computed operand."""
    return Operand(shape, "weight", dtype, low, high)


def constant(numbers: Any, dtype: str = "float32") -> Operand:
    """Fixed numbers of a case."""
    from .numeric import dtype as by_name

    array = np.asarray(numbers, by_name(dtype))
    return Operand(array.shape, "constant", dtype, numbers=numbers)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or np.float32(a) == np.float32(b) or (a != a and b != b)
    if isinstance(a, Op) and isinstance(b, Op):
        return a.matches(b)
    if isinstance(a, Graph) and isinstance(b, Graph):
        return alike(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a == b or ((isinstance(a, Size) or isinstance(b, Size)) and agree(a, b))


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Graph):
        return f"<{len(value.nodes)} nodes>"
    return str(value) if isinstance(value, Size | Op) else repr(value)
