"""The record as JUnit XML: one suite a runtime, one test case a cell, and one for each known difference."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from ..report.phrases import printable
from .as_text import described
from .record import Cell, Conformance, Difference, Runtime


def render(record: Conformance) -> str:
    """A wrong cell is a failure, a crash an error, a refusal is skipped; so is a runtime that is not here."""
    root = ET.Element("testsuites", name="leaky-interop conformance")
    for runtime in record.runtimes:
        cases = [_started(runtime), *map(_cell, record.of(runtime.name))]
        cases += [_known(d) for d in record.known if d.runtime == runtime.name and runtime.status == "ran"]
        root.append(_suite(runtime, cases))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(runtime: Runtime, cases: Iterable[ET.Element]) -> ET.Element:
    made = list(cases)
    counts = {kind: sum(case.find(kind) is not None for case in made) for kind in ("failure", "error", "skipped")}
    suite = ET.Element(
        "testsuite",
        name=printable(runtime.name),
        tests=str(len(made)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{runtime.seconds:.2f}",
    )
    suite.extend(made)
    return suite


def _case(runtime: str, name: str, kind: str = "", message: str = "") -> ET.Element:
    case = ET.Element("testcase", classname=printable(f"conformance.{runtime}"), name=printable(name))
    if kind:
        ET.SubElement(case, kind, message=printable(message))
    return case


def _started(runtime: Runtime) -> ET.Element:
    kinds = {"absent": "skipped", "failed": "error"}
    return _case(runtime.name, "starts", kinds.get(runtime.status, ""), runtime.message)


def _cell(cell: Cell) -> ET.Element:
    kinds = {"wrong": "failure", "crashed": "error", "refused": "skipped"}
    return _case(cell.runtime, cell.id, kinds.get(cell.verdict, ""), described(cell))


def _known(difference: Difference) -> ET.Element:
    name = f"known difference {difference.id}"
    if difference.status == "gone":
        return _case(difference.runtime, name, "failure", "no cell that it covers differs any more: take it out")
    return _case(
        difference.runtime, name, "skipped" if difference.status == "not covered" else "", "not covered by this run"
    )
