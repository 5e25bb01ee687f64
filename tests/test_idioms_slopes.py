"""Every spelling of LeakyReLU: the same bits, or taken with fast math only, or left alone with the reason."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check
from hypothesis import given, settings
from hypothesis import strategies as st
from native import Applied, in_keras
from onnx import TensorProto, helper, numpy_helper

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.graph import Graph
from leaky_interop.judging import class_limits
from leaky_interop.numeric import dtype, same_bits
from leaky_interop.ops.activation import LeakyRelu, PRelu
from leaky_interop.ops.bounds import Clip, Maximum, Minimum
from leaky_interop.ops.cast import Cast
from leaky_interop.ops.compare import Greater, GreaterOrEqual, Less, LessOrEqual, Where
from leaky_interop.ops.expand import Expand
from leaky_interop.ops.functions import Abs, Neg
from leaky_interop.ops.logic import Not
from leaky_interop.ops.math import Add, Div, Mul, Sub
from leaky_interop.ops.relu import Relu
from leaky_interop.passes.idioms import near_misses, recognise

FLOATS = ("float16", "bfloat16", "float32", "float64")
SLOPES = (0.0, -0.0, 1e-8, 0.01, 0.1, 0.2, 0.3, 1 / 3, 0.5, 1.0, 1.5, 2.0, 10.0, -0.1, -0.5, -1.0, 1e30)


def numbers(kind):
    """Zeros, ones, subnormal and largest numbers, infinities, NaN, and ordinary ones."""
    kind = dtype(kind)
    tiny = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}[kind.name]
    large = {"float16": 65504.0, "bfloat16": 3.38e38, "float32": 3.4e38, "float64": 1.79e308}[kind.name]
    special = [0.0, 1.0, 2.5, tiny, 3 * tiny, 1e-4, large, large / 3, np.inf]
    rest = np.random.default_rng(7).standard_normal(41) * 3
    return np.concatenate([special, np.negative(special), [np.nan], rest]).astype(kind)


def like(x, number):
    return x.graph.constant(number, x.dtype)


def mask(kind, x):
    return Cast(dtype=x.dtype.name)(kind()(x, 0.0))


def upper(x):
    return Clip(minimum=0.0, maximum=None)(x)


def lower(x):
    return Clip(minimum=None, maximum=0.0)(x)


def half_sum(x, s):
    return Add()(Mul()(x, 1 + s), Mul()(Abs()(x), 1 - s))


def opened(x, number):
    return Expand(shape=x.shape)(like(x, np.reshape(number, (1,))))


SPELLINGS = {
    "x < 0": lambda x, s: Where()(Less()(x, 0.0), Mul()(x, s), x),
    "0 > x": lambda x, s: Where()(Greater()(like(x, 0.0), x), Mul()(like(x, s), x), x),
    "x >= 0": lambda x, s: Where()(GreaterOrEqual()(x, 0.0), x, Mul()(x, s)),
    "not x < 0": lambda x, s: Where()(Not()(Less()(x, 0.0)), x, Mul()(x, s)),
    "select of JAX": lambda x, s: Where()(GreaterOrEqual()(x, opened(x, 0.0)), x, Mul()(opened(x, s), x)),
    "constants in full": lambda x, s: Where()(
        GreaterOrEqual()(x, like(x, np.zeros(x.shape))), x, Mul()(like(x, np.full(x.shape, s)), x)
    ),
    "x > 0": lambda x, s: Where()(Greater()(x, 0.0), x, Mul()(x, s)),
    "x <= 0": lambda x, s: Where()(LessOrEqual()(x, 0.0), Mul()(x, s), x),
    "not x > 0": lambda x, s: Where()(Not()(Greater()(x, 0.0)), Mul()(x, s), x),
    "max": lambda x, s: Maximum()(x, Mul()(x, s)),
    "max, mirrored": lambda x, s: Maximum()(Mul()(like(x, s), x), x),
    "min": lambda x, s: Minimum()(x, Mul()(x, s)),
    "prelu": lambda x, s: PRelu()(x, like(x, np.reshape(s, (1,)))),
    "prelu, in full": lambda x, s: PRelu()(x, like(x, np.full(x.shape, s))),
    "relu(x) - s * relu(-x)": lambda x, s: Sub()(Relu()(x), Mul()(Relu()(Neg()(x)), s)),
    "relu(x) + -s * relu(-x)": lambda x, s: Add()(Mul()(like(x, -s), Relu()(Neg()(x))), Relu()(x)),
    "relu(x) - relu(-s * x)": lambda x, s: Sub()(Relu()(x), Relu()(Mul()(x, -s))),
    "max(x, 0) + s * min(x, 0)": lambda x, s: Add()(upper(x), Mul()(lower(x), s)),
    "max(x, 0) + min(x, 0) * s, arrays": lambda x, s: Add()(
        Maximum()(like(x, 0.0), x), Mul()(Minimum()(x, like(x, 0.0)), s)
    ),
    "max(x, 0) + min(s * x, 0)": lambda x, s: Add()(upper(x), lower(Mul()(x, s))),
    "masks": lambda x, s: Add()(Mul()(mask(Less, x), Mul()(x, s)), Mul()(mask(GreaterOrEqual, x), x)),
    "masks first": lambda x, s: Add()(Mul()(x, mask(Greater, x)), Mul()(Mul()(like(x, s), mask(LessOrEqual, x)), x)),
    "mask of tf2onnx": lambda x, s: Add()(
        Mul()(x, mask(Greater, x)), Mul()(Mul()(x, s), Sub()(like(x, 1.0), mask(Greater, x)))
    ),
    "mask and not": lambda x, s: Add()(
        Mul()(x, mask(Greater, x)), Mul()(Mul()(x, s), Cast(dtype=x.dtype.name)(Not()(Greater()(x, 0.0))))
    ),
    "mask by choice": lambda x, s: Add()(
        Mul()(x, Where()(Less()(x, 0.0), like(x, 0.0), like(x, 1.0))),
        Mul()(Mul()(x, s), Where()(Less()(x, 0.0), like(x, 1.0), like(x, 0.0))),
    ),
    "relu and a mask": lambda x, s: Add()(Relu()(x), Mul()(Mul()(x, s), mask(Less, x))),
    "half * sum": lambda x, s: Mul()(half_sum(x, s), 0.5),
    "sum / 2": lambda x, s: Div()(half_sum(x, s), 2.0),
    "halves": lambda x, s: Add()(Mul()(x, (1 + s) / 2), Mul()(Abs()(x), (1 - s) / 2)),
    "halves, less": lambda x, s: Sub()(Mul()(x, (1 + s) / 2), Mul()(Abs()(x), (s - 1) / 2)),
    "s * x + (1 - s) * relu(x)": lambda x, s: Add()(Mul()(x, s), Mul()(Relu()(x), 1 - s)),
    "x + (1 - s) * relu(-x)": lambda x, s: Add()(x, Mul()(Relu()(Neg()(x)), 1 - s)),
}  # fmt: skip

ANY = ("x < 0", "0 > x", "x >= 0", "not x < 0", "select of JAX", "constants in full", "prelu", "prelu, in full")
NOT_NEGATIVE = ("x > 0", "x <= 0", "not x > 0")
LARGER = ("max", "max, mirrored")
MIDDLE = ("max(x, 0) + s * min(x, 0)", "max(x, 0) + min(x, 0) * s, arrays")
POSITIVE_INSIDE = ("relu(x) - relu(-s * x)", "max(x, 0) + min(s * x, 0)")
BENT = ("half * sum", "sum / 2", "halves", "halves, less", "s * x + (1 - s) * relu(x)", "x + (1 - s) * relu(-x)")
SMALL = {"float16": 2e-3, "bfloat16": 0.02, "float32": 1e-7, "float64": 1e-15}


def verdict(name, slope):
    """ "same" where the spelling is LeakyReLU, "fast" where it is nearly, "other" where it is another function."""
    negative = np.signbit(slope)
    if name in ANY:
        return "same"
    if name in NOT_NEGATIVE:
        return "fast" if negative else "same"
    if name in LARGER:
        return "same" if 0 < slope <= 1 else "fast" if slope <= 0 else "other"
    if name == "min":
        return "same" if slope >= 1 else "other"
    if name in POSITIVE_INSIDE:
        return "fast" if slope > 0 else "other"
    return "fast"


CASES = [(n, s, k) for n in SPELLINGS for s in SLOPES for k in FLOATS if not (n in BENT and abs(s) > 10)]


def graph_of(name, slope, kind):
    graph = Graph()
    x = graph.input("x", numbers(kind).shape, dtype(kind))
    with np.errstate(over="ignore"):
        graph.outputs, graph.output_names = [SPELLINGS[name](x, slope)], ["y"]
    return graph


@pytest.mark.parametrize("name, slope, kind", CASES)
def test_a_rule_is_strict_exactly_where_every_bit_is_the_same(name, slope, kind):
    x, graph = numbers(kind), graph_of(name, slope, kind)
    with np.errstate(all="ignore"):
        stored = float(x.dtype.type(slope))
        as_spelled = graph.run(x)[0]
    strict, fast = recognise(graph), recognise(graph, fast_math=True)
    wanted = verdict(name, stored if np.isfinite(stored) else np.inf)
    if not np.isfinite(stored):
        assert not any(isinstance(n.op, LeakyRelu) for n in fast.nodes)
        return
    assert [type(n.op) is LeakyRelu for n in strict.nodes] == [True] if wanted == "same" else len(strict.nodes) > 1
    if not (name == "sum / 2" and kind == "float16"):  # the mean that it becomes does not overflow
        assert same_bits(as_spelled, strict.run(x)[0]).all()
    if wanted == "other":
        assert not any(isinstance(n.op, LeakyRelu) for n in fast.nodes)
        return
    (node,) = fast.nodes
    near = node.op.negative_slope
    assert isinstance(node.op, LeakyRelu) and near == pytest.approx(stored, abs=SMALL[kind] * max(1, abs(stored)))
    if wanted == "same":
        assert not fast.notes
        return
    received = fast.run(x)[0]
    (note,) = fast.notes
    assert note.startswith("fast math: ") and "became LeakyRelu" in note and "differs at" in note
    with np.errstate(all="ignore"):
        wide = x.astype(float)
        product = np.abs(wide * stored).astype(x.dtype).astype(float)
        tame = np.isfinite(wide) & (wide != 0) & np.isfinite(product) & ((product > 0) | (stored == 0))
        if name not in BENT:
            assert np.array_equal(as_spelled[tame], received[tame])
        else:
            tame &= np.abs(wide) < np.abs(wide[np.isfinite(wide)]).max() / 100
            off = np.abs(as_spelled.astype(float) - received.astype(float))[tame]
            limit = class_limits(node, {}, [x], [received])[0][tame]
            assert (off <= limit).all() and 0 < node.roundings <= 15 * max(1, abs(near)) * 1.01


@pytest.mark.parametrize("sign", [-1, 0, 1])
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_rule_that_needs_fast_math_does_differ_somewhere(name, sign):
    """By rule and sign of the slope: of two zeros a maximum may give either, so only one order of operands shows it."""
    names = LARGER if name in LARGER else MIDDLE if name in MIDDLE else (name,)
    fast = [
        (n, s, k)
        for n, s, k in CASES
        if n in names and np.sign(s) == sign and abs(s) < 1e20 and verdict(n, s) == "fast"
    ]
    pairs = [
        (graph_of(*c).run(numbers(c[2])), recognise(graph_of(*c), fast_math=True).run(numbers(c[2]))) for c in fast
    ]
    assert not pairs or not all(same_bits(a[0], b[0]).all() for a, b in pairs)


@given(
    st.sampled_from(sorted(n for n in SPELLINGS if n not in BENT)),
    st.floats(-12, 12, width=32),
    st.lists(st.floats(width=32), min_size=5, max_size=5),
)
@settings(max_examples=300, deadline=None)
def test_no_strict_recognition_changes_a_bit(name, slope, given_numbers):
    graph = Graph()
    x = np.asarray(given_numbers, np.float32)
    graph.outputs = [SPELLINGS[name](graph.input("x", (5,), np.float32), slope)]
    graph.output_names = ["y"]
    with np.errstate(all="ignore"):
        assert same_bits(graph.run(x)[0], recognise(graph).run(x)[0]).all()


# --- what is not LeakyReLU, and why -----------------------------------------------------------------------------------

REASONS = {
    "slope above 1": (lambda x: SPELLINGS["max"](x, 2.0), "another function for slopes above 1"),
    "slope below 1": (lambda x: SPELLINGS["min"](x, 0.2), "another function for slopes below 1"),
    "branches swapped": (lambda x: Where()(Less()(x, 0.0), x, Mul()(x, 0.2)), "the branches are swapped"),
    "slope of many numbers": (lambda x: Maximum()(x, Mul()(x, like(x, [0.5] * 59 + [2.0]))), "not one number"),
    "inside a minimum": (lambda x: SPELLINGS["max(x, 0) + min(s * x, 0)"](x, -0.5), "slopes below 0"),
    "infinite": (lambda x: SPELLINGS["x < 0"](x, np.inf), "frameworks disagree"),
    "NaN": (lambda x: SPELLINGS["x < 0"](x, np.nan), "frameworks disagree"),
    "lost sign": (lambda x: SPELLINGS["relu(x) - s * relu(-x)"](x, 0.2), "-0.0"),
    "new sign": (lambda x: SPELLINGS["x > 0"](x, -0.2), "0.0, which becomes -0.0"),
    "masks": (lambda x: SPELLINGS["masks"](x, 0.2), "infinities"),
    "max with slope 0": (lambda x: SPELLINGS["max"](x, 0.0), "infinity"),
    "sum": (lambda x: SPELLINGS["half * sum"](x, 0.2), "roundings"),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_near_miss_has_its_reason(name):
    function, reason = REASONS[name]
    graph = Graph()
    graph.outputs, graph.output_names = [function(graph.input("x", (60,), np.float32))], ["y"]
    (miss,) = near_misses(recognise(graph))
    assert reason in miss.reason


STRANGERS = {
    "two values": lambda x, y: Sub()(Relu()(x), Mul()(Relu()(Neg()(y)), 0.2)),
    "no slope above 0": lambda x, y: Sub()(Mul()(Relu()(x), 0.5), Mul()(Relu()(Neg()(x)), 0.2)),
    "twice above 0": lambda x, y: Add()(Relu()(x), Mul()(Relu()(x), 0.2)),
    "three factors": lambda x, y: Sub()(Relu()(x), Mul()(Mul()(Mul()(Relu()(Neg()(x)), 0.2), 0.3), y)),
    "a computed slope": lambda x, y: Sub()(Relu()(x), Mul()(Relu()(Neg()(x)), y)),
    "two roundings": lambda x, y: Sub()(Relu()(x), Mul()(Mul()(Relu()(Neg()(x)), 0.2), 0.3)),
    "other sum": lambda x, y: Mul()(Add()(Mul()(x, 1.2), Mul()(Abs()(x), 0.9)), 0.5),
    "other scale": lambda x, y: Mul()(half_sum(x, 0.2), 0.51),
    "capped": lambda x, y: Sub()(Clip(minimum=0.0, maximum=6.0)(x), Mul()(Relu()(Neg()(x)), 0.2)),
    "threshold": lambda x, y: Add()(
        Mul()(Cast(dtype="float32")(Less()(x, 0.5)), Mul()(x, 0.2)), Mul()(mask(GreaterOrEqual, x), x)
    ),
    "one mask twice": lambda x, y: Add()(Mul()(mask(Less, x), Mul()(x, 0.2)), Mul()(mask(Less, x), x)),
    "broadcast": lambda x, y: Maximum()(x, Mul()(x, like(x, np.full((2, 1), 0.2)))),
    "broadcast slope": lambda x, y: Where()(Less()(x, 0.0), Mul()(x, like(x, np.full((2, 1), 0.2))), x),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_what_only_looks_alike_is_left_alone_even_with_fast_math(name):
    graph = Graph()
    x, y = (graph.input(n, (60,), np.float32) for n in "xy")
    graph.outputs, graph.output_names = [STRANGERS[name](x, y)], ["y"]
    result = recognise(graph, fast_math=True)
    assert not any(isinstance(n.op, LeakyRelu | PRelu) for n in result.nodes) and not result.notes


def test_a_long_chain_of_squares_takes_no_time():
    graph = Graph()
    x = y = graph.input("x", (3,), np.float32)
    for _ in range(60):
        y = Mul()(y, y)
    graph.outputs, graph.output_names = [Add()(y, Relu()(x))], ["y"]
    assert len(recognise(graph, fast_math=True).nodes) == 62


# --- slopes that are arrays -------------------------------------------------------------------------------------------


class Learned(torch.nn.Module):
    """PReLU as Keras defines it."""

    def __init__(self, slopes):
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.tensor(slopes))

    def forward(self, x):
        return torch.relu(x) - self.slopes * torch.relu(-x)


class Chosen(Learned):
    def forward(self, x):
        return torch.where(x > 0, x, self.slopes * x)


X = np.random.default_rng(3).uniform(-8, 8, (2, 5)).astype(np.float32)


@pytest.mark.parametrize("kind", [Learned, Chosen])
def test_learned_slopes_become_prelu_with_fast_math(kind):
    model = kind([0.1, 0.2, -0.3, 1.5, 0.0])
    assert "PRelu" not in {type(n.op).__name__ for n in li.load(model, (X,)).nodes}
    assert [n.op for n in check(model, X, fast_math=True).nodes] == [PRelu()]


def test_a_constant_slope_of_prelu_is_a_number_and_a_weight_is_not():
    assert [n.op for n in li.load(torch.nn.PReLU(5, init=0.2), (X,)).nodes] == [PRelu()]
    (miss,) = li.inspect(torch.nn.PReLU(5, init=0.2), (X,)).near_misses
    assert "training may change" in miss.reason and "0.2" in miss.reason
    graph = li.load(Applied(lambda x: torch.nn.functional.prelu(x, torch.full((5,), 0.2))), (X,))
    assert [n.op for n in graph.nodes] == [LeakyRelu(negative_slope=0.2)]


# --- from the frameworks, to the verbs --------------------------------------------------------------------------------

NATIVE = {
    "torch relu": Applied(lambda x: torch.relu(x) - 0.2 * torch.relu(-x)),
    "torch clamp": Applied(lambda x: x.clamp(min=0) + 0.2 * x.clamp(max=0)),
    "torch masks": Applied(lambda x: (x < 0).float() * 0.2 * x + (x >= 0).float() * x),
    "torch booleans": Applied(lambda x: (x < 0) * (0.2 * x) + (x >= 0) * x),
    "torch abs": Applied(lambda x: (1.2 * x + 0.8 * x.abs()) / 2),
    "keras relu": in_keras(lambda x: keras.ops.relu(x) - 0.2 * keras.ops.relu(-x), X),
    "keras minimum": in_keras(lambda x: keras.ops.maximum(x, 0) + 0.2 * keras.ops.minimum(x, 0), X),
    "keras masks": in_keras(
        lambda x: keras.ops.cast(x < 0, "float32") * 0.2 * x + keras.ops.cast(x >= 0, "float32") * x, X
    ),
    "keras abs": in_keras(lambda x: 0.5 * (1.2 * x + 0.8 * keras.ops.abs(x)), X),
}


@pytest.mark.parametrize("to", ["keras", "torch", "onnx"])
@pytest.mark.parametrize("name", NATIVE)
def test_what_is_recognised_with_fast_math_passes_its_verification(name, to):
    model = NATIVE[name]
    example = (X,) if "torch" in name else None
    assert "LeakyRelu" not in {type(n.op).__name__ for n in li.load(model, example).nodes}
    graph = li.load(model, example, fast_math=True)
    assert [n.op for n in graph.nodes] == [LeakyRelu(negative_slope=0.2)]
    report = li.verify(model, li.convert(model, to, example=example, fast_math=True), [X], fast_math=True)
    assert report.passed, str(report)
    assert any("fast math" in note for note in report.notes) and "fast math" in report.to_markdown()
    assert [s.value for s in report.slopes] == [0.2]


@pytest.mark.parametrize("slope", [1e-8, 0.01, 1 / 3, 1.5])
@pytest.mark.parametrize("suffix", [".onnx", ".keras"])
def test_a_sum_that_rounds_is_converted_and_verified(tmp_path, suffix, slope):
    model = Applied(lambda x: ((1 + slope) * x + (1 - slope) * x.abs()) / 2)
    report = li.convert(model, tmp_path / f"a{suffix}", example=(X,), fast_math=True)
    assert report.passed and len(report.nodes) == 1 and report.nodes[0].rule == "rounding"


def test_a_difference_beyond_the_roundings_still_fails():
    model = Applied(lambda x: (1.2 * x + 0.8 * x.abs()) / 2)
    other = torch.nn.LeakyReLU(0.20002)
    assert not li.verify(model, other, [X], fast_math=True).passed


def test_infinities_show_what_the_note_says():
    x = np.where(X > 3, np.inf, X).astype(np.float32)
    model = NATIVE["torch masks"]
    report = li.verify(model, torch.nn.LeakyReLU(0.2), [x], fast_math=True)
    assert not report.passed and "NaN" in report.first_difference.problem


def test_inspect_says_what_fast_math_would_take_and_what_it_took():
    model = NATIVE["torch relu"]
    found = li.inspect(model, (X,))
    assert "LeakyRelu" not in found.operators and not found.slopes
    (miss,) = found.near_misses
    assert "-0.0" in miss.reason and "fast math takes it" in miss.reason and miss.reason in str(found)
    assert miss.reason in found.to_json()
    taken = li.inspect(model, (X,), fast_math=True)
    assert taken.operators == {"LeakyRelu": 1} and not taken.near_misses
    assert [s.value for s in taken.slopes] == [0.2] and any("-0.0" in note for note in taken.notes)


# --- what exporters leave behind: node by node as they wrote it -------------------------------------------------------

ZERO, SLOPE = {"zero": np.float32(0)}, {"slope": np.float32(0.2)}
MASKED = [
    ("Mul", ["slope", "x"], "scaled"), ("Greater", ["x", "zero"], "above"), ("Not", ["above"], "below"),
    ("Cast", ["below"], "low"), ("Mul", ["scaled", "low"], "left"), ("Cast", ["above"], "high"),
    ("Mul", ["high", "x"], "right"), ("Add", ["left", "right"], "y"),
]  # fmt: skip
NEGATED = [
    ("Relu", ["x"], "right"), ("Neg", ["x"], "turned"), ("Relu", ["turned"], "left"), ("Mul", ["left", "slope"], "low"),
    ("Add", ["right", "low"], "y"),
]  # fmt: skip
LEFTOVERS = {  # nodes, constants, what strict reading and fast math make of them
    "tf2onnx, tf.where": (MASKED, ZERO | SLOPE, None, LeakyRelu(negative_slope=0.2)),
    "tf2onnx, tf.nn.relu": (
        [*NEGATED[:4], ("Sub", ["right", "low"], "y")], SLOPE, None, LeakyRelu(negative_slope=0.2)
    ),
    "tf2onnx, tf.maximum of twice": (
        [("Mul", ["slope", "x"], "scaled"), ("Max", ["scaled", "x"], "y")], {"slope": np.float32(2)}, None, None
    ),
    "keras export, PReLU of one number": (NEGATED, {"slope": np.float32(-0.2)}, None, LeakyRelu(negative_slope=0.2)),
    "keras export, PReLU": (NEGATED, {"slope": np.full(5, -0.2, np.float32)}, None, None),
    "jax2onnx, select": (
        [("GreaterOrEqual", ["x", "zero"], "c"), ("Mul", ["slope", "x"], "m"), ("Where", ["c", "x", "m"], "y")],
        ZERO | SLOPE, LeakyRelu(negative_slope=0.2), LeakyRelu(negative_slope=0.2),
    ),
    "constants of one axis, expanded": (
        [
            ("Shape", ["x"], "size"), ("Expand", ["zero", "size"], "zeros"), ("Expand", ["slope", "size"], "slopes"),
            ("GreaterOrEqual", ["x", "zeros"], "c"), ("Mul", ["slopes", "x"], "m"), ("Where", ["c", "x", "m"], "y"),
        ],
        ZERO | SLOPE, LeakyRelu(negative_slope=0.2), LeakyRelu(negative_slope=0.2),
    ),
}  # fmt: skip


def onnx_of(nodes, constants):
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 5]) for n in "xy"]
    made = [helper.make_node(k, i, [o], **({"to": TensorProto.FLOAT} if k == "Cast" else {})) for k, i, o in nodes]
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(made, "g", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", LEFTOVERS)
def test_leftovers_of_exporters(name):
    nodes, constants, strict, fast = LEFTOVERS[name]
    model = onnx_of(nodes, constants)
    for wanted, fast_math in ((strict, False), (fast, True)):
        ops = [n.op for n in check(model, X, fast_math=fast_math).nodes]
        assert ops == [wanted] if wanted else not any(isinstance(op, LeakyRelu | PRelu) for op in ops)


WRONG = {
    "where <": (lambda x: torch.where(0.01 * x < 0, 0.0, x), "ReLU, not LeakyReLU"),
    "where >=": (lambda x: torch.where(0.01 * x >= 0, x, 0.0), "ReLU, not LeakyReLU"),
    "max": (lambda x: torch.clamp(0.01 * x, min=0), "ReLU times 0.01, not LeakyReLU"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_definition_that_is_really_relu_is_warned_of(name):
    function, words = WRONG[name]
    model = Applied(function)
    found = li.inspect(model, (X,))
    assert "LeakyRelu" not in found.operators and not found.slopes
    (warning,) = found.warnings
    assert words in warning and warning in str(found)
    if name != "max":
        assert [n.op for n in check(model, X, fast_math=True).nodes] == [Relu()]
        assert any(words in n for n in li.load(model, (X,), fast_math=True).notes)


def test_a_relu_of_anything_is_not_warned_of():
    for function in (
        lambda x: torch.relu(0.5 * x),
        lambda x: torch.where(x < 0, 0.0, x),
        lambda x: torch.clamp(2 * x, min=0),
    ):
        assert not li.inspect(Applied(function), (X,)).warnings


def test_a_cut_network_keeps_fast_math():
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), NATIVE["torch relu"], torch.nn.Linear(4, 3))
    made = li.convert(model, "onnx", example=(X,), fast_math=True, cut_inputs=["0"])
    assert [n.op_type for n in made.graph.node] == ["LeakyRelu", "Gemm"]


def command(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    assert not ended.value.code


def test_what_is_unsupported_outside_a_cut_does_not_switch_fast_math_off():
    model = onnx_of([*NEGATED, ("Unheard", ["y"], "z")], {"slope": np.float32(-0.2)})
    model.graph.node[-1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.output[0].name = "z"
    made = li.convert(model, "onnx", cut_outputs=["y"], fast_math=True)
    assert [n.op_type for n in made.graph.node] == ["LeakyRelu"]


def test_places_that_differ_alike_share_a_note():
    graph = li.load(torch.nn.Sequential(*[NATIVE["torch relu"]] * 3), (X,), fast_math=True)
    (note,) = (n for n in graph.notes if "fast math" in n)
    assert [n.op for n in graph.nodes] == [LeakyRelu(negative_slope=0.2)] * 3 and note.count("sub") >= 3


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="it is torch's export of Keras' torch backend")
def test_leftovers_of_keras_on_torch():
    class Wrapped(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.model = in_keras(layer, X)

        def forward(self, x):
            return self.model(x)

    def exported(layer):
        return torch.export.export(Wrapped(layer).eval(), (torch.from_numpy(X),))

    for layer, slope in (
        (keras.layers.LeakyReLU(0.15), 0.15),
        (keras.layers.ReLU(negative_slope=0.15), 0.15),
        (keras.layers.Lambda(lambda x: keras.ops.where(x > 0, x, 0.2 * x)), 0.2),
        (keras.layers.Lambda(lambda x: keras.ops.maximum(x, 0.2 * x)), 0.2),
    ):
        assert [n.op for n in check(exported(layer), X).nodes] == [LeakyRelu(negative_slope=slope)]
    learned = exported(keras.layers.PReLU(alpha_initializer=keras.initializers.RandomUniform(0.1, 0.9, seed=1)))
    assert not any(isinstance(n.op, LeakyRelu | PRelu) for n in check(learned, X).nodes)
    assert not any(isinstance(n.op, LeakyRelu) for n in check(learned, X, fast_math=True).nodes)


def test_the_command_line_takes_fast_math(tmp_path, capsys):
    path, out = tmp_path / "a.onnx", tmp_path / "b.onnx"
    li.convert(NATIVE["keras relu"], path)
    command("inspect", path)
    assert "fast math takes it" in capsys.readouterr().out
    command("inspect", "--fast-math", path)
    assert "slopes:" in capsys.readouterr().out
    command("convert", "--fast-math", path, out)
    assert "fast math" in capsys.readouterr().out
    assert [n.op for n in li.load(out).nodes] == [LeakyRelu(negative_slope=0.2)]
    command("verify", "--fast-math", path, out)
