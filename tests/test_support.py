"""The support table says what is registered, all of it, and nothing else."""

from __future__ import annotations

import re

import pytest

import leaky_interop as li
from leaky_interop import frameworks, op
from leaky_interop.deferring import Deferred
from leaky_interop.support_table import NOTHING, SEVERAL, Row


@pytest.fixture(scope="module")
def table():
    return li.support()


def rows(table) -> dict[str, Row]:
    return {row.operator: row for row in table.rows}


def test_every_native_name_that_is_read_stands_in_exactly_one_row(table):
    found = [
        (framework, re.sub(r" \(opset \d+ on\)$", "", name))
        for row in table.rows
        for framework, names in row.reads.items()
        for name in names
    ]
    assert len(found) == len(set(found))
    converted = {key for key, versions in op.IMPORTERS.items() if not all(fn in op.REFUSING for _, fn in versions)}
    assert set(found) == {key for key in converted if key[0] in frameworks.NAMES}


def test_every_exporter_stands_in_the_row_of_its_operator(table):
    found = {(framework, row.operator): name for row in table.rows for framework, name in row.writes.items()}
    wanted = {
        (framework, kind.__name__): exporter.__name__
        for (framework, kind), exporter in op.EXPORTERS.items()
        if framework in frameworks.NAMES and kind is not Deferred  # any operator of ONNX, read again when it runs
    }
    assert found == wanted


def test_the_spellings_of_leaky_relu_are_in_its_row(table):
    row = rows(table)["LeakyRelu"]
    assert set(row.reads["keras"]) == {"LeakyReLU", "activations.leaky_relu", "ops.LeakyRelu"}
    assert "aten.leaky_relu.default" in row.reads["torch"]
    assert row.reads["onnx"] == ("LeakyRelu",)
    assert set(row.writes) == set(frameworks.NAMES)


@pytest.mark.parametrize(
    ("framework", "native", "operator"),
    [
        ("keras", "Conv2D", "Conv"),
        ("keras", "Flatten", "Reshape"),
        ("torch", "aten.linear.default", "Dense"),
        ("torch", "aten.permute.default", "Transpose"),
        ("torch", "aten.detach.default", NOTHING),
        ("onnx", "LayerNormalization", "LayerNorm"),
        ("onnx", "Identity", NOTHING),
        ("onnx", "ReduceMax", "ReduceMax"),
        ("keras", "GlobalAveragePooling2D", SEVERAL),
        ("torch", "aten.softmax.int", "Softmax"),
    ],
)
def test_an_importer_belongs_to_the_operator_that_it_makes(table, framework, native, operator):
    assert native in rows(table)[operator].reads[framework]


def test_a_row_says_what_only_goes_one_way():
    writes = {"keras": "foo_to_keras", "torch": "foo_to_torch"}
    row = Row("Foo", "family", {"keras": ("A", "B"), "onnx": ("C",)}, writes)
    assert [row.cell(name) for name in ("keras", "torch", "onnx")] == ["A, B", "written only", "C (read only)"]
    assert Row("Foo", "family", {}, {}).cell("keras") == Row(NOTHING, "", {}, {}).cell("keras") == "-"


def test_the_markdown_is_a_table_with_every_row(table):
    lines = table.to_markdown().splitlines()
    assert lines[0] == "| operator | Keras | PyTorch | ONNX |"
    assert len(lines) == len(table.rows) + 2
    assert all(line.count("|") == 5 for line in lines)
    assert any(line.startswith("| `LeakyRelu` | `LeakyReLU`, `activations.leaky_relu`") for line in lines)


def test_the_text_has_a_line_for_each_operator(table):
    lines = str(table).splitlines()
    assert len(lines) == len(table.rows) + 1
    assert len({line.split()[0] for line in lines}) == len(lines)


def test_the_cells_stand_under_their_heads(table):
    assert next(table.cells())[0] == table.rows[0].operator
    assert table.head == ("operator", "Keras", "PyTorch", "ONNX")
