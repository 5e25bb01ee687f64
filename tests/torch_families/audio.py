"""Networks of sound: WaveNet, Conv-TasNet, Demucs, HiFi-GAN, MelGAN, WaveGAN, spectrogram CNNs, wav2vec's encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from . import family
from .layers import GlobalPoolHead


class GatedLayer(nn.Module):
    """WaveNet: dilated, causal, tanh times sigmoid."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.reach = dilation
        self.conv = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.res, self.skip = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.conv(F.pad(x, (self.reach, 0))).chunk(2, dim=1)
        z = torch.tanh(a) * torch.sigmoid(b)
        return x + self.res(z), self.skip(z)


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(1, 6, 1)
        self.layers = nn.ModuleList(GatedLayer(6, 2**i) for i in range(4))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(6, 6, 1), nn.ReLU(), nn.Conv1d(6, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.first(x), 0
        for layer in self.layers:
            x, skip = layer(x)
            total = total + skip
        return self.last(total).log_softmax(dim=1)


@family((1, 40), plain=True, changed=dict.fromkeys(("keras", "onnx"), "the last layer's residual goes nowhere"))
def wavenet():
    return WaveNet()


class GlobalLayerNorm(nn.Module):
    """Over channels and time."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(1, channels, 1)), nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, y: Tensor) -> Tensor:
        mean = y.mean(dim=1, keepdim=True).mean(dim=2, keepdim=True)
        var = torch.pow(y - mean, 2).mean(dim=1, keepdim=True).mean(dim=2, keepdim=True)
        return self.gamma * (y - mean) / torch.pow(var + 1e-8, 0.5) + self.beta


class ConvTasNet(nn.Module):
    """An encoder, masks for two speakers, a decoder that overlaps and adds."""

    def __init__(self, speakers: int = 2, width: int = 8):
        super().__init__()
        self.speakers, self.width = speakers, width
        self.encoder = nn.Conv1d(1, width, 4, stride=2, bias=False)
        self.bottleneck = nn.Sequential(GlobalLayerNorm(width), nn.Conv1d(width, 6, 1, bias=False))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(6, 12, 1, bias=False), nn.PReLU(), GlobalLayerNorm(12),
                nn.Conv1d(12, 12, 3, padding=2**i, dilation=2**i, groups=12, bias=False), nn.PReLU(), GlobalLayerNorm(12),
                nn.Conv1d(12, 6, 1, bias=False),
            )
            for i in range(2)
        )  # fmt: skip
        self.mask = nn.Conv1d(6, speakers * width, 1, bias=False)
        self.decoder = nn.ConvTranspose1d(width, 1, 4, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mixture = F.relu(self.encoder(x))
        y = self.bottleneck(mixture)
        for block in self.blocks:
            y = y + block(y)
        masks = F.relu(self.mask(y).view(x.shape[0], self.speakers, self.width, -1))
        sources = mixture.unsqueeze(1) * masks
        sources = self.decoder(sources.view(-1, self.width, sources.shape[-1])).view(x.shape[0], self.speakers, -1)
        return F.pad(sources, (0, x.shape[-1] - sources.shape[-1]))


@family((1, 41), inside=4)
def conv_tasnet():
    return ConvTasNet()


class Demucs(nn.Module):
    """A U-Net of strided convolutions with gated linear units, a recurrent layer at its bottom, centred skips."""

    def __init__(self):
        super().__init__()
        sizes = ((1, 4), (4, 8))
        self.encoder = nn.ModuleList(
            nn.Sequential(nn.Conv1d(a, b, 8, 4), nn.ReLU(), nn.Conv1d(b, 2 * b, 1), nn.GLU(dim=1)) for a, b in sizes
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(nn.Conv1d(b, 2 * b, 3), nn.GLU(dim=1), nn.ConvTranspose1d(b, a, 8, 4)) for a, b in reversed(sizes)
        )
        self.lstm = nn.LSTM(8, 8, 2, bidirectional=True)
        self.linear = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        x = self.linear(self.lstm(x.permute(2, 0, 1))[0]).permute(1, 2, 0)
        for i, decode in enumerate(self.decoder):
            skip = skips.pop(-1)
            cut = skip.shape[-1] - x.shape[-1]
            x = x + skip[..., cut // 2 : skip.shape[-1] - (cut - cut // 2)]
            x = decode(x)
            x = F.relu(x) if i == 0 else x
        return x


@family((1, 148), inside=8, changed=dict.fromkeys(("keras", "onnx"), "each layer of an LSTM is one of its own there"))
def demucs():
    return Demucs()


class ResBlock1(nn.Module):
    """HiFi-GAN: each kernel in several dilations, weights by length and direction."""

    def __init__(self, channels: int, kernel: int, norm):
        super().__init__()
        self.convs1 = nn.ModuleList(
            norm(nn.Conv1d(channels, channels, kernel, dilation=d, padding=(kernel - 1) * d // 2)) for d in (1, 3)
        )
        self.convs2 = nn.ModuleList(norm(nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for c1, c2 in zip(self.convs1, self.convs2, strict=True):
            x = c2(F.leaky_relu(c1(F.leaky_relu(x, 0.1)), 0.1)) + x
        return x


class HifiGan(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv_pre = norm(nn.Conv1d(10, 8, 7, 1, padding=3))
        self.ups = nn.ModuleList([norm(nn.ConvTranspose1d(8, 4, 4, 2, 1)), norm(nn.ConvTranspose1d(4, 4, 6, 3, 2, 1))])
        self.resblocks = nn.ModuleList(ResBlock1(4, k, norm) for _ in range(2) for k in (3, 5))
        self.conv_post = norm(nn.Conv1d(4, 1, 7, 1, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_pre(x)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            x = sum(block(x) for block in self.resblocks[2 * i : 2 * i + 2]) / 2
        return torch.tanh(self.conv_post(F.leaky_relu(x)))


NORMED = "the norm of a weight is computed once, and the weight is saved under its own name"


@family((10, 6), plain=True, changed={"keras": NORMED, "onnx": NORMED})
def hifigan():
    return HifiGan(nn.utils.weight_norm)


@family((10, 6), plain=True, changed={"keras": NORMED, "onnx": NORMED})
def hifigan_parametrised():
    return HifiGan(parametrizations.weight_norm)


@family((10, 6), plain=True, changed={"keras": NORMED, "onnx": NORMED})
def melgan():
    def norm(layer):
        return nn.utils.weight_norm(layer)

    class Residual(nn.Module):
        def __init__(self, dim: int, dilation: int):
            super().__init__()
            self.block = nn.Sequential(
                nn.LeakyReLU(0.2), nn.ReflectionPad1d(dilation), norm(nn.Conv1d(dim, dim, 3, dilation=dilation)),
                nn.LeakyReLU(0.2), norm(nn.Conv1d(dim, dim, 1)),
            )  # fmt: skip
            self.shortcut = norm(nn.Conv1d(dim, dim, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.shortcut(x) + self.block(x)

    return nn.Sequential(
        nn.ReflectionPad1d(3), norm(nn.Conv1d(10, 8, 7)), nn.LeakyReLU(0.2), norm(nn.ConvTranspose1d(8, 4, 8, 4, 2)),
        Residual(4, 1), Residual(4, 3), nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), norm(nn.Conv1d(4, 1, 7)), nn.Tanh(),
    )  # fmt: skip


class WaveGan(nn.Module):
    """Noise to sound by transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4 * 8)
        self.bn = nn.BatchNorm1d(8)
        self.tconv = nn.Sequential(
            nn.ConvTranspose1d(8, 4, 25, 4, 11, output_padding=1), nn.BatchNorm1d(4), nn.ReLU(),
            nn.ConvTranspose1d(4, 1, 25, 4, 11, output_padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        x = self.fc(z).view(-1, 8, 4)
        return self.tconv(F.relu(self.bn(x)))


@family((6,), plain=True)
def wavegan():
    return WaveGan()


class SpectrogramCnn(nn.Module):
    """The power of a short-time Fourier transform, in bands, in decibels, then a CNN."""

    def __init__(self):
        super().__init__()
        self.register_buffer("window", torch.hann_window(16))
        self.register_buffer("bands", torch.rand(9, 6))
        self.cnn = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), GlobalPoolHead(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.stft(x, 16, 8, 16, self.window, center=True, pad_mode="reflect", return_complex=True)
        power = spectrum.real.pow(2) + spectrum.imag.pow(2)
        mel = torch.matmul(power.transpose(-1, -2), self.bands).transpose(-1, -2)
        return self.cnn(10.0 * torch.log10(torch.clamp(mel, min=1e-10)).unsqueeze(1))


@family((64,), inside=4, changed=dict.fromkeys(("keras", "onnx"), "a product with a matrix is a dense layer there"))
def spectrogram_cnn():
    return SpectrogramCnn()


class Wav2Vec(nn.Module):
    """Convolutions, the first with a group norm, then positions by one wide convolution with weight norm."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(1, 6, 10, 5, bias=False), nn.Conv1d(6, 6, 3, 2), nn.Conv1d(6, 6, 2, 2)])
        self.group_norm = nn.GroupNorm(6, 6)
        self.layer_norm = nn.LayerNorm(6)
        self.projection = nn.Linear(6, 8)
        self.pos_conv = parametrizations.weight_norm(nn.Conv1d(8, 8, 4, padding=2, groups=2), name="weight", dim=2)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True), 1, enable_nested_tensor=False
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.group_norm(self.layers[0](x.unsqueeze(1)))
        for layer in self.layers[1:]:
            x = layer(F.gelu(x))
        x = self.projection(self.layer_norm(x.transpose(1, 2)))
        x = x + F.gelu(self.pos_conv(x.transpose(1, 2))[..., :-1]).transpose(1, 2)
        return self.encoder(x)


@family((170,), inside=16, changed={"keras": NORMED, "onnx": NORMED})
def wav2vec():
    return Wav2Vec()
