"""One step of an optimizer as ONNX has it, read as plain arithmetic.

Operands are the rate, the number of steps so far, then all tensors, all their gradients and all their states, which
come back in the same order.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..op import Value, imports, shortest
from .compare import Greater, Where
from .functions import Sqrt
from .math import Add, Div, Mul, Pow, Sub
from .shape import without


def _each(operands: Sequence[Value], states: int, step: Callable[..., Sequence[Value]]) -> list[Value]:
    """`step(x, gradient, *states)` for every tensor; results by kind, as the operands are."""
    count = len(operands) // (2 + states)
    made = [step(*operands[i::count]) for i in range(count)]
    return [result for kind in zip(*made, strict=True) for result in kind]


def _scalar(x: Value) -> Value:
    return without(x, range(x.rank))


def _pulled(node: Any, x: Value, gradient: Value) -> Value:
    """The gradient, and that of what keeps x small."""
    weight = shortest(node.norm_coefficient)
    return Add()(Mul()(x, weight), gradient) if weight else gradient


@imports("onnx", "ai.onnx.preview.training.Momentum")
def momentum_from_onnx(node, rate, count, *operands):
    """beta counts from the second step on."""
    alpha, beta = shortest(node.alpha), shortest(node.beta)
    rate, count = _scalar(rate), _scalar(count)

    def step(x: Value, gradient: Value, speed: Value) -> tuple[Value, Value]:
        gradient = _pulled(node, x, gradient)
        share = Where()(Greater()(count, 0), node.graph.constant(beta, x.dtype), 1.0)
        speed = Add()(Mul()(speed, alpha), Mul()(gradient, share))
        way = Add()(gradient, Mul()(speed, alpha)) if node.mode == "nesterov" else speed
        return Sub()(x, Mul()(way, rate.cast(x.dtype))), speed

    return _each(operands, 1, step)


@imports("onnx", "ai.onnx.preview.training.Adagrad")
def adagrad_from_onnx(node, rate, count, *operands):
    rate, count = _scalar(rate), _scalar(count)

    def step(x: Value, gradient: Value, squares: Value) -> tuple[Value, Value]:
        gradient = _pulled(node, x, gradient)
        own = Div()(rate.cast(x.dtype), Add()(Mul()(count.cast(x.dtype), shortest(node.decay_factor)), 1.0))
        squares = Add()(squares, Mul()(gradient, gradient))
        scale = Add()(Sqrt()(squares), shortest(node.epsilon))
        return Sub()(x, Div()(Mul()(gradient, own), scale)), squares

    return _each(operands, 1, step)


@imports("onnx", "ai.onnx.preview.training.Adam")
def adam_from_onnx(node, rate, count, *operands):
    """The means are corrected for their start at zero from the first counted step on."""
    alpha, beta = shortest(node.alpha), shortest(node.beta)
    rate, count = _scalar(rate), _scalar(count)

    def step(x: Value, gradient: Value, mean: Value, squares: Value) -> tuple[Value, Value, Value]:
        gradient = _pulled(node, x, gradient)
        mean = Add()(Mul()(mean, alpha), Mul()(gradient, 1.0 - alpha))
        squares = Add()(Mul()(squares, beta), Mul()(Mul()(gradient, gradient), 1.0 - beta))
        scale = Add()(Sqrt()(squares), shortest(node.epsilon))
        own, steps = rate.cast(x.dtype), count.cast(x.dtype)
        rest_a, rest_b = (Sub()(1.0, Pow()(node.graph.constant(n, x.dtype), steps)) for n in (alpha, beta))
        corrected = Div()(Mul()(own, Sqrt()(rest_b)), rest_a)
        own = Where()(Greater()(count, 0), corrected, own)
        x = Sub()(x, Mul()(Div()(mean, scale), own))
        kept = 1.0 - shortest(node.norm_coefficient_post)
        return x if kept == 1.0 else Mul()(x, kept), mean, squares

    return _each(operands, 2, step)
