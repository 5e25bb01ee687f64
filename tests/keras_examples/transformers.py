"""Networks of attention, and those that do without it: every block a layer of its own."""

import keras
from keras import layers, ops

__all__ = ["eanet", "fnet", "mini_gpt", "mlp_mixer", "text_transformer", "vision_transformer"]


class Patches(layers.Layer):
    """Squares of a picture, one a row."""

    def __init__(self, size, **settings):
        super().__init__(**settings)
        self.size = size

    def call(self, images):
        batch, height, width, channels = ops.shape(images)
        rows, columns, size = height // self.size, width // self.size, self.size
        x = ops.reshape(images, (batch, rows, size, columns, size, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (batch, rows * columns, size * size * channels))


class PatchEncoder(layers.Layer):
    """Projected patches, and where each was."""

    def __init__(self, count, width, **settings):
        super().__init__(**settings)
        self.count = count
        self.projection = layers.Dense(units=width)
        self.position = layers.Embedding(input_dim=count, output_dim=width)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(start=0, stop=self.count, step=1), axis=0)
        return self.projection(patch) + self.position(positions)


def _mlp(x, widths, activation=keras.activations.gelu):
    for units in widths:
        x = layers.Dropout(0.1)(layers.Dense(units, activation=activation)(x))
    return x


def vision_transformer():
    given = keras.Input((12, 12, 3))
    x = keras.Sequential([layers.Normalization(mean=[0.4] * 3, variance=[0.2] * 3), layers.RandomFlip("horizontal")])(
        given
    )
    x = PatchEncoder(9, 8)(Patches(4)(x))
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(num_heads=2, key_dim=4, dropout=0.1)(y, y), x])
        x = layers.Add()([_mlp(layers.LayerNormalization(epsilon=1e-6)(x), (16, 8)), x])
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(given, layers.Dense(4)(_mlp(layers.Dropout(0.5)(x), (12,))))


class MixerBlock(layers.Layer):
    """Dense layers over places, then over channels."""

    def __init__(self, places, width, **settings):
        super().__init__(**settings)
        self.places = keras.Sequential(
            [layers.Dense(places, activation="gelu"), layers.Dense(places), layers.Dropout(0.2)]
        )
        self.channels = keras.Sequential(
            [layers.Dense(width, activation="gelu"), layers.Dense(width), layers.Dropout(0.2)]
        )
        self.normalize = layers.LayerNormalization(epsilon=1e-6)

    def build(self, shape):
        super().build(shape)

    def call(self, inputs):
        x = ops.transpose(self.normalize(inputs), axes=(0, 2, 1))
        x = inputs + ops.transpose(self.places(x), axes=(0, 2, 1))
        return x + self.channels(self.normalize(x))


def mlp_mixer():
    given = keras.Input((8, 8, 3))
    x = layers.Dense(6)(Patches(4)(given))
    x = keras.Sequential([MixerBlock(4, 6) for _ in range(2)])(x)
    return keras.Model(given, layers.Dense(3)(layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))))


class FourierMixing(layers.Layer):
    """The real part of a two-dimensional Fourier transform mixes the places."""

    def __init__(self, width, **settings):
        super().__init__(**settings)
        self.ffn = keras.Sequential([layers.Dense(2 * width, activation="gelu"), layers.Dense(width)])
        self.one, self.two = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)

    def call(self, inputs):
        real, _ = ops.fft2((inputs, ops.zeros_like(inputs)))
        x = self.one(inputs + real)
        return self.two(x + self.ffn(x))


def fnet():
    given = keras.Input((8,), dtype="int32")
    x = TokenAndPosition(8, 15, 6)(given)
    for _ in range(2):
        x = FourierMixing(6)(x)
    return keras.Model(given, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


class TokenAndPosition(layers.Layer):
    """Embeddings of words and of where they stand."""

    def __init__(self, length, words, width, **settings):
        super().__init__(**settings)
        self.tokens = layers.Embedding(input_dim=words, output_dim=width)
        self.positions = layers.Embedding(input_dim=length, output_dim=width)

    def call(self, x):
        return self.tokens(x) + self.positions(ops.arange(start=0, stop=ops.shape(x)[-1], step=1))


class TransformerBlock(layers.Layer):
    def __init__(self, width, heads, hidden, rate=0.1, causal=False, **settings):
        super().__init__(**settings)
        self.attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.ffn = keras.Sequential([layers.Dense(hidden, activation="relu"), layers.Dense(width)])
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.dropouts = [layers.Dropout(rate) for _ in range(2)]
        self.causal = causal

    def call(self, inputs, training=False):
        x = self.attention(inputs, inputs, use_causal_mask=self.causal)
        x = self.norms[0](inputs + self.dropouts[0](x, training=training))
        return self.norms[1](x + self.dropouts[1](self.ffn(x), training=training))


def text_transformer():
    given = keras.Input((9,), dtype="int32")
    x = TransformerBlock(6, 2, 8)(TokenAndPosition(9, 20, 6)(given))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    x = layers.Dropout(0.1)(layers.Dense(8, activation="relu")(x))
    return keras.Model(given, layers.Dense(2, activation="softmax")(x))


def mini_gpt():
    """Scores of the next word, and the states that they come from."""
    given = keras.Input((8,), dtype="int32")
    x = TransformerBlock(6, 2, 8, causal=True)(TokenAndPosition(8, 20, 6)(given))
    return keras.Model(given, [layers.Dense(20)(x), x])


class ExternalAttention(layers.Layer):
    """Attention to a small memory of its own, with scores normalised twice."""

    def __init__(self, width, heads, **settings):
        super().__init__(**settings)
        self.width, self.heads = width, heads
        self.project, self.keys = layers.Dense(width * 2), layers.Dense(width // 2)
        self.values, self.out = layers.Dense(width * 2 // heads), layers.Dense(width)

    def call(self, x):
        x = self.project(x)
        x = ops.reshape(x, (-1, x.shape[1], self.heads, self.width * 2 // self.heads))
        x = ops.transpose(x, axes=[0, 2, 1, 3])
        scores = layers.Activation("softmax")(self.keys(x))
        scores = scores / (ops.convert_to_tensor(1e-9) + ops.sum(scores, axis=-1, keepdims=True))
        x = ops.transpose(self.values(scores), axes=[0, 2, 1, 3])
        return self.out(ops.reshape(x, [-1, x.shape[1], self.width * 2]))


def eanet():
    given = keras.Input((8, 8, 3))
    x = PatchEncoder(16, 8)(Patches(2)(given))
    y = ExternalAttention(8, 2)(layers.LayerNormalization(epsilon=1e-5)(x))
    x = layers.add([y, x])
    x = layers.add([_mlp(layers.LayerNormalization(epsilon=1e-5)(x), (8, 8)), x])
    return keras.Model(given, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling1D()(x)))
