"""Layer arrays from MATLAB sources and the `.mat` files with their numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaky_interop.errors import Usage

from .mat import read_mat
from .source import beside, opened


def open_matlab(path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> Any:
    """The network of a source, with the numbers of `weights` or of the `.mat` file of the same name beside it.

    A layer's numbers are a structure of its name, with fields called as MATLAB calls them (conv1.Weights, conv1.Bias,
    norm1.TrainedMean), or variables of both names (conv1_Weights). What the source itself states goes before.
    """
    from leaky_interop.frameworks.matlab.evaluate import network
    from leaky_interop.frameworks.matlab.source import field_of
    from leaky_interop.frameworks.matlab.text import MOST_TEXT

    path = Path(path)
    with opened(path) as handle:
        content = handle.read(4 * MOST_TEXT + 1)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Usage(f"{path.name} is no text", why=f"byte {error.start} is not UTF-8") from None
    usual = path.with_suffix(".mat")
    file = Path(weights) if weights is not None else beside(usual)
    numbers: dict[str, Any] = read_mat(file) if file is not None else {}

    def load(name: str) -> Mapping[str, Any]:
        if name not in (usual.name, usual.stem) and weights is None:
            hint = f"Call it {usual.name}, or give it as weights"
            raise Usage(
                f"{path.name} loads {name}", why="only the file of its own name is read along with it", hint=hint
            )
        if file is None:
            raise Usage(f"{path.name} loads {name}, which is not there", hint="Put it beside the source")
        return numbers

    made = network(text.replace("\r\n", "\n"), path.name, load)
    used = 0
    for layer in made.layers:
        field = field_of(layer.title)
        structure = numbers.get(field)
        for role in layer.kind.learnables:
            found = structure.get(role) if isinstance(structure, Mapping) else numbers.get(f"{field}_{role}")
            used += found is not None or layer.settings[role] is not None
            if layer.settings[role] is None and found is not None and found.size:
                layer.settings[role] = found
    if file is not None and not used and any(layer.kind.learnables for layer in made.layers):
        names = ", ".join(list(numbers)[:8]) or "nothing that is read"
        raise Usage(
            f"{file.name} has no numbers for {path.name}",
            why=f"it has {names}",
            hint="Name structures after the layers",
        )
    made.weights_from = file.name if file is not None and used else ""
    return made
