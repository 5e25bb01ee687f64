"""YOLO v4, v6 and v7: pyramids that go up and down, blocks of many forms, heads with anchors and without."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct
from .yolo import CrossStage, conv


def leaky(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> ConvNormAct:
    return ConvNormAct(inputs, outputs, kernel, stride, act=lambda **options: nn.LeakyReLU(0.1, **options))


def grid(x: Tensor) -> Tensor:
    """(1, 1, h, w, 2): the column and row of every place."""
    rows, columns = torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")
    return torch.stack((columns, rows), 2)[None, None].to(x.dtype)


# --- v4 ---------------------------------------------------------------------------------------------------------------


class SpatialPyramid(nn.Module):
    """The same map pooled in larger and larger windows, side by side."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = leaky(channels, channels // 2), leaky(channels * 2, channels // 2)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([*(pool(x) for pool in reversed(self.pools)), x], 1))


class Five(nn.Sequential):
    """Five convolutions, wide and narrow in turn."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            leaky(inputs, outputs), leaky(outputs, outputs * 2, 3), leaky(outputs * 2, outputs),
            leaky(outputs, outputs * 2, 3), leaky(outputs * 2, outputs),
        )  # fmt: skip


class YoloV4(nn.Module):
    """A path aggregation pyramid; centres reach a little over their cells (`scale`)."""

    def __init__(self, classes: int = 2, anchors: int = 2, scale: float = 1.05):
        super().__init__()
        self.classes, self.anchors, self.scale = classes, anchors, scale
        self.stem = nn.Sequential(ConvNormAct(3, 8, act=nn.Mish), CrossStage(8, 12, 1))
        self.deep, self.pyramid = CrossStage(12, 16, 1), SpatialPyramid(16)
        self.lateral_deep, self.lateral, self.up = leaky(8, 6), leaky(12, 6), nn.Upsample(scale_factor=2, mode="nearest")
        self.merge, self.down, self.merge_down = Five(12, 6), leaky(6, 8, 3, 2), Five(16, 8)
        outputs = anchors * (5 + classes)
        self.heads = nn.ModuleList(nn.Sequential(leaky(w, 2 * w, 3), nn.Conv2d(2 * w, outputs, 1)) for w in (6, 8))
        self.register_buffer("sizes", torch.tensor([[[4.0, 5.0], [9.0, 6.0]], [[12.0, 16.0], [19.0, 36.0]]]), persistent=False)

    def decode(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        batch, _, h, w = x.shape
        x = x.view(batch, self.anchors, 5 + self.classes, h, w).permute(0, 1, 3, 4, 2)
        stride = 2 * 2**level
        centre = (torch.sigmoid(x[..., :2]) * self.scale - 0.5 * (self.scale - 1) + grid(x[..., 0])) * stride
        half = torch.exp(x[..., 2:4]) * self.sizes[level].view(1, self.anchors, 1, 1, 2) / 2
        boxes = torch.cat((centre - half, centre + half), -1).reshape(batch, -1, 4)
        scores = (torch.sigmoid(x[..., 4:5]) * torch.sigmoid(x[..., 5:])).reshape(batch, -1, self.classes)
        return boxes, scores

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shallow = self.stem(x)
        deep = self.pyramid(self.deep(shallow))
        shallow = self.merge(torch.cat((self.lateral(shallow), self.up(self.lateral_deep(deep))), 1))
        deep = self.merge_down(torch.cat((self.down(shallow), deep), 1))
        found = [self.decode(head(f), level) for level, (head, f) in enumerate(zip(self.heads, (shallow, deep), strict=True))]
        return torch.cat([boxes for boxes, _ in found], 1), torch.cat([scores for _, scores in found], 1)


@family((3, 16, 24), inside=4)
def yolo_v4():
    return YoloV4()


# --- v6 ---------------------------------------------------------------------------------------------------------------


class RepBlock(nn.Module):
    """A 3x3 convolution, a 1x1 one and the data itself, each normed, added up."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.rbr_dense = ConvNormAct(inputs, outputs, 3, stride, act=None)
        self.rbr_1x1 = ConvNormAct(inputs, outputs, 1, stride, act=None, padding=0)
        self.rbr_identity = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.nonlinearity = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        identity = 0 if self.rbr_identity is None else self.rbr_identity(x)
        return self.nonlinearity(self.rbr_dense(x) + self.rbr_1x1(x) + identity)


class BiFusion(nn.Module):
    """Three neighbouring levels brought to the size of the middle one: the lower up, the upper down."""

    def __init__(self, below: int, here: int, above: int, outputs: int):
        super().__init__()
        self.cv1, self.cv2, self.cv3 = conv(here, outputs), conv(above, outputs), conv(3 * outputs, outputs)
        self.upsample = nn.ConvTranspose2d(below, outputs, 2, 2)
        self.downsample = conv(outputs, outputs, 3, 2)

    def forward(self, below: Tensor, here: Tensor, above: Tensor) -> Tensor:
        return self.cv3(torch.cat((self.upsample(below), self.cv1(here), self.downsample(self.cv2(above))), 1))


