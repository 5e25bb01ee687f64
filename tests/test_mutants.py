"""Every planted fault still has a place: `make mutants` runs them, which takes minutes."""

import ast
from pathlib import Path

import pytest
from mutants import FAULTS, Fault

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_fault_can_be_planted(fault):
    text = fault.file(ROOT).read_text()
    ast.parse(text.replace(fault.old, fault.new))
    assert fault.old != fault.new
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text() or not name


def test_a_text_that_is_not_there_once_is_said():
    for old in ("LeakyRelu", "nowhere to be found"):
        with pytest.raises(LookupError, match="times"):
            Fault("", "ops/activation", old, "", ()).file(ROOT)
