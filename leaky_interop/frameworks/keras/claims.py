"""What Keras says of a call's results before they are computed, and where its word is not good enough."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from ...graph import Value
from ...numeric import dtype as dtype_of
from ...op import Dim
from .foreign import native_name

# Results that Keras states wrongly: attention scores as wide as they are high, scores in a dtype that the layer does not
# cast to, images as large after an even blur as before, two directions of unlike width; multi-hot vectors in the dtype of
# their indices and the other way round; texts in the dtype of their indices; `unique`, whose integers are as wide as the
# backend has them.
OTHERWISE = """Bidirectional GaussianBlur IntegerLookup MultiHot PSNR Resizing ReversibleEmbedding StringLookup TextVectorization
    UpSampling1D UpSampling2D UpSampling3D""".split()
MISSTATED = {("MultiHeadAttention", 1), *(("ops.Unique", result) for result in range(4))}
MISSTATED |= {(p + name, 0) for name in OTHERWISE for p in ("", "ops.")}


def stated_dtype(node: Any, index: int) -> str:
    """The dtype of a result. Of a layer over whole numbers Keras states the layer's own, which is not always theirs."""
    layer, stated = node.operation, str(node.output_tensors[index].dtype)
    if not isinstance(layer, keras.Layer) or "float" not in stated or all("float" in t.dtype for t in node.input_tensors):
        return stated
    with contextlib.suppress(Exception):  # no backend runs every layer on whole numbers
        spec = keras.Operation.compute_output_spec(layer, *node.arguments.args, **node.arguments.kwargs)
        computed = str(keras.tree.flatten(spec)[index].dtype)
        return stated if "float" in computed else computed
    return stated


# Dtypes for which Keras' rules are not always what a backend does.
DOUBTFUL = frozenset("int8 int16 int64 uint8 uint16 uint32 uint64 float64".split())
# Operations of which Keras states another dtype, or shape, than it computes, at least on one backend.
_UNSURE = """Arctan2 CategoricalCrossentropy Erf Erfinv Geomspace Logsumexp LuFactor Max Meshgrid Min MultiHot Normalize RFFT Reciprocal Rsqrt
    Select Sigmoid Size Slogdet Softsign SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Squareplus TanhShrink TopK"""
UNSURE = frozenset(f"ops.{n}" for n in _UNSURE.split())
_MISSHAPEN = """Average CategoricalCrossentropy Corrcoef Correlate CountNonzero Cross Dot DotProductAttention FullLike ISTFT MultiHot
    Nanquantile Pad Ptp Quantile Slice Slogdet Sum View"""
MISSHAPEN = frozenset(f"ops.{n}" for n in _MISSHAPEN.split())


def claimed(node: Any, shape: Callable[[Any, int], tuple[Dim | None, ...]], operands: Any = ((), {})) -> list[Any]:
    """Shape (None: unknown) and dtype of a call's results: what Keras states, or where that is doubtful its backend computes.

    operands : positional and keyword arguments as values, whose dtypes are those that the backend has computed
    """
    native = native_name(node.operation)
    args, kwargs = node.arguments.args, node.arguments.kwargs
    claims: list[Any] = [(shape(node, i), dtype_of(stated_dtype(node, i))) for i in range(len(node.output_tensors))]
    received = {v.dtype.name for v in keras.tree.flatten(operands) if isinstance(v, Value)}
    doubtful = native in UNSURE or DOUBTFUL & {*received, *(t.dtype for t in (*node.input_tensors, *node.output_tensors))}
    if doubtful and native.startswith("ops."):
        with contextlib.suppress(Exception):  # the operands may be others than Keras knows
            args, kwargs = keras.tree.map_structure(retyped, (list(args), dict(kwargs)), (list(operands[0]), dict(operands[1])))
        with contextlib.suppress(Exception):  # the backend may not run it on symbols
            computed = keras.tree.flatten(keras.Operation.compute_output_spec(node.operation, *args, **kwargs))
            if len(computed) == len(claims):
                claims = [(stated, dtype_of(t.dtype)) for (stated, _), t in zip(claims, computed, strict=True)]
    if native in MISSHAPEN:
        return [(None, kind) for _, kind in claims]
    return [None if (native, i) in MISSTATED else c for i, c in enumerate(claims)]


def retyped(stated: Any, computed: Any) -> Any:
    """A symbolic operand in the dtype of the value that it stands for."""
    if not isinstance(stated, keras.KerasTensor) or not isinstance(computed, Value) or stated.dtype == computed.dtype.name:
        return stated
    return keras.KerasTensor(stated.shape, computed.dtype.name)
