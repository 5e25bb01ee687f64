"""Convolutions and attention in one: LeViT, MobileViT, EdgeNeXt, EfficientFormer, PVT v2, XCiT, CrossViT, CoaT, VOLO, SegFormer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import Attention, Block, ConvNormAct, GlobalPoolHead, LayerNorm2d, LayerScale, Mlp, PatchEmbed


class LinearNorm(nn.Module):
    """LeViT: batch norm after a dense layer, over batch and tokens alike."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.bn(x.flatten(0, 1)).reshape_as(x)


class LevitAttention(nn.Module):
    """Biases by distance, looked up in a buffer; keys are narrower than values; perhaps every second query only."""

    def __init__(self, dim: int, heads: int, side: int, stride: int = 1):
        super().__init__()
        self.heads, self.key_dim, self.stride, self.side = heads, 4, stride, side
        self.scale = self.key_dim**-0.5
        self.kv = LinearNorm(dim, heads * 12)
        self.q = LinearNorm(dim, heads * 4)
        self.proj = nn.Sequential(nn.Hardswish(), LinearNorm(heads * 8, dim))
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))
        keys = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
        asked = keys.reshape(2, side, side)[:, ::stride, ::stride].flatten(1)
        distance = (asked[..., :, None] - keys[..., None, :]).abs()
        self.register_buffer("attention_bias_idxs", distance[0] * side + distance[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        k, v = self.kv(x).view(B, N, self.heads, -1).split([self.key_dim, 2 * self.key_dim], dim=3)
        asked = x if self.stride == 1 else x.view(B, self.side, self.side, C)[:, :: self.stride, :: self.stride].reshape(B, -1, C)
        q = self.q(asked).view(B, -1, self.heads, self.key_dim).permute(0, 2, 1, 3)
        attn = q @ k.permute(0, 2, 3, 1) * self.scale + self.attention_biases[:, self.attention_bias_idxs]
        x = (attn.softmax(dim=-1) @ v.permute(0, 2, 1, 3)).transpose(1, 2).reshape(B, -1, self.heads * 2 * self.key_dim)
        return self.proj(x)


class Levit(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, 8, 3, 2, act=nn.Hardswish), ConvNormAct(8, 8, 3, 2, act=None))
        self.attn = LevitAttention(8, 2, 4)
        self.down = LevitAttention(8, 2, 4, 2)
        self.mlp = nn.Sequential(LinearNorm(8, 16), nn.Hardswish(), LinearNorm(16, 8))
        self.head = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 5))
        self.head_dist = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.attn(x)
        x = self.down(x)
        x = (x + self.mlp(x)).mean(dim=1)
        return (self.head(x) + self.head_dist(x)) / 2


@family((3, 16, 16), inside=24)
def levit():
    return Levit()


class MobileVitBlock(nn.Module):
    """Pixels at the same place of their patches attend to one another; then everything folds back."""

    def __init__(self, dim: int, patch: int = 2):
        super().__init__()
        self.patch = patch
        self.conv_kxk = ConvNormAct(dim, dim, 3, act=nn.SiLU)
        self.conv_1x1 = nn.Conv2d(dim, 12, 1, bias=False)
        self.transformer = nn.Sequential(Block(12, 2))
        self.norm = nn.LayerNorm(12)
        self.conv_proj = ConvNormAct(12, dim, 1, act=nn.SiLU)
        self.conv_fusion = ConvNormAct(2 * dim, dim, 3, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        shortcut, p = x, self.patch
        x = self.conv_1x1(self.conv_kxk(x))
        B, C, H, W = x.shape
        new_h, new_w = math.ceil(H / p) * p, math.ceil(W / p) * p
        rows, columns = new_h // p, new_w // p
        if new_h != H or new_w != W:
            x = F.interpolate(x, size=(new_h, new_w), mode="bilinear", align_corners=False)
        x = x.reshape(B * C * rows, p, columns, p).transpose(1, 2)
        x = x.reshape(B, C, rows * columns, p * p).transpose(1, 3).reshape(B * p * p, rows * columns, C)
        x = self.norm(self.transformer(x))
        x = x.contiguous().view(B, p * p, rows * columns, C).transpose(1, 3)
        x = x.reshape(B * C * rows, columns, p, p).transpose(1, 2).reshape(B, C, new_h, new_w)
        if new_h != H or new_w != W:
            x = F.interpolate(x, size=(H, W), mode="bilinear", align_corners=False)
        return self.conv_fusion(torch.cat((shortcut, self.conv_proj(x)), dim=1))


@family((3, 14, 14), inside=16)
def mobilevit():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2, act=nn.SiLU), MobileVitBlock(8), GlobalPoolHead(8, 5))


