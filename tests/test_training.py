"""Whether a converted network learns as its source does: gradients, modes, and weights after some steps."""

import numpy as np
import pytest
import torch
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Usage
from leaky_interop.training import at_zero


class Net(nn.Module):
    """Batch norm, dropout, a residual connection, per-channel slopes, two outputs."""

    def __init__(self, slope=0.15, act=None):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), act or nn.LeakyReLU(slope)
        )
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.PReLU(6))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6 * 4 * 3, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.body(x)
        return self.head(self.drop(x.flatten(1))), x.mean((2, 3))


def net(**options):
    torch.manual_seed(0)
    model = Net(**options).eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
                part.weight.uniform_(0.5, 2)
    return model


X = (torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(1)),)


def parity(a, b, **options):
    return li.verify(a, b, example=X, gradients=True, **options)


def wrong(report):
    return {(g.name, g.what) for g in report.gradients if not g.passed}


@pytest.mark.parametrize("to", ["torch", "keras"])
def test_a_converted_network_learns_as_its_source_does(to):
    source = net()
    made = li.convert(source, to=to, example=X)
    report = parity(source, made)
    assert report.passed, report
    kinds = {g.what for g in report.gradients}
    assert kinds == {"gradient, inference", "gradient, training", "weight after 10 steps"}
    names = {g.name for g in report.gradients if g.what == "gradient, training"}
    assert names == {"x", *(n for n, _ in source.named_parameters())}
    assert "gradients and trained weights" in str(report)


def test_both_networks_are_left_as_they_were():
    source = net()
    made = li.convert(source, to="keras", example=X)
    before = {k: v.clone() for k, v in source.state_dict().items()}
    kept = [np.array(w) for w in made.get_weights()]
    rates = [layer.rate for layer in made.layers if hasattr(layer, "rate")]
    parity(source, made)
    assert all(torch.equal(v, before[k]) for k, v in source.state_dict().items())
    assert all(np.array_equal(a, b) for a, b in zip(kept, made.get_weights(), strict=True))
    assert not any(m.training for m in source.modules())
    assert all(p.grad is None for p in source.parameters())
    assert [layer.rate for layer in made.layers if hasattr(layer, "rate")] == rates


def hooked(model, change):
    """The model with something done to one gradient on its way back."""
    model.stem[2].register_full_backward_hook(lambda module, into, out: tuple(map(change, into)))
    return model


def test_a_gradient_that_is_slightly_wrong_is_found():
    """The numbers agree; the gradient behind the activation is off by a thousandth."""
    report = parity(net(), hooked(net(), lambda g: g * 1.001))
    assert all(o.passed for o in report.outputs)
    assert {name for name, _ in wrong(report)} >= {"x", "stem.0.weight", "stem.1.weight", "stem.1.bias"}
    assert ("head.weight", "gradient, inference") not in wrong(report)
    assert report.first_difference.name == "x"
    assert "look at how each learns" in str(report)


def test_batch_norm_that_never_trains_is_found():
    source, other = net(), net()
    other.body[1].train = lambda mode=True: other.body[1]
    found = wrong(parity(source, other))
    assert found
    assert all(what != "gradient, inference" for _, what in found)


def test_a_weight_that_is_frozen_on_one_side_is_told():
    other = net()
    other.head.bias.requires_grad_(False)
    report = parity(net(), other)
    assert ("head.bias", "trainable") in wrong(report)
    assert "trainable in the source alone" in str(report)


def test_a_frozen_weight_stays_frozen_through_a_conversion():
    source = net()
    source.stem[0].weight.requires_grad_(False)
    report = parity(source, li.convert(source, to="keras", example=X))
    assert report.passed, report
    assert "stem.0.weight" not in {g.name for g in report.gradients}


def test_no_steps_no_weights():
    report = parity(net(), net(), steps=0)
    assert {g.what for g in report.gradients} == {"gradient, inference", "gradient, training"}


