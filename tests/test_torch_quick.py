"""Exporting quicker changes nothing but time: the same calls, and the same shapes, strides and types."""

import contextlib

import pytest
import torch
from torch import nn

from leaky_interop.frameworks.torch import export as exporting
from leaky_interop.frameworks.torch import quick
from leaky_interop.frameworks.torch.quick import UNARY

aten = torch.ops.aten


class Calls(nn.Module):
    """One call of a function on its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.norm = nn.BatchNorm2d(6)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def unary(name):
    return lambda module, x: getattr(aten, name).default(x)


def in_place(name):
    return lambda module, x: getattr(aten, f"{name}_").default(x * 1.0)


IMAGE = torch.randn(2, 6, 5, 4)
FUNCTIONS = {
    **{name: (unary(name), (IMAGE,)) for name in UNARY},
    **{f"{name}_": (in_place(name), (IMAGE,)) for name in UNARY},
    "norm": (lambda module, x: module.norm(x), (IMAGE,)),
    "cat of channels": (lambda module, x: torch.cat([x, x * 2, x], 1), (IMAGE,)),
    "cat of batches": (lambda module, x: torch.cat([x, x * 2], 0), (IMAGE,)),
    "cat from the end": (lambda module, x: torch.cat([x, x[:, :, :3]], -2), (IMAGE,)),
    "cat of other types": (lambda module, x: torch.cat([x, x.to(torch.float64)], 1), (IMAGE,)),
    "cat with a list that is empty": (lambda module, x: torch.cat([x.flatten(), torch.zeros(0)]), (IMAGE,)),
    "cat of permuted": (lambda module, x: torch.cat([x.mT, x.mT], 1), (IMAGE,)),
    "clone": (lambda module, x: x.clone() + 1, (IMAGE,)),
    "clone channels last": (lambda module, x: x.clone(memory_format=torch.channels_last).relu(), (IMAGE,)),
    "permuted": (lambda module, x: torch.sigmoid(x.permute(0, 2, 3, 1)), (IMAGE,)),
    "expanded": (lambda module, x: torch.tanh(x[:, :1].expand(-1, 6, -1, -1)), (IMAGE,)),
    "channels last": (lambda module, x: module.norm(nn.functional.hardswish(x)), (IMAGE.to(memory_format=torch.channels_last),)),
    "integers": (lambda module, x: torch.sigmoid(x) + torch.relu(x), (torch.arange(12).reshape(2, 6),)),
    "float16": (lambda module, x: nn.functional.silu(x), (IMAGE.half(),)),
    "numbers": (lambda module, x: nn.functional.leaky_relu(nn.functional.hardtanh(x, -2.0, 3.0), 0.3), (IMAGE,)),
}  # fmt: skip


def traced(function, inputs, static):
    program = exporting.export(Calls(function), inputs, None, static)
    return [(node.op, str(node.target), str(node.args), told(node.meta.get("val"))) for node in program.graph.nodes]


def told(value):
    values = value if isinstance(value, tuple | list) else [value]
    return [
        (str(v.shape), str(v.stride()), v.dtype, v.device) if isinstance(v, torch.Tensor) else str(v) for v in values
    ]


@pytest.mark.parametrize("static", [False, True], ids=["open", "fixed"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_program(name, static, monkeypatch):
    function, inputs = FUNCTIONS[name]
    found = traced(function, inputs, static)
    monkeypatch.setattr(exporting, "quick", contextlib.nullcontext)
    assert found == traced(function, inputs, static)


def test_torch_is_left_as_it_was():
    from torch._subclasses.fake_impls import get_fast_op_impls

    before = dict(get_fast_op_impls())
    with pytest.raises(ValueError, match="inside"), quick.quick():
        assert aten.hardswish.default in get_fast_op_impls()
        assert torch.fx.config.do_not_emit_stack_traces
        raise ValueError("inside")
    assert get_fast_op_impls() == before
    assert not torch.fx.config.do_not_emit_stack_traces


def test_without_torchs_table_nothing_is_told(monkeypatch):
    import torch._subclasses.fake_impls as internals

    monkeypatch.delattr(internals, "get_fast_op_impls")
    assert traced(*FUNCTIONS["norm"], False)


def test_shortcuts_are_taken(monkeypatch):
    """Otherwise all of the above would compare torch with itself."""
    taken = set()
    for name in ("_copied", "_normalised", "_joined"):
        real = getattr(quick, name)

        def told(*args, real=real, name=name, **kwargs):
            taken.add(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(quick, name, told)
    for name in ("hardswish", "norm", "cat of channels"):
        traced(*FUNCTIONS[name], False)
    assert taken == {"_copied", "_normalised", "_joined"}
