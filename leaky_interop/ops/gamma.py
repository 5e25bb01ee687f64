"""The logarithm of the gamma function, and its derivatives, which only PyTorch has.

| meaning  | torch                        | elsewhere                                                                       |
|----------|------------------------------|---------------------------------------------------------------------------------|
| LogGamma | lgamma                       | (x - 1)(x - 2) times a Chebyshev series below 3, Stirling's series from there on |
| PolyGamma | digamma (order 0), polygamma | steps of the recurrence, then the asymptotic series                             |

Below 1/2 both are reflected: by the sine of pi x, and by the derivatives of its cotangent. float64 is PyTorch's alone.
PyTorch's own order 1 is exact to nine digits, and large at its poles, where it should be infinite; from order 2 on it is NaN
at infinity, where it should be 0.
"""

import functools
import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Operand, Pointwise, Value, case, exports, imports, op
from .compare import Equal, Greater, Less, Where
from .functions import Abs, Cos, Log, Reciprocal, Round, Sin
from .logic import And
from .math import Add, Div, Mul, Sub
from .promotion import floating
from .table import widened

HIGHEST = 12  # order of a derivative whose steps are written out
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)  # of the even orders from 2 on


def _in_numbers(function: Any, x: np.ndarray) -> np.ndarray:
    """A function of one Python float, of every element of an array."""
    return np.fromiter(map(function, x.ravel().tolist()), float, x.size).reshape(x.shape)


def _log_gamma(x: float) -> float:
    if math.isnan(x) or math.isinf(x):
        return abs(x)
    return math.inf if x <= 0 and x == math.floor(x) else math.lgamma(x) if x < 1e305 else math.inf


def _poly_gamma(order: int, x: float) -> float:
    if x == 0 and order == 0:
        return math.copysign(math.inf, -x)
    if x <= 0 and x == math.floor(x) and not math.isinf(x):
        return math.nan if order == 0 else (-1) ** (order + 1) * math.inf
    if math.isnan(x) or x == -math.inf:
        return math.nan
    if x < 0.5:
        rest = math.pi * (x - round(x))
        curve = np.polyval(_cotangent(order)[::-1], math.cos(rest) / math.sin(rest))
        return float((-1) ** order * _poly_gamma(order, 1 - x) - math.pi ** (order + 1) * curve)
    if x == math.inf:
        return math.inf if order == 0 else (-1) ** (order + 1) * 0.0
    steps = 24 + order
    total = math.factorial(order) * sum((x + k) ** -(order + 1) for k in range(steps)) + _tail(order, x + steps)
    return total * (-1) ** (order + 1)


def _tail(order: int, z: float) -> float:
    """The asymptotic series, without its sign."""
    first = -math.log(z) if order == 0 else math.factorial(order - 1) / z**order
    first += math.factorial(order) / (2 * z ** (order + 1))
    return first + sum(c / z ** (2 * k + order) for k, c in _coefficients(order))


@functools.cache
def _coefficients(order: int) -> tuple[tuple[int, float], ...]:
    return tuple((k, b * math.factorial(2 * k + order - 1) / math.factorial(2 * k)) for k, b in enumerate(BERNOULLI, 1))


@functools.cache
def _cotangent(order: int) -> np.ndarray:
    """The derivative of cot(t) as a polynomial in it, coefficients of rising powers."""
    p = np.array([0.0, 1.0])
    for _ in range(order):
        p = -np.polynomial.polynomial.polymul([1.0, 0.0, 1.0], np.polynomial.polynomial.polyder(p))
    return p


@functools.cache
def _near() -> np.ndarray:
    """Chebyshev coefficients of log gamma over (x - 1)(x - 2), for x from 1/2 to 3."""

    def share(t: np.ndarray) -> np.ndarray:
        x = 1.75 + 1.25 * t
        return _in_numbers(math.lgamma, x) / ((x - 1) * (x - 2))

    return np.polynomial.chebyshev.chebinterpolate(share, 23)


