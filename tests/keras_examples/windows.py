"""Attention that looks at a part: windows that shift (Swin), and a few latent rows that read all others (Perceiver)."""

import keras
import numpy as np
from keras import layers, ops

__all__ = ["perceiver", "swin"]


class WindowAttention(layers.Layer):
    """Attention inside of windows, moved by half of one where `shift`; rows that only meet by the move are kept apart."""

    def __init__(self, grid, size, heads, width, shift, **settings):
        super().__init__(**settings)
        self.grid, self.size, self.heads, self.width, self.shift = grid, size, heads, width, shift
        self.qkv = layers.Dense(3 * width)
        self.proj = layers.Dense(width)
        places = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")).reshape(2, -1)
        apart = places[:, :, None] - places[:, None] + size - 1
        self.relative = (apart[0] * (2 * size - 1) + apart[1]).reshape(-1)
        zones = np.zeros((grid, grid), np.int64)
        for number, part in enumerate(
            (slice(0, grid - size), slice(grid - size, grid - shift), slice(grid - shift, grid))
        ):
            zones[part] += 3 * number
            zones[:, part] += number
        zones = zones.reshape(grid // size, size, grid // size, size).transpose(0, 2, 1, 3).reshape(-1, size * size)
        self.apart = np.where(zones[:, None] == zones[:, :, None], 0, -100).astype("float32")[None, :, None]

    def build(self, shape):
        self.bias = self.add_weight(
            shape=((2 * self.size - 1) ** 2, self.heads), initializer="random_normal", name="table"
        )

    def call(self, x):
        n, size, windows = self.grid, self.size, self.grid // self.size
        x = ops.roll(ops.reshape(x, (-1, n, n, self.width)), (-self.shift, -self.shift), (1, 2)) if self.shift else x
        x = ops.reshape(x, (-1, windows, size, windows, size, self.width))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, windows**2, size**2, self.width))
        parts = ops.reshape(self.qkv(x), (-1, windows**2, size**2, 3, self.heads, self.width // self.heads))
        q, k, v = ops.unstack(ops.transpose(parts, (3, 0, 1, 4, 2, 5)), axis=0)
        scores = ops.matmul(q * (self.width // self.heads) ** -0.5, ops.swapaxes(k, -2, -1))
        bias = ops.reshape(ops.take(self.bias, self.relative, axis=0), (size**2, size**2, self.heads))
        scores = scores + ops.transpose(bias, (2, 0, 1)) + (self.apart if self.shift else 0.0)
        x = ops.swapaxes(ops.matmul(ops.softmax(scores), v), 2, 3)
        x = ops.reshape(x, (-1, windows, windows, size, size, self.width))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, n, n, self.width))
        x = ops.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x
        return self.proj(ops.reshape(x, (-1, n * n, self.width)))


def swin():
    given = keras.Input((16, 16, 3))
    x = layers.Reshape((64, 8))(layers.Conv2D(8, 2, strides=2)(given))
    for shift in (0, 2):
        y = WindowAttention(8, 4, 2, 8, shift)(layers.LayerNormalization(epsilon=1e-5)(x))
        x = layers.Add()([x, y])
        y = layers.Dense(16, activation="gelu")(layers.LayerNormalization(epsilon=1e-5)(x))
        x = layers.Add()([x, layers.Dense(8)(y)])
    return keras.Model(given, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


class Latents(layers.Layer):
    """Rows of weights, the same for every sample."""

    def __init__(self, rows, width, **settings):
        super().__init__(**settings)
        self.rows, self.width = rows, width

    def build(self, shape):
        self.latents = self.add_weight(shape=(self.rows, self.width), initializer="random_normal", name="latents")

    def call(self, x):
        return ops.repeat(ops.expand_dims(self.latents, 0), ops.shape(x)[0], axis=0)


def perceiver():
    given = keras.Input((9, 12))
    data = layers.LayerNormalization(epsilon=1e-6)(layers.Dense(8)(given))
    x = Latents(4, 8)(data)
    for _ in range(2):
        normal = layers.LayerNormalization(epsilon=1e-6)(x)
        q, k, v = layers.Dense(8)(normal), layers.Dense(8)(data), layers.Dense(8)(data)
        x = layers.Add()([layers.Attention(use_scale=True, dropout=0.1)([q, k, v], training=False), normal])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(2, 4)(y, y), x])
        x = layers.Add()([layers.Dense(8)(layers.Dense(8, activation="gelu")(layers.LayerNormalization()(x))), x])
    return keras.Model(given, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))
