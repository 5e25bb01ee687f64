"""Training parity of network families, and of what frameworks hold in other parts: biases, packed weights, branches."""

import functools

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import leaky_interop as li
from tests.torch_families import all_families

SPREAD = (
    "squeezenet", "mobilenet_v1", "resnetv2_group_norm", "deit_distilled", "mlp_mixer", "wavegan", "patch_discriminator",
    "deeplab_v3", "coat", "inception_next",
)  # fmt: skip
FAMILIES = {f.name: f for f in all_families()}


def parity(source, made, example, **options):
    report = li.verify(source, made, example=example, gradients=True, **options)
    assert report.passed, str(report)
    return report


def names(report, what="gradient, inference"):
    return [g.name for g in report.gradients if g.what.startswith(what)]


@functools.lru_cache(maxsize=1)
def family(name):
    found = FAMILIES[name]
    rng = np.random.default_rng(3)
    return found.model(), tuple(torch.tensor(rng.standard_normal((2, *s)).astype("f")) for s in found.shapes)


@pytest.mark.parametrize("to", ["onnx", "keras"])
@pytest.mark.parametrize("name", SPREAD)
def test_a_family_learns_as_it_did(name, to):
    """By way of ONNX it comes back to PyTorch; every weight is compared, and after three steps too.

    In training mode too, where there is no stochastic depth.
    """
    source, example = family(name)
    made = li.convert(source, to, example=example, verify=False)
    report = parity(source, made if to == "keras" else li.convert(made, "torch", verify=False), example, steps=3)
    trained = {n for n, p in source.named_parameters() if p.requires_grad}
    draws = any("the source draws random numbers" in note for note in report.notes)
    assert draws == (name in ("deit_distilled", "mlp_mixer"))
    for what in ("gradient, inference", "weight after 3", *(() if draws else ("gradient, training",))):
        assert trained <= {*names(report, what)}
    assert not any("no gradient is compared" in note for note in report.notes)


def drawn(model):
    """A network whose every weight has numbers of its own."""
    torch.manual_seed(1)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.4)
    return model.eval()


class Recurrent(nn.Module):
    def __init__(self, kind="LSTM", **options):
        super().__init__()
        self.cells = getattr(nn, kind)(4, 5, batch_first=True, **options)

    def forward(self, x):
        return self.cells(x)[0]


def test_two_biases_that_are_one_in_keras():
    """Their sum learns as one of them does; the other one has no counterpart, which is said."""
    source, x = drawn(Recurrent()), torch.randn(2, 6, 4)
    report = parity(source, li.convert(source, "keras", example=x), x)
    weights = ["cells.weight_ih_l0", "cells.weight_hh_l0"]
    assert names(report) == ["x", *weights, "cells.bias_ih_l0"]
    assert names(report, "weight after") == weights
    assert any("no gradient is compared of cells.bias_hh_l0:" in note for note in report.notes)


@pytest.mark.parametrize("to", ["torch", "keras"])
@pytest.mark.parametrize("options", [{"proj_size": 3, "num_layers": 2, "bidirectional": True, "dropout": 0.5}, {"kind": "GRU", "num_layers": 2, "dropout": 0.5}])
def test_recurrent_layers_of_every_kind(options, to):
    source, x = drawn(Recurrent(**options)), torch.randn(2, 3, 4)
    report = parity(source, li.convert(source, to, example=x, verify=False), x, steps=2)
    single = options.get("kind") is None and to == "keras"  # Keras has one bias there, the sum of two
    trained = (n for n, _ in source.named_parameters() if not (single and "bias_hh" in n))
    assert {*names(report, "gradient, training")} == {"x", *trained}


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.5, batch_first=True)

    def forward(self, x):
        return F.dropout(self.layer(x), 0.5, self.training)


@pytest.mark.parametrize("to", ["torch", "onnx", "keras"])
def test_packed_weights_in_parts(to):
    """Queries, keys and values are one matrix in PyTorch and three in Keras, none of which stands for another layer."""
    source, x = drawn(Attending()), torch.randn(2, 5, 8)
    made = li.convert(source, to, example=x)
    report = parity(source, li.convert(made, "torch") if to == "onnx" else made, x, steps=2)
    assert names(report).count("layer.self_attn.in_proj_weight") == (3 if to == "keras" else 1)
    assert {*names(report)} == {"x", *(n for n, _ in source.named_parameters())}


