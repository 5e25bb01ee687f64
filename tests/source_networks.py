"""Networks as people write them, to be written out again: residual, U-shaped, transformers, odd names."""

import torch
import torch.nn.functional as F
from torch import nn

import models


class Attention(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


class Block(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, fused)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, fused=True):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 16, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        self.pos_embed = nn.Parameter(torch.randn(1, 17, 16))
        self.blocks = nn.Sequential(*(Block(16, heads, fused) for heads in (2, 2, 4)))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class DoubleConv(nn.Sequential):
    def __init__(self, inputs, outputs):
        layers = []
        for width in (inputs, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc = DoubleConv(3, 8)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(16, 32))
        self.up1, self.conv1 = nn.ConvTranspose2d(32, 16, 2, 2), DoubleConv(32, 16)
        self.up2, self.conv2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), DoubleConv(24, 8)
        self.outc = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x = self.conv1(torch.cat([x2, self.up1(self.down2(x2))], 1))
        return self.outc(self.conv2(torch.cat([x1, self.up2(x)], 1)))


class Encoder(nn.Module):
    """torch's own encoder, token and position tables, a constant mask, a dict of outputs."""

    def __init__(self):
        super().__init__()
        self.emb, self.pos = nn.Embedding(30, 16), nn.Embedding(12, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.register_buffer("mask", torch.triu(torch.full((12, 12), float("-inf")), 1), persistent=False)
        self.head = nn.Linear(16, 5)

    def forward(self, ids):
        x = self.enc(self.emb(ids) + self.pos(torch.arange(ids.shape[1])), self.mask, is_causal=False)
        return {"scores": self.head(x.mean(1)), "last": x[:, -1]}


class Recurrent(nn.Module):
    """Dense connections in a ModuleList, an LSTM, a constant that is read twice, a frozen layer, float64."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        grow = (nn.Sequential(nn.BatchNorm2d(8 + 4 * i), nn.PReLU(), nn.Conv2d(8 + 4 * i, 4, 3, padding=1)) for i in range(3))
        self.layers = nn.ModuleList(grow)
        self.lstm = nn.LSTM(20, 7, batch_first=True, bidirectional=True)
        self.register_buffer("scale", torch.tensor([0.5, -2.0, float("inf"), 3.0]), persistent=False)
        self.stem.weight.requires_grad_(False)
        self.layers[0][2].requires_grad_(False)
        self.double()

    def forward(self, x):
        found = [self.stem(x)]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        y = torch.cat(found, 1).mean((2, 3))
        out, (state, _) = self.lstm(y[:, None])
        return out[:, -1, :4] / self.scale, state * self.scale[1], F.leaky_relu(y, 0.2)


class Shared(nn.Module):
    """One encoder for two inputs, and two weights that are one."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "act": nn.LeakyReLU(0.3), "last": nn.Conv2d(4, 4, 1)})
        self.twin = nn.Conv2d(4, 4, 1)
        self.twin.weight = self.encoder["last"].weight

    def encode(self, x):
        return self.encoder["last"](self.encoder["act"](self.encoder["conv"](x)))

    def forward(self, left, right):
        return self.twin(self.encode(left)) - self.encode(right)


class Part(nn.Module):
    """Some channels go through equal layers one after another, the others pass."""

    def __init__(self, width, changed):
        super().__init__()
        self.changed = changed
        self.convolutions = nn.ModuleList(nn.Conv2d(changed, changed, 3, padding=1, groups=1, bias=False) for _ in range(3))

    def forward(self, x):
        y = x[:, : self.changed]
        for convolution in self.convolutions:
            y = convolution(y)
        return torch.cat((x[:, : self.changed] * 0.5 + y, x[:, self.changed :]), 1)


class Odd(nn.Module):
    """Numbers of one element as scalars, a table read by many places, a fixed layer, products that fill a line."""

    def __init__(self):
        super().__init__()
        self.scales, self.table = nn.Parameter(torch.rand(3)), nn.Parameter(torch.rand(9, 2))
        self.register_buffer("places", torch.randint(0, 9, (36,)))
        fixed = nn.Conv2d(4, 4, 3, stride=4, groups=4, bias=False).requires_grad_(False)
        self.blurred = nn.Sequential()
        self.blurred.add_module("reflection_padding", nn.ReflectionPad2d(1))
        self.blurred.add_module("fixed_convolution", fixed)
        self.parts = nn.Sequential(Part(4, 2), Part(4, 3))
        self.normalised = nn.utils.spectral_norm(nn.Conv2d(4, 2, 1, bias=False))
        self.last_normalised = nn.utils.spectral_norm(nn.Conv2d(4, 2, 1, bias=False))

    def forward(self, x):
        x = self.parts(self.blurred(x))
        bias = self.table[self.places].reshape(6, 6, 2).permute(2, 0, 1)
        return (self.normalised(x) + bias) * self.scales[0], self.last_normalised(x) * self.scales[2]


PICTURE = (2, 3, 32, 32)
MADE = {
    "vit": (ViT, lambda: (torch.randn(PICTURE),)),
    "vit_plain": (lambda: ViT(fused=False), lambda: (torch.randn(PICTURE),)),
    "unet": (UNet, lambda: (torch.randn(PICTURE),)),
    "encoder": (Encoder, lambda: (torch.randint(0, 30, (2, 12)),)),
    "recurrent": (Recurrent, lambda: (torch.randn((2, 3, 9, 9), dtype=torch.float64),)),
    "odd": (Odd, lambda: (torch.randn(2, 4, 24, 24),)),
    "shared": (Shared, lambda: (torch.randn(PICTURE), torch.randn(PICTURE))),
}


def network(name):
    """A network in evaluation mode and an example of its inputs; "keras NAME" and "torch NAME" are those of `models`."""
    torch.manual_seed(0)
    if name in MADE:
        make, example = MADE[name]
        return make().eval(), example()
    framework, _, known = name.partition(" ")
    if framework == "keras":
        return models.get(known).keras_model(), None
    shapes = models.get(known).SHAPES.values()
    return models.get(known).torch_model(), tuple(torch.randn(2, *shape) for shape in shapes)
