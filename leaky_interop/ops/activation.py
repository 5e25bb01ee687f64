"""LeakyRelu, and the relatives whose slope is a weight or was drawn at random.

| spelling                         | the slope is called  | when left out | of the slope                               |
|----------------------------------|----------------------|---------------|--------------------------------------------|
| keras.layers.LeakyReLU           | negative_slope       | 0.3           | a negative one is refused                  |
| keras.ops, activations, string   | negative_slope       | 0.2           | any                                        |
| torch.nn.LeakyReLU, functional   | negative_slope       | 0.01          | any                                        |
| torch.nn.RReLU, evaluated        | lower, upper         | 1/8, 1/3      | their mean                                 |
| onnx LeakyRelu                   | alpha (32 bits)      | 0.01          | any; no float64 in onnxruntime             |
| keras.layers.ReLU                | negative_slope       | 0             | counts from the threshold down: see `relu` |
| keras.layers.PReLU               | alpha, a weight      | -             | one per element, but for shared_axes       |
| torch.nn.PReLU                   | weight               | -             | one, or one per channel                    |
| onnx PRelu                       | slope, an operand    | -             | broadcasts; one per channel before opset 7 |
| chainer.functions.leaky_relu     | slope                | 0.2           | any                                        |
| chainer.functions.rrelu          | l, u                 | 1/8, 1/3      | their mean                                 |
| chainer.links.PReLU              | W, a weight          | -             | one, or of the axes from 1 on              |
| matlab leakyReluLayer            | Scale                | 0.01          | any                                        |
| matlab preluLayer                | Alpha, a weight      | -             | one, or one per channel                    |

A float64 LeakyRelu or PRelu is `Where(x < 0, slope * x, x)` in ONNX; reading recognises it again.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Operand, Pointwise, Shape, Value, agree, case, exports, imports, op, shortest, weight
from .precision import IN_32_BITS
from .promotion import floating
from .table import widened


class Bent(Pointwise):
    """Two lines that meet. Exact, but there may be two legal results: see `below`."""

    tolerance = "exact"

    def results(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The result, by how the slope is held."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return next(iter(self.results(*arrays).values()))

    def readings(self, *arrays: Any) -> dict[str, np.ndarray]:
        found = self.results(*arrays)
        return found if len(found) > 1 else {}


def below(x: np.ndarray, slope: float) -> dict[str, np.ndarray]:
    """slope * x, by how the slope is held.

    For half-width floats torch and onnxruntime hold it in float32, TensorFlow and JAX round it to them; TensorFlow's
    own LeakyReLU holds it in float32 for float64 as well.
    """
    held = f"slope rounded to {x.dtype.name}"
    with np.errstate(all="ignore"):
        found = {held: x * x.dtype.type(slope)}
        if x.dtype.itemsize == 2:
            return {"slope held in float32": (x.astype(np.float32) * np.float32(slope)).astype(x.dtype), **found}
        if x.dtype.itemsize == 8 and float(np.float32(slope)) != slope:
            found["slope held in float32"] = x * float(np.float32(slope))
    return found


@op
class LeakyRelu(Bent):
    """x where x >= 0, negative_slope * x elsewhere. NaN stays NaN and -0.0 stays -0.0; slope 0 is not Relu."""

    negative_slope: float

    def results(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.where(x >= 0, x, low) for name, low in below(x, self.negative_slope).items()}


@imports("torch", "aten.leaky_relu.default")
def leaky_relu_from_torch(call, x, negative_slope):
    return LeakyRelu(negative_slope=float(negative_slope))(x)


@imports("torch", "aten.rrelu.default")
def random_leaky_relu_from_torch(call, x, lower, upper, training, generator):
    if training:
        raise Refused("RReLU in training mode", why="it draws its slopes at random", hint="Call model.eval() first")
    return LeakyRelu(negative_slope=(float(lower) + float(upper)) / 2)(x)


@imports("torch", "aten.rrelu_with_noise_functional.default")
def decomposed_random_leaky_relu_from_torch(call, x, noise, lower, upper, training, generator):
    """What torch.export's decompositions leave of it; the noise is memory that evaluation does not touch."""
    return random_leaky_relu_from_torch(call, x, lower, upper, training, generator), noise


