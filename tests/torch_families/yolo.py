"""YOLO: CSPDarknet, v3's grids, v5's focus and pyramid, v8's distributions of distances."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct


def conv(inputs, outputs, kernel=1, stride=1, groups=1):
    return ConvNormAct(inputs, outputs, kernel, stride, groups, act=nn.SiLU)


class DarknetBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, channels // 2, 1, bias=False), nn.BatchNorm2d(channels // 2), nn.LeakyReLU(0.1, inplace=True))
        self.conv2 = nn.Sequential(nn.Conv2d(channels // 2, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class CrossStage(nn.Module):
    """CSPDarknet: half of an expansion goes through the blocks, half around them."""

    def __init__(self, inputs: int, outputs: int, depth: int):
        super().__init__()
        leaky = lambda **options: nn.LeakyReLU(0.1, **options)  # noqa: E731
        self.conv_down = ConvNormAct(inputs, outputs, 3, 2, act=leaky)
        self.conv_exp = ConvNormAct(outputs, outputs, 1, act=nn.Mish)
        self.blocks = nn.Sequential(*[DarknetBlock(outputs // 2) for _ in range(depth)])
        self.conv_transition = ConvNormAct(outputs, outputs, 1, act=leaky)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_exp(self.conv_down(x))
        xs, xb = x.split(x.shape[1] // 2, dim=1)
        return self.conv_transition(torch.cat([xs, self.blocks(xb)], dim=1))


@family(plain=True, backends=True)
def cspdarknet():
    return nn.Sequential(ConvNormAct(3, 8, act=nn.Mish), CrossStage(8, 12, 1), CrossStage(12, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(16, 10))


class YoloV3Layer(nn.Module):
    """Boxes in pixels: a grid is added to the centres, anchors multiply the sizes."""

    def __init__(self, inputs: int, anchors: list[tuple[int, int]], classes: int, stride: int):
        super().__init__()
        self.outputs, self.stride, self.count = classes + 5, stride, len(anchors)
        self.conv = nn.Conv2d(inputs, self.outputs * self.count, 1)
        self.register_buffer("anchor_grid", torch.tensor(anchors).float().view(1, -1, 1, 1, 2), persistent=False)

    @staticmethod
    def make_grid(nx: int, ny: int) -> Tensor:
        yv, xv = torch.meshgrid([torch.arange(ny), torch.arange(nx)], indexing="ij")
        return torch.stack((xv, yv), 2).view((1, 1, ny, nx, 2)).float()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        bs, _, ny, nx = x.shape
        x = x.view(bs, self.count, self.outputs, ny, nx).permute(0, 1, 3, 4, 2).contiguous()
        grid = self.make_grid(nx, ny)
        x[..., 0:2] = (x[..., 0:2].sigmoid() + grid) * self.stride
        x[..., 2:4] = torch.exp(x[..., 2:4]) * self.anchor_grid
        x[..., 4:] = x[..., 4:].sigmoid()
        return x.view(bs, -1, self.outputs)


class YoloV3(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, 8, 3, 2), DarknetBlock(8))
        self.deep = nn.Sequential(ConvNormAct(8, 12, 3, 2), DarknetBlock(12))
        self.large = YoloV3Layer(12, [(10, 14), (23, 27)], 3, 4)
        self.small = YoloV3Layer(20, [(4, 5), (6, 3)], 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.stem(x)
        deep = self.deep(shallow)
        merged = torch.cat([F.interpolate(deep, scale_factor=2, mode="nearest"), shallow], 1)
        return torch.cat((self.large(deep), self.small(merged)), 1)


@family((3, 24, 24), inside=8)
def yolo_v3():
    return YoloV3()


class Focus(nn.Module):
    """Every second pixel, four times, as channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv(4 * inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        return self.conv(torch.cat(parts, 1))


class C3(nn.Module):
    def __init__(self, inputs: int, outputs: int, shortcut: bool = True):
        super().__init__()
        hidden = outputs // 2
        self.cv1, self.cv2, self.cv3 = conv(inputs, hidden), conv(inputs, hidden), conv(2 * hidden, outputs)
        self.m = nn.Sequential(conv(hidden, hidden), conv(hidden, hidden, 3))
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        y = y + self.m(y) if self.add else self.m(y)
        return self.cv3(torch.cat((y, self.cv2(x)), dim=1))


class SPPF(nn.Module):
    def __init__(self, channels: int, kernel: int = 5):
        super().__init__()
        self.cv1, self.cv2 = conv(channels, channels // 2), conv(channels * 2, channels)
        self.m = nn.MaxPool2d(kernel, stride=1, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        y1 = self.m(x)
        y2 = self.m(y1)
        return self.cv2(torch.cat((x, y1, y2, self.m(y2)), 1))


class YoloV5(nn.Module):
    """Centres and sizes by squares of sigmoids, split rather than written in place."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.outputs = classes + 5
        self.stem = nn.Sequential(Focus(3, 8), conv(8, 12, 3, 2), C3(12, 12))
        self.deep = nn.Sequential(conv(12, 16, 3, 2), SPPF(16))
        self.up, self.lateral = nn.Upsample(None, 2, "nearest"), C3(28, 12, shortcut=False)
        self.down = conv(12, 12, 3, 2)
        self.detect = nn.ModuleList([nn.Conv2d(12, 2 * self.outputs, 1), nn.Conv2d(28, 2 * self.outputs, 1)])
        self.register_buffer("anchors", torch.tensor([[[1.2, 1.6], [2.0, 3.7]], [[3.6, 2.8], [7.8, 6.0]]]))

    def decode(self, x: Tensor, level: int) -> Tensor:
        bs, _, ny, nx = x.shape
        x = x.view(bs, 2, self.outputs, ny, nx).permute(0, 1, 3, 4, 2).contiguous()
        yv, xv = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
        grid = torch.stack((xv, yv), 2).expand(1, 2, ny, nx, 2) - 0.5
        xy, wh, confidence = x.sigmoid().split((2, 2, self.outputs - 4), 4)
        stride = 4 * 2**level
        xy = (xy * 2 + grid) * stride
        wh = (wh * 2) ** 2 * (self.anchors[level] * stride).view(1, 2, 1, 1, 2)
        return torch.cat((xy, wh, confidence), 4).view(bs, -1, self.outputs)

    def forward(self, x: Tensor) -> Tensor:
        p3 = self.stem(x)
        p4 = self.deep(p3)
        p3 = self.lateral(torch.cat((self.up(p4), p3), 1))
        p4 = torch.cat((self.down(p3), p4), 1)
        return torch.cat([self.decode(layer(p), i) for i, (layer, p) in enumerate(zip(self.detect, (p3, p4), strict=True))], 1)


@family(inside=8)
def yolo_v5():
    return YoloV5()


class C2f(nn.Module):
    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__()
        self.c = outputs // 2
        self.cv1, self.cv2 = conv(inputs, 2 * self.c), conv((2 + count) * self.c, outputs)
        self.m = nn.ModuleList(nn.Sequential(conv(self.c, self.c, 3), conv(self.c, self.c, 3)) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.cv1(x).chunk(2, 1))
        y.extend(y[-1] + m(y[-1]) for m in self.m)
        return self.cv2(torch.cat(y, 1))


class DistributionFocal(nn.Module):
    """The expectation of a softmax over distances, as a fixed 1x1 convolution."""

    def __init__(self, bins: int):
        super().__init__()
        self.conv = nn.Conv2d(bins, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(bins, dtype=torch.float).view(1, bins, 1, 1)
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        b, _, a = x.shape
        return self.conv(x.view(b, 4, self.bins, a).transpose(2, 1).softmax(1)).view(b, 4, a)


class YoloV8(nn.Module):
    def __init__(self, classes: int = 3, bins: int = 4):
        super().__init__()
        self.classes, self.bins, self.no = classes, bins, classes + 4 * bins
        self.stem = nn.Sequential(conv(3, 8, 3, 2), conv(8, 12, 3, 2), C2f(12, 12, 1))
        self.deep = nn.Sequential(conv(12, 16, 3, 2), C2f(16, 16, 2))
        self.cv2 = nn.ModuleList(nn.Sequential(conv(w, 8, 3), nn.Conv2d(8, 4 * bins, 1)) for w in (12, 16))
        self.cv3 = nn.ModuleList(nn.Sequential(conv(w, 8, 3), nn.Conv2d(8, classes, 1)) for w in (12, 16))
        self.dfl = DistributionFocal(bins)

    def make_anchors(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        points, strides = [], []
        for feature, stride in zip(features, (4, 8), strict=True):
            h, w = feature.shape[2:]
            sx = torch.arange(end=w, dtype=feature.dtype) + 0.5
            sy = torch.arange(end=h, dtype=feature.dtype) + 0.5
            sy, sx = torch.meshgrid(sy, sx, indexing="ij")
            points.append(torch.stack((sx, sy), -1).view(-1, 2))
            strides.append(torch.full((h * w, 1), stride, dtype=feature.dtype))
        return torch.cat(points).transpose(0, 1), torch.cat(strides).transpose(0, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        p3 = self.stem(x)
        features = [p3, self.deep(p3)]
        raw = [torch.cat((box(f), score(f)), 1) for box, score, f in zip(self.cv2, self.cv3, features, strict=True)]
        anchors, strides = self.make_anchors(raw)
        joined = torch.cat([r.view(x.shape[0], self.no, -1) for r in raw], 2)
        box, scores = joined.split((4 * self.bins, self.classes), 1)
        lt, rb = self.dfl(box).chunk(2, 1)
        x1y1, x2y2 = anchors.unsqueeze(0) - lt, anchors.unsqueeze(0) + rb
        boxes = torch.cat(((x1y1 + x2y2) / 2, x2y2 - x1y1), 1) * strides
        return torch.cat((boxes, scores.sigmoid()), 1), raw


@family(inside=10)
def yolo_v8():
    return YoloV8()
