"""Makes the files in this folder, as Keras 2 writes them: run once with tf_keras 2.21 and TensorFlow installed.

    python tests/keras2/make.py [NAME ...]

Every network has random weights; `expected.npz` holds random inputs (`name/x0`) and what Keras 2 itself computes from
them (`name/y0`). The tests only read the files: nothing but this script needs Keras 2.
"""

import pathlib
import sys

import numpy as np
import tf_keras as keras

HERE = pathlib.Path(__file__).parent
layers = keras.layers


def through(layer, *shape):
    given = keras.Input(shape)
    return keras.Model(given, layer(given))


def nested():
    """A model called three times, once for an output, and a frozen one called once."""
    first = [layers.Dense(4, input_shape=(6,)), layers.BatchNormalization(), layers.LeakyReLU(0.2)]
    shared = keras.Sequential(first, name="shared")
    inner = keras.Input(4)
    frozen = keras.Model(inner, layers.Dense(3, trainable=False)(inner), name="frozen")
    given, other = keras.Input(6), keras.Input(6)
    last = shared(other)
    difference = layers.Subtract()([shared(given), last])
    return keras.Model([given, other], [frozen(shared(given)), difference, last])


def states():
    """A recurrent layer whose states start another one."""
    given = keras.Input((7, 5))
    sequence, h, c = layers.LSTM(4, return_state=True, return_sequences=True)(given)
    return keras.Model(given, [sequence, layers.LSTM(4)(given, initial_state=[h, c])])


def attention():
    given = keras.Input((5, 8))
    return keras.Model(given, layers.MultiHeadAttention(2, 4)(given, given))


def mixed():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        return keras.Sequential([layers.Dense(4, input_shape=(6,)), layers.Dense(2, dtype="float32")])
    finally:
        keras.mixed_precision.set_global_policy("float32")


def small_cnn():
    """Separable and depthwise convolutions without an InputLayer of their own, and Keras 2's hard sigmoid."""
    return keras.Sequential(
        [
            layers.SeparableConv2D(4, 3, input_shape=(6, 7, 2)),
            layers.LeakyReLU(),
            layers.DepthwiseConv2D(2, depth_multiplier=2),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(2, 2, strides=2, activation=layers.LeakyReLU(0.25)),
            layers.SpatialDropout2D(0.3),
            layers.Flatten(),
            layers.Dense(3, activation="hard_sigmoid", kernel_regularizer="l2"),
        ]
    )


def slashes():
    """Names with "/", which DenseNet has, of layers, a model inside, and calls; one that is legal where "/" is written out."""
    given = keras.Input((3,), name="data/in")
    y = layers.Dense(3, name="b/1")(given)
    z = layers.Dense(3, name="b.2")(y)
    inner = keras.Sequential(
        [layers.Dense(3, input_dim=3, name="in/1"), layers.BatchNormalization(name="in/2")], name="mo/del"
    )
    return keras.Model(given, [inner(layers.Add(name="s/um")([y, z])), inner(y)])


def both_states():
    """The states of one bidirectional layer start another."""
    given = keras.Input((5, 4))
    _, h, g = layers.Bidirectional(layers.GRU(3, return_state=True))(given)
    return keras.Model(given, layers.Bidirectional(layers.GRU(3))(given, initial_state=[h, g]))


def unlike():
    """Two directions of unlike width."""
    return layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(2, go_backwards=True))


NETWORKS = {
    "leaky_relu_default": lambda: through(layers.LeakyReLU(), 3),
    "leaky_relu": lambda: through(layers.LeakyReLU(0.1), 3),
    "thresholded_relu": lambda: through(layers.ThresholdedReLU(0.7), 5),
    "hard_sigmoid": lambda: through(layers.Activation("hard_sigmoid"), 5),
    "lstm": lambda: through(layers.LSTM(4, recurrent_activation="hard_sigmoid", return_sequences=True), 7, 5),
    "gru": lambda: through(layers.GRU(3, reset_after=False), 7, 5),
    "bidirectional": lambda: through(layers.Bidirectional(layers.GRU(3), merge_mode="sum"), 7, 5),
    "small_cnn": small_cnn,
    "nested": nested,
    "states": states,
    "attention": attention,
    "mixed": mixed,
    "slashes": slashes,
    "both_states": both_states,
    "unlike": lambda: through(unlike(), 5, 4),
    "bins": lambda: through(layers.Discretization([-1.0, 0.0, 2.0], output_mode="multi_hot"), 5),
}
BOTH_FORMATS = ("slashes", "leaky_relu", "nested", "states", "small_cnn")


def main():
    """Every network, or those that are named."""
    names = sys.argv[1:] or list(NETWORKS)
    expected = dict(np.load(HERE / "expected.npz")) if sys.argv[1:] else {}
    for name, network in ((name, NETWORKS[name]) for name in names):
        keras.backend.clear_session()
        keras.utils.set_random_seed(3)
        model, random = network(), np.random.default_rng(1)
        model.set_weights([np.abs(random.normal(0, 0.5, w.shape)).astype(w.dtype) + 0.1 for w in model.get_weights()])
        inputs = [(3 * random.standard_normal((2, *i.shape[1:]))).astype(np.float32) for i in model.inputs]
        outputs = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        expected |= {f"{name}/x{i}": array for i, array in enumerate(inputs)}
        expected |= {f"{name}/y{i}": array for i, array in enumerate(outputs)}
        model.save(HERE / f"{name}.h5", include_optimizer=False)
        if name in BOTH_FORMATS:
            model.save(HERE / f"{name}.keras")
    np.savez_compressed(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    main()