@imports("keras", "LeakyReLU", "ops.LeakyRelu", "activations.leaky_relu")
def leaky_relu_from_keras(layer, x):
    return LeakyRelu(negative_slope=float(layer.negative_slope))(floating(layer, x))


@imports("onnx", "LeakyRelu")
def leaky_relu_from_onnx(node, x):
    """The decimal that 32 bits were meant for; in float64 the very number that they are, which is what is computed."""
    return LeakyRelu(negative_slope=node.alpha if x.dtype == np.float64 else shortest(node.alpha))(x)


@imports("chainer", "LeakyReLU")
def leaky_relu_from_chainer(call, x):
    return LeakyRelu(negative_slope=float(call.slope))(x)


@imports("chainer", "RReLU")
def random_leaky_relu_from_chainer(call, x):
    """Evaluated: a recording is made at inference."""
    return LeakyRelu(negative_slope=(call.lower + call.upper) / 2)(x)


@imports("matlab", "leakyReluLayer")
def leaky_relu_from_matlab(layer, x):
    return LeakyRelu(negative_slope=layer.Scale)(x)


@exports("torch", LeakyRelu)
def leaky_relu_to_torch(op, torch, x):
    return torch.place(torch.nn.LeakyReLU(op.negative_slope))(x)


@exports("keras", LeakyRelu)
def leaky_relu_to_keras(op, keras, x):
    if keras.inputs[0].dtype == np.float64 and keras.backend.backend() == "tensorflow":  # it would round the slope
        return keras.ops.where(keras.ops.less(x, 0), keras.ops.multiply(x, op.negative_slope), x)
    if op.negative_slope < 0:  # the layer refuses these, the function does not
        return keras.ops.leaky_relu(x, op.negative_slope)
    return keras.place(keras.layers.LeakyReLU(negative_slope=op.negative_slope))(x)


@exports("onnx", LeakyRelu)
def leaky_relu_to_onnx(op, onnx, x):
    if onnx.runs("LeakyRelu"):
        return onnx.LeakyRelu(x, alpha=op.negative_slope)
    return onnx.Where(onnx.Less(x, 0.0), onnx.Mul(x, op.negative_slope), x)


@exports("matlab", LeakyRelu)
def leaky_relu_to_matlab(op, matlab, x):
    return matlab.layer("leakyReluLayer", x, Scale=op.negative_slope)


# --- slopes that are weights ------------------------------------------------------------------------------------------


