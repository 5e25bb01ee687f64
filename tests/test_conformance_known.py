"""Known differences: their files, what they explain, and that none outlives its difference."""

import dataclasses
import re

import pytest
from conformance_sample import AXES, sample

from leaky_interop.conformance import as_json, as_junit, as_text, environments, exporters, known
from leaky_interop.conformance.record import Cell, Runtime
from leaky_interop.errors import Usage

TEXT = """
# about this runtime
flips-zero
  slope: -0.1, -1
  where: zero
  versions: >=1.5, <2
  why: It compares with x > 0.
  link: https://example.org/1

flushes
  dtype: float32, bfloat16
  where: subnormal, underflow
  why: FTZ: it writes zero.
no-halves
  dtype: float16
  verdict: refused
  says: not implemented
  why: There is no kernel.
"""
RAN = Runtime(name="mine", status="ran", version="1.7+cpu")


def cell(verdict="wrong", where=(), **other) -> Cell:
    return Cell(**{**AXES, "runtime": "mine", "verdict": verdict, "where": dict.fromkeys(where, 1), **other})


def applied(*cells: Cell, text: str = TEXT, runtime: Runtime = RAN):
    explained, found = known.apply(cells, known.parse(text, "mine"), [runtime])
    return explained, {d.id: d.status for d in found}


def test_a_file_is_read():
    first, second, third = known.parse(TEXT, "mine")
    assert first.match == {"slope": ("-0.1", "-1"), "where": ("zero",)}
    assert (first.versions, first.link) == (">=1.5, <2", "https://example.org/1")
    assert second.reason == "FTZ: it writes zero."
    assert third.match["says"] == ("not implemented",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  why: nothing before it", "line 1"),
        ("an-id\n  slope: 1\n  wy: x", "line 3"),
        ("an-id\n  slope: 1\n  no colon", "line 3"),
        ("An Id\n  slope: 1\n  why: x", "line 1"),
        ("an-id\n  slope: 1", "needs a reason"),
        ("an-id\n  why: x", "something to match"),
        ("an-id\n  slope: 1\n  why: x\nan-id\n  slope: 1\n  why: y", "one id"),
        ("an-id\n  where: everywhere\n  why: x", "everywhere"),
        ("an-id\n  verdict: exact\n  why: x", "exact"),
        ("an-id\n  why:\n", "line 2"),
        ("an-id\n  ulp: 1, 2\n  why: x", "line 2"),
        ("an-id\n  ulp: nan\n  why: x", "line 2"),
    ],
)
def test_what_is_no_such_file_is_named_with_its_line(text, message):
    with pytest.raises(Usage, match=re.escape(message)):
        known.parse(text, "mine")


def test_a_cell_is_known_where_every_element_is_explained():
    (one, two, three), status = applied(
        cell(slope="-0.1", where=["zero"]),
        cell(slope="-0.1", where=["zero", "subnormal"]),
        cell(slope="-0.1", where=["zero", "negative"]),
    )
    assert (one.verdict, one.known) == ("known", ("flips-zero",))
    assert (two.verdict, two.known) == ("known", ("flips-zero", "flushes"))
    assert (three.verdict, three.known) == ("wrong", ())
    assert status["flips-zero"] == "holds"


@pytest.mark.parametrize(
    "other", [{"slope": "0.1"}, {"slope": "-0.1", "where": ["nan"]}, {"slope": "-0.1", "runtime": "other"}]
)
def test_another_cell_is_not_excused(other):
    (found,), _ = applied(cell(**{"where": ["zero"], **other}))
    assert found.verdict == "wrong"


@pytest.mark.parametrize(("ulp", "verdict"), [(0.5, "known"), (1.0, "known"), (1.5, "wrong"), (float("inf"), "wrong")])
def test_a_distance_is_excused_up_to_what_the_line_says(ulp, verdict):
    text = "rounds\n  where: negative\n  ulp: 1\n  why: It rounds twice.\n"
    (found,), status = applied(cell(where=["negative"], ulp=ulp), text=text)
    assert (found.verdict, status) == (verdict, {"rounds": "holds" if verdict == "known" else "gone"})


def test_a_refusal_has_a_reason_only_where_it_says_so():
    right, other, wrong = (
        cell("refused", dtype="float16", message="x not implemented for Half"),
        cell("refused", dtype="float16", message="out of memory"),
        cell(dtype="float16", where=["nan"]),
    )
    found, _ = applied(right, other, wrong)
    assert [(c.verdict, c.known) for c in found] == [("refused", ("no-halves",)), ("refused", ()), ("wrong", ())]


