"""The table that MATLAB prints of a layer array."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .layers import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One layer: its number, its name as stated, its type and what MATLAB says of it."""

    index: int
    name: str
    type: str
    description: str


def rows(network: Network) -> list[Row]:
    return [
        Row(index=i, name=layer.name, type=layer.kind.title, description=layer.kind.describe(layer))
        for i, layer in enumerate(network.layers, 1)
    ]


def listing(network: Network) -> str:
    """The table as MATLAB prints it, its header included."""
    return table(rows(network), row=network.row)


def table(found: Sequence[Row], *, row: bool) -> str:
    size = f"1x{len(found)}" if row else f"{len(found)}x1"
    names = [f"'{r.name}'" for r in found]
    wide, kinds = max(map(len, names), default=0), max((len(r.type) for r in found), default=0)
    lines = [
        f"{r.index:6}   {name:<{wide}}   {r.type:<{kinds}}   {r.description}".rstrip()
        for r, name in zip(found, names, strict=True)
    ]
    return "\n".join([f"  {size} Layer array with layers:", "", *lines])
