"""Inception: GoogLeNet and Inception v3 with their auxiliary heads, Xception, Inception-ResNet."""

from __future__ import annotations

from collections import namedtuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family

GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ("logits", "aux_logits"))


class BasicConv2d(nn.Module):
    def __init__(self, inputs: int, outputs: int, **options):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, bias=False, **options)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    def __init__(self, inputs, one, three_reduced, three, five_reduced, five, pool):
        super().__init__()
        self.branch1 = BasicConv2d(inputs, one, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(inputs, three_reduced, kernel_size=1), BasicConv2d(three_reduced, three, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(inputs, five_reduced, kernel_size=1), BasicConv2d(five_reduced, five, kernel_size=3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=True), BasicConv2d(inputs, pool, kernel_size=1)
        )

    def _forward(self, x: Tensor) -> list[Tensor]:
        return [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self._forward(x), 1)


class InceptionAux(nn.Module):
    def __init__(self, inputs: int, classes: int, dropout: float = 0.7):
        super().__init__()
        self.conv = BasicConv2d(inputs, 8, kernel_size=1)
        self.fc1 = nn.Linear(8 * 4 * 4, 16)
        self.fc2 = nn.Linear(16, classes)
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNet(nn.Module):
    """Undoes one normalisation of pictures by another, channel by channel; its auxiliary head always speaks here."""

    def __init__(self, classes: int = 10, transform_input: bool = True):
        super().__init__()
        self.transform_input = transform_input
        self.conv1 = BasicConv2d(3, 8, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(8, 4, 4, 8, 2, 4, 4)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(20, 8, 4, 8, 2, 4, 4)
        self.aux1 = InceptionAux(20, classes)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=0.2)
        self.fc = nn.Linear(24, classes)

    def _transform_input(self, x: Tensor) -> Tensor:
        if not self.transform_input:
            return x
        deviations, means = (0.229, 0.224, 0.225), (0.485, 0.456, 0.406)
        parts = [
            torch.unsqueeze(x[:, i], 1) * (deviation / 0.5) + (mean - 0.5) / 0.5
            for i, (deviation, mean) in enumerate(zip(deviations, means, strict=True))
        ]
        return torch.cat(parts, 1)

    def forward(self, x: Tensor) -> GoogLeNetOutputs:
        x = self.maxpool1(self.conv1(self._transform_input(x)))
        x = self.maxpool3(self.inception3a(x))
        aux = self.aux1(x)
        x = self.inception4a(x)
        x = self.dropout(torch.flatten(self.avgpool(x), 1))
        return GoogLeNetOutputs(self.fc(x), aux)


@family((3, 64, 64), plain=True, backends=True)
def googlenet():
    return GoogLeNet()


class InceptionC(nn.Module):
    """Convolutions of 1x7 and 7x1 in place of 7x7."""

    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.branch1x1 = BasicConv2d(inputs, outputs, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(inputs, width, kernel_size=1)
        self.branch7x7_2 = BasicConv2d(width, width, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(width, outputs, kernel_size=(7, 1), padding=(3, 0))
        self.branch_pool = BasicConv2d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch_pool = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), branch7x7, branch_pool], 1)


class InceptionE(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.branch3x3_1 = BasicConv2d(inputs, outputs, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(outputs, outputs, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(outputs, outputs, kernel_size=(3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        branch3x3 = self.branch3x3_1(x)
        branch3x3 = torch.cat([self.branch3x3_2a(branch3x3), self.branch3x3_2b(branch3x3)], 1)
        return torch.cat([branch3x3, self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))], 1)


class AuxiliaryV3(nn.Module):
    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.conv0 = BasicConv2d(inputs, 8, kernel_size=1)
        self.conv1 = BasicConv2d(8, 12, kernel_size=3)
        self.fc = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.conv0(F.avg_pool2d(x, kernel_size=3, stride=2)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class InceptionV3(nn.Module):
    def __init__(self, classes: int = 10):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 8, kernel_size=3, stride=2)
        self.Mixed_6b = InceptionC(8, 6, 8)
        self.AuxLogits = AuxiliaryV3(24, classes)
        self.Mixed_7c = InceptionE(24, 8)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.Mixed_6b(self.Conv2d_1a_3x3(x))
        aux = self.AuxLogits(x)
        x = F.adaptive_avg_pool2d(self.Mixed_7c(x), 1).squeeze(3).squeeze(2)
        return {"out": self.fc(self.dropout(x)), "aux": aux}


@family((3, 33, 33), plain=True)
def inception_v3():
    return InceptionV3()


class SeparableConv2d(nn.Module):
    def __init__(self, inputs: int, outputs: int, dilation: int = 1, stride: int = 1):
        super().__init__()
        self.padding = dilation
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, dilation=dilation, groups=inputs, bias=False)
        self.bn_dw = nn.BatchNorm2d(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, [self.padding] * 4)
        return self.conv_pw(self.bn_dw(self.conv_dw(x)))


class XceptionBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.skipbn = nn.BatchNorm2d(outputs)
        self.rep = nn.Sequential(
            nn.ReLU(), SeparableConv2d(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
            SeparableConv2d(outputs, outputs, dilation=2), nn.BatchNorm2d(outputs), nn.MaxPool2d(3, stride, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.rep(x)
        y += self.skipbn(self.skip(x))
        return y


@family((3, 21, 21), plain=True)
def xception():
    blocks = [XceptionBlock(8, 12, 2), XceptionBlock(12, 16, 1)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, bias=False), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


class InceptionResNetBlock(nn.Module):
    """What the branches give is scaled before it is added."""

    def __init__(self, channels: int, scale: float, relu: bool):
        super().__init__()
        self.scale = scale
        self.branch0 = BasicConv2d(channels, 8, kernel_size=1)
        self.branch1 = nn.Sequential(BasicConv2d(channels, 4, kernel_size=1), BasicConv2d(4, 8, kernel_size=3, padding=1))
        self.conv2d = nn.Conv2d(16, channels, 1)
        self.relu = nn.ReLU() if relu else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2d(torch.cat((self.branch0(x), self.branch1(x)), 1)) * self.scale + x
        return out if self.relu is None else self.relu(out)


@family((3, 20, 20), plain=True)
def inception_resnet():
    blocks = [InceptionResNetBlock(12, 0.17, True), InceptionResNetBlock(12, 0.2, False)]
    return nn.Sequential(BasicConv2d(3, 12, kernel_size=3, stride=2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))