@op
class LogGamma(Pointwise):
    """The logarithm of the gamma function's absolute value."""

    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: _in_numbers(_log_gamma, x), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        x = arrays[0].astype(float)
        with np.errstate(all="ignore"):
            size = np.abs(_in_numbers(_log_gamma, x)) + np.abs(x) * (1 + np.log1p(np.abs(x)))
        return 16, np.where(np.isfinite(size), size, 0)

    def lowered(self, exact, x):
        x, dtype = _in_float32(self, x)
        low = Less()(x, 0.5)
        z = Where()(low, Sub()(1.0, x), x)
        t = Sub()(Mul()(Where()(Less()(z, 3.0), z, 1.0), 0.8), 1.4)
        near = Mul()(Mul()(Sub()(z, 1.0), Sub()(z, 2.0)), _clenshaw(t, _near()))
        far = Where()(Less()(z, 3.0), 3.0, z)
        inverse = Reciprocal()(far)
        series = _horner(Mul()(inverse, inverse), [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188])
        stirling = Mul()(Sub()(far, 0.5), Sub()(Log()(far), 1.0))
        stirling = Add()(Add()(stirling, 0.5 * math.log(2 * math.pi) - 0.5), Mul()(series, inverse))
        positive = Where()(Less()(z, 3.0), near, stirling)
        rest = Mul()(Abs()(Sub()(x, Round()(x))), math.pi)
        reflected = Sub()(Log()(Div()(math.pi, Sin()(rest))), positive)
        y = Where()(low, reflected, positive)
        return Where()(Equal()(Abs()(x), math.inf), math.inf, y).cast(dtype)


@op
class PolyGamma(Pointwise):
    """The derivative of the logarithm of the gamma function, derived `order` times more."""

    order: int
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: _in_numbers(functools.partial(_poly_gamma, self.order), x), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Near poles a rounding of the distance to them counts `order` + 1 times."""
        size = np.abs(self.reference(arrays[0].astype(float)))
        return 64 * (1 + self.order), np.where(np.isfinite(size), size + 2, 0)

    def lowered(self, exact, x):
        if self.order > HIGHEST:
            raise Refused(
                f"polygamma of order {self.order}", why="its steps are written out", hint=f"Use at most {HIGHEST}"
            )
        x, dtype = _in_float32(self, x)
        low, order = Less()(x, 0.5), self.order
        z = Where()(low, Sub()(1.0, x), x)
        steps, power = 8 + order, order + 1
        shifted = [Add()(z, float(k)) if k else z for k in range(steps + 1)]
        total = _sum([_power(Reciprocal()(s), power) for s in shifted[:-1]])
        inverse = Reciprocal()(shifted[-1])
        square = Mul()(inverse, inverse)
        if order == 0:
            tail = _horner(square, [-c for _, c in _coefficients(0)[:5]])
            head = Add()(Sub()(Log()(shifted[-1]), Mul()(inverse, 0.5)), Mul()(tail, square))
            positive = Sub()(head, total)
        else:
            tail = Mul()(_horner(square, [c for _, c in _coefficients(order)[:6]]), square)
            first = Add()(Mul()(inverse, 0.5 * math.factorial(order)), float(math.factorial(order - 1)))
            head = Mul()(Add()(first, tail), _power(inverse, order))
            positive = Mul()(Add()(head, Mul()(total, float(math.factorial(order)))), float((-1) ** power))
        angle = Mul()(Sub()(x, Round()(x)), math.pi)
        curve = _horner(Div()(Cos()(angle), Sin()(angle)), (_cotangent(order) * -(math.pi**power)).tolist())
        y = Where()(low, Add()(curve, Mul()(positive, float((-1) ** order))), positive)
        pole = And()(And()(Equal()(x, Round()(x)), Less()(x, 0.5)), Greater()(x, -math.inf))
        at_pole = Where()(Equal()(x, 0.0), Div()(-1.0, x), math.nan) if order == 0 else math.inf * (-1) ** power
        return Where()(pole, at_pole, y).cast(dtype)


def _in_float32(kind: Any, x: Value) -> tuple[Value, Any]:
    if x.dtype == np.float64:
        raise Refused(
            f"{type(kind).__name__} in float64", why="only PyTorch has it", hint="Use float32, or convert to PyTorch"
        )
    return x.cast(np.float32), x.dtype


def _sum(terms: list[Value]) -> Value:
    return functools.reduce(lambda a, b: Add()(a, b), terms)


def _power(x: Value, count: int) -> Value:
    return functools.reduce(lambda a, b: Mul()(a, b), [x] * count)


def _horner(x: Value, coefficients: list[float]) -> Value:
    """The polynomial with coefficients of rising powers."""
    y: Any = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        y = Mul()(x, y) if c == 0 else Add()(Mul()(x, y), c)
    return y


def _clenshaw(t: Value, coefficients: np.ndarray) -> Value:
    """The sum of coefficients times Chebyshev's polynomials of t."""
    first, second = Mul()(t, 0.0), Mul()(t, 0.0)
    for c in coefficients[:0:-1].tolist():
        first, second = Add()(Sub()(Mul()(Mul()(t, 2.0), first), second), c), first
    return Add()(Sub()(Mul()(t, first), second), float(coefficients[0]))


