"""A planted fault turns the report red and is named; an honest conversion passes."""

import keras
import numpy as np
import pytest
import torch
from onnx import numpy_helper

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.judging import class_limits
from leaky_interop.numeric import rounding_limit
from leaky_interop.verification import verify_conversion

LAYERS = ("conv_a", "leaky_a", "norm", "conv_b", "leaky_b", "head")


def network(slopes=(0.3, 0.12)):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3), name="image"),
            layers.Conv2D(4, 3, strides=2, padding="same", name="conv_a"),
            layers.LeakyReLU(negative_slope=slopes[0], name="leaky_a"),
            layers.BatchNormalization(name="norm"),
            layers.Conv2D(5, 2, name="conv_b"),
            layers.LeakyReLU(negative_slope=slopes[1], name="leaky_b"),
            layers.Flatten(name="flatten"),
            layers.Dense(6, name="head"),
        ],
        name="small",
    )
    rng = np.random.default_rng(0)
    model.set_weights([np.abs(rng.standard_normal(w.shape)) + 0.5 if w.ndim == 1 else rng.standard_normal(w.shape) * 0.3 for w in model.get_weights()])
    return model


@pytest.mark.parametrize("io", ("as_source", "native"))
@pytest.mark.parametrize("to", ("keras", "torch", "onnx"))
def test_an_honest_conversion_passes_by_node_and_end_to_end(to, io):
    model = network()
    conversion = transfer_graph(li.load(model), to, io=io)
    report = verify_conversion(conversion)
    assert report.passed, str(report)
    assert {n.name for n in report.nodes} >= set(LAYERS)
    assert all(n.own is not None and n.accumulated is not None for n in report.nodes)
    assert li.verify(model, conversion.model).passed


def change_slope(model):
    model.leaky_b.negative_slope = 0.1


def swap_statistics(model):
    mean, variance = model.norm.running_mean.clone(), model.norm.running_var.clone()
    model.norm.running_mean.copy_(variance)
    model.norm.running_var.copy_(mean)


def change_epsilon(model):
    model.norm.eps = 1e-5


def drop_bias(model):
    model.conv_b.bias.data.zero_()


def flip_kernel(model):
    model.conv_a.weight.data = model.conv_a.weight.data.flip(-1)


def round_to_bfloat16(model):
    model.conv_a.weight.data = model.conv_a.weight.data.bfloat16().float()


def nudge_one_weight(model):
    model.head.weight.data[0, 0] += 1e-3


