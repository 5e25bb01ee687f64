"""Networks without batch norm at run time: NFNet and BiT with standardised weights, EvoNorm, filter response norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import DropPath, GlobalPoolHead, SqueezeExcite


class ScaledStdConv2d(nn.Conv2d):
    """A kernel standardised at each call, by batch norm in training mode over its rows, with a learnt gain."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, gamma=1.7139588594436646, eps=1e-6):
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=True)
        self.gain = nn.Parameter(torch.full((outputs, 1, 1, 1), 1.0))
        self.scale = gamma * self.weight[0].numel() ** -0.5
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(
            self.weight.reshape(1, self.out_channels, -1), None, None,
            weight=(self.gain * self.scale).view(-1), training=True, momentum=0.0, eps=self.eps,
        ).reshape_as(self.weight)  # fmt: skip
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class NormFreeBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, alpha=0.2, beta=1.0):
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.downsample = None
        if stride > 1 or inputs != outputs:
            pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
            self.downsample = nn.Sequential(pool, ScaledStdConv2d(inputs, outputs, 1))
        self.act1 = nn.SiLU()
        self.conv1 = ScaledStdConv2d(inputs, outputs // 2, 1)
        self.act2 = nn.SiLU(inplace=True)
        self.conv2 = ScaledStdConv2d(outputs // 2, outputs // 2, 3, stride, groups=2)
        self.attn_last = SqueezeExcite(outputs, 0.5, divisor=4)
        self.attn_gain = 2.0
        self.conv3 = ScaledStdConv2d(outputs // 2, outputs, 1)
        self.drop_path = DropPath(0.1)
        self.skipinit_gain = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        out = self.act1(x) * self.beta
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv2(self.act2(self.conv1(out)))
        out = self.attn_gain * self.attn_last(self.conv3(out))
        out = self.drop_path(out)
        out.mul_(self.skipinit_gain)
        return out * self.alpha + shortcut


@family(inside=8)
def nfnet():
    """What is transposed in Keras are the kernels, standardised in the order of PyTorch."""
    blocks = [NormFreeBlock(8, 16, 2), NormFreeBlock(16, 16, 1, beta=0.98)]
    return nn.Sequential(ScaledStdConv2d(3, 8, 3, 2), *blocks, GlobalPoolHead(16))


class StdConv2d(nn.Conv2d):
    """BiT: a kernel less its mean, over its deviation."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-10)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class BitBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.gn1, self.gn2 = nn.GroupNorm(4, inputs), nn.GroupNorm(4, outputs)
        self.conv1 = StdConv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = StdConv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.downsample = StdConv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.gn1(x))
        residual = self.downsample(out)
        return self.conv2(F.relu(self.gn2(self.conv1(out)))) + residual


@family((3, 24, 24), plain=True)
def bit_resnet():
    return nn.Sequential(StdConv2d(3, 8, 7, 2, 3, bias=False), BitBlock(8, 12, 2), nn.GroupNorm(4, 12), nn.ReLU(), GlobalPoolHead(12))


class EvoNorm2dS0(nn.Module):
    """A gate over a deviation of groups."""

    def __init__(self, channels: int, groups: int = 4, eps: float = 1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.v = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        shape = (1, -1, 1, 1)
        std = x.reshape(B, self.groups, C // self.groups, H, W).var(dim=(2, 3, 4), unbiased=False, keepdim=True)
        std = std.add(self.eps).sqrt().expand(B, self.groups, C // self.groups, H, W).reshape(B, C, H, W)
        return x * (x * self.v.view(shape)).sigmoid() / std * self.weight.view(shape) + self.bias.view(shape)


class FilterResponseNorm(nn.Module):
    """A root mean square of each channel, and a threshold that is learnt."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.tau = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        x = x * x.square().mean(dim=(2, 3), keepdim=True).add(1e-5).rsqrt()
        x = x * self.weight.view(shape) + self.bias.view(shape)
        return torch.maximum(x, self.tau.reshape(shape))


@family((3, 16, 16), inside=1)
def evonorm():
    """The deviation of groups of channels splits an axis that Keras has last."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), EvoNorm2dS0(8), nn.Conv2d(8, 12, 3, 2), FilterResponseNorm(12), GlobalPoolHead(12))