@op
class PRelu(Pointwise):
    """x where x >= 0, slope * x elsewhere; the slope broadcasts to x. Operands: x, slope."""

    tolerance = "exact"
    weights = (1,)

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        ((shape, dtype),) = super().infer(*inputs)
        if not agree(shape, inputs[0].shape):
            raise ValueError(f"{self}: a slope of shape {inputs[1].shape} does not fit {inputs[0]!r}")
        return [(inputs[0].shape, dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x, slope: np.where(x >= 0, x, slope * x), *arrays)


def finite(slope: Value) -> bool:
    """Whether no number of a slope is infinite or NaN; one that is computed may be anything."""
    return slope.const is None or bool(np.isfinite(slope.array().astype(float)).all())


def per_channel(x: Value, slope: Value) -> Value:
    """A slope of one number, or one per channel, as it broadcasts to `x`."""
    return slope if slope.shape == (1,) or x.rank < 3 else slope.reshape(*slope.shape, *(1,) * (x.rank - 2))


@imports("torch", "aten.prelu.default")
def prelu_from_torch(call, x, slope):
    return PRelu()(x, per_channel(x, slope))


@imports("torch", "aten._prelu_kernel.default")
def prelu_kernel_from_torch(call, x, slope):
    return PRelu()(x, slope)


@imports("keras", "PReLU")
def prelu_from_keras(layer, x):
    """Keras computes relu(x) - alpha * relu(-x): an infinite slope, or NaN, makes NaN of positive numbers too."""
    slope = layer.weight("alpha")
    if not finite(slope):
        what, hint = "a PReLU layer with a slope that is not finite", "Give it finite slopes, or write the layer with keras.ops.where"
        raise Refused(what, why="Keras makes NaN of every positive number there", hint=hint)
    return PRelu()(floating(layer, x), slope)


@imports("chainer", "PReLUFunction")
def prelu_from_chainer(call, x, slope):
    """The slope has the shape of the axes from 1 on, as many as it has itself."""
    return PRelu()(x, slope.reshape(*slope.shape, *(1,) * (x.rank - 1 - slope.rank)))


@imports("onnx", "PRelu")
def old_prelu_from_onnx(node, x, slope):
    return PRelu()(x, per_channel(x, slope))


@imports("onnx", "PRelu", since=7)
def prelu_from_onnx(node, x, slope):
    return PRelu()(x, slope)


@imports("matlab", "preluLayer")
def prelu_from_matlab(layer, x):
    size = x.shape[-1] if layer.Alpha is None else layer.Alpha.size
    return PRelu()(x, layer.weight("Alpha", 1, 1, size).reshape(size))


def _full_shape(rank: int, slope: Any) -> tuple[int, ...]:
    return (1,) * (rank - slope.rank) + slope.shape


@exports("torch", PRelu)
def prelu_to_torch(op, torch, x, slope):
    rank = torch.inputs[0].rank
    full = _full_shape(rank, torch.inputs[1])
    channels = full[1] if rank > 1 else 1
    if torch.holds(slope) and all(size == 1 for axis, size in enumerate(full) if axis != 1):
        return torch.place(torch.nn.PReLU(channels), weight=slope.reshape(channels))(x)
    return torch.where(x < 0, torch.tensor(slope) * x, x)


@exports("keras", PRelu)
def prelu_to_keras(op, keras, x, slope):
    full = _full_shape(keras.inputs[0].rank, keras.inputs[1])
    if not keras.holds(slope) or len(full) < 2 or full[0] != 1 or not finite(slope):
        return keras.ops.where(keras.ops.less(x, 0), keras.ops.multiply(keras.tensor(slope), x), x)
    shared = [axis for axis, size in enumerate(full) if size == 1 and axis > 0]
    return keras.place(keras.layers.PReLU(shared_axes=shared or None), alpha=slope.reshape(*full[1:]))(x)


@exports("onnx", PRelu)
def prelu_to_onnx(op, onnx, x, slope):
    if onnx.runs("PRelu"):
        return onnx.PRelu(x, slope)
    return onnx.Where(onnx.Less(x, 0.0), onnx.Mul(slope, x), x)


@exports("matlab", PRelu)
def prelu_to_matlab(op, matlab, x, slope):
    if not matlab.holds(slope) or any(size != 1 for size in slope.shape[:-1]):
        raise matlab.refuse(f"a PReLU with slopes of shape {matlab.inputs[1].shape}", why="MATLAB learns one, or one a channel",
                            instead="Share the slopes along the other axes")  # fmt: skip
    return matlab.layer("preluLayer", x, Alpha=slope.reshape(1, 1, slope.shape[-1]))


FLOATS = ("float32", "float16", "bfloat16", "float64")
EDGES = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1.0, 2.5, -1.0, -3.0, 1e-30)

for slope in (0.01, 0.1, 0.2, 0.3, 0.0, 1e-8, 1.0, 1.5, 10.0, -0.5):
    for dtype in FLOATS:
        case(f"leaky_relu/slope={slope}_{dtype}", LeakyRelu(negative_slope=slope), Operand((2, 3, 4, 5), dtype=dtype))
    case(f"leaky_relu/slope={slope}_edges", LeakyRelu(negative_slope=slope), Operand((10,), numbers=EDGES))
for dtype in FLOATS:
    case(
        f"prelu/channels_{dtype}", PRelu(), Operand((2, 3, 4, 5), dtype=dtype), weight(3, 1, 1, dtype=dtype),
        refused_computed=IN_32_BITS if dtype == "float64" else None,
    )  # fmt: skip
case("prelu/one", PRelu(), (2, 3, 4), weight(1))
case("prelu/rank_2", PRelu(), (2, 3), weight(3))
case("prelu/rank_3", PRelu(), (2, 3, 4), weight(3, 1))
case("prelu/rank_5", PRelu(), (2, 3, 4, 2, 2), weight(1, 3, 1, 1, 1))
case("prelu/every_element", PRelu(), (2, 3, 4, 5), weight(3, 4, 5))
case("prelu/last_axis", PRelu(), (2, 3, 4, 5), weight(5))
case("prelu/batch", PRelu(), (2, 3), weight(2, 1))
