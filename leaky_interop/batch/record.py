"""What a batch has come to: one row a model, as a table, Markdown, JSON and HTML."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Literal, get_args

from ..report.as_html import environment
from ..report.phrases import markdown_table

FORMAT = 1  # of the JSON
HEAD = ("model", "written to", "result", "seconds", "first difference or reason")
Word = Literal["converted", "unchanged", "differs", "unusable", "unsupported", "unsafe", "failed", "not tried"]
WORDS: tuple[Word, ...] = ("converted", "differs", "unusable", "unsupported", "unsafe", "failed")  # by exit code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """How one conversion ended."""

    source: str
    target: str
    result: Word
    code: int = 0
    seconds: float = 0.0
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """All results, in the order of the models."""

    results: tuple[Result, ...]
    interrupted: bool = False  # by Ctrl-C

    @property
    def exit_code(self) -> int:
        """The largest of all; 130 after Ctrl-C."""
        return 130 if self.interrupted else max((r.code for r in self.results), default=0)

    def summary(self) -> str:
        """How many of each: "3 converted, 1 failed"."""
        counts = Counter(r.result for r in self.results)
        return ", ".join(f"{count} {word}" for word in get_args(Word) if (count := counts[word]))

    def cells(self) -> list[tuple[str, ...]]:
        """The rows of the table below HEAD."""
        return [
            (r.source, r.target, r.result, f"{r.seconds:.1f}" if r.seconds else "-", r.reason or "-")
            for r in self.results
        ]

    def to_json(self) -> str:
        data = {"format": FORMAT, "exit_code": self.exit_code, **dataclasses.asdict(self)}
        return json.dumps(data, indent=2) + "\n"

    def to_markdown(self) -> str:
        from ..report.as_markdown import cell

        rows = ([cell(text) for text in row] for row in self.cells())
        return f"# {'✗' if self.exit_code else '✓'} {self.summary()}\n\n{markdown_table(HEAD, rows)}"

    def to_html(self) -> str:
        template = environment(__package__, "leaky_interop.report").get_template("batch.html")
        return template.render(batch=self, head=HEAD, rows=list(zip(self.results, self.cells(), strict=True)))
