"""The verbs as users call them: what they take, what they give back, what they refuse, what they leave behind."""

import importlib.util

import keras
import numpy as np
import onnx
import pytest
import torch

import leaky_interop as li

RNG = np.random.default_rng(0)


def keras_net(**inputs):
    image = keras.Input((8, 8, 3), name="image", **inputs)
    y = keras.layers.Conv2D(4, 3, padding="same", name="conv")(image)
    y = keras.layers.LeakyReLU(name="leaky")(y)
    return keras.Model(image, keras.layers.Dense(5, name="head")(keras.layers.Flatten(name="flatten")(y)), name="net")


class Two(torch.nn.Module):
    """Two inputs, a dict of a tensor and a pair out; the second input may be left out by name."""

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(6, 4), torch.nn.Linear(3, 4)

    def forward(self, left, right):
        x, y = self.a(left), self.b(right)
        return {"sum": torch.nn.functional.leaky_relu(x + y), "parts": (x, y)}


def image(batch=2):
    return RNG.standard_normal((batch, 8, 8, 3)).astype("f")


def test_the_listing_reads_line_by_line_with_slopes():
    text = str(li.load(keras_net()))
    assert "LeakyRelu(negative_slope=0.3)" in text and "conv.kernel" in text
    assert text.splitlines()[0] == f"keras functional 'net' ({4 * 3 * 9 + 4 + 8 * 8 * 4 * 5 + 5:,} parameters)"


