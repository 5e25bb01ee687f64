"""TorchScript of evaluated transformers: the fused steps that torch takes where no gradients are wanted."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import leaky_interop as li
from leaky_interop.errors import Refused

pytestmark = [pytest.mark.one_backend, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]
FUSED = ("aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd")


def saved(made):
    """The script as it comes from a file."""
    file = io.BytesIO()
    torch.jit.save(made, file)
    file.seek(0)
    return torch.jit.load(file)


def traced(network, *example):
    with torch.no_grad():
        return saved(torch.jit.trace(network.eval(), example, check_trace=False))


def check(script, *arrays, to=("onnx", "torch", "keras")):
    """Fused steps are in the script, and every conversion gives its numbers at other batch sizes too."""
    assert any(step in str(script.inlined_graph) for step in FUSED)
    for framework in to:
        made = li.convert(script, to=framework, example=arrays)
        for batch in (1, 2, 7):
            given = [a[:1].repeat(batch, *(1,) * (a.ndim - 1)) for a in arrays]
            given = [g + 0.1 * torch.randn(g.shape) if g.is_floating_point() else g for g in given]
            with torch.no_grad():
                wanted = script(*given)
            found = li.run(made, [g.numpy() for g in given])
            for one, two in zip(
                wanted if isinstance(wanted, tuple) else [wanted],
                found if isinstance(found, list | tuple) else [found],
                strict=True,
            ):
                np.testing.assert_allclose(np.asarray(two), one.numpy(), rtol=1e-4, atol=2e-6)


def encoder(layers=2, nested=True, **settings):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **settings)
    made = nn.TransformerEncoder(layer, layers, nn.LayerNorm(8, eps=1e-3), enable_nested_tensor=nested).eval()
    for parameter in made.parameters():  # away from ones and zeros
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return made


@pytest.mark.parametrize("settings", [{}, {"norm_first": True, "activation": "gelu", "layer_norm_eps": 1e-2}])
def test_encoders(settings):
    x = torch.randn(2, 5, 8)
    check(traced(encoder(**settings), x), x)
    check(saved(torch.jit.script(encoder(**settings))), x, to=("onnx",))


class Attention(nn.Module):
    def __init__(self, average: bool, weights: bool):
        super().__init__()
        torch.manual_seed(1)
        self.inner = nn.MultiheadAttention(12, 2, batch_first=True)
        self.inner.in_proj_bias.data.normal_()
        self.inner.out_proj.bias.data.normal_()
        self.average, self.weights = average, weights

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.inner(x, x, x, need_weights=self.weights, average_attn_weights=self.average)


class Result(Attention):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("average", [True, False])
def test_attention_with_its_weights(average):
    x = torch.randn(2, 4, 12)
    check(traced(Attention(average, True), x), x)


def test_attention_alone():
    x = torch.randn(2, 4, 12)
    check(traced(Result(True, False), x), x)
    check(saved(torch.jit.script(Result(True, False).eval())), x, to=("onnx",))


class Masked(nn.Module):
    """Looks at what came before, or not at what a mask of each example hides."""

    def __init__(self, before: bool):
        super().__init__()
        self.inner, self.before = encoder(nested=False), before

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        if self.before:
            return self.inner(x + hidden[..., None] * 0.5, mask=torch.ones(5, 5, dtype=torch.bool).triu(1))
        return self.inner(x, src_key_padding_mask=hidden)


@pytest.mark.parametrize("before", [True, False])
def test_masks(before):
    x, hidden = torch.randn(2, 5, 8), torch.tensor([[False, False, True, False, True]] * 2)
    check(traced(Masked(before), x, hidden), x, hidden)


def test_who_may_look_at_nothing_gives_no_number():
    x, hidden = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [True] * 5])
    script = traced(Masked(False), x, hidden)
    for framework in ("onnx", "torch"):
        found = li.run(li.convert(script, to=framework, example=(x, hidden)), [x.numpy(), hidden.numpy()])
        found = np.asarray(found).reshape(2, 5, 8)
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[0]).all()


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = encoder()

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        return self.inner(x, src_key_padding_mask=hidden)


def test_nested_rows_are_refused_with_the_way_round():
    x, hidden = torch.randn(2, 5, 8), torch.tensor([[False, False, False, True, True]] * 2)
    with pytest.raises(Refused, match="enable_nested_tensor=False"):
        li.load(saved(torch.jit.script(Nested().eval().requires_grad_(False))), (x, hidden))


class Across(nn.Module):
    """Other keys than queries: torch takes the fused step here only where it is called by its own name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.inner = nn.MultiheadAttention(12, 2, batch_first=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        inner = self.inner
        made = torch._native_multi_head_attention(
            x, y, y * 2, 12, 2, inner.in_proj_weight, inner.in_proj_bias, inner.out_proj.weight, inner.out_proj.bias,
        )  # fmt: skip
        return made[0]


def test_other_keys_than_queries():
    x, y = torch.randn(2, 4, 12), torch.randn(2, 4, 12)
    check(traced(Across(), x, y), x, y, to=("onnx",))
