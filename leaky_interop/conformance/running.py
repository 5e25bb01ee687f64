"""Asks the runtimes: starts their workers, feeds them jobs, survives their deaths, and fills the record in."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LeakyInteropError, Usage
from ..processes import Died, Process, search_path
from . import environments, known, verdicts, worker
from .cases import QUANTA, Case, cases
from .environments import Plan
from .record import AXES, Cell, Conformance, Difference, Held, Runtime

WORKER = Path(__file__).with_name("worker.py")
START_LIMIT = 300.0  # seconds for a framework to be imported
JOB_LIMIT = 120.0  # seconds for one job, a compilation included
DEATHS = 20  # of one runtime, after which it is not asked any more
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}

Progress = Callable[[str, int, int], None]  # runtime, cells done, cells in all


def start(plan: Plan, python: Path) -> Process:
    """The process that runs one runtime."""
    variables = {**os.environ, **QUIET, **plan.variables}
    variables.pop("PYTHONPATH", None)
    if plan.environment is None:  # what this process can import, the worker can
        variables["PYTHONPATH"] = search_path()
    return Process([str(python), str(WORKER), plan.target], variables)


class Asking:
    """One runtime while it is asked; its worker is started again where it has died."""

    def __init__(self, plan: Plan, python: Path) -> None:
        self.plan, self.python = plan, python
        self.worker: Process | None = None
        self.deaths = 0

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker is not None:
            self.worker.stop()

    def tell(self, message: Mapping[str, Any], limit: float) -> dict[str, Any]:
        if self.worker is None:
            self.worker = start(self.plan, self.python)
            limit += START_LIMIT
        try:
            return self.worker.ask(message, limit)
        except Died:
            self.worker.stop()
            self.worker = None
            self.deaths += 1
            raise

    def describe(self) -> dict[str, Any]:
        """What the runtime says of itself. Usage where that does not follow the contract; Died where it does not start."""
        answer = self.tell({"do": "describe"}, START_LIMIT)
        if "error" in answer:
            raise Died(answer["error"])
        return _checked(answer["about"], self.plan.name)

    def arrays(self, case: Case, variant: str, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the runtime computes; RuntimeError where it refuses."""
        packed = {name: worker.pack(array, case.dtype if name == "x" else "") for name, array in given.items()}
        answer = self.tell({"do": "run", "job": {**case.job, "variant": variant}, "arrays": packed}, JOB_LIMIT)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return {name: worker.unpack(array) for name, array in answer["arrays"].items()}

    def cell(self, case: Case, variant: str, about: Mapping[str, Any]) -> Cell:
        """One question and its verdict, before any known difference."""
        if self.deaths >= DEATHS:
            return verdicts.refused(
                case, self.plan.name, variant, f"not asked: it died {DEATHS} times before", "crashed"
            )
        try:
            arrays = self.arrays(case, variant, case.arrays())
        except RuntimeError as error:
            return verdicts.refused(case, self.plan.name, variant, str(error))
        except Died as error:
            return verdicts.refused(case, self.plan.name, variant, str(error), "crashed")
        return verdicts.judge(case, self.plan.name, variant, arrays, about)


def run(
    plans: Sequence[Plan],
    *,
    install: bool = False,
    progress: Progress | None = None,
    differences: Iterable[Difference] | None = None,
) -> Conformance:
    """Ask runtimes everything. install: make the environments that are missing. Two runtimes are asked at a time."""
    import leaky_interop

    def ask(plan: Plan) -> tuple[Runtime, list[Cell]]:
        return ask_one(plan, install=install, progress=progress)

    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        answers = list(pool.map(ask, sorted(plans, key=lambda p: -_cost(p))))
    answers.sort(key=lambda answer: answer[0].name)
    runtimes = [runtime for runtime, _ in answers]
    listed = (
        [d for p in plans for d in known.differences(p.name, p.source)] if differences is None else list(differences)
    )
    cells, found = known.apply((cell for _, cells in answers for cell in cells), listed, runtimes)
    return Conformance(
        leaky_interop=leaky_interop.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        runtimes=tuple(runtimes),
        known=tuple(found),
        cells=tuple(cells),
    )


def interpreter_of(plan: Plan, install: bool) -> Path | Runtime:
    """The interpreter that runs a plan, or the plan's row in a record as absent."""
    try:
        python = environments.make(plan) if install else environments.interpreter(plan)
    except LeakyInteropError as error:
        return Runtime(name=plan.name, status="absent", message=str(error))
    return python or Runtime(name=plan.name, status="absent", message=environments.needs(plan))