FAULTS = {
    change_slope: "leaky_b",
    swap_statistics: "norm",
    change_epsilon: "norm",
    drop_bias: "conv_b",
    flip_kernel: "conv_a",
    nudge_one_weight: "head",
    round_to_bfloat16: "conv_a",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_the_first_node_that_differs_is_named(fault):
    model = network()
    module = li.convert(model, to="torch")
    with torch.no_grad():
        fault(module)
    report = li.verify(model, module)
    assert not report.passed
    assert report.first_difference.name == FAULTS[fault]
    assert [n.name for n in report.nodes if not n.passed] == [FAULTS[fault]]  # only its own error is wrong


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_the_builders_own_verification_names_it_too(fault):
    conversion = transfer_graph(li.load(network()), "torch")
    with torch.no_grad():
        fault(conversion.model)
    report = verify_conversion(conversion)
    assert report.first_difference.name == FAULTS[fault]
    assert report.first_difference.adapter.startswith("leaky_interop/ops/")


@pytest.mark.parametrize("to", ["keras", "onnx"])
def test_terms_that_are_all_alike_round_one_way(to):
    """The errors of such a sum do not cancel: it is further off than others of its length, in every runtime."""
    module = torch.nn.Conv2d(256, 8, 3, stride=2)
    torch.nn.init.constant_(module.weight, 1 / 3)
    report = verify_conversion(transfer_graph(li.load(module, (torch.ones(1, 256, 9, 9),)), to), [np.full((1, 256, 9, 9), 0.7, np.float32)])
    assert report.passed, str(report)


def test_a_wrong_slope_in_an_onnx_file_is_named():
    model = network()
    proto = li.convert(model, to="onnx")
    node = next(n for n in proto.graph.node if n.name == "leaky_a")
    node.attribute[0].f = 0.01
    report = li.verify(model, proto)
    assert report.first_difference.name == "leaky_a"
    assert report.first_difference.own.absolute > 0.01


def test_the_users_arrays_and_tolerances_are_used():
    model = network()
    module = li.convert(model, to="torch")
    with torch.no_grad():
        module.head.bias.data += 1e-3
    x = np.random.default_rng(1).standard_normal((2, 9, 8, 3)).astype("f")
    report = li.verify(model, module, inputs=[x], atol=1e-2)
    assert [o.passed for o in report.outputs] == [True]
    assert report.draws == ("the given arrays",)
    assert not report.passed  # the node itself is still held to its class
    with pytest.raises(li.Usage, match="2 arrays are given"):
        li.verify(model, module, inputs=[x, x])


def test_models_that_cannot_be_compared_say_why():
    with pytest.raises(li.Usage, match=r"no layout makes them the same|cannot trace"):
        li.verify(network(), torch.nn.Conv2d(5, 5, 1), example=(np.zeros((1, 9, 8, 3), "f"),))


def test_slopes_are_in_the_report_with_their_origin():
    report = verify_conversion(transfer_graph(li.load(network()), "onnx"))
    found = {s.node: (s.value, s.stated) for s in report.slopes}
    assert found == {"leaky_a": (0.3, False), "leaky_b": (0.12, True)}
    assert report.transposes == ("Transpose(perm=(0, 3, 1, 2)) of image, at an input",)


def test_dynamic_batch_is_proved_by_several_batches():
    report = verify_conversion(transfer_graph(li.load(network()), "onnx"))
    assert {o.batch for o in report.outputs} == {1, 2, 3}
    assert {o.runtime for o in report.outputs} == {"onnxruntime", "onnxruntime, optimisations off"}


def test_a_batch_that_an_onnx_file_fixes_opens_when_asked():
    model = li.convert(network(), to="onnx", static_batch=True)
    before = model.SerializeToString()
    report = verify_conversion(transfer_graph(li.load(model, dynamic_batch=True), "torch"))
    assert report.passed, str(report)
    assert {o.batch for o in report.outputs} == {1, 2, 3}
    assert model.SerializeToString() == before  # the user's model keeps its batch


def test_open_sizes_are_drawn_large_enough():
    """Sixty-four steps would be less than one window."""
    layers = torch.nn.Conv1d(1, 2, 300, stride=100), torch.nn.LeakyReLU(0.2), torch.nn.Conv1d(2, 1, 9)
    long = torch.nn.Sequential(*layers)
    graph = li.load(long, (np.zeros((1, 1, 2000), "f"),), input_shapes=[(None, 1, None)])
    report = verify_conversion(transfer_graph(graph, "onnx"))
    assert report.passed, str(report)
    assert {o.shape[2] for o in report.outputs} == {30}  # 4096 steps are 38 windows, of which the second takes nine


@pytest.mark.parametrize("to", ("keras", "torch", "onnx"))
def test_tanh_of_every_size_is_within_its_limit(to):
    """Runtimes differ by five units in the last place."""
    x = np.linspace(-12, 12, 200_001, dtype="f").reshape(1, -1)
    graph = li.load(torch.nn.Sequential(torch.nn.Tanh()), (x,))
    report = verify_conversion(transfer_graph(graph, to), [x])
    assert report.passed, str(report)


def test_transposes_that_only_move_axes_of_one_are_not_reported():
    """One grey picture is the same numbers in either layout."""
    grey = keras.Sequential([keras.Input((9, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    report = verify_conversion(transfer_graph(li.load(grey), "torch"))
    assert report.passed and not [t for t in report.transposes if "at an input" in t]


@pytest.mark.parametrize("turned", [False, True])
def test_sizes_that_one_model_fixes_are_what_both_run(turned):
    """Batch, height and width fixed on one side; nodes without weights are still found by what they compute."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.LeakyReLU(0.2), layers.MaxPooling2D(), layers.GlobalAveragePooling2D()]
    )
    fixed = li.convert(model, to="onnx", static_batch=True, input_shapes=[(1, 9, 8, 3)])
    report = li.verify(*((fixed, model) if turned else (model, fixed)))
    assert report.passed, str(report)
    assert {n.op.partition("(")[0] for n in report.nodes} == {"Conv", "LeakyRelu", "MaxPool", "ReduceMean"}
    assert all(o.batch == 1 for o in report.outputs)


def test_a_sum_of_integers_that_differs_is_named():
    """Whole numbers have no rounding that could be allowed for."""
    class Sum(torch.nn.Module):
        def forward(self, x):
            return x.sum(1)

    conversion = transfer_graph(li.load(Sum(), (torch.arange(6).reshape(2, 3),)), "onnx")
    (axes,) = conversion.model.graph.initializer
    axes.CopyFrom(numpy_helper.from_array(np.array([0]), axes.name))
    report = verify_conversion(conversion, [np.arange(9).reshape(3, 3)])
    assert not report.passed and report.first_difference.rule == "sum"


@pytest.mark.parametrize(("dtype", "kept"), [("float32", False), ("float64", False), ("float16", True)])
def test_numbers_below_the_normal_ones_may_be_taken_for_zero(dtype, kept):
    """As some threads of TensorFlow do, operands and results; half precision runs in wider numbers. Others have no such leave."""
    low = float(np.finfo(dtype).smallest_normal)
    x = np.array([[low / 4, 1.0, -2.0, low / 2]], dtype)

    class Net(torch.nn.Module):
        def forward(self, x):
            return x * 3.0, x @ torch.full((4, 1), 5.0, dtype=x.dtype)

    graph = li.load(Net(), example=torch.from_numpy(x))
    products, total = graph.nodes
    zeroed = np.where(np.abs(x) < low, 0, x)
    (limit,) = class_limits(products, {"batch": 1}, [x, np.asarray(3.0, dtype)], [x * np.asarray(3, dtype)])
    off = np.abs(x.astype(float) * 3 - np.where(np.abs(zeroed * 3.0) < low, 0, zeroed * 3.0))
    assert (off > limit).any() == kept
    assert limit[0, 1] <= rounding_limit(np.asarray(3, dtype)) + low
    kernel = total.inputs[1].array()
    (limit,) = class_limits(total, {"batch": 1}, [x[:, [0, 0, 0, 0]], kernel], [x[:, :1] * 20])
    assert (limit < 20 * low / 4).any() == kept
