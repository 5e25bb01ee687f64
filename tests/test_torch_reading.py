"""How PyTorch modules are read: regions under modes, and weights that keep the names and shapes their modules give them."""

import json

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused

X = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype("f")


class Modes(nn.Module):
    """Parts without gradients and without autocast, one inside the other."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        with torch.no_grad():
            y = self.first(x)
        with torch.autocast("cpu", enabled=False):
            doubled = y.float() * 2
            z = self.second(doubled)
            with torch.no_grad():
                z = z + 1
        return doubled + z, z


@pytest.mark.one_backend
def test_regions_without_gradients_or_autocast_are_read():
    program = torch.export.export(Modes().eval(), (torch.from_numpy(X),), strict=False)
    before = str(program.graph)
    assert "wrap_with_autocast" in before and "wrap_with_set_grad_enabled" in before
    for source, example in ((Modes().eval(), (X,)), (program, None)):
        assert li.verify(source, li.convert(source, to="onnx", example=example), example=example).passed
    assert str(program.graph) == before


@pytest.mark.one_backend
def test_a_region_under_autocast_is_refused():
    class Narrow(nn.Conv2d):
        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(x)

    with pytest.raises(Refused, match=r"autocast to torch\.bfloat16"):
        li.load(Narrow(3, 4, 3).eval(), (X,))


class ChannelNorm(nn.LayerNorm):
    """A norm of another maker, with calls around the one that takes its weight."""

    def forward(self, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class Owners(nn.Module):
    """Weights of several owners: a foreign norm, a layer used by its weight alone, free ones in several shapes, constants."""

    def __init__(self):
        super().__init__()
        self.norm = ChannelNorm(3)
        self.mix = nn.Linear(3, 3, bias=False)
        self.shared = nn.Conv2d(3, 3, 1)
        self.gamma = nn.Parameter(torch.randn(3))
        self.grid = nn.Parameter(torch.randn(8, 8))
        self.places = nn.Parameter(torch.randn(1, 64, 3))
        self.register_buffer("order", torch.arange(7, -1, -1))
        self.register_buffer("window", torch.hann_window(8), persistent=False)

    def forward(self, x):
        x = self.norm(x) * self.gamma.view(1, -1, 1, 1) + self.grid.reshape(1, 1, 8, 8) * self.window
        x = x.flatten(2).transpose(1, 2) + self.places
        x = F.linear(x, self.mix.weight).transpose(1, 2).reshape(-1, 3, 8, 8)
        return self.shared(self.shared(x).relu())[:, :, self.order]


@pytest.mark.parametrize("through", ["onnx", "torch", "keras"])
def test_weights_come_back_under_their_names_and_in_their_shapes(through):
    torch.manual_seed(0)
    model = Owners().eval()
    back = transfer_graph(li.load(transfer_graph(li.load(model, (X,)), through).model, (X,)), "torch").model
    expected, received = model.state_dict(), back.state_dict()
    if through == "keras":  # it has no whole numbers in layers
        received["order"] = received["order"].long().reshape(8)
    assert received.keys() == expected.keys()
    assert all(torch.equal(received[key], expected[key]) for key in expected)
    assert torch.allclose(back(torch.from_numpy(X)), model(torch.from_numpy(X)), atol=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "said",
    [
        [[2, 2], [["reshape", [1, 3, 1, 1]]]], [[3], [["reshape", [1, 3]]]], [[3], [["take", [0, 1, 2]]]], [[3], [["transpose", [5]]]],
        [[-3], []], "x", 7, None, [[3]], [["a"], []], [[3], [["reshape", ["a"]]]], [[10**30], [["reshape", [1, 3, 1, 1]]]], {},
    ],
)  # fmt: skip
def test_what_a_file_says_of_its_weights_changes_no_number(said):
    """Metadata that does not fit is passed over."""
    model = li.convert(Owners().eval(), to="onnx", example=(X,))
    expected = li.run(model, X)[0]
    entry = next(p for p in model.metadata_props if p.key == "leaky_interop.views")
    told = json.loads(entry.value)
    assert told["gamma"] == [[3], [["reshape", [1, 3, 1, 1]]]]
    entry.value = json.dumps(told | {"gamma": said})
    graph = li.load(onnx.load_from_string(model.SerializeToString()))
    np.testing.assert_allclose(graph.run(X)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize("value", ["7", "[]", "null", '"x"'])
def test_views_that_are_no_table_are_passed_over(value):
    model = li.convert(Owners().eval(), to="onnx", example=(X,))
    next(p for p in model.metadata_props if p.key == "leaky_interop.views").value = value
    assert li.load(model).inputs
