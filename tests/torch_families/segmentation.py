"""Segmentation: FCN, DeepLab v3 and v3+, LR-ASPP, U-Net, PSPNet, HRNet's exchange of resolutions."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct


class IntermediateLayers(nn.ModuleDict):
    """Runs layers one after the other and gives some of their results under new names."""

    def __init__(self, layers: dict[str, nn.Module], wanted: dict[str, str]):
        super().__init__(layers)
        self.wanted = wanted

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.wanted:
                found[self.wanted[name]] = x
        return found


def backbone(dilation: int = 1) -> IntermediateLayers:
    layers = {
        "conv1": ConvNormAct(3, 8, 3, 2), "layer1": ConvNormAct(8, 12, 3, 2),
        "layer2": ConvNormAct(12, 16, 3, 1 if dilation > 1 else 2, dilation=dilation),
    }  # fmt: skip
    return IntermediateLayers(layers, {"conv1": "low", "layer1": "aux", "layer2": "out"})


class SegmentationModel(nn.Module):
    """Scores brought to the picture's own size, whatever it is."""

    def __init__(self, body: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None):
        super().__init__()
        self.backbone, self.classifier, self.aux_classifier = body, classifier, aux_classifier

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        input_shape = x.shape[-2:]
        features = self.backbone(x)
        result = OrderedDict()
        x = self.classifier(features["out"])
        result["out"] = F.interpolate(x, size=input_shape, mode="bilinear", align_corners=False)
        if self.aux_classifier is not None:
            x = self.aux_classifier(features["aux"])
            result["aux"] = F.interpolate(x, size=input_shape, mode="bilinear", align_corners=False)
        return result


class FCNHead(nn.Sequential):
    def __init__(self, inputs: int, classes: int):
        inter = inputs // 4
        super().__init__(
            nn.Conv2d(inputs, inter, 3, padding=1, bias=False), nn.BatchNorm2d(inter), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(inter, classes, 1)
        )


@family((3, 22, 26), plain=True)
def fcn():
    return SegmentationModel(backbone(), FCNHead(16, 5), FCNHead(12, 5))


class ASPPPooling(nn.Sequential):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        for mod in self:
            x = mod(x)
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    def __init__(self, inputs: int, rates: tuple[int, ...], outputs: int):
        super().__init__()
        modules = [ConvNormAct(inputs, outputs, 1), *(ConvNormAct(inputs, outputs, dilation=rate) for rate in rates)]
        self.convs = nn.ModuleList([*modules, ASPPPooling(inputs, outputs)])
        self.project = nn.Sequential(ConvNormAct(len(self.convs) * outputs, outputs, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([conv(x) for conv in self.convs], dim=1))


@family((3, 24, 28), plain=True, backends=True)
def deeplab_v3():
    head = nn.Sequential(ASPP(16, (2, 3), 8), ConvNormAct(8, 8), nn.Conv2d(8, 5, 1))
    return SegmentationModel(backbone(dilation=2), head)


class DeepLabV3Plus(nn.Module):
    """A decoder that meets the first features again, corners aligned."""

    def __init__(self):
        super().__init__()
        self.backbone = backbone()
        self.aspp = ASPP(16, (2,), 8)
        self.block1, self.block2 = ConvNormAct(8, 4, 1), nn.Sequential(ConvNormAct(12, 8), nn.Conv2d(8, 5, 1))

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        low = features["low"]
        deep = F.interpolate(self.aspp(features["out"]), size=low.shape[2:], mode="bilinear", align_corners=True)
        y = self.block2(torch.cat((deep, self.block1(low)), dim=1))
        return F.interpolate(y, scale_factor=2, mode="bicubic")


@family((3, 24, 24), plain=True)
def deeplab_v3_plus():
    return DeepLabV3Plus()


class LRASPP(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = backbone()
        self.cbr = ConvNormAct(16, 8, 1)
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1, bias=False), nn.Sigmoid())
        self.low_classifier, self.high_classifier = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        x = self.cbr(features["out"]) * self.scale(features["out"])
        x = F.interpolate(x, size=features["low"].shape[-2:], mode="bilinear", align_corners=False)
        return self.low_classifier(features["low"]) + self.high_classifier(x)


