"""Normalisations written out in pieces are recognised, and nothing else is."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, kinds

import leaky_interop as li
from leaky_interop.ops.layer_norm import LayerNorm, RMSNorm

rng = np.random.default_rng(12)
X = rng.uniform(-1, 3, (2, 4, 6)).astype(np.float32)
EPSILON = 0.0125


class WrittenOut(torch.nn.Module):
    """A network around a normalisation in a module of its own, as people write it."""

    def __init__(self, formula, shape=(6,)):
        super().__init__()
        self.norm = torch.nn.Module()
        self.norm.weight = torch.nn.Parameter(torch.from_numpy(rng.uniform(-1, 2, shape).astype(np.float32)))
        self.norm.bias = torch.nn.Parameter(torch.from_numpy(rng.uniform(-1, 2, shape).astype(np.float32)))
        self.formula = formula

    def forward(self, x):
        return torch.relu(self.formula(x, self.norm.weight, self.norm.bias))


def squares(x, scale, bias):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + EPSILON) * scale + bias


def computed_twice(x, scale, bias):
    mean = x.mean(-1, keepdim=True)
    return bias + scale * ((x - mean) / ((x - mean).pow(2).mean(-1, keepdim=True) + EPSILON).sqrt())


def variance(x, scale, bias):
    mean, spread = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) * torch.rsqrt(EPSILON + spread) * scale + bias


def factor(x, scale, bias):
    mean = x.mean(-1, keepdim=True)
    inverse = ((x - mean).square().mean(-1, keepdim=True) + EPSILON).rsqrt() * scale
    return x * inverse + (bias - mean * inverse)


def negative_mean(x, scale, bias):
    mean = x.mean(-1, keepdim=True)
    inverse = scale * ((x - mean).square().mean(-1, keepdim=True) + EPSILON).rsqrt()
    return x * inverse + (-mean * inverse + bias)


def power(x, scale, bias):
    centred = x - x.mean(-1, keepdim=True)
    return centred * ((centred * centred).mean(-1, keepdim=True) + EPSILON) ** -0.5 * scale + bias


def reciprocal(x, scale, bias):
    centred = x - x.mean(-1, keepdim=True)
    return centred * (1 / torch.sqrt((centred * centred).mean(-1, keepdim=True) + EPSILON)) * scale + bias


@pytest.mark.parametrize("formula", [squares, computed_twice, variance, factor, negative_mean, power, reciprocal])
def test_spellings_of_layer_norm(formula):
    graph = check(WrittenOut(formula), X)
    assert kinds(graph) == ["LayerNorm", "Relu"]
    assert graph.nodes[0].op == LayerNorm(axes=(2,), epsilon=EPSILON)
    assert graph.nodes[0].name == "norm"
    assert [p.name for p in graph.parameters()] == ["norm.weight", "norm.bias"]


def test_spelling_of_rms_norm():
    def formula(x, scale, bias):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * scale + bias

    graph = check(WrittenOut(formula), X)
    assert kinds(graph) == ["RMSNorm", "Add", "Relu"]
    assert graph.nodes[0].op == RMSNorm(axes=(2,), epsilon=EPSILON)


def test_channels_of_an_image_take_no_transposes_in_keras():
    def formula(x, scale, bias):
        mean = x.mean(1, keepdim=True)
        spread = (x - mean).pow(2).mean(1, keepdim=True)
        return (x - mean) / torch.sqrt(spread + EPSILON) * scale[:, None, None] + bias[:, None, None]

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = WrittenOut(formula, (4,))
            self.before, self.after = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 3)

        def forward(self, x):
            return self.after(self.inner(self.before(x)))

    x = rng.standard_normal((2, 3, 8, 9)).astype(np.float32)
    graph = check(Net(), x)
    assert "LayerNorm" in kinds(graph)
    layers = [type(layer).__name__ for layer in li.convert(Net(), to="keras", io="native", example=(x,)).layers]
    assert layers == ["InputLayer", "Conv2D", "LayerNormalization", "ReLU", "Conv2D"]


def test_a_normalisation_in_keras_functions():
    inputs = keras.Input((4, 6))
    mean, spread = keras.ops.mean(inputs, -1, keepdims=True), keras.ops.var(inputs, -1, keepdims=True)
    graph = check(keras.Model(inputs, (inputs - mean) / keras.ops.sqrt(spread + EPSILON)), X)
    assert kinds(graph) == ["LayerNorm"]


def test_what_something_else_reads_stays():
    def formula(x, scale, bias):
        plain = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + EPSILON)
        return plain * scale + plain

    assert kinds(check(WrittenOut(formula), X)) == ["LayerNorm", "Mul", "Add", "Relu"]


OTHERS = {
    "unbiased": lambda x, mean: (x - mean) / torch.sqrt(x.var(-1, keepdim=True) + EPSILON),
    "deviation plus epsilon": lambda x, mean: (x - mean) / (x.std(-1, keepdim=True, unbiased=False) + EPSILON),
    "other axes": lambda x, mean: (x - mean) / torch.sqrt(x.var((1, 2), keepdim=True, unbiased=False) + EPSILON),
    "batch": lambda x, mean: (x - x.mean(0, True)) / torch.sqrt(x.var(0, keepdim=True, unbiased=False) + EPSILON),
    "sum of squares": lambda x, mean: x / torch.sqrt(x.pow(2).sum(-1, keepdim=True) + EPSILON),
    "cubes": lambda x, mean: x / torch.sqrt(x.pow(4).mean(-1, keepdim=True) + EPSILON),
    "other data": lambda x, mean: (x - mean) / torch.sqrt((2 * x).var(-1, keepdim=True, unbiased=False) + EPSILON),
    "mean of another": lambda x, mean: (x - 2 * mean) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + EPSILON),
    "subtracted": lambda x, mean: (mean - x) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + EPSILON),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_alike_is_left_alone(name):
    def formula(x, scale, bias):
        return OTHERS[name](x, x.mean(-1, keepdim=True))

    assert not {"LayerNorm", "RMSNorm"} & set(kinds(check(WrittenOut(formula), X)))


def test_weights_of_other_shapes_stay_outside():
    def formula(x, scale, bias):
        plain = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + EPSILON)
        return plain * scale[:, None] + bias[0]

    found = kinds(check(WrittenOut(formula, (4,)), X))
    assert (found[0], found.count("Mul"), found.count("Add")) == ("LayerNorm", 1, 1)
