"""Whole networks in float16, bfloat16 and float64, from every framework to every other: the width stays what it is."""

import functools

import keras
import network_checks as checks
import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import leaky_interop as li
from leaky_interop import frameworks
from leaky_interop.errors import Refused
from leaky_interop.frameworks import onnx as engine
from leaky_interop.frameworks.torch.arrays import to_numpy
from leaky_interop.numeric import is_float
from leaky_interop.ops.activation import LeakyRelu
from models import dcgan_discriminator

nn = torch.nn
FRAMEWORKS = ("torch", "keras", "onnx")
ROUTES = [(origin, to) for origin in FRAMEWORKS for to in FRAMEWORKS if origin != to or to == "onnx"]
WIDTHS = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
SLOPES = (0.1, 1 / 3)  # no width of these holds either exactly
BACKEND = keras.backend.backend()
REFUSED = {  # what a target has no kernels for in float64
    ("vision", "float64", "onnx"): "Conv in float64",
    ("discriminator", "float64", "onnx"): "Conv in float64",
    ("attention", "float64", "onnx"): "Erf in float64",
    **dict.fromkeys(  # on the torch backend, where much of Keras computes in float32
        ((name, "float64", "keras") for name in ("vision", "discriminator", "attention", "recurrent")), "in float64"
    ),
}
WIDENED = {("recurrent", "bfloat16")}  # ONNX files: no runtime has recurrent operators in it, float32 ones stand there


class Vision(nn.Module):
    """Convolutions both ways, pooling, normalisation; `between` is done to a value in the middle."""

    def __init__(self, between=None, slope=SLOPES[0]):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.bend = nn.LeakyReLU(slope)
        self.pool, self.most = nn.AvgPool2d(2), nn.MaxPool2d(3, 1, 1)
        self.up = nn.ConvTranspose2d(6, 4, 4, 2, 1)
        self.bend_more, self.learned = nn.LeakyReLU(SLOPES[1]), nn.PReLU(4)
        self.head = nn.Linear(4, 5)
        self.between = between or nn.Identity()

    def forward(self, x):
        x = self.bend(self.between(self.norm(self.conv(x))))
        x = self.learned(self.bend_more(self.up(self.most(self.pool(x)))))
        return torch.softmax(self.head(x.mean((2, 3))), -1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation=nn.functional.gelu)
        self.bend = nn.LeakyReLU(SLOPES[0])

    def forward(self, x):
        return self.bend(self.block(x))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True, bidirectional=True)
        self.bend, self.head = nn.LeakyReLU(SLOPES[1]), nn.Linear(6, 2)

    def forward(self, x):
        return torch.tanh(self.head(self.bend(self.lstm(x)[0])))


NETWORKS = {
    "vision": (Vision, (3, 8, 8)), "attention": (Attention, (6, 8)), "recurrent": (Recurrent, (3, 4)),
    "discriminator": (dcgan_discriminator.torch_model, (3, 32, 32)),
}  # fmt: skip


def network(name, width, **options):
    """The PyTorch form, its statistics and scales off their defaults, and an example."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = make(**options).eval()
    if name != "discriminator":
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if "norm" in key and value.ndim:
                    value.uniform_(0.5, 1.5)
    return model.to(WIDTHS[width]), (torch.randn(2, *shape).to(WIDTHS[width]),)


@functools.cache
def source(name, width, framework):
    """The network in a framework, made by a conversion, and the example that loading it needs. Raises Refused."""
    model, example = network(name, width)
    return (model, example) if framework == "torch" else (li.convert(model, to=framework, example=example), None)


def widths(model):
    """The widths of a model's own weights."""
    if isinstance(model, torch.nn.Module) and not isinstance(model, keras.Model):
        return {str(t.dtype).removeprefix("torch.") for t in model.state_dict().values() if t.is_floating_point()}
    if isinstance(model, keras.Model):
        return {keras.backend.standardize_dtype(w.dtype) for w in model.weights if "float" in str(w.dtype)}
    kinds = {helper.tensor_dtype_to_np_dtype(t.data_type) for t in model.graph.initializer if t.dims}
    return {np.dtype(kind).name for kind in kinds if is_float(np.dtype(kind))}


