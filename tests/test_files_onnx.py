"""ONNX files: external data contained, every tensor walked wherever it hides, rings and bombs refused."""

import os

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from leaky_interop import files
from leaky_interop.errors import MissingFile, UnsafeFile, Usage
from leaky_interop.files import onnx as reader
from leaky_interop.frameworks import onnx as engine
from leaky_interop.graph import Graph, Parameter
from leaky_interop.numeric import dtype

SECRET = np.arange(4, dtype=np.float32)
VALUES = np.array([1.0, 2.0, -3.0, 4.5], np.float32)


def _external(location="w.bin", offset=None, length=16, name="w", dims=(4,), kind=TensorProto.FLOAT, **more):
    tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    given = {"location": location, "offset": offset, "length": length, **more}
    for key, value in given.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def _value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])


def _model(initializers=(), nodes=None, functions=(), **more):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])] if nodes is None else nodes
    graph = helper.make_graph(nodes, "g", [_value("x")], [_value("y")], list(initializers))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, functions=list(functions), opset_imports=opsets, ir_version=10, **more)


def _save(folder, model, name="net.onnx"):
    (folder / name).write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return folder / name


@pytest.fixture
def secret(tmp_path):
    """A file outside the model's folder, which must never be read."""
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").write_bytes(b"padding!" * 2 + VALUES.tobytes())
    return folder


def _refused(folder, tensor, words=""):
    with pytest.raises(UnsafeFile, match=words):
        files.read_onnx(_save(folder, _model([tensor])))


# Honest files


def test_a_model_with_everything_inside_is_read_as_it_is(tmp_path):
    tensors = [
        helper.make_tensor("raw", TensorProto.FLOAT, [2, 2], VALUES.tobytes(), raw=True),
        helper.make_tensor("typed", TensorProto.FLOAT, [4], VALUES),
        helper.make_tensor("half", TensorProto.FLOAT16, [2], np.float16([1, 2])),
        helper.make_tensor("brain", TensorProto.BFLOAT16, [3], [1.0, 2.0, 3.0]),
        helper.make_tensor("eight", TensorProto.FLOAT8E4M3FN, [3], [1.0, 2.0, 3.0]),
        helper.make_tensor("four", TensorProto.INT4, [3], [1, -2, 3]),
        helper.make_tensor("complex", TensorProto.COMPLEX64, [2], [1 + 2j, 3j]),
        helper.make_tensor("text", TensorProto.STRING, [2], [b"a", b"b"]),
        helper.make_tensor("whole", TensorProto.INT64, [], [7]),
        helper.make_tensor("flag", TensorProto.BOOL, [2], [True, False]),
        helper.make_tensor("none", TensorProto.FLOAT, [0, 4], []),
    ]
    model = _model([*tensors, onnx.numpy_helper.from_array(VALUES, "w")])
    path = _save(tmp_path, model)
    assert files.kind(path) == "onnx"
    assert files.read_onnx(path) == model


def test_external_data_comes_inside_and_runs(secret):
    path = _save(secret, _model([_external(offset=16)]))
    model = files.read_onnx(path)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), VALUES)
    assert not model.graph.initializer[0].external_data
    session = onnxruntime.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(session.run(None, {"x": np.zeros(4, np.float32)})[0], VALUES)


def test_external_data_in_a_subfolder_is_honest(secret):
    (secret / "weights").mkdir()
    (secret / "weights" / "w.bin").write_bytes(VALUES.tobytes())
    model = files.read_onnx(_save(secret, _model([_external("weights/w.bin")])))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), VALUES)


def test_what_onnx_itself_saves_is_honest(tmp_path):
    model = _model([onnx.numpy_helper.from_array(VALUES, "w")])
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    np.testing.assert_array_equal(
        onnx.numpy_helper.to_array(files.read_onnx(tmp_path / "net.onnx").graph.initializer[0]), VALUES
    )


