"""Symbolic sizes: integers that are known only when a network runs, as small exact expressions.

A dimension is a plain `int` where it is fixed and a `Size` where it is not. A `Size` is a polynomial in named
symbols ("batch", "height") with integer coefficients, whose atoms may also be floor divisions and maxima, so that the
arithmetic of padding, striding and flattening stays exact: `(h + 2 - 3) // 2 + 1`. Expressions that come out constant
are plain ints again. Nothing here knows a framework.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NoReturn, Union

from .errors import OpenSize

Dim = Union[int, "Size"]
Shape = tuple[Dim, ...]
_Monomial = tuple[Any, ...]  # atoms, sorted by text, repeated for powers


@dataclasses.dataclass(frozen=True)
class _Call:
    """An atom that is no symbol: floor division or maximum of two expressions."""

    name: str  # "//" or "max"
    left: Dim
    right: Dim

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    @functools.cached_property
    def text(self) -> str:
        if self.name == "max":
            return f"max({self.left}, {self.right})"
        return " // ".join(str(s) if isinstance(s, int) or len(s.terms) == 1 else f"({s})" for s in (self.left, self.right))


class Size:
    """An integer expression in named symbols. Immutable, hashable; equal when the normal forms are equal."""

    def __init__(self, terms: Mapping[_Monomial, int]):
        self.terms = tuple(sorted(((m, c) for m, c in terms.items() if c), key=_place))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.text)

    def __bool__(self) -> bool:
        raise OpenSize(f"the size {self} is not known, so it has no truth value", why="compare with == or `agree`")

    def refuse(self, *_: Any) -> NoReturn:
        """What asks for a plain number, or for which of two sizes is larger, has none before the run."""
        raise OpenSize(f"the open size {self}", why="a number is needed before the run", hint="Fix it with input_shapes")

    __lt__ = __le__ = __gt__ = __ge__ = __index__ = __int__ = __float__ = refuse
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __round__ = __abs__ = refuse

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other):
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _settle(terms)

    def __mul__(self, other: Dim) -> Dim:
        terms: dict[_Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in _terms(other):
                key = tuple(sorted(m1 + m2, key=str))
                terms[key] = terms.get(key, 0) + c1 * c2
        return _settle(terms)

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + (other * -1)

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floor_divide(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - other * floor_divide(self, other)

    def __str__(self) -> str:
        return self.text

    @functools.cached_property
    def text(self) -> str:
        text = ""
        for monomial, coefficient in reversed(self.terms):
            factors = [a if isinstance(a, str) else f"({a})" for a in monomial]
            if abs(coefficient) != 1 or not monomial:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+"
            text += f" {sign} {'*'.join(factors)}" if text else f"{'-' if sign == '-' else ''}{'*'.join(factors)}"
        return text

    def __repr__(self) -> str:
        return f"Size({self})"


def symbol(name: str) -> Size:
    """A size known only by its name."""
    return Size({(name,): 1})


def measured(name: str) -> Size:
    """A size that follows from no input's shape: a run tells it, when it computes the value that has it as a dimension."""
    return symbol(f"?{name}")


def name_of(size: Dim) -> str | None:
    """The name of a size that is a symbol alone; None for a number and for every other expression."""
    if not isinstance(size, Size) or len(size.terms) != 1:
        return None
    (monomial, coefficient), = size.terms
    return monomial[0] if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], str) else None


def is_measured(size: Dim) -> bool:
    """Whether a size is a symbol that only a run tells, alone."""
    return (name_of(size) or "").startswith("?")


def floor_divide(left: Dim, right: Dim) -> Dim:
    """Python's floor division, simplified where the divisor is a known integer or divides exactly."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if not isinstance(right, int):
        if (quotient := _divide_exactly(left, right)) is not None:
            return quotient
        return Size({(_Call("//", left, right),): 1})
    if isinstance(left, Size) and len(left.terms) == 1:
        (monomial, coefficient), = left.terms
        inner = monomial[0] if len(monomial) == 1 and coefficient == 1 else None
        if isinstance(inner, _Call) and inner.name == "//" and isinstance(inner.right, int):
            return floor_divide(inner.left, inner.right * right)  # (x // a) // b
    whole: dict[_Monomial, int] = {}
    rest: dict[_Monomial, int] = {}
    for monomial, coefficient in _terms(left):
        whole[monomial], rest[monomial] = divmod(coefficient, right)
    remainder = _settle(rest)
    if isinstance(remainder, int):
        return _settle(whole) + remainder // right
    return _settle(whole) + Size({(_Call("//", remainder, right),): 1})


def maximum(left: Dim, right: Dim) -> Dim:
    """The larger of two sizes."""
    if isinstance(left, int) and isinstance(right, int):
        return max(left, right)
    return left if left == right else Size({(_Call("max", left, right),): 1})


def minimum(left: Dim, right: Dim) -> Dim:
    """The smaller of two sizes."""
    return -1 * maximum(-1 * left, -1 * right)


def ceil_divide(left: Dim, right: Dim) -> Dim:
    """Division rounded up."""
    return -1 * floor_divide(-1 * left, right)


def scaled(size: Dim, factor: float) -> Dim:
    """size * factor rounded down, as floats compute it. Raises ValueError for an open size that no fraction scales alike."""
    if isinstance(size, int):
        return int(size * factor)
    ratio = Fraction(factor).limit_denominator(1024)
    if any(int(n * factor) != n * ratio.numerator // ratio.denominator for n in range(1, 4097)):
        raise ValueError(f"{size} * {factor} cannot be said in whole numbers")
    return floor_divide(size * ratio.numerator, ratio.denominator)


def product(dims: Any) -> Dim:
    """The product of all dimensions, 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def symbols(tree: Any) -> set[str]:
    """The names of every symbol in a size, or in any nesting of tuples that holds sizes."""
    if isinstance(tree, Size):
        return {name for monomial, _ in tree.terms for atom in monomial for name in _atom_symbols(atom)}
    if isinstance(tree, tuple | list):
        return set().union(*(symbols(t) for t in tree)) if tree else set()
    return set()


