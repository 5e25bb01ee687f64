"""Networks of dense layers over patches: MLP-Mixer, ResMLP, gMLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import family
from .layers import DropPath, Mlp, PatchEmbed


class MixerBlock(nn.Module):
    """Features of tokens are mixed, then tokens of features, between two transposes."""

    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp_tokens = Mlp(tokens, 2 * tokens)
        self.drop_path = DropPath(0.1)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp_channels = Mlp(dim, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2))
        return x + self.drop_path(self.mlp_channels(self.norm2(x)))


class Affine(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.alpha, x)


class ResBlock(nn.Module):
    """ResMLP: factors and offsets instead of norms, one dense layer over the tokens."""

    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.norm1, self.norm2 = Affine(dim), Affine(dim)
        self.linear_tokens = nn.Linear(tokens, tokens)
        self.mlp_channels = Mlp(dim, 2 * dim)
        self.ls1 = nn.Parameter(0.1 * torch.ones(dim))
        self.ls2 = nn.Parameter(0.1 * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1 * self.linear_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.ls2 * self.mlp_channels(self.norm2(x))


class SpatialGatingUnit(nn.Module):
    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim // 2)
        self.proj = nn.Linear(tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        u, v = x.chunk(2, dim=-1)
        v = self.proj(self.norm(v).transpose(-1, -2))
        return u * v.transpose(-1, -2)


class SpatialGatingBlock(nn.Module):
    """gMLP: half of the features gates the other half, seen from all tokens."""

    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.gate = SpatialGatingUnit(4 * dim, tokens)
        self.fc2 = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.gate(self.act(self.fc1(self.norm(x)))))


class Mixer(nn.Module):
    def __init__(self, block: type[nn.Module], norm: type[nn.Module], depth: int = 2):
        super().__init__()
        self.stem = PatchEmbed(16, 4, 3, 8)
        self.blocks = nn.Sequential(*[block(8, self.stem.num_patches) for _ in range(depth)])
        self.norm = norm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.stem(x))).mean(dim=1))


@family((3, 16, 16), inside=12)
def mlp_mixer():
    return Mixer(MixerBlock, nn.LayerNorm, depth=1)


@family((3, 16, 16), inside=12)
def resmlp():
    return Mixer(ResBlock, Affine)


@family((3, 16, 16), inside=12)
def gmlp():
    return Mixer(SpatialGatingBlock, nn.LayerNorm)
