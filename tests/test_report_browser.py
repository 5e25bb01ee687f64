"""How the report's page looks in a real browser: nothing overflows, bars and filter work, the picture is not blank."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess

import pytest

from leaky_interop.report import as_html
from tests.report_sample import FAILED, PASSED, replace_text

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
MEASURE = """<script>
const right = e => e.getBoundingClientRect().right;
const rows = [...document.querySelectorAll("tbody tr")].filter(row => row.offsetHeight);
parent.document.title = JSON.stringify({
  window: innerWidth,
  scroll: document.documentElement.scrollWidth,
  right: Math.floor(Math.max(...[...document.querySelectorAll("body *")].map(right))),
  wide: [...document.querySelectorAll("td, dd, .track")].filter(e => e.scrollWidth > e.clientWidth).length,
  rows: rows.length,
  track: Math.min(...[...document.querySelectorAll(".track")].filter(e => e.offsetWidth).map(e => e.offsetWidth)),
  bars: [...document.querySelectorAll(".track i")].map(e => 100 * e.offsetWidth / e.parentNode.offsetWidth),
});
</script></body>"""

in_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("LEAKY_INTEROP_CHROMIUM") != "required",
    reason="there is no chromium to look at the page with",
)


@pytest.fixture
def browse(tmp_path):
    def run(source: str, *flags: str) -> str:
        page = tmp_path / "report.html"
        page.write_text(source, encoding="utf-8")
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [CHROMIUM, *FLAGS, profile, *flags, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    return run


def measure(browse, source: str, width: int) -> dict:
    """The page in a frame, as a window is never narrower than 500, and without its policy, which forbids scripts."""
    page = re.sub("<meta http-equiv[^>]*>", "", source).replace("</body>", MEASURE)
    frame = (
        f'<title></title><iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
    )
    found = browse(f"<title></title>{frame}", "--window-size=1400,1000", "--dump-dom")
    return json.loads(html.unescape(re.search("<title>(.*?)</title>", found)[1]))


@pytest.mark.chromium
@in_browser
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize(
    "report",
    [PASSED, FAILED, replace_text(FAILED, "a_name_without_any_place_to_break_" * 5)],
    ids=["passed", "failed", "long names"],
)
def test_nothing_overflows(browse, report, width):
    found = measure(browse, report.to_html(), width)
    assert found["window"] == width
    assert found["scroll"] == width
    assert found["right"] <= width
    assert found["wide"] == 0
    assert found["track"] > 150
    assert found["rows"] == len(report.nodes) + len(report.outputs) + len(report.slopes)


@pytest.mark.chromium
@in_browser
def test_bars_and_filter_work(browse):
    page = FAILED.to_html()
    found = measure(browse, page, 1280)
    errors = [o.error for o in FAILED.outputs] + [e for n in FAILED.nodes for e in (n.own, n.accumulated) if e]
    assert found["bars"] == pytest.approx([as_html.bar(e) for e in errors], abs=1)
    filtered = measure(browse, page.replace('id="failing"', 'id="failing" checked'), 1280)
    passed = sum(node.passed for node in FAILED.nodes)
    assert passed > 0
    assert filtered["rows"] == found["rows"] - passed


@pytest.mark.chromium
@in_browser
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize(
    ("scheme", "background", "good", "bad"),
    [(1, (246, 247, 249), (21, 112, 58), (180, 35, 24)), (0, (15, 19, 25), (86, 201, 131), (255, 141, 128))],
    ids=["light", "dark"],
)
def test_the_picture_is_not_blank(browse, tmp_path, width, scheme, background, good, bad):
    from PIL import Image

    for report, ours, other in ((PASSED, good, bad), (FAILED, bad, good)):
        picture = tmp_path / "report.png"
        flags = (
            f"--window-size={width},1600",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--screenshot={picture}",
        )
        browse(report.to_html(), *flags)
        image = Image.open(picture).convert("RGB")
        assert image.size == (width, 1600)
        assert image.getpixel((2, 2)) == background
        colours = {colour: count for count, colour in image.getcolors(maxcolors=1 << 20)}
        assert len(colours) > 100
        assert colours[ours] > 1000
        assert colours[ours] > 10 * colours.get(other, 0)
