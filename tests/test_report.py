"""The renderings of one report: what they must say, and what they must never let through."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaky_interop import report as reports
from leaky_interop.report import as_html, as_json
from leaky_interop.report.record import Error, NodeResult, OutputResult, Report, Slope
from tests.report_sample import EQUAL, FAILED, PASSED, error, node, replace_text

HOSTILE = "</td><script>alert(1)</script>\"'`|*_[x](https://example.org)\x1b[31m\x9b2J\u202e\ud800\n# {{ 7 * 7 }}"

EVERY_REPORT = pytest.mark.parametrize("report", [PASSED, FAILED], ids=["passed", "failed"])


class Page(html.parser.HTMLParser):
    """The tags of a page, their attributes, and the text that a reader sees."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._style = False
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._style = tag == "style"

    def handle_data(self, data):
        self.text += "" if self._style else data


# --- the record -------------------------------------------------------------------------------------------------------


def test_the_names_of_the_package_are_the_records():
    assert reports.Report is Report
    assert {name: getattr(reports, name).__name__ for name in reports.__all__} == {n: n for n in reports.__all__}
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        reports.Nothing  # noqa: B018


def test_nothing_compared_is_not_passed():
    empty = Report(source="a", target="b", nodes=(), outputs=(), draws=())
    assert not empty.passed
    assert empty.first_difference is None
    for text in (str(empty), empty.to_markdown(), empty.to_html()):
        assert "nothing was compared" in text


def test_the_error_of_a_node_is_the_one_that_decides():
    small, large = error(1, 1, 2), error(4, 4, 2)
    for own, accumulated, decides in [
        (small, small, small),
        (large, large, large),
        (small, large, large),
        (large, small, large),
        (None, large, large),
        (small, None, small),
        (error(math.nan, 1, 2), large, None),
    ]:
        result = node("a", "Op()", "sum", own, accumulated, "Layer", "a.py:1")
        assert result.error is (own if decides is None else decides)
    first = node("a", "Op()", "exact", EQUAL, large, "Layer", "a.py:1")
    assert first.error is large


# --- JSON -------------------------------------------------------------------------------------------------------------

ERRORS = st.builds(
    Error,
    absolute=st.floats(),
    ulp=st.floats(),
    limit=st.floats(),
    ratio=st.floats(),
    index=st.lists(st.integers(0, 99)).map(tuple),
    expected=st.none() | st.floats(),
    received=st.none() | st.floats(),
)
SHAPES = st.lists(st.integers(0, 999), max_size=5).map(tuple)
TEXTS = st.lists(st.text(), max_size=2).map(tuple)
REPORTS = st.builds(
    Report,
    nodes=st.lists(
        st.builds(NodeResult, own=st.none() | ERRORS, accumulated=st.none() | ERRORS, shape=SHAPES, covers=TEXTS),
        max_size=2,
    ).map(tuple),
    outputs=st.lists(st.builds(OutputResult, shape=SHAPES, error=st.none() | ERRORS), max_size=2).map(tuple),
    slopes=st.lists(st.builds(Slope, value=st.floats() | st.tuples(st.floats(), st.floats())), max_size=2).map(tuple),
    draws=TEXTS,
    transposes=TEXTS,
    static=TEXTS,
    notes=TEXTS,
    versions=st.dictionaries(st.text(), st.text(), max_size=2),
    seconds=st.dictionaries(st.text(), st.floats(), max_size=2),
)


@given(REPORTS)
@settings(deadline=None)
def test_json_comes_back(report):
    text = report.to_json()
    assert repr(as_json.parse(text)) == repr(report)  # repr: NaN does not equal itself
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json_says_what_a_program_wants_to_know():
    data = json.loads(FAILED.to_json())
    assert data["format"] == 1
    assert data["passed"] is False
    assert json.loads(PASSED.to_json())["passed"] is True
    assert data["nodes"][2]["own"]["ratio"] == "Infinity"
    assert data["nodes"][2]["own"]["index"] == [1, 3, 0, 5]
    assert data["nodes"][6]["own"] is None
    assert data["slopes"][2]["value"] == [0.05, 0.25]


