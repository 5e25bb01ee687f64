"""Rows of the table alone: relatives whose slope is a weight, a mean or counts from elsewhere, and MATLAB's layer."""

from __future__ import annotations

from .spelling import Spelling

RELATIVES: tuple[Spelling, ...] = (
    Spelling(
        system="Keras 3", api="keras.layers.ReLU", parameter="negative_slope", default=0.0, held="tensor",
        formula="x > 0 ? x : a*x", refused=("negative",), source="keras/src/layers/activations/relu.py; from the threshold down",
    ),
    Spelling(
        system="Keras 3", api="keras.layers.PReLU", parameter="alpha, a weight", default=None, held="tensor",
        formula="relu(x) - a*relu(-x)", source="keras/src/layers/activations/prelu.py; one per element but for shared_axes",
    ),
    Spelling(
        system="PyTorch", api="torch.nn.PReLU", parameter="weight", default=None, held="tensor",
        formula="x > 0 ? x : a*x", source="torch/nn/modules/activation.py; one, or one per channel",
    ),
    Spelling(
        system="PyTorch", api="torch.nn.RReLU, evaluated", parameter="mean of lower and upper", default=(1 / 8 + 1 / 3) / 2,
        held="tensor", formula="x > 0 ? x : a*x", source="torch/nn/functional.py; 1/8 and 1/3 where they are left out",
    ),
    Spelling(
        system="ONNX", api="PRelu", parameter="slope, an operand", default=None, held="tensor",
        formula="x < 0 ? a*x : x", source="onnx.defs; one per channel before operator set 7",
    ),
    Spelling(
        system="MATLAB", api="leakyReluLayer(scale)", parameter="Scale", default=0.01, held="tensor",
        formula="x < 0 ? a*x : x", line="leakyReluLayer({slope})", not_run="needs a licence",
        source="the documentation of leakyReluLayer",
    ),
)  # fmt: skip
