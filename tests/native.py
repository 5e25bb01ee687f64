"""Functions as whole models of a framework: how tests write down a native spelling."""

import keras
import torch


class Applied(torch.nn.Module):
    """A function of tensors as a PyTorch module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def in_keras(function, *arrays):
    """A function of tensors like these arrays, or a layer, as a Keras model."""
    inputs = [keras.Input(a.shape[1:], dtype=a.dtype.name) for a in arrays]
    return keras.Model(inputs, function(*inputs))
