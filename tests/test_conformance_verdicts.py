"""Cases and verdicts: what is asked of every runtime, and what becomes of an answer."""

import dataclasses
import math

import numpy as np
import pytest

from leaky_interop.conformance import cases as asked
from leaky_interop.conformance import oracle, verdicts
from leaky_interop.conformance.cases import FLOATS, SHAPES, SLOPES, Case
from leaky_interop.numeric import dtype

ABOUT = {
    "version": "1", "variants": ["only"], "dtypes": [*FLOATS, "int32"], "operators": ["leaky_relu", "prelu"],
    "placements": ["alone", "conv", "max_pool", *asked.QUANTA], "default": 0.01, "gradients": True,
    "held": {"float16": "float32", "bfloat16": "type", "float32": "float32", "float64": "float64"},
}  # fmt: skip


def answer(case: Case, change=lambda y: y, reading: str | None = None) -> dict[str, np.ndarray]:
    """What a runtime would return that computes the definition, changed."""
    kind = case.dtype if case.dtype in FLOATS else "float64"
    reading = reading or ("type" if case.operator == "prelu" else verdicts._claimed(case, ABOUT) or "float64")
    slope = ABOUT["default"] if case.slope == "left out" else SLOPES[case.slope]
    right = verdicts.want(case, slope, reading, kind)
    at_zero = oracle.rounded(oracle.held(slope, reading, kind), kind)
    gradient = case.what == "gradient"
    ys = [at_zero if gradient and x == 0 else y for x, y in zip(right.xs, right.ys, strict=True)]
    made = oracle.array(ys, right.shape, kind)
    name = {"output": "y", "gradient": "dx", "slope gradient": "dslope"}[case.what]
    return {name: change(made)}


def judged(case: Case, *args, **options):
    return verdicts.judge(case, "mine", "only", answer(case, *args, **options), ABOUT)


def test_every_value_of_every_axis_meets_every_type():
    every = list(asked.cases(ABOUT))
    assert len(set(every)) == len(every)
    for operator in ABOUT["operators"]:
        for kind in FLOATS:
            mine = [c for c in every if (c.operator, c.dtype) == (operator, kind)]
            absent = {"left out"} if operator == "prelu" else set()
            assert {c.slope for c in mine} == set(SLOPES) - absent
            assert {c.slope for c in mine if c.what == "gradient"} == set(SLOPES) - absent
            assert {c.shape for c in mine} == set(SHAPES) - ({"rank 0"} if operator == "prelu" else set())
            assert {c.placement for c in mine} == set(ABOUT["placements"]) - (
                set(asked.QUANTA) if kind != "float32" else set()
            )
    assert {c.slope for c in every if c.dtype == "int32"} == {"0.2", "2"}


def test_a_costly_runtime_is_asked_less_but_every_slope_in_every_type():
    few = list(asked.cases({**ABOUT, "costly": True}))
    assert len(few) < len(list(asked.cases(ABOUT))) / 2
    for kind in FLOATS:
        assert {c.slope for c in few if (c.operator, c.dtype, c.what) == ("leaky_relu", kind, "output")} == set(SLOPES)


def test_a_runtime_without_a_default_or_gradients_is_not_asked_for_them():
    every = list(asked.cases({**ABOUT, "default": None, "gradients": False}))
    assert "left out" not in {c.slope for c in every}
    assert {c.what for c in every} == {"output"}


@pytest.mark.parametrize("kind", FLOATS)
def test_inputs_hold_every_special_number_first_and_last(kind):
    xs = Case("leaky_relu", kind, "alone", "rank 1", "0.1").xs
    special = asked.specials(kind)
    assert len(xs) == 127 and len(special) == 15
    for part in (xs[:15], xs[-15:]):
        assert all(oracle.same(a, b) for a, b in zip(part, special, strict=True))
    made = oracle.array(xs, (127,), kind)
    assert all(oracle.same(a, b) for a, b in zip(oracle.numbers(made), xs, strict=True))
    assert {math.copysign(1, x) for x in xs if x == 0} == {1, -1}
    assert any(0 < -x < oracle.smallest_normal(kind) for x in xs)
    assert len({x for x in xs if math.isfinite(x)}) > 80


