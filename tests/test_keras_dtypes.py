"""Operations of Keras in dtypes where its backends compute otherwise than Keras states, or than others do."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused
from leaky_interop.verification import verify_conversion
from tests import keras_dtypes

ops = keras.ops
TORCH = keras.backend.backend() == "torch"
CELLS = {  # a few for each cause; on a backend that does not run one it is not judged
    "abs": "bool", "affine_transform": "bfloat16 float32", "all": "int8", "bitwise_left_shift": "int8 int64",
    "bitwise_right_shift": "int16 int32", "categorical_crossentropy": "int32", "cholesky": "float32", "corrcoef": "int8 int64",
    "deg2rad": "int64", "digitize": "int16", "fold": "int16 int64", "full": "bool bfloat16", "geomspace": "int16 float16",
    "hard_tanh": "int8 uint16", "hsv_to_rgb": "float64", "layer_normalization": "bool int64 float64", "logsumexp": "float16",
    "map_coordinates": "bool", "matmul": "bool", "meshgrid": "int32 bfloat16", "mod": "int8", "power": "uint8 uint16",
    "psnr": "bfloat16", "ptp": "bool", "rfft": "bool int32", "rgb_to_grayscale": "float64", "rms_normalization": "bool int32",
    "round": "int32", "scale_and_translate": "int32 bfloat16", "scatter": "int16", "scatter_update": "bool", "select": "bool",
    "sparse_plus": "int16", "sparse_sigmoid": "bool", "sparsemax": "int8", "square": "bool", "squareplus": "int16",
    "tensordot": "bool", "threshold": "int8", "top_k": "int32", "trace": "int8", "tril": "uint32", "unfold": "uint8",
    "unravel_index": "int8", "view": "uint16",
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_a_dtype_of_an_operation(name):
    """It comes out in Keras' own dtype and numbers, or is refused."""
    wanted = set(CELLS[name].split())
    for case in keras_dtypes.judged(every=True):
        if case["operation"] == name and case["dtype"] in wanted:
            wrong = [text for text in keras_dtypes.results(case) if keras_dtypes.letter(text) == "x"]
            assert not wrong, (case["dtype"], wrong)
            wanted.discard(case["dtype"])
    assert not wanted


REFUSED = {  # what Keras computes against its own definition
    "saturating_cast": (lambda x: ops.saturate_cast(x, "float16"), "int16", "bounds it by"),
    "mask": (lambda x: ops.scatter(x, ops.ones((2,)), (300, 300)), "uint8", "for a mask") if TORCH else None,
    "minus_one": (ops.sparse_plus, "uint8", "255") if TORCH else None,
    "normalize": (ops.normalize, "float64", "float32") if TORCH else None,
    "moments": (lambda x: ops.moments(x, (0,)), "int32", "rounds their means") if not TORCH else None,
    "corrcoef": (ops.corrcoef, "int64", "rounds the means") if not TORCH else None,
}


@pytest.mark.parametrize("name", [n for n, row in REFUSED.items() if row])
def test_what_a_backend_computes_otherwise_than_defined_is_refused(name):
    code, dtype, why = REFUSED[name]
    given = keras.Input(batch_shape=(2, 2), dtype=dtype)
    with pytest.raises(Refused, match=why):
        li.convert(keras.Model(given, code(given)), to="onnx")


def numbers(*shape, dtype="float64"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


CHAINS = {
    "scaled": lambda x: ops.multiply(ops.multiply(x, 2.3), 3.1),
    "bounded": lambda x: ops.tanh(x + ops.multiply(x, 2.3)) - 0.3,
    "summed": lambda x: ops.sum(ops.multiply(x, 2.3), -1) * 0.3,
    "contracted": lambda x: ops.multiply(ops.matmul(x, ops.transpose(x)), 0.3),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_a_chain_in_float64_has_the_numbers_of_its_backend(name, to):
    """Also those that a Python number beside it has there, and the narrower ones of a matrix product."""
    given = keras.Input(batch_shape=(3, 4), dtype="float64")
    model, x = keras.Model(given, CHAINS[name](given)), numbers(3, 4)
    (wanted,), (found,) = li.run(model, [x]), li.run(li.convert(model, to=to), [x])
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-14 if wanted.dtype == np.float64 else 1e-6, atol=1e-15)


NORMS = {
    "batch": lambda: keras.layers.BatchNormalization(dtype="float64"),
    "group": lambda: keras.layers.GroupNormalization(2, dtype="float64"),
    "layer": lambda: keras.layers.LayerNormalization(dtype="float64"),
    "rms": lambda: keras.layers.RMSNormalization(dtype="float64"),
    "means": lambda: keras.layers.GlobalAveragePooling1D(dtype="float64"),
}


@pytest.mark.parametrize("name", NORMS)
def test_statistics_in_float64_have_the_precision_of_their_backend(name):
    """Keras on torch takes them in float32, and so does what is made of it, there and back."""
    given = keras.Input((5, 8), dtype="float64")
    model = keras.Model(given, NORMS[name]()(given))
    for weight in model.weights:
        weight.assign(np.abs(numbers(*weight.shape)) + 0.1)
    made = li.convert(model, to="torch")
    for batch in (1, 2, 7):
        x = numbers(batch, 5, 8)
        (wanted,) = li.run(model, [x])
        for network in (made, li.convert(made, to="keras", example=(numbers(2, 5, 8),))):
            (found,) = li.run(network, [x])
            assert found.dtype == wanted.dtype == np.float64
            np.testing.assert_allclose(found, wanted, rtol=1e-6 if TORCH else 1e-12, atol=1e-6 if TORCH else 1e-12)


FLOWS = {
    "cond": lambda x: ops.cond(ops.sum(x) > 0, lambda: x * 2.3, lambda: x - 1),
    "while_loop": lambda x: ops.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 0.5 + ops.tanh(a)), (0, x))[1],
    "scan": lambda x: ops.scan(lambda c, v: (c + v, c * v), ops.zeros_like(x[0]), x)[1],
    "map": lambda x: ops.map(lambda v: ops.exp(v) * 2.3, x),
    "fori_loop": lambda x: ops.fori_loop(0, 3, lambda i, a: a + ops.cast(i, a.dtype), x),
}


class Flowing(keras.Model):
    def __init__(self, code, dtype):
        super().__init__(dtype=dtype)
        self.code = code

    def call(self, x):
        return self.code(x)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_control_flow_keeps_a_dtype(name, dtype):
    from leaky_interop.numeric import dtype as by_name

    network, x = Flowing(FLOWS[name], dtype), numbers(3, 4, dtype=by_name(dtype))
    graph = li.load(network, x)
    for to in ("onnx", "torch"):
        done = transfer_graph(graph, to)
        report = verify_conversion(done)
        assert report.passed, str(report)
        for wanted, found in zip(li.run(network, [x]), li.run(done.model, [x]), strict=True):
            assert found.dtype == wanted.dtype == by_name(dtype)


def test_places_are_those_of_the_dtype_of_a_cell():
    """The harness tries a case again, with its whole numbers as they are, where Keras takes no others for places."""
    case = {
        "args": {"tuple": [{"tensor": [2, 2], "dtype": "float32"}, {"tensor": [2], "dtype": "int32"}]},
        "kwargs": {},
    }
    for whole, kinds in ((True, ["float16", "float16"]), (False, ["float16", "int32"])):
        assert [
            t["dtype"] for t in keras_dtypes.keras_scores.tensors(keras_dtypes.recast(case, "float16", whole))
        ] == kinds