class CrossCovariance(nn.Module):
    """XCiT and EdgeNeXt: features attend to features, normed along the tokens, each head at its own temperature."""

    def __init__(self, dim: int, heads: int = 2):
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 4, 1).unbind(0)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attn = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        return self.proj((attn @ v).permute(0, 3, 1, 2).reshape(B, N, C))


class FourierPositions(nn.Module):
    """Positions as sines and cosines, made anew at each call, through one convolution."""

    def __init__(self, dim: int, hidden: int = 4):
        super().__init__()
        self.hidden = hidden
        self.token_projection = nn.Conv2d(2 * hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        B, _, H, W = x.shape
        y = torch.arange(1, H + 1, device=x.device).to(torch.float32).unsqueeze(1).repeat(1, 1, W)
        across = torch.arange(1, W + 1, device=x.device).to(torch.float32).repeat(1, H, 1)
        y, across = (p / (p[:, -1:, -1:] + 1e-6) * 2 * math.pi for p in (y.view(1, H, W), across))
        dim_t = 10000 ** (2 * torch.div(torch.arange(self.hidden), 2, rounding_mode="floor").to(torch.float32) / self.hidden)
        parts = [p[:, :, :, None] / dim_t for p in (y, across)]
        parts = [torch.stack([p[..., 0::2].sin(), p[..., 1::2].cos()], dim=4).flatten(3) for p in parts]
        return self.token_projection(torch.cat(parts, dim=3).permute(0, 3, 1, 2)).repeat(B, 1, 1, 1)


class SplitTransposeBlock(nn.Module):
    """EdgeNeXt: parts of the channels convolved one after the other, then attention of features."""

    def __init__(self, dim: int = 12, scales: int = 3):
        super().__init__()
        width = dim // scales
        self.width, self.scales = width, scales
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(scales - 1))
        self.pos_embd = FourierPositions(dim)
        self.norm_xca, self.norm = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.gamma_xca = nn.Parameter(0.1 * torch.ones(dim))
        self.xca = CrossCovariance(dim)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        spx = x.chunk(len(self.convs) + 1, dim=1)
        spo, sp = [], spx[0]
        for i, conv in enumerate(self.convs):
            sp = conv(sp + spx[i]) if i else conv(sp)
            spo.append(sp)
        x = torch.cat([*spo, spx[-1]], dim=1)
        B, C, H, W = x.shape
        x = x + self.pos_embd(x)
        x = x.reshape(B, C, H * W).permute(0, 2, 1)
        x = x + self.gamma_xca * self.xca(self.norm_xca(x))
        x = x.reshape(B, H, W, C)
        return shortcut + self.mlp(self.norm(x)).permute(0, 3, 1, 2)


@family((3, 16, 16), inside=20)
def edgenext():
    return nn.Sequential(nn.Conv2d(3, 12, 4, 4), LayerNorm2d(12), SplitTransposeBlock(), GlobalPoolHead(12, 5))