def test_above_the_limit_tensors_stay_on_memory_maps(secret, monkeypatch):
    monkeypatch.setattr(reader, "MOST_INLINE", 10)
    (secret / "q.bin").write_bytes(bytes([0x21, 0x43]))
    tensors = [_external(offset=16), _external("q.bin", name="q", length=2, dims=(2, 2), kind=TensorProto.INT4)]
    model = files.read_onnx(_save(secret, _model(tensors)))
    assert isinstance(model, onnx_ir.Model)
    weight = model.graph.initializers["w"].const_value
    assert not isinstance(weight, onnx_ir.ExternalTensor)
    assert isinstance(weight.raw, np.memmap)
    np.testing.assert_array_equal(weight.numpy(), VALUES)
    np.testing.assert_array_equal(model.graph.initializers["q"].const_value.numpy().astype(np.int8), [[1, 2], [3, 4]])
    again = onnx_ir.to_proto(model)
    assert onnx.numpy_helper.to_array(again.graph.initializer[0]).tolist() == VALUES.tolist()


# Where external data may not lead


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "a/../../secret.bin", "./../secret.bin", "..\\secret.bin", "C:secret.bin", "", "w.bin\0.txt"],
)
def test_a_location_outside_is_refused(secret, location):
    _refused(secret, _external(location), "leads outside")


def test_an_absolute_location_is_refused(secret):
    _refused(secret, _external(str(secret.parent / "secret.bin")), "leads outside")
    _refused(secret, _external(str(secret / "w.bin"), offset=16), "leads outside")


def test_links_are_refused(secret):
    (secret / "file").symlink_to(secret.parent / "secret.bin")
    (secret / "folder").symlink_to(secret.parent)
    (secret / "inside").symlink_to(secret / "w.bin")
    os.link(secret.parent / "secret.bin", secret / "hard")
    for location, words in (("file", "link"), ("folder/secret.bin", "link"), ("inside", "link"), ("hard", "hard link")):
        _refused(secret, _external(location), words)


def test_a_pipe_and_a_folder_are_refused(secret):
    os.mkfifo(secret / "pipe")
    (secret / "sub").mkdir()
    _refused(secret, _external("pipe"), "not a regular file")
    _refused(secret, _external("sub"), "not a regular file")


def test_allow_root_lets_links_into_one_folder_and_no_further(tmp_path):
    cache, model = tmp_path / "cache", tmp_path / "cache" / "snapshot"
    (cache / "blobs").mkdir(parents=True)
    model.mkdir()
    (cache / "blobs" / "abc").write_bytes(VALUES.tobytes())
    (model / "w.bin").symlink_to("../blobs/abc")
    path = _save(model, _model([_external()]))
    with pytest.raises(UnsafeFile, match="unsafe external data"):
        files.read_onnx(path)
    found = files.read_onnx(path, allow_root=cache)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found.graph.initializer[0]), VALUES)
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    (model / "w.bin").unlink()
    (model / "w.bin").symlink_to("../../secret.bin")
    with pytest.raises(UnsafeFile, match="outside the allowed folder"):
        files.read_onnx(path, allow_root=cache)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"offset": -1}, "offset is '-1'"),
        ({"offset": 2**63 - 1}, "beyond the end"),
        ({"offset": "1e3"}, "offset"),
        ({"length": -16}, "length is '-16'"),
        ({"length": 2**63 - 1}, "its shape needs 16 bytes"),
        ({"length": 15}, "its shape needs 16 bytes"),
        ({"offset": 17}, "beyond the end"),
        ({"dims": (2**40, 2**40), "length": None}, "beyond the end"),
        ({"dims": (-4,), "length": None}, "negative size"),
        ({"__class__": "x"}, "key '__class__'"),
        ({"basepath": "/etc"}, "key 'basepath'"),
    ],
)
def test_lying_entries_are_refused(secret, changes, words):
    _refused(secret, _external(**changes), words)


