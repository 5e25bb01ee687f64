"""Makes the files in this folder, as Keras 1.2.2 writes them, on Theano and on TensorFlow: run once for each.

    KERAS_BACKEND=theano python tests/keras1/make.py
    KERAS_BACKEND=tensorflow python tests/keras1/make.py

It wants Python 3.7, Keras 1.2.2, Theano 1.0.5, TensorFlow 1.15.5 (or either), h5py 2.10 and numpy 1.18. Every network has
random weights; `expected_BACKEND.npz` holds random inputs (`name/x0`) and what Keras 1 itself computes (`name/y0`).
"""

import pathlib
import sys

import numpy as np
from keras import backend as K
from keras.layers import (
    GRU,
    LSTM,
    Activation,
    AtrousConvolution2D,
    AveragePooling2D,
    BatchNormalization,
    Bidirectional,
    ConvLSTM2D,
    Convolution1D,
    Convolution2D,
    Convolution3D,
    Deconvolution2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    Input,
    LeakyReLU,
    MaxPooling1D,
    MaxPooling2D,
    Merge,
    Permute,
    PReLU,
    RepeatVector,
    Reshape,
    SeparableConvolution2D,
    SimpleRNN,
    ThresholdedReLU,
    TimeDistributed,
    UpSampling2D,
    ZeroPadding2D,
    merge,
)
from keras.models import Model, Sequential

HERE = pathlib.Path(__file__).resolve().parent
THEANO = K.backend() == "theano"
if THEANO:
    import theano.ifelse  # noqa: F401  (Keras 1 uses it and does not import it)


def pictures(order, padding="same"):
    """Convolutions in either order of dimensions, with an odd kernel and with an even one that has no border."""
    shape = (3, 9, 8) if order == "th" else (9, 8, 3)
    axis = 1 if order == "th" else -1
    return Sequential(
        [
            Convolution2D(4, 3, 5, border_mode=padding, dim_ordering=order, input_shape=shape, init="he_normal"),
            BatchNormalization(axis=axis),
            LeakyReLU(0.2),
            ZeroPadding2D((1, 2), dim_ordering=order),
            Convolution2D(5, 2, 3, subsample=(2, 1), W_regularizer="l2", activation="relu", dim_ordering=order),
            AtrousConvolution2D(4, 2, 2, atrous_rate=(2, 2), bias=False, dim_ordering=order),
            MaxPooling2D((2, 2), dim_ordering=order),
            UpSampling2D((2, 1), dim_ordering=order),
            Dropout(0.4),
            Flatten(),
            Dense(6, activation="hard_sigmoid", W_constraint="nonneg"),
            PReLU(),
        ]
    )


def up(order):
    shape, out = ((2, 4, 5), (None, 3, 9, 11)) if order == "th" else ((4, 5, 2), (None, 9, 11, 3))
    first = Deconvolution2D(3, 3, 3, out, subsample=(2, 2), dim_ordering=order, input_shape=shape)
    return Sequential([first, LeakyReLU(), GlobalAveragePooling2D(dim_ordering=order)])


def separable(order):
    shape = (3, 7, 6) if order == "th" else (7, 6, 3)
    first = SeparableConvolution2D(
        4, 3, 3, depth_multiplier=2, border_mode="same", dim_ordering=order, input_shape=shape
    )
    return Sequential([first, AveragePooling2D((3, 3), (2, 2), border_mode="same", dim_ordering=order)])


def volumes(order):
    shape = (2, 5, 6, 4) if order == "th" else (5, 6, 4, 2)
    return Sequential([Convolution3D(3, 3, 2, 2, dim_ordering=order, input_shape=shape), Flatten(), Dense(2)])


def films(order):
    shape = (3, 2, 6, 5) if order == "th" else (3, 6, 5, 2)
    return Sequential(
        [ConvLSTM2D(3, 3, 3, border_mode="same", dim_ordering=order, input_shape=shape), Flatten(), Dense(2)]
    )


