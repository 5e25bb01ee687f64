"""Activations: LeakyRelu and its relatives.

| spelling                       | slope is called | when left out |
|--------------------------------|-----------------|---------------|
| keras.layers.LeakyReLU         | negative_slope  | 0.3           |
| keras.ops, activations, string | negative_slope  | 0.2           |
| torch.nn.LeakyReLU, functional | negative_slope  | 0.01          |
| onnx LeakyRelu                 | alpha (32 bits) | 0.01          |
"""

import numpy as np

from ..op import Pointwise, case, exports, imports, op, shortest


@op
class LeakyRelu(Pointwise):
    """x where x >= 0, negative_slope * x elsewhere. NaN stays NaN and -0.0 stays -0.0; slope 0 is not Relu."""

    negative_slope: float
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(x >= 0, x, x * x.dtype.type(self.negative_slope))


@imports("torch", "aten.leaky_relu.default")
def leaky_relu_from_torch(call, x, negative_slope):
    return LeakyRelu(negative_slope=float(negative_slope))(x)


@imports("keras", "LeakyReLU", "ops.LeakyRelu", "activations.leaky_relu")
def leaky_relu_from_keras(layer, x):
    return LeakyRelu(negative_slope=float(layer.negative_slope))(x)


@imports("onnx", "LeakyRelu")
def leaky_relu_from_onnx(node, x):
    return LeakyRelu(negative_slope=shortest(node.alpha))(x)


@exports("torch", LeakyRelu)
def leaky_relu_to_torch(op, torch, x):
    return torch.place(torch.nn.LeakyReLU(op.negative_slope))(x)


@exports("keras", LeakyRelu)
def leaky_relu_to_keras(op, keras, x):
    if op.negative_slope < 0:  # the layer refuses these, the function does not
        return keras.ops.leaky_relu(x, op.negative_slope)
    return keras.place(keras.layers.LeakyReLU(negative_slope=op.negative_slope))(x)


@exports("onnx", LeakyRelu)
def leaky_relu_to_onnx(op, onnx, x):
    return onnx.LeakyRelu(x, alpha=op.negative_slope)


for slope in (0.01, 0.1, 0.2, 0.3, 0.0, 1e-8, 1.0, 1.5, 10.0, -0.5):
    case(f"leaky_relu/slope={slope}", LeakyRelu(negative_slope=slope), (2, 3, 4, 5))
