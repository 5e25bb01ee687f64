"""Triton's model repository: a configuration that parses as Triton's own message, and says what the network says."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.errors import Refused, Usage
from leaky_interop.model_repository import TYPES, config

pytestmark = pytest.mark.one_backend

# The fields that are written, with the numbers and types of Triton's model_config.proto; text of any other is an error.
STRING, INT32, INT64, MESSAGE, ENUM = 9, 5, 3, 11, 14
MESSAGES = {
    "ModelTensorReshape": [("shape", 1, INT64, True, None)],
    "ModelDynamicBatching": [],
    "ModelInput": [
        ("name", 1, STRING, False, None), ("data_type", 2, ENUM, False, ".DataType"), ("dims", 4, INT64, True, None),
        ("reshape", 5, MESSAGE, False, ".ModelTensorReshape"),
    ],
    "ModelOutput": [
        ("name", 1, STRING, False, None), ("data_type", 2, ENUM, False, ".DataType"), ("dims", 3, INT64, True, None),
        ("reshape", 5, MESSAGE, False, ".ModelTensorReshape"),
    ],
    "ModelConfig": [
        ("name", 1, STRING, False, None), ("max_batch_size", 4, INT32, False, None), ("input", 5, MESSAGE, True, ".ModelInput"),
        ("output", 6, MESSAGE, True, ".ModelOutput"), ("dynamic_batching", 11, MESSAGE, False, ".ModelDynamicBatching"),
        ("backend", 17, STRING, False, None),
    ],
}  # fmt: skip
KINDS = (
    "INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
    "STRING", "BF16",
)  # fmt: skip


def _config_class():
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", syntax="proto3")
    kinds = file.enum_type.add(name="DataType")
    for number, kind in enumerate(KINDS):
        kinds.value.add(name=f"TYPE_{kind}", number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, several, type_name in fields:
            message.field.add(name=field, number=number, type=kind, label=3 if several else 1, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ModelConfig"))


CONFIG = _config_class()


def parsed(text: str):
    return text_format.Parse(text, CONFIG())


def model(*shapes, kind=TensorProto.FLOAT, names="xyzuvw") -> onnx.ModelProto:
    """Every shape is that of an input, and of the output that repeats it."""
    inputs = [helper.make_tensor_value_info(n, kind, s) for n, s in zip(names, shapes, strict=False)]
    outputs = [helper.make_tensor_value_info(f"{n}_out", kind, s) for n, s in zip(names, shapes, strict=False)]
    nodes = [helper.make_node("Identity", [i.name], [o.name]) for i, o in zip(inputs, outputs, strict=True)]
    return helper.make_model(
        helper.make_graph(nodes, "net", inputs, outputs), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )


def dims(ports):
    return [list(port.dims) for port in ports]


def test_an_open_batch_is_tritons_own():
    made = parsed(config(model(["n", 3, "h", 5], ["n", 7]), "net", 16))
    assert (made.name, made.backend, made.max_batch_size) == ("net", "onnxruntime", 16)
    assert dims(made.input) == dims(made.output) == [[3, -1, 5], [7]]
    assert [p.name for p in made.output] == ["x_out", "y_out"]
    assert made.HasField("dynamic_batching")


@pytest.mark.parametrize(
    "shapes",
    [[[2, 3]], [["n", 3], ["m", 3]], [["n", 3], [4, 3]], [["n", 3], []], [[None, 3]], [["n", 3], [None, 3]]],
    ids=str,
)
def test_what_is_no_batch_of_all_is_part_of_the_shape(shapes):
    made = parsed(config(model(*shapes), "net", 16))
    assert made.max_batch_size == 0 and not made.HasField("dynamic_batching")
    assert dims(made.input) == [[d if isinstance(d, int) else -1 for d in s] or [1] for s in shapes]
    assert [p.HasField("reshape") for p in made.input] == [not s for s in shapes]


def test_rows_without_axes_are_reshaped():
    made = parsed(config(model(["n"]), "net"))
    assert made.max_batch_size == 32 and dims(made.input) == [[1]]
    assert made.input[0].HasField("reshape") and not made.input[0].reshape.shape


def test_no_batching_where_it_is_not_wanted():
    made = parsed(config(model(["n", 3]), "net", 0))
    assert made.max_batch_size == 0 and dims(made.input) == [[-1, 3]]


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type_is_tritons(kind):
    made = parsed(config(model(["n", 3], kind=getattr(TensorProto, kind)), "net"))
    assert (
        CONFIG.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number[made.input[0].data_type].name
        == f"TYPE_{TYPES[kind]}"
    )


def test_a_type_or_shape_that_triton_has_not_is_refused():
    with pytest.raises(Refused, match="x is of type COMPLEX64"):
        config(model(["n"], kind=TensorProto.COMPLEX64), "net")
    bare = model(["n"])
    bare.graph.input[0].type.tensor_type.ClearField("shape")
    bare.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(Refused, match="x has no shape"):
        config(bare, "net")


def test_an_output_without_a_shape_gets_the_one_that_follows():
    bare = model(["n", 3])
    bare.graph.output[0].type.tensor_type.ClearField("shape")
    assert dims(parsed(config(bare, "net")).output) == [[3]]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "é", "a]}"])
def test_any_name_of_a_port_survives(name):
    odd = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [name], ["y"])], "net",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        )
    )  # fmt: skip
    assert parsed(config(odd, "net")).input[0].name == name


def test_a_converted_network_runs_from_the_repository(tmp_path):
    import torch

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.LeakyReLU(0.3), torch.nn.Flatten(), torch.nn.LazyLinear(5)
    ).eval()
    x = torch.randn(2, 3, 6, 7)
    net(x)
    home = li.triton(net, tmp_path / "repository", "net", input_shapes=[(None, 3, 6, 7)], version=3, max_batch=7)
    assert home == tmp_path / "repository" / "net" and [p.name for p in sorted(home.iterdir())] == ["3", "config.pbtxt"]
    made = parsed((home / "config.pbtxt").read_text())
    session = onnxruntime.InferenceSession(home / "3" / "model.onnx", providers=["CPUExecutionProvider"])
    assert [p.name for p in made.input] == [p.name for p in session.get_inputs()]
    assert [p.name for p in made.output] == [p.name for p in session.get_outputs()]
    assert made.max_batch_size == 7 and dims(made.input) == [[3, 6, 7]] and dims(made.output) == [[5]]
    np.testing.assert_allclose(
        session.run(None, {made.input[0].name: x.numpy()})[0], net(x).detach().numpy(), atol=1e-5
    )


def test_the_command(tmp_path):
    onnx.save(model(["n", 3]), tmp_path / "my net.onnx")
    with pytest.raises(SystemExit) as end:
        main(["triton", str(tmp_path / "my net.onnx"), str(tmp_path / "r")])
    assert end.value.code == 2 and not (tmp_path / "r").exists()
    with pytest.raises(SystemExit) as end:
        main(["triton", str(tmp_path / "my net.onnx"), str(tmp_path / "r"), "--name", "my-net", "-q"])
    assert end.value.code == 0
    assert onnx.load(tmp_path / "r" / "my-net" / "1" / "model.onnx").graph == model(["n", 3]).graph


@pytest.mark.parametrize("options", [{"name": "../up"}, {"name": ""}, {"version": 0}, {"max_batch": -1}], ids=str)
def test_what_triton_could_not_read_is_refused(tmp_path, options):
    with pytest.raises(Usage):
        li.triton(model(["n", 3]), tmp_path, **options)
    assert not any(tmp_path.iterdir())
