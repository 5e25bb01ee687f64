"""Normalisation by magnitude: over neighbouring channels (LocalResponseNorm) or along axes (LpNormalize).

| meaning            | keras                            | torch                    | onnx                             |
|--------------------|----------------------------------|--------------------------|----------------------------------|
| LocalResponseNorm  | a composition                    | local_response_norm      | LRN                              |
| ... of an even size | -                               | one more channel before  | one more channel after           |
| LpNormalize        | UnitNormalization, ops.normalize | normalize, a composition | LpNormalization, without epsilon |
"""

import functools
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op, shortest
from .functions import Sqrt
from .layer_norm_keras import axes_from_keras, epsilon_of
from .math import Add, Div, Mul, Sub
from .moments import ROUNDINGS, in_32_bits_in_onnx, widened
from .precision import exact_in_keras
from .promotion import floating
from .reduce import ReduceMean
from .reduce_exports import reduce_in_onnx


@op
class LocalResponseNorm(Op):
    """x / (offset + factor / size * (sum of x**2 over `size` channels)) ** exponent.

    The window begins `before` channels before the one at hand; outside the data it counts zeros.
    """

    size: int
    before: int
    factor: float
    exponent: float
    offset: float
    tolerance = "sum"

    def divisor(self, x: np.ndarray) -> np.ndarray:
        """What is raised to the exponent."""
        pads = [(0, 0), (self.before, self.size - 1 - self.before), *((0, 0),) * (x.ndim - 2)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x * x, pads), self.size, axis=1)
        return self.offset + self.factor / self.size * windows.sum(-1)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = widened(*arrays)
        return (x / self.divisor(x) ** self.exponent).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """A relative error of the divisor grows by the exponent; offset and factor of one sign do not cancel."""
        (x,) = widened(*arrays)
        base = self.divisor(x)
        absolute = abs(self.offset) + abs(self.factor) * np.abs(base - self.offset) / abs(self.factor or 1)
        grown = 1 + abs(self.exponent) * absolute / np.abs(base)
        return self.size + ROUNDINGS, np.abs(x / base**self.exponent) * grown

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm,), (perm,)) if perm[1] == 1 else None


@op
class LpNormalize(Op):
    """x / max(norm, epsilon), the norm of this order taken over `axes`; several axes only with order 2."""

    axes: tuple[int, ...]
    order: int
    epsilon: float
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        if self.order < 1 or (self.order != 2 and len(self.axes) > 1):
            raise ValueError(f"{self} is no norm of a vector")
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = widened(*arrays)
        norm = (np.abs(x) ** self.order).sum(self.axes, keepdims=True) ** (1 / self.order)
        return (x / np.maximum(norm, self.epsilon)).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        count = int(np.prod([arrays[0].shape[a] for a in self.axes]))
        return count + ROUNDINGS, np.abs(self.reference(*arrays))

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        moved = LpNormalize(axes=tuple(sorted(perm[a] for a in self.axes)), order=self.order, epsilon=self.epsilon)
        return Moved(moved, (perm,), (perm,))


# --- importers --------------------------------------------------------------------------------------------------------


@imports("onnx", "LRN")
def local_response_norm_from_onnx(node, x):
    alpha, beta, bias = (shortest(v) for v in (node.alpha, node.beta, node.bias))
    before = (node.size - 1) // 2
    return LocalResponseNorm(size=node.size, before=before, factor=alpha, exponent=beta, offset=bias)(x)


@imports("onnx", "LpNormalization")
def lp_normalize_from_onnx(node, x):
    """A vector of zeros stays one: so does x / max(norm, the smallest normal number)."""
    smallest = np.finfo(np.float64 if x.dtype == np.float64 else np.float32).tiny
    return LpNormalize(axes=(node.axis % x.rank,), order=node.p, epsilon=float(smallest))(x)


@imports("onnx", "MeanVarianceNormalization", since=9)
def mean_variance_normalization_from_onnx(node, x):
    """(x - mean) / (deviation + 1e-9): the epsilon stands outside the root, so it is no other normalisation."""
    axes = tuple(sorted(a % x.rank for a in node.axes))
    mean = ReduceMean(axes=axes, keepdims=True)
    centred = Sub()(x, mean(x))
    return Div()(centred, Add()(Sqrt()(mean(Mul()(centred, centred))), 1e-9))


