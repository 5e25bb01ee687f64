"""Attention without a softmax, whose memory is one matrix, and the convolution that stands before it: read from ONNX.

| update rule | the memory S after a step, from a key k and a value v                |
|-------------|----------------------------------------------------------------------|
| linear      | S + k v'                                                              |
| gated       | D S + k v', where D = exp(decay), one number a head or one a row of S |
| delta       | S + k (beta (v - S' k))'                                              |
| gated_delta | D S + k (beta (v - (D S)' k))'                                        |

Each step's result is scale * S' q. "linear" is one masked product however many steps there are; the other rules are
written step by step, which takes a fixed number of them. All is computed in at least float32.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports
from .attention import heads, triangle
from .conv import Conv
from .expand import filled
from .functions import Exp
from .index import sliced
from .join import Concat
from .math import Add, Mul, Sub
from .matmul import MatMul
from .shape import with_axes
from .smooth import Silu


@imports("onnx", "LinearAttention", since=27)
def linear_attention_from_onnx(node, q, k, v, state=None, decay=None, beta=None):
    """Fewer heads of keys than of queries are shared by neighbouring ones."""
    dtype, own, rule = q.dtype, v.dtype if state is None else state.dtype, node.update_rule
    wide = np.float64 if dtype == np.float64 else np.float32
    count, batch = node.kv_num_heads, q.shape[0]
    q, k, v = (heads(x.cast(wide), n) for x, n in ((q, node.q_num_heads), (k, count), (v, count)))
    _check(rule, decay=decay, beta=beta)
    scale = node.scale or 1 / math.sqrt(q.shape[-1])
    memory = None if state is None else state.cast(wide)
    if rule == "linear":
        y, memory = _all_at_once(q, k, v, memory)
    else:
        decay = None if decay is None else _gates(decay.cast(wide), count)
        beta = None if beta is None else heads(beta.cast(wide), beta.shape[-1])
        memory = filled(node.graph, (batch, count, k.shape[-1], v.shape[-1]), 0, wide) if memory is None else memory
        y, memory = _step_by_step(q, k, v, memory, decay, beta)
    y = Mul()(y, scale).transpose(0, 2, 1, 3)
    return y.reshape(batch, y.shape[1], y.shape[2] * y.shape[3]).cast(dtype), memory.cast(own)


def _check(rule: str, **given: Value | None) -> None:
    needed = {"linear": (), "gated": ("decay",), "delta": ("beta",), "gated_delta": ("decay", "beta")}
    if rule not in needed or {n for n, v in given.items() if v is not None} != set(needed[rule]):
        listed = ", ".join(n for n, v in given.items() if v is not None) or "neither decay nor beta"
        raise Refused(f"update_rule={rule!r} with {listed}", why="the rule says which of them it takes")


def _gates(decay: Value, count: int) -> Value:
    """exp(decay), as (batch, heads, size or 1, length): a column of each step multiplies the memory's rows."""
    return Exp()(heads(decay, count)).transpose(0, 1, 3, 2)


def _shared(q: Value, count: int) -> Value:
    """Queries by the head of the keys that they share: (batch, heads, sharers * length, size)."""
    batch, all_heads, length, size = q.shape
    return q.reshape(batch, count, all_heads // count * length, size)


def _all_at_once(q: Value, k: Value, v: Value, memory: Value | None) -> tuple[Value, Value]:
    """Every query sees the keys up to its own, and what was remembered before."""
    batch, all_heads, length, size = q.shape
    count, mask = k.shape[1], triangle(q, k).cast(q.dtype)
    grouped = q.reshape(batch, count, all_heads // count, length, size)
    keys = k.transpose(0, 1, 3, 2)
    scores = Mul()(MatMul()(grouped, with_axes(keys, [2])), mask)
    y = MatMul()(scores, with_axes(v, [2]))
    written = MatMul()(keys, v)
    if memory is not None:
        y = Add()(y, MatMul()(grouped, with_axes(memory, [2])))
        written = Add()(memory, written)
    return y.reshape(batch, all_heads, length, v.shape[-1]), written


def _step_by_step(
    q: Value, k: Value, v: Value, memory: Value, gates: Value | None, beta: Value | None
) -> tuple[Value, Value]:
    batch, all_heads, length, _ = q.shape
    if not isinstance(length, int):
        raise Refused(
            "linear attention over an open length", why="it is written step by step", hint="Fix it with input_shapes"
        )
    columns, results = k.transpose(0, 1, 3, 2), []

    def at(x: Value, step: int, axis: int = 2) -> Value:
        return sliced(x, {axis: slice(step, step + 1)})

    for step in range(length):
        if gates is not None:
            memory = Mul()(memory, at(gates, step, 3))
        value = at(v, step)
        if beta is not None:
            value = Mul()(Sub()(value, MatMul()(at(k, step), memory)), at(beta, step))
        memory = Add()(memory, Mul()(at(columns, step, 3), value))
        read = MatMul()(_shared(at(q, step), k.shape[1]), memory)
        results.append(read.reshape(batch, all_heads, 1, v.shape[-1]))
    return results[0] if length == 1 else Concat(axis=2)(*results), memory


@imports("onnx", "CausalConvWithState", since=27)
def causal_conv_from_onnx(node, x, kernel, bias=None, state=None):
    """A convolution of each channel with what came before; the last entries are the next call's state."""
    before = kernel.shape[2] - 1
    if state is None:
        state = filled(node.graph, (*x.shape[:2], before), 0, x.dtype)
    whole = Concat(axis=2)(state, x) if before else x
    conv: Any = Conv(strides=(1,), pads=((0, 0),), dilations=(1,), groups=x.shape[1])
    y = conv(whole, kernel, bias)
    if node.activation not in ("none", "silu", "swish"):
        raise Refused(f"activation={node.activation!r}", why="only silu, also called swish, or none follows")
    return y if node.activation == "none" else Silu()(y), sliced(whole, {2: slice(whole.shape[2] - before, None)})
