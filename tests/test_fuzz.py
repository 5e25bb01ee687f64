"""What fuzzing found, each as the smallest input that showed it."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile

import onnx
import pytest
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop import files
from leaky_interop.conformance import as_json as conformance_json
from leaky_interop.errors import LeakyInteropError, RuntimeFailure, UnsafeFile, Usage
from leaky_interop.files import keras_legacy, tables
from leaky_interop.files.keras_allowed import allowed
from leaky_interop.files.sounds import read_wav
from leaky_interop.report import as_json
from tests.fuzz import seeds

pytestmark = pytest.mark.one_backend


def _written(path, content):
    path.write_bytes(content)
    return path


def _npy(header):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


# Arrays


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (",
        "{'descr': '<f4' 'fortran_order'}",
        "(" * 300,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} 1L",
        "{'descr': ('<f4',), 'fortran_order': False, 'shape': (2,)}",
    ],
)
def test_a_header_of_numpys_that_does_not_parse(tmp_path, header):
    with pytest.raises(Usage, match="truncated or damaged"):
        files.arrays(_written(tmp_path / "a.npy", _npy(header)))


def test_a_header_of_numpys_that_claims_to_be_long(tmp_path):
    path = _written(tmp_path / "a.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31 - 1))
    tracemalloc.start()
    try:
        with pytest.raises(Usage, match="truncated or damaged"):
            files.arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["<U0", "|S0", "|V4"])
def test_elements_that_are_no_numbers(tmp_path, dtype):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': (2,)}}"
    with pytest.raises(Usage, match="elements of type"):
        files.arrays(_written(tmp_path / "a.npy", _npy(header) + bytes(8)))


@pytest.mark.parametrize("shape", [(-1, -2), (0, 2**62, 2**62), (1,) * 70, (True,)])
def test_a_shape_that_no_array_has(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    with pytest.raises(UnsafeFile, match="declares the shape"):
        files.arrays(_written(tmp_path / "a.npy", _npy(header) + bytes(8)))


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"dtype": {}, "shape": [1], "data_offsets": [0, 4]}, Usage),
        ({"dtype": "F32", "shape": [1] * 82, "data_offsets": [0, 4]}, UnsafeFile),
        ({"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}, UnsafeFile),
        ({"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}, UnsafeFile),
    ],
)
def test_a_row_of_safetensors_that_no_tensor_has(tmp_path, row, error):
    text = json.dumps({"w": row}).encode()
    with pytest.raises(error):
        files.arrays(_written(tmp_path / "w.safetensors", struct.pack("<Q", len(text)) + text + bytes(4)))


# Zip files


def test_an_entry_whose_own_header_has_a_name_that_is_not_utf_8(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("é.npy", _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}") + bytes(4))
    content = out.getvalue().replace("é".encode(), b"\xc3(", 1)  # in the entry, not in the list of entries
    with pytest.raises(Usage, match="truncated or damaged"):
        files.arrays(_written(tmp_path / "a.npz", content))


def test_a_recording_without_its_description(tmp_path):
    with pytest.raises(Usage, match=r"no chainer\.json"):
        files.read_recording(_written(tmp_path / "a.chainer", seeds.zipped([("x.npy", b"")])))


@pytest.mark.parametrize(("field", "value"), [("inputs", True), ("inputs", None), ("outputs", 0.5), ("outputs", None)])
def test_a_recording_whose_function_has_no_list(tmp_path, field, value):
    with zipfile.ZipFile(io.BytesIO(seeds.chainer()[0])) as given:
        entries = {name: given.read(name) for name in given.namelist()}
    described = json.loads(entries["chainer.json"])
    described["functions"][0][field] = value
    entries["chainer.json"] = json.dumps(described).encode()
    with pytest.raises(UnsafeFile, match="no sound recording"):
        files.read_recording(_written(tmp_path / "a.chainer", seeds.zipped(entries.items())))


def test_a_program_whose_list_of_weights_is_none(tmp_path):
    with zipfile.ZipFile(io.BytesIO(seeds.pt2()[0])) as given:
        entries = {name: given.read(name) for name in given.namelist()}
    listing = next(name for name in entries if name.endswith("weights_config.json"))
    for content in ({"config": 3}, {"config": {"a": 3}}, []):
        changed = {**entries, listing: json.dumps(content).encode()}
        with pytest.raises(Usage, match="lists nothing"):
            files.open_pt2(_written(tmp_path / "a.pt2", seeds.zipped(changed.items())))


# PyTorch's older files


def test_a_pickle_that_asks_for_more_than_the_file_holds(tmp_path):
    """A text of 4 GiB: they were allocated before they were read."""
    old = next(content for content in seeds.pth() if not content.startswith(b"PK"))
    place = old.index(b"X", 30)
    path = _written(tmp_path / "a.pth", old[: place + 1] + b"\xff\xff\xff\xff" + old[place + 5 :])
    tracemalloc.start()
    try:
        with pytest.raises(Usage, match="truncated or damaged"):
            files.state_dict(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_storage_that_is_not_there(tmp_path):
    old = next(content for content in seeds.pth() if not content.startswith(b"PK"))
    for place in range(0, len(old), 17):  # a key of a storage, among others, is another one now
        changed = bytearray(old)
        changed[place] ^= 1
        try:
            files.state_dict(_written(tmp_path / "a.pth", bytes(changed)))
        except LeakyInteropError:
            pass


# ONNX


def test_a_name_in_onnx_that_is_not_utf_8(tmp_path):
    model = onnx.load_from_string(seeds.onnx()[0])
    for old in (b"w.bin", b"location", b"Add"):
        content = model.SerializeToString().replace(old, b"\xff" * len(old))
        with pytest.raises(Usage, match=r"is not UTF-8"):
            files.read_onnx(_written(tmp_path / "a.onnx", content))


def _model(*nodes):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy")
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Add", ["x"], ["y"]),
        helper.make_node("Add", ["x", "x"], []),
        helper.make_node("MaxPool", ["x"], ["y"]),
        helper.make_node("LSTM", ["x"], ["y"]),
        helper.make_node("Relu", ["gone"], ["y"]),
    ],
    ids=lambda node: f"{node.op_type} of {len(node.input)}",
)
def test_a_node_that_its_schema_forbids_is_an_error_of_ours(tmp_path, node):
    path = tmp_path / "a.onnx"
    onnx.save(_model(node), path)
    with pytest.raises(LeakyInteropError):
        li.load(path)
    with pytest.raises(LeakyInteropError):
        li.load(onnx.load(path))


def test_what_an_importer_raises_names_its_cause(tmp_path):
    onnx.save(_model(helper.make_node("MaxPool", ["x"], ["y"])), tmp_path / "a.onnx")
    with pytest.raises(RuntimeFailure, match=r"cannot be read: TypeError.*not valid"):
        li.load(tmp_path / "a.onnx")


# Keras


OLD = {"class_name": "Model", "config": {"name": "m", "input_layers": [["x", 0, 0]], "output_layers": [["x", 0, 0]], "layers": [
    {"class_name": "InputLayer", "name": "x", "config": {"batch_input_shape": [None, 3], "name": "x"}, "inbound_nodes": []}]}}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("output_layers"),
        lambda c: c.pop("layers"),
        lambda c: c.update(layers=3.5),
        lambda c: c.update(output_layers=7),
        lambda c: c["layers"][0].pop("name"),
        lambda c: c["layers"][0].pop("class_name"),
        lambda c: c["layers"][0].update(name={}),
        lambda c: c["layers"][0].update(inbound_nodes=None),
        lambda c: c["layers"].append(
            {"class_name": "Sequential", "name": "s", "config": {"layers": 3}, "inbound_nodes": []}
        ),
        lambda c: c["layers"].append(
            {"class_name": "Sequential", "name": "s", "config": {"layers": {"a": 1}}, "inbound_nodes": []}
        ),
        lambda c: c["layers"][0].update(inbound_nodes=[[[["x", 0, 0, {}]]], {"a": 1}, [3]]),
    ],
)
def test_a_configuration_of_keras_2_that_is_not_laid_out_as_one(change):
    config = json.loads(json.dumps(OLD))
    change(config["config"])
    with pytest.raises(Usage, match="not laid out as Keras 1 and 2 do it"):
        keras_legacy.upgraded(config, (2, 3, 1))


@pytest.mark.parametrize("written_by", [(2, 3, 1), (3, 0)])
def test_a_configuration_without_bottom(written_by):
    deep = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(UnsafeFile, match="nested too deeply"):
        keras_legacy.upgraded({"class_name": "Model", "config": deep}, written_by)


def test_a_registered_name_that_is_none():
    with pytest.raises(UnsafeFile, match="not a name"):
        allowed({"class_name": "Dense", "config": {}, "registered_name": {}})


# Reports, MATLAB, texts


@pytest.mark.parametrize("parser", [as_json, conformance_json])
def test_a_report_that_is_none(parser):
    for text in ("[" * 100_000, '{"format": 1}', "[]", "1"):
        with pytest.raises(ValueError, match="expected a"):
            parser.parse(text)


def test_a_report_with_a_list_where_there_is_a_number():
    text = seeds.reports()[0][1:].decode()
    found = json.loads(text)
    slope = found["slopes"][0]
    slope["value"] = {"a": 1}
    with pytest.raises(ValueError, match="expected a report"):
        as_json.parse(json.dumps({**found, "nodes": [{**found["nodes"][0], "own": []}]}))


def test_connect_layers_of_nothing(tmp_path):
    with pytest.raises(Usage, match="connectLayers takes"):
        files.open_matlab(_written(tmp_path / "a.m", b"lg = layerGraph;\nlg = connectLayers();\n"))


def test_a_small_file_takes_little_memory_whatever_it_may_hold(tmp_path):
    """The limit of a file was allocated before the file was read."""
    path = _written(tmp_path / "a.cfg", b"[net]")
    tracemalloc.start()
    try:
        assert files.content(path, 2**31 - 1) == b"[net]"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# Sounds and tables


def test_a_sound_whose_chunk_is_longer_than_the_file(tmp_path):
    whole = seeds.sounds()[0]
    with pytest.raises(Usage):
        read_wav(b"RIFF<\x00\x00\x00WAVEfmtint64")
    place = whole.index(b"data") + 4
    path = _written(tmp_path / "a.wav", whole[:place] + struct.pack("<I", 2**32 - 2) + whole[place + 4 :])
    tracemalloc.start()
    try:
        with pytest.raises(Usage, match="truncated or damaged"):
            read_wav(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    for place in range(len(whole)):
        for value in (0, 255):
            try:
                read_wav(whole[:place] + bytes([value]) + whole[place + 1 :])
            except LeakyInteropError:
                pass


@pytest.mark.parametrize("name", ["ArrowNotImplementedError", "ArrowKeyError", "ArrowInvalid", "ArrowTypeError"])
def test_whatever_pyarrow_raises_means_a_damaged_file(tmp_path, monkeypatch, name):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def raising(handle):
        raise getattr(pyarrow.lib, name)("Integers with more than 64 bits not implemented")

    path = _written(tmp_path / "a.parquet", seeds.parquet()[0])
    monkeypatch.setattr(parquet, "ParquetFile", raising)
    assert tables.parquet_count(path) is None
    with pytest.raises(Usage, match="truncated or damaged"):
        list(tables.parquet_rows(path))
