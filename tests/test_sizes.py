"""Symbolic sizes: arithmetic agrees with integers, normal forms decide equality."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaky_interop import sizes
from leaky_interop.errors import OpenSize
from leaky_interop.sizes import Size, agree, ceil_divide, evaluate, floor_divide, maximum, symbol, symbols

h, w = symbol("h"), symbol("w")
NAMES = ("h", "w")


@st.composite
def expressions(draw, depth=3):
    """A size together with the same expression as a Python function of the symbols' values."""
    kind = draw(st.sampled_from(["symbol", "int"] if depth == 0 else ["symbol", "int", "+", "-", "*", "//", "%", "max"]))
    if kind == "symbol":
        name = draw(st.sampled_from(NAMES))
        return symbol(name), lambda v: v[name]
    if kind == "int":
        number = draw(st.integers(-6, 6))
        return number, lambda v: number
    left, f = draw(expressions(depth=depth - 1))
    if kind in ("//", "%"):
        divisor = draw(st.integers(1, 6))
        made = floor_divide(left, divisor) if kind == "//" else left - divisor * floor_divide(left, divisor)
        return made, (lambda v: f(v) // divisor) if kind == "//" else (lambda v: f(v) % divisor)
    right, g = draw(expressions(depth=depth - 1))
    if kind == "+":
        return left + right, lambda v: f(v) + g(v)
    if kind == "-":
        return left - right, lambda v: f(v) - g(v)
    if kind == "*":
        return left * right, lambda v: f(v) * g(v)
    return maximum(left, right), lambda v: max(f(v), g(v))


@given(expressions(), st.integers(0, 50), st.integers(1, 50))
def test_arithmetic_is_that_of_integers(made, first, second):
    size, plain = made
    values = {"h": first, "w": second}
    assert evaluate(size, values) == plain(values)


@given(expressions(), expressions())
def test_equal_forms_have_equal_hashes_and_agree(a, b):
    if a[0] == b[0]:
        assert hash(a[0]) == hash(b[0])
        assert agree(a[0], b[0])


def test_constants_become_plain_ints():
    assert type(h - h) is int and (h + 3) - h == 3
    assert (4 * h) // h == 4
    assert (h * w) // w == h


def test_flattening_and_striding_simplify():
    assert (6 * h + 4) // 2 == 3 * h + 2
    out = (h + 2 - 3) // 2 + 1
    assert evaluate(out, {"h": 9}) == 5 and evaluate(out, {"h": 8}) == 4
    assert agree(ceil_divide(h, 2), (h + 1) // 2)
    assert not agree(h // 2, (h + 1) // 2)


def test_same_padding_makes_the_output_a_ceiling():
    from leaky_interop.ops.conv import same_pads

    for kernel in (1, 2, 3, 5):
        for stride in (1, 2, 3):
            ((before, after),) = same_pads((h,), (kernel,), (stride,), (1,))
            for size in range(1, 40):
                total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
                assert evaluate((before, after), {"h": size}) == (total // 2, total - total // 2)


def test_a_size_has_no_truth_value():
    with pytest.raises(TypeError, match="no truth value"):
        bool(h)
    assert symbols((h, 3, (w + 1,))) == {"h", "w"}
    assert sizes.rename(h + w, {"h": 2}) == w + 2


def test_text_reads_as_arithmetic():
    assert str((h + 1) // 2) == "((h + 1) // 2)"
    assert str(2 * h * w - 1) == "2*h*w - 1"
    assert repr(Size({("h",): 1})) == "Size(h)"


@pytest.mark.parametrize("ask", [int, float, range, abs, round, lambda n: n < 3, lambda n: max(n, 3), lambda n: n / 2])
def test_who_needs_a_plain_number_is_refused(ask):
    with pytest.raises(OpenSize, match="open size 2\\*batch"):
        ask(symbol("batch") * 2)