def test_dropout_is_off_wherever_it_stands():
    """Limits are measured on runs of the source: where they were random, nothing would be found wrong."""
    source, x = drawn(Attending()), torch.randn(2, 5, 8)
    other = drawn(Attending())
    other.layer.linear1.register_full_backward_hook(lambda module, into, out: (into[0] * 1.001,))
    report = li.verify(source, other, example=x, gradients=True, steps=0)
    assert {g.what for g in report.gradients if not g.passed} == {"gradient, inference", "gradient, training"}
    assert source.layer.self_attn.dropout == 0.5


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.yes, self.no = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: self.yes(x).tanh(), lambda x: F.leaky_relu(self.no(x), -0.4), (x,))


@pytest.mark.parametrize("to", ["torch", "keras"])
def test_weights_inside_branches(to):
    source, x = drawn(Branches()), torch.randn(2, 4)
    report = parity(source, li.convert(source, to, example=x, verify=False), x, steps=1)
    assert {*names(report)} == {"x", *(n for n, _ in source.named_parameters())}


class Random(nn.Module):
    """Stochastic depth, as timm writes it."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x):
        kept = x.new_empty(x.shape[0], 1).bernoulli_(0.5) if self.training else 1
        return x + self.dense(x) * kept


def test_a_network_that_draws_in_training_is_said_to():
    source, x = drawn(Random()), torch.randn(2, 4)
    report = parity(source, li.convert(source, "torch", example=x), x)
    assert not names(report, "gradient, training")
    assert any("the source draws random numbers in training mode" in note for note in report.notes)


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm, nn.utils.weight_norm])
def test_normalised_weights(norm):
    """Spectral norm estimates anew in training mode, which its conversion does not: that is said, and held still."""
    torch.manual_seed(0)
    source, x = nn.Sequential(norm(nn.Linear(4, 3)), nn.LeakyReLU(1.7), norm(nn.Linear(3, 3))).eval(), torch.randn(2, 4)
    before = {n: t.clone() for n, t in source.state_dict().items()}
    report = parity(source, li.convert(source, "keras", example=x), x)
    assert any("0, 2: in training mode the estimate" in n for n in report.notes) == ("spectral" in norm.__name__)
    assert all(torch.equal(t, before[n]) for n, t in source.state_dict().items())
    source.train()(x)
    assert any(not torch.equal(t, before[n]) for n, t in source.state_dict().items()) == ("spectral" in norm.__name__)


class Summed(nn.Module):
    """A bias before a batch norm has no gradient, only rounding; of slopes at 0 there is one side."""

    def __init__(self, slope):
        super().__init__()
        self.conv, self.norm, self.weight = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Parameter(torch.zeros(4, 1, 1))
        self.last, self.act = nn.InstanceNorm2d(4, affine=True), nn.LeakyReLU(slope)

    def forward(self, x):
        y = self.last(self.norm(self.conv(x)))
        return self.act(y * self.weight) + self.act(y)


@pytest.mark.parametrize("slope", [0.0, -0.4, 1.7])
def test_cancelling_gradients_and_slopes_at_zero(slope):
    torch.manual_seed(2)
    source, x = Summed(slope).eval(), torch.randn(2, 3, 8, 8)
    for to in ("torch", "keras"):
        report = parity(source, li.convert(source, to, example=x), x)
        expected = ", ".join(dict.fromkeys(f"{framework} {slope:g}" for framework in ("torch", to)))
        assert f"training: the gradient of LeakyReLU({slope:g}) at exactly 0 is {expected}" in report.notes


def test_a_batch_on_another_axis_inside():
    """PyTorch's encoder spells attention out with the sequence first: no value of the one stands for the other's."""
    torch.manual_seed(0)
    source, x = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval(), torch.randn(2, 5, 8)
    assert li.verify(source, li.convert(li.convert(source, "onnx", example=x), "torch"), example=x).passed


def far_from_zero():
    """A batch norm over four numbers that lie far from zero: what takes mean(x**2) - mean(x)**2 has few digits left."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 2, 1))
    nn.init.constant_(model[1].bias, 3.0)
    return model.eval()


