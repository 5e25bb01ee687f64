"""What went wrong with LeakyReLU's slope in other tools, each as a check on the conversions here."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import torch
from family_checks import onnx_model
from native import Applied, in_keras
from onnx import TensorProto, helper, numpy_helper

import leaky_interop as li
from leaky_interop.numeric import same_bits
from leaky_interop.ops.activation import LeakyRelu

FRAMEWORKS = ("keras", "torch", "onnx")
SLOPE = 0.37  # nobody's default
X = np.asarray([[-100.0, -7.0, -1.0, -0.25, 0.0, 0.25, 1.0, 7.0, 100.0]], np.float32)
layers, ops = keras.layers, keras.ops


class Bug(NamedTuple):
    link: str  # on https://github.com
    wrong: str  # what the tool did
    check: Callable[[], None]


def bent(x, slope):
    return np.where(x < 0, x * x.dtype.type(slope), x)


def slopes(model, x=X):
    return [n.op.negative_slope for n in li.load(model, (x,)).nodes if isinstance(n.op, LeakyRelu)]


def computes(model, expected, x=X, targets=FRAMEWORKS):
    """Every framework's version gives these numbers."""
    for target in targets:
        made = li.convert(model, target, example=(x,))
        np.testing.assert_allclose(li.run(made, [x])[0], expected, rtol=1e-6, atol=0, err_msg=target)


def arrives(model, slope, x=X):
    """Every framework's version is one LeakyReLU of this slope, and computes it."""
    assert slopes(model, x) == [slope]
    computes(model, bent(x, slope), x)
    for target in FRAMEWORKS:
        assert slopes(li.convert(model, target, example=(x,)), x) == [slope], target


def leaky(slope=SLOPE, **settings):
    return torch.nn.LeakyReLU(slope, **settings)


def onnx_leaky(**attributes):
    return onnx_model("LeakyRelu", [X], opset=16, **attributes)


# --- the checks -------------------------------------------------------------------------------------------------------


def relu_with_a_slope_is_no_clip():
    model = in_keras(layers.ReLU(negative_slope=SLOPE), X)
    arrives(model, SLOPE)
    assert [n.op_type for n in li.convert(model, "onnx").graph.node] == ["LeakyRelu"]


def slope_counts_from_the_threshold():
    model = in_keras(layers.ReLU(negative_slope=SLOPE, threshold=1.5), X)
    computes(model, np.where(X > 1.5, X, (X - np.float32(1.5)) * np.float32(SLOPE)))


def all_of_keras_relu():
    model = in_keras(layers.ReLU(max_value=6.0, negative_slope=SLOPE, threshold=1.5), X)
    computes(model, np.where(X > 1.5, np.minimum(X, 6), (X - np.float32(1.5)) * np.float32(SLOPE)))


def missing_alpha():
    arrives(onnx_leaky(), 0.01)


def negative_inputs_tell_the_slope():
    for slope in (SLOPE, 0.1, 0.9):
        arrives(leaky(slope), slope)


def alpha_is_read():
    arrives(onnx_leaky(alpha=SLOPE), SLOPE)


def slope_is_no_cap():
    for target in FRAMEWORKS:
        made = li.convert(leaky(), target, example=(X,))
        assert li.run(made, [X])[0].max() == 100.0 and li.run(made, [X])[0].min() == np.float32(SLOPE) * np.float32(
            -100
        )


def keras_function_default():
    model = in_keras(keras.activations.leaky_relu, X)
    arrives(model, 0.2)
    (node,) = li.convert(model, "onnx").graph.node
    assert [a.name for a in node.attribute] == ["alpha"]


def number_of_the_product_not_of_the_sum():
    model = Applied(lambda x: torch.add(torch.maximum(x, SLOPE * x), torch.full((1,), 0.25), alpha=0.9))
    assert slopes(model) == [SLOPE]
    computes(model, bent(X, SLOPE) + np.float32(0.25) * np.float32(0.9))


def scaled_sum():
    model = Applied(lambda x: torch.add(torch.relu(x), torch.clamp(x, max=0), alpha=SLOPE))
    computes(model, bent(X, SLOPE))
    (node,) = li.load(model, (X,), fast_math=True).nodes
    assert node.op == LeakyRelu(negative_slope=SLOPE)