@family((3, 20, 20), plain=True)
def lraspp():
    return LRASPP()


class DoubleConv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(ConvNormAct(inputs, outputs), ConvNormAct(outputs, outputs))


class Up(nn.Module):
    """Brought to size by a transposed convolution or by interpolation, padded to what it meets."""

    def __init__(self, inputs: int, skip: int, outputs: int, bilinear: bool):
        super().__init__()
        resized = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.up = nn.Sequential(resized, nn.Conv2d(inputs, outputs, 1)) if bilinear else nn.ConvTranspose2d(inputs, outputs, 2, 2)
        self.conv = DoubleConv(outputs + skip, outputs)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        x1 = self.up(x1)
        dy, dx = x2.size()[2] - x1.size()[2], x2.size()[3] - x1.size()[3]
        x1 = F.pad(x1, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([x2, x1], dim=1))


class UNet(nn.Module):
    def __init__(self, widths=(4, 8, 12)):
        super().__init__()
        self.inc = DoubleConv(3, widths[0])
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(widths[0], widths[1]))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(widths[1], widths[2]))
        self.up1 = Up(widths[2], widths[1], widths[1], bilinear=False)
        self.up2 = Up(widths[1], widths[0], widths[0], bilinear=True)
        self.outc = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.inc(x)
        x2 = self.down1(x1)
        return self.outc(self.up2(self.up1(self.down2(x2), x2), x1))


@family((3, 22, 27), plain=True, backends=True)
def unet():
    """At odd sizes the two sides of a skip differ by one."""
    return UNet()


class PyramidPooling(nn.Module):
    def __init__(self, channels: int, sizes=(1, 2, 4)):
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(s), ConvNormAct(channels, channels // 4, 1)) for s in sizes)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        pooled = [F.interpolate(stage(x), (h, w), mode="bilinear", align_corners=True) for stage in self.stages]
        return torch.cat([x, *pooled], 1)


@family((3, 16, 16), plain=True)
def pspnet():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), PyramidPooling(8), nn.Conv2d(14, 5, 1), nn.Upsample(scale_factor=2, mode="nearest"))


class HighResolutionModule(nn.Module):
    """HRNet: branches of several sizes, each given the sum of all, brought to its size."""

    def __init__(self, widths: tuple[int, ...] = (4, 8, 12)):
        super().__init__()
        count = len(widths)
        self.branches = nn.ModuleList(nn.Sequential(ConvNormAct(w, w)) for w in widths)
        self.fuse_layers = nn.ModuleList()
        for i in range(count):
            row = nn.ModuleList()
            for j in range(count):
                if j > i:
                    row.append(nn.Sequential(ConvNormAct(widths[j], widths[i], 1, act=None), nn.Upsample(scale_factor=2 ** (j - i), mode="nearest")))
                elif j == i:
                    row.append(nn.Identity())
                else:
                    steps = [ConvNormAct(widths[j], widths[j], 3, 2) for _ in range(i - j - 1)]
                    row.append(nn.Sequential(*steps, ConvNormAct(widths[j], widths[i], 3, 2, act=None)))
            self.fuse_layers.append(row)
        self.fuse_act = nn.ReLU(False)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        fused = []
        for row in self.fuse_layers:
            y = row[0](xs[0])
            for layer, x in zip(list(row)[1:], xs[1:], strict=True):
                y = y + layer(x)
            fused.append(self.fuse_act(y))
        return fused


class HRNet(nn.Module):
    def __init__(self, widths=(4, 8, 12)):
        super().__init__()
        self.stem = ConvNormAct(3, 4, 3, 2)
        self.transition = nn.ModuleList([nn.Identity(), ConvNormAct(4, 8, 3, 2), nn.Sequential(ConvNormAct(4, 8, 3, 2), ConvNormAct(8, 12, 3, 2))])
        self.stage = HighResolutionModule(widths)
        self.head = nn.Conv2d(sum(widths), 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        xs = self.stage([layer(x) for layer in self.transition])
        size = xs[0].shape[-2:]
        return self.head(torch.cat([xs[0], *(F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in xs[1:])], 1))


@family((3, 24, 24), plain=True)
def hrnet():
    return HRNet()