@imports("keras", "UnitNormalization")
def unit_normalization_from_keras(layer, x):
    return LpNormalize(axes=axes_from_keras(layer.axis, x.rank), order=2, epsilon=1e-12)(floating(layer, x))


@imports("keras", "ops.Normalize")
def normalize_from_keras(call, x):
    axes = tuple(range(x.rank)) if call.axis is None else axes_from_keras(call.axis, x.rank)
    if call.order != 2 and len(axes) > 1:
        raise Refused(f"normalize of order {call.order} over {len(axes)} axes", why="Keras takes a matrix's norm there")
    if x.dtype == np.float64 and call.backend != "tensorflow":
        raise Refused("normalize in float64", why=f"Keras on {call.backend} takes the norm in float32", hint="Use float32")
    return LpNormalize(axes=axes, order=call.order, epsilon=epsilon_of(call))(floating(call, x))


# --- exporters --------------------------------------------------------------------------------------------------------


@imports("matlab", "crossChannelNormalizationLayer", channels_last=True)
def local_response_norm_from_matlab(layer, x):
    """Of an even window one channel more lies after than before."""
    size = layer.WindowChannelSize
    return LocalResponseNorm(
        size=size, before=(size - 1) // 2, factor=layer.Alpha, exponent=layer.Beta, offset=layer.K
    )(x)


@exports("matlab", LocalResponseNorm, channels_last=True)
def local_response_norm_to_matlab(op, matlab, x):
    if op.before != (op.size - 1) // 2:
        raise matlab.refuse(f"{op}", why="MATLAB's window begins elsewhere", instead="Use an odd size")
    return matlab.layer(
        "crossChannelNormalizationLayer", x, WindowChannelSize=op.size, Alpha=op.factor, Beta=op.exponent, K=op.offset
    )


@exports("torch", LocalResponseNorm)
def local_response_norm_to_torch(op, torch, x):
    """The module pools, which the CPU does not do in 16 bits."""
    if op.before == op.size // 2 and torch.inputs[0].dtype.itemsize >= 4:
        return torch.place(torch.nn.LocalResponseNorm(op.size, op.factor, op.exponent, op.offset))(x)
    pads = [0, 0] * (torch.inputs[0].rank - 2) + [op.before, op.size - 1 - op.before]
    padded, channels = torch.nn.functional.pad(x * x, pads), torch.inputs[0].shape[1]
    total = functools.reduce(torch.add, (padded[:, i : i + channels] for i in range(op.size)))
    return x / (total * (op.factor / op.size) + op.offset) ** op.exponent


@exports("keras", LocalResponseNorm, channels_last=True)
def local_response_norm_to_keras(op, keras, x):
    exact_in_keras(keras, type(op).__name__)
    channels = keras.inputs[0].shape[1]
    pads = [(0, 0)] * (keras.inputs[0].rank - 1) + [(op.before, op.size - 1 - op.before)]
    padded = keras.ops.pad(keras.ops.square(x), pads)
    total = functools.reduce(keras.ops.add, (padded[..., i : i + channels] for i in range(op.size)))
    divisor = keras.ops.add(keras.ops.multiply(total, op.factor / op.size), op.offset)
    return keras.ops.divide(x, keras.ops.power(divisor, op.exponent))


@exports("onnx", LocalResponseNorm)
def local_response_norm_to_onnx(op, onnx, x):
    """Runtimes take LRN for odd sizes and images only, and hold its settings in 32 bits."""
    port = onnx.inputs[0]
    if op.size == 2 * op.before + 1 and port.rank == 4 and port.dtype != np.float64:
        return onnx.LRN(x, size=op.size, alpha=op.factor, beta=op.exponent, bias=op.offset)
    outside = np.zeros((2, port.rank), np.int64)
    outside[:, 1] = op.before, op.size - 1 - op.before

    def compute(data: Any, dtype: np.dtype) -> Any:
        factor, offset, exponent = (np.asarray(n, dtype) for n in (op.factor / op.size, op.offset, op.exponent))
        padded, axes = onnx.Pad(onnx.Mul(data, data), outside.reshape(-1)), np.asarray([1], np.int64)
        starts = (np.asarray([i], np.int64) for i in range(op.size))
        total = onnx.Sum(*(onnx.Slice(padded, start, start + port.shape[1], axes) for start in starts))
        return onnx.Div(data, onnx.Pow(onnx.Add(onnx.Mul(total, factor), offset), exponent))

    return in_32_bits_in_onnx(onnx, x, compute)