def computed_widths(model, example, framework):
    """The widths of all numbers that a model computes. An ONNX file leads bfloat16 through float32; reading it undoes that."""
    if framework != "torch":
        return {v.dtype.name for n in li.load(model).nodes for v in n.outputs if is_float(v.dtype)}
    seen = {}
    frameworks.get("torch").Program(model).run([to_numpy(t) for t in example], seen.__setitem__)
    return {a.dtype.name for a in seen.values() if is_float(a.dtype)}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("origin", "to"), ROUTES)
def test_a_width_goes_through_as_it_is(name, width, origin, to):
    where = next((f for f in (origin, to) if (name, width, f) in REFUSED and (f != "keras" or BACKEND == "torch")), None)
    if where is not None:
        with pytest.raises(Refused, match=REFUSED[name, width, where]):
            li.convert(source(name, width, origin)[0], to=to, example=source(name, width, origin)[1])
        return
    model, example = source(name, width, origin)
    graph, conversion, _ = checks.converted(model, to, example)
    made = conversion.model
    assert widths(made) == {width}
    ports = (*conversion.graph.inputs, *conversion.graph.outputs)
    assert {v.dtype.name for v in ports} == {width}
    computed = computed_widths(made, network(name, width)[1], to)
    allowed = {"float32"} if (name, width) in WIDENED and "onnx" in (origin, to) else set()
    assert width in computed and computed <= {width} | allowed
    if to != "torch":
        slopes = [[n.op.negative_slope for n in g.nodes if isinstance(n.op, LeakyRelu)] for g in (graph, li.load(made))]
        np.testing.assert_array_equal(*np.float32(slopes))


class Through(nn.Module):
    """A value through another width and back: rounded before an operator that must not change it."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        return x.to(self.width).to(x.dtype)


NARROWER = {"float16": torch.bfloat16, "bfloat16": torch.float8_e4m3fn, "float64": torch.float32}


@pytest.mark.parametrize(
    ("width", "origin"), [(w, o) for w in WIDTHS for o in FRAMEWORKS if ("vision", w, o) not in REFUSED]
)
@pytest.mark.parametrize("wrong", ["slope", "cast"])
def test_a_wrong_slope_and_a_wrong_cast_are_found(width, origin, wrong):
    options = {"slope": SLOPES[0] * 1.02} if wrong == "slope" else {"between": Through(NARROWER[width])}
    model, example = source("vision", width, origin)
    planted, _ = network("vision", width, **options)
    honest, _ = network("vision", width)
    assert li.verify(model, honest, example=example or network("vision", width)[1]).passed
    assert not li.verify(model, planted, example=example or network("vision", width)[1]).passed


def test_onnxruntime_shows_float16_as_consumers_read_it():
    """It hands on float32 from node to node: without a stop between them, a node's result is none of its inputs'."""
    model, _ = source("vision", "float16", "onnx")
    assert any(n.op_type == "LeakyRelu" for n in model.graph.node)
    seen = {}
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float16)
    program = engine.Program(model)
    outputs = program.run([x], seen.__setitem__)
    assert [o.dtype for o in outputs] == [np.float16] and {a.dtype for a in seen.values()} == {np.dtype(np.float16)}
    for node in model.graph.node:
        if node.op_type == "LeakyRelu":
            slope = np.float32(onnx.helper.get_attribute_value(node.attribute[0]))
            bent = seen[node.input[0]]
            expected = np.where(bent < 0, (bent * slope).astype(np.float16), bent)
            np.testing.assert_array_equal(seen[node.output[0]], expected)