@imports("torch", "aten.lgamma.default", "aten.special_gammaln.default")
def log_gamma_from_torch(call, x):
    return LogGamma()(floating(call, x))


@imports("torch", "aten.digamma.default", "aten.special_psi.default", "aten.special_digamma.default")
def digamma_from_torch(call, x):
    return PolyGamma(order=0)(floating(call, x))


@imports("torch", "aten.polygamma.default", "aten.special_polygamma.default")
def polygamma_from_torch(call, order, x):
    return PolyGamma(order=order)(floating(call, x))


@exports("torch", LogGamma)
def log_gamma_to_torch(op, torch, x):
    return torch.lgamma(x)


@exports("torch", PolyGamma)
def poly_gamma_to_torch(op, torch, x):
    return torch.digamma(x) if op.order == 0 else torch.polygamma(op.order, x)


_SERIES = dict.fromkeys(("keras", "onnx"), "its series")
_FLOAT64 = dict.fromkeys(("keras", "onnx"), "only PyTorch has it in float64")
_PLACES = [
    -3.5,
    -2.25,
    -1.0,
    -0.5,
    -1e-4,
    -0.0,
    0.0,
    1e-4,
    0.25,
    0.5,
    1.0,
    1.4616,
    2.0,
    2.5,
    3.0,
    7.5,
    40.0,
    1e6,
    np.inf,
    np.nan,
]
case("log_gamma/places", LogGamma(), Operand((20,), numbers=_PLACES), composed=_SERIES)
case("log_gamma/drawn", LogGamma(), Operand((3, 50), low=-6, high=9), composed=_SERIES)
case("log_gamma/float16", LogGamma(), Operand((2, 9), dtype="float16", low=0.1, high=9), composed=_SERIES)
case("log_gamma/float64", LogGamma(), Operand((2, 9), dtype="float64", low=0.1, high=9), refused=_FLOAT64)
for _order in (0, 1, 2, 5):
    _places = [x for x in _PLACES if _order == 0 or x not in (-1.0, np.inf)]
    case(
        f"poly_gamma/places{_order}",
        PolyGamma(order=_order),
        Operand((len(_places),), numbers=_places),
        composed=_SERIES,
    )
    case(f"poly_gamma/drawn{_order}", PolyGamma(order=_order), Operand((3, 50), low=0.1, high=9), composed=_SERIES)
case("poly_gamma/float64", PolyGamma(order=2), Operand((2, 9), dtype="float64", low=0.1, high=9), refused=_FLOAT64)
