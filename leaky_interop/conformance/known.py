"""Known differences: read from known/RUNTIME.txt, laid over the cells, and held to be true.

A file has one paragraph a difference: its id alone on the first line, then indented lines "key: value". `#` begins a
comment line; "include torch" stands for the paragraphs of known/shared/torch.txt, which several runtimes have.

    keras-numpy-slope-above-1
      slope: 1.5, 2, 1e10, 1e38, inf
      where: negative, subnormal, underflow, overflow, positive, -inf, +inf
      versions: >=3.0
      why: np.maximum(x, s * x) takes the other branch for a slope above 1.
      link: https://github.com/keras-team/keras/blob/master/keras/src/backend/numpy/nn.py

Keys: an axis of a cell (`record.AXES`) with its values, separated by commas; `where`, the elements that may differ
(`record.WHERE`); `verdict`, refused or crashed (left out: a result that differs); `says`, a text that is part of the
message; `ulp`, the largest distance that it excuses; `versions`, of the runtime; `machine`, a text that says where it
is met if not everywhere (such a difference is never "gone"); `why`; `link`. What is left out means any. A cell is
known only where the differences that match it explain every element that differs, so that no line hides a new fault.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import Usage
from .record import AXES, WHERE, Cell, Difference, Runtime

FOLDER = resources.files(__package__) / "known"
MATCHED = (*AXES[1:], "where", "verdict", "says", "ulp")
FAILED = ("refused", "crashed")


def differences(runtime: str, source: Path | None = None) -> list[Difference]:
    """The known differences of a runtime: this package's, or NAME.known.txt beside a third party's module."""
    own = FOLDER / f"{runtime}.txt"
    beside = source and source.with_name(f"{runtime}.known.txt")
    file = own if own.is_file() else beside
    return parse(file.read_text(encoding="utf-8"), runtime) if file and file.is_file() else []


def parse(text: str, runtime: str) -> list[Difference]:
    """The paragraphs of a file; Usage, with the line, for anything else."""
    found: list[Difference] = []
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if included := re.fullmatch(r"include ([a-z0-9_]+)", line):
            file = FOLDER / "shared" / f"{included[1]}.txt"
            found += parse(file.read_text(encoding="utf-8"), runtime)
            continue
        if not line[0].isspace():
            if not re.fullmatch(r"[a-z0-9_.-]+", line):
                raise _bad(runtime, place, line, "an id is made of small letters, digits and -")
            found.append(Difference(id=line, runtime=runtime, reason=""))
            continue
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not value or not found:
            raise _bad(runtime, place, line, "expected key: value below an id")
        found[-1] = _with(found[-1], key, value, runtime, place)
    for difference in found:
        if not difference.reason or not difference.match:
            raise Usage(
                f"the known difference {difference.id} of {runtime} needs a reason (why) and something to match"
            )
    if len({d.id for d in found}) < len(found):
        raise Usage(f"two known differences of {runtime} have one id")
    return found


def _with(made: Difference, key: str, value: str, runtime: str, place: int) -> Difference:
    texts = {"why": "reason", "link": "link", "versions": "versions", "machine": "machine"}
    if key in texts:
        return dataclasses.replace(made, **{texts[key]: value})  # type: ignore[arg-type]
    if key not in MATCHED:
        raise _bad(runtime, place, key, f"the keys are {', '.join((*MATCHED, *texts))}")
    parts = (value,) if key == "says" else tuple(part.strip() for part in value.split(","))
    if key == "where" and (wrong := set(parts) - set(WHERE)):
        raise _bad(runtime, place, ", ".join(sorted(wrong)), f"where is one of {', '.join(WHERE)}")
    if key == "verdict" and (wrong := set(parts) - set(FAILED)):
        raise _bad(runtime, place, ", ".join(sorted(wrong)), f"verdict is one of {', '.join(FAILED)}")
    if key == "ulp" and not re.fullmatch(r"\d+(\.\d+)?", value):
        raise _bad(runtime, place, value, "ulp is one number")
    return dataclasses.replace(made, match={**made.match, key: parts})


def _bad(runtime: str, place: int, what: str, why: str) -> Usage:
    return Usage(f"line {place} of the known differences of {runtime} is not understood: {what.strip()!r}", why=why)


def apply(
    cells: Iterable[Cell], known: Sequence[Difference], runtimes: Iterable[Runtime]
) -> tuple[list[Cell], list[Difference]]:
    """The cells with what explains them, and the differences with what became of them.

    A difference that covers a cell of the run and explains none is "gone": it was mended, or was never true.
    """
    versions = {runtime.name: runtime.version for runtime in runtimes if runtime.status == "ran"}
    live = [d for d in known if d.runtime in versions and _in_range(versions[d.runtime], d.versions)]
    explained: list[Cell] = []
    examples: dict[tuple[str, str], list[str]] = {}  # by runtime and id: several runtimes share one
    covered: set[tuple[str, str]] = set()
    for cell in cells:
        about = [d for d in live if d.runtime == cell.runtime and _matches(d, cell)]
        covered |= {(d.runtime, d.id) for d in about if not d.machine}
        cell, used = explain(cell, about)
        explained.append(cell)
        for name in used:
            examples.setdefault((cell.runtime, name), []).append(cell.id)
    made = []
    for difference in known:
        key = (difference.runtime, difference.id)
        at = examples.get(key, [])
        status = "holds" if at else "gone" if key in covered else "not covered"
        made.append(dataclasses.replace(difference, status=status, cells=len(at), example=at[0] if at else ""))
    return explained, made


def explain(cell: Cell, about: Sequence[Difference]) -> tuple[Cell, list[str]]:
    """The cell with the ids that explain it, and the ids of those that explain a part of it at least."""
    if cell.verdict in FAILED:
        used = [d for d in about if cell.verdict in d.match.get("verdict", ()) and _says(d, cell)]
        if not used:
            return cell, []
        verdict = cell.verdict if cell.verdict == "refused" else "known"
        return dataclasses.replace(cell, verdict=verdict, known=(used[0].id,)), [used[0].id]
    if cell.verdict == "exact":
        return cell, []
    parts = {
        d.id: set(cell.where) & set(d.match.get("where", WHERE))
        for d in about
        if "verdict" not in d.match and _says(d, cell) and cell.ulp <= float(d.match.get("ulp", ("inf",))[0])
    }
    used_ids = [name for name, part in parts.items() if part]
    if set().union(*parts.values()) != set(cell.where):
        return cell, used_ids
    return dataclasses.replace(cell, verdict="known", known=tuple(used_ids)), used_ids


def _matches(difference: Difference, cell: Cell) -> bool:
    """Whether the axes of a cell are among those of a difference."""
    return all(getattr(cell, axis) in difference.match[axis] for axis in AXES if axis in difference.match)


def _says(difference: Difference, cell: Cell) -> bool:
    return difference.match.get("says", ("",))[0] in cell.message


def _in_range(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return not wanted or SpecifierSet(wanted).contains(version.partition("+")[0], prereleases=True)


def by_id(known: Iterable[Difference], name: str) -> Any:
    """The difference of this id, or None."""
    return next((d for d in known if d.id == name), None)
