"""EfficientNet v1 (TensorFlow's padding) and v2 with its fused blocks, and HardCoRe-like mixtures with drop path."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct, DropPath, GlobalPoolHead, SqueezeExcite, make_divisible


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    return max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)


class Conv2dSame(nn.Conv2d):
    """TensorFlow's "same" padding, computed from the size of what comes in."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.size()[-2:]
        pad_h = same_padding(height, self.kernel_size[0], self.stride[0], self.dilation[0])
        pad_w = same_padding(width, self.kernel_size[1], self.stride[1], self.dilation[1])
        x = F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)


class BatchNormAct2d(nn.BatchNorm2d):
    """Batch norm with its activation inside."""

    def __init__(self, channels: int, act: bool = True):
        super().__init__(channels, eps=1e-3, momentum=0.01)
        self.drop = nn.Identity()
        self.act = nn.SiLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training or not self.track_running_stats, self.momentum, self.eps
        )
        return self.act(self.drop(x))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int, drop_path_rate: float):
        super().__init__()
        middle = make_divisible(inputs * expand)
        self.has_skip = inputs == outputs and stride == 1
        self.conv_pw = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = BatchNormAct2d(middle)
        self.conv_dw = Conv2dSame(middle, middle, kernel, stride, groups=middle, bias=False)
        self.bn2 = BatchNormAct2d(middle)
        self.se = SqueezeExcite(middle, 0.25 / expand, act=nn.SiLU, divisor=1)
        self.conv_pwl = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = BatchNormAct2d(outputs, act=False)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))
        x = self.bn3(self.conv_pwl(self.se(x)))
        return self.drop_path(x) + shortcut if self.has_skip else x


@family((3, 31, 31), plain=True, backends=True)
def efficientnet_tf():
    blocks = [InvertedResidual(8, 12, 5, 2, 4, 0.0), InvertedResidual(12, 12, 3, 1, 4, 0.1)]
    stem = [Conv2dSame(3, 8, 3, 2, bias=False), BatchNormAct2d(8)]
    return nn.Sequential(*stem, *blocks, nn.Conv2d(12, 32, 1, bias=False), BatchNormAct2d(32), GlobalPoolHead(32))


class StochasticDepth(nn.Module):
    """Rows of a batch dropped as torchvision has it."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        noise = torch.empty([x.shape[0]] + [1] * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * noise.bernoulli_(1.0 - self.p).div_(1.0 - self.p)


class FusedMBConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int):
        super().__init__()
        middle = inputs * expand
        self.use_res_connect = stride == 1 and inputs == outputs
        layers = [ConvNormAct(inputs, middle if expand != 1 else outputs, 3, stride, act=nn.SiLU, eps=1e-3)]
        if expand != 1:
            layers.append(ConvNormAct(middle, outputs, 1, act=None, eps=1e-3))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(0.2)

    def forward(self, x: Tensor) -> Tensor:
        result = self.block(x)
        if self.use_res_connect:
            result = self.stochastic_depth(result)
            result += x
        return result


@family(plain=True)
def efficientnet_v2():
    blocks = [FusedMBConv(8, 8, 1, 1), FusedMBConv(8, 16, 2, 2), FusedMBConv(16, 16, 1, 2)]
    return nn.Sequential(ConvNormAct(3, 8, 3, 2, act=nn.SiLU, eps=1e-3), *blocks, GlobalPoolHead(16))


class UniversalInvertedBottleneck(nn.Module):
    """MobileNet v4: depthwise convolutions that may stand before, inside, or nowhere; a learnt scale at the end."""

    def __init__(self, inputs: int, outputs: int, start: int, middle: int, stride: int = 1, expand: int = 3):
        super().__init__()
        self.has_skip = inputs == outputs and stride == 1
        hidden = make_divisible(inputs * expand)
        self.dw_start = ConvNormAct(inputs, inputs, start, 1 if middle else stride, inputs, act=None) if start else nn.Identity()
        self.pw_exp = ConvNormAct(inputs, hidden, 1)
        self.dw_mid = ConvNormAct(hidden, hidden, middle, stride, hidden) if middle else nn.Identity()
        self.pw_proj = ConvNormAct(hidden, outputs, 1, act=None)
        self.gamma = nn.Parameter(torch.full((outputs,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.pw_proj(self.dw_mid(self.pw_exp(self.dw_start(x))))
        x = x * self.gamma.view(1, -1, 1, 1)
        return x + shortcut if self.has_skip else x


@family((3, 24, 24), plain=True)
def mobilenet_v4():
    blocks = [UniversalInvertedBottleneck(8, 12, 5, 5, 2), UniversalInvertedBottleneck(12, 12, 3, 0), UniversalInvertedBottleneck(12, 12, 0, 3)]
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), *blocks, GlobalPoolHead(12))