def defaults_of_the_source():
    arrives(Applied(torch.nn.functional.leaky_relu), 0.01)
    arrives(onnx_leaky(), 0.01)
    arrives(in_keras(layers.LeakyReLU(), X), 0.3)
    arrives(in_keras(layers.Activation("leaky_relu"), X), 0.2)


def relu_with_a_slope_stays_leaky():
    model = li.convert(in_keras(layers.ReLU(negative_slope=SLOPE, name="bent"), X), "torch")
    assert isinstance(dict(model.named_modules())["bent"], torch.nn.LeakyReLU)
    arrives(model, SLOPE)


def relu_with_a_slope_goes_round():
    model = in_keras(layers.ReLU(negative_slope=SLOPE), X)
    for target in FRAMEWORKS:
        arrives(li.convert(li.convert(model, target), "keras"), SLOPE)


def slope_of_darknet():
    arrives(leaky(0.1), 0.1)


def slope_is_always_written():
    """Where it is the target's own default too."""
    (node,) = li.convert(leaky(0.01), "onnx", example=(X,)).graph.node
    assert [a.name for a in node.attribute] == ["alpha"]
    model = li.convert(leaky(0.3), "keras", example=(X,))
    assert [
        row["config"]["negative_slope"] for row in model.get_config()["layers"] if row["class_name"] == "LeakyReLU"
    ] == [0.3]


def layer_and_function_have_two_defaults():
    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, [layers.LeakyReLU()(inputs), layers.Activation("leaky_relu")(inputs)])
    for target in FRAMEWORKS:
        assert sorted(slopes(li.convert(model, target))) == [0.2, 0.3]


def slope_of_a_fused_activation():
    image = np.random.default_rng(0).standard_normal((1, 5, 5, 2)).astype(np.float32)
    model = in_keras(layers.Conv2D(3, 3, activation=layers.LeakyReLU(SLOPE)), image)
    for target in FRAMEWORKS:
        made = li.convert(model, target)
        assert slopes(made, image) == [SLOPE]
        assert li.verify(model, made, [image]).passed


def slopes_outside_0_and_1():
    for slope in (-0.5, 1.5, 2.0, 10.0):
        arrives(leaky(slope), slope)
        arrives(onnx_leaky(alpha=slope), slope)


def a_maximum_is_no_slope_above_one():
    model = Applied(lambda x: torch.maximum(2 * x, x))
    assert not slopes(model) and not any(
        isinstance(n.op, LeakyRelu) for n in li.load(model, (X,), fast_math=True).nodes
    )
    computes(model, np.maximum(2 * X, X))
    assert "Max" not in {n.op_type for n in li.convert(leaky(2.0), "onnx", example=(X,)).graph.node}
    arrives(leaky(2.0), 2.0)


def a_maximum_is_no_array_of_slopes():
    model = Applied(lambda x: torch.maximum(torch.linspace(0.1, 2, 9) * x, x))
    assert not slopes(model)
    computes(model, np.maximum(torch.linspace(0.1, 2, 9).numpy() * X, X))


def slope_of_the_layer():
    for make in (lambda: leaky(), lambda: in_keras(layers.LeakyReLU(SLOPE), X), lambda: onnx_leaky(alpha=SLOPE)):
        arrives(make(), SLOPE)


def gradients(slope, **settings):
    """Of the converted network, left and right of 0: in torch, and in Keras where its backend is torch."""
    module = li.convert(torch.nn.Sequential(torch.nn.Identity(), leaky(slope, **settings)), "torch", example=(X,))
    models = [module]
    if keras.backend.backend() == "torch":
        models.append(li.convert(module, "keras", example=(X,)))
    for model in models:
        x = torch.tensor([[-2.0, -1e-3, 1e-3, 2.0, -1, -1, 1, 1, 1]], requires_grad=True)
        model(x).sum().backward()
        np.testing.assert_array_equal(x.grad[0, :4].numpy(), np.asarray([slope, slope, 1, 1], np.float32))


def gradient_in_place():
    for slope in (-0.5, 0.0, SLOPE):
        gradients(slope, inplace=True)


