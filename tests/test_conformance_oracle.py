"""The oracle: integer arithmetic against numpy, where numpy is known to be exact, and against fractions."""

import math
import random
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from leaky_interop.conformance import oracle
from leaky_interop.numeric import dtype, ulp_distance

BITS = {"float16": np.uint16, "bfloat16": np.uint16, "float32": np.uint32, "float64": np.uint64}
KINDS = list(BITS)


def any_numbers(kind: str, count: int, seed: int) -> np.ndarray:
    """Numbers of all magnitudes, with NaN, infinities and subnormals among them: random bits."""
    return (
        np.random.default_rng(seed)
        .integers(0, np.iinfo(BITS[kind]).max, count, dtype=BITS[kind], endpoint=True)
        .view(dtype(kind))
    )


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_product_is_that_of_the_processor(kind):
    """Its own multiplication rounds once, to nearest."""
    s, x = any_numbers(kind, 20_000, 1), any_numbers(kind, 20_000, 2)
    with np.errstate(all="ignore"):
        expected = (s * x).astype(np.float64)
    for a, b, want in zip(s, x, expected, strict=True):
        assert oracle.same(oracle.product(float(a), float(b), kind), float(want)), (a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_is_the_nearest_number_of_the_type(kind):
    """Against fractions: no neighbour is nearer, and of two that are equally near it is the even one."""
    s, x = any_numbers(kind, 400, 3), any_numbers(kind, 400, 4)
    for a, b in zip(map(float, s), map(float, x), strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            continue
        got, exact = oracle.product(a, b, kind), Fraction(a) * Fraction(b)
        if math.isinf(got):
            assert abs(exact) >= Fraction(oracle.largest(kind)) * (
                1 + Fraction(1, 2 ** (oracle.FORMATS[kind].precision + 1))
            )
            continue
        array = np.array(got).astype(dtype(kind))
        with np.errstate(over="ignore"):
            around = [
                float(n)
                for n in (np.nextafter(array, dtype(kind).type(-np.inf)), np.nextafter(array, dtype(kind).type(np.inf)))
            ]
        for neighbour in filter(math.isfinite, around):
            nearer = abs(Fraction(neighbour) - exact) - abs(Fraction(got) - exact)
            assert nearer > 0 or (nearer == 0 and int(array.view(BITS[kind])) % 2 == 0)


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_rounding_is_that_of_the_processor(kind):
    """numpy converts float64 to these in one step. Ties among them: numbers half way between two of the type."""
    with np.errstate(all="ignore"):
        halves = any_numbers(kind, 5_000, 5).astype(np.float64) * (1 + 2.0 ** -oracle.FORMATS[kind].precision)
        wide = np.concatenate([any_numbers("float64", 20_000, 6), halves])
        expected = wide.astype(kind).astype(np.float64)
    for x, want in zip(wide, expected, strict=True):
        assert oracle.same(oracle.rounded(float(x), kind), float(want)), x


def test_bfloat16_is_rounded_once():
    """ml_dtypes goes through float32: 1 + 2**-8 + 2**-30 then becomes a tie, and the even 1.0."""
    assert oracle.rounded(1 + 2.0**-8 + 2.0**-30, "bfloat16") == 1 + 2.0**-7
    every = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    assert all(oracle.same(oracle.rounded(x, "bfloat16"), x) for x in oracle.numbers(every))


@pytest.mark.parametrize("kind", KINDS)
def test_distances_count_numbers_of_the_type(kind):
    a, b = any_numbers(kind, 3_000, 7), any_numbers(kind, 3_000, 8)
    for x, y, want in zip(a, b, ulp_distance(a, b), strict=True):
        assert oracle.distance(float(x), float(y), kind) == want
    least = oracle.smallest(kind)
    assert oracle.distance(least, -least, kind) == 2
    assert oracle.distance(0.0, -0.0, kind) == 0
    assert oracle.distance(oracle.largest(kind), math.inf, kind) == math.inf


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_the_types(kind):
    info = ml_dtypes.finfo(dtype(kind))
    assert oracle.largest(kind) == float(info.max)
    assert oracle.smallest(kind) == float(info.smallest_subnormal)
    assert oracle.smallest_normal(kind) == float(info.smallest_normal)
    assert oracle.rounded(oracle.largest(kind), kind) == oracle.largest(kind)
    assert oracle.rounded(oracle.smallest(kind) / 2, kind) == (0.0 if kind != "float64" else oracle.smallest(kind) / 2)


SPECIAL = [
    (0.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, math.inf, 0.0), (0.0, math.nan, 0.0),  # 0 stays, whatever the slope is
    (-0.0, 0.5, -0.0), (-0.0, -1.0, -0.0), (-0.0, math.inf, -0.0), (-0.0, math.nan, -0.0),
    (-1.0, 0.0, -0.0), (-1.0, -0.0, 0.0), (-1.0, -0.1, 0.10000000149011612), (-1.0, math.inf, -math.inf), (-1.0, -math.inf, math.inf),
    (-1.0, math.nan, math.nan), (1.0, math.nan, 1.0), (1.0, math.inf, 1.0), (math.inf, math.nan, math.inf), (math.inf, 0.0, math.inf),
    (-math.inf, 0.0, math.nan), (-math.inf, 0.5, -math.inf), (-math.inf, -0.5, math.inf), (math.nan, 0.5, math.nan), (math.nan, 0.0, math.nan),
]  # fmt: skip


@pytest.mark.parametrize(("x", "slope", "want"), SPECIAL)
def test_special_numbers(x, slope, want):
    (got,) = oracle.values([x], slope, "float32", "float32")
    assert oracle.same(got, want)


def test_a_cache_does_not_mix_up_zeros():
    for _ in range(2):
        assert [math.copysign(1, y) for y in oracle.values([0.0, -0.0, 0.0, -1.0], 0.0, "float32", "float32")] == [
            1,
            -1,
            1,
            -1,
        ]
        assert [math.copysign(1, y) for y in oracle.values([-1.0], -0.0, "float32", "float32")] == [1]


def test_the_readings_differ_where_they_should():
    """A third, in float16: held in float32, rounded to float16, and as it is."""
    third = 1 / 3
    xs = [float(x) for x in -np.arange(1, 200, dtype=np.float16)]
    by_reading = {reading: oracle.values(xs, third, reading, "float16") for reading in oracle.READINGS}
    differing = sum(a != b for a, b in zip(by_reading["float32"], by_reading["type"], strict=True))
    assert 0.2 * len(xs) < differing < 0.5 * len(xs)
    with np.errstate(all="ignore"):
        widened = (np.float32(third) * np.array(xs, np.float32)).astype(np.float16)
        rounded = np.float16(third) * np.array(xs, np.float16)
    assert by_reading["float32"] == widened.astype(float).tolist()
    assert by_reading["type"] == rounded.astype(float).tolist()
    assert oracle.values([-1.0], 0.1, "float32", "float64") == [-0.10000000149011612]
    assert oracle.values([-1.0], 0.1, "float64", "float64") == [-0.1]
    assert oracle.held(1e-45, "float32", "float64") == 2.0**-149
    assert oracle.held(1e38, "type", "float16") == math.inf
    assert oracle.held(1e39, "float32", "float64") == math.inf


def test_gradients():
    xs = [1.0, -1.0, math.inf, -math.inf, 1e-45, -1e-45]
    assert oracle.gradients(xs, 0.1, "float32", "float64") == [1.0, 0.10000000149011612] * 3
    assert all(g != g for g in oracle.gradients([0.0, -0.0, math.nan], 0.1, "type", "float32"))
    assert oracle.at_zero(0.1, 0.10000000149011612, "float32") == "slope"
    assert oracle.at_zero(0.1, 1.0, "float32") == "one"
    assert oracle.at_zero(0.1, 0.550000011920929, "float32") == "mean"
    assert oracle.at_zero(0.1, 0.0, "float32") == "0.0"
    assert oracle.at_zero(math.nan, math.nan, "float32") == "slope"


def test_fractions_of_many_sizes_agree_between_the_types():
    """A product that every type can hold is the same in all of them."""
    draw = random.Random(0)
    for _ in range(200):
        s, x = draw.randint(-15, 15) / 8, -draw.randint(1, 15) / 4
        assert len({oracle.product(s, x, kind) for kind in KINDS}) == 1
        assert oracle.product(s, x, "float16") == s * x
