"""The record as a document: every number of it is the record's, and no text of a runtime breaks a table."""

import dataclasses

import pytest
from conformance_sample import sample

from leaky_interop.conformance import as_markdown

pytestmark = pytest.mark.one_backend


def rows(text):
    """The cells of every table's lines."""
    return [[cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_row_for_each_runtime_that_ran():
    record = sample()
    head, _, *body = rows(as_markdown.summary(record))
    assert [row[0] for row in body] == [r.name for r in record.runtimes if r.status == "ran"]
    for row in body:
        told = dict(zip(head, row, strict=True))
        counts = record.counts(told["runtime"])
        assert [int(told[h]) for h in ("exact", "known difference", "refused")] == [counts[v] for v in ("exact", "known", "refused")]
        assert int(told["wrong"]) == counts["wrong"] + counts["crashed"]
    assert "float32: float32" in body[0] and "?: float32" in body[1]  # what none explains


def test_known_differences_that_hold_are_listed_with_their_reasons():
    record = sample()
    text = as_markdown.render(record)
    for difference in record.known:
        assert (difference.reason in text) == (difference.status == "holds")


def test_a_message_breaks_no_table():
    record = sample()
    hostile = dataclasses.replace(record.known[0], status="holds", reason="a | b\nc | d")
    text = as_markdown.render(dataclasses.replace(record, known=(hostile,)))
    lines = rows(text)
    widths = {len(line) for line in lines}
    assert widths == {len(as_markdown.HEAD), 4}
    assert ["a ¦ b c ¦ d"] == [line[1] for line in lines if len(line) == 4 and line[0] == hostile.id]
