"""Convolutional networks with the manners of transformers: ConvNeXt in both manners, v2's response norm, ConvMixer, PoolFormer, MambaOut, StarNet, InceptionNeXt, FocalNet."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from . import family
from .layers import ConvMlp, ConvNormAct, DropPath, GlobalPoolHead, LayerNorm2d, LayerScale2d, Mlp


class Permute(nn.Module):
    def __init__(self, dims: list[int]):
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return torch.permute(x, self.dims)


class CNBlock(nn.Module):
    """torchvision's: permuted between the depthwise convolution and two dense layers."""

    def __init__(self, dim: int, layer_scale: float):
        super().__init__()
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim, bias=True), Permute([0, 2, 3, 1]), norm_layer(dim),
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim), Permute([0, 3, 1, 2]),
        )  # fmt: skip
        self.layer_scale = nn.Parameter(torch.ones(dim, 1, 1) * layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        result = self.layer_scale * self.block(x)
        result += x
        return result


@family((3, 24, 24), inside=8, backends=True)
def convnext_torchvision():
    stem = [nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8, eps=1e-6)]
    down = [LayerNorm2d(8, eps=1e-6), nn.Conv2d(8, 12, 2, 2)]
    head = [nn.AdaptiveAvgPool2d(1), LayerNorm2d(12, eps=1e-6), nn.Flatten(1), nn.Linear(12, 10)]
    return nn.Sequential(*stem, CNBlock(8, 0.5), *down, CNBlock(12, 0.5), *head)


class GlobalResponseNorm(nn.Module):
    """How strong each channel is over the picture, measured by its neighbours."""

    def __init__(self, dim: int, channels_last: bool):
        super().__init__()
        self.spatial, self.channel = ((1, 2), -1) if channels_last else ((2, 3), 1)
        self.shape = (1, 1, 1, -1) if channels_last else (1, -1, 1, 1)
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        strength = x.norm(p=2, dim=self.spatial, keepdim=True)
        strength = strength / (strength.mean(dim=self.channel, keepdim=True) + 1e-6)
        return x + torch.addcmul(self.bias.view(self.shape), self.weight.view(self.shape), x * strength)


class ConvNeXtBlock(nn.Module):
    """timm's, version 2: dense layers over the last axis, or 1x1 convolutions."""

    def __init__(self, dim: int, conv_mlp: bool):
        super().__init__()
        self.conv_mlp = conv_mlp
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim, eps=1e-6) if conv_mlp else nn.LayerNorm(dim, eps=1e-6)
        self.mlp = ConvMlp(dim, 2 * dim) if conv_mlp else Mlp(dim, 2 * dim)
        self.mlp.act = nn.Sequential(nn.GELU(), GlobalResponseNorm(2 * dim, not conv_mlp))
        self.gamma = nn.Parameter(torch.ones(dim))
        self.drop_path = DropPath(0.1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.conv_dw(x)
        if self.conv_mlp:
            x = self.mlp(self.norm(x))
        else:
            x = self.mlp(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        x = x.mul(self.gamma.reshape(1, -1, 1, 1))
        return self.drop_path(x) + shortcut


@family((3, 16, 16), inside=6)
def convnext_v2():
    return nn.Sequential(nn.Conv2d(3, 8, 4, 2), ConvNeXtBlock(8, True), ConvNeXtBlock(8, False), GlobalPoolHead(8))


class Residual(nn.Module):
    def __init__(self, fn: nn.Module):
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) + x


@family((3, 20, 20), plain=True)
def convmixer():
    """An even kernel with "same" padding by name."""
    blocks = [
        nn.Sequential(
            Residual(nn.Sequential(nn.Conv2d(8, 8, kernel, groups=8, padding="same"), nn.GELU(), nn.BatchNorm2d(8))),
            nn.Conv2d(8, 8, kernel_size=1), nn.GELU(), nn.BatchNorm2d(8),
        )
        for kernel in (5, 4)
    ]  # fmt: skip
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.BatchNorm2d(8), *blocks, GlobalPoolHead(8))