def gradient_of_slope_0():
    gradients(0.0)


def gradient_has_the_slope():
    gradients(SLOPE)
    gradients(1.5)


def quantised(kind, alpha, scales=(0.05, 0.021), zeros=(3, -7)):
    """Every code of an 8-bit type, against arithmetic on the numbers that the codes stand for."""
    codes = np.iinfo(kind)
    x = np.arange(codes.min, codes.max + 1).astype(kind)
    middle = 0 if kind == "int8" else 128
    (scale, out_scale), (zero, out_zero) = map(np.float32, scales), (z + middle for z in zeros)
    weights = [scale, np.asarray(zero, kind), out_scale, np.asarray(out_zero, kind)]
    model = onnx_model("QLinearLeakyRelu", [x], weights, opset=1, domain="com.microsoft", alpha=alpha)
    model.opset_import.append(helper.make_opsetid("", 16))
    y = bent((x.astype(np.float32) - np.float32(zero)) * scale, alpha) / out_scale
    expected = np.clip(np.round(y) + out_zero, codes.min, codes.max).astype(kind)
    assert len(np.unique(expected)) > 60  # it does not all saturate
    for target in FRAMEWORKS:
        assert np.array_equal(li.run(li.convert(model, target), [x])[0], expected), target


def quantised_with_two_scales():
    for kind in ("int8", "uint8"):
        for alpha in (SLOPE, 1.5):
            quantised(kind, alpha)


def quantised_below_zero():
    """Most codes stand for negative numbers."""
    quantised("int8", SLOPE, zeros=(100, 90))


def quantised_with_two_zeros():
    quantised("uint8", SLOPE, scales=(0.05, 0.05), zeros=(-20, 40))


def quantised_with_a_negative_slope():
    quantised("int8", -0.5)


def slope_given_as_a_tensor():
    arrives(Applied(lambda x: torch.where(x < 0, torch.tensor(SLOPE) * x, x)), float(str(np.float32(SLOPE))))
    (node,) = li.convert(Applied(lambda x: torch.maximum(x, torch.tensor(SLOPE) * x)), "onnx", example=(X,)).graph.node
    assert node.op_type == "LeakyRelu" and len(node.input) == 1


def cap_after_infinity():
    x = np.asarray([[np.inf, -np.inf, 3.0, 7.0]], np.float32)
    model = in_keras(layers.ReLU(max_value=6.0), x)
    computes(model, np.asarray([[6, 0, 3, 6]], np.float32), x)
    model = Applied(lambda t: torch.where(t > 0, t, SLOPE * t))
    computes(model, bent(x, SLOPE), x)


def negative_slopes_in_keras():
    with pytest.raises(ValueError):
        layers.LeakyReLU(-0.4)
    model = li.convert(leaky(-0.4), "keras", example=(X,))
    np.testing.assert_array_equal(li.run(model, [X])[0], bent(X, -0.4))
    arrives(model, -0.4)


def negative_slopes_as_functions():
    arrives(in_keras(lambda x: ops.leaky_relu(x, -0.4), X), -0.4)


def three_numbers_of_a_fused_product():
    w, b = (np.random.default_rng(1).standard_normal(s).astype(np.float32) for s in ((9, 4), (4,)))
    model = onnx_model(
        "FusedGemm", [X], [w, b], opset=1, domain="com.microsoft", activation="LeakyRelu", activation_alpha=SLOPE,
        alpha=0.5, beta=2.0,
    )  # fmt: skip
    model.opset_import.append(helper.make_opsetid("", 16))
    line = X.astype(float) @ w * 0.5 + b * 2.0
    for target in FRAMEWORKS:
        made = li.convert(model, target)
        np.testing.assert_allclose(li.run(made, [X])[0], np.where(line < 0, line * SLOPE, line), rtol=1e-4)
        assert slopes(made) == [SLOPE]


def nothing_is_cut_off_first():
    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, layers.LeakyReLU(SLOPE)(layers.Dense(9, kernel_initializer="identity")(inputs)))
    for target in FRAMEWORKS:
        assert [type(n.op).__name__ for n in li.load(li.convert(model, target), (X,)).nodes] == ["Dense", "LeakyRelu"]
    computes(model, bent(X, SLOPE))


