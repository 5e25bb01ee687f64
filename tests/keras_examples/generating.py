"""Generators, discriminators, and what makes pictures of others."""

import keras
from keras import layers, ops

__all__ = [
    "conditional_gan_discriminator",
    "conditional_gan_generator",
    "cyclegan_generator",
    "pix2pix_discriminator",
    "pix2pix_generator",
    "super_resolution",
    "vae_decoder",
    "vae_encoder",
    "wgan_gp_critic",
]


def conditional_gan_generator():
    """Noise and a label as one vector."""
    noise, label = keras.Input((16,), name="noise"), keras.Input((4,), name="label")
    x = layers.Concatenate()([noise, label])
    x = layers.Dense(4 * 4 * 20)(x)
    x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Reshape((4, 4, 20))(x)
    for filters in (12, 8):
        x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    return keras.Model([noise, label], layers.Conv2D(1, 7, padding="same", activation="sigmoid")(x))


def conditional_gan_discriminator():
    """The label is repeated over the picture and joined to it as channels."""
    image, label = keras.Input((16, 16, 1), name="image"), keras.Input((4,), name="label")
    spread = ops.reshape(ops.repeat(label, 16 * 16, axis=0), (-1, 16, 16, 4))
    x = ops.concatenate([image, spread], axis=-1)
    for filters in (8, 12):
        x = layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    return keras.Model({"image": image, "label": label}, layers.Dense(1)(layers.GlobalMaxPooling2D()(x)))


class ReflectionPadding2D(layers.Layer):
    """Pads with what stands inside the border."""

    def __init__(self, padding=(1, 1), **settings):
        super().__init__(**settings)
        self.padding = tuple(padding)

    def call(self, x):
        height, width = self.padding
        return ops.pad(x, [[0, 0], [height, height], [width, width], [0, 0]], mode="reflect")


def _instance_norm(x):
    return layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)


def _cycle_block(x):
    y = x
    for activation in (layers.ReLU(), None):
        y = layers.Conv2D(x.shape[-1], 3, use_bias=False)(ReflectionPadding2D()(y))
        y = _instance_norm(y)
        y = activation(y) if activation else y
    return layers.add([x, y])


def cyclegan_generator():
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 7, use_bias=False)(ReflectionPadding2D((3, 3))(given))
    x = layers.Activation("relu")(_instance_norm(x))
    x = layers.Activation("relu")(_instance_norm(layers.Conv2D(12, 3, 2, padding="same", use_bias=False)(x)))
    for _ in range(2):
        x = _cycle_block(x)
    x = layers.Conv2DTranspose(6, 3, 2, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(_instance_norm(x))
    return keras.Model(given, layers.Conv2D(3, 7, activation="tanh")(ReflectionPadding2D((3, 3))(x)))


def _down(filters, normalised=True):
    """A block of pix2pix: strided convolution, batch norm, LeakyReLU of 0.3, the layer's own default."""
    block = keras.Sequential([layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False)])
    if normalised:
        block.add(layers.BatchNormalization())
    block.add(layers.LeakyReLU())
    return block


def _up(filters):
    return keras.Sequential(
        [
            layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.ReLU(),
        ]
    )


def pix2pix_generator():
    """A U-Net whose steps are Sequential models without an input of their own."""
    x = given = keras.Input((16, 16, 3))
    skips = []
    for index, filters in enumerate((4, 8, 12)):
        x = _down(filters, normalised=index > 0)(x)
        skips.append(x)
    for filters, skip in zip((8, 4), reversed(skips[:-1]), strict=True):
        x = layers.Concatenate()([_up(filters)(x), skip])
    return keras.Model(given, layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")(x))


def pix2pix_discriminator():
    one, other = keras.Input((16, 16, 3), name="input_image"), keras.Input((16, 16, 3), name="target_image")
    x = _down(6, normalised=False)(layers.concatenate([one, other]))
    x = layers.ZeroPadding2D()(_down(8)(x))
    x = layers.LeakyReLU()(layers.BatchNormalization()(layers.Conv2D(8, 4, use_bias=False)(x)))
    return keras.Model([one, other], layers.Conv2D(1, 4)(layers.ZeroPadding2D()(x)))


def wgan_gp_critic():
    given = keras.Input((14, 14, 1))
    x = layers.ZeroPadding2D((1, 1))(given)
    for filters, normalised in ((6, False), (8, True), (10, True)):
        x = layers.Conv2D(filters, 5, strides=2, padding="same", use_bias=True)(x)
        x = layers.BatchNormalization()(x) if normalised else x
        x = layers.LeakyReLU(0.2)(x)
        x = layers.Dropout(0.3)(x)
    return keras.Model(given, layers.Dense(1)(layers.Flatten()(x)))


def super_resolution():
    """Sub-pixel convolution: channels become places, by a reshape and a transpose."""
    given = keras.Input((8, 10, 1))
    x = layers.Conv2D(8, 5, padding="same", activation="tanh")(given)
    x = layers.Conv2D(6, 3, padding="same", activation="tanh")(x)
    x = layers.Conv2D(3 * 3, 3, padding="same")(x)
    return keras.Model(given, DepthToSpace(3)(x))


class DepthToSpace(layers.Layer):
    """Blocks of channels become blocks of places."""

    def __init__(self, block, **settings):
        super().__init__(**settings)
        self.block = block

    def call(self, x):
        batch, height, width, depth = ops.shape(x)
        depth = depth // (self.block**2)
        x = ops.reshape(x, [batch, height, width, self.block, self.block, depth])
        x = ops.transpose(x, [0, 1, 3, 2, 4, 5])
        return ops.reshape(x, [batch, height * self.block, width * self.block, depth])


class Sampling(layers.Layer):
    """Draws around the mean while the network is trained; at inference it is the mean."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.seeds = keras.random.SeedGenerator(1337)

    def call(self, inputs, training=False):
        mean, log_variance = inputs
        if not training:
            return mean
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)


def vae_encoder():
    given = keras.Input((12, 12, 1))
    x = layers.Conv2D(6, 3, activation="relu", strides=2, padding="same")(given)
    x = layers.Conv2D(8, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    mean, log_variance = layers.Dense(2, name="z_mean")(x), layers.Dense(2, name="z_log_var")(x)
    return keras.Model(given, [mean, log_variance, Sampling()([mean, log_variance])], name="encoder")


def vae_decoder():
    given = keras.Input((2,))
    x = layers.Reshape((3, 3, 8))(layers.Dense(3 * 3 * 8, activation="relu")(given))
    for filters in (8, 6):
        x = layers.Conv2DTranspose(filters, 3, activation="relu", strides=2, padding="same")(x)
    return keras.Model(given, layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x), name="decoder")
