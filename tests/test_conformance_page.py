"""The page of the conformance suite as text: it holds the whole record, and nothing that acts."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import pytest

from leaky_interop.conformance import as_html
from leaky_interop.conformance.record import VERDICTS, Held, Number
from tests.conformance_page_sample import CELLS, EMPTY, HOSTILE, PASSED, RECORD
from tests.conformance_sample import cell

pytestmark = pytest.mark.one_backend
PAGES = [RECORD, PASSED, EMPTY]
named = pytest.mark.parametrize("record", PAGES, ids=["failed", "passed", "empty"])


class Page(HTMLParser):
    """Tags with their attributes, the text outside of scripts, and the scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(source)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        (self.scripts if self.lasttag == "script" and "}" in data else self.texts).append(data)

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def data(source: str) -> dict:
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(re.search(r'id="data">(.*?)</script>', source, re.S)[1], parse_constant=refuse)


def told(source: str) -> list[dict]:
    """The cells as the script puts them together."""
    kept = data(source)
    axes = ("operator", "dtype", "placement", "shape", "slope", "what")
    return [
        {
            "runtime": runtime,
            "variant": variant,
            **dict(zip(axes, kept["questions"][q], strict=True)),
            **kept["answers"][a],
        }
        for runtime, variant, pairs, _ in kept["rows"]
        for q, a in zip(pairs[::2], pairs[1::2], strict=True)
    ]


@named
def test_one_file_that_runs_its_own_script_only(record):
    source = as_html.render(record)
    page = Page(source)
    assert not page.having("img") and not page.having("iframe")
    assert [link["href"] for link in page.having("link")] == ["data:,"]
    assert not any("src" in attributes for _, attributes in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    (policy,) = (m["content"] for m in page.having("meta") if m.get("http-equiv") == "Content-Security-Policy")
    first, second = re.findall("<script[^>]*>(.*?)</script>", source, re.S)
    digest = base64.b64encode(hashlib.sha256(second.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    assert json.loads(first)
    assert source.count("<script") == 2


def test_the_script_writes_no_html():
    (script,) = Page(as_html.render(EMPTY)).scripts[1:]
    assert "replaceChildren" in script
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval|Function|fetch|XMLHttp", script
    )


def test_a_hostile_message_is_text():
    source = as_html.render(RECORD)
    assert "<img" not in source and "</script><" not in source.replace("</script>\n<", "")
    assert not set("\u202e\u2028") & set(source)
    shown = HOSTILE.replace("\u202e", "\\u202e").replace("\u2028", "\\u2028")
    assert shown in Page(source).text.replace("  ", " ")
    assert next(c["message"] for c in told(source) if "message" in c) == shown


def test_a_link_that_a_browser_should_not_follow_is_text():
    page = Page(as_html.render(RECORD))
    assert "javascript:alert(1)" in page.text
    links = [a["href"] for a in page.having("a")]
    assert "https://example.org/a?b=1&c=2" in links
    assert all(link.startswith(("https://", "#verdict=")) for link in links)


@named
def test_every_cell_is_there(record):
    found = told(as_html.render(record))
    assert len(found) == len(record.cells)
    by_id = {c.id: c for c in record.cells}
    for each in found:
        axes = ("runtime", "variant", "operator", "dtype", "placement", "shape", "slope", "what")
        one = by_id.pop("/".join(each[axis].replace("/", ":") for axis in axes))
        assert VERDICTS[each["verdict"]] == one.verdict
        assert each.get("judged", 0) == one.judged
        assert tuple(each.get("readings", ())) == one.readings
        assert each.get("at_zero", "") == one.at_zero
        assert len(each.get("numbers", ())) == len(one.numbers)
    assert not by_id


def test_numbers_are_told_apart():
    found = next(c for c in told(as_html.render(RECORD)) if c["variant"] == "graph" and c["verdict"] == 4)
    assert found["ulp"] == "infinity"
    assert found["where"] == "1 zero"
    assert found["numbers"] == [
        ["-0", "NaN", "-0", "infinity", "zero"],
        ["-3", "-0.300000012", "-0.3", "1", "negative"],
    ]


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("float64", 0.1, "0.10000000000000001"), ("float64", 5e-324, "4.9406564584124654e-324"),
        ("float32", 2.0**-149, "1.40129846e-45"), ("float32", 0.10000000149011612, "0.100000001"),
        ("float16", 2.0**-24, "5.9605e-08"), ("bfloat16", 3.3895313892515355e38, "3.39e+38"), ("int32", -7.0, "-7"),
        ("float32", math.inf, "infinity"), ("float32", -math.inf, "-infinity"), ("float32", math.nan, "NaN"),
        ("float16", -0.0, "-0"),
    ],
)  # fmt: skip
def test_a_number_is_written_in_the_digits_of_its_type(dtype, value, text):
    numbers = (Number(x=value, got=value, want=value, ulp=2.0, where="largest"),)
    one = cell("a", "wrong", dtype=dtype, numbers=numbers)
    (found,) = told(as_html.render(dataclasses.replace(EMPTY, cells=(one,))))
    assert found["numbers"] == [[text, text, text, "2", "largest"]]


