"""A small record with one cell of every verdict, for the renderings' tests."""

import math

from leaky_interop.conformance.record import Cell, Conformance, Difference, Held, Number, Runtime

AXES = {"variant": "eager", "operator": "leaky_relu", "dtype": "float32", "placement": "alone", "shape": "rank 1",
        "slope": "0.1", "what": "output"}  # fmt: skip
CURVE = tuple((x / 4, x / 4 if x > 0 else x / 40, 0.0) for x in range(-8, 9))
FLIPPED = Number(x=0.0, got=-0.0, want=0.0, ulp=0.0, where="zero")
SWALLOWED = Number(x=-math.inf, got=-0.0, want=math.nan, ulp=math.inf, where="-inf")


def cell(runtime: str, verdict: str, **other) -> Cell:
    return Cell(**{**AXES, "runtime": runtime, "verdict": verdict, **other})


def sample() -> Conformance:
    """Three runtimes: one that is right, one with every kind of fault, one that is not here."""
    right = Runtime(
        name="careful", status="ran", version="1.2", python="3.11.2", variants=("eager",), dtypes=("float32", "float16"),
        operators=("leaky_relu", "prelu"), placements=("alone",), default=0.01, gradients=True,
        held={"float32": Held(claimed="float32", measured=("float32",))}, at_zero=("slope",), seconds=1.25,
    )  # fmt: skip
    careless = Runtime(
        name="careless", status="ran", version="0.9", python="3.8.19", variants=("eager", "fused"), dtypes=("float32",),
        operators=("leaky_relu",), placements=("alone", "conv"),
        held={"float32": Held(claimed="float32", measured=())}, seconds=0.5,
    )  # fmt: skip
    known = Difference(
        id="careless-zero-sign", runtime="careless", reason="It compares with x > 0, so that 0 is multiplied too.",
        link="https://example.org/issues/1", versions=">=0.8", match={"slope": ("-0.1", "-1"), "where": ("zero",)},
        status="holds", cells=1, example="careless/eager/leaky_relu/float32/alone/rank 1/-0.1/output",
    )  # fmt: skip
    return Conformance(
        leaky_interop="0.1.0",
        platform="Linux x86_64",
        runtimes=(right, careless, Runtime(name="elsewhere", status="absent", message="needs elsewhere==1.0")),
        known=(known, Difference(id="careless-old", runtime="careless", reason="Mended <since>.", status="gone")),
        cells=(
            cell("careful", "exact", readings=("float32",), judged=127, curve=CURVE),
            cell("careful", "exact", readings=("float32", "float64"), judged=127, what="gradient", at_zero="slope"),
            cell("careful", "within", dtype="float16", ulp=1.0, judged=127, where={"negative": 3},
                 numbers=(Number(x=-7.0, got=-2.332, want=-2.334, ulp=1.0, where="negative"),)),
            cell("careless", "known", slope="-0.1", judged=127, where={"zero": 1}, numbers=(FLIPPED,),
                 known=("careless-zero-sign",)),
            cell("careless", "wrong", variant="fused", placement="conv", slope="0", ulp=math.inf, judged=127,
                 where={"-inf": 1}, numbers=(SWALLOWED,), curve=CURVE),
            cell("careless", "refused", slope="nan", message="ValueError: <slope> must be a number & finite"),
            cell("careless", "crashed", shape="empty", message="the process died of signal 11"),
        ),
    )  # fmt: skip