def test_a_missing_data_file_is_named(secret):
    with pytest.raises(MissingFile, match=r"needs the data file 'gone.bin'"):
        files.read_onnx(_save(secret, _model([_external("gone.bin")])))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (TensorProto(name="w", data_type=1, dims=[-1], raw_data=bytes(16)), "negative size"),
        (TensorProto(name="w", data_type=1, dims=[2**40, 2**40], raw_data=bytes(16)), "does not fill its shape"),
        (TensorProto(name="w", data_type=1, dims=[5], raw_data=bytes(16)), "does not fill its shape"),
        (TensorProto(name="w", data_type=1, dims=[2**62], float_data=[1.0]), "does not fill its shape"),
        (TensorProto(name="w", data_type=8, dims=[9], string_data=[b"a"]), "does not fill its shape"),
    ],
)
def test_tensors_whose_shape_lies_are_refused(tmp_path, tensor, words):
    _refused(tmp_path, tensor, words)


# Every hiding place


def _constant(**attribute):
    return helper.make_node("Constant", [], ["w"], **attribute)


def _inner(tensor):
    return helper.make_graph([_constant(value=tensor)], "inner", [], [_value("w")])


def _sparse(tensor):
    tensor.name = tensor.name or "values"
    indices = helper.make_tensor("i", TensorProto.INT64, [4], range(4))
    return helper.make_sparse_tensor(tensor, indices, [4])


def _with(field, value):
    model = _model(nodes=[])
    if field == "sparse_initializer":
        model.graph.sparse_initializer.append(value)
    elif field == "training":
        model.training_info.add().algorithm.CopyFrom(value)
    return model


def _branch(tensor):
    return helper.make_node("If", ["c"], ["w"], then_branch=_inner(tensor), else_branch=_inner(tensor))


def _function_with(tensor):
    return helper.make_function("f", "F", [], ["w"], [_constant(value=tensor)], [helper.make_opsetid("", 18)])


def _loop(tensor):
    return helper.make_node("Loop", ["n", "c"], ["w"], body=helper.make_graph([_branch(tensor)], "body", [], []))


HIDING = {
    "initializer": lambda tensor: _model([tensor]),
    "constant": lambda tensor: _model(nodes=[_constant(value=tensor)]),
    "list of tensors": lambda tensor: _model(nodes=[helper.make_node("Odd", [], ["w"], values=[tensor])]),
    "sparse constant": lambda tensor: _model(nodes=[_constant(sparse_value=_sparse(tensor))]),
    "sparse initializer": lambda tensor: _with("sparse_initializer", _sparse(tensor)),
    "branch": lambda tensor: _model(nodes=[_branch(tensor)]),
    "branch in a loop": lambda tensor: _model(nodes=[_loop(tensor)]),
    "function": lambda tensor: _model(nodes=[], functions=[_function_with(tensor)]),
    "training": lambda tensor: _with("training", _inner(tensor)),
}


@pytest.mark.parametrize("place", HIDING)
def test_external_data_is_found_wherever_it_hides(secret, place):
    with pytest.raises(UnsafeFile, match="leads outside"):
        files.read_onnx(_save(secret, HIDING[place](_external("../secret.bin"))))
    honest = files.read_onnx(_save(secret, HIDING[place](_external(offset=16))))
    assert b"external" not in honest.SerializeToString()
    assert VALUES.tobytes() in honest.SerializeToString()


# Functions, nesting, broken files


def _function(name, *calls, within=None):
    nodes = [helper.make_node(call, ["x"], ["y"], domain="f") for call in calls]
    if within:
        graph = helper.make_graph(nodes, "t", [], [_value("y")])
        nodes = [helper.make_node("If", ["x"], ["y"], then_branch=[graph] if within == "list of graphs" else graph)]
    return helper.make_function("f", name, ["x"], ["y"], nodes, [helper.make_opsetid("f", 1)])


