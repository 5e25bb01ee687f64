"""What `inspect` says of a network, and that it says so even where something is not supported."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import leaky_interop as li
from leaky_interop import op
from leaky_interop.frameworks.torch import decompose

ONE_EACH = ["onnx", "keras", "torch"]


def keras_net() -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, activation="leaky_relu", name="conv1")(image)
    x = keras.layers.LeakyReLU(name="default")(x)
    x = keras.layers.LeakyReLU(negative_slope=0.25, name="stated")(x)
    x = keras.layers.PReLU(shared_axes=[1, 2], alpha_initializer="zeros", name="learned")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    model = keras.Model(image, {"map": x})
    model.get_layer("learned").set_weights([np.linspace(-0.5, 0.5, 4, dtype="float32").reshape(1, 1, 4)])
    return model


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.act = torch.nn.LeakyReLU(0.25)
        self.conv.bias.requires_grad_(False)

    def forward(self, image):
        return torch.nn.functional.leaky_relu(self.act(self.conv(image)))


def onnx_net(*nodes, inputs=(("x", ["batch", 4, 6, 6]),), output="y", opset=21, weights=()):
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs]
    out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "net", ports, [out], initializer=list(weights))
    made_by = {"producer_name": "a_test", "producer_version": "7"}
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **made_by)


@pytest.fixture(scope="module")
def inspected():
    leaky = [
        helper.make_node("LeakyRelu", ["x"], ["h"], name="left_out"),
        helper.make_node("LeakyRelu", ["h"], ["y"], name="stated", alpha=0.25),
    ]
    return {
        "keras": li.inspect(keras_net()),
        "torch": li.inspect(TorchNet(), example=(torch.zeros(2, 3, 8, 8),)),
        "onnx": li.inspect(onnx_net(*leaky)),
    }


def test_the_package_knows_the_verb():
    assert li.inspect.__module__ == "leaky_interop.inspection"


def test_ports_have_names_shapes_and_dtypes(inspected):
    assert [str(p) for p in inspected["keras"].inputs] == ["image  float32[batch, 8, 8, 3]"]
    assert [str(p) for p in inspected["keras"].outputs] == ["map  float32[batch, 6, 6, 4]"]
    assert [str(p) for p in inspected["torch"].inputs] == ["image  float32[batch, 3, 8, 8]"]
    assert [str(p) for p in inspected["onnx"].outputs] == ["y  float32[batch, 4, 6, 6]"]


def test_parameters_are_counted_once_with_their_flags(inspected):
    found = inspected["keras"]
    kernel, learned, norm = 3 * 3 * 3 * 4 + 4, 4, 4 * 4
    assert (found.parameters, found.trainable) == (kernel + learned + norm, kernel + learned + norm - 8)
    assert found.bytes == 4 * found.parameters
    assert (inspected["torch"].parameters, inspected["torch"].trainable) == (112, 108)


def test_tied_weights_count_once():
    layer = torch.nn.Linear(3, 3)
    model = torch.nn.Sequential(layer, torch.nn.LeakyReLU(), layer)
    assert li.inspect(model, example=(torch.zeros(2, 3),)).parameters == 12


def test_operators_are_counted_without_the_transposes_between_layouts(inspected):
    assert inspected["keras"].operators == {"BatchNorm": 1, "Conv": 1, "LeakyRelu": 3, "PRelu": 1}


def test_every_slope_says_what_decided_it(inspected):
    slopes = {s.node: (s.value, s.given) for s in inspected["keras"].slopes}
    default = "Keras' default, or stated with the same number: a Keras layer does not keep which"
    assert slopes == {
        "conv1_leaky_relu": (0.2, default),
        "default": (0.3, default),
        "stated": (0.25, "stated"),
        "learned": ((-0.5, 0.5), "weights of the network, smallest to largest"),
    }
    slopes = {s.node: (s.value, s.given) for s in inspected["onnx"].slopes}
    assert slopes == {
        "left_out": (0.01, "ONNX's default: the file leaves alpha out"),
        "stated": (0.25, "stated, in 32 bits"),
    }
    assert [(s.value, s.given) for s in inspected["torch"].slopes] == [
        (0.25, "stated"),
        (0.01, "PyTorch's default, or stated with the same number: torch.export does not keep which"),
    ]


def test_onnx_files_say_what_they_are_written_in(inspected):
    assert inspected["onnx"].format == {"opset": "ai.onnx 21", "IR": "10", "producer": "a_test 7"}
    assert inspected["keras"].format == inspected["torch"].format == {}


@pytest.mark.parametrize("framework", ONE_EACH)
def test_the_text_has_every_part_and_the_json_every_field(inspected, framework):
    found = inspected[framework]
    text = str(found)
    assert text.startswith(f"{found.model}\ninputs:\n  {found.inputs[0]}\noutputs:\n")
    for line in ("slopes:", "converts to:", "  keras: yes", "  torch: yes", "  onnx: yes", "parameters: "):
        assert line in text
    assert all(f"{s.node}  {s.value!r}" in text for s in found.slopes if isinstance(s.value, float))
    data = json.loads(found.to_json())
    assert data["parameters"] == found.parameters
    assert data["slopes"][0] == {"node": found.slopes[0].node, "value": found.slopes[0].value,
                                 "given": found.slopes[0].given, "origin": found.slopes[0].origin}  # fmt: skip


def test_a_path_is_inspected_as_its_model(tmp_path):
    li.convert(keras_net(), tmp_path / "net.onnx")
    found = li.inspect(tmp_path / "net.onnx")
    assert found.framework == "onnx"
    assert {s.node: s.value for s in found.slopes if isinstance(s.value, float)} == {
        "conv1_leaky_relu": 0.2, "default": 0.3, "stated": 0.25,
    }  # fmt: skip


# --- what is not supported --------------------------------------------------------------------------------------------


def test_everything_unsupported_is_listed_and_the_rest_is_shown(monkeypatch):
    monkeypatch.delitem(op.IMPORTERS, ("onnx", "LeakyRelu"))
    monkeypatch.delitem(op.IMPORTERS, ("onnx", "Reshape"))
    kernel = numpy_helper.from_array(np.zeros((5, 4, 1, 1), np.float32), "kernel")
    shape = numpy_helper.from_array(np.array([0, -1]), "shape")
    model = onnx_net(
        helper.make_node("LeakyRelu", ["x"], ["a"], name="act1"),
        helper.make_node("Conv", ["a", "kernel"], ["b"], name="conv"),
        helper.make_node("LeakyRelu", ["b"], ["c"], name="act2"),
        helper.make_node("Reshape", ["c", "shape"], ["y"], name="flat"),
        weights=[kernel, shape],
    )
    found = li.inspect(model)
    lines = [("LeakyRelu (opset 21)", "onnx LeakyRelu 'act1'"), ("LeakyRelu (opset 21)", "onnx LeakyRelu 'act2'"),
             ("Reshape (opset 21)", "onnx Reshape 'flat'")]  # fmt: skip
    assert list(found.unsupported) == lines
    assert found.operators == {"Conv": 1, "LeakyRelu (opset 21) (not read)": 2, "Reshape (opset 21) (not read)": 1}
    assert found.parameters == 20
    assert [str(p) for p in found.inputs] == ["x  float32[batch, 4, 6, 6]"]
    answer = "  torch: no, LeakyRelu (opset 21) is not read, Reshape (opset 21) is not read"
    assert answer in str(found).splitlines()


def test_a_complaint_about_what_could_not_be_read_does_not_hide_it(monkeypatch):
    monkeypatch.delitem(op.IMPORTERS, ("onnx", "Cast"))
    model = onnx_net(
        helper.make_node("Cast", ["size"], ["shape"], name="cast", to=TensorProto.INT64),
        helper.make_node("Reshape", ["x", "shape"], ["h"], name="flat"),
        helper.make_node("LeakyRelu", ["h"], ["y"], name="act"),
        inputs=(("x", ["batch", 4, 6, 6]), ("size", [2])),
    )
    found = li.inspect(model)  # reading the Reshape fails, because its shape is not known
    assert [place for _, place in found.unsupported] == ["onnx Cast 'cast'"]


def test_an_unsupported_keras_layer_does_not_hide_the_others(monkeypatch):
    monkeypatch.delitem(op.IMPORTERS, ("keras", "LeakyReLU"))
    monkeypatch.delitem(op.IMPORTERS, ("keras", "ops.LeakyRelu"))
    found = li.inspect(keras_net())
    assert [native for native, _ in found.unsupported] == ["ops.LeakyRelu", "ops.LeakyRelu"]
    assert found.operators["BatchNorm"] == found.operators["Conv"] == found.operators["PRelu"] == 1
    assert [str(p) for p in found.outputs] == ["map  float32[batch, 6, 6, 4]"]


def test_an_unsupported_torch_operator_does_not_hide_the_others(monkeypatch):
    monkeypatch.delitem(op.IMPORTERS, ("torch", "aten.leaky_relu.default"))
    monkeypatch.setattr(decompose, "_defined", lambda program, definition: program)  # torch knows what it is made of
    found = li.inspect(TorchNet(), example=(torch.zeros(2, 3, 8, 8),))
    assert [native for native, _ in found.unsupported] == ["aten.leaky_relu.default"] * 2
    assert found.operators == {"Conv": 1, "aten.leaky_relu.default (not read)": 2}
    assert [str(p) for p in found.outputs] == ["output  float32[batch, 4, 6, 6]"]


def test_operators_that_a_target_cannot_write_are_named_for_that_target(monkeypatch):
    (kind,) = {k for f, k in op.EXPORTERS if k.__name__ == "LeakyRelu" and f == "keras"}
    monkeypatch.delitem(op.EXPORTERS, ("keras", kind))
    found = li.inspect(keras_net())
    assert found.converts == {"keras": ("LeakyRelu",), "torch": (), "onnx": ()}
    assert "  keras: no, LeakyRelu is not written" in str(found).splitlines()
    assert "  onnx: yes" in str(found).splitlines()


# --- warnings ---------------------------------------------------------------------------------------------------------

PAD = "puts zeros directly before MaxPool"


def padded(*before, value=None, mode="constant", pads=(0, 0, 0, 0, 0, 0, 1, 1), source="x"):
    """A Pad and a MaxPool, behind other nodes."""
    weights = [numpy_helper.from_array(np.array(pads, np.int64), "pads")]
    inputs = [source, "pads"]
    if value is not None:
        weights.append(numpy_helper.from_array(np.float32(value), "value"))
        inputs.append("value")
    return onnx_net(
        *before,
        helper.make_node("Pad", inputs, ["p"], name="pad", mode=mode),
        helper.make_node("MaxPool", ["p"], ["y"], name="pool", kernel_shape=[2, 2]),
        weights=weights,
    )


LEAKY = helper.make_node("LeakyRelu", ["x"], ["h"], alpha=0.1)
SIGMOID = helper.make_node("Sigmoid", ["x"], ["h"])
MOVED = helper.make_node("Transpose", ["h"], ["t"], perm=[0, 1, 3, 2])


@pytest.mark.parametrize(
    ("model", "warns"),
    [
        (padded(), True),
        (padded(value=0), True),
        (padded(LEAKY, source="h"), True),
        (padded(LEAKY, MOVED, source="t"), True),
        (padded(SIGMOID, source="h"), False),
        (padded(SIGMOID, MOVED, source="t"), False),
        (padded(value=-np.inf), False),
        (padded(value=1), False),
        (padded(mode="reflect"), False),
        (padded(pads=[0] * 8), False),
    ],
    ids=["input", "zero", "leaky", "leaky_moved", "sigmoid", "sigmoid_moved", "inf", "one", "reflect", "no_pads"],
)
def test_zeros_before_a_max_pool_are_warned_of_where_values_may_be_negative(model, warns):
    found = li.inspect(model)
    assert [PAD in w for w in found.warnings] == [True] * warns
    assert ("warnings:" in str(found)) == warns


def test_a_verification_notes_the_warning_of_either_model():
    risky, safe = padded(), padded(SIGMOID, source="h")
    for first, second in ((risky, risky), (safe, safe)):
        report = li.verify(first, second)
        assert [PAD in note for note in report.notes] == [True] * (first is risky)


def test_an_old_pad_with_attributes_is_warned_of_too():
    model = onnx_net(
        helper.make_node("Pad", ["x"], ["p"], name="pad", pads=[0, 0, 0, 0, 0, 0, 1, 1]),
        helper.make_node("MaxPool", ["p"], ["y"], name="pool", kernel_shape=[2, 2]),
        opset=2,
    )
    from leaky_interop.frameworks.onnx import hazards

    assert len(hazards(model)) == 1


def test_channels_first_convolutions_are_warned_of_on_tensorflow(monkeypatch):
    layers = [
        keras.layers.Conv2D(4, 3, data_format="channels_first", name="first"),
        keras.layers.Conv2D(4, 3, data_format="channels_first", use_bias=False, name="no_bias"),
        keras.Sequential([keras.layers.Conv2DTranspose(4, 3, data_format="channels_first", name="inner")]),
        keras.layers.Permute((2, 3, 1)),
        keras.layers.Conv2D(4, 3, name="last"),
    ]
    model = keras.Sequential([keras.Input((3, 12, 12)), *layers])
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    from leaky_interop.frameworks.keras import hazards

    (warning,) = hazards(model)
    assert warning.startswith("first, inner: Keras on TensorFlow adds the bias")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert hazards(model) == []


def test_uneven_same_means_on_torch_are_a_hazard():
    import keras

    from leaky_interop.frameworks.keras import hazards

    def pooled(size, **how):
        x = keras.Input((size, size, 3))
        return keras.Model(x, keras.layers.AveragePooling2D(name="mean", **how)(x))

    uneven = hazards(pooled(5, pool_size=(2, 3), strides=2, padding="same"))
    assert [text.partition(":")[0] for text in uneven] == (["mean"] if keras.backend.backend() == "torch" else [])
    assert hazards(pooled(5, pool_size=3, strides=2, padding="same")) == []
    assert hazards(pooled(5, pool_size=2, strides=2)) == []


@pytest.mark.parametrize(("pads", "mode", "known"), [
    (((0, 0), (1, 1)), "symmetric", False),
    (((0, 0), (0, 2)), "symmetric", True),
    (((0, 0), (0, 2)), "reflect", False),
    (((1, 1),), "constant", True),
    (1, "reflect", True),
])  # fmt: skip
def test_pads_that_keras_on_torch_computes_otherwise_are_a_hazard(pads, mode, known):
    import keras

    from leaky_interop.frameworks.keras import hazards

    x = keras.Input(batch_shape=(3, 4))
    found = hazards(keras.Model(x, keras.ops.pad(x, pads, mode=mode)))
    assert len(found) == (1 if known and keras.backend.backend() == "torch" else 0)
