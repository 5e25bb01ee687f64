"""Networks converted with their batch norms folded: verified node by node, noted, and found out where a fold is wrong."""

import dataclasses
import json

import numpy as np
import onnx
import pytest

import leaky_interop as li
from leaky_interop.errors import Mismatch
from leaky_interop.passes.fold import NO_LAYER


def torch_network():
    """Conv and norm of every rank and kind, a norm in front of a convolution, and two that stay."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6, eps=0.01)
            self.depth, self.bn2 = nn.Conv2d(6, 12, 3, groups=6), nn.BatchNorm2d(12, affine=False)
            self.bn3, self.point = nn.BatchNorm2d(12), nn.Conv2d(12, 8, 1)
            self.up, self.bn4 = nn.ConvTranspose2d(8, 4, 4, 2, 1, groups=2, bias=False), nn.BatchNorm2d(4)
            self.stays = nn.BatchNorm2d(4)
            self.dense, self.bn5 = nn.Linear(4, 5), nn.BatchNorm1d(5)

        def forward(self, x):
            y = torch.nn.functional.leaky_relu(self.bn1(self.conv1(x)), 0.2)
            y = torch.nn.functional.leaky_relu(self.bn2(self.depth(y)), 0.1)
            y = self.bn4(self.up(self.point(self.bn3(y))))
            y = self.stays(torch.nn.functional.leaky_relu(y, 0.3))
            return self.bn5(self.dense(y.mean((2, 3))))

    from models.seeding import randomise

    return randomise(Net(), 3).eval(), (torch.randn(2, 3, 11, 10),)


@pytest.fixture(scope="module")
def network():
    return torch_network()


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_a_network_folded_and_verified(network, to):
    model, example = network
    plain, made = (li.convert(model, to, example=example, fold_batch_norm=f, verify=True) for f in (False, True))
    report = li.verify(model, made, example=example) if to != "keras" else None
    assert report is None or report.outputs[0].passed
    inputs = (np.random.default_rng(0).standard_normal((7, 3, 11, 10)).astype(np.float32),)
    np.testing.assert_allclose(*(li.run(m, inputs)[0] for m in (plain, made)), rtol=1e-4, atol=1e-5)
    if to == "onnx":
        found = [n.op_type for n in made.graph.node]
        assert found.count("BatchNormalization") == 1 and len(found) == len(plain.graph.node) - 5
        sources = [p.value for n in made.graph.node for p in n.metadata_props]
        assert any("bn1" in s and "conv1" in s for s in sources)


def test_notes_and_command_line(network, tmp_path):
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from leaky_interop.cli.app import app

    model, example = network
    source = li.convert(model, tmp_path / "plain.onnx", example=example)
    assert not any("folded" in n for n in source.notes)
    arguments = ["convert", str(tmp_path / "plain.onnx"), str(tmp_path / "made.onnx"), "--fold-batch-norm"]
    result = CliRunner().invoke(app, [*arguments, "--report", str(tmp_path / "report.json")])
    assert result.exit_code == 0, result.output
    notes = json.loads((tmp_path / "report.json").read_text())["notes"]
    assert any("5 batch norms" in n and "conv1 takes in bn1" in n for n in notes)
    assert any(NO_LAYER in n and "stays" in n for n in notes)
    made = onnx.load(tmp_path / "made.onnx")
    assert sum(n.op_type == "BatchNormalization" for n in made.graph.node) == 1
    assert any(n.name == "conv1" for n in made.graph.node)


def test_with_float16(network):
    model, example = network
    made = li.convert(model, "onnx", example=example, fold_batch_norm=True, float16="inside", verify=True)
    assert sum(n.op_type == "BatchNormalization" for n in made.graph.node) == 1


def test_a_cut_between_them_keeps_them_apart(network):
    model, example = network
    made = li.convert(model, "onnx", example=example, fold_batch_norm=True, cut_outputs=["conv1", "depth"], verify=True)
    assert any(n.op_type == "BatchNormalization" for n in made.graph.node)


@pytest.mark.parametrize("place", [0, 1])
def test_a_wrong_fold_is_found(network, monkeypatch, place):
    """One part in a thousand of a channel's kernel, or of the size of its bias."""
    from leaky_interop.passes import fold

    right = fold._folded

    def wrong(one):
        made = list(right(one))
        array = made[place].array().copy()
        array[0] += 1e-3 * np.abs(array).max()
        made[place] = dataclasses.replace(made[place], read=lambda: array, root=array, summed=made[place].summed)
        return tuple(made)

    model, example = network
    monkeypatch.setattr(fold, "_folded", wrong)
    with pytest.raises(Mismatch) as caught:
        li.convert(model, "onnx", example=example, fold_batch_norm=True, verify=True)
    assert caught.value.report.first_difference.name == "conv1"


