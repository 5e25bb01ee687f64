"""What onnxruntime makes of LeakyRelu when it optimises a model and saves it: importers only.

| native (com.microsoft) | is                                      | the slope is             | when left out |
|------------------------|-----------------------------------------|--------------------------|---------------|
| FusedConv              | Conv, the sum with Z, an activation     | activation_params, first | refused       |
| FusedGemm              | Gemm, an activation                     | activation_alpha         | refused       |
| QLinearLeakyRelu       | 8-bit codes: LeakyRelu of their numbers | alpha                    | 0.01          |

The layout of the NCHWc operators, which the highest level of optimisation makes, is that of one machine: they are
unsupported. The way round is the model before it was optimised.
"""

from ..errors import Refused
from ..op import Value, imports, shortest
from .activation import LeakyRelu
from .bounds import Clip
from .conv import conv_from_onnx
from .functions import Round
from .hard import HardSigmoid
from .math import Add, Div, Mul, Sub
from .matmul import gemm_from_onnx
from .relu import Relu
from .smooth import Sigmoid, Tanh

ACTIVATIONS = {  # by name: how many numbers each takes, and the operator
    "Relu": (0, lambda: Relu()),
    "Tanh": (0, lambda: Tanh()),
    "Sigmoid": (0, lambda: Sigmoid()),
    "LeakyRelu": (1, lambda slope: LeakyRelu(negative_slope=slope)),
    "HardSigmoid": (2, lambda alpha, beta: HardSigmoid(alpha=alpha, beta=beta)),
    "Clip": (2, lambda low, high: Clip(minimum=low, maximum=high)),
}


def activated(node, x, numbers):
    """`x` through the activation that a node names, with its numbers in order."""
    if not node.activation:
        return x
    count, make = ACTIVATIONS.get(node.activation, (None, None))
    if count is None or len(numbers) != count:
        listed = ", ".join(map(str, numbers)) or "no numbers"
        raise Refused(
            f"the activation {node.activation!r} with {listed}",
            why="onnxruntime itself takes " + (f"{count} for it" if count is not None else ", ".join(ACTIVATIONS)),
            hint="Convert the model as it was before onnxruntime optimised it",
        )
    return make(*map(shortest, numbers))(x)


@imports("onnx", "com.microsoft.FusedConv")
def fused_conv_from_onnx(node, x, kernel, bias=None, added=None):
    y = conv_from_onnx(node, x, kernel, bias)
    return activated(node, y if added is None else Add()(y, added), node.activation_params or ())


@imports("onnx", "com.microsoft.FusedGemm")
def fused_gemm_from_onnx(node, a, b, c=None):
    given = (node.activation_alpha, node.activation_beta, node.activation_gamma)
    return activated(node, gemm_from_onnx(node, a, b, c), [number for number in given if number is not None])


@imports("onnx", "com.microsoft.QLinearLeakyRelu")
def quantised_leaky_relu_from_onnx(node, x, scale, zero, out_scale, out_zero):
    """LeakyRelu of the numbers that 8-bit codes stand for, rounded half to even to the codes of the result."""
    kind = scale.dtype

    def offset(code: Value | None) -> Value:
        return node.graph.constant(0, kind) if code is None else code.cast(kind)

    y = LeakyRelu(negative_slope=shortest(node.alpha))(Mul()(Sub()(x.cast(kind), offset(zero)), scale))
    code = Add()(Round()(Div()(y, out_scale)), offset(out_zero))
    least = -128.0 if x.dtype.kind == "i" else 0.0
    return Clip(minimum=least, maximum=least + 255.0)(code).cast(x.dtype)
