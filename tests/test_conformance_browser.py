"""The page of the conformance suite in a real browser: it opens without an error, squares open, filters hide rows."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import subprocess

import pytest

from leaky_interop.conformance import as_html
from leaky_interop.conformance.record import AXES
from tests.conformance_page_sample import CELLS, EMPTY, HOSTILE, PASSED, RECORD
from tests.conformance_sample import cell
from tests.test_report_browser import CHROMIUM, FLAGS, in_browser

pytestmark = [pytest.mark.chromium, pytest.mark.one_backend, in_browser]
WIDTH, PHONE = 1400, 390

# What a reader sees, sent out of the frame in which the page stands.
SEEN = """
const seen = e => e.checkVisibility();
const all = of => [...document.querySelectorAll(of)].filter(seen);
const texts = of => all(of).map(e => e.innerText.replace(/\\s+/g, " ").trim());
const click = of => document.querySelector(of).click();
const press = key => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const choose = (name, value) => {
  const control = document.querySelector(`[name=${name}]`);
  control.value = value;
  control.dispatchEvent(new Event("input", {bubbles: true}));
};
const square = name => [...document.querySelectorAll("#matrix button")].find(e => e.dataset.name === name);
const pause = () => new Promise(done => setTimeout(done, 50));
(async () => {
  let result;
  try { result = await (async () => { %s })(); } catch (error) { result = `${error.stack}`; }
  parent.postMessage(JSON.stringify(result ?? null), "*");
})();
"""
FRAME = """<title></title><body style="margin:0">
<iframe width="%s" height="1800" style="border:0" src="page.html%s"></iframe>
<script>addEventListener("message", event => document.title = event.data)</script>"""


@pytest.fixture
def browse(tmp_path):
    """The page of a record, without its policy and with a script that answers; what the console said is an error."""

    def look(record, script: str, anchor: str = "", width: int = WIDTH):
        page = re.sub("<meta http-equiv[^>]*>", "", as_html.render(record))
        (tmp_path / "page.html").write_text(
            page.replace("</body>", f"<script>{SEEN % script}</script></body>"), "utf-8"
        )
        frame = tmp_path / "frame.html"
        frame.write_text(FRAME % (width, html.escape(anchor)), "utf-8")
        found, errors = run(tmp_path, frame.as_uri(), "--window-size=1500,1800")
        assert not errors
        return json.loads(html.unescape(re.search("<title>(.*?)</title>", found, re.S)[1]))

    return look


def run(folder, address: str, *flags: str) -> tuple[str, list[str]]:
    """The document after its scripts have run, and what they said on the console."""
    flags = (f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=4000", *flags)
    done = subprocess.run(
        [CHROMIUM, *FLAGS, *flags, "--dump-dom", address], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("record", [RECORD, PASSED, EMPTY], ids=["failed", "passed", "empty"])
def test_it_opens_under_its_own_policy_without_an_error(tmp_path, record):
    page = tmp_path / "page.html"
    page.write_text(as_html.render(record), "utf-8")
    found, errors = run(tmp_path, page.as_uri())
    assert errors == []
    output = re.search("<output[^>]*>(.*?)</output>", found)[1]
    assert output == f"{len(record.cells)} of {len(record.cells)} cells"
    assert "<title>Failed" in found if not record.passed else "<title>Passed" in found


def test_the_exact_function_stays_in_its_part_of_the_drawing(browse):
    """Where a runtime takes the other branch, its numbers do not reach as far down as the right ones."""
    steep = cell("alpha", "wrong", slope="2", curve=((-4.0, -4.0, 9.0), (0.0, 0.0, 0.0), (1.0, 2.0, 9.0)))
    script = "return ['.right', '.got'].map(of => document.querySelector(of).getAttribute('d').match(/[\\d.]+/g).map(Number))"
    exact, got = browse(dataclasses.replace(EMPTY, cells=(steep,)), script)
    assert exact[:2] == [34.0, 112.0]  # x = -4, y = -8: the lowest corner
    assert got[:2] == [34.0, pytest.approx(112 - 104 * 4 / 10, abs=0.1)]


def test_the_policy_stops_another_script(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        as_html.render(PASSED).replace("</body>", "<script>document.title = 'taken'</script></body>"), "utf-8"
    )
    found, errors = run(tmp_path, page.as_uri())
    assert "<title>Passed" in found
    assert any("Content Security Policy" in line for line in errors)


def test_the_matrix_has_the_worst_verdict_with_its_mark(browse):
    found = browse(RECORD, "return all('#matrix td > button').map(e => [e.dataset.name, e.innerText, e.className])")
    assert found == [
        ["alpha/eager/float16/conv", "✓ 1", "exact"],
        ["alpha/eager/float32/alone", "◆ 1", "known"],
        ["alpha/graph/float16/alone", "○ 1", "refused"],
        ["alpha/graph/float32/alone", "✗ 1", "wrong"],
        ['beta/it\'s "odd"/int32/alone', "‼ 1", "crashed"],
    ]


def test_a_click_opens_the_cells_and_their_numbers(browse):
    script = """
    square("alpha/eager/float32/alone").click();
    const lines = texts(".opened summary"), address = location.hash;
    all(".opened details").forEach(each => each.open = true);
    await pause();
    const opened = [lines, texts(".opened .body td"), texts(".opened .body dd"), texts(".opened a"), texts(".opened .command code"), address];
    square("alpha/eager/float32/alone").click();
    return [...opened, texts(".opened"), location.hash];
    """
    lines, numbers, facts, links, commands, address, closed, after = browse(RECORD, script)
    assert [line.split(" ·")[0] for line in lines] == [
        "◆ known leaky_relu rank 1 slope 2 output infinity ulp",
        "≈ within leaky_relu rank 1 slope 1/3 output 1 ulp",
        "▸ 1 exact",
    ]
    assert numbers[:5] == ["-0", "NaN", "-0", "infinity", "zero"]
    assert links == ["https://example.org/a?b=1&c=2"]
    assert any("alpha-zero" in fact and "</script><img" in fact for fact in facts)
    assert commands[:2] == [f"leaky-interop conformance --reproduce '{CELLS[i].id}'" for i in (2, 1)]
    assert address == "#open=alpha%2Feager%2Ffloat32%2Falone"
    assert (closed, after) == ([], "")


def test_a_hostile_message_and_an_odd_name_are_shown_as_they_are(browse):
    script = "all('.opened details').forEach(e => e.open = true); await pause(); return [document.title, texts('.opened .message'), texts('.opened .command code')]"
    title, messages, _ = browse(RECORD, script, "#open=alpha/graph/float16/alone")
    assert title.startswith("Failed")
    assert messages == [HOSTILE.replace("\u202e", "\\u202e").replace("\u2028", "\\u2028")]
    _, _, commands = browse(RECORD, script, '#open=beta/it\'s "odd"/int32/alone')
    assert commands == [as_html.command(CELLS[i].id) for i in (7, 8)]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"runtime": "beta"}, {7, 8}),
        ({"dtype": "float16"}, {3, 6}),
        ({"verdict": "known"}, {2, 8}),
        ({"slope": "1/3"}, {1}),
        ({"text": "GRAPH gradient"}, {5}),
        ({"text": "alpha-zero"}, {2}),
        ({"text": "signal 11"}, {7}),
        ({"runtime": "alpha", "verdict": "crashed"}, set()),
        ({"slope": "0.1", "dtype": "float32", "verdict": "exact"}, {0, 5}),
    ],
    ids=str,
)
def test_a_filter_hides_rows_and_is_kept_in_the_address(browse, filters, kept):
    rows = sorted({(CELLS[i].runtime, CELLS[i].variant) for i in kept})
    chosen = " ".join(f"choose({json.dumps(name)}, {json.dumps(value)});" for name, value in filters.items())
    ask = "return [texts('#matrix tbody th'), texts('#filters output')[0], location.hash]"
    shown, count, address = browse(RECORD, f"{chosen} {ask}")
    assert shown == [" ".join(row) for row in rows]
    assert count == f"{len(kept)} of {len(CELLS)} cells"
    assert browse(RECORD, ask, address) == [shown, count, address]


def test_all_is_shown_again(browse):
    script = "click('#filters [type=reset]'); await pause(); return [all('#matrix tbody tr').length, location.hash]"
    assert browse(RECORD, script, "#runtime=beta&text=nothing") == [3, ""]


def test_a_verdict_of_the_head_filters(browse):
    script = "click('header a[href$=wrong]'); await pause(); return texts('#matrix tbody th')"
    assert browse(RECORD, script) == ["alpha graph"]


def test_arrow_keys_move_between_squares(browse):
    script = """
    const names = [];
    square("alpha/eager/float16/conv").focus();
    for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowUp"]) {
      press(key);
      names.push(document.activeElement.dataset.name);
    }
    return names;
    """
    first, second, third = "alpha/eager/float32/alone", "alpha/graph/float32/alone", "alpha/graph/float16/alone"
    assert browse(RECORD, script) == [first, second, third, third, third]


def test_the_plots_show_function_and_error(browse):
    script = "return [texts('figcaption'), all('svg').map(e => e.ariaLabel), document.querySelector('.got').getAttribute('d'), document.querySelector('.ulp').getAttribute('d'), document.querySelector('.far').getAttribute('d')]"
    captions, labels, got, ulp, far = browse(RECORD, script)
    assert captions == ["alpha graph · infinitely far"]
    assert labels == ["alpha (graph), float32, slope 0.1: infinitely far"]
    assert [part.count("M") for part in (got, ulp, far)] == [3, 1, 1]
    assert "NaN" not in got + ulp + far
    assert browse(PASSED, "return all('#plots').length") == 0


@pytest.mark.parametrize("width", [WIDTH, PHONE])
def test_nothing_overflows(browse, width):
    script = """
    square("alpha/eager/float32/alone").click();
    all(".opened details").forEach(each => each.open = true);
    await pause();
    const right = e => e.getBoundingClientRect().right;
    const outside = all("body *").filter(e => right(e) > innerWidth + 1 && !e.closest(".wide"));
    const cut = all(".opened, .opened *").filter(e => right(e) > innerWidth && !e.closest(".opened .wide"));
    return [innerWidth, document.documentElement.scrollWidth, outside.map(e => e.outerHTML), cut.map(e => e.outerHTML)];
    """
    assert browse(RECORD, script, width=width) == [width, width, [], []]


def test_the_axes_are_those_of_an_id():
    """The script reads the fields of a question in this order."""
    script = re.search(r"const \[(.*?)\] = axes;", as_html.render(EMPTY))[1]
    assert tuple(script.split(", ")) == AXES[2:]
