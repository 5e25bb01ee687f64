"""Networks over sets of points and nodes of graphs."""

import keras
from keras import layers, ops

__all__ = ["graph_attention", "point_net"]


class OrthogonalRegularizer(keras.regularizers.Regularizer):
    """Keeps a square matrix near a rotation, in training."""

    def __init__(self, size, factor=0.001):
        self.size, self.factor = size, factor

    def __call__(self, x):
        x = ops.reshape(x, (-1, self.size, self.size))
        return ops.sum(self.factor * ops.square(ops.matmul(x, ops.transpose(x, (0, 2, 1))) - ops.eye(self.size)))


def _dense(x, units, layer=layers.Dense, **settings):
    x = layer(units, **settings)(x)
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.0)(x))


def _conv(x, filters):
    return _dense(x, filters, layers.Conv1D, kernel_size=1, padding="valid")


def _t_net(inputs, size):
    """A matrix that the points themselves ask for, applied to them."""
    x = layers.GlobalMaxPooling1D()(_conv(_conv(inputs, 6), 10))
    x = _dense(x, 8)
    x = layers.Dense(
        size * size, kernel_initializer="random_normal", bias_initializer=keras.initializers.Constant([1.0] * size * size),
        activity_regularizer=OrthogonalRegularizer(size),
    )(x)  # fmt: skip
    return layers.Dot(axes=(2, 1))([inputs, layers.Reshape((size, size))(x)])


def point_net():
    given = keras.Input((12, 3))
    x = _conv(_t_net(given, 3), 6)
    x = _conv(_conv(_t_net(_conv(x, 6), 6), 8), 12)
    x = _dense(layers.GlobalMaxPooling1D()(x), 10)
    return keras.Model(given, layers.Dense(4, activation="softmax")(layers.Dropout(0.3)(x)))


class GraphAttention(layers.Layer):
    """Every node sums up its neighbours, each weighed by a score of the pair."""

    def __init__(self, units, nodes, **settings):
        super().__init__(**settings)
        self.units, self.nodes = units, nodes

    def build(self, shapes):
        self.kernel = self.add_weight(shape=(shapes[0][-1], self.units), name="kernel")
        self.kernel_attention = self.add_weight(shape=(2 * self.units, 1), name="kernel_attention")

    def call(self, inputs):
        states, edges = inputs
        transformed = ops.matmul(states, self.kernel)
        pairs = ops.take(transformed, edges, axis=0)
        pairs = ops.reshape(pairs, (-1, 2 * self.units))
        scores = ops.squeeze(ops.leaky_relu(ops.matmul(pairs, self.kernel_attention)), -1)
        scores = ops.exp(ops.clip(scores, -2, 2))
        ends = ops.one_hot(edges[:, 0], self.nodes)
        sums = ops.matmul(ops.transpose(ends), scores[:, None])
        shares = scores[:, None] / ops.take(sums, edges[:, 0], axis=0)
        return ops.matmul(ops.transpose(ends), ops.take(transformed, edges[:, 1], axis=0) * shares)


def graph_attention():
    """Two heads over one graph of five nodes; there is no batch, and the number of edges is open."""
    states, edges = keras.Input(batch_shape=(5, 4), name="states"), keras.Input((2,), dtype="int32", name="edges")
    heads = [GraphAttention(3, 5, name=f"head_{i}")([states, edges]) for i in range(2)]
    x = ops.relu(ops.concatenate(heads, axis=-1))
    return keras.Model({"states": states, "edges": edges}, layers.Dense(2)(x))