def evaluate(tree: Any, values: Mapping[str, Any]) -> Any:
    """`tree` with every size computed from its symbols' values, which may be ints or anything that does arithmetic."""
    if isinstance(tree, Size):
        return fold(tree, lambda name: values[name], _floor_divide, _maximum)
    if isinstance(tree, tuple | list):
        return type(tree)(evaluate(t, values) for t in tree)
    return tree


def fold(size: Dim, of_symbol: Callable[[str], Any], divide: Callable[..., Any], largest: Callable[..., Any]) -> Any:
    """Compute a size in another arithmetic: a framework's own symbolic integers, for instance."""
    if isinstance(size, int):
        return size
    total: Any = None
    for monomial, coefficient in size.terms:
        term: Any = None
        for atom in monomial:
            if isinstance(atom, str):
                factor = of_symbol(atom)
            else:
                left, right = (fold(side, of_symbol, divide, largest) for side in (atom.left, atom.right))
                factor = divide(left, right) if atom.name == "//" else largest(left, right)
            term = factor if term is None else term * factor
        term = coefficient if term is None else term if coefficient == 1 else term * coefficient
        total = term if total is None else total + term
    return 0 if total is None else total


def agree(left: Any, right: Any) -> bool:
    """Whether two sizes (or shapes) have equal values, tried on a spread of symbol values where the forms differ."""
    if isinstance(left, tuple | list) or isinstance(right, tuple | list):
        return len(left) == len(right) and all(agree(a, b) for a, b in zip(left, right, strict=True))
    if left == right:
        return True
    names = sorted(symbols(left) | symbols(right))
    if not names:
        return False
    draw = random.Random(7)
    for _ in range(24):
        values = {name: draw.choice((1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 97, 224)) for name in names}
        try:
            if evaluate(left, values) != evaluate(right, values):
                return False
        except ZeroDivisionError:
            continue
    return True


def may_agree(left: Dim, right: Dim) -> bool:
    """Whether two sizes are equal for some values of their symbols: half of an open size, twice, is that size if it is even."""
    if left == right or any(is_measured(a) and isinstance(b, int) and b >= 0 for a, b in ((left, right), (right, left))):
        return True
    names = sorted(symbols(left) | symbols(right))
    draw = random.Random(7)
    for _ in range(24 if names else 0):
        values = {name: draw.choice((1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 96, 224)) for name in names}
        with contextlib.suppress(ZeroDivisionError):
            if evaluate(left, values) == evaluate(right, values):
                return True
    return False


def together(left: Dim, right: Dim) -> Dim | None:
    """The size of two that must be equal for the network to run at all; None where they never are.

    A U-Net's skip connections meet only for some sizes: which, the run decides. The known or the simpler form is kept.
    """
    if not may_agree(left, right):
        return None
    return min(left, right, key=lambda size: (isinstance(size, Size), len(str(size)), str(size)))


def broadcast_together(left: Dim, right: Dim) -> Dim | None:
    """The size that two come to where one of them may be 1: the larger, where only a run tells which that is."""
    met = together(left, right)
    open_ones = isinstance(left, Size) and isinstance(right, Size) and left != right
    return maximum(left, right) if met is not None and open_ones and any(n[0] == "?" for n in symbols((left, right))) else met


def rename(tree: Any, names: Mapping[str, Dim]) -> Any:
    """`tree` with symbols replaced by other sizes."""
    return evaluate(tree, {name: names.get(name, symbol(name)) for name in symbols(tree)})


def _place(term: tuple[_Monomial, int]) -> tuple[int, list[tuple[bool, str]]]:
    """Where a term stands in the normal form: short ones before long ones, symbols before calls."""
    return len(term[0]), [(isinstance(atom, _Call), str(atom)) for atom in term[0]]


def _terms(size: Dim) -> tuple[tuple[_Monomial, int], ...]:
    if isinstance(size, Size):
        return size.terms
    if size != int(size):
        raise TypeError(f"sizes are whole numbers, {size} is not one")
    return (((), int(size)),)


def _settle(terms: Mapping[_Monomial, int]) -> Dim:
    """The plain int where no symbol is left."""
    live = {m: c for m, c in terms.items() if c}
    return live.get((), 0) if not any(live) else Size(live)


def _divide_exactly(left: Dim, right: Size) -> Dim | None:
    """The quotient by a single monomial that is a factor of every term."""
    if len(right.terms) != 1:
        return 1 if left == right else None
    (divisor, scale), quotient = right.terms[0], {}
    for monomial, coefficient in _terms(left):
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % scale:
            return None
        quotient[tuple(rest)] = coefficient // scale
    return _settle(quotient)


def _atom_symbols(atom: Any) -> set[str]:
    return {atom} if isinstance(atom, str) else symbols((atom.left, atom.right))


def _floor_divide(left: Any, right: Any) -> Any:
    return left // right


def _maximum(left: Any, right: Any) -> Any:
    return maximum(left, right) if isinstance(left, int | Size) else max(left, right)
