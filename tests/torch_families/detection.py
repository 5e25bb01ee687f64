"""Detectors of pictures: SSD and RetinaNet heads with their default boxes, feature pyramids, CenterNet's peaks, FCOS scales."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct


class ScoringHead(nn.Module):
    """A convolution for each level; (N, A * K, H, W) becomes (N, H * W * A, K), and levels stand one after the other."""

    def __init__(self, inputs: tuple[int, ...], anchors: tuple[int, ...], columns: int):
        super().__init__()
        self.module_list = nn.ModuleList(nn.Conv2d(i, columns * a, 3, padding=1) for i, a in zip(inputs, anchors, strict=True))
        self.num_columns = columns

    def forward(self, xs: list[Tensor]) -> Tensor:
        results = []
        for module, features in zip(self.module_list, xs, strict=True):
            y = module(features)
            N, _, H, W = y.shape
            y = y.view(N, -1, self.num_columns, H, W).permute(0, 3, 4, 1, 2)
            results.append(y.reshape(N, -1, self.num_columns))
        return torch.cat(results, dim=1)


class ScaledNorm(nn.Module):
    """Features of unit length, times a learnt factor for each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale_weight = nn.Parameter(torch.ones(channels) * 20)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_weight.view(1, -1, 1, 1) * F.normalize(x)


class SSD(nn.Module):
    """Scores and boxes, decoded from offsets to default boxes that the pictures' size gives."""

    def __init__(self, size: int = 32, classes: int = 4):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, 8, 3, 2), ConvNormAct(8, 12, 3, 2))
        self.norm = ScaledNorm(12)
        self.extra = ConvNormAct(12, 16, 3, 2)
        self.classification_head = ScoringHead((12, 16), (2, 3), classes)
        self.regression_head = ScoringHead((12, 16), (2, 3), 4)
        boxes = []
        for places, ratios in ((size // 4, (1.0, 2.0)), (size // 8, (1.0, 2.0, 0.5))):
            y, x = torch.meshgrid(*(torch.arange(places),) * 2, indexing="ij")
            centers = (torch.stack((x, y), -1).reshape(-1, 1, 2) + 0.5) / places
            wide = torch.tensor([[math.sqrt(r), 1 / math.sqrt(r)] for r in ratios]) / places
            boxes.append(torch.cat([centers.expand(-1, len(ratios), 2), wide.expand(places * places, -1, 2)], -1).reshape(-1, 4))
        self.register_buffer("default_boxes", torch.cat(boxes), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        features = [self.norm(x), self.extra(x)]
        offsets = self.regression_head(features)
        centers = self.default_boxes[:, :2] + offsets[..., :2] * 0.1 * self.default_boxes[:, 2:]
        sizes = self.default_boxes[:, 2:] * torch.exp(torch.clamp(offsets[..., 2:] * 0.2, max=math.log(1000.0 / 16)))
        boxes = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1).clamp(0, 1)
        return {"scores": F.softmax(self.classification_head(features), dim=-1), "boxes": boxes}


@family(inside=8)
def ssd():
    return SSD()


class FeaturePyramid(nn.Module):
    """From the top down: each level is the nearest upsampling of the one above plus its own."""

    def __init__(self, inputs: tuple[int, ...], outputs: int):
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Conv2d(i, outputs, 1) for i in inputs)
        self.layer_blocks = nn.ModuleList(nn.Conv2d(outputs, outputs, 3, padding=1) for _ in inputs)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        last = self.inner_blocks[-1](xs[-1])
        results = [self.layer_blocks[-1](last)]
        for i in range(len(xs) - 2, -1, -1):
            lateral = self.inner_blocks[i](xs[i])
            last = lateral + F.interpolate(last, size=lateral.shape[-2:], mode="nearest")
            results.insert(0, self.layer_blocks[i](last))
        results.append(F.max_pool2d(results[-1], kernel_size=1, stride=2, padding=0))
        return results


class RetinaNet(nn.Module):
    """One head for all levels; groups are normalised; FCOS' learnt scale of each level."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.levels = nn.ModuleList([ConvNormAct(3, 8, 3, 2), ConvNormAct(8, 12, 3, 2)])
        self.fpn = FeaturePyramid((8, 12), 8)
        self.conv = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU())
        self.cls_logits, self.bbox_reg = nn.Conv2d(8, 2 * classes, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(3))
        self.classes = classes

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        scores, boxes = [], []
        for i, feature in enumerate(self.fpn(features)):
            feature = self.conv(feature)
            logits = self.cls_logits(feature)
            N, _, H, W = logits.shape
            scores.append(logits.view(N, -1, self.classes, H, W).permute(0, 3, 4, 1, 2).reshape(N, -1, self.classes))
            boxes.append(F.relu(self.bbox_reg(feature) * self.scales[i]))
        return torch.cat(scores, dim=1), boxes


@family((3, 26, 22), inside=10)
def retinanet():
    return RetinaNet()


class CenterNet(nn.Module):
    """Peaks of a heat map: places that are their own neighbourhood's maximum."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(ConvNormAct(3, 8, 3, 2), nn.ConvTranspose2d(8, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.heat, self.size = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.body(x)
        heat = torch.sigmoid(self.heat(x))
        peak = heat * (F.max_pool2d(heat, 3, stride=1, padding=1) == heat).float()
        scores, indices = torch.topk(peak.flatten(1), 5)
        sizes = self.size(x).flatten(2).permute(0, 2, 1)
        places = indices % (heat.shape[2] * heat.shape[3])
        return scores, indices, sizes.gather(1, places.unsqueeze(2).expand(-1, -1, 2))


@family((3, 16, 16), inside=4)
def centernet():
    return CenterNet()