def test_inputs_have_names_and_outputs_their_structure():
    left, right = (RNG.standard_normal((2, n)).astype("f") for n in (6, 3))
    example = (torch.from_numpy(left), torch.from_numpy(right))
    network = Two().eval()
    model = li.convert(network, to="torch", example=example)
    found = model(right=example[1], left=example[0])
    assert set(found) == {"sum", "parts"} and isinstance(found["parts"], tuple)
    assert torch.equal(found["sum"], network(*example)["sum"])
    as_keras = li.convert(network, to="keras", example=example)
    structured = as_keras({"left": left, "right": right} if isinstance(as_keras.input, dict) else [left, right])
    assert set(structured) == {"sum", "parts"}
    proto = li.convert(network, to="onnx", example=example)
    assert [i.name for i in proto.graph.input] == ["left", "right"]
    assert [o.name for o in proto.graph.output] == ["sum", "parts_0", "parts_1"]
    by_name = li.run(proto, {"right": right, "left": left})
    for a, b in zip(by_name, li.run(network, [left, right]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("origin", ("torch", "keras"))
@pytest.mark.parametrize("to", ("torch", "keras", "onnx"))
def test_dict_outputs_are_compared_by_key(origin, to):
    """Keras goes by sorted keys, PyTorch by the order in the dict; one shape for all, so that a mix-up shows in numbers."""

    class Several(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.a, self.c = (torch.nn.Linear(3, 4) for _ in range(3))

        def forward(self, x):
            return {"b": self.b(x), "a": {"z": self.a(x), "c": self.c(x)}}

    model = Several().eval()
    if origin == "keras":
        x = keras.Input((3,), name="x")
        b, a, c = (keras.layers.Dense(4, name=name, bias_initializer="normal")(x) for name in "bac")
        model = keras.Model(x, {"b": b, "a": {"z": a, "c": c}})
    example = (torch.zeros(2, 3),) if origin == "torch" else None
    made = li.convert(model, to=to, example=example, verify=True)
    assert li.verify(model, made, example=example).passed
    assert li.verify(made, model, example=example).passed
    given = np.random.default_rng(0).standard_normal((2, 3)).astype("f")
    names = li.load(model, example=example).output_names
    assert sorted(names) == ["a.c", "a.z", "b"] and (names[0] == "b") == (origin == "torch")
    expected = dict(zip(names, li.run(model, given), strict=True))
    if to == "onnx":
        assert [o.name for o in made.graph.output] == names
        return
    found = made(torch.from_numpy(given)) if to == "torch" else made(given, training=False)
    for name, array in (("b", found["b"]), ("a.z", found["a"]["z"]), ("a.c", found["a"]["c"])):
        array = array.detach().numpy() if to == "torch" else keras.ops.convert_to_numpy(array)
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


def test_keras_dict_inputs_go_by_key():
    b, a = keras.Input((3,), name="b"), keras.Input((2,), name="a")
    y = keras.layers.Dense(4, name="d")(keras.layers.Concatenate(name="join")([b, a]))
    model = keras.Model({"b": b, "a": a}, {"out": y, "again": keras.layers.LeakyReLU(0.2, name="act")(y)})
    proto = li.convert(model, to="onnx")
    arrays = {"a": RNG.standard_normal((2, 2)).astype("f"), "b": RNG.standard_normal((2, 3)).astype("f")}
    expected = model(arrays, training=False)
    found = dict(zip([o.name for o in proto.graph.output], li.run(proto, arrays), strict=True))
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], keras.ops.convert_to_numpy(value), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("to", ("keras", "torch", "onnx"))
def test_the_batch_is_dynamic_unless_it_is_fixed(to):
    model = li.convert(keras_net(), to=to)
    for batch in (1, 2, 7):
        assert li.run(model, image(batch))[0].shape == (batch, 5)
    graph = li.load(keras_net(), static_batch=True)
    assert graph.inputs[0].shape[0] == 1
    fixed = keras_net(batch_size=3)
    assert li.load(fixed).inputs[0].shape == (3, 8, 8, 3)
    opened = li.convert(fixed, to=to, dynamic_batch=True)
    assert li.run(opened, image(5))[0].shape == (5, 5)


def test_torch_batch_is_dynamic_from_an_example_of_one():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.LeakyReLU(0.1), torch.nn.Flatten(), torch.nn.Linear(144, 2))
    proto = li.convert(network, to="onnx", example=(torch.zeros(1, 3, 8, 8),))
    assert li.run(proto, RNG.standard_normal((5, 3, 8, 8)).astype("f"))[0].shape == (5, 2)
    by_shape = li.convert(network, to="onnx", input_shapes={"input": (None, 3, 8, 8)})
    assert by_shape.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    static = li.convert(network, to="onnx", example=(torch.zeros(2, 3, 8, 8),), static_batch=True)
    assert static.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    assert network.training  # the user's modes are as they were


@pytest.mark.parametrize("suffix", (".onnx", ".keras", ".pt2", ".safetensors"))
def test_files_are_written_verified_and_read_again(tmp_path, suffix):
    model = keras_net()
    path = tmp_path / f"net{suffix}"
    report = li.convert(model, path)
    assert report.passed and report.nodes and report.outputs
    if suffix == ".safetensors":
        spec = importlib.util.spec_from_file_location("net", tmp_path / "net.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        again = module.load()
        assert torch.equal(again(torch.from_numpy(image())).shape and again(torch.ones(3, 8, 8, 3)), li.convert(model, "torch")(torch.ones(3, 8, 8, 3)))
        assert "leaky_interop." not in (tmp_path / "net.py").read_text(encoding="utf-8")
    else:
        assert li.verify(model, path).passed
        assert li.run(path, image(4))[0].shape == (4, 5)


def test_fresh_models_convert_without_having_been_called():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="leaky_relu")])
    assert "LeakyRelu(negative_slope=0.2)" in str(li.load(model))
    unbuilt = keras.Sequential([keras.layers.Dense(3), keras.layers.LeakyReLU()])
    with pytest.raises(li.Usage, match="needs an example"):
        li.load(unbuilt)
    assert "LeakyRelu(negative_slope=0.3)" in str(li.load(unbuilt, input_shapes=[(None, 5)]))


