"""Attention inside windows: Swin v1 and v2, MaxViT's windows and grids, Twins, HaloNet-like rows."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct, DropPath, Mlp, SqueezeExcite
from .vision_transformer import relative_positions


def window_partition(x: Tensor, size: tuple[int, int]) -> Tensor:
    B, H, W, C = x.shape
    x = x.view(B, H // size[0], size[0], W // size[1], size[1], C)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size[0], size[1], C)


def window_reverse(windows: Tensor, size: tuple[int, int], H: int, W: int) -> Tensor:
    C = windows.shape[-1]
    x = windows.view(-1, H // size[0], W // size[1], size[0], size[1], C)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, H, W, C)


def shifted_mask(resolution: tuple[int, int], window: int, shift: int) -> Tensor | None:
    """-100 where two places of a shifted window do not touch in the picture."""
    if not shift:
        return None
    H, W = (math.ceil(s / window) * window for s in resolution)
    img_mask = torch.zeros((1, H, W, 1))
    count = 0
    for h in (slice(0, -window), slice(-window, -shift), slice(-shift, None)):
        for w in (slice(0, -window), slice(-window, -shift), slice(-shift, None)):
            img_mask[:, h, w, :] = count
            count += 1
    windows = window_partition(img_mask, (window, window)).view(-1, window * window)
    mask = windows.unsqueeze(1) - windows.unsqueeze(2)
    return mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0)


class WindowAttention(nn.Module):
    def __init__(self, dim: int, window: int, heads: int, fused: bool):
        super().__init__()
        self.heads, self.window, self.fused, self.scale = heads, window, fused, (dim // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.2)
        self.register_buffer("relative_position_index", relative_positions((window, window)), persistent=False)
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)
        self.softmax = nn.Softmax(dim=-1)

    def _get_rel_pos_bias(self) -> Tensor:
        area = self.window * self.window
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(area, area, -1)
        return bias.permute(2, 0, 1).contiguous().unsqueeze(0)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        B_, N, _ = x.shape
        q, k, v = self.qkv(x).reshape(B_, N, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            attn_mask = self._get_rel_pos_bias()
            if mask is not None:
                num_win = mask.shape[0]
                mask = mask.view(1, num_win, 1, N, N).expand(B_ // num_win, -1, self.heads, -1, -1)
                attn_mask = attn_mask + mask.reshape(-1, self.heads, N, N)
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        else:
            attn = (q * self.scale) @ k.transpose(-2, -1) + self._get_rel_pos_bias()
            if mask is not None:
                num_win = mask.shape[0]
                attn = attn.view(-1, num_win, self.heads, N, N) + mask.unsqueeze(1).unsqueeze(0)
                attn = attn.view(-1, self.heads, N, N)
            x = self.softmax(attn) @ v
        return self.proj(x.transpose(1, 2).reshape(B_, N, -1))


class SwinBlock(nn.Module):
    """Windows, shifted by a roll; a picture that no whole windows cover is padded."""

    def __init__(self, dim: int, resolution: tuple[int, int], heads: int, window: int, shift: int, fused: bool = True):
        super().__init__()
        self.resolution, self.window, self.shift = resolution, window, shift
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, heads, fused)
        self.mlp = Mlp(dim, 2 * dim)
        self.drop_path = DropPath(0.1)
        self.register_buffer("attn_mask", shifted_mask(resolution, window, shift), persistent=False)

    def _attn(self, x: Tensor) -> Tensor:
        _, H, W, C = x.shape
        shifted = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2)) if self.shift else x
        pad_h, pad_w = (self.window - H % self.window) % self.window, (self.window - W % self.window) % self.window
        shifted = F.pad(shifted, (0, 0, 0, pad_w, 0, pad_h))
        _, Hp, Wp, _ = shifted.shape
        windows = window_partition(shifted, (self.window, self.window)).view(-1, self.window * self.window, C)
        windows = self.attn(windows, mask=self.attn_mask).view(-1, self.window, self.window, C)
        shifted = window_reverse(windows, (self.window, self.window), Hp, Wp)[:, :H, :W, :].contiguous()
        return torch.roll(shifted, shifts=(self.shift, self.shift), dims=(1, 2)) if self.shift else shifted

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        x = x + self.drop_path(self._attn(self.norm1(x)))
        x = x.reshape(B, -1, C)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x.reshape(B, H, W, C)


class PatchMerging(nn.Module):
    def __init__(self, dim: int, outputs: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        _, H, W, _ = x.shape
        x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        parts = [x[..., i::2, j::2, :] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class SwinTransformer(nn.Module):
    def __init__(self, size=32, patch=4, dim=8, depths=(2, 1), heads=(2, 4), window=4, fused=True, classes=10):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.norm_pre = nn.LayerNorm(dim)
        resolution, layers = (size // patch, size // patch), []
        for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            if stage:
                layers.append(PatchMerging(dim, 2 * dim))
                dim, resolution = 2 * dim, tuple((s + 1) // 2 for s in resolution)
            span = min(window, *resolution)
            for i in range(depth):
                shift = 0 if i % 2 == 0 or span == min(resolution) else span // 2
                layers.append(SwinBlock(dim, resolution, count, span, shift, fused))
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_pre(self.patch_embed(x).permute(0, 2, 3, 1))
        return self.head(self.norm(self.layers(x)).mean(dim=(1, 2)))


def swin_tiny_full():
    """At its published widths."""
    return SwinTransformer(224, 4, 96, (2, 2, 6, 2), (3, 6, 12, 24), window=7, fused=False, classes=1000)


@family(inside=60, backends=True)
def swin():
    return SwinTransformer()


@family((3, 28, 28), inside=60)
def swin_padded_unfused():
    """7 places a side: windows of 4 need padding, and halving meets an odd size."""
    return SwinTransformer(28, fused=False)


class WindowAttentionV2(nn.Module):
    """Cosines in place of products, a learnt scale below a ceiling, offsets turned into biases by a small network."""

    def __init__(self, dim: int, window: int, heads: int):
        super().__init__()
        self.heads, self.window = heads, window
        self.logit_scale = nn.Parameter(torch.log(10 * torch.ones((heads, 1, 1))))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 16), nn.ReLU(inplace=True), nn.Linear(16, heads, bias=False))
        self.qkv, self.proj = nn.Linear(dim, dim * 3, bias=False), nn.Linear(dim, dim)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("k_bias", torch.zeros(dim), persistent=False)
        offsets = torch.arange(1 - window, window).to(torch.float32)
        table = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), -1)[None] * 8 / (window - 1)
        table = torch.sign(table) * torch.log2(torch.abs(table) + 1.0) / math.log2(8)
        self.register_buffer("relative_coords_table", table, persistent=False)
        self.register_buffer("relative_position_index", relative_positions((window, window)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        B_, N, C = x.shape
        bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
        q, k, v = F.linear(x, self.qkv.weight, bias).reshape(B_, N, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        attn = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        attn = attn * torch.clamp(self.logit_scale, max=math.log(1.0 / 0.01)).exp()
        table = self.cpb_mlp(self.relative_coords_table).view(-1, self.heads)
        bias = table[self.relative_position_index.view(-1)].view(N, N, -1).permute(2, 0, 1).contiguous()
        attn = (attn + 16 * torch.sigmoid(bias).unsqueeze(0)).softmax(dim=-1)
        return self.proj((attn @ v).transpose(1, 2).reshape(B_, N, C))


class SwinV2(nn.Module):
    def __init__(self, dim: int = 8, window: int = 4):
        super().__init__()
        self.window = window
        self.patch_embed = nn.Conv2d(3, dim, 4, 4)
        self.attn, self.mlp = WindowAttentionV2(dim, window, 2), Mlp(dim, 2 * dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).permute(0, 2, 3, 1)
        _, H, W, C = x.shape
        windows = window_partition(x, (self.window, self.window)).view(-1, self.window**2, C)
        windows = self.attn(windows).view(-1, self.window, self.window, C)
        x = x + self.norm1(window_reverse(windows, (self.window, self.window), H, W))
        x = x + self.norm2(self.mlp(x))
        return self.head(x.mean((1, 2)))


@family(inside=30, changed={"keras": "a dense layer there computes no bias"})
def swin_v2():
    return SwinV2()


class RelPosAttention(nn.Module):
    def __init__(self, dim: int, heads: int, window: tuple[int, int]):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.table = nn.Parameter(torch.randn(heads, (2 * window[0] - 1) * (2 * window[1] - 1)))
        self.register_buffer("index", relative_positions(window))

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q, k, v = torch.chunk(self.qkv(x).view(B, N, 3 * self.heads, -1).transpose(1, 2), 3, dim=1)
        bias = self.table[:, self.index.view(-1)].view(1, -1, N, N)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(B, N, C))


class MaxxVitBlock(nn.Module):
    """A convolution with squeeze and excite; attention inside windows; attention across a grid."""

    def __init__(self, dim: int, window: int):
        super().__init__()
        self.window = (window, window)
        self.conv = nn.Sequential(
            nn.BatchNorm2d(dim), ConvNormAct(dim, 2 * dim, 1, act=nn.GELU), ConvNormAct(2 * dim, 2 * dim, 3, groups=2 * dim, act=nn.GELU),
            SqueezeExcite(2 * dim, act=nn.SiLU), nn.Conv2d(2 * dim, dim, 1),
        )  # fmt: skip
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.block_attn, self.grid_attn = RelPosAttention(dim, 2, self.window), RelPosAttention(dim, 2, self.window)

    def _windows(self, x: Tensor) -> Tensor:
        _, H, W, C = x.shape
        windows = window_partition(x, self.window).reshape(-1, self.window[0] * self.window[1], C)
        return window_reverse(self.block_attn(windows).view(-1, *self.window, C), self.window, H, W)

    def _grid(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        g = self.window[0]
        grid = x.view(B, g, H // g, g, W // g, C).permute(0, 2, 4, 1, 3, 5).contiguous().view(-1, g * g, C)
        grid = self.grid_attn(grid).view(-1, H // g, W // g, g, g, C)
        return grid.permute(0, 3, 1, 4, 2, 5).contiguous().view(B, H, W, C)

    def forward(self, x: Tensor) -> Tensor:
        x = (x + self.conv(x)).permute(0, 2, 3, 1)
        x = x + self._windows(self.norm1(x))
        x = x + self._grid(self.norm2(x))
        return x.permute(0, 3, 1, 2)


class MaxVit(nn.Module):
    def __init__(self, dim: int = 8):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, dim, 3, 2, act=nn.GELU), nn.Conv2d(dim, dim, 3, 2, 1))
        self.block = MaxxVitBlock(dim, 4)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.stem(x)).mean((2, 3))))


@family(inside=40, changed={"keras": "whole numbers that no layer has are floats there"})
def maxvit():
    return MaxVit()