class Pooling(nn.Module):
    def __init__(self, size: int = 3):
        super().__init__()
        self.pool = nn.AvgPool2d(size, stride=1, padding=size // 2, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x) - x


class PoolFormerBlock(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(1, dim)
        self.token_mixer = Pooling()
        self.layer_scale1 = LayerScale2d(dim)
        self.norm2 = nn.GroupNorm(1, dim)
        self.mlp = ConvMlp(dim, 2 * dim)
        self.layer_scale2 = LayerScale2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.layer_scale1(self.token_mixer(self.norm1(x)))
        return x + self.layer_scale2(self.mlp(self.norm2(x)))


@family((3, 28, 28), plain=True)
def poolformer():
    stem, down = nn.Conv2d(3, 8, 7, 4, 2), nn.Conv2d(8, 12, 3, 2, 1)
    return nn.Sequential(stem, PoolFormerBlock(8), down, PoolFormerBlock(12), nn.GroupNorm(1, 12), GlobalPoolHead(12))


class GatedConvBlock(nn.Module):
    """MambaOut: a gate, a part that passes and a part that is convolved, over channels that stand last."""

    def __init__(self, dim: int, expansion: int = 2, part: float = 0.5):
        super().__init__()
        hidden, conv = dim * expansion, int(part * dim)
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden * 2)
        self.act = nn.GELU(approximate="tanh")
        self.split_indices = (hidden, hidden - conv, conv)
        self.conv = nn.Conv2d(conv, conv, 7, padding=3, groups=conv)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        g, i, c = torch.split(self.fc1(self.norm(x)), self.split_indices, dim=-1)
        c = self.conv(c.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(self.act(g) * torch.cat((i, c), dim=-1)) + shortcut


@family((3, 16, 16), inside=6)
def mambaout():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Permute([0, 2, 3, 1]), GatedConvBlock(8), Permute([0, 3, 1, 2]), GlobalPoolHead(8))


class StarBlock(nn.Module):
    """Two branches multiplied."""

    def __init__(self, dim: int):
        super().__init__()
        self.dwconv = ConvNormAct(dim, dim, 7, groups=dim, act=None)
        self.f1, self.f2 = nn.Conv2d(dim, 3 * dim, 1), nn.Conv2d(dim, 3 * dim, 1)
        self.act = nn.ReLU6()
        self.g = ConvNormAct(3 * dim, dim, 1, act=None)
        self.dwconv2 = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x)
        return x + self.dwconv2(self.g(self.act(self.f1(y)) * self.f2(y)))


@family((3, 20, 20), plain=True)
def starnet():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2, act=nn.ReLU6), StarBlock(8), GlobalPoolHead(8))


class InceptionDepthwise(nn.Module):
    """InceptionNeXt: channels that pass, a square, a row and a column."""

    def __init__(self, channels: int, square: int = 3, band: int = 11, ratio: float = 0.25):
        super().__init__()
        width = int(channels * ratio)
        self.dwconv_hw = nn.Conv2d(width, width, square, padding=square // 2, groups=width)
        self.dwconv_w = nn.Conv2d(width, width, (1, band), padding=(0, band // 2), groups=width)
        self.dwconv_h = nn.Conv2d(width, width, (band, 1), padding=(band // 2, 0), groups=width)
        self.split_indexes = (channels - 3 * width, width, width, width)

    def forward(self, x: Tensor) -> Tensor:
        passed, x_hw, x_w, x_h = torch.split(x, self.split_indexes, dim=1)
        return torch.cat((passed, self.dwconv_hw(x_hw), self.dwconv_w(x_w), self.dwconv_h(x_h)), dim=1)


@family((3, 24, 24), plain=True)
def inception_next():
    return nn.Sequential(nn.Conv2d(3, 12, 4, 2), InceptionDepthwise(12), nn.BatchNorm2d(12), ConvMlp(12, 24), GlobalPoolHead(12))


class FocalModulation(nn.Module):
    """Contexts of growing reach, each gated, summed and used as a factor."""

    def __init__(self, dim: int, levels: int = 2, window: int = 3):
        super().__init__()
        self.levels, self.split = levels, [dim, dim, levels + 1]
        self.f = nn.Conv2d(dim, 2 * dim + levels + 1, 1)
        self.h = nn.Conv2d(dim, dim, 1)
        self.act = nn.GELU()
        self.proj = nn.Conv2d(dim, dim, 1)
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, k, groups=dim, padding=k // 2, bias=False), nn.GELU())
            for k in range(window, window + 2 * levels, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, ctx, gates = self.f(x).split(self.split, 1)
        ctx_all = 0
        for level, layer in enumerate(self.focal_layers):
            ctx = layer(ctx)
            ctx_all = ctx_all + ctx * gates[:, level : level + 1]
        ctx_global = self.act(ctx.mean((2, 3), keepdim=True))
        ctx_all = ctx_all + ctx_global * gates[:, self.levels :]
        return self.proj(q * self.h(ctx_all))


@family((3, 18, 18), inside=2)
def focalnet():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Residual(FocalModulation(8)), Residual(LayerNorm2d(8)), GlobalPoolHead(8))
