"""Convolutional networks that attend to channels and places: ResNeSt, SKNet, ECA, CBAM, global context, split attention, coordinates."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct, GlobalPoolHead, SqueezeExcite


class RadixSoftmax(nn.Module):
    def __init__(self, radix: int, cardinality: int):
        super().__init__()
        self.radix, self.cardinality = radix, cardinality

    def forward(self, x: Tensor) -> Tensor:
        batch = x.size(0)
        if self.radix > 1:
            x = x.view(batch, self.cardinality, self.radix, -1).transpose(1, 2)
            return F.softmax(x, dim=1).reshape(batch, -1)
        return torch.sigmoid(x)


class SplitAttn(nn.Module):
    """ResNeSt: splits of the channels, weighed against each other."""

    def __init__(self, channels: int, radix: int = 2, groups: int = 1):
        super().__init__()
        self.radix = radix
        self.conv = nn.Conv2d(channels, channels * radix, 3, padding=1, groups=groups * radix, bias=False)
        self.bn0 = nn.BatchNorm2d(channels * radix)
        self.act0 = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, 8, 1, groups=groups)
        self.bn1 = nn.BatchNorm2d(8)
        self.act1 = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(8, channels * radix, 1, groups=groups)
        self.rsoftmax = RadixSoftmax(radix, groups)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act0(self.bn0(self.conv(x)))
        B, RC, H, W = x.shape
        if self.radix > 1:
            x = x.reshape((B, self.radix, RC // self.radix, H, W))
            gap = x.sum(dim=1)
        else:
            gap = x
        gap = self.act1(self.bn1(self.fc1(gap.mean((2, 3), keepdim=True))))
        attention = self.rsoftmax(self.fc2(gap)).view(B, -1, 1, 1)
        if self.radix > 1:
            return (x * attention.reshape((B, self.radix, RC // self.radix, 1, 1))).sum(dim=1).contiguous()
        return x * attention


@family((3, 16, 16), inside=8)
def resnest():
    blocks = [SplitAttn(8, 2, 2), ConvNormAct(8, 8, 1), SplitAttn(8, 1, 2)]
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), *blocks, nn.AvgPool2d(3, 2, padding=1), GlobalPoolHead(8))


class SelectiveKernel(nn.Module):
    """SKNet: two kernels, stacked on a new axis and weighed there."""

    def __init__(self, channels: int, reduced: int = 8):
        super().__init__()
        self.num_paths = 2
        self.paths = nn.ModuleList([ConvNormAct(channels, channels), ConvNormAct(channels, channels, dilation=2)])
        self.fc_reduce = ConvNormAct(channels, reduced, 1)
        self.fc_select = nn.Conv2d(reduced, channels * 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack([path(x) for path in self.paths], dim=1)
        attn = self.fc_select(self.fc_reduce(x.sum(1).mean((2, 3), keepdim=True)))
        B, C, H, W = attn.shape
        attn = torch.softmax(attn.view(B, self.num_paths, C // self.num_paths, H, W), dim=1)
        return torch.sum(x * attn, dim=1)


@family((3, 18, 18), inside=4)
def sknet():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), SelectiveKernel(8), ConvNormAct(8, 12, 1), GlobalPoolHead(12))


class EfficientChannelAttention(nn.Module):
    def __init__(self, channels: int, gamma: int = 2, beta: int = 1):
        super().__init__()
        t = int(abs(math.log(channels, 2) + beta) / gamma)
        kernel = max(t if t % 2 else t + 1, 3)
        self.conv = nn.Conv1d(1, 1, kernel_size=kernel, padding=(kernel - 1) // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.mean((2, 3)).view(x.shape[0], 1, -1))
        return x * y.view(x.shape[0], -1, 1, 1).sigmoid().expand_as(x)


class ChannelSpatialAttention(nn.Module):
    """CBAM: means and maxima, of the picture and of the channels."""

    def __init__(self, channels: int, reduced: int = 4, kernel: int = 7):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, reduced, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(reduced, channels, 1, bias=False)
        self.conv = ConvNormAct(2, 1, kernel, act=None)

    def forward(self, x: Tensor) -> Tensor:
        average = self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True))))
        largest = self.fc2(self.act(self.fc1(x.amax((2, 3), keepdim=True))))
        x = x * torch.sigmoid(average + largest)
        places = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(places))


@family((3, 20, 20), plain=True)
def eca_cbam_resnet():
    return nn.Sequential(ConvNormAct(3, 16, 3, 2), EfficientChannelAttention(16), ChannelSpatialAttention(16), GlobalPoolHead(16))


class GlobalContext(nn.Module):
    """A mean of places, weighed by what one convolution says of each."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_attn = nn.Conv2d(channels, 1, 1)
        self.mlp_add = nn.Sequential(nn.Conv2d(channels, 8, 1), nn.GroupNorm(1, 8), nn.ReLU(), nn.Conv2d(8, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        attn = self.conv_attn(x).reshape(B, 1, H * W)
        attn = F.softmax(attn, dim=-1).unsqueeze(3)
        context = x.reshape(B, C, H * W).unsqueeze(1) @ attn
        return x + self.mlp_add(context.view(B, C, 1, 1))


class CoordinateAttention(nn.Module):
    """A gate of rows times a gate of columns, both made by one convolution."""

    def __init__(self, channels: int, middle: int = 8):
        super().__init__()
        self.conv1 = ConvNormAct(channels, middle, 1, act=nn.Hardswish)
        self.conv_h = nn.Conv2d(middle, channels, 1)
        self.conv_w = nn.Conv2d(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, _, h, w = x.size()
        rows = x.mean(3, keepdim=True)
        columns = x.mean(2, keepdim=True).permute(0, 1, 3, 2)
        y = self.conv1(torch.cat([rows, columns], dim=2))
        rows, columns = torch.split(y, [h, w], dim=2)
        return x * self.conv_w(columns.permute(0, 1, 3, 2)).sigmoid() * self.conv_h(rows).sigmoid()


@family((3, 14, 18), inside=4)
def global_context_resnet():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), GlobalContext(8), CoordinateAttention(8), SqueezeExcite(8), GlobalPoolHead(8))


class NonLocal(nn.Module):
    """Every place attends to every other, through convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = channels**-0.5
        self.t, self.p = nn.Conv2d(channels, 8, 1), nn.Conv2d(channels, 8, 1)
        self.g, self.z = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        t, p, g = self.t(x), self.p(x), self.g(x)
        B, C, H, W = t.size()
        t, p, g = t.view(B, C, -1).permute(0, 2, 1), p.view(B, C, -1), g.view(B, C, -1).permute(0, 2, 1)
        attention = F.softmax(torch.bmm(t, p) * self.scale, dim=2)
        x = torch.bmm(attention, g).permute(0, 2, 1).reshape(B, C, H, W)
        return self.norm(self.z(x)) + shortcut


@family((3, 12, 12), inside=4)
def non_local_resnet():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), NonLocal(8), GlobalPoolHead(8))