class XcitBlock(nn.Module):
    """Attention of features, then tokens meet their neighbours in a picture."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.attn = CrossCovariance(dim)
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.bn = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.mlp = Mlp(dim)
        self.gamma = nn.Parameter(0.1 * torch.ones(dim))

    def forward(self, x: Tensor, H: int, W: int) -> Tensor:
        x = x + self.gamma * self.attn(self.norm1(x))
        B, N, C = x.shape
        y = self.norm3(x).permute(0, 2, 1).reshape(B, C, H, W)
        y = self.conv2(self.bn(F.gelu(self.conv1(y))))
        x = x + self.gamma * y.reshape(B, C, N).permute(0, 2, 1)
        return x + self.gamma * self.mlp(self.norm2(x))


class ClassAttention(nn.Module):
    """Only the class token asks."""

    def __init__(self, dim: int, heads: int = 2):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        asked = F.scaled_dot_product_attention(q[:, :, 0:1], k, v).transpose(1, 2).reshape(B, 1, C)
        return torch.cat([self.proj(asked), x[:, 1:]], dim=1)


class Xcit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Sequential(ConvNormAct(3, 6, 3, 2, act=nn.GELU), ConvNormAct(6, 12, 3, 2, act=None))
        self.pos_embed = FourierPositions(12)
        self.block = XcitBlock(12)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 12))
        self.cls_attn = ClassAttention(12)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        B, _, H, W = x.shape
        x = (x + self.pos_embed(x)).flatten(2).transpose(1, 2)
        x = self.block(x, H, W)
        x = self.cls_attn(torch.cat((self.cls_token.expand(B, -1, -1), x), dim=1))
        return self.head(self.norm(x)[:, 0])


@family((3, 16, 16), inside=30)
def xcit():
    return Xcit()


class MetaBlock(nn.Module):
    """EfficientFormer: pooling as a token mixer, then 1x1 convolutions with batch norms."""

    def __init__(self, dim: int):
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.layer_scale = nn.Parameter(0.1 * torch.ones(dim))
        self.mlp = nn.Sequential(ConvNormAct(dim, 2 * dim, 1, act=nn.GELU), ConvNormAct(2 * dim, dim, 1, act=None))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.layer_scale.view(-1, 1, 1) * (self.pool(x) - x)
        return x + self.layer_scale.view(-1, 1, 1) * self.mlp(x)


class EfficientFormer(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, 6, 3, 2), ConvNormAct(6, 8, 3, 2))
        self.stage = MetaBlock(8)
        self.blocks = nn.Sequential(Block(8, 2, init=0.1))
        self.norm = nn.LayerNorm(8)
        self.head, self.head_dist = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stage(self.stem(x)).flatten(2).transpose(1, 2)
        x = self.norm(self.blocks(x)).mean(dim=1)
        return self.head(x), self.head_dist(x)


@family((3, 16, 16), inside=14)
def efficientformer():
    return EfficientFormer()


class ReducedAttention(nn.Module):
    """PVT v2 and SegFormer: keys and values of a smaller picture, strided or pooled to 2x2."""

    def __init__(self, dim: int, heads: int, ratio: int, pooled: bool = False):
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.pool = nn.AdaptiveAvgPool2d(2) if pooled else nn.Identity()
        self.sr = nn.Conv2d(dim, dim, 1 if pooled else ratio, 1 if pooled else ratio)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        B, N, C = x.shape
        q = self.q(x).reshape(B, N, self.heads, -1).permute(0, 2, 1, 3)
        y = x.permute(0, 2, 1).reshape(B, C, *size)
        y = F.gelu(self.norm(self.sr(self.pool(y)).reshape(B, C, -1).permute(0, 2, 1)))
        k, v = self.kv(y).reshape(B, -1, 2, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, C))


class DepthwiseMlp(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.fc1(x)
        B, _N, C = x.shape
        x = self.dwconv(x.transpose(1, 2).view(B, C, *size)).flatten(2).transpose(1, 2)
        return self.fc2(F.gelu(x))


class PyramidStage(nn.Module):
    """Overlapping patches, one block, a norm; a picture goes in and comes out."""

    def __init__(self, inputs: int, dim: int, kernel: int, stride: int, ratio: int, pooled: bool = False):
        super().__init__()
        self.proj = nn.Conv2d(inputs, dim, kernel, stride, kernel // 2)
        self.norm0, self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(4))
        self.attn = ReducedAttention(dim, 2, ratio, pooled)
        self.mlp = DepthwiseMlp(dim, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        size = (x.shape[2], x.shape[3])
        x = self.norm0(x.flatten(2).transpose(1, 2))
        x = x + self.attn(self.norm1(x), size)
        x = self.norm3(x + self.mlp(self.norm2(x), size))
        return x.reshape(x.shape[0], *size, -1).permute(0, 3, 1, 2).contiguous()


@family((3, 16, 16), inside=30)
def pvt_v2():
    return nn.Sequential(PyramidStage(3, 8, 7, 4, 2), PyramidStage(8, 12, 3, 2, 1, pooled=True), GlobalPoolHead(12, 5))


class SegFormer(nn.Module):
    """Every stage's features as one row of tokens, projected, enlarged and fused."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([PyramidStage(3, 8, 7, 4, 2), PyramidStage(8, 12, 3, 2, 1)])
        self.linear_c = nn.ModuleList([nn.Linear(8, 6), nn.Linear(12, 6)])
        self.linear_fuse = ConvNormAct(12, 6, 1)
        self.linear_pred = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        features, full = [], x.shape[2:]
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        size = features[0].shape[2:]
        fused = []
        for linear, f in zip(reversed(self.linear_c), reversed(features), strict=True):
            y = linear(f.flatten(2).transpose(1, 2)).permute(0, 2, 1).reshape(f.shape[0], -1, *f.shape[2:])
            fused.append(F.interpolate(y, size=size, mode="bilinear", align_corners=False))
        x = self.linear_pred(self.linear_fuse(torch.cat(fused, dim=1)))
        return F.interpolate(x, size=full, mode="bilinear", align_corners=False)


