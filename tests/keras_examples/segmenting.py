"""Networks whose result is a picture of classes, or boxes."""

import keras
import numpy as np
from keras import layers, ops

__all__ = ["attention_unet", "deeplab", "retinanet", "unet"]


def unet():
    """Separable convolutions with residuals on the way down, transposed ones on the way up."""
    given = keras.Input((16, 16, 3))
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, padding="same")(given)))
    previous = x
    for filters in (8, 10):
        x = layers.BatchNormalization()(
            layers.SeparableConv2D(filters, 3, padding="same")(layers.Activation("relu")(x))
        )
        x = layers.BatchNormalization()(
            layers.SeparableConv2D(filters, 3, padding="same")(layers.Activation("relu")(x))
        )
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = previous = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(previous)])
    for filters in (10, 8, 6):
        for _ in range(2):
            x = layers.BatchNormalization()(
                layers.Conv2DTranspose(filters, 3, padding="same")(layers.Activation("relu")(x))
            )
        x = layers.UpSampling2D(2)(x)
        x = previous = layers.add([x, layers.Conv2D(filters, 1, padding="same")(layers.UpSampling2D(2)(previous))])
    return keras.Model(given, layers.Conv2D(3, 3, activation="softmax", padding="same")(x))


def _gate(skip, gating, filters):
    """Where to look in what came down, told by what goes up."""
    a = layers.Conv2D(filters, 1, strides=2, padding="same")(skip)
    b = layers.Conv2D(filters, 1)(gating)
    psi = layers.Conv2D(1, 1, activation="sigmoid")(layers.ReLU()(layers.Add()([a, b])))
    return layers.Multiply()([skip, layers.UpSampling2D(2, interpolation="bilinear")(psi)])


def attention_unet():
    given = keras.Input((None, None, 1))

    def conv(x, filters):
        for _ in range(2):
            x = layers.LeakyReLU(0.1)(layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x)))
        return x

    first = conv(given, 4)
    second = conv(layers.MaxPooling2D()(first), 6)
    x = conv(layers.MaxPooling2D()(second), 8)
    for skip, filters in ((second, 6), (first, 4)):
        gated = _gate(skip, x, filters)
        x = conv(layers.Concatenate()([layers.Conv2DTranspose(filters, 2, strides=2)(x), gated]), filters)
    return keras.Model(given, layers.Conv2D(1, 1, activation="sigmoid")(x))


def _atrous(x, filters, size, rate=1):
    x = layers.Conv2D(filters, size, dilation_rate=rate, padding="same", use_bias=False)(x)
    return ops.nn.relu(layers.BatchNormalization()(x))


def deeplab():
    """A pyramid of dilated convolutions beside the picture's mean, resized and joined."""
    given = keras.Input((16, 16, 3))
    low = _atrous(layers.Conv2D(6, 3, strides=2, padding="same")(given), 6, 3)
    deep = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(low)
    pooled = layers.AveragePooling2D(pool_size=(deep.shape[-3], deep.shape[-2]))(deep)
    pooled = layers.UpSampling2D(size=(4, 4), interpolation="bilinear")(_atrous(pooled, 4, 1))
    branches = [pooled, _atrous(deep, 4, 1), *(_atrous(deep, 4, 3, rate) for rate in (2, 3))]
    x = _atrous(layers.Concatenate(axis=-1)(branches), 8, 1)
    x = layers.UpSampling2D(size=(2, 2), interpolation="bilinear")(x)
    x = _atrous(layers.Concatenate(axis=-1)([x, _atrous(low, 4, 1)]), 8, 3)
    x = layers.UpSampling2D(size=(2, 2), interpolation="bilinear")(x)
    return keras.Model(given, layers.Conv2D(5, (1, 1), padding="same")(x))


class FeaturePyramid(layers.Layer):
    """Maps of three sizes to five, each told by the coarser one above it."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.sides = [layers.Conv2D(6, 1, 1, "same") for _ in range(3)]
        self.smooth = [layers.Conv2D(6, 3, 1, "same") for _ in range(3)]
        self.down = [layers.Conv2D(6, 3, 2, "same") for _ in range(2)]
        self.upsample = layers.UpSampling2D(2)

    def call(self, maps, training=False):
        p3, p4, p5 = (side(m) for side, m in zip(self.sides, maps, strict=True))
        p4 = p4 + self.upsample(p5)
        p3 = p3 + self.upsample(p4)
        p3, p4, p5 = (smooth(p) for smooth, p in zip(self.smooth, (p3, p4, p5), strict=True))
        p6 = self.down[0](p5)
        return p3, p4, p5, p6, self.down[1](ops.relu(p6))


def _head(outputs, bias):
    head = keras.Sequential([keras.Input((None, None, 6))])
    for _ in range(2):
        head.add(layers.Conv2D(6, 3, padding="same", kernel_initializer="he_normal"))
        head.add(layers.ReLU())
    head.add(layers.Conv2D(outputs, 3, 1, padding="same", bias_initializer=bias))
    return head


class RetinaNet(keras.Model):
    """Two heads run over every map of a pyramid; a subclassed model."""

    def __init__(self, classes, **settings):
        super().__init__(name="retinanet", **settings)
        given = keras.Input((32, 32, 3))
        x, maps = given, []
        for filters in (4, 6, 8, 8):
            x = layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
            maps.append(x)
        self.backbone = keras.Model(given, maps[1:])
        self.pyramid = FeaturePyramid()
        self.classes = classes
        self.class_head = _head(3 * classes, keras.initializers.Constant(-np.log(99.0)))
        self.box_head = _head(3 * 4, "zeros")

    def call(self, image, training=False):
        features = self.pyramid(self.backbone(image, training=training), training=training)
        batch = ops.shape(image)[0]
        boxes = [ops.reshape(self.box_head(f), [batch, -1, 4]) for f in features]
        scores = [ops.reshape(self.class_head(f), [batch, -1, self.classes]) for f in features]
        return ops.concatenate([ops.concatenate(boxes, axis=1), ops.concatenate(scores, axis=1)], axis=-1)


def retinanet():
    model = RetinaNet(2)
    model(np.zeros((1, 32, 32, 3), "float32"))
    return model
