"""Vision transformers: timm's and torchvision's ViT, DeiT with its second token, BEiT, CaiT, registers, relative positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import Block, DropPath, LayerScale, Mlp, PatchEmbed


class VisionTransformer(nn.Module):
    """timm's: a class token before the patches, positions added, the class token read, or a mean of patches."""

    def __init__(self, size=32, patch=8, dim=16, depth=2, heads=4, pool="token", registers=0, init=None, fused=True, qk_norm=False):
        super().__init__()
        self.pool, self.prefix = pool, 1 + registers
        self.patch_embed = PatchEmbed(size, patch, 3, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.reg_token = nn.Parameter(torch.zeros(1, registers, dim)) if registers else None
        self.pos_embed = nn.Parameter(torch.randn(1, self.patch_embed.num_patches + 1, dim) * 0.02)
        self.pos_drop = nn.Dropout(p=0.1)
        self.norm_pre = nn.LayerNorm(dim)
        self.blocks = nn.Sequential(*[Block(dim, heads, init=init, fused=fused, qk_norm=qk_norm) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6) if pool == "token" else nn.Identity()
        self.fc_norm = nn.Identity() if pool == "token" else nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, 10)

    def _pos_embed(self, x: Tensor) -> Tensor:
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self.pos_embed
        if self.reg_token is not None:
            x = torch.cat([x[:, :1], self.reg_token.expand(x.shape[0], -1, -1), x[:, 1:]], dim=1)
        return self.pos_drop(x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_pre(self._pos_embed(self.patch_embed(x)))
        x = self.norm(self.blocks(x))
        x = x[:, 0] if self.pool == "token" else x[:, self.prefix :].mean(dim=1)
        return self.head(self.fc_norm(x))


@family(inside=40, backends=True)
def vit():
    return VisionTransformer()


@family(inside=40)
def vit_registers_unfused():
    return VisionTransformer(pool="avg", registers=2, init=0.1, fused=False, qk_norm=True)


class EncoderBlock(nn.Module):
    """torchvision's: `nn.MultiheadAttention`."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(dim, heads, dropout=0.1, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.ln_2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * dim, dim), nn.Dropout(0.1))

    def forward(self, input: Tensor) -> Tensor:
        torch._assert(input.dim() == 3, f"Expected (batch, tokens, width), got {input.shape}")
        x = self.ln_1(input)
        x, _ = self.self_attention(x, x, x, need_weights=False)
        x = self.dropout(x) + input
        return x + self.mlp(self.ln_2(x))


class TorchvisionViT(nn.Module):
    def __init__(self, size: int = 32, patch: int = 8, dim: int = 16, heads: int = 2):
        super().__init__()
        self.image_size, self.patch_size, self.hidden_dim = size, patch, dim
        self.conv_proj = nn.Conv2d(3, dim, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.empty(1, (size // patch) ** 2 + 1, dim).normal_(std=0.02))
        self.layers = nn.Sequential(EncoderBlock(dim, heads), EncoderBlock(dim, heads))
        self.ln = nn.LayerNorm(dim, eps=1e-6)
        self.heads = nn.Sequential(nn.Linear(dim, 12), nn.Tanh(), nn.Linear(12, 10))

    def _process_input(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        torch._assert(h == self.image_size, f"Wrong height: {h}")
        torch._assert(w == self.image_size, f"Wrong width: {w}")
        x = self.conv_proj(x).reshape(n, self.hidden_dim, (h // self.patch_size) * (w // self.patch_size))
        return x.permute(0, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self._process_input(x)
        batch_class_token = self.class_token.expand(x.shape[0], -1, -1)
        x = torch.cat([batch_class_token, x], dim=1)
        x = self.ln(self.layers(x + self.pos_embedding))
        return self.heads(x[:, 0])


@family(inside=40, changed=dict.fromkeys(("keras", "onnx"), "what one module holds under names of its own are layers there"))
def vit_torchvision():
    return TorchvisionViT()


class DistilledTransformer(nn.Module):
    """DeiT: a second token learns from a teacher; both are asked."""

    def __init__(self, dim: int = 16):
        super().__init__()
        self.patch_embed = PatchEmbed(32, 8, 3, dim)
        self.cls_token, self.dist_token = (nn.Parameter(torch.randn(1, 1, dim) * 0.02) for _ in range(2))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.patch_embed.num_patches + 2, dim))
        self.blocks = nn.Sequential(Block(dim, 4))
        self.norm = nn.LayerNorm(dim)
        self.head, self.head_dist = nn.Linear(dim, 10), nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        tokens = (self.cls_token.expand(x.shape[0], -1, -1), self.dist_token.expand(x.shape[0], -1, -1), x)
        x = self.norm(self.blocks(torch.cat(tokens, dim=1) + self.pos_embed))
        return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2


@family(inside=24)
def deit_distilled():
    return DistilledTransformer()


def relative_positions(size: tuple[int, int], extra: int = 0) -> Tensor:
    """For each pair of places, which entry of a table of offsets is theirs; `extra` entries are the class token's."""
    h, w = size
    coords = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")).flatten(1)
    relative = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0).contiguous()
    relative[:, :, 0] += h - 1
    relative[:, :, 1] += w - 1
    relative[:, :, 0] *= 2 * w - 1
    index = relative.sum(-1)
    if not extra:
        return index
    distances = (2 * h - 1) * (2 * w - 1)
    padded = torch.zeros((h * w + 1,) * 2, dtype=index.dtype)
    padded[1:, 1:] = index
    padded[0, 0:], padded[0:, 0], padded[0, 0] = distances, distances + 1, distances + 2
    return padded


class BeitAttention(nn.Module):
    """Query and value have biases, the key a buffer of zeros; a table of offsets is added to the scores."""

    def __init__(self, dim: int, heads: int, window: tuple[int, int]):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("k_bias", torch.zeros(dim), persistent=False)
        self.relative_position_bias_table = nn.Parameter(torch.randn((2 * window[0] - 1) * (2 * window[1] - 1) + 3, heads))
        self.register_buffer("relative_position_index", relative_positions(window, extra=3), persistent=False)
        self.proj = nn.Linear(dim, dim)

    def _rel_pos_bias(self) -> Tensor:
        n = self.relative_position_index.shape[0]
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(n, n, -1)
        return bias.permute(2, 0, 1).contiguous().unsqueeze(0)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        qkv_bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
        qkv = F.linear(input=x, weight=self.qkv.weight, bias=qkv_bias)
        q, k, v = qkv.reshape(B, N, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=self._rel_pos_bias())
        return self.proj(x.transpose(1, 2).reshape(B, N, C))


class BeitBlock(nn.Module):
    def __init__(self, dim: int, heads: int, window: tuple[int, int]):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = BeitAttention(dim, heads, window)
        self.mlp = Mlp(dim, 2 * dim)
        self.gamma_1, self.gamma_2 = nn.Parameter(0.1 * torch.ones(dim)), nn.Parameter(0.1 * torch.ones(dim))
        self.drop_path = DropPath(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.gamma_1 * self.attn(self.norm1(x)))
        return x + self.drop_path(self.gamma_2 * self.mlp(self.norm2(x)))


class Beit(nn.Module):
    def __init__(self, dim: int = 16):
        super().__init__()
        self.patch_embed = PatchEmbed(24, 8, 3, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList([BeitBlock(dim, 4, self.patch_embed.grid) for _ in range(2)])
        self.fc_norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.fc_norm(x[:, 1:].mean(1)))


@family((3, 24, 24), inside=40, changed={"keras": "a dense layer there computes no bias"})
def beit():
    return Beit()


class TalkingHeadAttention(nn.Module):
    """CaiT: a dense layer mixes the heads before and after softmax."""

    def __init__(self, dim: int, heads: int = 4):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)
        self.proj_l, self.proj_w = nn.Linear(heads, heads), nn.Linear(heads, heads)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0] * self.scale, qkv[1], qkv[2]
        attn = self.proj_l((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        attn = self.proj_w(attn.softmax(dim=-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.proj((attn @ v).transpose(1, 2).reshape(B, N, C))


class ClassAttention(nn.Module):
    """Only the class token asks."""

    def __init__(self, dim: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q = self.q(x[:, 0]).unsqueeze(1).reshape(B, 1, self.heads, C // self.heads).permute(0, 2, 1, 3)
        k = self.k(x).reshape(B, N, self.heads, C // self.heads).permute(0, 2, 1, 3)
        v = self.v(x).reshape(B, N, self.heads, C // self.heads).permute(0, 2, 1, 3)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, 1, C))


class Cait(nn.Module):
    def __init__(self, dim: int = 16):
        super().__init__()
        self.patch_embed = PatchEmbed(24, 8, 3, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, self.patch_embed.num_patches, dim) * 0.02)
        self.norm1, self.norm2, self.norm = (nn.LayerNorm(dim, eps=1e-6) for _ in range(3))
        self.attn, self.class_attn = TalkingHeadAttention(dim), ClassAttention(dim)
        self.gamma = LayerScale(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        x = x + self.gamma(self.attn(self.norm1(x)))
        cls_tokens = self.cls_token.expand(x.shape[0], -1, -1)
        u = torch.cat((cls_tokens, x), dim=1)
        cls_tokens = cls_tokens + self.class_attn(self.norm2(u))
        return self.head(self.norm(torch.cat((cls_tokens, x), dim=1))[:, 0])


@family((3, 24, 24), inside=24)
def cait():
    return Cait()
