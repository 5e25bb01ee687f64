"""A small classifier of scikit-learn's 8x8 digits, shipped with trained weights.

Trained by `models/train_digits.py`; `trained_model` loads the result. Stresses the slope 0.3 of `LeakyReLU()` beside
an explicit 0.12, batch norm, 'same' with stride 2 (padded at the end only), max pooling, and Flatten before a dense
layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "digits"
SHAPES = {"image": (1, 8, 8)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = True

TRAINED = Path(__file__).with_name("digits.keras")


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x_train, y_train, x_test, y_test: float32 images (n, 8, 8, 1) in [0, 1], integer labels.

    The split is fixed: a fifth of the images, every digit in its share, is held back.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )
    return x_train, y_train, x_test, y_test


def untrained_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form with Keras' own initial weights."""
    import keras
    from keras import layers

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.Conv2D(16, 3, padding="same", name="conv1")(image)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.LeakyReLU(name="leaky1")(x)
    x = layers.Conv2D(32, 3, strides=2, padding="same", name="conv2")(x)
    x = layers.BatchNormalization(name="norm2")(x)
    x = layers.LeakyReLU(negative_slope=0.12, name="leaky2")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(10, activation="softmax", name="classes")(x)
    return keras.Model(image, x, name=NAME)


def trained_model() -> Model:
    """Return the Keras form with the shipped weights."""
    import keras

    return keras.saving.load_model(TRAINED, safe_mode=True)


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    return randomise(untrained_model(dynamic=dynamic), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn
    from torch.nn import functional as F

    class DigitsNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
            self.norm1 = nn.BatchNorm2d(16, eps=1e-3)
            self.conv2 = nn.Conv2d(16, 32, 3, stride=2)
            self.norm2 = nn.BatchNorm2d(32, eps=1e-3)
            self.classes = nn.Linear(32 * 2 * 2, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = F.leaky_relu(self.norm1(self.conv1(x)), 0.3)
            x = F.leaky_relu(self.norm2(self.conv2(F.pad(x, (0, 1, 0, 1)))), 0.12)
            return self.classes(F.max_pool2d(x, 2).flatten(1)).softmax(dim=1)

    return randomise(DigitsNetwork(), seed=0).eval()
