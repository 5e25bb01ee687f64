"""Asks exporters which slope arrives, and compares what they make with what it was made of."""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...processes import Died
from .. import environments, known, oracle, verdicts, worker
from ..cases import specials
from ..environments import Plan
from ..record import Cell, Conformance, Number, Runtime
from ..running import DEATHS, JOB_LIMIT, START_LIMIT, Asking, Progress, interpreter_of

FOLDER: Final = Path(__file__).parent
OWN: Final = ("__init__.py", "__main__.py", "asking.py", "tables.py")  # files that are no exporters
SLOPES: Final[dict[str, float | None]] = {
    "left out": None, "0": 0.0, "0.01": 0.01, "0.1": 0.1, "0.3": 0.3, "1/3": 1 / 3, "1": 1.0, "1.5": 1.5, "2": 2.0,
    "-0.1": -0.1, "1e-46": 1e-46, "nan": math.nan, "inf": math.inf,
}  # fmt: skip
ONLY_DEFAULT: Final = ("string",)  # spellings that cannot say a slope
WITH_THRESHOLD: Final = "ReLU with all"  # at -1 it is twice the slope, its threshold being 1
ORDINARY: Final = 48  # numbers beside the special ones
SHOWN: Final = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrival(Cell):
    """One conversion: `operator` is the spelling, `numbers` are the first that differ from the source's own.

    sent and arrived: the slope as the source and the result have it, in the float's own hexadecimal digits; empty where
    someone refuses, `message` then says who and why.
    """

    sent: str = ""
    arrived: str = ""
    form: str = ""  # the operators that it was made of


def plans() -> dict[str, Plan]:
    """Every exporter by name."""
    return {
        p.name: p for path in sorted(FOLDER.glob("*.py")) if path.name not in OWN for p in environments.plans_of(path)
    }


def inputs(dtype: str) -> np.ndarray:
    """-1 first; then the special numbers of the type, ordinary ones, and the special ones again."""
    rng = np.random.default_rng(7)
    edges = np.array(specials(dtype))
    return np.concatenate([[-1.0], edges, rng.standard_normal(ORDINARY) * 3, edges]).astype(dtype)


def run(chosen: Iterable[Plan], *, install: bool = False, progress: Progress | None = None) -> Conformance:
    """Ask exporters everything. install: make the environments that are missing. What is known is laid over it."""
    import leaky_interop

    chosen = list(chosen)
    asked = [ask(plan, install=install, progress=progress) for plan in chosen]
    runtimes = [runtime for runtime, _ in asked]
    listed = [d for plan in chosen for d in known.differences(plan.name, plan.source)]
    cells, found = known.apply((cell for _, cells in asked for cell in cells), listed, runtimes)
    return Conformance(
        leaky_interop=leaky_interop.__version__, platform=f"{platform.system()} {platform.machine()}",
        runtimes=tuple(runtimes), known=tuple(found), cells=tuple(cells),
    )  # fmt: skip


def ask(plan: Plan, *, install: bool = False, progress: Progress | None = None) -> tuple[Runtime, list[Arrival]]:
    """Every cell of one exporter, with what it says of itself; none where it is not here."""
    python = interpreter_of(plan, install)
    if isinstance(python, Runtime):
        return python, []
    began, made = time.monotonic(), []
    with Asking(plan, python) as asking:
        try:
            answer = asking.tell({"do": "describe"}, START_LIMIT)
        except Died as error:
            answer = {"error": str(error)}
        if "error" in answer:
            return Runtime(name=plan.name, status="failed", message=answer["error"]), []
        about = answer["about"]
        jobs = list(jobs_of(about))
        for done, job in enumerate(jobs, 1):
            made.append(one(asking, job))
            if progress is not None:
                progress(plan.name, done, len(jobs))
    return Runtime(
        name=plan.name, status="ran", version=str(about["version"]), python=str(about["python"]),
        variants=tuple(about["variants"]), dtypes=tuple(about["dtypes"]), seconds=round(time.monotonic() - began, 2),
    ), made  # fmt: skip


def jobs_of(about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What an exporter is asked, slopes by name: everything that its spellings can say."""
    for variant in about["variants"]:
        for spelling in about["spellings"][variant]:
            for dtype in about["dtypes"]:
                for slope in SLOPES if spelling not in ONLY_DEFAULT else ("left out",):
                    yield {"variant": variant, "spelling": spelling, "dtype": dtype, "slope": slope}


def one(asking: Asking, job: Mapping[str, Any]) -> Arrival:
    """One conversion and its verdict."""
    axes = {
        "runtime": asking.plan.name, "variant": job["variant"], "operator": job["spelling"], "dtype": job["dtype"],
        "placement": "alone", "shape": "rank 2", "slope": job["slope"], "what": "output",
    }  # fmt: skip
    if asking.deaths >= DEATHS:
        return Arrival(**axes, verdict="crashed", message=f"not asked: it died {DEATHS} times before")
    x = inputs(job["dtype"])
    message = {"do": "run", "job": {**job, "slope": SLOPES[job["slope"]]}, "arrays": {"x": worker.pack(x)}}
    try:
        answer = asking.tell(message, JOB_LIMIT)
    except Died as error:
        return Arrival(**axes, verdict="crashed", message=str(error))
    if "error" in answer:
        return Arrival(**axes, verdict="refused", message=answer["error"].removeprefix("Refused: "))
    found = {name: worker.unpack(array) for name, array in answer["arrays"].items()}
    return judge(axes, x, found)


def judge(axes: Mapping[str, Any], x: np.ndarray, found: Mapping[str, np.ndarray]) -> Arrival:
    """exact: the same bits everywhere. within: one unit in the last place. wrong: all else, with where."""
    source, result, form = found["source"], found["result"], bytes(found["form"]).decode()
    if result.shape != source.shape or result.dtype != source.dtype:
        said = f"{result.dtype}{list(result.shape)}, but should be {source.dtype}{list(source.shape)}"
        return Arrival(**axes, verdict="wrong", where={"result": 1}, message=said, form=form)
    kind = source.dtype.name
    columns = zip(oracle.numbers(x), oracle.numbers(result), oracle.numbers(source), strict=True)
    differing = [
        Number(x=a, got=got, want=want, ulp=oracle.distance(got, want, kind), where=verdicts.special(a, want, kind))
        for a, got, want in columns if not oracle.same(got, want)
    ]  # fmt: skip
    where = Counter(n.where for n in differing)
    ulp = max((n.ulp for n in differing), default=0.0)
    rounding = set(where) <= {"positive", "negative", "largest"} and ulp <= verdicts.WITHIN_ULP
    sent, arrived = (slope_of(y, axes["operator"]) for y in (source, result))
    return Arrival(
        **axes, verdict="exact" if not where else "within" if rounding else "wrong", ulp=ulp, judged=x.size, where=dict(where),
        numbers=tuple(differing[:SHOWN]), sent=sent, arrived=arrived, form=form,
    )  # fmt: skip


def slope_of(y: np.ndarray, spelling: str) -> str:
    """The slope that made this of -1, as the bits of its type say it."""
    at = -float(y[0]) / (2 if spelling == WITH_THRESHOLD else 1)
    return at.hex() if math.isfinite(at) else str(at)
