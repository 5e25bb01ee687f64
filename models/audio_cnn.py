"""Temporal convolutional network over a waveform: causal, dilated convolutions with residual connections.

Bai, Kolter and Koltun 2018 (arXiv 1803.01271), after WaveNet. Stresses one-dimensional causal padding (at the
beginning only) with dilation, and the slope 0.3 that `keras.layers.LeakyReLU()` has when nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "audio_cnn"
SHAPES = {"waveform": (1, 256)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 1
SAME_NUMBERS = True

WIDTH = 12
DILATIONS = (1, 2, 4, 8)
GAIN = 1.1


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    waveform = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["waveform"]
    x = layers.Conv1D(WIDTH, 5, strides=2, padding="causal", name="stem")(waveform)
    x = layers.LeakyReLU(name="stem_leaky")(x)
    for index, dilation in enumerate(DILATIONS):
        name, skip = f"blocks_{index}", x
        x = layers.Conv1D(WIDTH, 3, dilation_rate=dilation, padding="causal", name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        x = layers.LeakyReLU(name=f"{name}_leaky")(x)
        x = layers.SpatialDropout1D(0.1, name=f"{name}_dropout")(x)
        x = layers.Conv1D(WIDTH, 1, name=f"{name}_mix")(x)
        x = layers.Add(name=f"{name}_add")([skip, x])
    x = layers.LeakyReLU(name="last_leaky")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(5, name="scores")(x)
    return randomise(keras.Model(waveform, x, name=NAME), seed=0, gain=GAIN)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, dilation: int) -> None:
            super().__init__()
            self.past = 2 * dilation
            self.conv = nn.Conv1d(WIDTH, WIDTH, 3, dilation=dilation)
            self.norm = nn.BatchNorm1d(WIDTH, eps=1e-3)
            self.leaky = nn.LeakyReLU(0.3)
            self.dropout = nn.Dropout1d(0.1)
            self.mix = nn.Conv1d(WIDTH, WIDTH, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.conv(F.pad(x, (self.past, 0))))
            return x + self.mix(self.dropout(self.leaky(y)))

    class AudioNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv1d(1, WIDTH, 5, stride=2)
            self.blocks = nn.Sequential(*(Block(dilation) for dilation in DILATIONS))
            self.leaky = nn.LeakyReLU(0.3)
            self.scores = nn.Linear(WIDTH, 5)

        def forward(self, waveform: Tensor) -> Tensor:
            x = self.leaky(self.stem(F.pad(waveform, (4, 0))))
            x = self.leaky(self.blocks(x))
            return self.scores(x.mean(dim=-1))

    return randomise(AudioNetwork(), seed=0, gain=GAIN).eval()
