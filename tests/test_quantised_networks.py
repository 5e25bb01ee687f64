"""Whole quantised networks, as onnxruntime's own quantiser and optimiser write them, to every framework and verified."""

import functools
import logging

import network_checks as checks
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused
from leaky_interop.ops.activation import LeakyRelu
from models import dcgan_discriminator

TARGETS = ("torch", "keras", "onnx")
SLOPES = (0.2, 0.07)
SHAPE = (2, 3, 8, 8)


@functools.cache
def network():
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(SLOPES[0]), nn.Conv2d(8, 8, 3, 1, 1, groups=4),
        nn.LeakyReLU(SLOPES[1]), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), nn.Softmax(-1),
    ).eval()  # fmt: skip


class Data(CalibrationDataReader):
    def __init__(self, name, shape):
        draw = np.random.default_rng(0)
        self.left = iter([{name: draw.standard_normal(shape).astype(np.float32)} for _ in range(3)])

    def get_next(self):
        return next(self.left, None)


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """The quantiser warns of every float that it leaves one."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def written(model, shape, path):
    """The network as an ONNX file, in the operator set that the quantiser keeps."""
    onnx.save(li.convert(model, to="onnx", example=(torch.zeros(shape),), opset=21), path)
    return path


def quantise(plain, path, shape, how, channels, activations, weights):
    """onnxruntime's own quantiser, calibrated on seeded numbers; activations are of no matter to the dynamic one."""
    kinds = {"weight_type": QuantType[weights], "per_channel": channels}
    if how == "dynamic":
        quantize_dynamic(plain, path, **kinds)
    else:
        kinds |= {"quant_format": QuantFormat[how], "activation_type": QuantType[activations]}
        quantize_static(plain, path, Data(onnx.load(plain).graph.input[0].name, shape), **kinds)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """The path of the network, quantised in a way; each way once."""
    folder = tmp_path_factory.mktemp("quantised")
    plain = written(network(), SHAPE, folder / "plain.onnx")

    @functools.cache
    def make(how, channels, activations, weights, level=""):
        path = folder / f"{how}_{channels}_{activations}_{weights}.onnx"
        quantise(plain, path, SHAPE, how, channels, activations, weights)
        if not level:
            return path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(path.with_suffix(f".{level}.onnx"))
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return path.with_suffix(f".{level}.onnx")

    return make


WAYS = [
    ("QDQ", False, "QUInt8", "QInt8"), ("QDQ", True, "QInt8", "QInt8"), ("QDQ", False, "QInt8", "QInt4"),
    ("QOperator", False, "QUInt8", "QInt8"), ("QOperator", True, "QInt8", "QInt8"), ("QOperator", False, "QUInt8", "QUInt8"),
    ("QDQ", False, "QUInt8", "QInt8", "EXTENDED"), ("QOperator", False, "QUInt8", "QInt8", "ALL"),
    ("dynamic", True, "", "QInt8"),
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way)))
def test_it_computes_the_same_numbers(quantised, way, target):
    li.convert(quantised(*way), to=target, verify=True)


@pytest.mark.parametrize("way", [WAYS[1], WAYS[5], WAYS[-1]], ids=lambda way: way[0])
def test_a_whole_model_keeps_its_numbers_and_slopes(way, tmp_path):
    shape = (2, *dcgan_discriminator.SHAPES["image"])
    plain = written(dcgan_discriminator.torch_model(), shape, tmp_path / "plain.onnx")
    quantise(plain, tmp_path / "codes.onnx", shape, *way)
    graph = li.load(tmp_path / "codes.onnx")
    assert slopes(graph) == slopes(li.load(plain)) != []
    for target in TARGETS:
        model = checks.converted(tmp_path / "codes.onnx", target)[1].model
        if target != "torch":
            np.testing.assert_array_equal(slopes(li.load(model)), slopes(graph))


@pytest.mark.parametrize("way", [WAYS[4], WAYS[5]], ids=lambda way: way[2])
def test_pooled_codes_are_codes_in_a_keras_model_that_is_read_again(quantised, way):
    li.convert(li.convert(quantised(*way), to="keras"), to="torch", verify=True)


@pytest.mark.parametrize("ports", ["inside", "everywhere"])
@pytest.mark.parametrize("way", [WAYS[1], WAYS[5], WAYS[-1]], ids=lambda way: way[0])
def test_scales_are_not_rounded_to_float16(quantised, way, ports):
    for target in TARGETS:
        with pytest.raises(Refused, match="float16 for a quantised network"):
            li.convert(quantised(*way), to=target, float16=ports)


def slopes(graph):
    return [n.op.negative_slope for n in graph.nodes if isinstance(n.op, LeakyRelu)]


def operators(model):
    return {node.op_type for node in model.graph.node}


def test_codes_stay_codes_in_onnx(quantised):
    for way in WAYS[:6]:
        path = quantised(*way)
        before, after = operators(onnx.load(path)), operators(li.convert(path, to="onnx"))
        quantised_ones = {kind for kind in before if kind.startswith(("QLinearConv", "QuantizeLinear", "DequantizeLinear"))}
        assert quantised_ones <= after


def test_weights_stay_in_their_bits(quantised):
    path = quantised("QDQ", False, "QUInt8", "QInt8")
    back = li.convert(path, to="onnx")
    stored = sum(len(t.raw_data) for t in back.graph.initializer)
    assert stored < 1.2 * sum(len(t.raw_data) for t in onnx.load(path).graph.initializer)
    model = li.convert(path, to="torch")
    kinds = {str(t.dtype) for t in model.state_dict().values() if t.ndim > 1}
    assert kinds == {"torch.int8"}
    assert not any(p.requires_grad for p in model.parameters() if p.dtype == torch.int8)


def test_slopes_stay_as_they_are(quantised):
    graph = li.load(quantised("QDQ", False, "QUInt8", "QInt8"))
    assert slopes(graph) == list(SLOPES)


@pytest.mark.parametrize("kind", ["DequantizeLinear", "QLinearConv", "LeakyRelu"])
def test_a_wrong_number_is_found(quantised, kind):
    """A scale of a weight that is 1 % off, a zero point that is one off, a slope of another value: each must be seen."""
    path = quantised("QOperator" if kind == "QLinearConv" else "QDQ", False, "QUInt8", "QInt8")
    wrong = onnx.load(path)
    node = next(n for n in wrong.graph.node if n.op_type == kind)
    tensors = {t.name: t for t in wrong.graph.initializer}
    if kind == "LeakyRelu":
        node.attribute[0].f = 0.21
    else:
        tensor = tensors[node.input[2 if kind == "QLinearConv" else 1]]
        array = onnx.numpy_helper.to_array(tensor)
        moved = array + array.dtype.type(1) if kind == "QLinearConv" else array * np.float32(1.01)
        tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    report = li.verify(path, transfer_graph(li.load(wrong), "torch").model)
    assert not report.passed
