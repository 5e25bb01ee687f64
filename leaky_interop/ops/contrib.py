"""What onnxruntime's optimiser makes of float networks and saves in its own domain: importers only.

| native (com.microsoft)       | is                                                     | left out                      |
|------------------------------|--------------------------------------------------------|-------------------------------|
| Gelu, BiasGelu               | Gelu of x, of x + bias                                 |                               |
| FastGelu                     | Gelu by tanh, of x + bias where there is one           |                               |
| QuickGelu                    | x * sigmoid(alpha * x)                                 | alpha is 1.702                |
| BiasSplitGelu                | the first half of x + bias times Gelu of the second    |                               |
| BiasSoftmax                  | Softmax of data + bias                                 |                               |
| FusedMatMul                  | alpha * a @ b, either transposed                       | alpha is 1                    |
| SkipLayerNormalization       | LayerNormalization of x + skip + bias                  | epsilon is 1e-12              |
| SimplifiedLayerNormalization | RMSNormalization (in ONNX's own domain)                | epsilon is 1e-5               |
| SkipSimplifiedLayer...       | RMSNormalization of x + skip + bias                    | epsilon is 1e-12              |
| MatMulNBits                  | a @ b.T, b in codes of `bits` by blocks                | the zero point is the middle  |

The sums of the Skip operators are a result of their own, the last one; mean and deviation are not read. The layouts of
one machine (NCHWc) are unsupported. The way round is the model before it was optimised.
"""

import math

import numpy as np

from ..errors import Refused
from ..op import Value, imports, shortest
from .layer_norm import LayerNorm, RMSNorm, rms_norm_from_onnx
from .math import Add, Mul
from .matmul import matrix_product
from .smooth import Gelu, Sigmoid
from .softmax import Softmax


def _plus(x: Value, bias: Value | None) -> Value:
    return x if bias is None else Add()(x, bias)


@imports("onnx", "com.microsoft.Gelu")
def gelu_from_onnxruntime(node, x):
    return Gelu(approximate=False)(x)


@imports("onnx", "com.microsoft.BiasGelu")
def biased_gelu_from_onnxruntime(node, x, bias):
    return Gelu(approximate=False)(Add()(x, bias))


@imports("onnx", "com.microsoft.FastGelu")
def fast_gelu_from_onnxruntime(node, x, bias=None):
    return Gelu(approximate=True)(_plus(x, bias))


@imports("onnx", "com.microsoft.QuickGelu")
def quick_gelu_from_onnxruntime(node, x):
    return Mul()(x, Sigmoid()(Mul()(x, shortest(node.alpha))))


@imports("onnx", "com.microsoft.BiasSplitGelu")
def split_gelu_from_onnxruntime(node, x, bias):
    from .join import Split

    size = x.shape[-1] // 2
    value, gate = Split(axis=x.rank - 1, sizes=(size, size))(Add()(x, bias))
    return Mul()(value, Gelu(approximate=False)(gate))


@imports("onnx", "com.microsoft.BiasSoftmax")
def biased_softmax_from_onnxruntime(node, x, bias):
    """is_inner_broadcast=0: the bias has as many batches as the data and is repeated along the axes before `axis`."""
    axis = node.axis % x.rank
    if not node.is_inner_broadcast and bias.rank < x.rank:
        bias = bias.reshape(*bias.shape[:1], *(1,) * (x.rank - bias.rank), *bias.shape[1:])
    return Softmax(axes=tuple(range(axis, x.rank)))(Add()(x, bias))


@imports("onnx", "com.microsoft.FusedMatMul")
def fused_matmul_from_onnxruntime(node, a, b):
    a, b = _turned(a, node.transA, node.transBatchA), _turned(b, node.transB, node.transBatchB)
    y, alpha = matrix_product(node, a, b), shortest(node.alpha)
    return y if alpha == 1 else Mul()(y, alpha)


def _turned(x: Value, last: int, first: int) -> Value:
    """`first`: the rows stand before the batches and go behind them; `last`: rows and columns then change places."""
    perm = list(range(x.rank))
    if first and x.rank > 2:
        perm.insert(x.rank - 2, perm.pop(0))
    if last and x.rank > 1:
        perm[-2:] = perm[:-3:-1]
    return x.transpose(*perm)


@imports("onnx", "com.microsoft.SkipLayerNormalization")
def skip_layer_norm_from_onnxruntime(node, x, skip, scale, shift=None, bias=None):
    total = _plus(Add()(x, skip), bias)
    return LayerNorm(axes=(x.rank - 1,), epsilon=shortest(node.epsilon))(total, scale, shift), None, None, total


@imports("onnx", "com.microsoft.SkipSimplifiedLayerNormalization")
def skip_rms_norm_from_onnxruntime(node, x, skip, scale, bias=None):
    total = _plus(Add()(x, skip), bias)
    return RMSNorm(axes=(x.rank - 1,), epsilon=shortest(node.epsilon))(total, scale), None, None, total


@imports("onnx", "SimplifiedLayerNormalization")
def simplified_layer_norm_from_onnxruntime(node, x, scale):
    return rms_norm_from_onnx(node, x, scale)


@imports("onnx", "com.microsoft.MatMulNBits")
def matmul_of_blocks_from_onnxruntime(node, a, codes, scales, zeros=None, groups=None, bias=None):
    """Codes are packed from the lowest bits up, a row of blocks for each column of the result."""
    if groups is not None or any(v is not None and v.const is None for v in (codes, zeros)):
        raise Refused("MatMulNBits with groups or with computed codes", why="they are not read", hint="Store the codes as they are")
    bits, size, blocks = node.bits, node.block_size, math.ceil(node.K / node.block_size)
    numbers = _unpacked(codes.array().reshape(node.N * blocks, -1), bits, size).reshape(node.N, blocks * size)
    if zeros is None:
        offsets = np.full((node.N, blocks), 2.0 ** (bits - 1))
    elif zeros.dtype == np.uint8:
        offsets = _unpacked(zeros.array().reshape(node.N, -1), bits, blocks)
    else:
        offsets = zeros.array().reshape(node.N, blocks)
    less = numbers.astype(np.float32) - np.repeat(offsets.astype(np.float32), size, 1)
    graph = node.graph
    scale = scales.reshape(node.N, blocks, 1).cast(np.float32)
    kernel = Mul()(graph.constant(less.reshape(node.N, blocks, size)), scale).reshape(node.N, blocks * size)
    if blocks * size != node.K:
        from .index import sliced

        kernel = sliced(kernel, {1: slice(0, node.K)})
    return _plus(matrix_product(node, a, kernel.cast(a.dtype).transpose(1, 0)), bias)


def _unpacked(rows: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The first `count` codes of each row of bytes."""
    each = 8 // bits
    parts = (rows[..., None] >> (bits * np.arange(each, dtype=np.uint8))) & (2**bits - 1)
    return parts.reshape(len(rows), -1)[:, :count]
