"""The floating point facts of numeric.py, on every number of the 16-bit types and on drawn ones of the others."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leaky_interop import numeric
from leaky_interop.report.record import Error

KINDS = ["float16", "bfloat16", "float32", "float64"]
WIDTH = {"float16": np.uint16, "bfloat16": np.uint16, "float32": np.uint32, "float64": np.uint64}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@st.composite
def floats_of(draw, kind, size=None):
    """Arrays over all bit patterns: NaN, infinities, subnormals and both zeros are as likely as any other."""
    bits = draw(hnp.arrays(WIDTH[kind], size or st.integers(1, 20)))
    return bits.view(numeric.dtype(kind))


def wide(x):
    """The same numbers in float64; signalling NaN are no reason to warn."""
    with np.errstate(invalid="ignore"):
        return x.astype(np.float64)


def every(kind):
    """All finite numbers of a 16-bit type in order, 0.0 once."""
    values = np.arange(2**16, dtype=np.uint16).view(numeric.dtype(kind))
    values = values[np.isfinite(wide(values)) & (values.view(np.uint16) != 0x8000)]
    return values[np.argsort(values.astype(np.float64))]


# --- dtypes -----------------------------------------------------------------------------------------------------------


@EVERY_KIND
def test_dtype_is_found_by_name_and_by_itself(kind):
    found = numeric.dtype(kind)
    assert found.name == kind
    assert numeric.dtype(found) == found
    assert numeric.is_float(kind)


def test_other_dtypes_are_no_floats():
    assert numeric.dtype("int8") == np.int8
    assert not numeric.is_float("int64")
    with pytest.raises(TypeError, match="received int64"):
        numeric.unit_roundoff("int64")


@EVERY_KIND
def test_unit_roundoff_is_half_of_epsilon(kind):
    assert numeric.unit_roundoff(kind) == float(ml_dtypes.finfo(numeric.dtype(kind)).eps) / 2


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_ulp_is_the_step_to_the_next_number(kind):
    numbers = every(kind)
    positive = numbers[numbers.astype(np.float64) >= 0]
    np.testing.assert_array_equal(numeric.ulp(positive)[:-1], np.diff(positive.astype(np.float64)))
    np.testing.assert_array_equal(numeric.ulp(-positive), numeric.ulp(positive))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@given(data=st.data())
def test_ulp_is_numpys_spacing(kind, data):
    x = data.draw(floats_of(kind))
    with np.errstate(invalid="ignore"):
        spacing = np.where(np.isfinite(x), np.spacing(abs(x)), 0)
    np.testing.assert_array_equal(numeric.ulp(x), spacing.astype(np.float64))


# --- distances --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_ulp_distance_counts_numbers(kind):
    numbers = every(kind)
    place = np.arange(len(numbers))
    for other in (0, 1, len(numbers) // 3, len(numbers) // 2, len(numbers) - 1):
        distance = numeric.ulp_distance(numbers, np.full_like(numbers, numbers[other]))
        np.testing.assert_array_equal(distance, abs(place - other))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@given(data=st.data(), steps=st.integers(0, 40))
def test_ulp_distance_counts_steps_of_nextafter(kind, data, steps):
    x = data.draw(floats_of(kind).filter(lambda a: np.isfinite(wide(a)).all()))
    y = x.copy()
    for _ in range(steps):
        y = np.nextafter(y, np.array(0, x.dtype) if (abs(x) > 1).all() else np.array(-np.inf, x.dtype))
    finite = np.isfinite(y)
    assert (numeric.ulp_distance(x, y)[finite] == steps).all()
    np.testing.assert_array_equal(numeric.ulp_distance(x, y), numeric.ulp_distance(y, x))


@EVERY_KIND
def test_ulp_distance_at_the_special_values(kind):
    def distance(a, b):
        return float(numeric.ulp_distance(np.array(a, numeric.dtype(kind)), np.array(b, numeric.dtype(kind))))

    largest = float(ml_dtypes.finfo(numeric.dtype(kind)).max)
    smallest = float(ml_dtypes.finfo(numeric.dtype(kind)).smallest_subnormal)
    assert distance(math.nan, math.nan) == 0
    assert distance(math.nan, 1) == distance(1, math.nan) == distance(math.nan, math.inf) == math.inf
    assert distance(math.inf, math.inf) == distance(-math.inf, -math.inf) == 0
    assert distance(math.inf, largest) == distance(-math.inf, math.inf) == math.inf
    assert distance(-0.0, 0.0) == 0
    assert distance(-0.0, smallest) == distance(-smallest, 0.0) == 1
    assert distance(-smallest, smallest) == 2
    bits = {"float16": 0x7BFF, "bfloat16": 0x7F7F, "float32": 0x7F7FFFFF, "float64": 0x7FEFFFFFFFFFFFFF}[kind]
    assert distance(-largest, largest) == float(2 * bits)


@EVERY_KIND
def test_a_signalling_nan_is_a_nan(kind):
    bits = {"float16": 0x7D00, "bfloat16": 0x7FA0, "float32": 0x7FA00000, "float64": 0x7FF4000000000000}[kind]
    x = np.array([bits], WIDTH[kind]).view(numeric.dtype(kind))
    assert numeric.ulp_distance(x, x) == 0
    assert numeric.same_bits(x, np.full_like(x, np.nan))
    assert numeric.compare(x, x, 0).ratio == 0
    assert numeric.ulp(x) == 0
    assert np.isnan(numeric.erf(x))


def test_distances_need_one_dtype():
    with pytest.raises(TypeError, match="float32 and float64"):
        numeric.ulp_distance(np.float32(1), np.float64(1))
    with pytest.raises(TypeError, match="float16 and float64"):
        numeric.same_bits(np.float16(1), np.float64(1))
    with pytest.raises(TypeError, match="received int32"):
        numeric.ulp_distance(np.int32(1), np.int32(1))


@EVERY_KIND
@given(data=st.data())
def test_same_bits_compares_bits_except_in_nan(kind, data):
    size = data.draw(st.integers(1, 20))
    a = data.draw(floats_of(kind, size))
    b = np.where(data.draw(hnp.arrays(bool, size)), a, data.draw(floats_of(kind, size)))
    equal = (a.view(WIDTH[kind]) == b.view(WIDTH[kind])) | (np.isnan(wide(a)) & np.isnan(wide(b)))
    np.testing.assert_array_equal(numeric.same_bits(a, b), equal)


def test_same_bits_tells_the_zeros_apart():
    assert not numeric.same_bits(np.float32(-0.0), np.float32(0.0))
    assert numeric.same_bits(np.int64(2**53 + 1), np.int64(2**53 + 1))
    assert not numeric.same_bits(np.int64(2**53 + 1), np.int64(2**53))


# --- slopes -----------------------------------------------------------------------------------------------------------


def test_shortest_restores_slopes():
    assert numeric.shortest(0.009999999776482582) == 0.01
    assert numeric.shortest(0.30000001192092896) == 0.3
    for exact in (0.0, 1.0, 0.25, -0.5, 10.0, 1e10, math.inf, -math.inf):
        assert numeric.shortest(exact) == exact
    assert math.isnan(numeric.shortest(math.nan))
    assert math.copysign(1, numeric.shortest(-0.0)) == -1


@given(st.integers(-(10**6), 10**6), st.integers(-9, 3))
def test_shortest_restores_what_a_person_wrote(digits, exponent):
    written = float(f"{digits}e{exponent}")
    assert numeric.shortest(float(np.float32(written))) == written


@given(st.floats(width=32))
def test_shortest_never_leaves_its_float32(x):
    short = numeric.shortest(x)
    with np.errstate(over="raise"):
        assert numeric.same_bits(np.float32(short), np.float32(x))
    written, before = (repr(v).removesuffix(".0").rstrip("0") for v in (short, x))  # 1e15 is written with all its zeros
    assert len(written) <= len(before)


@given(st.floats())
def test_shortest_leaves_what_was_no_float32(x):
    with np.errstate(over="ignore"):
        if float(np.float32(x)) != x and not math.isnan(x):
            assert numeric.shortest(x) == x


def test_shortest_where_a_second_rounding_would_miss():
    x = 7.038530691851209e-26  # its shortest decimal, 7.038531e-26, is nearest to the midpoint in float64
    assert np.float32(7.038531e-26) != np.float32(x)
    assert numeric.shortest(x) == x


# --- error function ---------------------------------------------------------------------------------------------------


@given(hnp.arrays(np.float64, hnp.array_shapes(min_side=0), elements=st.floats()))
def test_erf_is_the_c_librarys(x):
    y = numeric.erf(x)
    assert y.dtype == np.float64
    assert y.shape == x.shape
    expected = np.array([math.erf(v) for v in x.ravel()], np.float64).reshape(x.shape)
    assert numeric.same_bits(y, expected).all()


def test_erf_has_the_published_values():
    x = np.array([-np.inf, -1.0, 0.5, 1.0, 2.0, 3.5, np.inf])
    y = np.array(
        [-1, -0.8427007929497149, 0.5204998778130465, 0.8427007929497149, 0.9953222650189527, 0.9999992569016276, 1]
    )
    assert (numeric.ulp_distance(numeric.erf(x), y) <= 1).all()


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
@given(data=st.data())
def test_erf_of_a_narrow_float_is_rounded_once(kind, data):
    x = data.draw(floats_of(kind))
    assert numeric.same_bits(numeric.erf(x), numeric.erf(wide(x)).astype(x.dtype)).all()


def test_erf_of_integers_is_float64():
    assert numeric.erf(1).dtype == np.float64
    assert numeric.erf(1).shape == ()


# --- limits -----------------------------------------------------------------------------------------------------------


def test_constants_are_frozen():
    assert (numeric.ROUNDING_ULP, numeric.SUM_FACTOR, numeric.NETWORK_FACTOR, numeric.FLOOR_ULP) == (4, 4, 8, 4)


@EVERY_KIND
def test_rounding_limit_admits_four_ulp_and_not_five(kind):
    one = np.array([1.0, -1.0], numeric.dtype(kind))
    step = 2 * numeric.unit_roundoff(kind)
    limit = numeric.rounding_limit(one)
    near, far = (np.array([1 + n * step, -1 - n * step]).astype(one.dtype) for n in (4, 5))
    assert numeric.compare(one, near, limit).ratio == 1
    assert numeric.compare(one, far, limit).ratio == 1.25


@EVERY_KIND
def test_sum_limit_grows_with_the_square_root(kind):
    u = numeric.unit_roundoff(kind)
    np.testing.assert_array_equal(numeric.sum_limit(9, [1.0, 2.0], kind), [12 * u, 24 * u])
    info = ml_dtypes.finfo(numeric.dtype(kind))
    smallest = float(info.smallest_subnormal if kind == "float16" else 2 * info.smallest_normal)
    assert numeric.sum_limit(9, 0.0, kind) == smallest


@given(st.integers(1, 2000), st.integers(0, 2**32 - 1))
def test_sum_limit_holds_for_any_order_and_fails_a_lost_term(n, seed):
    random = np.random.default_rng(seed)
    w, x = random.normal(size=(2, n)).astype(np.float32)
    products = (w * x).astype(np.float32)
    expected = np.array(products.astype(np.float64).sum(), np.float32)
    limit = numeric.sum_limit(n, abs(products).astype(np.float64).sum(), "float32")
    order = random.permutation(n)
    assert numeric.compare(expected, products[order].cumsum(dtype=np.float32)[-1], limit).ratio <= 1
    products[abs(products).argmax()] = 0
    assert numeric.compare(expected, products.sum(), limit).ratio > 1


def test_network_limit_is_the_largest_of_three():
    step = 2.0**-23  # one ulp of a number in [1, 2) in float32
    assert numeric.network_limit(1e-3, 1e-6, 1.5, "float32") == 1e-3
    assert numeric.network_limit(1e-9, 1e-3, 1.5, "float32") == 8e-3
    assert numeric.network_limit(0, 0, 1.5, "float32") == 4 * step
    assert numeric.network_limit(0, 0, -1.5, "float16") == 4 * 2.0**-10
    np.testing.assert_array_equal(numeric.network_limit([0, 1], [1, 0], 1, "float32"), [8, 1])


# --- compare ----------------------------------------------------------------------------------------------------------


@EVERY_KIND
@given(data=st.data())
def test_a_value_equals_itself(kind, data):
    x = data.draw(floats_of(kind))
    error = numeric.compare(x, x.copy(), numeric.exact_limit(x))
    assert isinstance(error, Error)
    assert (error.absolute, error.ulp, error.ratio) == (0, 0, 0)


@EVERY_KIND
@given(data=st.data())
def test_compare_finds_the_one_planted_difference(kind, data):
    x = data.draw(floats_of(kind).filter(lambda a: np.isfinite(wide(a)).all()))
    at = data.draw(st.integers(0, len(x) - 1))
    y = x.copy()
    y[at] = data.draw(floats_of(kind, 1))[0]
    result = numeric.compare(x, y, numeric.exact_limit(x))
    if not np.isfinite(float(y[at])):
        name = "NaN" if np.isnan(float(y[at])) else "infinity" if float(y[at]) > 0 else "-infinity"
        assert result.startswith(f"{name} in different places: 1 of {len(x)} elements, first at ({at},)")
    elif x[at] == y[at]:
        assert result.ratio == 0
    else:
        assert result.index == (at,)
        assert result.ratio == math.inf
        assert result.limit == 0
        assert (result.expected, result.received) == (float(x[at]), float(y[at]))
        assert result.ulp == numeric.ulp_distance(x[at], y[at])
        with np.errstate(over="ignore"):
            assert result.absolute == abs(np.float64(x[at]) - np.float64(y[at]))


def test_compare_looks_at_shapes_then_dtypes_then_positions_then_values():
    a = np.array([1, np.nan, np.inf], np.float32)
    assert numeric.compare(a, np.zeros(2, int), 0) == "shape (2,), but should be (3,)"
    assert numeric.compare(a, a.astype(np.float64), 0) == "dtype float64, but should be float32"
    assert (
        numeric.compare(a, np.array([1, 2, -np.inf], np.float32), 0)
        == "NaN in different places: 1 of 3 elements, first at (1,): 2.0, but should be nan"
    )
    assert (
        numeric.compare(a, np.array([1, np.nan, -np.inf], np.float32), 0)
        == "infinity in different places: 1 of 3 elements, first at (2,): -inf, but should be inf"
    )
    assert (
        numeric.compare(-a, np.array([5, np.nan, 7], np.float32), 0)
        == "-infinity in different places: 1 of 3 elements, first at (2,): 7.0, but should be -inf"
    )
    error = numeric.compare(a, np.array([5, np.nan, np.inf], np.float32), 8)
    assert (error.absolute, error.ratio, error.limit, error.index) == (4, 0.5, 8, (0,))
    assert (error.expected, error.received) == (1, 5)


def test_compare_judges_the_worst_ratio_not_the_largest_difference():
    error = numeric.compare(np.zeros((2, 2)), np.array([[0, 3.0], [1, 0]]), np.array([[1, 30.0], [2, 1]]))
    assert (error.absolute, error.ratio, error.index, error.limit) == (3, 0.5, (1, 0), 2)


def test_a_limit_that_overflowed_allows_nothing():
    for broken in (np.inf, np.nan):
        assert numeric.compare(np.float32([1]), np.float32([1.5]), broken).ratio == math.inf
        assert numeric.compare(np.float32([1]), np.float32([1]), broken).ratio == 0


def test_compare_counts_integers_and_booleans_exactly():
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    assert numeric.compare(np.array([low]), np.array([high]), 0).absolute == 2.0**64
    assert numeric.compare(np.array([2**60]), np.array([2**60 + 1]), 0).absolute == 1
    assert numeric.compare(np.array([1], np.uint64), np.array([2**64 - 1], np.uint64), 0).absolute == float(2**64 - 2)
    assert numeric.compare(np.array([3], np.uint8), np.array([5], np.uint8), 2).ratio == 1
    assert numeric.compare(np.array([True, False]), np.array([True, True]), 0).index == (1,)
    with pytest.raises(TypeError, match="complex"):
        numeric.compare(np.array([1j]), np.array([1j]), 0)


def test_compare_takes_scalars_and_nothing():
    assert numeric.compare(np.float16(2), np.float16(2), 0).index == ()
    empty = numeric.compare(np.zeros((0, 3)), np.zeros((0, 3)), 0)
    assert (empty.absolute, empty.ratio, empty.expected) == (0, 0, None)


def test_nothing_but_numpy_is_imported():
    import subprocess
    import sys

    code = (
        "import sys, leaky_interop.numeric; print(sorted({'ml_dtypes', 'torch', 'keras', 'onnx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