@pytest.mark.parametrize("case", list(asked.cases(ABOUT)), ids=str)
def test_the_definition_itself_is_exact(case):
    cell = judged(case)
    assert cell.verdict == "exact", cell
    assert cell.judged > 0 or case.shape == "empty"


def test_arrays_have_the_shapes_of_the_contract():
    for case in asked.cases(ABOUT):
        made = case.arrays()
        if case.dtype in FLOATS:
            assert made["x"].dtype == dtype(case.dtype)
        expected = {"conv": (1, 1, 1), "max_pool": (1, 1, 2), **dict.fromkeys(asked.QUANTA, (1, 1, 1))}
        if case.placement == "alone":
            assert case.dtype == "int32" or case.what == "slope gradient" or made["x"].shape == SHAPES[case.shape]
        else:
            assert made["x"].shape[:3] == expected[case.placement]
            assert made["x"].shape[3] % 2 == 0 or case.placement != "max_pool"
        assert ("w" in made) == (case.placement == "conv")
        assert ("slope" in made) == (case.operator == "prelu")


def test_one_element_of_each_placement_alone():
    """What a reproducer sends: the element that it is about."""
    for placement in ("alone", "conv", "max_pool"):
        case = Case("leaky_relu", "float32", placement, "rank 1" if placement == "alone" else "rank 4", "2")
        right = verdicts.want(case, 2.0, "float32", "float32")
        for index in (0, 5, len(right.xs) - 1):
            made = case.arrays(index)["x"]
            y = np.where(made < 0, np.float32(2) * made, made)
            assert oracle.same(float(y.max() if placement == "max_pool" else y.reshape(())), right.ys[index])


@pytest.mark.parametrize("kind", FLOATS)
def test_one_bit_is_seen(kind):
    """The last bit of one ordinary number, of each in turn: "within"; of a special one, "wrong"."""
    case = Case("leaky_relu", kind, "alone", "rank 1", "0.1")
    for place in (20, 60, 100):

        def change(y, place=place):
            y = y.copy()
            bits = y.view({2: np.uint16, 4: np.uint32, 8: np.uint64}[y.dtype.itemsize])
            bits[place] ^= 1
            return y

        cell = judged(case, change)
        assert cell.verdict == "within" and cell.ulp == 1 and sum(cell.where.values()) == 1


CHANGES = {
    "zero": lambda y, x: np.where(x == 0, -y, y),
    "nan": lambda y, x: np.where(x != x, 0, y),
    "-inf": lambda y, x: np.where(x == -np.inf, -np.finfo(np.float32).max, y),
    "+inf": lambda y, x: np.where(x == np.inf, np.nan, y),
    "subnormal": lambda y, x: np.where((y != 0) & (abs(y) < np.finfo(np.float32).tiny), 0, y),
    "positive": lambda y, x: np.where(x == 1, 2, y),
    "negative": lambda y, x: np.where(x == -1, 0.5, y),
    "largest": lambda y, x: np.where(x == np.finfo(np.float32).max, np.inf, y),
}


@pytest.mark.parametrize("where", CHANGES)
def test_a_planted_fault_is_wrong_and_its_place_is_named(where):
    case = Case("leaky_relu", "float32", "alone", "rank 1", "0.1")
    x = case.arrays()["x"]
    cell = judged(case, lambda y: CHANGES[where](y, x).astype(np.float32))
    assert cell.verdict == "wrong"
    assert set(cell.where) == {where}
    assert cell.numbers and cell.numbers[0].where == where


