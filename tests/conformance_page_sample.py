"""A record with hostile texts, odd numbers and every kind of fact that a page can show."""

from __future__ import annotations

import dataclasses
import math

from leaky_interop.conformance.record import Conformance, Difference, Held, Number, Runtime
from tests.conformance_sample import cell

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><!--<script>\u202e ' \" & \u2028 {{ 7 * 7 }}"

ODD = 'it\'s "odd"'
CURVE = ((-4.0, -0.4, 0.0), (-1.0, -0.123456789, 3.0), (0.0, math.nan, math.inf), (2.0, 2.0, 0.0))
NUMBERS = (
    Number(x=-0.0, got=math.nan, want=-0.0, ulp=math.inf, where="zero"),
    Number(x=-3.0, got=-0.30000001192092896, want=-0.3, ulp=1.0, where="negative"),
)
CELLS = (
    cell("alpha", "exact", readings=("float32", "float64"), judged=127),
    cell("alpha", "within", slope="1/3", ulp=1.0, judged=127, where={"negative": 3}, numbers=NUMBERS[1:]),
    cell("alpha", "known", slope="2", ulp=math.inf, where={"zero": 4}, numbers=NUMBERS, known=("alpha-zero",)),
    cell("alpha", "exact", dtype="float16", placement="conv", shape="rank 4"),
    cell("alpha", "wrong", variant="graph", ulp=math.inf, where={"zero": 1}, judged=127, numbers=NUMBERS, curve=CURVE),
    cell("alpha", "exact", variant="graph", what="gradient", at_zero="slope", judged=126),
    cell("alpha", "refused", variant="graph", dtype="float16", slope="left out", message=HOSTILE),
    cell("beta", "crashed", variant=ODD, operator="prelu", dtype="int32", message="the process died of signal 11"),
    cell("beta", "known", variant=ODD, dtype="int32", slope="nan", known=("not-listed",)),
)
RECORD = Conformance(
    leaky_interop="0.1.0",
    platform="Linux x86_64",
    runtimes=(
        Runtime(name="absent", status="absent", message=HOSTILE),
        Runtime(
            name="alpha",
            status="ran",
            version="1.2.3",
            variants=("eager", "graph"),
            dtypes=("float16", "float32"),
            default=0.01,
            gradients=True,
            held={
                "float16": Held(claimed="float32", measured=("type",)),
                "float32": Held(claimed="type", measured=("float32", "float64")),
                "float64": Held(claimed="float64", measured=()),
            },
            at_zero=("mean", "0.25"),
        ),
        Runtime(name="beta", status="ran", version=HOSTILE, dtypes=("int32",), gradients=True),
        Runtime(name="gamma", status="failed", message="ImportError: no gamma"),
    ),
    known=(
        Difference(
            id="alpha-zero", runtime="alpha", reason=HOSTILE, link="https://example.org/a?b=1&c=2", versions=">=1",
            match={"slope": ("2",), "where": ("zero",)}, status="holds", cells=1, example=CELLS[2].id,
        ),
        Difference(id="alpha-gone", runtime="alpha", reason="It was so.", link="javascript:alert(1)", machine="a CPU with <AMX>", status="gone"),
    ),
    cells=CELLS,
)  # fmt: skip
PASSED = dataclasses.replace(RECORD, known=RECORD.known[:1], runtimes=RECORD.runtimes[1:2], cells=CELLS[:4])
EMPTY = Conformance(leaky_interop="0.1.0", platform="Linux x86_64")
