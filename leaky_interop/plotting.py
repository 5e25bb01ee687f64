"""Pictures of LeakyReLU and its derivative, and of what a framework computes when the slope is left out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import Usage, require
from .spellings.spelling import FORMULAS, Spelling
from .spellings.table import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 401
CANONICAL = "x < 0 ? a*x : x"  # what LeakyRelu computes here
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by everybody
STYLES = ("-", "--", "-.", ":")
SETTINGS = {"svg.hashsalt": "leaky_interop", "font.size": 11, "font.family": "DejaVu Sans", "axes.unicode_minus": True}
INCHES, DOTS = (8.0, 4.2), 100  # 800 dots wide


def plot_slopes(
    slope: float = 0.01,
    framework: str | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    low: float = -2.0,
    high: float = 2.0,
) -> Figure:
    """The function with this slope, and its derivative beside it.

    Parameters
    ----------
    slope : any finite number
    framework : a system or an api of `li.slopes()`: its function too, with its own default slope and formula
    path : where to write the picture, as .png, .svg or .pdf; the same call writes the same bytes
    low, high : from where to where x goes

    Returns
    -------
    matplotlib's Figure: the function in its first axes, the derivative in its second
    """
    slope, low, high = float(slope), float(low), float(high)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise Usage(f"x cannot go from {low} to {high}", hint="Give two finite numbers, the smaller one first")
    if not math.isfinite(slope):
        raise Usage(f"the slope {slope} has no picture", hint="Give a finite number")
    curves = [(f"slope {number(slope)}", FORMULAS[CANONICAL], slope), *_defaults(framework)]
    matplotlib = require("matplotlib")
    require("matplotlib.figure")
    with matplotlib.rc_context(SETTINGS):
        figure = matplotlib.figure.Figure(figsize=INCHES, dpi=DOTS, layout="constrained")
        function, derivative = figure.subplots(1, 2)
        for axes, title in ((function, "LeakyReLU"), (derivative, "Derivative")):
            _prepare(axes, title, low, high)
        for (label, formula, a), colour, style in zip(curves, COLOURS, STYLES, strict=False):
            x = np.union1d(np.linspace(low, high, POINTS), [0.0] if low < 0 < high else [])
            function.plot(x, formula(x, a), style, color=colour, label=label, linewidth=2, clip_on=False, zorder=2)
            _draw_derivative(derivative, x, _sides(formula, a), colour, style)
        for axes in (function, derivative):
            _through_the_origin(axes)
        figure.legend(loc="outside lower center", ncols=1 if framework else 2, frameon=False)
        if path is not None:
            write_figure(figure, Path(path))
    return figure


def _defaults(framework: str | None) -> list[tuple[str, Callable[..., Any], float]]:
    """What a system computes when the slope is left out: one curve for each default and formula that it has."""
    if framework is None:
        return []
    from .spellings import slopes

    rows: dict[tuple[float, str], Spelling] = {}
    for row in slopes().of(framework):
        if row.default is not None and row.writer is not None:
            rows.setdefault((row.default, row.formula), row)
    if not rows:
        raise Usage(
            f"{framework} has no slope of its own", why="it has to be stated there", hint="Leave the framework out"
        )
    return [
        (f"{row.api}, a = {number(default)}: {formula}", FORMULAS[formula], default)
        for (default, formula), row in list(rows.items())[: len(COLOURS) - 1]
    ]


def _sides(formula: Callable[..., Any], a: float) -> tuple[float, float]:
    """The derivative below and above 0: every formula is two lines that meet there."""
    below, above = formula(np.array([-1.0, 1.0]), a)
    return -float(below), float(above)


def _draw_derivative(axes: Axes, x: np.ndarray, sides: tuple[float, float], colour: str, style: str) -> None:
    """Two levels with nothing between them: at 0 there is no derivative, and frameworks choose one."""
    y = np.where(x < 0, *sides)
    y[x == 0] = np.nan
    axes.plot(x, y, style, color=colour, linewidth=2, clip_on=False, zorder=2)
    if x[0] < 0 < x[-1]:
        axes.plot([0, 0], sides, "o", color=colour, markerfacecolor="white", markersize=5, clip_on=False, zorder=4)


def _prepare(axes: Axes, title: str, low: float, high: float) -> None:
    axes.set_title(title, pad=20)
    axes.set_xlim(low, high)
    axes.set_axisbelow(False)  # so that the numbers beside the axes hide the curves, not the reverse


def _through_the_origin(axes: Axes) -> None:
    """Both axes cross at 0, where 0 is in the picture; an x at one end and a y at the top."""
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0), max(high, 0))
    for side, limits in (("left", axes.get_xlim()), ("bottom", axes.get_ylim())):
        axes.spines[side].set_position("zero" if limits[0] <= 0 <= limits[1] else ("axes", 0))
        axes.spines[side].set_color("#444444")
    axes.spines[["top", "right"]].set_visible(False)
    axes.annotate("x", (1, 0), (4, 0), ("axes fraction", "data"), "offset points", va="center", style="italic")
    axes.annotate("y", (0, 1), (0, 3), ("data", "axes fraction"), "offset points", ha="center", style="italic")
    for axis, limits, line in (
        (axes.xaxis, axes.get_xlim(), axes.axvline),
        (axes.yaxis, axes.get_ylim(), axes.axhline),
    ):
        axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212") if value else "")
        for place in axis.get_ticklocs():
            if limits[0] <= place <= limits[1]:
                line(place, color="#e8e8e8", linewidth=0.8, zorder=0)
        for label in axis.get_ticklabels():
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})


def write_figure(figure: Figure, path: Path) -> None:
    """The same bytes for the same picture: no date, and no version of the library."""
    from . import files

    kind = path.suffix.lower().removeprefix(".")
    without = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}
    if kind not in without:
        raise Usage(f"{path.name} is no picture", hint=f"Its name ends in {', '.join(f'.{k}' for k in without)}")
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=without[kind])
