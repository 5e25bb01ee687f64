"""Files: the systems themselves compute what is written, and what strangers hand in does no harm."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spelling_checks import TABLE, WRITTEN, only

import leaky_interop as li
from leaky_interop.errors import LeakyInteropError, UnsafeFile, Usage
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.spellings import files as files_of_slopes
from leaky_interop.spellings import read_file

# --- the frameworks themselves read what is written ----------------------------------------------------------------------

X = np.float32([-3.0, -0.5, -0.0, 0.0, 0.25, 7.0])
SLOPES = (0.2, 1 / 3, 1.5, -0.5, 0.0)


@pytest.mark.parametrize("slope", SLOPES)
def test_tensorflow_computes_what_is_written(slope):
    import tensorflow as tf

    made = TABLE["LeakyRelu operator"].write(LeakyRelu(negative_slope=slope), "act")
    definition = tf.compat.v1.GraphDef.FromString(made)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            result = session.run("act:0", {"x:0": X})
    np.testing.assert_array_equal(result, np.where(X > 0, X, np.float32(slope) * X))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.filterwarnings("ignore")
def test_tensorflow_lite_computes_what_is_written(slope):
    import tensorflow as tf

    made = TABLE["LEAKY_RELU"].write(LeakyRelu(negative_slope=slope), "act")
    interpreter = tf.lite.Interpreter(model_content=made)
    interpreter.allocate_tensors()
    ((source,), (target,)) = interpreter.get_input_details(), interpreter.get_output_details()
    assert target["name"] == "act"
    for x in X:
        interpreter.set_tensor(source["index"], x[None])
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(target["index"]), [x if x >= 0 else np.float32(slope) * x])


@pytest.mark.parametrize("slope", [*SLOPES, 1e-45, 1e38])
def test_openvino_computes_what_is_written(slope, tmp_path):
    openvino = pytest.importorskip("openvino")
    made = TABLE.of("openvino")[0].write(LeakyRelu(negative_slope=slope), "act")
    (tmp_path / "net.xml").write_text(made.xml)
    (tmp_path / "net.bin").write_bytes(made.bin)
    result = openvino.Core().compile_model(tmp_path / "net.xml", "CPU")(np.float32([-2, 0.5]))[0]
    np.testing.assert_array_equal(result, np.float32([-2 * np.float32(slope), 0.5]))


@pytest.mark.parametrize("slope", [*SLOPES, 1e-45, 1e38, 123456.789])
def test_ncnn_computes_what_is_written(slope, tmp_path):
    ncnn_itself = pytest.importorskip("ncnn")
    (tmp_path / "net.param").write_text(TABLE.of("ncnn")[0].write(LeakyRelu(negative_slope=slope), "act"))
    (tmp_path / "net.bin").write_bytes(b"")
    net = ncnn_itself.Net()
    net.opt.num_threads, net.opt.use_packing_layout = 1, False
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    assert net.load_param(str(tmp_path / "net.param")) == 0
    net.load_model(str(tmp_path / "net.bin"))
    extractor = net.create_extractor()
    data = ncnn_itself.Mat(np.float32([-2, 0.5])).clone()
    extractor.input("x", data)
    np.testing.assert_array_equal(np.array(extractor.extract("act")[1]), np.float32([-2 * np.float32(slope), 0.5]))


def test_coremltools_reads_what_is_written():
    model = pytest.importorskip("coremltools.proto.Model_pb2").Model
    network = model.FromString(TABLE["ActivationLeakyReLU"].write(LeakyRelu(negative_slope=0.3), "act"))
    assert network.neuralNetwork.layers[0].activation.leakyReLU.alpha == np.float32(0.3)
    program = model.FromString(TABLE["MIL leaky_relu"].write(LeakyRelu(negative_slope=0.3), "act"))
    constant, leaky = program.mlProgram.functions["main"].block_specializations["CoreML5"].operations
    assert constant.attributes["val"].immediateValue.tensor.floats.values[:] == [np.float32(0.3)]
    assert leaky.inputs["alpha"].arguments[0].name == constant.outputs[0].name


@pytest.mark.parametrize("slope", SLOPES)
def test_onnxruntime_computes_what_is_written(slope):
    made = TABLE["LeakyRelu"].write(LeakyRelu(negative_slope=slope))
    np.testing.assert_array_equal(li.run(made, [X])[0], LeakyRelu(negative_slope=slope).reference(X))


@pytest.mark.parametrize("slope", [0.2, 1 / 3, 1.5])
def test_a_float64_leaky_relu_of_onnx_has_the_number_that_32_bits_hold(slope):
    made = TABLE["LeakyRelu"].write(LeakyRelu(negative_slope=slope))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = 11  # DOUBLE
    (node,) = li.load(made).nodes
    assert node.op.negative_slope == only(TABLE["LeakyRelu"].read(made)).slope == float(np.float32(slope))


@pytest.mark.parametrize(
    "api", ["torch.nn.LeakyReLU", "torch.nn.functional.leaky_relu", "keras.layers.LeakyReLU", "keras.ops.leaky_relu"]
)
@pytest.mark.parametrize("slope", [0.2, 1 / 3, 1.5, 0.0])
def test_python_frameworks_compute_what_is_written(api, slope):
    import keras
    import torch

    scope = {"torch": torch, "keras": keras, "x": torch.from_numpy(X) if "torch" in api else X}
    exec(TABLE[api].write(LeakyRelu(negative_slope=slope), "act"), scope)
    made = scope["act"](scope["x"]) if callable(scope["act"]) and not hasattr(scope["act"], "shape") else scope["act"]
    result = keras.ops.convert_to_numpy(made) if "keras" in api else made.numpy()
    np.testing.assert_array_equal(result, LeakyRelu(negative_slope=slope).reference(X))


@pytest.mark.filterwarnings("ignore")
def test_what_tensorflows_converter_and_saved_models_hold_is_read(tmp_path):
    import tensorflow as tf

    class Net(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def __call__(self, x):
            inner = tf.raw_ops.LeakyRelu(features=x * 2.0, alpha=0.7, name="inner")
            return tf.nn.leaky_relu(inner, name="outer")

    tf.saved_model.save(Net(), tmp_path / "saved")
    assert [(f.name, f.slope) for f in read_file(tmp_path / "saved")] == [
        ("inner", np.float32(0.7)),
        ("outer", np.float32(0.2)),
    ]
    for quantised in (False, True):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
        if quantised:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([np.float32([[-1, 2, -3, 4]])] for _ in range(3))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        (tmp_path / "net.tflite").write_bytes(converter.convert())
        found = read_file(tmp_path / "net.tflite")
        assert [f.slope for f in found] == [np.float32(0.7), np.float32(0.2)]
        assert [f.note for f in found] == ["quantised: int8" if quantised else ""] * 2


# --- strangers' files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("entities.xml", b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><net>&b;</net>'),
        ("deep.xml", b"<net>" + b"<a>" * 5000),
    ],
)
def test_an_xml_that_would_grow_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnsafeFile):
        read_file(tmp_path / name)


DEEP = 200_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.py", "x = " + "(" * DEEP + ")" * DEEP), ("b.py", "x = " + "-" * DEEP + "1"), ("c.py", "x = (\x00"), ("d.py", "def"),
        ("e.json", "[" * DEEP), ("f.json", '{"nodes": [{"op": "LeakyReLU", "name": "a", "attrs": 3}]}'), ("g.json", "{}"),
        ("h.json", '{"class_name":' + "[" * DEEP), ("i.prototxt", "a {" * DEEP), ("j.xml", "<net"), ("k.tflite", "0000TFL3"),
        ("l.tflite", "\x10\0\0\0TFL3" + "\xff" * 64), ("m.pb", "not a graph"), ("n.mlmodel", "not a model"), ("o.param", "123"),
        ("p.param", "7767517\n1 1\nReLU a x y"), ("q.foo", "x"), ("r.tflite", "x"), ("s.cfg", ""), ("t.nnef", "\udcff"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("latin-1" if "\udcff" not in content else "utf-8", "surrogatepass"))
    with pytest.raises(Usage, match=name.replace(".", r"\.")):
        read_file(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        '"' + '\\"' * 100_000,
        "/*" * 100_000,
        "'\\" * 100_000,
        "leaky_relu(" * 30_000,
        "leakyrelu(" * 30_000 + ")" * 30_000,
        "1" * 300_000,
        "#=" * 100_000,
    ],
)
def test_no_text_takes_long(text):
    began = time.process_time()
    for api in ("leakyrelu", "leaky_relu", "tf.leakyRelu", "tf.layers.leakyReLU"):
        TABLE[api].read(text)
    assert time.process_time() - began < 20


def test_a_file_that_is_too_large_is_refused(tmp_path):
    with (tmp_path / "big.py").open("wb") as handle:
        handle.truncate(files_of_slopes.MOST_TEXT + 1)
    with pytest.raises(UnsafeFile, match="MiB"):
        read_file(tmp_path / "big.py")


BINARY = [row for row in WRITTEN if isinstance(row.write(LeakyRelu(negative_slope=row.only or 0.2)), bytes)]


@pytest.mark.parametrize("row", BINARY, ids=str)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_an_error_or_other_slopes_but_no_crash(row, data):
    content = bytearray(row.write(LeakyRelu(negative_slope=0.2)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        row.read(bytes(content))
    except LeakyInteropError:
        pass


def test_a_tflite_whose_lists_are_one_list_takes_no_time():
    """64 kB of subgraphs that all are the same one, with 64 kB of operators that all are the same one."""
    builder = pytest.importorskip("flatbuffers").Builder(0)

    def table(**fields):
        builder.StartObject(4)
        for slot, place in fields.values():
            builder.PrependUOffsetTRelativeSlot(slot, place, 0)
        return builder.EndObject()

    def vector(place):
        builder.StartVector(4, 16_000, 4)
        for _ in range(16_000):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()

    graph = table(operators=(3, vector(table())))
    model = table(codes=(1, vector(table())), graphs=(2, vector(graph)))
    builder.Finish(model, file_identifier=b"TFL3")
    began = time.process_time()
    with pytest.raises(Usage, match="more operators than the file"):
        TABLE["LEAKY_RELU"].read(bytes(builder.Output()))
    assert time.process_time() - began < 5