def test_a_curve_keeps_its_holes():
    kept = data(as_html.render(RECORD))
    (curve,) = (c for row in kept["rows"] for c in row[3])
    assert kept["questions"][curve[0]][4] == "0.1"
    assert [kept["points"][place] for place in curve[1:]] == [
        [-4.0, -1.0, 0.0, 2.0], [-0.4, -0.1235, None, 2.0], [0.0, 3.0, None, 0.0],
    ]  # fmt: skip


def test_the_columns_are_in_order():
    assert data(as_html.render(RECORD))["columns"] == [
        ["float16", "alone"], ["float16", "conv"], ["float32", "alone"], ["int32", "alone"],
    ]  # fmt: skip
    odd = dataclasses.replace(
        EMPTY, cells=(cell("a", "exact", dtype="float8"), cell("a", "exact", dtype="float64", placement="x"))
    )
    assert data(as_html.render(odd))["columns"] == [["float64", "x"], ["float8", "alone"]]


def test_the_head_says_why():
    page = Page(as_html.render(RECORD)).text
    assert "✗ Failed: 1 wrong, 1 crashed, 1 known but gone, 1 not started" in page
    assert "LeakyReLU in 2 runtimes, 9 cells" in page
    assert "✓ 4 exact" not in page and "✓ 3 exact" in page and "◆ 2 known" in page
    assert "leaky_interop 0.1.0 on Linux x86_64; alpha 1.2.3, beta" in page
    assert "gamma ✗ does not start : ImportError: no gamma" in page
    passed = Page(as_html.render(PASSED)).text
    assert "✓ Passed" in passed and "Not run here" not in passed
    empty = Page(as_html.render(EMPTY)).text
    assert "0 runtimes, 0 cells" in empty and "Known differences" not in empty and "Precision" not in empty


def test_tables_of_precision_and_of_the_gradient_at_zero():
    page = Page(as_html.render(RECORD)).text
    assert "✗ claims float32, measured type" in page
    assert "✓ type (float32 or float64)" in page
    assert "claims float64, none fits" in page
    assert "mean : the mean of 1 and the slope; 0.25" in page
    assert "not measured" in page
    assert "has to be given" in page


@pytest.mark.parametrize(
    ("claimed", "measured", "dtype", "expected"),
    [
        ("float32", ("float32",), "float16", True), ("float32", ("type", "float64"), "float16", False),
        ("type", ("type",), "bfloat16", True), ("type", ("float32",), "float32", True),
        ("type", ("float64",), "float32", False), ("type", ("float32",), "float16", False), ("", (), "int32", False),
    ],
)  # fmt: skip
def test_a_claim_fits_what_was_measured(claimed, measured, dtype, expected):
    assert as_html.fits(Held(claimed=claimed, measured=measured), dtype) is expected


def test_known_differences_are_listed_with_their_reproducer():
    page = Page(as_html.render(RECORD)).text
    assert "slope: 2; where: zero; ✓ holds , explains 1 cell" in page
    assert f"leaky-interop conformance --reproduce '{CELLS[2].id}'" in page
    assert "alpha-gone alpha, a CPU with <AMX> It was so." in page
    assert "✗ gone: no cell shows it any more" in page
    known = [c["known"] for c in told(as_html.render(RECORD)) if "known" in c]
    assert known == [[0], ["not-listed"]]


def test_a_full_record_stays_small():
    """Forty thousand cells, most of them with the answer of another one."""
    cells = tuple(
        cell(
            f"runtime {i % 40}",
            "refused",
            variant=f"variant {i % 80 // 40}",
            slope=str(i // 80),
            message=f"no such thing {i % 97}",
        )
        for i in range(40_000)
    )
    source = as_html.render(dataclasses.replace(EMPTY, cells=cells))
    assert len({c.id for c in cells}) == len(told(source)) == 40_000
    assert len(source.encode()) < 500_000