def ask_one(plan: Plan, *, install: bool = False, progress: Progress | None = None) -> tuple[Runtime, list[Cell]]:
    """Everything that is asked of one runtime, with what it says of itself."""
    began = time.monotonic()
    python = interpreter_of(plan, install)
    if isinstance(python, Runtime):
        return python, []
    with Asking(plan, python) as asking:
        try:
            about = asking.describe()
        except Died as error:
            missing = plan.environment is None and str(error).startswith("ModuleNotFoundError")
            return Runtime(name=plan.name, status="absent" if missing else "failed", message=str(error)), []
        except Usage as error:
            return Runtime(name=plan.name, status="failed", message=str(error)), []
        asked = [(variant, case) for variant in about["variants"] for case in cases(narrowed(about, variant))]
        made = []
        for done, (variant, case) in enumerate(asked, 1):
            made.append(asking.cell(case, variant, narrowed(about, variant)))
            if progress is not None:
                progress(plan.name, done, len(asked))
    return summary(about, plan.name, made, time.monotonic() - began), made


def narrowed(about: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """What the runtime says of one of its variants."""
    return {**about, **(about.get("narrower") or {}).get(variant, {})}


def summary(about: Mapping[str, Any], name: str, made: Sequence[Cell], seconds: float) -> Runtime:
    """The runtime's entry in the record."""
    telling = [cell for cell in made if cell.operator == "leaky_relu" and cell.slope in ("0.1", "2")]
    zeros = {cell.at_zero for cell in telling if cell.at_zero}
    held = {dtype: held_in(made, dtype, str((about.get("held") or {}).get(dtype, ""))) for dtype in about["dtypes"]}
    return Runtime(
        name=name,
        status="ran",
        version=str(about["version"]),
        python=str(about["python"]),
        default=about.get("default"),
        gradients=bool(about.get("gradients")),
        held=held,
        at_zero=tuple(sorted(zeros)),
        seconds=round(seconds, 2),
        variants=tuple(about["variants"]),
        dtypes=tuple(about["dtypes"]),
        operators=tuple(about["operators"]),
        placements=tuple(about["placements"]),
    )


def held_in(made: Iterable[Cell], dtype: str, claimed: str) -> Held:
    """The precisions of the slope that explain most cells of a type, beside the one that is claimed."""
    fitting = [
        c.readings
        for c in made
        if c.dtype == dtype and c.operator == "leaky_relu" and c.what == "output" and c.readings
    ]
    counted = Counter(reading for readings in fitting for reading in readings)
    best = max(counted.values(), default=0)
    return Held(claimed=claimed, measured=tuple(sorted(r for r, n in counted.items() if n == best)))


def find(name: str) -> tuple[Plan, str, Case]:
    """The runtime, variant and case that a cell's id names; Usage for anything else."""
    parts = [part.replace(":", "/") for part in name.split("/")]
    if len(parts) != len(AXES):
        raise Usage(f"{name!r} names no cell", hint=f"An id is {'/'.join(AXES)}, with 1:3 for 1/3")
    runtime, variant, *rest = parts
    (plan,) = environments.chosen([runtime])[:1]
    return plan, variant, Case(*rest)


def _checked(about: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A description that has all that is read of it; Usage otherwise."""
    allowed = {
        "variants": None,
        "dtypes": ("float16", "bfloat16", "float32", "float64", "int32"),
        "operators": ("leaky_relu", "prelu"),
        "placements": ("alone", "conv", "max_pool", *QUANTA),
    }
    for key, values in allowed.items():
        given = about.get(key)
        if (
            not isinstance(given, list)
            or not given
            or not all(isinstance(g, str) and (values is None or g in values) for g in given)
        ):
            why = f"{key} is {given!r}, but should be a list of {'texts' if values is None else ', '.join(values)}"
            raise Usage(f"describe() of the runtime {name} does not follow the contract", why=why)
    if "version" not in about:
        raise Usage(f"describe() of the runtime {name} does not say its version")
    if bad := set((about.get("held") or {}).values()) - {"float32", "type", "float64"}:
        raise Usage(f"describe() of the runtime {name} says that slopes are held in {', '.join(map(str, bad))}")
    return dict(about)


def _cost(plan: Plan) -> int:
    """Those that compile are asked first, so that nothing waits for them at the end."""
    return ("torch_compile", "tensorflow").index(plan.name) + 1 if plan.name in ("torch_compile", "tensorflow") else 0
