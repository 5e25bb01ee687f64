"""Networks that say something about a picture."""

import keras
from keras import layers, ops

__all__ = ["conv_mixer", "distilled_student", "grad_cam", "keypoints", "metric_learning", "nerf", "ocr", "siamese"]


def _separable(x, filters, strides=1):
    x = layers.SeparableConv2D(filters, 3, strides=strides, padding="same", activation="relu")(x)
    return layers.BatchNormalization()(x)


def keypoints():
    """A backbone used as a layer, and a dense head made of separable convolutions."""
    inner = keras.Input((16, 16, 3))
    backbone = keras.Model(inner, _separable(_separable(inner, 6, 2), 8, 2), name="backbone")
    backbone.trainable = False
    given = keras.Input((16, 16, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(given)
    x = layers.Dropout(0.3)(backbone(x))
    x = layers.SeparableConv2D(8, 3, strides=1, activation="relu")(x)
    return keras.Model(given, layers.SeparableConv2D(10, 2, strides=1, activation="sigmoid")(x))


def ocr():
    """The prediction part of a reader that was trained with CTC: columns of a picture become steps of two LSTMs."""
    given = keras.Input((20, 8, 1), name="image")
    x = layers.MaxPooling2D((2, 2))(layers.Conv2D(4, 3, activation="relu", padding="same")(given))
    x = layers.MaxPooling2D((2, 2))(layers.Conv2D(6, 3, activation="relu", padding="same")(x))
    x = layers.Reshape((20 // 4, (8 // 4) * 6))(x)
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu")(x))
    for units in (6, 4):
        x = layers.Bidirectional(layers.LSTM(units, return_sequences=True, dropout=0.25))(x)
    return keras.Model(given, layers.Dense(11, activation="softmax", name="dense2")(x))


class Distance(layers.Layer):
    """Squared distances of an anchor to another that is like it and to one that is not."""

    def call(self, anchor, positive, negative):
        near = ops.sum(ops.square(anchor - positive), -1)
        far = ops.sum(ops.square(anchor - negative), -1)
        return near, far


def siamese():
    """One tower called three times."""
    inner = keras.Input((12, 12, 3))
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, activation="relu")(inner))
    x = layers.Dense(8, activation="relu")(layers.Flatten()(layers.MaxPooling2D()(x)))
    tower = keras.Model(inner, layers.Dense(5)(layers.BatchNormalization()(x)), name="embedding")
    three = [keras.Input((12, 12, 3), name=name) for name in ("anchor", "positive", "negative")]
    return keras.Model(three, Distance()(*map(tower, three)))


def metric_learning():
    """Embeddings of length 1, and how like each other pairs of them are."""
    one, other = keras.Input((10, 10, 3)), keras.Input((10, 10, 3))
    stack = [layers.Conv2D(n, 3, strides=2, activation="relu") for n in (4, 6)]
    stack += [layers.GlobalAveragePooling2D(), layers.Dense(4, activation=None), layers.UnitNormalization()]
    tower = keras.Sequential(stack)
    return keras.Model([one, other], [tower(one), layers.Dot(axes=1, normalize=True)([tower(one), tower(other)])])


def distilled_student():
    """Probabilities at a temperature beside plain scores, under names."""
    given = keras.Input((14, 14, 1))
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(4, 3, strides=2, padding="same")(given))
    x = layers.MaxPooling2D(pool_size=(2, 2), strides=(1, 1), padding="same")(x)
    scores = layers.Dense(5)(layers.Flatten()(layers.Conv2D(6, 3, strides=2, padding="same")(x)))
    return keras.Model(given, {"scores": scores, "soft": ops.softmax(scores / 3.0, axis=1)})


def grad_cam():
    """The last feature map beside the prediction, from a model whose layers another model owns."""
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="features")(layers.Rescaling(1.0 / 127.5, offset=-1)(given))
    whole = keras.Model(given, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(whole.inputs, [whole.get_layer("features").output, whole.output])


def conv_mixer():
    given = keras.Input((12, 12, 3))
    x = layers.Rescaling(scale=1.0 / 255)(given)
    x = layers.BatchNormalization()(layers.Activation("gelu")(layers.Conv2D(8, kernel_size=2, strides=2)(x)))
    for _ in range(2):
        y = layers.DepthwiseConv2D(kernel_size=5, padding="same")(x)
        x = layers.Add()([layers.BatchNormalization()(layers.Activation("gelu")(y)), x])
        x = layers.BatchNormalization()(layers.Activation("gelu")(layers.Conv2D(8, kernel_size=1)(x)))
    return keras.Model(given, layers.Dense(4, activation="softmax")(layers.GlobalAvgPool2D()(x)))


def nerf():
    """Rays' points, encoded by sines of several frequencies, and colours summed up along each ray."""
    points = keras.Input((6, 5, 3), name="points")  # rays, samples along each, places
    parts = [points]
    for power in range(3):
        parts += [ops.sin(2.0**power * points), ops.cos(2.0**power * points)]
    encoded = ops.concatenate(parts, axis=-1)
    x = encoded
    for index in range(4):
        x = layers.Dense(12, activation="relu")(x)
        x = layers.concatenate([x, encoded], axis=-1) if index == 2 else x
    raw = layers.Dense(4)(x)
    colour, density = ops.sigmoid(raw[..., :3]), ops.relu(raw[..., 3])
    alpha = 1.0 - ops.exp(-density * 0.5)
    clear = 1.0 - alpha + 1e-10
    through = ops.concatenate([ops.ones_like(clear[..., :1]), ops.cumprod(clear, axis=-1)[..., :-1]], axis=-1)
    weights = alpha * through
    rgb = ops.sum(weights[..., None] * colour, axis=-2)
    return keras.Model(points, (rgb, ops.sum(weights * ops.linspace(2.0, 6.0, 5), axis=-1)))
