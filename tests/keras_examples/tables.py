"""Networks over columns of a table."""

import keras
from keras import layers, ops

__all__ = ["deep_and_cross", "gated_residual", "recommender"]


def deep_and_cross():
    """Numbers and categories under their names; crosses of all columns beside a deep tower."""
    inputs = {name: keras.Input((1,), name=name) for name in ("age", "height")}
    inputs |= {name: keras.Input((1,), name=name, dtype="int32") for name in ("colour", "kind")}
    columns = [inputs["age"], inputs["height"]]
    columns += [layers.Flatten()(layers.Embedding(5, 3)(inputs[name])) for name in ("colour", "kind")]
    x0 = layers.concatenate(columns)
    cross = x0
    for _ in range(2):
        cross = x0 * layers.Dense(x0.shape[-1])(cross) + cross
    deep = layers.BatchNormalization()(x0)
    for units in (8, 6):
        deep = layers.Dropout(0.1)(layers.ReLU()(layers.BatchNormalization()(layers.Dense(units)(deep))))
    x = layers.concatenate([layers.BatchNormalization()(cross), deep])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


class GatedLinearUnit(layers.Layer):
    def __init__(self, units, **settings):
        super().__init__(**settings)
        self.linear = layers.Dense(units)
        self.sigmoid = layers.Dense(units, activation="sigmoid")

    def call(self, inputs):
        return self.linear(inputs) * self.sigmoid(inputs)


class GatedResidual(layers.Layer):
    def __init__(self, units, **settings):
        super().__init__(**settings)
        self.units = units
        self.elu, self.linear = layers.Dense(units, activation="elu"), layers.Dense(units)
        self.gate, self.norm, self.project = GatedLinearUnit(units), layers.LayerNormalization(), layers.Dense(units)

    def call(self, inputs):
        x = self.gate(self.linear(self.elu(inputs)))
        inputs = self.project(inputs) if inputs.shape[-1] != self.units else inputs
        return self.norm(inputs + x)


class VariableSelection(layers.Layer):
    """Columns one by one through gated layers, then summed by shares that all of them decide."""

    def __init__(self, count, units, **settings):
        super().__init__(**settings)
        self.each = [GatedResidual(units) for _ in range(count)]
        self.whole, self.softmax = GatedResidual(units), layers.Dense(count, activation="softmax")

    def call(self, inputs):
        shares = ops.expand_dims(self.softmax(self.whole(ops.concatenate(inputs, axis=-1))), axis=-1)
        stacked = ops.stack([layer(x) for layer, x in zip(self.each, inputs, strict=True)], axis=1)
        return ops.squeeze(ops.matmul(ops.transpose(shares, axes=[0, 2, 1]), stacked), axis=1)


def gated_residual():
    inputs = [keras.Input((width,), name=f"column_{width}") for width in (2, 3, 6)]
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(VariableSelection(3, 6)(inputs)))


class Recommender(keras.Model):
    """Rows of two tables multiplied; both are columns of one input of integers."""

    def __init__(self, users, films, size, **settings):
        super().__init__(**settings)
        self.user, self.film = layers.Embedding(users, size), layers.Embedding(films, size)
        self.user_bias, self.film_bias = layers.Embedding(users, 1), layers.Embedding(films, 1)

    def call(self, inputs):
        user, film = self.user(inputs[:, 0]), self.film(inputs[:, 1])
        alike = ops.sum(user * film, axis=-1, keepdims=True)
        return ops.nn.sigmoid(alike + self.user_bias(inputs[:, 0]) + self.film_bias(inputs[:, 1]))


def recommender():
    given = keras.Input((2,), dtype="int32")
    return keras.Model(given, Recommender(5, 5, 4)(given))
