"""The record of speed as a picture: latency and throughput by batch size, one line a model and runtime."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from ..errors import Usage, require
from ..plotting import COLOURS, SETTINGS, STYLES, write_figure
from .record import Speed

MARKS = "osD^v<>Xp"
INCHES = (10.0, 4.8)


def draw(speed: Speed, path: Any = None) -> Any:
    """matplotlib's Figure; written as .png, .svg or .pdf where a path is given. Usage where nothing was timed."""
    if not speed.timings:
        raise Usage("there is nothing to draw", why="no runtime was timed")
    matplotlib = require("matplotlib")
    require("matplotlib.figure")
    lines: dict[str, list[Any]] = {}
    several = len({t.threads for t in speed.timings}) > 1
    for timing, _ in speed.rows():
        label = f"{timing.model}, {timing.runtime}" + (f", {timing.threads} threads" if several else "")
        lines.setdefault(label, []).append(timing)
    with matplotlib.rc_context(SETTINGS):
        figure = matplotlib.figure.Figure(figsize=INCHES, layout="constrained")
        latency, rate = figure.subplots(1, 2)
        looks = itertools.product(STYLES, COLOURS)
        for (label, timings), (style, colour), mark in zip(
            lines.items(), itertools.cycle(looks), itertools.cycle(MARKS), strict=False
        ):
            timings.sort(key=lambda t: t.batch)
            sizes, medians = [t.batch for t in timings], [1000 * t.median for t in timings]
            spread = [[0.0] * len(timings), [1000 * (t.p99 - t.median) for t in timings]]
            latency.errorbar(
                sizes, medians, spread, fmt=mark + style, color=colour, capsize=2, markersize=5, label=label
            )
            rate.plot(sizes, [t.rate for t in timings], mark + style, color=colour, markersize=5)
        latency.set_title("Latency: median up to 99th percentile, ms")
        rate.set_title("Throughput, rows a second")
        batches = sorted({t.batch for t in speed.timings})
        for axes in (latency, rate):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(batches, map(str, batches))
            axes.minorticks_off()
            axes.set_xlabel("batch")
            axes.grid(color="#e8e8e8")
            axes.yaxis.set_major_formatter("{x:g}")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        if path is not None:
            write_figure(figure, Path(path))
    return figure