@exports("torch", LpNormalize)
def lp_normalize_to_torch(op, torch, x):
    """In float32 at least: a narrower epsilon would be zero."""
    narrow = torch.inputs[0].dtype.itemsize < 4
    axes = op.axes if len(op.axes) > 1 else op.axes[0]
    y = torch.nn.functional.normalize(x.float() if narrow else x, float(op.order), axes, op.epsilon)
    return y.to(torch.torch_dtype(torch.inputs[0].dtype)) if narrow else y


@exports("keras", LpNormalize)
def lp_normalize_to_keras(op, keras, x):
    exact_in_keras(keras, type(op).__name__)
    axes = op.axes if len(op.axes) > 1 else op.axes[0]
    narrow = keras.inputs[0].dtype.itemsize < 4
    if op.order == 2 and op.epsilon == 1e-12 and not narrow:
        return keras.place(keras.layers.UnitNormalization(axes))(x)
    y = keras.ops.normalize(keras.ops.cast(x, "float32") if narrow else x, axes, op.order, op.epsilon)
    return keras.ops.cast(y, keras.inputs[0].dtype.name) if narrow else y


@exports("onnx", LpNormalize)
def lp_normalize_to_onnx(op, onnx, x):
    def compute(data: Any, dtype: np.dtype) -> Any:
        if op.order <= 2:
            norm = reduce_in_onnx(onnx, f"ReduceL{op.order}", data, op.axes, True)
        else:
            powers = onnx.Pow(onnx.Abs(data), np.asarray(op.order, dtype))
            total = reduce_in_onnx(onnx, "ReduceSum", powers, op.axes, True)
            norm = onnx.Pow(total, np.asarray(1 / op.order, dtype))
        return onnx.Div(data, onnx.Max(norm, np.asarray(op.epsilon, dtype)))

    return in_32_bits_in_onnx(onnx, x, compute)


# --- cases ------------------------------------------------------------------------------------------------------------


def _local(name: str, shape: tuple[int, ...], *, dtype: str = "float32", native: bool = True, **fields: Any) -> None:
    norm = LocalResponseNorm(**{"size": 3, "before": 1, "factor": 0.3, "exponent": 0.6, "offset": 0.8} | fields)
    pieces = "Mul, Pad, Slice, Add, Pow, Div"
    composed = {"keras": pieces, "torch": "Mul, AvgPool, Add, Pow, Div"} | ({} if native else {"onnx": pieces})
    case(f"local_response_norm/{name}", norm, Operand(shape, dtype=dtype), composed=composed)


_local("odd", (2, 7, 3, 4))
_local("even_as_torch", (2, 7, 3, 4), size=4, before=2, native=False)
_local("even_as_onnx", (2, 7, 3, 4), size=4, native=False)
_local("wider_than_the_data", (2, 3, 2, 3), size=9, before=4)
_local("rank_3", (2, 5, 4), native=False)
_local("rank_5", (2, 5, 4, 3, 2), native=False)
_local("float16", (2, 7, 3, 4), dtype="float16")

_pieces = {"torch": "ReduceL, Max, Div", "onnx": "ReduceL, Max, Div"}
for power in (1, 2, 3):
    case(f"lp_normalize/order_{power}", LpNormalize(axes=(1,), order=power, epsilon=0.02), (3, 4, 5), composed=_pieces)
case("lp_normalize/unit", LpNormalize(axes=(2,), order=2, epsilon=1e-12), (3, 4, 5), composed=_pieces)
case("lp_normalize/two_axes", LpNormalize(axes=(1, 3), order=2, epsilon=1e-12), (2, 3, 4, 5), composed=_pieces)
case("lp_normalize/epsilon_decides", LpNormalize(axes=(1,), order=2, epsilon=9.0), (3, 4, 5), composed=_pieces)
case(
    "lp_normalize/float16", LpNormalize(axes=(1,), order=2, epsilon=1e-4), Operand((3, 4, 5), dtype="float16"),
    composed=_pieces | {"keras": "between casts"},
)  # fmt: skip