@given(REPORTS)
@settings(deadline=None, max_examples=30)
def test_every_report_has_every_rendering(report):
    for text in (str(report), report.to_markdown(), report.to_html()):
        text.encode()
        assert ("Passed" if report.passed else "Failed") in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"format": 1}',
        '{"format": 1, "source": ',
        PASSED.to_json().replace('"format": 1', '"format": 2'),
    ],
)
def test_other_text_is_refused_in_one_sentence(text):
    with pytest.raises(ValueError, match="expected a report of format 1; received"):
        as_json.parse(text)


# --- text and Markdown ------------------------------------------------------------------------------------------------


def test_text_has_the_lines_of_optimum():
    lines = str(PASSED).splitlines()
    assert "  -[✓] 9 of 9 within their limits" in lines
    assert "  -[✓] (7, 10) matches (7, 10)" in lines
    assert "  -[✓] all values close (4.2e-07 (7 ulp), limit 3e-06)" in lines
    assert lines[-1] == "Passed: 9 of 9 nodes and 4 of 4 outputs agree"
    assert "-[x]" not in str(PASSED)


def test_text_names_the_first_difference():
    text = str(FAILED)
    first = text.partition("First difference: ")[2]
    assert first.startswith("act1\n")
    for said in (
        "LeakyRelu(negative_slope=0.01)",
        "keras LeakyReLU 'act1'",
        "leaky_interop/ops/activation.py:57",
        "at (1, 3, 0, 5): -0.1640625, but should be -0.9765625",
        "--reproducer DIR",
    ):
        assert said in first
    assert "  -[x] act1: values differ by 0.812 (6.82e+06 ulp), limit 0: no difference is allowed" in text
    assert "  -[x] values differ by 0.31 (5.2e+06 ulp), limit 3e-06: 1.03e+05 times the limit" in text
    assert text.endswith("Failed: 2 of 9 nodes and 0 of 4 outputs agree\n")


def test_text_counts_what_it_leaves_out():
    many = dataclasses.replace(FAILED, nodes=FAILED.nodes[2:3] * 13, outputs=())
    assert str(many).count("-[x] act1:") == 10
    assert "-[x] 3 more" in str(many)


def test_a_problem_is_said_in_its_own_words():
    problem = "shape (2, 3), but should be (2, 10)"
    output = dataclasses.replace(FAILED.outputs[0], error=None, problem=problem)
    one = dataclasses.replace(FAILED, nodes=PASSED.nodes, outputs=(output,))
    assert f"  -[x] {problem}" in str(one).splitlines()
    assert "matches" not in str(one)
    for text in (str(one), Page(one.to_html()).text, one.to_markdown()):
        assert problem in text


def advice_of(report: Report) -> str:
    return str(report).partition("  next         ")[2].partition("\n")[0]


def test_advice_follows_from_what_is_known():
    right, wrong = PASSED.outputs[0], FAILED.outputs[2]
    assert advice_of(dataclasses.replace(PASSED, outputs=(right, wrong))) == (
        "It agrees with onnxruntime, optimisations off, so the difference is made by "
        "onnxruntime, optimisations default: report it there."
    )
    other_batch = dataclasses.replace(wrong, runtime=right.runtime, batch=7)
    for outputs in ((wrong,), (right, other_batch)):
        assert advice_of(dataclasses.replace(PASSED, outputs=outputs)).startswith("Every node agrees")
    assert advice_of(dataclasses.replace(PASSED, nodes=(), outputs=(wrong,))).startswith(
        "The networks were compared as"
    )
    assert advice_of(dataclasses.replace(PASSED, nodes=FAILED.nodes[3:4])).startswith(
        "Fed the source's inputs it agrees"
    )
    near = node("a", "Op()", "sum", error(3, 3, 2), error(3, 3, 9), "Layer", "a.py:1")
    assert advice_of(dataclasses.replace(PASSED, nodes=(near,))).startswith("Read leaky_interop/ops/a.py:1 beside the")
    unwatched = dataclasses.replace(FAILED.nodes[6], covers=("pad", "crop"))
    assert "together" in (said := advice_of(dataclasses.replace(PASSED, nodes=(unwatched,))))
    assert "pad, crop" in said


def markdown(text: str) -> Page:
    from markdown_it import MarkdownIt  # comes with rich

    return Page(MarkdownIt("commonmark").enable("table").render(text))


