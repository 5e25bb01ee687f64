"""The record for a document: one row a runtime, then the differences that are known of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..report.phrases import markdown_table
from .as_text import FLOATS
from .record import Conformance, Difference, Runtime

HEAD = ("runtime", "version", "ran as", "exact", "within 1 ULP or so", "known difference", "refused", "wrong", "holds the slope in", "gradient at 0")


def render(record: Conformance) -> str:
    """The document."""
    text = f"Measured with leaky_interop {record.leaky_interop} on {record.platform}.\n\n{summary(record)}"
    return text + "".join(_known(runtime, record.known) for runtime in record.runtimes)


def summary(record: Conformance) -> str:
    """The table, a row a runtime."""
    ran = [runtime for runtime in record.runtimes if runtime.status == "ran"]
    return _table(HEAD, (_row(record, runtime) for runtime in ran))


def _row(record: Conformance, runtime: Runtime) -> Iterator[str]:
    counts = record.counts(runtime.name)
    yield from (runtime.name, runtime.version, ", ".join(runtime.variants))
    for verdict in ("exact", "within", "known", "refused"):
        yield str(counts[verdict])
    yield str(counts["wrong"] + counts["crashed"])
    held: dict[str, list[str]] = {}
    for dtype in FLOATS:
        if dtype in runtime.held:
            held.setdefault(" or ".join(runtime.held[dtype].measured) or "?", []).append(dtype)
    yield "; ".join(f"{precision}: {', '.join(dtypes)}" for precision, dtypes in held.items())
    yield ", ".join(runtime.at_zero)


def _known(runtime: Runtime, known: Iterable[Difference]) -> str:
    rows = [(d.id, d.reason, d.link, str(d.cells)) for d in known if d.runtime == runtime.name and d.status == "holds"]
    return f"\n## {runtime.name}\n\n{_table(('known difference', 'why', 'more', 'cells'), rows)}" if rows else ""


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Texts of foreign runtimes as cells: on one line, and no end of a cell inside them."""
    return markdown_table(head, ((" ".join(c.replace("|", r"\|").split()) or "-" for c in row) for row in rows))
