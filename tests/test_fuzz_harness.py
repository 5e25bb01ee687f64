"""The fuzzer itself: it sees what it looks for, every reader takes its valid files, and the counts add up."""

from __future__ import annotations

import dataclasses
import json
from random import Random

import pytest

from leaky_interop.errors import Usage
from tests.fuzz import child, mutation, record
from tests.fuzz.readers import CANARY, READERS

pytestmark = pytest.mark.one_backend


@pytest.fixture
def harness(tmp_path):
    """Makes a harness around any reader; its watch of what is opened ends with the test."""
    made = []

    def make(read):
        made.append(child.Harness(dataclasses.replace(READERS["npy"], read=read), tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.watch.on = False


def _kinds(folder):
    return sorted(json.loads(file.read_text())["kind"] for file in folder.glob("*.json"))


def test_the_harness_sees_what_it_looks_for(tmp_path, harness):
    def read(folder, data):
        match data:
            case b"error":
                raise KeyError("x")
            case b"declared":
                raise Usage("x")
            case b"memory":
                raise MemoryError
            case b"outside":
                open("/etc/hostname", "rb").close()  # noqa: PTH123
            case b"canary":
                return [(folder.parent / "secret.bin").read_bytes()]
            case b"program":
                __import__("os").system("true")
        return [b"honest"]

    made = harness(read)
    for data in (b"declared", b"fine"):
        made.execute(data)
    assert _kinds(tmp_path) == []
    for data, kinds in (
        (b"error", ["exception"]),
        (b"memory", ["exception", "memory"]),
        (b"outside", ["exception", "memory", "outside"]),
        (b"program", ["exception", "memory", "outside", "outside"]),
        (b"canary", ["exception", "memory", "outside", "outside", "outside", "outside"]),
    ):
        made.execute(data)
        assert _kinds(tmp_path) == kinds
    count, since, accepted, _ = made.state.read()
    assert (count, since, accepted) == (7, 0.0, 4)


def test_links_in_the_model_folder_lead_to_the_canary(tmp_path, harness):
    folder = harness(lambda folder, data: None).model
    assert (folder / "link.bin").read_bytes() == (folder / "hard.bin").read_bytes() == CANARY * 4


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_every_reader_takes_its_valid_files_and_survives_changed_ones(name, tmp_path):
    reader = READERS[name]
    pool = reader.seeds()
    assert pool
    (tmp_path / "w.bin").write_bytes(bytes(64))  # the external data
    for data in pool:
        reader.read(tmp_path, data)
    random = Random(7)
    for _ in range(40 if reader.share < 50 else 200):
        data = mutation.mutated(random.choice(pool), reader.form, random, pool)
        try:
            reader.read(tmp_path, data)
        except reader.declared:
            pass


def test_counts_add_up_and_the_page_tells_code_from_earlier_code(tmp_path):
    found = {"kind": "hang", "text": "x", "where": "", "bytes": 1, "input": "y"}
    row = {"reader": "npy", "code": READERS["npy"].code, "engine": "mutate", "executions": 5, "accepted": 1, "seconds": 1.0,
           "slowest": 0.1, "findings": []}  # fmt: skip
    path = tmp_path / "results.json"
    for new in (row, row, {**row, "code": "older", "executions": 3, "findings": [found]}):
        record.add(path, json.loads(json.dumps(new)))
    rows = record.read(path)
    assert {r["code"]: r["executions"] for r in rows} == {READERS["npy"].code: 10, "older": 3}
    line = next(line for line in record.table(rows).splitlines() if line.startswith("| npy |"))
    assert line == "| npy | 13 | 1 | 10 | 0 | 4 | 0.10 s | 23% |"