def steps():
    """Every recurrent layer, plain, wrapped and nested."""
    given = Input((6, 4))
    x = Convolution1D(5, 3, border_mode="same", input_dim=4)(given)
    x = TimeDistributed(Dense(4, activation="tanh"))(x)
    x = Bidirectional(LSTM(3, return_sequences=True, inner_activation="sigmoid"), merge_mode="concat")(x)
    inner = Sequential(
        [GRU(4, return_sequences=True, input_shape=(6, 6)), BatchNormalization(), LSTM(3, return_sequences=True)],
        name="inner",
    )
    x = inner(x)
    y = GlobalMaxPooling1D()(MaxPooling1D(2, stride=1)(x))
    z = SimpleRNN(3, go_backwards=True, dropout_W=0.2)(Permute((1, 2))(x))
    return Model(given, [merge([y, z], mode="concat"), merge([y, z], mode="mul"), RepeatVector(2)(y)])


def words():
    return Sequential(
        [
            Embedding(11, 5, input_length=7, dropout=0.2),
            GaussianNoise(0.3),
            LSTM(4, consume_less="gpu"),
            ThresholdedReLU(0.1),
        ]
    )


def branches():
    """A Sequential that begins by merging two others, as they were written then."""
    left = Sequential(
        [Dense(4, input_dim=3, name="left_dense"), Activation("softplus", name="left_activation")], name="left"
    )
    right = Sequential([Dense(4, input_dim=5, name="right_dense")], name="right")
    return Sequential(
        [
            Merge([left, right], mode="concat", concat_axis=1, name="merged"),
            Dense(3, name="last"),
            Reshape((3, 1), name="re"),
        ]
    )


def merges():
    one, other = Input((4,)), Input((4,))
    shared = Dense(4, activation="elu")
    a, b = shared(one), shared(other)
    modes = [merge([a, b], mode=mode) for mode in ("sum", "ave", "max")]
    return Model([one, other], [*modes, merge([a, b], mode="dot", dot_axes=1)])


NETWORKS = {
    f"{build.__name__}_{order}": lambda build=build, order=order: build(order)
    for build in (pictures, up, volumes, films)
    for order in ("th", "tf")
}
NETWORKS.update({"steps": steps, "words": words, "branches": branches, "merges": merges})
if not THEANO:
    NETWORKS.update({f"separable_{order}": lambda order=order: separable(order) for order in ("th", "tf")})
else:
    NETWORKS["borders"] = lambda: Sequential(
        [Convolution2D(2, 2, 2, border_mode="same", input_shape=(5, 5, 1), dim_ordering="tf"), Flatten()]
    )
ON_ONE = ("words", "branches", "merges")  # without kernels, one backend is enough


def drawn(random, weight):
    """Numbers like a weight; vectors, among them variances, above 0."""
    if weight.ndim == 1:
        return (0.3 + random.uniform(size=weight.shape)).astype(weight.dtype)
    return (0.4 * random.normal(size=weight.shape)).astype(weight.dtype)


def main():
    """Every network, or those that are named."""
    numbers = str(HERE / f"expected_{K.backend()}.npz")
    names = sys.argv[1:] or [name for name in NETWORKS if not (THEANO and name in ON_ONE)]
    expected = dict(np.load(numbers)) if sys.argv[1:] else {}
    for name, network in ((name, NETWORKS[name]) for name in names):
        try:
            model = network()
            random = np.random.RandomState(1)
            model.set_weights([drawn(random, w) for w in model.get_weights()])
            shapes = [tuple(K.int_shape(x)) if hasattr(x, "_keras_shape") else x.shape for x in model.inputs]
            inputs = [
                (random.randint(1, 11, (2, *s[1:])) if name == "words" else random.normal(size=(2, *s[1:]))).astype(
                    "float32"
                )
                for s in shapes
            ]
            outputs = model.predict(inputs if len(inputs) > 1 else inputs[0])
        except Exception as error:  # TensorFlow on a CPU has no convolution of channels first
            print(name, "cannot be made here:", str(error)[:120])
            continue
        outputs = outputs if isinstance(outputs, list) else [outputs]
        expected.update({f"{name}/x{i}": array for i, array in enumerate(inputs)})
        expected.update({f"{name}/y{i}": array for i, array in enumerate(outputs)})
        model.save(str(HERE / f"{name}.{K.backend()}.h5"))
    np.savez_compressed(numbers, **expected)


if __name__ == "__main__":
    main()