@family((3, 16, 16), inside=30)
def segformer():
    return SegFormer()


class CrossVit(nn.Module):
    """Two sizes of patches; each class token attends to the other's patches."""

    def __init__(self):
        super().__init__()
        self.embed = nn.ModuleList([PatchEmbed(16, 4, 3, 8), PatchEmbed(16, 8, 3, 12)])
        self.cls = nn.ParameterList([nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 1, 12))])
        self.blocks = nn.ModuleList([Block(8, 2), Block(12, 2)])
        self.projs = nn.ModuleList([nn.Sequential(nn.LayerNorm(a), nn.GELU(), nn.Linear(a, b)) for a, b in ((8, 12), (12, 8))])
        self.fusion = nn.ModuleList([ClassAttention(12), ClassAttention(8)])
        self.head = nn.ModuleList([nn.Linear(12, 5), nn.Linear(8, 5)])

    def forward(self, x: Tensor) -> Tensor:
        smaller = F.interpolate(x, size=(16, 16), mode="bilinear", align_corners=True)
        tokens = []
        for i, picture in enumerate((x[:, :, :16, :16], smaller)):
            t = self.embed[i](picture)
            t = torch.cat((self.cls[i].expand(x.shape[0], -1, -1), t), dim=1)
            tokens.append(self.blocks[i](t))
        scores = []
        for i in range(2):
            asked = torch.cat((self.projs[i](tokens[i][:, 0:1]), tokens[1 - i][:, 1:]), dim=1)
            scores.append(self.head[i](self.fusion[i](asked)[:, 0]))
        return torch.mean(torch.stack(scores, dim=0), dim=0)


@family((3, 18, 18), inside=30)
def crossvit():
    return CrossVit()


