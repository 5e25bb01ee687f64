"""The table of spellings: generated from what is registered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from ..errors import Usage
from ..report.phrases import markdown_table
from .spelling import Spelling

HELD = {"float32": "32 bits", "float64": "64 bits", "tensor": "the data's type"}
HEAD = ("system", "spelling", "the slope is called", "when left out", "held in", "computes", "refuses", "run here")


@dataclasses.dataclass(frozen=True)
class Spellings:
    """Every system's spelling of the slope, by system."""

    rows: tuple[Spelling, ...]

    def __iter__(self) -> Iterator[Spelling]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, api: str) -> Spelling:
        """The row of an api, by its exact name."""
        return next(row for row in self._named(api) if row.api == api)

    def of(self, name: str) -> tuple[Spelling, ...]:
        """The rows of a system or of an api, in any letter case: "keras", "Keras 3", "torch.nn.LeakyReLU"."""
        return tuple(self._named(name))

    def _named(self, name: str) -> list[Spelling]:
        wanted = "".join(name.lower().split())
        names = [(row, "".join(row.system.lower().split()), "".join(row.api.lower().split())) for row in self.rows]
        found = [
            row for row, system, api in names if wanted in (system, api, system.rstrip("23"), *SHORT.get(system, ()))
        ]
        if not found:
            raise Usage(
                f"no spelling is called {name!r}", hint=f"Systems: {', '.join(dict.fromkeys(r.system for r in self))}"
            )
        return found

    def cells(self) -> Iterator[tuple[str, ...]]:
        """The table's lines."""
        for row in self.rows:
            refuses = ", ".join(row.refused) if row.only is None else f"all but {number(row.only)}"
            left_out = "-" if row.default is None else number(row.default)
            ran = f"not run here: {row.not_run}" if row.not_run else "yes"
            yield row.system, row.api, row.parameter, left_out, HELD[row.held], row.formula, refuses or "-", ran

    def to_markdown(self) -> str:
        """The table for the README."""
        body = (
            (system, *map(_code, cells[:2]), *cells[2:4], _code(cells[4]), *cells[5:])
            for system, *cells in self.cells()
        )
        return markdown_table(HEAD, body)

    def to_json(self) -> str:
        """The table as JSON, with the source of each fact."""
        return json.dumps([as_dict(row) for row in self.rows], indent=2) + "\n"

    def __str__(self) -> str:
        lines = [HEAD, *self.cells()]
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


SHORT = {"pytorch": ("torch",), "litert": ("tflite",), "paddlepaddle": ("paddle",), "flux": ("nnlib",)}


def number(x: float) -> str:
    """A slope in words that a reader knows: 1/3 rather than 0.3333333333333333."""
    return "1/3" if x == 1 / 3 else f"{x:.7g}"


def as_dict(row: Spelling) -> dict[str, Any]:
    """What of a row is data."""
    names = [f.name for f in dataclasses.fields(row) if f.name not in ("reader", "writer", "number")]
    return {name: getattr(row, name) for name in names}


def _code(cell: str) -> str:
    return f"`{cell}`".replace("|", "\\|") if cell != "-" and not cell.startswith("(") else cell.replace("|", "\\|")
