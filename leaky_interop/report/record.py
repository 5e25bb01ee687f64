"""The record of one verification: plain data, the one source of every rendering (JSON, Markdown, HTML, text).

Nothing here computes or compares; `verify.py` fills the record in, `report/` writes it out. A record never holds a
local path: what it says may be published.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Rule = Literal["exact", "rounding", "sum", "network"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Error:
    """How far two arrays of one value lie apart, and how far they may."""

    absolute: float  # largest |difference|, in the value's own units
    ulp: float  # largest difference in units in the last place of the value's dtype
    limit: float  # what `absolute` may be at the element where the ratio is worst
    ratio: float  # largest |difference| / limit over all elements; passes at <= 1
    index: tuple[int, ...] = ()  # the worst element
    expected: float | None = None  # the source's number there
    received: float | None = None  # the target's number there


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeResult:
    """One canonical node, as the source and as the target compute it."""

    name: str  # the source's layer name, decoded: "encoder.conv1"
    op: str  # canonical operator with its fields: "LeakyRelu(negative_slope=0.3)"
    source: str  # "keras LeakyReLU 'act1'"
    adapter: str  # "leaky_interop/ops/activation.py:57", the exporter
    shape: tuple[int, ...]
    dtype: str
    rule: Rule
    own: Error | None  # fed the source's inputs; None where the node could not be watched alone
    accumulated: Error | None  # fed what the target computed itself
    passed: bool
    problem: str = ""  # one sentence where it failed for another reason: shape, dtype, NaN positions
    covers: tuple[str, ...] = ()  # names of nodes judged together with this one (between two anchors)

    @property
    def error(self) -> Error | None:
        """The error that decides: the node's own, unless only the accumulated one is out of its limit."""
        if self.own and not (self.own.ratio <= 1 and self.accumulated and not self.accumulated.ratio <= 1):
            return self.own
        return self.accumulated


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputResult:
    """One network output, end to end, in one setting of the target's runtime."""

    name: str
    runtime: str  # "onnxruntime, optimisations off" ...
    batch: int | None
    shape: tuple[int, ...]
    dtype: str
    error: Error | None
    passed: bool
    problem: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientResult:
    """A gradient, or a weight after some steps of training, of the source and of the target."""

    name: str  # of the input or weight, as the source calls it
    what: str  # "gradient, inference", "gradient, training", "weight after 10 steps"
    shape: tuple[int, ...]
    dtype: str
    error: Error | None
    passed: bool
    problem: str = ""


Result = NodeResult | OutputResult | GradientResult


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slope:
    """Where a leaky slope came from."""

    node: str
    value: float | tuple[float, float]  # a pair for per-channel slopes: smallest, largest
    stated: bool  # False: the framework's default, because the source left it out
    origin: str  # "keras.layers.LeakyReLU(negative_slope)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Outcome of `verify` or of a verified `convert`."""

    source: str  # "keras functional 'digits' (14 layers, 8,234 parameters)"
    target: str
    nodes: tuple[NodeResult, ...]
    outputs: tuple[OutputResult, ...]
    draws: tuple[str, ...]  # "normal, seed 0, batch 1"; or the user's file, by its bare name
    gradients: tuple[GradientResult, ...] = ()  # training parity, where it was asked for
    slopes: tuple[Slope, ...] = ()
    transposes: tuple[str, ...] = ()  # every transpose in the target, in words
    static: tuple[str, ...] = ()  # every dimension that became static, and why
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it agreed."""
        return (
            bool(self.nodes or self.outputs)
            and all(n.passed for n in self.nodes)
            and all(o.passed for o in (*self.outputs, *self.gradients))
        )

    @property
    def first_difference(self) -> Result | None:
        """The first node out of its class in execution order; an output where no node is, then a gradient."""
        results: tuple[Result, ...] = (*self.nodes, *self.outputs, *self.gradients)
        return next((r for r in results if not r.passed), None)

    def to_json(self) -> str:
        from . import as_json

        return as_json.render(self)

    def to_markdown(self) -> str:
        from . import as_markdown

        return as_markdown.render(self)

    def to_html(self) -> str:
        from . import as_html

        return as_html.render(self)

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        from . import as_text

        return as_text.render(self)
