"""Operators of language models in ONNX: linear attention, causal convolution, rotary embeddings, caches."""

import numpy as np
import onnx
import pytest
from family_checks import check_by_definition, onnx_model

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(3)
BATCH, HEADS, KEYS, SIZE, FEATURES = 2, 4, 2, 3, 5
OPSET = onnx.defs.get_schema("LinearAttention").since_version


def normal(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def attention(rule, length, *, state=False, scalar_decay=False, scalar_beta=False, dtype=np.float32, heads=HEADS):
    q, k, v = (normal(BATCH, length, n, dtype=dtype) for n in (heads * SIZE, KEYS * SIZE, KEYS * FEATURES))
    k = (k / 3).astype(dtype)
    memory = normal(BATCH, KEYS, SIZE, FEATURES) if state else None
    decay = (
        -np.abs(normal(BATCH, length, KEYS * (1 if scalar_decay else SIZE), dtype=dtype)) if "gated" in rule else None
    )
    beta = rng.random((BATCH, length, 1 if scalar_beta else KEYS)).astype(dtype) if "delta" in rule else None
    return [q, k, v, memory, decay, beta]


def compared(kind, data, *, to=("torch", "onnx"), outputs=2, **attributes):
    data = list(data)
    while data[-1] is None:
        data.pop()
    model = onnx_model(kind, data, opset=OPSET, outputs=outputs, shown=outputs, **attributes)
    return check_by_definition(model, *(a for a in data if a is not None), to=to)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize(
    "how", [{}, {"state": True}, {"state": True, "scalar_decay": True, "scalar_beta": True}, {"heads": KEYS}], ids=str
)
@pytest.mark.parametrize("length", [1, 4])
def test_linear_attention(rule, how, length):
    data = attention(rule, length, **how)
    heads = {"q_num_heads": data[0].shape[2] // SIZE, "kv_num_heads": KEYS}
    compared("LinearAttention", data, update_rule=rule, **heads)


def test_linear_attention_in_keras_and_with_a_scale():
    compared(
        "LinearAttention", attention("gated_delta", 3), to=("keras",), q_num_heads=HEADS, kv_num_heads=KEYS, scale=0.7
    )


def test_what_a_rule_does_not_take_is_refused():
    data = attention("gated", 3)
    model = onnx_model(
        "LinearAttention", data[:5], opset=OPSET, q_num_heads=HEADS, kv_num_heads=KEYS, update_rule="delta"
    )
    with pytest.raises(Refused, match="delta"):
        li.load(model)


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("activation", ["none", "silu"])
def test_causal_convolution(width, state, activation):
    before = normal(BATCH, 3, width - 1) if state and width > 1 else None
    data = [normal(BATCH, 3, 5), normal(3, 1, width), normal(3), before]
    compared(
        "CausalConvWithState", data, to=("keras", "torch", "onnx"), activation=activation, outputs=2 if width > 1 else 1
    )


POSITIONS = rng.integers(0, 9, (BATCH, 4))


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("turned", [0, 4])
@pytest.mark.parametrize("positions", [None, POSITIONS], ids=["all", "some"])
def test_rotary_embedding(interleaved, wide, turned, positions):
    x = normal(BATCH, 4, 3 * 8) if wide else normal(BATCH, 3, 4, 8)
    half = (turned or 8) // 2
    tables = [normal(*((BATCH, 4) if positions is None else (9,)), half) for _ in range(2)]
    settings = {"interleaved": interleaved, "rotary_embedding_dim": turned, **({"num_heads": 3} if wide else {})}
    compared("RotaryEmbedding", [x, *tables, positions], outputs=1, to=("keras", "torch", "onnx"), **settings)


@pytest.mark.parametrize("axis", [1, -2, -1])
@pytest.mark.parametrize(("mode", "starts"), [("linear", None), ("linear", [3, 0]), ("circular", [4, 11])], ids=str)
def test_tensor_scatter(axis, mode, starts):
    cache = normal(BATCH, 6, 6, 6)
    shape = [BATCH, 6, 6, 6]
    shape[axis] = 3
    starts = None if starts is None else np.array(starts)
    compared(
        "TensorScatter", [cache, normal(*shape), starts], outputs=1, to=("keras", "torch", "onnx"), axis=axis, mode=mode
    )
