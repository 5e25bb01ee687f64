"""Computed numbers in Keras: results longer than the data, data without elements, saved and loaded again."""

import numpy as np
import onnx
import pytest
from family_checks import check_by_definition, onnx_model

import leaky_interop as li

rng = np.random.default_rng(5)


def ints(*numbers):
    return np.array(numbers, np.int64)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["Max", "Min", "Sum", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions_of_no_elements(kind, keepdims):
    data = [np.zeros((2, 0, 4), np.float32), ints(1)]
    model = onnx_model(f"Reduce{kind}", data, opset=18, keepdims=keepdims)
    (expected,), (received,) = li.run(model, data), li.run(li.convert(model, to="keras"), data)
    assert received.dtype == expected.dtype
    np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("pads", [(1, 1, 2, 0, 0, 1), (1, 1, 0, 0, 2, 0)], ids=str)
def test_padding_no_elements(pads):
    data = [np.zeros((2, 1, 0), np.float32), ints(*pads), np.float32(3)]
    check_by_definition(onnx_model("Pad", data, opset=19), *data, to=("keras",))


@pytest.mark.parametrize("shape", [(1, 2, 1), (2, 1, 2), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("wanted", [(2, 2, 2), (1, 2, 1), (2, 2, 1, 1), (2,)], ids=str)
def test_sizes_that_are_all_alike(shape, wanted):
    """Places are added up axis by axis: no vector of them may be taken for another axis's."""
    data = [normal(*shape), ints(*wanted)]
    check_by_definition(onnx_model("Expand", data, opset=13), *data, to=("keras",))


@pytest.mark.parametrize(
    "bounds", [(2**40, 2**40 + 7, 3), (-5, -(2**20), -(2**18)), (3, 3, 1), (-(2**62), 9 - 2**62, 2**61)], ids=str
)
def test_ranges_of_wide_integers(bounds):
    data = [np.array(b, np.int64) for b in bounds]
    check_by_definition(onnx_model("Range", data, opset=11), *data, to=("keras",))


@pytest.mark.parametrize(
    ("kind", "shape", "numbers"),
    [
        ("Expand", (2, 3), (2, 4)),
        ("Expand", (2, 3), (5, 3)),
        ("Expand", (2, 0), (2, 3)),
        ("Range", None, (-(2**62), 2**62, 2**61)),
    ],
    ids=str,
)
def test_what_cannot_be_is_an_error_of_the_run(kind, shape, numbers):
    data = [np.array(b, np.int64) for b in numbers] if shape is None else [normal(*shape), ints(*numbers)]
    model = li.convert(onnx_model(kind, data, opset=13), to="keras")
    with pytest.raises(Exception, match=r"Take\.call"):  # the framework's own
        li.run(model, data)


@pytest.mark.parametrize("axes", [None, (2, 0, -2)])
@pytest.mark.parametrize("wanted", [(5, 7, 9), (4, 4, 4), (1, 9, 6), (8, 6, 7)], ids=str)
def test_centred_crops(axes, wanted):
    data = [normal(5, 7, 8), ints(*wanted)]
    check_by_definition(onnx_model("CenterCropPad", data, opset=18, axes=axes), *data, to=("keras",))


@pytest.mark.parametrize("shape", [(2, 0, 3), (2, 3, 0), (0, 3), (3, 3), (1, 2, 5)], ids=str)
@pytest.mark.parametrize("upper", [0, 1])
def test_triangles_of_every_size(shape, upper):
    data = [normal(*shape), np.array(-1, np.int64)]
    check_by_definition(onnx_model("Trilu", data, opset=14, upper=upper), *data, to=("keras",))


@pytest.mark.parametrize("name", ["Hann", "Hamming", "Blackman"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows_of_every_length(name, periodic):
    model = onnx_model(f"{name}Window", [np.int64(7)], opset=17, result=np.float32, periodic=periodic)
    for size in (7, 16, 300):
        check_by_definition(model, np.array(size, np.int64), to=("keras",))


def test_a_saved_model_makes_results_of_every_length(tmp_path):
    import keras

    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        net (float[N, 3] x, int64[2] repeats, int64[4] pads, int64 count) => (float[a, b] y, int64[c] order) {
            t = Tile(x, repeats)
            y = Pad(t, pads)
            zero = Constant<value_int=0>()
            one = Constant<value_int=1>()
            order = Range(zero, count, one)
        }""")
    li.convert(model, to=tmp_path / "net.keras", inputs=[normal(2, 3), ints(1, 2), ints(0, 1, 1, 0), np.int64(4)])
    loaded = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    for batch, count in ((1, 0), (2, 300), (7, 2)):
        x = normal(batch, 3)
        y, order = li.run(loaded, [x, ints(3, batch), ints(1, 2, 0, -1), np.array(count, np.int64)])
        np.testing.assert_array_equal(y, np.pad(np.tile(x, (3, batch)), ((1, 0), (2, 0)))[:, :-1])
        np.testing.assert_array_equal(order, np.arange(count))