def swapped_branches():
    model = Applied(lambda x: torch.where(x > 0, SLOPE * x, x))
    assert not slopes(model)
    computes(model, np.where(X > 0, np.float32(SLOPE) * X, X))
    (miss,) = li.inspect(model, (X,)).near_misses
    assert "swapped" in miss.reason


def float64_runs_in_onnxruntime():
    x = X.astype(np.float64)
    for opset in (None, 13, 15, 17, 20):
        made = li.convert(leaky().double(), "onnx", example=(x,), opset=opset)
        assert same_bits(li.run(made, [x])[0], np.where(x < 0, x * SLOPE, x)).all()


def minimum_of_a_negative_slope():
    model = Applied(lambda x: torch.relu(x) + torch.clamp(-0.5 * x, max=0))
    computes(model, np.maximum(X, 0) + np.minimum(X * np.float32(-0.5), 0))
    assert not any(isinstance(n.op, LeakyRelu) for n in li.load(model, (X,), fast_math=True).nodes)


def fault_reaches_the_end():
    """The mask that TensorFlow's exporter writes is not taken for the choice that it stands for, unless asked to."""
    names = [("Greater", ["x", "zero"], "c"), ("Cast", ["c"], "m"), ("Not", ["c"], "n"), ("Cast", ["n"], "o"),
             ("Mul", ["x", "slope"], "s"), ("Mul", ["s", "o"], "l"), ("Mul", ["x", "m"], "h"), ("Add", ["h", "l"], "y")]  # fmt: skip
    nodes = [helper.make_node(k, i, [o], **({"to": TensorProto.FLOAT} if k == "Cast" else {})) for k, i, o in names]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 9]) for n in "xy"]
    weights = [numpy_helper.from_array(np.float32(v), n) for n, v in (("zero", 0), ("slope", SLOPE))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = X.copy()
    x[0, 0], x[0, -1] = -np.inf, np.inf
    for fast_math, faults in ((False, 2), (True, 0)):
        made = li.convert(model, "torch", fast_math=fast_math)
        assert np.isnan(li.run(made, [x])[0]).sum() == faults


ROWS = [  # a tool's issue or pull request, what went wrong, and what is checked here
    Bug("onnx/keras-onnx/issues/584", "Keras' ReLU with a slope was written as Clip", relu_with_a_slope_is_no_clip),
    Bug(
        "apache/tvm/issues/3835", "the slope of Keras' ReLU did not count from the threshold",
        slope_counts_from_the_threshold,
    ),
    Bug("apache/tvm/pull/7259", "ONNX without alpha was an error", missing_alpha),
    Bug(
        "apache/tvm/pull/1218", "0.1 whatever was asked, and tests of positive numbers alone",
        negative_inputs_tell_the_slope,
    ),
    Bug("NeuralNetworkVerification/Marabou/issues/739", "alpha was not read", alpha_is_read),
    Bug("XiaoMi/mace/issues/587", "alpha was stored as the upper limit", slope_is_no_cap),
    Bug("microsoft/onnxconverter-common/pull/117", "three defaults for one function", keras_function_default),
    Bug(
        "onnx/onnxmltools/issues/295", "the number of the sum was taken for that of the product",
        number_of_the_product_not_of_the_sum,
    ),
    Bug("onnx/onnxmltools/pull/297", "the same, mended: a sum that scales one operand", scaled_sum),
    Bug("alibaba/heterogeneity-aware-lowering-and-optimization/pull/137", "a wrong default", missing_alpha),
    Bug("kendryte/nncase/pull/361", "a wrong default", defaults_of_the_source),
    Bug("apache/mxnet/pull/7702", "a ReLU with a slope became a plain one", relu_with_a_slope_stays_leaky),
    Bug("microsoft/MMdnn/pull/914", "a ReLU with a slope became a plain one", relu_with_a_slope_goes_round),
    Bug("jinyu121/DW2TF/issues/2", "Darknet's 0.1 became TensorFlow's 0.2", slope_of_darknet),
    Bug("xingwangsfu/caffe-yolo/issues/34", "Darknet's slope was not written into the file", slope_is_always_written),
    Bug(
        "Dobiasd/frugally-deep/issues/445", "the function had the layer's default",
        layer_and_function_have_two_defaults,
    ),
    Bug("opencv/opencv/pull/11425", "the slope did not reach the runtime", slope_of_a_fused_activation),
    Bug("openvinotoolkit/openvino/pull/6910", "slopes outside 0 to 1 were rejected", slopes_outside_0_and_1),
    Bug("tensorflow/tensorflow/issues/24566", "a maximum stood for slopes above 1", a_maximum_is_no_slope_above_one),
    Bug("PaddlePaddle/Paddle/pull/26216", "slopes above 1 were computed as a maximum", slopes_outside_0_and_1),
    Bug("ml-explore/mlx-swift/issues/122", "the layer had no slope of its own", slope_of_the_layer),
    Bug("pytorch/pytorch/issues/31938", "a wrong gradient in place, for negative slopes", gradient_in_place),
    Bug("pytorch/pytorch/issues/37345", "slope 0 was then refused in place", gradient_in_place),
    Bug("chainer/chainer/pull/5898", "the gradient of slope 0 was 1", gradient_of_slope_0),
    Bug("deeplearning4j/deeplearning4j/issues/8178", "the gradient left the slope out", gradient_has_the_slope),
    Bug(
        "tensorflow/tensorflow/pull/37279", "quantised: right for equal scales and slopes below 1 only",
        quantised_with_two_scales,
    ),
    Bug("apache/tvm/pull/11397", "quantised: tests from 0 to 1 did not see the slope", quantised_below_zero),
    Bug("apache/tvm/pull/12116", "quantised: input and result were taken to have one zero", quantised_with_two_zeros),
    Bug("KhronosGroup/NNEF-Tools/pull/97", "the slope was read as a tensor", slope_given_as_a_tensor),
    Bug("onnx/tensorflow-onnx/issues/1875", "a capped ReLU of infinity was NaN", cap_after_infinity),
    Bug("keras-team/keras/pull/18678", "a negative slope was taken and computed wrongly", negative_slopes_in_keras),
    Bug(
        "tensorflow/tensorflow/issues/61257", "negative slopes work, whatever is documented",
        negative_slopes_as_functions,
    ),
    Bug(
        "GPUOpen-ProfessionalCompute-Libraries/amdovx-modules/pull/218", "fused: the slope was stored as beta",
        three_numbers_of_a_fused_product,
    ),
    Bug("tflearn/tflearn/pull/784", "a ReLU came first", nothing_is_cut_off_first),
    Bug("BrainJS/brain.js/issues/560", "the branches were swapped", swapped_branches),
    Bug(
        "tensorflow/tflite-micro/pull/3404", "quantised: negative slopes were not supported",
        quantised_with_a_negative_slope,
    ),
    Bug("TencentARC/GFPGAN/issues/587", "onnxruntime has no float64 LeakyRelu", float64_runs_in_onnxruntime),
    Bug("PINTO0309/onnx2tf", "max(0, x) + min(0, s * x) stood for negative slopes", minimum_of_a_negative_slope),
    Bug("gmalivenko/onnx2keras", "alpha left out was a KeyError", missing_alpha),
    Bug("microsoft/MMdnn", "Keras' ReLU lost slope and threshold", all_of_keras_relu),
    Bug(
        "onnx/tensorflow-onnx", "an array of slopes was compared with 1 as if it were a number",
        a_maximum_is_no_array_of_slopes,
    ),
    Bug("onnx/tensorflow-onnx", "tf.where became a product with a mask: NaN at infinities", fault_reaches_the_end),
]  # fmt: skip


@pytest.mark.parametrize("bug", ROWS, ids=lambda bug: f"{bug.link.replace('/', ' ')} {bug.check.__name__}")
def test_it_does_not_happen_here(bug):
    bug.check()


def test_every_row_says_where_and_what():
    for bug in ROWS:
        assert bug.link.count("/") in (1, 3) and bug.wrong
    assert len({(b.link, b.check) for b in ROWS}) == len(ROWS)