FORMULAS = {
    "maximum": (lambda x, s: np.maximum(x, s * x), {"1.5", "2"}),
    "relu - relu": (
        lambda x, s: np.maximum(x, 0) - s * np.maximum(-x, 0),
        {"0.1", "0.5", "0", "1", "inf", "nan", "-0.1"},
    ),
    "x > 0": (lambda x, s: np.where(x > 0, x, s * x), {"-0.1", "-1", "inf", "nan"}),
    "mask": (lambda x, s: x * (x > 0) + s * x * (x <= 0), {"0.1", "2", "0", "inf"}),
    "min": (lambda x, s: np.maximum(x, 0) + np.minimum(s * x, 0), {"-0.1", "-1"}),
    "abs": (lambda x, s: (1 + s) / 2 * x + (1 - s) / 2 * abs(x), {"0.1", "0.01", "0.3"}),
    "relu": (lambda x, s: np.maximum(x, 0), {"0.1", "1", "-1", "0"}),
    "swapped": (lambda x, s: np.where(x < 0, x, s * x), {"0.1", "2"}),
    "slope ignored": (lambda x, s: np.where(x < 0, np.float32(0.01) * x, x), {"0.1", "1/3"}),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_wrong_formulas_are_found_at_the_slopes_where_they_are_wrong(formula):
    compute, slopes = FORMULAS[formula]
    for slope in slopes:
        case = Case("leaky_relu", "float32", "alone", "rank 1", slope)
        with np.errstate(all="ignore"):
            y = compute(case.arrays()["x"], np.float32(SLOPES[slope])).astype(np.float32)
        assert verdicts.judge(case, "mine", "only", {"y": y}, ABOUT).verdict == "wrong", slope


def test_the_reading_is_named_and_checked_against_the_claim():
    third = Case("leaky_relu", "float16", "alone", "rank 1", "1/3")
    assert judged(third).readings == ("float32", "float64")
    other = judged(third, reading="type")
    assert other.verdict == "wrong" and other.readings == ("type",)
    assert set(other.where) == {"precision"} and other.ulp == 1
    unclaimed = verdicts.judge(third, "mine", "only", answer(third, reading="type"), {**ABOUT, "held": {}})
    assert unclaimed.verdict == "exact" and unclaimed.readings == ("type",)
    wide = Case("leaky_relu", "float64", "alone", "rank 1", "0.1")
    assert judged(wide, reading="float32").where.keys() == {"precision"}
    half = Case("leaky_relu", "float64", "alone", "rank 1", "0.5")
    assert judged(half, reading="float32").verdict == "exact"


def test_flushing_does_not_hide_the_precision():
    case = Case("leaky_relu", "float64", "alone", "rank 1", "0.1")
    cell = judged(case, lambda y: np.where(abs(y) < np.finfo(np.float64).tiny, np.copysign(0, y), y), reading="float32")
    assert cell.readings == ("float32",)
    assert set(cell.where) == {"precision", "subnormal"}


def test_shape_dtype_and_a_missing_array_are_results():
    case = Case("leaky_relu", "float16", "alone", "rank 4", "0.1")
    for change in (lambda y: y.astype(np.float32), lambda y: y[:-1], lambda y: y.reshape(-1)):
        cell = judged(case, change)
        assert cell.verdict == "wrong" and cell.where == {"result": 1} and cell.message
    assert verdicts.judge(case, "mine", "only", {"z": np.zeros(3)}, ABOUT).message.startswith("no array y")
    empty = Case("leaky_relu", "float32", "alone", "empty", "0.1")
    assert judged(empty, lambda y: np.zeros(0, np.float32)).verdict == "wrong"


def test_integers_are_right_as_the_product_only():
    fifth, two = (Case("leaky_relu", "int32", "alone", "rank 1", s) for s in ("0.2", "2"))
    x = fifth.arrays()["x"]
    assert x.dtype == np.int32
    for case, y, verdict in (
        (fifth, np.where(x < 0, np.float32(0.2) * x.astype(np.float32), x.astype(np.float32)), "exact"),
        (fifth, np.where(x < 0, 0.2 * x, x), "exact"),
        (fifth, np.where(x < 0, 0 * x, x), "wrong"),
        (two, np.where(x < 0, 2 * x, x), "exact"),
        (two, np.maximum(2 * x, x), "wrong"),
    ):
        assert verdicts.judge(case, "mine", "only", {"y": y}, ABOUT).verdict == verdict


@pytest.mark.parametrize("placement", asked.QUANTA)
def test_the_codes_of_a_quantised_graph_go_from_end_to_end(placement):
    """Both ends of the integers are among the inputs, and a result beyond them is cut off at the end."""
    made = Case("leaky_relu", "float32", placement, "rank 4", "2").arrays()
    integer = made["x_zero_point"].dtype
    ends = np.iinfo(integer)
    codes = made["x"].reshape(-1) / made["x_scale"] + made["x_zero_point"]
    assert (codes.size, codes[0], codes[-1]) == (256, ends.min, ends.max) and set(np.diff(codes)) == {
        codes[1] - codes[0]
    }
    right = verdicts.want(Case("leaky_relu", "float32", placement, "rank 4", "2"), 2.0, "float32", "float32").ys
    codes = np.array(right) / asked.Y_SCALE + int(made["y_zero_point"])
    assert (codes.min(), codes.max()) == (ends.min, ends.max) and (codes == np.rint(codes)).all()


@pytest.mark.parametrize("placement", asked.QUANTA)
def test_quantised_is_judged_in_steps(placement):
    case = Case("leaky_relu", "float32", placement, "rank 4", "0.1")
    step = np.float32(asked.Y_SCALE)

    def off(steps):
        return lambda y: y + step * np.where(np.arange(y.size).reshape(y.shape) == 9, np.float32(steps), 0)

    assert judged(case, off(1)).verdict == "within"
    assert judged(case, off(1)).ulp == 1
    assert judged(case, off(2)).verdict == "wrong"


def test_a_max_pool_must_choose():
    case = Case("leaky_relu", "float32", "max_pool", "rank 4", "-0.1")
    x = case.arrays()["x"]
    before = (
        x.reshape(2, -1, 2).transpose(1, 0, 2).reshape(-1, 4).max(axis=1)
    )  # pooled first: right for slopes >= 0 only
    with np.errstate(invalid="ignore"):
        y = np.where(before < 0, np.float32(-0.1) * before, before).reshape(1, 1, 1, -1)
    assert verdicts.judge(case, "mine", "only", {"y": y}, ABOUT).verdict == "wrong"


def test_gradients_name_the_convention_at_zero():
    case = Case("leaky_relu", "float32", "alone", "rank 1", "0.1")
    case = dataclasses.replace(case, what="gradient")
    x = case.arrays()["x"]
    for value, name, verdict in (
        (0.1, "slope", "exact"),
        (1, "one", "exact"),
        (0.55, "mean", "exact"),
        (0, "0.0", "wrong"),
    ):
        dx = np.where(x > 0, 1, np.where(x == 0, value, 0.1)).astype(np.float32)
        cell = verdicts.judge(case, "mine", "only", {"y": x, "dx": dx}, ABOUT)
        assert (cell.at_zero, cell.verdict) == (name, verdict)
        assert {n.where for n in cell.numbers} == ({"zero"} if verdict == "wrong" else set())
    mixed = np.where(x > 0, 1, np.where((x == 0) & ~np.signbit(x), 1, 0.1)).astype(np.float32)
    assert verdicts.judge(case, "mine", "only", {"dx": mixed}, ABOUT).at_zero == "one and slope"
    assert verdicts.judge(case, "mine", "only", {"dx": np.ones_like(x)}, ABOUT).verdict == "wrong"


def test_a_curve_is_kept_for_the_slopes_that_are_plotted():
    for slope in ("0.1", "0.2"):
        curve = judged(Case("leaky_relu", "float32", "alone", "rank 1", slope)).curve
        assert bool(curve) == (slope in asked.PLOTTED)
        assert [x for x, _, _ in curve] == sorted({x for x, _, _ in curve})