def equal_terms():
    """A bias whose gradient is a sum of 4096 numbers that are all the same: one added to another, they drift."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()


@pytest.mark.parametrize("first", ["torch", "keras"])
@pytest.mark.parametrize("make", [far_from_zero, equal_terms])
def test_either_network_may_round_as_it_does(make, first):
    source, x = make(), torch.randn(2, 3, 32, 32)
    made = li.convert(source, "keras", example=x)
    if first == "torch":
        parity(source, made, x, steps=2)
    else:
        assert li.verify(made, source, gradients=True, steps=2).passed


@pytest.mark.parametrize(("make", "layer"), [(far_from_zero, 4), (equal_terms, 1)])
def test_a_fault_is_found_in_a_network_that_rounds_much(make, layer):
    source, other, x = make(), make(), torch.randn(2, 3, 32, 32)
    other[layer].register_full_backward_hook(lambda module, into, out: tuple(None if g is None else g * 1.01 for g in into))
    made = li.convert(source, "keras", example=x)
    for second in (other, made):
        report = li.verify(other if second is made else source, second, example=x, gradients=True, steps=0)
        assert {"0.weight" if layer == 1 else "1.weight"} <= {g.name for g in report.gradients if not g.passed}


class Normalised(nn.Module):
    """A norm of its own, as some backbones freeze theirs; what it is asked for in training mode is `training`."""

    def __init__(self, training=False, weights=True):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.asked = nn.Conv2d(3, 4, 3), training
        for name in ("mean", "var", *(("scale", "shift") if weights else ())):
            self.register_buffer(name, torch.rand(4) + 0.5)
        self.scale, self.shift = (self.scale, self.shift) if weights else (None, None)

    def forward(self, x):
        return F.batch_norm(self.conv(x), self.mean, self.var, self.scale, self.shift, self.asked and self.training)


@pytest.mark.parametrize("to", ["torch", "keras"])
@pytest.mark.parametrize("options", [{}, {"weights": False}, {"training": True, "weights": False}])
def test_a_batch_norm_that_a_module_calls_trains_or_does_not(to, options):
    source, x = Normalised(**options).eval(), torch.randn(2, 3, 8, 8)
    made = li.convert(source, to, example=x)
    parity(source, made, x, steps=2)
    assert not source.training
    if to == "keras":
        norm = next(layer for layer in made.layers if isinstance(layer, keras.layers.BatchNormalization))
        assert norm.trainable == options.get("training", False)


class Ordered(nn.Module):
    """One matrix for features in two orders, of which Keras has one turned around."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense = nn.Conv2d(3, 2, 1), nn.Linear(40, 5)

    def forward(self, x, z):
        return self.dense(self.conv(x).flatten(1)), self.dense(z)


def test_a_weight_in_two_orders_stays_one_from_torch():
    source, x = drawn(Ordered()), (torch.randn(2, 3, 4, 5), torch.randn(2, 40))
    made = li.convert(source, "keras", example=x)
    parity(source, made, x, steps=2)
    assert sum(w.shape == (5, 40) for w in made.trainable_weights) == 1
    parity(source, li.convert(made, "torch"), x, steps=2)


def test_a_weight_in_two_orders_stays_one_from_keras():
    x, z, dense = keras.Input((4, 5, 3)), keras.Input((40,)), keras.layers.Dense(5)
    source = keras.Model([x, z], [dense(keras.layers.Flatten()(keras.layers.Conv2D(2, 1)(x))), dense(z)])
    made = li.convert(source, "torch")
    assert [tuple(p.shape) for n, p in made.named_parameters()].count((5, 40)) == 1
    assert li.verify(source, made, gradients=True, steps=2).passed
    assert li.verify(source, li.convert(made, "keras"), gradients=True, steps=2).passed
