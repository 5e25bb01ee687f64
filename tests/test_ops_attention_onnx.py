"""Attention as ONNX says it: caches, lengths, windows, caps and scores that are read, against its own definition."""

import numpy as np
import onnx
import pytest
from family_checks import check_by_definition, onnx_model

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(8)
BATCH, QUERIES, KEYS, PAST = 2, 3, 5, 4


def heads(count, length, size=4, dtype=np.float32):
    return rng.standard_normal((BATCH, count, length, size)).astype(dtype)


def drawn(*, past=False, lengths=None, mask=None, kv_heads=2, dtype=np.float32):
    """q, k, v, mask, past key, past value, lengths; None for what is left out."""
    data = [heads(4, QUERIES, dtype=dtype), *(heads(kv_heads, KEYS, s, dtype) for s in (4, 6)), mask]
    data += [heads(kv_heads, PAST, s, dtype) if past else None for s in (4, 6)]
    return [*data, lengths]


def compared(data, *, opset=25, shown=1, to=("torch", "onnx"), **attributes):
    while data[-1] is None:
        data.pop()
    model = onnx_model("Attention", data, opset=opset, outputs=shown, shown=shown, **attributes)
    return check_by_definition(model, *(a for a in data if a is not None), to=to)


TOTAL = PAST + KEYS
BOOLEANS = rng.random((BATCH, 1, QUERIES, TOTAL)) < 0.6
BOOLEANS[0, :, 1] = False  # a row of which nothing counts
NUMBERS = np.where(BOOLEANS, rng.standard_normal(BOOLEANS.shape), -np.inf).astype(np.float32)
SHORT = rng.random((QUERIES, TOTAL - 2)) < 0.7


@pytest.mark.parametrize("opset", [23, 24, 25])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize(
    "mask",
    [None, BOOLEANS, NUMBERS, SHORT, SHORT.astype(np.float32)],
    ids=["none", "bool", "float", "short", "short_float"],
)
def test_past_keys(opset, causal, mask):
    compared(drawn(past=True, mask=mask), opset=opset, shown=3, is_causal=causal)


@pytest.mark.parametrize("lengths", [[5, 3], [1, 4]])
@pytest.mark.parametrize(
    "attributes", [{}, {"is_causal": 1}, {"left_window_size": 1}, {"is_causal": 1, "left_window_size": 0}], ids=str
)
def test_lengths_of_a_cache(lengths, attributes):
    """More queries than keys leave the first queries nothing to see."""
    compared(drawn(lengths=np.array(lengths)), **attributes)


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("sides", [(0, 0), (1, -1), (-1, 1), (2, 1)], ids=str)
def test_windows(past, sides):
    compared(drawn(past=past), left_window_size=sides[0], right_window_size=sides[1], to=("keras", "torch", "onnx"))


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize("mask", [BOOLEANS[..., :KEYS], NUMBERS[..., :KEYS]], ids=["bool", "float"])
@pytest.mark.parametrize("causal", [0, 1])
def test_scores_are_read(mode, mask, causal):
    cap = {"softcap": 1.5} if mode else {}  # onnx's own reference hands out capped scores in mode 0: not what it says
    graph = compared(drawn(mask=mask), opset=24, shown=4, qk_matmul_output_mode=mode, is_causal=causal, **cap)
    assert graph.outputs[3].shape == (BATCH, 4, QUERIES, KEYS)


def test_scores_without_a_mask_or_a_cap():
    for mode in range(4):
        compared(drawn(), shown=4, qk_matmul_output_mode=mode, scale=0.3, to=("keras",))


def test_raw_scores_know_no_cap():
    q, k, v = drawn()[:3]
    k, v = (np.repeat(a, 2, 1) for a in (k, v))
    model = onnx_model("Attention", [q, k, v], opset=24, outputs=4, shown=4, softcap=0.5, scale=1.0)
    scores = li.load(model).run(q, k, v)[3]
    np.testing.assert_allclose(scores, q @ k.swapaxes(-1, -2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cap", [0.5, 40.0])
def test_caps(cap):
    compared(drawn(mask=BOOLEANS[..., :KEYS]), softcap=cap, to=("keras", "torch", "onnx"))


def test_heads_in_the_features_with_a_past():
    shapes = ((QUERIES, 16), (KEYS, 8), (KEYS, 12))
    data = [rng.standard_normal((BATCH, *s)).astype(np.float32) for s in shapes]
    data += [None, heads(2, PAST), heads(2, PAST, 6)]
    compared(data, shown=3, q_num_heads=4, kv_num_heads=2, is_causal=1)


def test_a_window_is_a_number_of_keys():
    data = drawn()[:3]
    with pytest.raises(Refused, match="window"):
        li.load(onnx_model("Attention", data, opset=25, left_window_size=-2))


def changed(kind, number):
    """A function that a node brings: its input, and a number that it is added to or multiplied by."""
    value = onnx.helper.make_node("Constant", [], ["number"], value_float=number)
    applied = onnx.helper.make_node(kind, ["scores", "number"], ["changed"])
    ports = [onnx.helper.make_tensor_value_info(n, 1, [None] * 4) for n in ("scores", "changed")]
    return onnx.helper.make_graph([value, applied], "change", ports[:1], ports[1:])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "changes", [{}, {"score_mod": changed("Mul", 2.0)}, {"prob_mod": changed("Add", 0.5)}], ids=lambda c: "-".join(c)
)
def test_flexible_attention(changes, dtype):
    data = [heads(4, QUERIES, dtype=dtype), heads(2, KEYS, dtype=dtype), heads(2, KEYS, 6, dtype=dtype)]
    model = onnx_model("FlexAttention", data, opset=1, domain="ai.onnx.preview", scale=0.4, **changes)
    model.opset_import.append(onnx.helper.make_opsetid("", 24))
    check_by_definition(model, *data, to=("keras", "torch", "onnx"))