class FactoredAttention(nn.Module):
    """CoaT: softmax over the keys' tokens, and positions by depthwise convolutions of several windows."""

    def __init__(self, dim: int, heads: int = 4):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)
        self.splits = [dim // 2, dim // 2]
        self.conv_list = nn.ModuleList(nn.Conv2d(dim // 2, dim // 2, k, padding=k // 2, groups=dim // 2) for k in (3, 5))

    def positions(self, q: Tensor, v: Tensor, size: tuple[int, int]) -> Tensor:
        B, heads, _, C = q.shape
        q_img, v_img = q[:, :, 1:, :], v[:, :, 1:, :]
        v_img = v_img.transpose(-1, -2).reshape(B, heads * C, *size)
        v_img = torch.cat([conv(part) for conv, part in zip(self.conv_list, torch.split(v_img, self.splits, dim=1), strict=True)], dim=1)
        v_img = v_img.reshape(B, heads, C, size[0] * size[1]).transpose(-1, -2)
        return F.pad(q_img * v_img, (0, 0, 1, 0, 0, 0))

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        factor = k.softmax(dim=2).transpose(-1, -2) @ v
        x = self.scale * (q @ factor) + self.positions(q, v, size)
        return self.proj(x.transpose(1, 2).reshape(B, N, C))


class Coat(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = PatchEmbed(16, 4, 3, 8, norm=nn.LayerNorm)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.cpe = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attn, self.mlp, self.head = FactoredAttention(8), Mlp(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        B, _, C = x.shape
        cls, picture = x[:, :1], x[:, 1:].transpose(1, 2).view(B, C, 4, 4)
        picture = self.cpe(picture) + picture
        x = torch.cat((cls, picture.flatten(2).transpose(1, 2)), dim=1)
        x = x + self.attn(self.norm1(x), (4, 4))
        return self.head((x + self.mlp(self.norm2(x)))[:, 0])


@family((3, 16, 16), inside=24)
def coat():
    return Coat()


class OutlookAttention(nn.Module):
    """VOLO: each place says how its neighbours' values are mixed; unfold, a product, fold."""

    def __init__(self, dim: int, heads: int = 2, kernel: int = 3, stride: int = 2):
        super().__init__()
        self.heads, self.kernel, self.stride, self.padding = heads, kernel, stride, kernel // 2
        self.scale = (dim // heads) ** -0.5
        self.v, self.attn, self.proj = nn.Linear(dim, dim, bias=False), nn.Linear(dim, kernel**4 * heads), nn.Linear(dim, dim)
        self.unfold = nn.Unfold(kernel_size=kernel, padding=self.padding, stride=stride)
        self.pool = nn.AvgPool2d(kernel_size=stride, stride=stride, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        v = self.v(x).permute(0, 3, 1, 2)
        h, w = math.ceil(H / self.stride), math.ceil(W / self.stride)
        area = self.kernel * self.kernel
        v = self.unfold(v).reshape(B, self.heads, C // self.heads, area, h * w).permute(0, 1, 4, 3, 2)
        attn = self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        attn = self.attn(attn).reshape(B, h * w, self.heads, area, area).permute(0, 2, 1, 3, 4) * self.scale
        x = (attn.softmax(dim=-1) @ v).permute(0, 1, 4, 3, 2).reshape(B, C * area, h * w)
        x = F.fold(x, output_size=(H, W), kernel_size=self.kernel, padding=self.padding, stride=self.stride)
        return self.proj(x.permute(0, 2, 3, 1))


class Volo(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = ConvNormAct(3, 8, 3, 2)
        self.norm1, self.norm2, self.attn, self.mlp = nn.LayerNorm(8), nn.LayerNorm(8), OutlookAttention(8), Mlp(8)
        self.block, self.scale = Attention(8, 2), LayerScale(8)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        B, H, W, C = x.shape
        x = x.reshape(B, H * W, C)
        x = x + self.scale(self.block(x))
        return self.head(self.norm(x)).mean(1)


@family((3, 10, 10), inside=24)
def volo():
    return Volo()