def test_an_exported_program_is_compared_at_inference(tmp_path):
    source = net()
    li.convert(source, tmp_path / "net.pt2", example=X)
    report = li.verify(source, tmp_path / "net.pt2", example=X, gradients=True, steps=3)
    assert report.passed, report
    assert {g.what for g in report.gradients} == {"gradient, inference", "weight after 3 steps"}
    assert any("no training mode" in note for note in report.notes)


def test_onnx_has_no_gradients():
    source = net()
    with pytest.raises(Usage, match="gradients of onnx"):
        parity(source, li.convert(source, to="onnx", example=X))


class Sequence(nn.Module):
    """Integers in, a tied weight, a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 5)
        self.lstm = nn.LSTM(5, 5, batch_first=True)
        self.norm = nn.LayerNorm(5)

    def forward(self, ids):
        out, _ = self.lstm(self.table(ids))
        return self.norm(out) @ self.table.weight.t()


def test_integers_tied_weights_and_recurrence():
    torch.manual_seed(0)
    source, ids = Sequence().eval(), torch.arange(12).reshape(2, 6) % 11
    report = li.verify(source, li.convert(source, to="keras", example=(ids,)), example=(ids,), gradients=True)
    assert report.passed, report
    names = [g.name for g in report.gradients if g.what == "gradient, inference"]
    assert "ids" not in names
    assert names.count("table.weight") == 1


def test_the_report_tells_the_gradient_at_zero():
    assert at_zero("torch", 0.3) == pytest.approx(0.3)
    assert at_zero("keras", 0.3) == pytest.approx(0.3)
    notes = parity(net(), net(), steps=0).notes
    assert any("gradient of LeakyReLU(0.15) at exactly 0 is torch 0.15" in n for n in notes)


def test_every_rendering_shows_gradients():
    report = parity(net(), hooked(net(), lambda g: g * 1.1), steps=0)
    for text in (str(report), report.to_markdown(), report.to_html(), report.to_json()):
        assert "stem.0.weight" in text
    assert li.report.Report is type(report)
    from leaky_interop.report import as_json

    assert as_json.parse(report.to_json()) == report


@pytest.mark.parametrize("affine", (True, False))
@pytest.mark.parametrize("to", ("torch", "keras"))
def test_a_frozen_batch_norm_stays_frozen(affine, to):
    """Keras runs one with trainable=False by its stored statistics even in training; so does what it becomes."""
    import io
    import pickle

    import keras

    inputs = keras.Input((7, 5, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(center=affine, scale=affine, name="norm")(x)
    x = keras.layers.LeakyReLU(negative_slope=0.15)(x)
    source = keras.Model(inputs, keras.layers.BatchNormalization(name="learning")(x))
    norm = source.get_layer("norm")
    norm.trainable = False
    for variable in norm.weights:
        variable.assign(np.random.default_rng(0).uniform(0.5, 2, variable.shape))
    made = li.convert(source, to)
    report = li.verify(source, made, gradients=True)
    assert report.passed, report
    assert "gradient, training" in {g.what for g in report.gradients}
    back = li.convert(made, "keras") if to == "torch" else made
    assert [layer.trainable for layer in back.layers if layer.weights] == [True, False, True]
    if to == "torch":
        x = torch.randn(6, 7, 5, 3)
        made.train()
        before = {n: t.clone() for n, t in made.state_dict().items() if n.startswith("norm.")}
        expected = made(x)
        assert before and all(torch.equal(t, made.state_dict()[n]) for n, t in before.items())
        others = [pickle.loads(pickle.dumps(made)), torch.export.export(made, (x,)).module(), torch.compile(made, backend="eager")]
        torch.save(made, buffer := io.BytesIO())
        buffer.seek(0)
        for other in (*others, torch.load(buffer, weights_only=False)):
            torch.testing.assert_close(other(x), expected)
