"""Says a network as MATLAB source text that MATLAB itself runs: the numbers come from the `.mat` file beside it."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np

from .functions import anything
from .layers import Layer, Network
from .text import KEYWORDS

WIDTH = 120


def field_of(title: str) -> str:
    """The field of a structure that stands for a layer, as MATLAB's makeValidName has it."""
    name = re.sub(r"\W", "_", title, flags=re.ASCII)
    return name if re.match("[A-Za-z]", name) and name not in KEYWORDS else f"x{name}"


def source_of(network: Network, mat: str) -> str:
    """The source; `mat` is the file of its numbers."""
    lines = [f"weights = load({quoted(mat)});", ""] if any(layer.learnables for layer in network.layers) else []
    chain = all(network.feeds.get(b.title) == [a.title] for a, b in itertools.pairwise(network.layers))
    if chain:
        return "\n".join([*lines, "layers = [", *(f"    {_call(layer)}" for layer in network.layers), "];", ""])
    lines.append("lgraph = layerGraph();")
    for layer in network.layers:
        lines.append(f"lgraph = addLayers(lgraph, {_call(layer)});")
    for layer in network.layers:
        feeds = network.feeds.get(layer.title, [])
        for place, title in enumerate(feeds, 1):
            port = f"/in{place}" if layer.kind.inputs else ""
            lines.append(f"lgraph = connectLayers(lgraph, {quoted(title)}, {quoted(layer.title + port)});")
    return "\n".join([*lines, ""])


def _call(layer: Layer) -> str:
    """The call of a layer function; one that is too long for a line goes on in the next."""
    kind = layer.kind
    positional = [*kind.required, *(role for role in kind.optional if role in layer.given)]
    parts = [argument(layer.settings[role]) for role in positional]
    parts.append(f"'Name',{quoted(layer.title)}")
    for role in kind.named:
        if role in layer.given and role not in kind.learnables:
            unread = kind.checks[role] is anything
            if not unread or _sayable(layer.settings[role]):
                parts.append(f"{quoted(role)},{argument(layer.settings[role])}")
    parts += [f"'{role}',weights.{field_of(layer.title)}.{role}" for role in layer.learnables]
    lines, line = [], f"{layer.function}("
    for index, part in enumerate(parts):
        more = f"{part}," if index + 1 < len(parts) else f"{part})"
        if len(line) + len(more) > WIDTH and line.strip():
            lines.append(f"{line} ...")
            line = "        "
        line += more
    return "\n".join([*lines, line])


def _sayable(value: Any) -> bool:
    return isinstance(value, str | float) or (isinstance(value, np.ndarray) and value.ndim == 2 and value.size <= 64)


def argument(value: Any) -> str:
    """A value as MATLAB writes it."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, np.ndarray):
        return f"[{';'.join(' '.join(map(_number, row)) for row in value.tolist())}]"
    if isinstance(value, tuple):
        return (
            _number(value[0]) if len(value) in (2, 4) and len(set(value)) == 1 else f"[{' '.join(map(_number, value))}]"
        )
    return _number(value)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return (
        repr(int(value)) if value == int(value) and abs(value) < 1e15 and str(value) != "-0.0" else repr(float(value))
    )


def quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
