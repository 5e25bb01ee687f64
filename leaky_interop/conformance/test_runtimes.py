"""Every runtime against the definition: see conftest.py for how to run this."""

from leaky_interop.conformance.as_text import described


def test_every_difference_is_known(record):
    bad = [f"{cell.id}: {described(cell)}" for cell in record.cells if not cell.passed]
    assert not bad, f"{len(bad)} of {len(record.cells)} cells are wrong:\n" + "\n".join(bad)


def test_every_known_difference_holds(record):
    gone = [difference.id for difference in record.known if difference.status == "gone"]
    assert not gone, "no longer met; take them out, or give their versions"


def test_the_slope_is_held_as_claimed(record):
    (runtime,) = record.runtimes
    claims = {d: h for d, h in runtime.held.items() if h.claimed and h.measured and d != "int32"}
    equal = {"float32": "float32", "float64": "float64"}  # there a type's own precision is one of the other two
    wrong = {
        d: h
        for d, h in claims.items()
        if (equal.get(d, "type") if h.claimed == "type" else h.claimed) not in h.measured
    }
    explained = {
        d
        for known in record.known
        if "precision" in known.match.get("where", ())
        for d in known.match.get("dtype", wrong)
    }
    assert not set(wrong) - explained
