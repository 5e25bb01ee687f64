"""Networks that make pictures: SRGAN, ESRGAN, CycleGAN, pix2pix, SAGAN, BigGAN, StyleGAN2, and a patch discriminator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from . import family

NORMED = "the norm of a weight is computed once, and the weight is saved under its own name"


class SrResidual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class SrGan(nn.Module):
    """Residual blocks within a long skip, then pixels shuffled out of channels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*[SrResidual(6) for _ in range(2)], nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.up = nn.Sequential(nn.Conv2d(6, 24, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())
        self.last = nn.Conv2d(6, 3, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return (torch.tanh(self.last(self.up(x + self.blocks(x)))) + 1) / 2


@family((3, 9, 7), plain=True)
def srgan():
    return SrGan()


class DenseBlock(nn.Module):
    """ESRGAN: everything that came before goes into each convolution; a fifth of what comes out is added."""

    def __init__(self, width: int = 6, growth: int = 4):
        super().__init__()
        outs = [growth] * 4 + [width]
        self.convs = nn.ModuleList(nn.Conv2d(width + i * growth, o, 3, 1, 1) for i, o in enumerate(outs))
        self.lrelu = nn.LeakyReLU(negative_slope=0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        kept = [x]
        for conv in self.convs[:-1]:
            kept.append(self.lrelu(conv(torch.cat(kept, 1))))
        return self.convs[-1](torch.cat(kept, 1)) * 0.2 + x


class EsrGan(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_first = nn.Conv2d(3, 6, 3, 1, 1)
        self.body = nn.Sequential(DenseBlock(), DenseBlock())
        self.conv_body, self.conv_up, self.conv_last = (nn.Conv2d(6, n, 3, 1, 1) for n in (6, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        feat = self.conv_first(x)
        feat = feat + self.conv_body(self.body(feat) * 0.2 + feat)
        feat = F.leaky_relu(self.conv_up(F.interpolate(feat, scale_factor=2, mode="nearest")), 0.2)
        return self.conv_last(feat)


@family((3, 8, 10), plain=True)
def esrgan():
    return EsrGan()


class ReflectedBlock(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3), nn.InstanceNorm2d(dim), nn.ReLU(True), nn.Dropout(0.5),
            nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3), nn.InstanceNorm2d(dim),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


@family((3, 12, 12), plain=True)
def cyclegan():
    norm = nn.InstanceNorm2d
    return nn.Sequential(
        nn.ReflectionPad2d(3), nn.Conv2d(3, 4, 7), norm(4), nn.ReLU(True), nn.Conv2d(4, 8, 3, 2, 1), norm(8), nn.ReLU(True),
        ReflectedBlock(8), nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), norm(4), nn.ReLU(True),
        nn.ReflectionPad2d(3), nn.Conv2d(4, 3, 7), nn.Tanh(),
    )  # fmt: skip


class SkipBlock(nn.Module):
    """pix2pix: a U-Net, built from the inside."""

    def __init__(self, outer: int, inner: int, within: nn.Module | None, outermost: bool = False, tracked: bool = True):
        super().__init__()
        self.outermost = outermost
        down = [] if outermost else [nn.LeakyReLU(0.2, True)]
        down.append(nn.Conv2d(3 if outermost else outer, inner, 4, 2, 1, bias=False))
        up = [nn.ReLU(True), nn.ConvTranspose2d(inner * (1 if within is None else 2), outer, 4, 2, 1, bias=outermost)]
        up += [nn.Tanh()] if outermost else [nn.BatchNorm2d(outer, track_running_stats=tracked), nn.Dropout(0.5)]
        self.model = nn.Sequential(*down, *([] if within is None else [within]), *up)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def unet_generator(tracked: bool = True) -> nn.Module:
    inner = SkipBlock(6, 8, SkipBlock(8, 8, None, tracked=tracked), tracked=tracked)
    return SkipBlock(3, 6, inner, outermost=True)


@family((3, 16, 16), plain=True)
def pix2pix():
    return unet_generator()


class SelfAttention(nn.Module):
    """SAGAN: every place looks at every other, or at a pooled picture."""

    def __init__(self, channels: int, pooled: bool):
        super().__init__()
        self.theta, self.phi, self.g, self.o = (
            spectral_norm(nn.Conv2d(a, b, 1, bias=False)) for a, b in ((channels, 2), (channels, 2), (channels, 4), (4, channels))
        )
        self.pooled = pooled
        self.gamma = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        B, _, H, W = x.shape
        theta, phi, g = self.theta(x), self.phi(x), self.g(x)
        if self.pooled:
            phi, g = F.max_pool2d(phi, [2, 2]), F.max_pool2d(g, [2, 2])
        beta = F.softmax(torch.bmm(theta.view(B, 2, -1).transpose(1, 2), phi.view(B, 2, -1)), -1)
        o = self.o(torch.bmm(g.view(B, 4, -1), beta.transpose(1, 2)).view(B, 4, H, W))
        return self.gamma * o + x


@family((6,), inside=6, changed={"keras": NORMED, "onnx": NORMED})
def sagan():
    return nn.Sequential(
        nn.Unflatten(1, (6, 1, 1)), spectral_norm(nn.ConvTranspose2d(6, 8, 4)), nn.BatchNorm2d(8), nn.ReLU(),
        SelfAttention(8, False), spectral_norm(nn.ConvTranspose2d(8, 4, 4, 2, 1)), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


class ConditionalNorm(nn.Module):
    """A batch norm without weights; gain and bias are computed from the class."""

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.gain = spectral_norm(nn.Linear(condition, channels, bias=False))
        self.bias = spectral_norm(nn.Linear(condition, channels, bias=False))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        gain = (1 + self.gain(y)).view(y.size(0), -1, 1, 1)
        bias = self.bias(y).view(y.size(0), -1, 1, 1)
        out = F.batch_norm(x, self.stored_mean, self.stored_var, None, None, False, 0.1, 1e-5)
        return out * gain + bias


class BigBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, condition: int):
        super().__init__()
        self.bn1, self.bn2 = ConditionalNorm(inputs, condition), ConditionalNorm(outputs, condition)
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.conv_sc = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = F.interpolate(F.relu(self.bn1(x, y)), scale_factor=2)
        h = self.conv2(F.relu(self.bn2(self.conv1(h), y)))
        return h + self.conv_sc(F.interpolate(x, scale_factor=2))


class BigGan(nn.Module):
    """The noise goes in by parts, one for each stage, together with the class's features."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(5, 4, bias=False)
        self.linear = spectral_norm(nn.Linear(3, 8 * 4))
        self.blocks = nn.ModuleList([BigBlock(8, 6, 7), BigBlock(6, 4, 7)])
        self.attention = SelfAttention(4, True)
        self.output = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(True), spectral_norm(nn.Conv2d(4, 3, 3, padding=1)))

    def forward(self, z: Tensor, scores: Tensor) -> Tensor:
        y = self.shared(scores.softmax(-1))
        first, *rest = torch.split(z, 3, 1)
        h = self.linear(first).view(z.size(0), -1, 2, 2)
        for block, part in zip(self.blocks, rest, strict=True):
            h = block(h, torch.cat([y, part], 1))
        return torch.tanh(self.output(self.attention(h)))


@family((9,), (5,), inside=6, changed={"keras": NORMED, "onnx": NORMED})
def biggan():
    return BigGan()


class ModulatedConv(nn.Module):
    """StyleGAN2: each example has weights of its own, so the batch becomes groups of one convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, demodulate: bool = True, up: bool = False):
        super().__init__()
        self.kernel, self.demodulate, self.up = kernel, demodulate, up
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = nn.Linear(style, inputs)
        self.scale = 1 / math.sqrt(inputs * kernel**2)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        B, inputs, H, W = x.shape
        outputs = self.weight.shape[1]
        weight = self.scale * self.weight * self.modulation(style).view(B, 1, inputs, 1, 1)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8).view(B, outputs, 1, 1, 1)
        x = x.view(1, B * inputs, H, W)
        if self.up:
            weight = weight.transpose(1, 2).reshape(B * inputs, outputs, self.kernel, self.kernel)
            x = F.conv_transpose2d(x, weight, padding=0, stride=2, groups=B)
        else:
            weight = weight.view(B * outputs, inputs, self.kernel, self.kernel)
            x = F.conv2d(x, weight, padding=self.kernel // 2, groups=B)
        return x.view(B, outputs, x.shape[2], x.shape[3])


class StyleGan2(nn.Module):
    """A mapping of the noise, a picture learnt, modulated convolutions with stored noise, colours skipped and added."""

    def __init__(self, up: bool):
        super().__init__()
        self.up = up
        self.mapping = nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(0.2), nn.Linear(6, 6), nn.LeakyReLU(0.2))
        self.input = nn.Parameter(torch.randn(1, 4, 4, 4))
        self.conv1 = ModulatedConv(4, 4, 3, 6)
        self.conv2 = ModulatedConv(4, 4, 3, 6, up=up)
        self.rgb1, self.rgb2 = ModulatedConv(4, 3, 1, 6, demodulate=False), ModulatedConv(4, 3, 1, 6, demodulate=False)
        self.noise_weight = nn.Parameter(torch.tensor([0.4]))
        self.register_buffer("noise", torch.randn(1, 1, 4, 4))
        self.bias = nn.Parameter(torch.zeros(1, 4, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        z = z * torch.rsqrt(torch.mean(z**2, dim=1, keepdim=True) + 1e-8)
        style = self.mapping(z)
        x = self.input.repeat(z.shape[0], 1, 1, 1)
        x = self.conv1(x, style) + self.noise_weight * self.noise
        x = F.leaky_relu(x + self.bias, 0.2) * math.sqrt(2)
        skip = self.rgb1(x, style)
        x = self.conv2(x, style)
        x = F.leaky_relu(x[:, :, :8, :8] + self.bias, 0.2) * math.sqrt(2)
        if self.up:
            skip = F.interpolate(skip, scale_factor=2, mode="bilinear", align_corners=False)
        return self.rgb2(x, style) + skip


@family((6,), inside=20)
def stylegan2():
    return StyleGan2(up=False)


class PatchDiscriminator(nn.Module):
    """A score for each patch, and how examples differ from the others of their batch is not asked."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            spectral_norm(nn.Conv2d(3, 6, 4, 2, 1)), nn.LeakyReLU(0.2, True), nn.Conv2d(6, 8, 4, 2, 1), nn.InstanceNorm2d(8, affine=True),
            nn.LeakyReLU(0.2, True), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(8, 1, 4, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


@family((3, 24, 24), plain=True, changed={"keras": NORMED, "onnx": NORMED})
def patch_discriminator():
    return PatchDiscriminator()


@family((6,), inside=20)
def stylegan2_larger():
    """The second convolution doubles the picture."""
    return StyleGan2(up=True)