@EVERY_REPORT
def test_markdown_says_it_all(report):
    page = markdown(report.to_markdown())
    assert page.tags.count("table") == 3
    assert page.tags.count("tr") == 3 + len(report.nodes) + len(report.outputs) + len(report.slopes)
    for said in (report.source, report.target, *report.notes, *report.transposes, *report.static, *report.draws):
        assert said in page.text
    for each in (*report.nodes, *report.outputs):
        assert each.name in page.text
    assert ("First difference: act1" in page.text) == (not report.passed)


def test_hostile_text_stays_text_in_markdown():
    hostile, plain = (replace_text(FAILED, text) for text in (HOSTILE, "plain"))
    page, model = markdown(hostile.to_markdown()), markdown(plain.to_markdown())
    assert page.tags == model.tags
    assert page.attributes == model.attributes


def test_no_text_moves_the_cursor():
    for text in (str(replace_text(FAILED, HOSTILE)), replace_text(FAILED, HOSTILE).to_markdown()):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
        assert "\\u001b[31m" in text.replace("\\\\", "\\").replace("\\[", "[")
    assert len(str(replace_text(FAILED, HOSTILE)).splitlines()) == len(str(FAILED).splitlines())


# --- HTML -------------------------------------------------------------------------------------------------------------


@EVERY_REPORT
def test_the_page_says_it_all(report):
    page = Page(report.to_html())
    for said in (report.source, report.target, *report.draws, *report.notes, *report.transposes, *report.static):
        assert said in page.text
    for each in report.nodes:
        for said in (each.name, each.op, each.source, each.adapter, each.rule, str(each.shape)):
            assert said in page.text
    for each in report.outputs:
        assert f"{each.runtime}, batch {each.batch}" in page.text
    for name, version in report.versions.items():
        assert name in page.text
        assert version in page.text
    assert page.text.count("the framework's default") == 1
    assert page.tags.count("tr") == 3 + len(report.nodes) + len(report.outputs) + len(report.slopes)
    assert ("✓ Passed" in page.text, "✗ Failed" in page.text) == (report.passed, not report.passed)
    assert page.text.count("First difference") == (not report.passed)


def test_the_first_difference_says_where_and_how_far():
    box = FAILED.to_html().partition('<section class="first">')[2].partition("</section>")[0]
    text = Page(box).text
    for said in (
        "act1",
        "keras LeakyReLU 'act1'",
        "leaky_interop/ops/activation.py:57",
        "exact: no difference allowed",
        "0.812 (6.82e+06 ulp), limit 7.9e-06: 1.03e+05 times the limit",
        "at (1, 3, 0, 5): -0.1640625, but should be -0.9765625",
        "What to do next.",
    ):
        assert said in text


@EVERY_REPORT
def test_the_page_needs_nothing_else(report):
    page = Page(report.to_html())
    assert {"script", "img", "iframe", "object", "form"}.isdisjoint(page.tags)
    assert [value for name, value in page.attributes if name in ("src", "href", "action")] == ["data:,"]
    assert "url(" not in report.to_html()
    assert "@import" not in report.to_html()
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_hostile_text_stays_text_on_the_page():
    hostile, plain = (Page(replace_text(FAILED, text).to_html()) for text in (HOSTILE, "plain"))
    assert hostile.tags == plain.tags
    assert len(hostile.attributes) == len(plain.attributes)
    assert (
        "</td><script>alert(1)</script>\"'`|*_[x](https://example.org)\\u001b[31m\\u009b2J\\u202e\\ud800"
        in hostile.text
    )
    assert "{{ 7 * 7 }}" in hostile.text


@pytest.mark.parametrize(
    ("ratio", "percent"),
    [(0.0, 0), (1.0, 50), (1e-2, 25), (1e2, 75), (1e4, 100), (1e9, 100), (1e-9, 1), (math.inf, 100), (math.nan, 100)],
)
def test_a_bar_ends_at_its_error(ratio, percent):
    some = Error(absolute=1, ulp=1, limit=1, ratio=ratio)
    assert as_html.bar(some) == percent


def test_the_filter_is_there_when_something_differs():
    assert "only the 7 that differ<" in FAILED.to_html()
    assert "only the 1 that differs<" in dataclasses.replace(FAILED, nodes=FAILED.nodes[:3]).to_html()
    assert 'id="failing"' not in PASSED.to_html()
