"""Noise is the identity at inference (R45, R51), and is still there for training where the target has such a layer."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, kinds, onnx_model
from native import Applied, in_keras
from onnx import helper, numpy_helper

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.noise import AlphaDropout, Dropout

rng = np.random.default_rng(2)
X = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)


LAYERS = {
    "Dropout": ({"rate": 0.3}, torch.nn.Dropout), "AlphaDropout": ({"rate": 0.3}, torch.nn.AlphaDropout),
    "GaussianDropout": ({"rate": 0.3}, torch.nn.Identity),
    "GaussianNoise": ({"stddev": 0.3}, torch.nn.Identity), "ActivityRegularization": ({"l1": 0.3,
    "l2": 0.1}, torch.nn.Identity), "SpatialDropout2D": ({"rate": 0.3}, torch.nn.Dropout2d),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_R45_keras_layers_are_the_identity_and_keep_their_names(name):
    settings, module = LAYERS[name]
    model = in_keras(getattr(keras.layers, name)(name="noise", **settings), X)
    graph = check(model, X)
    assert np.array_equal(graph.run(X)[0], X)
    assert isinstance(dict(li.convert(model, to="torch").named_modules())["noise"], module)
    layer = li.convert(model, to="keras").get_layer("noise")
    assert type(layer).__name__ == name and all(getattr(layer, k) == v for k, v in settings.items())
    assert not {n.op_type for n in li.convert(model, to="onnx").graph.node} - {"Identity", "Transpose"}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_R45_dropout_of_channels(rank):
    x = rng.standard_normal((2, 3, 4, 5, 6)[: rank + 2]).astype(np.float32)
    check(in_keras(getattr(keras.layers, f"SpatialDropout{rank}D")(0.3), x), x)
    module = getattr(torch.nn, f"Dropout{rank}d")(0.3)
    check(module.eval(), x)
    back = li.convert(li.convert(module, to="keras", example=(x,)), to="torch")
    assert [repr(m) for m in back.modules() if isinstance(m, type(module))] == [repr(module)]


@pytest.mark.parametrize(
    "module",
    [
        torch.nn.Dropout(0.3),
        torch.nn.AlphaDropout(0.3),
        torch.nn.FeatureAlphaDropout(0.3),
        torch.nn.Dropout(0.3, inplace=True),
    ],
    ids=repr,
)
def test_R45_torch_modules_in_evaluation(module):
    assert np.array_equal(check(module.eval(), X).run(X)[0], X)


@pytest.mark.parametrize(
    "function", [torch.nn.functional.dropout, torch.nn.functional.dropout2d, torch.nn.functional.alpha_dropout]
)
def test_R45_a_dropout_that_stays_active_is_refused(function):
    with pytest.raises(Refused, match="random"):
        li.load(Applied(lambda x: function(x, 0.3, training=True)), (X,))


def test_R45_it_drops_again_in_training():
    model = li.convert(in_keras(keras.layers.Dropout(0.5), X), to="torch")
    module = next(m for m in model.modules() if isinstance(m, torch.nn.Dropout))
    assert (module.train()(torch.ones(1000)) == 0).any() and module.p == 0.5


@pytest.mark.parametrize("opset, rate", [(1, 0.2), (6, 0.2), (7, 0.2), (10, 0.2), (7, None)])
def test_R45_onnx_dropout_with_its_rate_as_an_attribute(opset, rate):
    graph = check(onnx_model("Dropout", [X], opset=opset, **({} if rate is None else {"ratio": rate})), X, given=[X])
    assert [n.op for n in graph.nodes] == [Dropout(rate=0.5 if rate is None else rate)]


@pytest.mark.parametrize("opset", [12, 13])
@pytest.mark.parametrize("weights", [[], [np.float32(0.2)], [np.float32(0.2), np.asarray(False)]])
def test_R45_onnx_dropout_with_its_rate_as_an_operand(opset, weights):
    graph = check(onnx_model("Dropout", [X], weights, opset=opset), X)
    assert [n.op for n in graph.nodes] == [Dropout(rate=0.2 if weights else 0.5)]


def test_R45_an_onnx_dropout_in_training_is_refused():
    with pytest.raises(Refused, match="random"):
        li.load(onnx_model("Dropout", [X], [np.float32(0.2), np.asarray(True)], opset=13))


def test_R45_the_mask_of_an_onnx_dropout_is_true_everywhere():
    nodes = [helper.make_node("Dropout", ["x", "rate"], ["y", "mask"]), helper.make_node("Not", ["mask"], ["dropped"])]
    ports = [helper.make_tensor_value_info("x", 1, [2, 3]), helper.make_tensor_value_info("y", 1, [2, 3])]
    dropped = helper.make_tensor_value_info("dropped", 9, [2, 3])
    rate = numpy_helper.from_array(np.float32(0.2), "rate")
    graph = helper.make_graph(nodes, "g", ports[:1], [ports[1], dropped], [rate])
    x = np.asarray([[1.0, np.nan, np.inf], [0.0, -0.0, -2.0]], np.float32)
    found = li.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    assert not found.run(x)[1].any()


def test_a_noise_shape_is_left_out_and_said_so():
    model = in_keras(keras.layers.Dropout(0.3, noise_shape=(None, 1, 1, 5), name="bands"), X)
    assert any("bands" in note and "noise_shape" in note for note in li.load(model).notes)


def test_alpha_dropout_is_another_dropout():
    assert [n.op for n in li.load(in_keras(keras.layers.AlphaDropout(0.25), X)).nodes] == [AlphaDropout(rate=0.25)]


# --- R51: random changes of images ------------------------------------------------------------------------------------

IMAGES = {
    "AugMix": (), "CutMix": (), "MixUp": (), "RandAugment": (), "RandomBrightness": (0.2,),
    "RandomColorDegeneration": (0.5,), "RandomColorJitter": (), "RandomContrast": (0.2,),
    "RandomElasticTransform": (), "RandomErasing": (), "RandomFlip": (), "RandomGaussianBlur": (),
    "RandomGrayscale": (), "RandomHue": (0.3,), "RandomInvert": (), "RandomPerspective": (),
    "RandomPosterization": (3,), "RandomRotation": (0.2,), "RandomSaturation": (0.5,), "RandomSharpness": (0.5,),
    "RandomShear": (), "RandomTranslation": (0.1, 0.1), "RandomZoom": (0.2,), "Solarization": (),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_R51_random_changes_of_images_are_the_identity_in_predict(name):
    x = rng.uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    model = in_keras(getattr(keras.layers, name)(*IMAGES[name]), x)
    graph = li.load(model)
    assert np.array_equal(graph.run(x)[0], x) and np.array_equal(model.predict(x, verbose=0), x)
    assert kinds(graph) == []


def test_identities_vanish():
    inputs = keras.Input((3, 4))
    y = keras.layers.Activation("linear")(keras.layers.Identity()(keras.ops.stop_gradient(inputs)))
    assert kinds(li.load(keras.Model(inputs, keras.layers.ReLU()(y)))) == ["Relu"]
    chain = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(), torch.nn.Identity())
    assert kinds(li.load(chain, (X,))) == ["Relu"]
    assert kinds(li.load(Applied(lambda x: torch.relu(x.detach().clone()).contiguous()), (X,))) == ["Relu"]