def test_a_crash_is_known_only_by_a_line_that_says_crashed():
    text = "dies\n  shape: empty\n  verdict: crashed\n  why: It divides by the size.\n"
    found, status = applied(cell("crashed", shape="empty"), cell("crashed"), text=text)
    assert [c.verdict for c in found] == ["known", "crashed"] and status == {"dies": "holds"}


def test_a_difference_that_is_no_longer_met_fails_the_run():
    _, status = applied(cell("exact", slope="-0.1"))
    assert status == {"flips-zero": "gone", "flushes": "gone", "no-halves": "not covered"}
    assert "gone" in status.values()


def test_a_difference_of_another_version_or_machine_is_not_gone():
    _, status = applied(cell("exact", slope="-0.1"), runtime=dataclasses.replace(RAN, version="2.0"))
    assert status["flips-zero"] == "not covered"
    (found,), _ = applied(cell(slope="-0.1", where=["zero"]), runtime=dataclasses.replace(RAN, version="2.0.1"))
    assert found.verdict == "wrong"
    text = "flushes\n  where: subnormal\n  machine: some CPUs\n  why: It is fast.\n"
    assert applied(cell("exact"), text=text)[1] == {"flushes": "not covered"}
    assert applied(cell(where=["subnormal"]), text=text)[1] == {"flushes": "holds"}


def test_a_runtime_that_did_not_run_makes_nothing_gone():
    _, status = applied(runtime=dataclasses.replace(RAN, status="absent"))
    assert set(status.values()) == {"not covered"}


@pytest.mark.parametrize("name", sorted(exporters.plans()))
def test_the_files_of_the_exporters_give_reasons_too(name):
    found = known.differences(name, exporters.plans()[name].source)
    assert found
    for difference in found:
        assert difference.reason.endswith("."), difference.id
        assert difference.link.startswith("https://"), difference.id


@pytest.mark.parametrize(
    "runtime", [p.name.removesuffix(".txt") for p in known.FOLDER.iterdir() if p.name.endswith(".txt")]
)
def test_the_files_of_the_package_are_read_and_belong_to_a_runtime(runtime):
    assert runtime in environments.plans()
    found = known.differences(runtime)
    assert found
    for difference in found:
        assert difference.reason.endswith("."), difference.id
        assert difference.link.startswith("https://"), difference.id


# --- the record -------------------------------------------------------------------------------------------------------


def test_json_and_back():
    record = sample()
    text = as_json.render(record)
    assert repr(as_json.parse(text)) == repr(record)  # by its text: NaN is not NaN
    assert as_json.render(as_json.parse(text)) == text
    for bad in ("{}", "[]", text.replace('"format": 1', '"format": 2'), text.replace('"variant"', '"varient"'), ""):
        with pytest.raises(ValueError, match="expected a conformance record"):
            as_json.parse(bad)


def test_a_record_passes_only_without_anything_new():
    record = sample()
    assert not record.passed
    fine = tuple(c for c in record.cells if c.verdict in ("exact", "within", "known", "refused"))
    holding = tuple(d for d in record.known if d.status == "holds")
    assert dataclasses.replace(record, cells=fine, known=holding).passed
    assert not dataclasses.replace(record, cells=fine).passed  # a difference is gone
    broken = (dataclasses.replace(record.runtimes[0], status="failed"),)
    assert not dataclasses.replace(record, cells=fine, known=holding, runtimes=broken).passed


def test_junit_counts_what_failed():
    import xml.etree.ElementTree as ET

    suites = {s.get("name"): s for s in ET.fromstring(as_junit.render(sample()).partition("\n")[2])}
    careless = suites["careless"]
    assert (careless.get("failures"), careless.get("errors"), careless.get("skipped")) == ("2", "1", "1")
    names = [case.get("name") for case in careless]
    assert len(names) == len(set(names)) == int(careless.get("tests"))
    assert suites["elsewhere"].find("testcase/skipped") is not None


def test_the_text_names_what_is_wrong():
    text = as_text.render(sample(), width=200)
    for part in ("careless/fused/leaky_relu/float32/conv", "gives -0.0, but should be nan", "careless-old", "signal 11",
                 "careless-zero-sign (careless 1)", "Failed: 2 exact, 1 within, 1 known, 1 refused, 1 wrong, 1 crashed"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text and "\x1b" in as_text.render(sample(), colour=True)
