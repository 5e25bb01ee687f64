"""Arithmetic, functions of one number, bounds and logic as each framework spells them: dtypes, broadcasting, edges."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, onnx_model
from hypothesis import given, settings
from hypothesis import strategies as st
from native import Applied, in_keras

import leaky_interop as li
from leaky_interop.numeric import dtype
from leaky_interop.op import Pointwise

rng = np.random.default_rng(21)
X = rng.uniform(-4, 4, (2, 3, 4)).astype(np.float32)
Y = rng.uniform(0.5, 3, (2, 3, 4)).astype(np.float32)
N = rng.integers(-9, 9, (2, 3, 4)).astype(np.int64)
M = rng.integers(1, 5, (2, 3, 4)).astype(np.int64)
TENSORFLOW = keras.backend.backend() == "tensorflow"
NO_KERAS = ("torch", "onnx")


def of_torch(function, *arrays, **options):
    return check(Applied(function), *arrays, **options)


def of_keras(function, *arrays, **options):
    return check(in_keras(function, *arrays), *arrays, **options)


# --- torch ------------------------------------------------------------------------------------------------------------

TORCH = {
    "x + 1": lambda x, y: x + 1, "1 + x": lambda x, y: 1 + x, "x - 1": lambda x, y: x - 1, "1 - x": lambda x, y: 1 - x,
    "2 * x": lambda x, y: 2 * x, "x / 3": lambda x, y: x / 3, "3 / x": lambda x, y: 3 / x,
    "x // 2": lambda x, y: x // 2,
    "x % 2": lambda x, y: x % 2, "x % y": lambda x, y: x % y, "2 % y": lambda x, y: 2 % y, "x ** 2": lambda x, y: x**2,
    "2 ** x": lambda x, y: 2**x, "y ** x": lambda x, y: y**x, "y ** -0.5": lambda x, y: y**-0.5,
    "-x": lambda x, y: -x, "+x": lambda x, y: +x * 2,
    "abs": lambda x, y: abs(x), "x + y": lambda x, y: x + y, "x / y": lambda x, y: x / y, "x // y": lambda x, y: x // y,
    "add alpha": lambda x, y: torch.add(x, y, alpha=0.3), "sub alpha": lambda x, y: torch.sub(x, y, alpha=2),
    "sub scalar alpha": lambda x, y: torch.sub(x, 1.5, alpha=3), "rsub": lambda x, y: torch.rsub(x, y, alpha=2),
    "rsub scalar": lambda x, y: torch.rsub(x, 2.5), "true_divide": lambda x, y: torch.true_divide(x, y),
    "div floor": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "div trunc": lambda x, y: torch.div(x, 0.7, rounding_mode="trunc"),
    "floor_divide": lambda x, y: torch.floor_divide(x, 0.1), "fmod": lambda x, y: torch.fmod(x, y),
    "fmod scalar": lambda x, y: torch.fmod(x, 1.5),
    "remainder": lambda x, y: torch.remainder(x, -1.5), "pow": lambda x, y: torch.pow(y, 1.7),
    "float_power": lambda x, y: torch.float_power(y, 2),
    "square": lambda x, y: torch.square(x), "maximum": lambda x, y: torch.maximum(x, y),
    "max": lambda x, y: torch.max(x, y - 2),
    "minimum": lambda x, y: torch.minimum(x, y), "fmax": lambda x, y: torch.fmax(x, y),
    "fmin": lambda x, y: torch.fmin(x, y),
    "clamp": lambda x, y: x.clamp(-1, 1.5), "clamp min": lambda x, y: torch.clamp(x, min=0.5),
    "clamp max": lambda x, y: torch.clamp(x, max=0.5),
    "clamp_min": lambda x, y: torch.clamp_min(x, 0.25), "clamp_max": lambda x, y: torch.clamp_max(x, 0.25),
    "clip": lambda x, y: torch.clip(x, -1, 1),
    "clamp tensors": lambda x, y: torch.clamp(x, -y, y), "clamp tensor": lambda x, y: torch.clamp(x, min=y - 2),
    "clamp constants": lambda x, y: torch.clamp(x, torch.zeros(()), torch.ones(4)),
    "addcmul": lambda x, y: torch.addcmul(x, y, x, value=0.5),
    "addcdiv": lambda x, y: torch.addcdiv(x, x, y, value=0.5),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3), "lerp far": lambda x, y: torch.lerp(x, y, 0.8),
    "lerp tensor": lambda x, y: torch.lerp(x, y, x / 4),
    "hypot": lambda x, y: torch.hypot(x, y), "atan2": lambda x, y: torch.atan2(x, y - 2),
    "nan_to_num": lambda x, y: torch.nan_to_num(x / (x - x)),
    "xlogy": lambda x, y: torch.xlogy(x, y), "logaddexp": lambda x, y: torch.logaddexp(x, y),
    "copysign": lambda x, y: torch.copysign(y, x),
    "heaviside": lambda x, y: torch.heaviside(torch.round(x), y), "where": lambda x, y: torch.where(x < 0, 0.5 * y, x),
    "where scalars": lambda x, y: torch.where(x < 0, 0.25, 1.5) * x,
    "where scalar": lambda x, y: torch.where(x < y - 1, 0.0, y),
    "masked_fill": lambda x, y: x.masked_fill(x < 0, -1.5),
    "masked_fill tensor": lambda x, y: x.masked_fill(y > 1, torch.tensor(2.5)),
    "exp2": lambda x, y: torch.exp2(x), "frac": lambda x, y: torch.frac(x),
    "sinc": lambda x, y: torch.sinc(torch.round(x)), "logit": lambda x, y: torch.logit(y / 4),
    "logit eps": lambda x, y: torch.logit(x, eps=0.1), "round decimals": lambda x, y: torch.round(x, decimals=2),
    "round tens": lambda x, y: torch.round(x * 30, decimals=-1),
    "deg2rad": lambda x, y: torch.deg2rad(x), "rad2deg": lambda x, y: torch.rad2deg(x),
    "rsqrt": lambda x, y: torch.rsqrt(y), "erfc": lambda x, y: torch.erfc(x),
    "sgn": lambda x, y: torch.sgn(x), "fix": lambda x, y: torch.fix(x), "arcsin": lambda x, y: torch.arcsin(x / 4),
    "absolute": lambda x, y: torch.absolute(x),
    "step": lambda x, y: (x > 0).float(), "mul_": lambda x, y: (x * 1.5).mul_(2).add_(1),
    "sum of products": lambda x, y: x * y + y * 0.5 - x / y,
    "tensor constant": lambda x, y: x * torch.tensor(2.0), "size": lambda x, y: x / x.size(1),
    "root of a size": lambda x, y: x / x.size(-1) ** 0.5,
    "bits": lambda x, y: ((x.int() & 3) | 4) ^ 1, "shifts": lambda x, y: (x.int() << 2) >> 1,
    "not": lambda x, y: ~x.int(),
    "logic": lambda x, y: ((x < 0) & (y > 1)) | ~(x > 1) ^ (y < 2),
    "logical": lambda x, y: torch.logical_and(x, y > 1) | torch.logical_xor(x > 0, torch.logical_not(y > 1)),
    "isclose": lambda x, y: torch.isclose(x, x + 1e-6),
    "finite": lambda x, y: torch.isfinite(x / (x - x)) | torch.isposinf(y) | torch.isneginf(y),
    "signbit": lambda x, y: torch.signbit(x),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_torch_functions_and_operators(name):
    of_torch(
        TORCH[name],
        X,
        Y,
        to=NO_KERAS if name in ("float_power", "bits", "shifts", "not") else ("keras", "torch", "onnx"),
    )


def test_a_batch_size_in_a_quotient_stays_open():
    model = li.convert(Applied(lambda x: x / x.size(0)), to="onnx", example=(torch.from_numpy(X),))
    for size in (1, 2, 7):
        x = np.repeat(X[:1], size, 0)
        np.testing.assert_allclose(li.run(model, [x])[0], x / size, rtol=1e-6)


PROMOTIONS = {
    "int + float": (lambda n, m: n + 1.5, "float32"), "int / int": (lambda n, m: n / m, "float32"),
    "int / 2": (lambda n, m: n / 2, "float32"),
    "int + int32": (lambda n, m: n + m.int(), "int64"), "int32 + 1": (lambda n, m: n.int() + 1, "int32"),
    "bool + int": (lambda n, m: (n > 0) + n, "int64"),
    "bool * float": (lambda n, m: (n > 0) * 1.5, "float32"), "bool + bool": (lambda n, m: (n > 0) + (m > 2), "bool"),
    "bool * bool": (lambda n, m: (n > 0) * (m > 2), "bool"),
    "bool + 1": (lambda n, m: (n > 0) + 1, "int64"),
    "uint8 + int8": (lambda n, m: m.to(torch.uint8) + n.to(torch.int8), "int16"),
    "int * float scalar tensor": (lambda n, m: n * torch.tensor(0.5), "float32"),
    "float * double scalar tensor": (lambda n, m: n.float() * torch.tensor(0.5, dtype=torch.float64), "float32"),
    "float * double": (lambda n, m: n.float() * m.double(), "float64"),
    "half + float": (lambda n, m: n.half() + m.float(), "float32"),
    "half + 1.5": (lambda n, m: n.half() + 1.5, "float16"), "int + half": (lambda n, m: n + m.half(), "float16"),
    "half + bfloat16": (lambda n, m: n.half() + m.bfloat16(), "float32"),
    "sqrt of int": (lambda n, m: torch.sqrt(m), "float32"),
    "exp of bool": (lambda n, m: torch.exp(n > 0), "float32"),
    "clamp int by float": (lambda n, m: n.clamp(0.5, 2.5), "float32"),
    "clamp int by int": (lambda n, m: n.clamp(-1, 2), "int64"),
    "where int float": (lambda n, m: torch.where(n > 0, n, 0.5), "float32"),
    "where int int": (lambda n, m: torch.where(n > 0, n, 7), "int64"),
    "where half 0.5": (lambda n, m: torch.where(n > 0, n.half(), 0.5), "float16"),
    "int ** 2": (lambda n, m: n**2, "int64"), "int ** 0.5": (lambda n, m: m**0.5, "float32"),
    "2 ** int": (lambda n, m: 2**m, "int64"),
    "int // int": (lambda n, m: n // m, "int64"), "int // -2": (lambda n, m: n // -2, "int64"),
    "int % int": (lambda n, m: n % m, "int64"), "int % -3": (lambda n, m: n % -3, "int64"),
    "fmod of int": (lambda n, m: torch.fmod(n, m), "int64"),
    "int trunc": (lambda n, m: torch.div(n, m, rounding_mode="trunc"), "int64"),
    "lt of int and float": (lambda n, m: n < 0.5, "bool"),
    "eq of bool and int": (lambda n, m: (n > 0) == 1, "bool"), "abs of int": (lambda n, m: abs(n), "int64"),
    "sign of int": (lambda n, m: torch.sign(n), "int64"), "relu of int": (lambda n, m: torch.relu(n), "int64"),
    "maximum of ints": (lambda n, m: torch.maximum(n, m.int()), "int64"),
    "clamp_min of int": (lambda n, m: torch.clamp_min(n, 0), "int64"),
    "floor of int": (lambda n, m: torch.floor(n), "int64"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROMOTIONS)
def test_torch_promotes_and_the_conversion_casts(name):
    function, kind = PROMOTIONS[name]
    graph = of_torch(function, N, M, to=("torch", "onnx", "keras") if TENSORFLOW and kind != "float64" else NO_KERAS)
    assert graph.outputs[0].dtype.name == kind
    for node in graph.nodes:
        if isinstance(node.op, Pointwise):
            assert len({v.dtype for v in node.inputs if v is not None and v.dtype != bool} - {np.dtype(bool)}) <= 1


KINDS = ["int8", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "bool"]


@given(
    st.sampled_from(KINDS),
    st.sampled_from([*KINDS, 2, 2.5, True]),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_promotion_is_torchs_own(first, second, scalar):
    other = second if not isinstance(second, str) else torch.ones(() if scalar else 3, dtype=getattr(torch, second))
    left = torch.ones(3, dtype=getattr(torch, first))
    expected = torch.result_type(left, other)
    if isinstance(other, torch.Tensor):
        graph = li.load(Applied(lambda x, y: torch.where(x == y, x, y)), (left, other))
    else:
        graph = li.load(Applied(lambda x: torch.where(x == other, x, other)), (left,))
    assert graph.outputs[0].dtype == dtype(str(expected).removeprefix("torch."))


# --- R53: whole numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
def test_R53_integers_divide_as_python_does_in_keras_and_as_c_does_in_onnx(target):
    a, b = np.asarray([[-7, 7, -7, 7, 6]], np.int32), np.asarray([[3, -3, -3, 3, 3]], np.int32)
    inputs = [keras.Input((5,), dtype="int32") for _ in range(2)]
    outputs = [keras.ops.mod(*inputs), keras.ops.floor_divide(*inputs)]
    model = li.convert(keras.Model(inputs, outputs), to=target)
    rest, quotient = li.run(model, [a, b])
    assert rest.tolist() == [[2, -2, -1, 1, 0]] and quotient.tolist() == [[-3, -3, 2, 2, 2]]
    model = li.convert(onnx_model("Div", [a, b], opset=14), to=target)
    assert li.run(model, [a, b])[0].tolist() == [[-2, -2, 2, 2, 2]]


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
def test_a_floor_division_is_not_fooled_by_rounding(target):
    """1 / 0.1 rounds to 10, but nine whole times 0.1 (which is a little more than a tenth) fit into 1."""
    if target == "keras" and TENSORFLOW:
        pytest.skip("TensorFlow itself rounds the quotient")
    x = np.asarray([[1.0, -1.0, 5.0]], np.float32)
    model = li.convert(Applied(lambda x: x // 0.1), to=target, example=(torch.from_numpy(x),))
    assert li.run(model, [x])[0].tolist() == np.floor_divide(x, np.float32(0.1)).tolist() == [[9.0, -10.0, 49.0]]


# --- keras ------------------------------------------------------------------------------------------------------------

KERAS = {
    "x + 1": lambda x, y: x + 1, "1 - x": lambda x, y: 1 - x, "2 / y": lambda x, y: 2 / y,
    "x // y": lambda x, y: x // y, "x % y": lambda x, y: x % y, "y ** x": lambda x, y: y**x,
    "-x": lambda x, y: -x, "abs": lambda x, y: abs(x), "x < y": lambda x, y: x < y,
    "x != 0": lambda x, y: keras.ops.not_equal(x, 0), "x == y": lambda x, y: keras.ops.equal(x, y),
    "arccosh": lambda x, y: keras.ops.arccosh(y + 1),
    "captured array": lambda x, y: x * np.arange(4, dtype=np.float32) + keras.ops.ones((3, 1)),
    "logic": lambda x, y: keras.ops.logical_or(keras.ops.logical_and(x > 0, y > 1), keras.ops.logical_not(y < 2)),
    "logical_xor": lambda x, y: keras.ops.logical_xor(x < 1, y < 2),
    "where": lambda x, y: keras.ops.where(x > 0, x, 0.5),
    "where numbers": lambda x, y: keras.ops.where(x > 0, 1.5, 0.5) * y,
    "select": lambda x, y: keras.ops.select([x > 1, x > -1], [x, y], 0.25),
    "clip": lambda x, y: keras.ops.clip(x, -1.0, 2.0),
    "clip by arrays": lambda x, y: keras.ops.clip(x, np.zeros(4, np.float32), np.ones(4, np.float32)),
    "round 2": lambda x, y: keras.ops.round(x, 2),
    "nan_to_num": lambda x, y: keras.ops.nan_to_num(x / (x - x), nan=0.5, posinf=3.0, neginf=-2.0),
    "nan_to_num defaults": lambda x, y: keras.ops.nan_to_num(x),
    "logaddexp": lambda x, y: keras.ops.logaddexp(x, y),
    "heaviside": lambda x, y: keras.ops.heaviside(keras.ops.round(x), y),
    "hypot": lambda x, y: keras.ops.hypot(x, y), "arctan2": lambda x, y: keras.ops.arctan2(x, y),
    "isclose": lambda x, y: keras.ops.isclose(x, x + 1e-6),
    "divide_no_nan": lambda x, y: keras.ops.divide_no_nan(x, keras.ops.round(y - 1)),
    "isinf": lambda x, y: keras.ops.isinf(x / (x - x)),
}  # fmt: skip
KERAS_FUNCTIONS = [
    "absolute", "arccos", "arcsin", "arcsinh", "arctan", "arctanh", "ceil", "cos", "cosh", "erf", "exp", "exp2",
    "expm1", "floor", "isfinite", "isnan", "log", "log10", "log1p", "log2", "negative", "reciprocal", "round",
    "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "deg2rad", "signbit",
]  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
def test_keras_operators(name):
    of_keras(KERAS[name], X, Y)


@pytest.mark.parametrize("name", KERAS_FUNCTIONS)
def test_keras_functions_of_one_number(name):
    of_keras(lambda x: getattr(keras.ops, name)(x), Y / 4 if name.startswith("arc") else Y)


KERAS_PROMOTIONS = {
    "int32 + 1": lambda n, x: n + 1, "int32 + 1.5": lambda n, x: n + 1.5, "int32 * float32": lambda n, x: n * x,
    "int32 / int32": lambda n, x: n / 4, "sqrt of int32": lambda n, x: keras.ops.sqrt(keras.ops.abs(n)),
    "bool + 1": lambda n, x: keras.ops.cast((n > 0) + 1, "int32"),
    "float16 + float32": lambda n, x: keras.ops.cast(x, "float16") + x,
    "float16 * 2.5": lambda n, x: keras.ops.cast(x, "float16") * 2.5,
    "uint8 + int8": lambda n, x: keras.ops.cast(keras.ops.abs(n), "uint8") + keras.ops.cast(n, "int8"),
    "where int float": lambda n, x: keras.ops.where(n > 0, n, x), "int < float": lambda n, x: n < x,
    "bits": lambda n, x: keras.ops.bitwise_or(keras.ops.bitwise_and(n, np.int32(6)), np.int32(1)),
    "shift": lambda n, x: keras.ops.right_shift(keras.ops.left_shift(n, 3), 1),
    "invert": lambda n, x: keras.ops.bitwise_not(n),
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS_PROMOTIONS)
def test_keras_promotes_and_the_conversion_casts(name):
    of_keras(KERAS_PROMOTIONS[name], N.astype(np.int32), X)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("layer", ["Add", "Multiply", "Average", "Maximum", "Minimum"])
def test_keras_layers_merge_any_number_of_operands(layer, count):
    arrays = [X, Y, X - Y][:count]
    graph = of_keras(lambda *xs: getattr(keras.layers, layer)(name="merge")(list(xs)), *arrays)
    model = li.convert(keras_of(layer, arrays), to="keras")
    assert isinstance(model.get_layer("merge"), getattr(keras.layers, layer))
    assert graph.nodes[-1].name == "merge"


def keras_of(layer, arrays):
    inputs = [keras.Input(a.shape[1:]) for a in arrays]
    return keras.Model(inputs, getattr(keras.layers, layer)(name="merge")(inputs))


def test_keras_layers_merge_operands_of_fewer_axes_after_the_batch():
    a, b = X, rng.standard_normal((2, 4)).astype(np.float32)
    of_keras(lambda x, y: keras.layers.Add()([x, y]), a, b)
    of_keras(lambda x, y: keras.layers.Subtract()([y, x]), a, b)


def test_merges_of_layers_are_layers_and_everything_else_is_not():
    class Net(torch.nn.Module):
        def forward(self, x, y):
            total = x + y
            return (total * y - 0.5) + torch.ones(4)

    model = li.convert(Net(), to="keras", example=(X, Y))
    layers = [type(layer).__name__ for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert layers[:2] == ["Add", "Multiply"] and layers.count("Add") == 1
