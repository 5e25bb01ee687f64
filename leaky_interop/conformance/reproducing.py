"""A script that shows one difference and needs nothing but numpy and the runtime's own framework.

It is the runtime's file, what that needs from `runtimes/shared/`, one job, and the smallest input that still differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import Usage
from . import environments, known, oracle, running, verdicts
from .cases import FLOATS, Case, cases
from .environments import Plan
from .record import AXES, Cell

SHARED = environments.FOLDER / "shared"
ENDING = """try:
    import ml_dtypes
except ImportError:  # the bits of bfloat16 then stand for its numbers
    ml_dtypes = None


def numbers(array):
    if array.dtype == np.uint16 and job["dtype"] == "bfloat16" and ml_dtypes:
        return array.view(ml_dtypes.bfloat16)
    return array


arrays = {{name: numbers(array) for name, array in arrays.items()}}
got = numbers(run(job, arrays)["{name}"])
print("x   ", arrays["x"].reshape(-1))
print("got ", got.reshape(-1), got.dtype)
found, want = float(got.reshape(-1)[{place}]), {want}
print(f"found {{found!r}}, but should be {{want!r}}" if repr(found) != repr(want) else f"{{found!r}} is right")
raise SystemExit(repr(found) != repr(want))
"""
NAMES = {"output": "y", "gradient": "dx", "slope gradient": "dslope"}


def script(name: str) -> str:
    """The script of a cell (`Cell.id`) or of a known difference, whose first cell is looked for.

    Raises Usage where nothing of that name differs here.
    """
    plan, variant, case = running.find(name) if "/" in name else _first(name)
    if plan.source is None:
        raise Usage(f"the source of the runtime {plan.name} cannot be read")
    with _asking(plan) as asking:
        about = running.narrowed(asking.describe(), variant)
        cell = asking.cell(case, variant, about)
        if cell.verdict == "exact":
            raise Usage(f"{name} is exact here", why=f"this is {plan.name} {about['version']}")
        index = _smallest(asking, case, variant, about, cell)
    return _written(plan, variant, case, cell, about, index)


def _asking(plan: Plan) -> running.Asking:
    python = environments.interpreter(plan)
    if python is None:
        raise Usage(f"the runtime {plan.name} is not here", why=environments.needs(plan))
    return running.Asking(plan, python)


def _first(name: str) -> tuple[Plan, str, Case]:
    """The first cell that a known difference explains."""
    for plan in environments.plans().values():
        difference = known.by_id(known.differences(plan.name, plan.source), name)
        if difference is None:
            continue
        with _asking(plan) as asking:
            about = asking.describe()
            for variant in about["variants"]:
                narrowed = running.narrowed(about, variant)
                for case in cases(narrowed):
                    axes = {"runtime": plan.name, "variant": variant, **vars(case)}
                    if all(axes[axis] in difference.match[axis] for axis in AXES if axis in difference.match):
                        used = known.explain(asking.cell(case, variant, narrowed), [difference])[1]
                        if used:
                            return plan, variant, case
        raise Usage(f"the known difference {name} does not show here")
    raise Usage(
        f"there is no cell and no known difference {name!r}", hint="leaky-interop conformance --json lists them"
    )


def _smallest(asking: running.Asking, case: Case, variant: str, about: Mapping[str, Any], cell: Cell) -> int | None:
    """The element that differs alone as well; None where it takes the whole array (or the whole array is refused)."""
    if not cell.numbers or case.what == "slope gradient":
        return None
    index = _index(case, cell, about)
    try:
        whole = asking.arrays(case, variant, case.arrays())[NAMES[case.what]]
        alone = asking.arrays(case, variant, case.arrays(index))[NAMES[case.what]]
    except (RuntimeError, running.Died, KeyError):
        return None
    same = alone.reshape(-1)[:1].tobytes() == whole.reshape(-1)[index : index + 1].tobytes()
    return index if same else None


def _index(case: Case, cell: Cell, about: Mapping[str, Any]) -> int:
    """Where the first number of a cell stands in its result."""
    kind = case.dtype if case.dtype in FLOATS else "float64"
    right = verdicts.want(case, verdicts.slope_of(case, about), verdicts.readings_of(case, kind)[0], kind)
    return next((i for i, x in enumerate(right.xs) if oracle.same(x, cell.numbers[0].x)), 0)


def _written(plan: Plan, variant: str, case: Case, cell: Cell, about: Mapping[str, Any], index: int | None) -> str:
    assert plan.source is not None
    source = _inlined(plan.source.read_text(encoding="utf-8"))
    arrays = {name: _literal(array) for name, array in case.arrays(index).items()}
    lines = [f'"""{plan.name} {about["version"]}, {variant}: {cell.id}', "", cell.message or _numbers(cell), '"""', ""]
    if plan.variables:
        lines += ["import os", "", *(f"os.environ[{k!r}] = {v!r}" for k, v in plan.variables.items()), ""]
    if plan.environment:
        lines += [
            f"# {', '.join(plan.environment.get('packages', ()))}; Python {plan.environment.get('python', '3')}",
            "",
        ]
    lines += [source.rstrip(), "", ""]
    job = ", ".join(f"{key!r}: {_number(value)}" for key, value in {**case.job, "variant": variant}.items())
    lines += ["# --- the difference ---", "", "import numpy as np", "from numpy import inf, nan", ""]
    lines += [f"job = {{{job}}}", "arrays = {"]
    lines += [*(f"    {name!r}: {text}," for name, text in arrays.items()), "}"]
    lines += [ENDING.format(name=NAMES[case.what], place=_place(case, cell, about, index), want=_expected(cell))]
    return "\n".join(lines)


def _inlined(source: str) -> str:
    """The source with what it imports from the shared folder in the place of the import."""

    def put(match: re.Match[str]) -> str:
        text = (SHARED / f"{match[1]}.py").read_text(encoding="utf-8")
        return re.sub(r'\A""".*?"""\n', "", text, flags=re.DOTALL).strip()

    names = "|".join(path.stem for path in sorted(SHARED.glob("*.py")))
    body = re.sub(r'\A""".*?"""\n', "", source, flags=re.DOTALL).lstrip()
    return re.sub(rf"^from ({names}) import .*$", put, body, flags=re.MULTILINE)


def _literal(array: np.ndarray) -> str:
    """An array as source; bfloat16 by its bits."""
    if array.dtype.name == "bfloat16":
        bits = array.view(np.uint16)
        return f"np.array({bits.reshape(-1).tolist()}, np.uint16).reshape({array.shape})"
    numbers = ", ".join(_number(x) for x in array.reshape(-1).tolist())
    return f"np.array([{numbers}], np.{array.dtype.name}).reshape({array.shape})"


def _number(value: Any) -> str:
    return repr(value)  # nan and inf are imported by the script


def _numbers(cell: Cell) -> str:
    return "\n".join(f"x = {n.x!r} gives {n.got!r}, but should be {n.want!r}" for n in cell.numbers)


def _place(case: Case, cell: Cell, about: Mapping[str, Any], index: int | None) -> int:
    """Where the shown number stands in the result of the script."""
    if index is not None or not cell.numbers:
        return 0
    return _index(case, cell, about)


def _expected(cell: Cell) -> str:
    return repr(cell.numbers[0].want) if cell.numbers else "None"