def test_what_cancelled_is_allowed_for():
    """A bias that is the small difference of large numbers has their rounding errors, and not its own alone."""
    torch = pytest.importorskip("torch")
    conv, norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
    with torch.no_grad():
        conv.bias.fill_(3000.3)
        norm.running_mean.fill_(3000.1)
        norm.running_var.fill_(0.01)
    made = li.convert(
        torch.nn.Sequential(conv, norm).eval(),
        "onnx",
        example=torch.randn(2, 3, 4, 4),
        fold_batch_norm=True,
        verify=True,
    )
    assert [n.op_type for n in made.graph.node] == ["Conv"]


@pytest.mark.parametrize("shape", [(5,), (15,)])
def test_numbers_of_a_lower_rank_before_a_layer(shape):
    """A dense layer's input that a node makes of fewer axes, by broadcasting or reshaping, has no channel there to scale."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.randn(4, 3, 5))
            self.dense, self.norm = torch.nn.Linear(5, 6), torch.nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(self.dense(x * self.scale if shape == (5,) else x.reshape(1, 3, 5)))

    example = torch.randn(shape)
    made = li.convert(Net().eval(), "onnx", example=example, static_batch=True, fold_batch_norm=True, verify=True)
    assert "BatchNormalization" in [n.op_type for n in made.graph.node]


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_weights_computed_from_weights_are_stored(to):
    """Normalised kernels, and the batch norms behind them, are one convolution each; what reads data stays."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn, norms = torch.nn, torch.nn.utils.parametrizations

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = norms.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)
            self.last = norms.spectral_norm(nn.Conv2d(4, 5, 3, groups=1))
            self.gain = nn.Parameter(torch.tensor(0.3))

        def forward(self, x):
            kernel = self.last.weight * torch.sigmoid(self.gain)
            return nn.functional.conv2d(nn.functional.leaky_relu(self.norm(self.first(x)), 0.2), kernel, self.last.bias), self.gain * 2

    model = Net().eval()
    torch.nn.init.uniform_(model.norm.running_var, 0.5, 2)
    example = torch.randn(2, 3, 9, 8)
    made = li.convert(model, to, example=example, fold_batch_norm=True, verify=True)
    graph = li.load(made, None if to != "torch" else (example,))
    kinds = [type(n.op).__name__ for n in graph.nodes if type(n.op).__name__ != "Transpose"]
    assert kinds[:3] == ["Conv", "LeakyRelu", "Conv"] and len(kinds) <= 4
    for received, expected in zip(li.run(made, [example.numpy()]), model(example), strict=True):
        np.testing.assert_allclose(received, expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("slopes", [(0.2, 0.2), (0.2, 0.3), (0.0, -0.0)])
def test_what_is_computed_twice_is_computed_once(slopes):
    """Two activations of one value are one where their slopes are the same."""
    torch = pytest.importorskip("torch")
    leaky, conv = torch.nn.functional.leaky_relu, torch.nn.Conv1d(3, 3, 1)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.other = conv, torch.nn.Conv1d(3, 3, 1)

        def forward(self, x):
            return self.conv(leaky(x, slopes[0])) + self.other(leaky(x, slopes[1]))

    made = li.convert(Net(), "onnx", example=torch.randn(2, 3, 5), fold_batch_norm=True, verify=True)
    kinds = [n.op_type for n in made.graph.node]
    assert len(kinds) - 3 == (1 if slopes == (0.2, 0.2) else 2), kinds


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_what_is_concatenated_in_steps_is_concatenated_at_once(to):
    """Along one axis, and where nothing else reads the step."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, x):
            once = torch.cat((x * 2, torch.cat((x.abs(), torch.cat((x.tanh(), x), 1)), 1), x.exp()), 1)
            across = torch.cat((torch.cat((x, x), 2), torch.cat((x.sin(), x.cos()), 1).reshape(-1, 3, 10)), 1)
            read = torch.cat((x, x + 1), 1)
            return once, across, torch.cat((read, x), 1), read.sum(1)

    example = torch.randn(2, 3, 5)
    made = li.convert(Net(), to, example=example, fold_batch_norm=True, verify=True)
    graph = li.load(made, None if to != "torch" else (example,))
    assert sorted(len(n.inputs) for n in graph.nodes if type(n.op).__name__ == "Concat") == [2, 2, 2, 2, 2, 5]
    for received, expected in zip(li.run(made, [example.numpy()]), Net()(example), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


def test_what_adds_nothing_is_left_out():
    """A branch that is absent adds 0, a scale that was never set is 1: neither stays, whatever else stays."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, x, y):
            x = (x + 0) * 1.0 - torch.zeros(5)
            x = 0.0 + x / torch.ones(4, 1)
            return x + 1e-30, (y + torch.zeros(3, 1)) * 2, x.to(torch.int32) + 0, y + 0

    example = torch.randn(2, 4, 5), torch.randn(2, 1, 5)
    made = li.convert(Net(), "onnx", example=example, fold_batch_norm=True, verify=True)
    kinds = [n.op_type for n in made.graph.node]  # what changes a shape or is an output stays
    assert kinds == ["Add", "Add", "Mul", "Cast", "Add", "Add"]
