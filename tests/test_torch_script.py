"""Script modules as sources: compiled and traced, they convert as the network they were made of does."""

import io
from typing import Optional

import network_checks as checks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused, UnsafeFile, Usage

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.filterwarnings(
        "ignore:.*torch.jit.*:DeprecationWarning", "ignore:The TorchScript type system:UserWarning"
    ),
]
X = torch.randn(2, 3, 8, 8)


def compiled(network, how=torch.jit.script):
    """The network compiled, saved and loaded again."""
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.jit.save(how(network.eval()), file)
    file.seek(0)
    return torch.jit.load(file)


def traced(*example):
    return lambda network: torch.jit.trace(network, example, check_trace=False)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.LeakyReLU(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Network(nn.Module):
    """Functions, loops over modules and lists, sizes, branches on settings, a buffer and an attribute."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(3, 4), Block(4, 4)])
        self.register_buffer("scale", torch.rand(4, 1, 1))
        self.offset = torch.rand(4, 1, 1)
        self.widths = [1, 3]
        self.pooled = True
        self.head = nn.Linear(4, 5)

    def features(self, x: Tensor) -> list[Tensor]:
        kept: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            kept.append(x)
        return kept

    def forward(self, x: Tensor) -> Tensor:
        kept = self.features(x)
        y = kept[0]
        for width in self.widths:
            y = y + F.avg_pool2d(kept[1], width, 1, width // 2)
        y = (y * self.scale).add_(self.offset)
        if self.pooled:
            y = F.interpolate(y, scale_factor=2.0, mode="nearest")
        y = y.view(y.size(0), y.shape[1], -1).mean(-1)
        i = 0
        while i < 2:
            y = F.relu(y + i)
            i += 1
        return self.head(y)


@pytest.mark.parametrize("how", [torch.jit.script, traced(X)], ids=["compiled", "traced"])
@pytest.mark.parametrize("to", ["onnx", "keras"])
def test_a_network_with_its_names_and_an_open_batch(how, to):
    script = compiled(Network(), how)
    graph, conversion, report = checks.converted(script, to, (X,))
    assert report.source.startswith("torch Network (") and graph.inputs[0].shape[0] != 2
    checks.check_batches(graph, conversion)
    back = li.convert(conversion.model, to="torch").state_dict()
    for name, tensor in script.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(back[name], tensor), name
    assert [p.name for p in graph.parameters() if p.trainable] == [n for n, _ in Network().named_parameters()]


def test_layers_are_called_as_in_the_network_itself():
    script, plain = li.load(compiled(Network()), (X,)), li.load(Network().eval(), (X,))
    assert [n.name for n in script.nodes] == [n.name for n in plain.nodes]
    assert script.classes == plain.classes


class Several(nn.Module):
    def forward(self, x: Tensor, y: Optional[Tensor] = None, gain: float = 2.0) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: UP045
        z = x * gain
        if y is not None:
            z = z + y
        a, b = z.chunk(2, dim=1)
        n: int = x.shape[-1] // 2
        return a, {"sum": b + n, "parts": torch.cat([p.sigmoid() for p in (a, b)], 1)}


def test_several_inputs_and_outputs_and_what_is_left_out():
    script = compiled(Several())
    for example in ((X[:, :2],), (X[:, :2], X[:, :2] + 1), {"x": X[:, :2], "y": X[:, :2]}):
        report = li.verify(script, li.convert(script, to="onnx", example=example), example=example)
        assert report.passed, str(report)
    graph = li.load(script, input_shapes={"x": (None, 2, 4, 4)})
    assert [v.name for v in graph.inputs] == ["x"] and graph.inputs[0].shape[1:] == (2, 4, 4)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.twice = self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(self.b(self.a(x)))


@pytest.mark.parametrize("how", [torch.jit.script, traced(torch.randn(2, 4))], ids=["compiled", "traced"])
def test_tied_weights_stay_tied(how):
    graph = li.load(compiled(Tied(), how), (torch.randn(2, 4),))
    weights = [n.inputs[1].const for n in graph.nodes]
    assert len({id(w.root) for w in weights}) == 1


class First(nn.Module):
    """A recurrent layer has forms of forward for packed sequences and others."""

    def __init__(self, rnn: nn.Module):
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (First(nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)), (torch.randn(2, 6, 4),)),
        (First(nn.GRU(4, 5)), (torch.randn(6, 2, 4),)),
        (
            nn.Sequential(nn.Conv1d(3, 4, 3, padding="same"), nn.ConvTranspose1d(4, 2, 4, 2), nn.PReLU(2)),
            (torch.randn(2, 3, 9),),
        ),
        (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.InstanceNorm2d(3), nn.PixelUnshuffle(2)), (X,)),
    ],
    ids=["lstm", "gru", "one axis", "images"],
)
@pytest.mark.parametrize("trace", [False, True], ids=["compiled", "traced"])
def test_layers_of_many_kinds(network, example, trace):
    script = compiled(network, traced(*example) if trace else torch.jit.script)
    report = li.verify(script, li.convert(script, to="onnx", example=example), example=example)
    assert report.passed, str(report)


def test_a_frozen_module_has_no_names_but_the_same_numbers():
    script = torch.jit.freeze(torch.jit.script(Network().eval()))
    report = li.verify(script, li.convert(script, to="onnx", example=(X,)), example=(X,))
    assert report.passed, str(report)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return x
        return -x


class Unset(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count = self.count + 1
        return x * self.count


def test_what_a_graph_cannot_say_is_refused():
    with pytest.raises((Refused, Usage)):
        li.load(compiled(Branching()), (X,))
    with pytest.raises(Refused, match=r"SetAttr of TorchScript.*torch\.export"):
        li.load(compiled(Unset()), (X,))
    with pytest.raises(Usage, match="needs an example"):
        li.load(compiled(Network()))


class Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.dim() == 5, f"no {x.dim()} axes"
        return x


def test_an_error_that_the_network_raises_is_its_own():
    with pytest.raises(Refused, match="no 4 axes"):
        li.load(compiled(Raising()), (X,))


def test_a_file_on_the_command_line(tmp_path):
    torch.jit.script(Network().eval()).save(tmp_path / "net.pt")
    arguments = ["convert", str(tmp_path / "net.pt"), str(tmp_path / "net.onnx"), "--input-shape", "x:N,3,8,8"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--no-sandbox"])
    assert ended.value.code == 0
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype("f")
    (found,) = li.run(str(tmp_path / "net.onnx"), [x])
    np.testing.assert_allclose(
        found, torch.jit.load(tmp_path / "net.pt")(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_a_file_that_is_not_safe(tmp_path):
    class Saving(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            torch.manual_seed(0)
            return x

    torch.jit.script(Saving()).save(tmp_path / "net.pt")
    with pytest.raises(UnsafeFile, match="manual_seed"):
        li.load(tmp_path / "net.pt", (X,))


def test_living_results_are_graph_modules():
    made = transfer_graph(li.load(compiled(Network()), (X,)), "torch").model
    assert isinstance(made, torch.fx.GraphModule)


class Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5 + (x > 1) * 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int64, torch.bool])
def test_a_number_in_a_trace_decides_no_element_type(dtype):
    x = torch.tensor([[0, 1], [2, 3]]).to(dtype)
    script = compiled(Halved(), traced(x > 0 if dtype == torch.bool else x))
    made = li.run(li.convert(script, to="torch", example=(x,)), [x.numpy()])
    np.testing.assert_array_equal(np.asarray(made).reshape(2, 2), script(x).numpy(), strict=True)


def test_element_types_are_compared_as_numbers():
    class Kind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.dtype == torch.float32 else x - 1

    for dtype in (torch.float32, torch.int64):
        x = torch.tensor([[1, 2]]).to(dtype)
        script = compiled(Kind())
        made = li.run(li.convert(script, to="torch", example=(x,)), [x.numpy()])
        np.testing.assert_array_equal(np.asarray(made).reshape(1, 2), script(x).numpy())