@pytest.mark.parametrize("within", [None, "graph", "list of graphs"])
def test_functions_in_a_ring_are_refused(tmp_path, within):
    ring = [_function("F", "G"), _function("G", "H", within=within), _function("H", "F")]
    with pytest.raises(UnsafeFile, match="ring"):
        files.read_onnx(_save(tmp_path, _model(functions=ring)))
    with pytest.raises(UnsafeFile, match="ring"):
        files.read_onnx(_save(tmp_path, _model(functions=[_function("F", "F", within=within)])))


def test_functions_that_share_another_are_honest(tmp_path):
    model = _model(nodes=[], functions=[_function("F", "G", "H"), _function("G", "H"), _function("H", "Relu")])
    assert files.read_onnx(_save(tmp_path, model)) == model


def test_functions_that_multiply_beyond_reason_are_refused(tmp_path):
    names = [f"F{i}" for i in range(30)]
    functions = [_function(a, b, b) for a, b in zip(names, [*names[1:], "Relu"], strict=True)]
    with pytest.raises(UnsafeFile, match="expands beyond"):
        files.read_onnx(_save(tmp_path, _model(functions=functions)))


def test_nesting_without_end_is_refused(tmp_path):
    message = b""
    for _ in range(40):
        for field in (6, 5, 1):  # graph of an attribute of a node of a graph
            message = _field(field, message)
    model = _field(7, message)
    assert files.kind(_save(tmp_path, model)) == "onnx"
    with pytest.raises(UnsafeFile, match="nested too deeply"):
        files.read_onnx(_save(tmp_path, model))


def _field(number, content):
    """A protobuf field with its length before it."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_a_truncated_file_is_a_clear_error_at_every_length(tmp_path):
    whole = _model([onnx.numpy_helper.from_array(VALUES, "w")]).SerializeToString()
    for keep in range(1, len(whole), 7):
        path = _save(tmp_path, whole[:keep])
        try:
            files.kind(path)
            files.read_onnx(path)
        except Usage as error:
            assert "truncated or damaged" in str(error)
        except UnsafeFile as error:
            assert "does not fill" in str(error)


def test_a_message_without_a_graph_is_no_model(tmp_path):
    with pytest.raises(Usage, match="truncated or damaged"):
        files.kind(_save(tmp_path, onnx.ModelProto(ir_version=8, producer_name="x")))


@given(
    weights=st.lists(
        st.tuples(
            st.sampled_from(["float32", "int64", "bool", "float16", "bfloat16", "float64"]),
            st.lists(st.integers(0, 40), max_size=3),
            st.sampled_from(["transposed", "as it is"]),
        ),
        max_size=4,
    )
)
def test_a_file_written_weight_by_weight_is_the_message(tmp_path_factory, weights):
    """Prefixes of one, two and three bytes, every type, no numbers at all, numbers in another order in memory."""
    graph = Graph()
    x = graph.input("x", (2,), np.float32)
    outputs = [x]
    for i, (name, shape, order) in enumerate(weights):
        array = np.random.default_rng(i).integers(0, 2, shape).astype(dtype(name))
        if order == "transposed":
            array = array.T
        outputs.append(graph.parameter(Parameter(f"w{i}", array.shape, array.dtype, lambda array=array: array, object())))
    graph.outputs, graph.output_names = outputs, [f"y{i}" for i in range(len(outputs))]
    folder = tmp_path_factory.mktemp("saved")
    model, _ = engine.build(graph)
    engine.save(model, folder / "built.onnx", graph)
    hollow, _ = engine.build_file(graph, folder / "streamed.onnx")
    assert onnx.load(folder / "built.onnx") == onnx.load(folder / "streamed.onnx") == model
    assert (folder / "built.onnx").stat().st_size == model.ByteSize()
    assert not any(tensor.raw_data for tensor in hollow.graph.initializer)
    assert len(model.graph.initializer) == len(weights)
