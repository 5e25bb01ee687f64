"""What exported programs take, keep and give: nesting, numbers, buffers, state; and what is refused by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Refused, Unsupported
from tests.family_checks import ALL

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


@dataclasses.dataclass
class Pair:
    """What a network takes and gives."""

    first: torch.Tensor
    second: torch.Tensor


torch.export.register_dataclass(Pair)


def network(function, **members):
    """A module of a function and what it holds: buffers of tensors, submodules."""

    class Network(nn.Module):
        forward = function

    made = Network()
    for name, member in members.items():
        if isinstance(member, nn.Module):
            setattr(made, name, member)
        else:
            made.register_buffer(name, member, persistent=name != "passing")
    return made.eval()


def verified(model, args, kwargs=None):
    """The graph of an exported program that converts to every framework."""
    program = torch.export.export(model, args, kwargs or {}, strict=False)
    for framework in ALL:
        li.convert(program, framework, verify=True)
    return li.load(program)


def test_numbers_among_the_inputs_are_fixed():
    def forward(self, x, count, *, flag=True, scale=2.5):
        return x * count + scale if flag else x

    graph = verified(network(forward), (X, 3), {"scale": 1.5})
    assert [v.name for v in graph.inputs] == ["x"]
    np.testing.assert_array_equal(graph.run(X.numpy())[0], (X * 3 + 1.5).numpy())
    for example in ((X, 3), {"x": X, "count": 3, "scale": 0.5}):  # and of a module, run by its owner
        li.convert(network(forward), "onnx", example=example, verify=True)


def test_nothing_among_the_outputs_is_left_out():
    graph = verified(network(lambda self, x: {"a": x + 1, "n": None, "k": [x * 2, (x - 1, None)]}), (X,))
    assert graph.structure == {"a": 0, "k": [1, (2,)]} and graph.output_names == ["a", "k_0", "k_1_0"]


def test_numbers_among_the_outputs_are_outputs():
    graph = verified(network(lambda self, x: (x * 2, x.shape[0], 3.5, True)), (X,))
    assert [a.dtype.name for a in graph.run(X.numpy())] == ["float32", "int64", "float32", "bool"]


def test_inputs_and_outputs_may_be_nested():
    def forward(self, d, *, k):
        return Pair(d["p"][0] + d["q"].first, d["p"][1] * k["z"])

    graph = verified(network(forward), ({"p": [X, X + 1], "q": Pair(X - 1, X)},), {"k": {"z": X * 2}})
    assert graph.structure == {"first": 0, "second": 1}
    assert [v.name for v in graph.inputs] == ["d_p_0", "d_p_1", "d_q_first", "d_q_second", "k_z"]


def test_weights_may_be_shared_and_buffers_may_not_be_saved():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = network(lambda self, x: self.second(self.first(x)) + self.passing, first=first, second=second, passing=torch.ones(3))
    graph = verified(model, (X,))
    used = {id(v.const.root) for n in graph.nodes for v in n.inputs if v.const is not None and v.const.name and v.rank == 2}
    assert len(used) == 1


def test_statistics_of_the_batch_stay_those_of_the_batch():
    kept = network(lambda self, x: self.norm(x), norm=nn.BatchNorm1d(3, track_running_stats=False))
    in_use = network(
        lambda self, x: nn.functional.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True), norm=nn.BatchNorm1d(3)
    )
    for model in (kept, in_use):
        assert "BatchStatisticsNorm" in str(verified(model, (X,)))
    program = torch.export.export(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train(), (X,), strict=False)
    assert "BatchStatisticsNorm" in str(li.load(program))


def test_a_buffer_that_is_written_and_read_is_refused():
    def forward(self, x):
        self.count.add_(1)
        return x + self.count

    with pytest.raises(Refused, match=r"the buffer 'count'.*depend on the calls before"):
        li.load(network(forward, count=torch.zeros(3)), (X,))

    def counting(self, x):
        self.count.add_(1)
        return x * 2

    assert len(li.load(network(counting, count=torch.zeros(3)), (X,)).nodes) == 1


@pytest.mark.parametrize(
    ("forward", "what"),
    [
        (lambda self, x: nn.functional.dropout(x, 0.5, training=True), "a dropout that stays active at inference"),
        (lambda self, x: x + torch.rand(3), r"aten\.rand\.default, which draws random numbers"),
        (lambda self, x: x + torch.randn_like(x), r"aten\.randn_like\.default, which draws random numbers"),
        (lambda self, x: torch.bernoulli(x.sigmoid()), r"aten\.bernoulli\.default, which draws random numbers"),
        (lambda self, x: torch.multinomial(x.exp(), 2), r"aten\.multinomial\.default, which draws random numbers"),
        (lambda self, x: x.clone().normal_(), "which draws random numbers"),
    ],
    ids=["dropout", "rand", "randn_like", "bernoulli", "multinomial", "normal_"],
)
def test_what_is_drawn_is_refused_by_name(forward, what):
    with pytest.raises(Refused, match=what):
        li.load(network(forward), (X,))


def test_what_writes_to_a_given_tensor_is_read():
    verified(network(lambda self, x, y: torch.atan2(x, y, out=torch.empty_like(x))), (X, X + 1))


def test_composites_and_copies_without_an_importer_are_read_as_torch_defines_them():
    def forward(self, x):
        ends = torch.hsplit(x, (1,))
        return torch.atleast_3d(ends[1]) + torch.view_copy(x, (2, 3, 1))[:, :2], torch.dist(x, x * 2), torch.permute_copy(x, (1, 0))

    verified(network(forward), (X,))


def test_what_has_no_definition_is_named():
    with pytest.raises(Unsupported, match=r"aten\.linalg_eig\.default"):
        li.load(network(lambda self, x: torch.linalg.eig(x)[0].real), (torch.randn(3, 3),))
