"""Cutting networks: the part computes what the source computes there, in the source's layout, in every target."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop import op
from leaky_interop.converting import transfer_graph
from leaky_interop.cutting import _inverse, cut
from leaky_interop.frameworks.torch import decompose
from leaky_interop.sizes import symbol
from leaky_interop.verification import verify_conversion

TARGETS = ("keras", "torch", "onnx")
H, S = symbol("h"), symbol("s")
IMAGE = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)


def keras_net() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv1")(image)
    x = skip = keras.layers.LeakyReLU(name="act1")(x)
    x = keras.layers.Conv2D(4, 1, name="conv2")(x)
    x = keras.layers.Add(name="add")([x, skip])
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, keras.layers.Dense(5, name="logits")(x))


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.act = torch.nn.LeakyReLU(0.3)

    def forward(self, x):
        return self.act(self.conv(x))


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.conv2 = torch.nn.Conv2d(4, 4, 1)
        self.head = torch.nn.Linear(36, 5)

    def forward(self, image):
        skip = self.encoder(image)
        return self.head((self.conv2(skip) + skip).flatten(1))


def torch_net() -> TorchNet:
    torch.manual_seed(0)
    return TorchNet().eval()


def loaded(framework: str):
    """A graph, and how to compute the value of a layer in the framework itself."""
    if framework == "keras":
        model = keras_net()
        return li.load(model), lambda name: li.run(keras.Model(model.inputs, model.get_layer(name).output), [IMAGE])[0]
    if framework == "torch":
        model, image = torch_net(), torch.from_numpy(IMAGE).permute(0, 3, 1, 2).contiguous()

        def value(name: str):
            seen = {}
            hook = model.get_submodule(name).register_forward_hook(lambda *call: seen.update(out=call[2]))
            model(image)
            hook.remove()
            return seen["out"].detach().numpy()

        return li.load(model, example=(image,)), value
    model = li.convert(keras_net(), to="onnx")

    def computed(name: str):
        part = onnx.ModelProto()
        part.CopyFrom(model)
        part.graph.output.append(onnx.ValueInfoProto(name=name))
        return li.run(part, [IMAGE])[-1]

    return li.load(model), computed


LAYERS = {  # where each network is cut: a place inside, one with another order of features, its end
    "keras": ("act1", "flatten", "logits"),
    "torch": ("encoder.act", "conv2", "head"),
    "onnx": ("act1", "conv2", "output"),
}


def verified(graph, target: str, **options):
    """The part in a target, after it has proved to compute what the source does."""
    conversion = transfer_graph(graph, target, **options)
    report = verify_conversion(conversion)
    assert report.passed, str(report)
    assert report.nodes
    return conversion.model


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", TARGETS)
def test_a_feature_extractor_gives_the_layers_own_values(source, target):
    graph, value = loaded(source)
    for name in LAYERS[source][:2]:
        part = cut(graph, outputs=[name])
        assert part.output_names == [name]
        model = verified(part, target)
        image = IMAGE.transpose(0, 3, 1, 2) if source == "torch" else IMAGE
        (got,) = li.run(model, [image])
        np.testing.assert_allclose(got, value(name), rtol=0, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", TARGETS)
def test_a_head_continues_from_the_layers_own_values(source, target):
    graph, value = loaded(source)
    for start in LAYERS[source][:2] if source == "keras" else LAYERS[source][:1]:
        part = cut(graph, inputs=[start], outputs=[LAYERS[source][2]])
        assert [v.name for v in part.inputs] == [start]
        model = verified(part, target)
        (got,) = li.run(model, [value(start)])
        np.testing.assert_allclose(got, value(LAYERS[source][2]), rtol=0, atol=1e-5)


def test_a_part_holds_only_what_it_needs():
    graph, _ = loaded("keras")
    part = cut(graph, inputs=["act1"], outputs=["add"])
    assert [type(n.op).__name__ for n in part.nodes if n.name] == ["Conv", "Add"]
    assert {p.name for p in part.parameters()} == {"conv2.kernel", "conv2.bias"}
    assert "cut to add" in part.description


def test_several_inputs_and_outputs_keep_their_order_and_names():
    graph, value = loaded("keras")
    part = cut(graph, inputs=["conv2", "act1"], outputs=["logits", "add"])
    assert [v.name for v in part.inputs] == ["conv2", "act1"]
    assert part.output_names == ["logits", "add"]
    logits, added = li.run(verified(part, "torch"), [value("conv2"), value("act1")])
    np.testing.assert_allclose(added, value("add"), rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits, value("logits"), rtol=0, atol=1e-5)


def test_the_parts_program_shows_what_it_was_given_in_place_of_what_the_source_computes():
    graph, value = loaded("keras")
    part = cut(graph, inputs=["act1"], outputs=["add"])
    given = value("act1") + 1
    seen = {}
    (out,) = part.program.run([given], seen.__setitem__)
    start, end = (v.anchor.key for v in (*part.program.starts, *part.program.ends))
    np.testing.assert_array_equal(seen[start], given)
    np.testing.assert_array_equal(seen[end], out)
    assert np.abs(out - value("add")).max() > 0.1


def test_nothing_named_leaves_the_network_as_it_is():
    graph, _ = loaded("keras")
    part = cut(graph)
    assert [n.op for n in part.nodes] == [n.op for n in graph.nodes]
    (whole,), (same,) = (li.run(transfer_graph(g, "onnx").model, [IMAGE]) for g in (graph, part))
    np.testing.assert_array_equal(same, whole)


def test_the_native_layout_is_the_targets_own():
    graph, value = loaded("keras")
    model = verified(cut(graph, inputs=["act1"], outputs=["add"]), "torch", io="native")
    (got,) = li.run(model, [np.ascontiguousarray(value("act1").transpose(0, 3, 1, 2))])
    np.testing.assert_allclose(got, value("add").transpose(0, 3, 1, 2), rtol=0, atol=1e-5)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_layer_with_an_activation_is_named_by_its_result():
    layers = [keras.layers.Conv2D(4, 3, activation="leaky_relu", name="conv"), keras.layers.Flatten(name="flat")]
    graph = li.load(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    assert type(cut(graph, outputs=["conv"]).nodes[-2].op).__name__ == "LeakyRelu"


def test_a_module_that_holds_layers_is_named_by_its_result():
    graph, _ = loaded("torch")
    by_module, by_layer = cut(graph, outputs=["encoder"]), cut(graph, outputs=["encoder.act"])
    assert str(by_module.nodes[-1]) == str(by_layer.nodes[-1])


def test_a_module_with_two_results_asks_for_one_of_them():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})

        def forward(self, x):
            return self.inner["a"](x) + self.inner["b"](x)

    graph = li.load(Two(), example=(torch.zeros(2, 3),))
    with pytest.raises(li.Usage, match=r"'inner' has several results\. Name one: inner\.a, inner\.b\."):
        cut(graph, outputs=["inner"])


def test_a_nested_keras_layer_is_found_under_its_own_name_and_the_native_one():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a__b")], name="inner")
    graph = li.load(keras.Sequential([keras.Input((4,)), inner, keras.layers.LeakyReLU(name="act")]))
    for name in ("inner.a.b", "inner.a__b", "inner"):
        assert [type(n.op).__name__ for n in cut(graph, outputs=[name]).nodes] == ["Dense"]


def test_a_shared_layer_is_named_call_by_call():
    shared, x = keras.layers.Dense(3, name="shared"), keras.Input((3,), name="x")
    graph = li.load(keras.Model(x, shared(keras.layers.LeakyReLU(name="act")(shared(x)))))
    assert len(cut(graph, outputs=["shared"]).nodes) == 1
    assert len(cut(graph, outputs=["shared_1"]).nodes) == 3


def test_an_onnx_value_is_named_as_the_file_names_it():
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy")
    nodes = [
        helper.make_node("LeakyRelu", ["x"], ["middle/value:0"], name="first", alpha=0.2),
        helper.make_node("LeakyRelu", ["middle/value:0"], ["y"], name="second", alpha=0.3),
    ]
    model = helper.make_model(helper.make_graph(nodes, "net", [x], [y]), opset_imports=[helper.make_opsetid("", 21)])
    for name in ("middle/value:0", "first"):
        part = cut(li.load(model), outputs=[name])
        assert [n.op.negative_slope for n in part.nodes] == [0.2]
        assert part.output_names == [name]


@pytest.mark.parametrize("name", ["conv_1", "Conv1", "cnv1"])
def test_an_unknown_name_is_answered_with_those_near_it(name):
    graph, _ = loaded("keras")
    with pytest.raises(li.Usage, match=rf"no value or layer '{name}' in keras .*\. Near it: .*conv1"):
        cut(graph, outputs=[name])


def test_inputs_that_do_not_suffice_are_refused_with_what_is_lacking():
    graph, _ = loaded("keras")
    lacking = "the cut network also needs 'image': its outputs do not follow from conv2 alone"
    with pytest.raises(li.Usage, match=lacking):
        cut(graph, inputs=["conv2"], outputs=["add"])


def test_an_input_that_is_not_needed_is_refused():
    graph, _ = loaded("keras")
    with pytest.raises(li.Usage, match="the input 'logits' is not needed: act1 can be computed without it"):
        cut(graph, inputs=["image", "logits"], outputs=["act1"])


def test_an_input_that_is_an_output_is_refused():
    graph, _ = loaded("keras")
    for outputs in (None, ["logits"]):
        with pytest.raises(li.Usage, match="'logits' is an input and an output of the cut network"):
            cut(graph, inputs=["logits"], outputs=outputs)


# --- around what is not supported -------------------------------------------------------------------------------------

LACKING = {"keras": ("LeakyReLU", "ops.LeakyRelu"), "torch": ("aten.leaky_relu.default",), "onnx": ("LeakyRelu",)}


def sources() -> dict:
    image = torch.from_numpy(IMAGE).permute(0, 3, 1, 2).contiguous()
    return {
        "keras": (keras_net(), {}),
        "torch": (torch_net(), {"example": (image,)}),
        "onnx": (li.convert(keras_net(), to="onnx"), {}),
    }


@pytest.mark.parametrize("source", TARGETS)
def test_the_parts_around_an_unsupported_operator_convert(source, monkeypatch):
    model, options = sources()[source]
    for native in LACKING[source]:
        monkeypatch.delitem(op.IMPORTERS, (source, native))
    monkeypatch.setattr(decompose, "_defined", lambda program, definition: program)  # torch knows what it is made of
    with pytest.raises(li.Unsupported) as raised:
        li.convert(model, to="onnx", **options)
    assert len(raised.value.missing) == 1
    unsupported = LAYERS[source][0]
    before = {"keras": "conv1", "torch": "encoder.conv", "onnx": "conv1"}[source]
    head = li.convert(model, to="onnx", cut_outputs=[before], verify=True, **options)
    tail = li.convert(model, to="onnx", cut_inputs=[unsupported], verify=True, **options)
    image = IMAGE.transpose(0, 3, 1, 2) if source == "torch" else IMAGE
    (first,) = li.run(head, [image])
    (whole,) = li.run(tail, [np.where(first >= 0, first, np.float32(0.3) * first)])
    np.testing.assert_allclose(whole, li.run(model, [image])[0], rtol=0, atol=1e-5)


def test_what_is_unsupported_inside_a_part_is_still_reported(monkeypatch):
    monkeypatch.delitem(op.IMPORTERS, ("onnx", "LeakyRelu"))
    with pytest.raises(li.Unsupported, match="1 operator has no adapter") as raised:
        li.convert(sources()["onnx"][0], to="onnx", cut_outputs=["conv2"])
    assert [row.native.partition(" ")[0] for row in raised.value.missing] == ["LeakyRelu"]


# --- sizes that are open ----------------------------------------------------------------------------------------------


def test_open_sizes_stay_open_where_the_part_can_tell_them():
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv1")(image)
    graph = li.load(keras.Model(image, keras.layers.LeakyReLU(name="act")(keras.layers.Conv2D(2, 3, name="conv2")(x))))
    part = cut(graph, inputs=["conv1"])
    assert [str(d) for d in part.inputs[0].shape] == ["batch", "conv1_1", "conv1_2", "4"]
    model = verified(part, "onnx")
    for size in (5, 12):
        assert li.run(model, [np.zeros((1, size, size + 1, 4), np.float32)])[0].shape == (1, size - 2, size - 1, 2)


def test_the_source_is_run_on_sizes_that_lead_to_the_given_ones():
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv1")(image)
    part = cut(li.load(keras.Model(image, keras.layers.LeakyReLU(name="act")(x))), inputs=["conv1"])
    given = np.zeros((3, 7, 9, 4), np.float32)
    (example,) = part.program.examples({part.program.starts[0].anchor.key: given})
    assert example.shape == (3, 15, 19, 3)
    assert part.program.run([given])[0].shape == given.shape


@pytest.mark.parametrize("strides", [1, 2, 3])
def test_what_depends_on_a_size_that_is_cut_off_is_said_in_terms_of_the_cut_values(strides):
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=strides, padding="same", name="conv1")(image)
    x = keras.layers.MaxPooling2D(3, 2, padding="same", name="pool")(x)  # its pads depend on the size
    graph = li.load(keras.Model(image, keras.layers.Reshape((-1, 4), name="rows")(x)))
    model = verified(cut(graph, inputs=["conv1"]), "onnx")
    for height, width in ((5, 8), (6, 7)):
        given = np.random.default_rng(0).standard_normal((2, height, width, 4)).astype(np.float32)
        (got,) = li.run(model, [given])
        (wanted,) = li.run(keras.Sequential([keras.Input((None, None, 4)), *graph.program.model.layers[2:]]), [given])
        np.testing.assert_array_equal(got, wanted)


def test_a_part_that_needs_a_size_of_what_is_cut_off_is_refused():
    class Grows(torch.nn.Module):
        def forward(self, image):
            half = torch.nn.functional.leaky_relu(image[:, :, ::2])
            return torch.cat([half, torch.ones(image.shape[0], 3, image.shape[2])], 2)  # odd or even: half cannot tell

    options = {"input_shapes": {"image": (None, 3, None)}}
    graph = li.load(Grows(), **options)
    with pytest.raises(li.Usage, match=r"the cut leaves a size open .*image_2, which .* Fix the sizes"):
        cut(graph, inputs=["leaky_relu"])
    assert verified(cut(graph, outputs=["leaky_relu"]), "onnx")


@pytest.mark.parametrize(
    ("size", "inverse"),
    [
        (H, S),
        (H - 2, S + 2),
        ((H + 1) // 2, 2 * S - 1),
        (H - H // 2, 2 * S - 1),
        (((H - 3) // 2 + 1 - 2) // 4, 8 * S + 5),
        (2 * H, S // 2),
        (3 * H + 1, (S - 1) // 3),
        (H * H, None),
        (H // 2 * 2, None),
    ],
    ids=str,
)
def test_the_inverse_of_a_size(size, inverse):
    assert _inverse(size, "h", S) == inverse


def test_integer_inputs_that_are_cut_off_get_examples_within_their_table():
    keras.utils.set_random_seed(1)
    words = keras.Input((6,), dtype="int32", name="words")
    x = keras.layers.Embedding(4, 3, name="table")(words)
    graph = li.load(keras.Model(words, keras.layers.LeakyReLU(name="act")(x)))
    verified(cut(graph, inputs=["table"]), "torch")
