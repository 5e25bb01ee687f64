"""Networks whose branches can be summed into one kernel: RepVGG in both forms, MobileOne, RepLK's large kernels, ACNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct, GlobalPoolHead, SqueezeExcite


def fused(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution together with the batch norm after it."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * scale.reshape(-1, 1, 1, 1), norm.bias - norm.running_mean * scale


class RepVGGBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1, use_se: bool = False):
        super().__init__()
        self.options = {"stride": stride, "padding": 1}
        self.nonlinearity = nn.ReLU()
        self.se = SqueezeExcite(outputs) if use_se else nn.Identity()
        self.rbr_identity = nn.BatchNorm2d(inputs) if outputs == inputs and stride == 1 else None
        self.rbr_dense = ConvNormAct(inputs, outputs, 3, stride, act=None)
        self.rbr_1x1 = ConvNormAct(inputs, outputs, 1, stride, act=None)

    def forward(self, inputs: Tensor) -> Tensor:
        if hasattr(self, "rbr_reparam"):
            return self.nonlinearity(self.se(self.rbr_reparam(inputs)))
        identity = 0 if self.rbr_identity is None else self.rbr_identity(inputs)
        return self.nonlinearity(self.se(self.rbr_dense(inputs) + self.rbr_1x1(inputs) + identity))

    @torch.no_grad()
    def switch_to_deploy(self) -> None:
        kernel, bias = fused(*self.rbr_dense)
        kernel1, bias1 = fused(*self.rbr_1x1)
        kernel, bias = kernel + F.pad(kernel1, [1, 1, 1, 1]), bias + bias1
        if self.rbr_identity is not None:
            conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3)
            nn.init.dirac_(conv.weight)
            kernel0, bias0 = fused(conv, self.rbr_identity)
            kernel, bias = kernel + kernel0, bias + bias0
        self.rbr_reparam = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, **self.options)
        self.rbr_reparam.weight.copy_(kernel)
        self.rbr_reparam.bias.copy_(bias)
        for name in ("rbr_dense", "rbr_1x1", "rbr_identity"):
            delattr(self, name)


def repvgg() -> nn.Sequential:
    blocks = [RepVGGBlock(3, 8, 2), RepVGGBlock(8, 8), RepVGGBlock(8, 12, 2, use_se=True), RepVGGBlock(12, 12)]
    return nn.Sequential(*blocks, GlobalPoolHead(12))


@family(plain=True, backends=True)
def repvgg_training_form():
    return repvgg()


@family(plain=True)
def repvgg_deployed():
    model = repvgg().eval()
    for block in list(model)[:-1]:
        block.switch_to_deploy()
    return model


class MobileOneBlock(nn.Module):
    """Several equal branches, one of 1x1 and one that only normalises, for depthwise and dense kernels."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, branches=2):
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.identity = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.conv_kxk = nn.ModuleList(ConvNormAct(inputs, outputs, kernel, stride, groups, act=None) for _ in range(branches))
        self.conv_scale = ConvNormAct(inputs, outputs, 1, stride, groups, act=None) if kernel > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        out = 0
        if self.conv_scale is not None:
            out = self.conv_scale(x)
        if self.identity is not None:
            out = out + self.identity(x)
        for conv in self.conv_kxk:
            out = out + conv(x)
        return self.act(out)


@family(plain=True)
def mobileone():
    return nn.Sequential(MobileOneBlock(3, 8, 3, 2), MobileOneBlock(8, 8, 3, 2, 8), MobileOneBlock(8, 12, 1), GlobalPoolHead(12))


class LargeKernelBlock(nn.Module):
    """A depthwise kernel of 13 beside one of 5."""

    def __init__(self, channels: int, kernel: int = 13, small: int = 5):
        super().__init__()
        self.prelkb_bn = nn.BatchNorm2d(channels)
        self.pw1 = ConvNormAct(channels, channels, 1)
        self.lkb_origin = ConvNormAct(channels, channels, kernel, groups=channels, act=None)
        self.small_conv = ConvNormAct(channels, channels, small, groups=channels, act=None)
        self.lk_nonlinear = nn.ReLU()
        self.pw2 = ConvNormAct(channels, channels, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        out = self.pw1(self.prelkb_bn(x))
        out = self.lk_nonlinear(self.lkb_origin(out) + self.small_conv(out))
        return x + self.pw2(out)


@family((3, 20, 20), plain=True)
def replknet():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), LargeKernelBlock(8), nn.BatchNorm2d(8), GlobalPoolHead(8))