class YoloV6(nn.Module):
    """Without anchors: distances from the centre of each cell to four sides, classes and boxes by heads of their own."""

    def __init__(self, classes: int = 3, widths: tuple[int, ...] = (6, 8, 12)):
        super().__init__()
        first, second, third = widths
        self.stem = nn.Sequential(RepBlock(3, first, 2), RepBlock(first, first))
        self.middle = nn.Sequential(RepBlock(first, second, 2), RepBlock(second, second))
        self.deep = nn.Sequential(RepBlock(second, third, 2), RepBlock(third, third))
        self.fusion, self.rep = BiFusion(third, second, first, second), RepBlock(second, second)
        self.down, self.rep_down = conv(second, second, 3, 2), RepBlock(second + third, third)
        self.stems = nn.ModuleList(conv(w, w) for w in (second, third))
        self.classify = nn.ModuleList(nn.Sequential(conv(w, w, 3), nn.Conv2d(w, classes, 1)) for w in (second, third))
        self.measure = nn.ModuleList(nn.Sequential(conv(w, w, 3), nn.Conv2d(w, 4, 1)) for w in (second, third))

    def forward(self, x: Tensor) -> Tensor:
        above = self.stem(x)
        here = self.middle(above)
        below = self.deep(here)
        here = self.rep(self.fusion(below, here, above))
        below = self.rep_down(torch.cat((self.down(here), below), 1))
        results = []
        for level, feature in enumerate((here, below)):
            y = self.stems[level](feature)
            scores = torch.sigmoid(self.classify[level](y)).flatten(2)
            left_top, right_bottom = self.measure[level](y).relu().flatten(2).chunk(2, 1)
            centre = (grid(y) + 0.5).flatten(0, 3).transpose(0, 1)
            box = torch.cat((centre - left_top, centre + right_bottom), 1) * 4 * 2**level
            results.append(torch.cat((box, torch.ones_like(box[:, :1]), scores), 1))
        return torch.cat(results, 2).permute(0, 2, 1)


@family((3, 16, 24), plain=True)
def yolo_v6():
    return YoloV6()


# --- v7 ---------------------------------------------------------------------------------------------------------------


class Aggregation(nn.Module):
    """ELAN: convolutions in a row, of which every second one is kept beside two short ways."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.short1, self.short2 = conv(inputs, hidden), conv(inputs, hidden)
        self.pairs = nn.ModuleList(nn.Sequential(conv(hidden, hidden, 3), conv(hidden, hidden, 3)) for _ in range(2))
        self.join = conv(4 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.short1(x), self.short2(x)]
        for pair in self.pairs:
            kept.append(pair(kept[-1]))
        return self.join(torch.cat(kept[::-1], 1))


class Halve(nn.Module):
    """The maximum of each two pixels beside a convolution with a stride."""

    def __init__(self, channels: int):
        super().__init__()
        self.pooled = nn.Sequential(nn.MaxPool2d(2, 2), conv(channels, channels // 2))
        self.strided = nn.Sequential(conv(channels, channels // 2), conv(channels // 2, channels // 2, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.strided(x), self.pooled(x)), 1)


class PyramidOfPools(nn.Module):
    """SPPCSPC: a pyramid of pools on one of two ways."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.before = nn.Sequential(conv(inputs, outputs), conv(outputs, outputs, 3), conv(outputs, outputs))
        self.m = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (3, 5, 9))
        self.after = nn.Sequential(conv(4 * outputs, outputs), conv(outputs, outputs, 3))
        self.around, self.join = conv(inputs, outputs), conv(2 * outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        y = self.after(torch.cat([y] + [m(y) for m in self.m], 1))
        return self.join(torch.cat((y, self.around(x)), dim=1))


class Implicit(nn.Module):
    """Learnt numbers that are added to a map, or multiply it."""

    def __init__(self, channels: int, mean: float):
        super().__init__()
        self.implicit = nn.Parameter(mean + 0.1 * torch.randn(1, channels, 1, 1))


class YoloV7(nn.Module):
    def __init__(self, classes: int = 2, anchors: int = 2):
        super().__init__()
        self.na, self.no = anchors, classes + 5
        self.stem = nn.Sequential(conv(3, 6, 3, 2), Aggregation(6, 4, 8))
        self.down1, self.deep, self.pools = Halve(8), Aggregation(8, 6, 12), PyramidOfPools(12, 8)
        self.reduce, self.lateral, self.up = conv(8, 6), conv(8, 6), nn.Upsample(None, 2, "nearest")
        self.merge, self.down2, self.merge2 = Aggregation(12, 4, 8), Halve(8), Aggregation(16, 6, 12)
        outputs = self.no * anchors
        self.m = nn.ModuleList(nn.Conv2d(w, outputs, 1) for w in (8, 12))
        self.ia = nn.ModuleList(Implicit(w, 0.0) for w in (8, 12))
        self.im = nn.ModuleList(Implicit(outputs, 1.0) for _ in range(2))
        self.register_buffer("anchor_grid", torch.tensor([[[12.0, 16.0], [19.0, 36.0]], [[36.0, 75.0], [76.0, 55.0]]]))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        shallow = self.stem(x)
        deep = self.pools(self.deep(self.down1(shallow)))
        shallow = self.merge(torch.cat((self.lateral(shallow), self.up(self.reduce(deep))), 1))
        deep = self.merge2(torch.cat((self.down2(shallow), deep), 1))
        results, raw = [], []
        for level, feature in enumerate((shallow, deep)):
            y = self.im[level].implicit * self.m[level](self.ia[level].implicit + feature)
            batch, _, ny, nx = y.shape
            y = y.view(batch, self.na, self.no, ny, nx).permute(0, 1, 3, 4, 2).contiguous()
            raw.append(y)
            z = y.sigmoid()
            stride = 2 * 2**level
            xy, wh, confidence = z.split((2, 2, self.no - 4), 4)
            xy = xy * (2.0 * stride) + stride * (grid(y[..., 0]) - 0.5)
            wh = wh**2 * (4 * self.anchor_grid[level].view(1, self.na, 1, 1, 2))
            results.append(torch.cat((xy, wh, confidence), 4).view(batch, -1, self.no))
        return torch.cat(results, 1), raw


@family((3, 16, 24), inside=2)
def yolo_v7():
    return YoloV7()
