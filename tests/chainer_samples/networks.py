"""Chainer networks for the tests of recordings: run where Chainer is. The recordings beside this file are made by

leaky-interop record tests/chainer_samples/networks.py:Generator tests/chainer_samples/generator.chainer --input-shape 2,5
leaky-interop record tests/chainer_samples/networks.py:Classifier tests/chainer_samples/classifier.chainer --input-shape 1,2,9,6
leaky-interop record tests/chainer_samples/networks.py:Functions tests/chainer_samples/functions.chainer --input-shape 1,2,5,4
"""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np


def seeded(network):
    """The network with weights and statistics that are all different, from one seed."""
    rng = np.random.RandomState(3)
    for _, parameter in sorted(network.namedparams()):
        parameter.array[...] = rng.standard_normal(parameter.shape) * 0.4
    for _, link in sorted(network.namedlinks()):
        if isinstance(link, L.BatchNormalization):
            link.avg_mean[...] = rng.standard_normal(link.avg_mean.shape)
            link.avg_var[...] = rng.uniform(0.5, 2, link.avg_var.shape)
    return network


class Generator(chainer.Chain):
    """As a DCGAN's: a projection, then transposed convolutions, both slopes of LeakyReLU, stated and left out."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.project = L.Linear(5, 16)
            self.bn0 = L.BatchNormalization(16)
            self.up1 = L.Deconvolution2D(4, 3, 4, stride=2, pad=1, nobias=True)
            self.bn1 = L.BatchNormalization(3, eps=1e-3, use_gamma=False)
            self.up2 = L.Deconvolution2D(3, 2, 3, stride=2, pad=1, outsize=(8, 7))
        seeded(self)

    def forward(self, z):
        h = F.leaky_relu(self.bn0(self.project(z)), slope=0.3)
        h = F.reshape(h, (len(z), 4, 2, 2))
        h = F.leaky_relu(self.bn1(self.up1(h)))
        return F.tanh(self.up2(F.dropout(h)))


class Block(chainer.Chain):
    def __init__(self, channels):
        super().__init__()
        with self.init_scope():
            self.conv = L.Convolution2D(channels, channels, 3, pad=2, dilate=2, groups=2)
            self.bn = L.BatchNormalization(channels)

    def forward(self, x):
        return x + F.leaky_relu(self.bn(self.conv(x)))


class Classifier(chainer.Chain):
    """Links in links, one of them used twice; max pooling whose default covers all of an odd size."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.stem = L.Convolution2D(2, 4, (3, 2), stride=(2, 1), pad=(1, 0))
            self.block = Block(4)
            self.head = L.Linear(16, 5)
        seeded(self)

    def forward(self, image):
        h = F.leaky_relu(self.stem(image), 0.3)
        h = self.block(self.block(h))
        h = F.max_pooling_2d(h, 2)
        h = F.average_pooling_2d(h, 3, stride=2, pad=1)
        return {"features": h, "probabilities": F.softmax(self.head(F.leaky_relu(h)))}


class Functions(chainer.Chain):
    """Each function that is read, on its own."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.slopes = L.PReLU((2, 5))
            self.one_slope = L.PReLU()
            self.places = L.BatchNormalization(axis=0, size=(2, 5, 4))
            self.rows = L.BatchNormalization(axis=(0, 1, 3), size=5)
            self.covering = L.Convolution2D(2, 2, 3, stride=3)
            self.line = L.Convolution1D(2, 2, 2, stride=2, pad=1)
        seeded(self)

    def forward(self, x):
        y = 0.5 * x + 1
        return {
            "slope_0": F.leaky_relu(x, 0.0), "slope_above_1": F.leaky_relu(x, 1.5), "slope_below_0": F.leaky_relu(x, -0.1),
            "slope_third": F.leaky_relu(x, 1 / 3), "slope_32": F.leaky_relu(x, np.float32(0.1)),
            "prelu": self.slopes(x), "prelu_one": self.one_slope(x), "rrelu": F.rrelu(x, 0.1, 0.5),
            "relu": F.relu(x), "relu6": F.relu6(x), "clipped": F.clipped_relu(x, 2.5), "crelu": F.crelu(x, axis=-1),
            "elu": F.elu(x, 0.7), "selu": F.selu(x), "sigmoid": F.sigmoid(x), "log_softmax": F.log_softmax(x, axis=2),
            "softmax": F.softmax(x, axis=-1), "sum": x + y, "difference": x - y, "product": x * y, "quotient": x / (y * y + 1),
            "from": 2 - x, "inverse": 3 / (x * x + 1), "square": x ** 2, "cube": x ** 3, "scaled": x * -0.25,
            "concat": F.concat([x, y], axis=1), "transposed": F.transpose(x, (0, 3, 1, 2)), "reversed": x.T,
            "flat": F.reshape(x, (x.shape[0], 2, -1)), "wider": F.expand_dims(x, -2),
            "max_all": F.max_pooling_2d(x, 3, stride=2), "max_some": F.max_pooling_2d(x, 3, stride=2, cover_all=False),
            "max_padded": F.max_pooling_2d(x, (2, 3), stride=(3, 4), pad=(0, 1)),
            "average": F.average_pooling_2d(x, 3, stride=2, pad=1),
            "unpooled": F.unpooling_2d(x, 2), "doubled": F.unpooling_2d(x, (2, 3), cover_all=False),
            "places": self.places(x), "rows": self.rows(x),
            "covering": F.convolution_2d(x, self.covering.W, self.covering.b, stride=3, pad=1, cover_all=True),
            "line": self.line(F.reshape(x, (x.shape[0], 2, 20))),
        }  # fmt: skip


class Beyond(chainer.Chain):
    """The last window of the pooling starts behind the data: -infinity."""

    def forward(self, x):
        return F.max_pooling_2d(x, 3, stride=5, pad=1)


class Unread(chainer.Chain):
    """Two functions that nothing reads, one of them twice."""

    def forward(self, x):
        h = F.local_response_normalization(F.arctan(x))
        return F.leaky_relu(F.arctan(h))


class Outside(chainer.Chain):
    """Computes with numpy in the middle: the graph does not show it."""

    def forward(self, x):
        return F.leaky_relu(x * np.abs(x.array))


class Ended(chainer.Chain):
    """Returns numbers, not a variable."""

    def forward(self, x):
        return F.leaky_relu(x).array


class Fixed(chainer.Chain):
    """Takes batches of two and no others."""

    def forward(self, x):
        return F.leaky_relu(F.reshape(x, (2, 48)) + np.ones((2, 1), "f"))


def broken():
    """A factory that fails."""
    raise ValueError("no network today")


def no_network():
    """A factory that returns something else."""
    return 3
