"""Darknet .cfg: `activation=leaky`, whose slope is written into Darknet itself."""

from __future__ import annotations

from typing import Any

from .spelling import Found, Spelling, text_of


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every layer with activation=leaky. Darknet counts layers from 0 and leaves [net] out."""
    found: list[Found] = []
    section, index = "", -1
    for line, text in enumerate(text_of(source, "a .cfg").splitlines(), 1):
        text = "".join(text.split())  # Darknet removes every blank
        if text.startswith("["):
            section = text.strip("[]")
            index += section not in ("net", "network")
        key, _, value = text.partition("=")
        if key == "activation" and value == "leaky":
            found.append(spelling.found(None, given="hard-coded", name=f"{section} {index}", line=line))
    return found


def write(spelling: Spelling, slope: float, name: str) -> str:
    return f"# {' '.join(name.split())}\n[activation]\n{spelling.line}\n"


DARKNET = Spelling(
    system="Darknet",
    api="activation=leaky",
    parameter="(hard-coded)",
    default=0.1,
    held="float64",
    formula="x > 0 ? x : a*x",
    line="activation=leaky",
    only=0.1,
    instead="write the network for Caffe or ncnn, which take any slope",
    source="src/activations.h: (x>0) ? x : .1*x, a product in 64 bits; some forks use .125",
    not_run="no package of it is built for Python",
    reader=read,
    writer=write,
)
