"""Layers that many families share, as a library of vision models keeps them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def make_divisible(value: float, divisor: int = 8, minimum: int | None = None, limit: float = 0.9) -> int:
    """The multiple of `divisor` nearest to a width, never much below it."""
    rounded = max(minimum or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < limit * value else rounded


class ConvNormAct(nn.Sequential):
    """A convolution with "same" padding, batch norm, and perhaps an activation."""

    def __init__(self, inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU, dilation=1, padding=None, eps=1e-5):
        padding = (kernel - 1) // 2 * dilation if padding is None else padding
        layers = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
            nn.BatchNorm2d(outputs, eps=eps),
        ]
        if act is not None:
            layers.append(act(inplace=True) if act in (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.LeakyReLU) else act())
        super().__init__(*layers)
        self.out_channels = outputs


class SqueezeExcite(nn.Module):
    """Channels weighed by what their means say."""

    def __init__(self, channels, ratio=0.25, act=nn.ReLU, gate=nn.Sigmoid, divisor=8):
        super().__init__()
        reduced = make_divisible(channels * ratio, divisor)
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.act1 = act(inplace=True)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        scale = x.mean((2, 3), keepdim=True)
        scale = self.conv_expand(self.act1(self.conv_reduce(scale)))
        return x * self.gate(scale)


def drop_path(x: Tensor, probability: float = 0.0, training: bool = False) -> Tensor:
    """Whole examples of a residual branch dropped while training."""
    if probability == 0.0 or not training:
        return x
    keep = 1 - probability
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
    return x * mask.div_(keep)


class DropPath(nn.Module):
    """Stochastic depth."""

    def __init__(self, probability: float = 0.0):
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        return drop_path(x, self.probability, self.training)


class LayerScale(nn.Module):
    """A learnt factor for each feature of the last axis."""

    def __init__(self, dim: int, init: float = 0.1, inplace: bool = False):
        super().__init__()
        self.inplace = inplace
        self.gamma = nn.Parameter(init * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(self.gamma) if self.inplace else x * self.gamma


class LayerScale2d(nn.Module):
    """A learnt factor for each channel of a picture."""

    def __init__(self, dim: int, init: float = 0.1):
        super().__init__()
        self.gamma = nn.Parameter(init * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(1, -1, 1, 1)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a picture."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two dense layers with an activation between them."""

    def __init__(self, dim, hidden=None, act=nn.GELU, outputs=None, drop=0.1):
        super().__init__()
        hidden = hidden or 4 * dim
        self.fc1 = nn.Linear(dim, hidden)
        self.act = act()
        self.drop1 = nn.Dropout(drop)
        self.fc2 = nn.Linear(hidden, outputs or dim)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(x)))))


class ConvMlp(nn.Module):
    """The same of 1x1 convolutions."""

    def __init__(self, dim, hidden=None, act=nn.GELU):
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden or 4 * dim, 1)
        self.act = act()
        self.fc2 = nn.Conv2d(hidden or 4 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class PatchEmbed(nn.Module):
    """A picture as a row of patches."""

    def __init__(self, size=32, patch=8, inputs=3, dim=32, norm=None, flatten=True):
        super().__init__()
        self.grid = (size // patch, size // patch)
        self.num_patches = self.grid[0] * self.grid[1]
        self.flatten = flatten
        self.proj = nn.Conv2d(inputs, dim, patch, patch)
        self.norm = norm(dim) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        if self.flatten:
            x = x.flatten(2).transpose(1, 2)
        return self.norm(x)


class Attention(nn.Module):
    """Attention of tokens to tokens, query, key and value made by one layer; fused or spelled out."""

    def __init__(self, dim, heads=4, qkv_bias=True, fused=True, qk_norm=False):
        super().__init__()
        self.heads, self.head_dim, self.fused = heads, dim // heads, fused
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.q_norm = nn.LayerNorm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(self.head_dim) if qk_norm else nn.Identity()
        self.attn_drop = nn.Dropout(0.1)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop.p if self.training else 0.0)
        else:
            attn = (q * self.scale) @ k.transpose(-2, -1)
            x = self.attn_drop(attn.softmax(dim=-1)) @ v
        return self.proj(x.transpose(1, 2).reshape(B, N, C))


class Block(nn.Module):
    """A pre-norm transformer block with layer scale and stochastic depth."""

    def __init__(self, dim, heads=4, ratio=2.0, init=None, fused=True, qk_norm=False, norm=nn.LayerNorm):
        super().__init__()
        self.norm1 = norm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, fused=fused, qk_norm=qk_norm)
        self.ls1 = LayerScale(dim, init) if init else nn.Identity()
        self.drop_path1 = DropPath(0.1)
        self.norm2 = norm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * ratio))
        self.ls2 = LayerScale(dim, init) if init else nn.Identity()
        self.drop_path2 = DropPath(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class BlurPool2d(nn.Module):
    """A stride that sees a binomial mean of its neighbours, each channel for itself."""

    def __init__(self, channels, kernel=3, stride=2):
        super().__init__()
        self.channels, self.stride = channels, stride
        self.pad = [(kernel - 1) // 2] * 4
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", (row[:, None] * row).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, self.pad, "reflect"), self.filt, stride=self.stride, groups=self.channels)


class GlobalPoolHead(nn.Module):
    """Mean over the picture, dropout, scores."""

    def __init__(self, channels, classes=10, drop=0.2):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        self.drop = nn.Dropout(drop)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.flatten(self.pool(x))))