class Scaled(keras.layers.Layer):
    """A custom layer made of keras.ops, with weights that no adapter knows."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", initializer="random_normal")

    def call(self, x):
        return keras.ops.leaky_relu(x * self.scale, 0.17) + keras.ops.ones((3,))


def test_custom_layers_of_keras_operations_need_no_registration():
    x = keras.Input((3,))
    model = keras.Model(x, Scaled(name="scaled")(x))
    module = li.convert(model, to="torch", verify=True)
    assert dict(module.named_parameters())["scaled.scale"].requires_grad


def test_a_subclassed_model_is_traced():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, name="conv")
            self.head = keras.layers.Dense(2, name="head", activation=keras.layers.LeakyReLU(0.2))

        def call(self, x):
            y = self.conv(x)
            return self.head(keras.ops.reshape(y, (keras.ops.shape(y)[0], -1)))

    model = Net()
    proto = li.convert(model, to="onnx", example=(image(),), verify=True)
    assert li.run(proto, image(7))[0].shape == (7, 2)


def test_shared_layers_stay_shared_and_tied_weights_tied():
    shared = keras.layers.Dense(4, name="shared")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    model = keras.Model([a, b], keras.layers.Add(name="add")([shared(a), shared(b)]))
    module = li.convert(model, to="torch")
    assert sorted(dict(module.named_parameters())) == ["shared.bias", "shared.weight"]
    assert len(li.convert(model, to="onnx").graph.initializer) == 2
    again = li.convert(module, to="keras")
    assert sum("shared" in layer.name for layer in again.layers) == 1

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.nn.functional.leaky_relu(self.first(x)))

    tied = li.convert(Tied(), to="torch", example=(torch.zeros(2, 4),))
    assert tied.first.weight is tied.second.weight
    assert len(li.convert(Tied(), to="onnx", example=(torch.zeros(2, 4),)).graph.initializer) == 3


def test_trainable_flags_go_along_and_through_onnx():
    model = keras_net()
    model.get_layer("conv").trainable = False
    module = li.convert(model, to="torch")
    assert not module.conv.weight.requires_grad and module.head.weight.requires_grad
    again = li.convert(li.convert(model, to="onnx"), to="keras")
    assert not again.get_layer("conv").trainable and again.get_layer("head").trainable


class Strange(torch.nn.Module):
    def forward(self, x):
        return torch.special.airy_ai(x) + torch.special.bessel_j0(x).sum()


def test_all_that_is_unsupported_is_listed_at_once():
    with pytest.raises(li.Unsupported) as caught:
        li.convert(Strange(), to="onnx", example=(torch.zeros(3, 3),))
    assert "airy" in str(caught.value) and "bessel" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_failed_conversion_leaves_the_target_as_it_was(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"the earlier file")
    with pytest.raises(li.Unsupported):
        li.convert(Strange(), path, example=(torch.zeros(3, 3),))
    assert path.read_bytes() == b"the earlier file" and [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_a_wrong_call_says_what_is_wrong(tmp_path):
    with pytest.raises(li.Usage, match="is no model"):
        li.load(42)
    with pytest.raises(FileNotFoundError):
        li.load(tmp_path / "missing.onnx")
    with pytest.raises(li.Usage, match="is not understood"):
        li.convert(keras_net(), tmp_path / "net.caffemodel")
    with pytest.raises(li.Usage, match="needs an example"):
        li.load(torch.nn.Linear(2, 2))
    with pytest.raises(li.Usage, match="io="):
        li.convert(keras_net(), to="torch", io="sideways")
    with pytest.raises(li.Usage, match="takes"):
        li.load(keras_net(), input_shapes={"image": (None, 9, 8, 3)})


def test_an_onnx_file_is_lean_and_says_where_it_came_from():
    proto = li.convert(keras_net(), to="onnx", opset=17)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == 17 and proto.ir_version <= 13
    assert [n.op_type for n in proto.graph.node] == ["Transpose", "Conv", "LeakyRelu", "Flatten", "Gemm"]
    sources = [p.value for n in proto.graph.node for p in n.metadata_props]
    assert "keras LeakyReLU 'leaky'" in sources
    assert [n.name for n in proto.graph.node][1:3] == ["conv", "leaky"]


def test_a_model_that_does_not_fit_itself_says_where():
    """The operator's own complaint, and the node that it is about."""
    from onnx import helper

    slope = helper.make_tensor("slope", onnx.TensorProto.FLOAT, [7], [0.1] * 7)
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="fine"), helper.make_node("PRelu", ["r", "slope"], ["y"], name="bent")]
    ports = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, 3]) for n in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:], [slope]), ir_version=10)
    with pytest.raises(li.Usage, match=r"the operands do not fit the operator at onnx PRelu 'bent'.*\(7,\)"):
        li.load(model)
