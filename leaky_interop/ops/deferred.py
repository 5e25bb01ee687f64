"""How frameworks write operators whose numbers the network computes.

| framework | how                                                                                                  |
|-----------|------------------------------------------------------------------------------------------------------|
| torch     | the numbers are read from their tensor, `axes.tolist()`; rows in deferred_axes.py, _sizes, _resize   |
| onnx      | the operator as it was, the numbers as operands                                                      |
| keras     | by places that are found and taken: deferred_keras.py, deferred_keras_longer.py; the rest is refused |
"""

from collections.abc import Callable
from typing import Any

from ..deferring import ROWS, Deferred
from ..op import exports


@exports("torch", Deferred)
def deferred_to_torch(op, torch, *operands):
    return ROWS[op.kind].torch(op, torch, *operands)


@exports("onnx", Deferred)
def deferred_to_onnx(op, onnx, *operands):
    known = onnx.takes(op.kind, onnx.inputs)
    attributes = {k: v for k, v in op.settings if k in known or k not in onnx.node.left_out}
    if not attributes.keys() <= known:
        lacking = ", ".join(sorted(attributes.keys() - known))
        raise onnx.refuse(f"{op.kind} with {lacking}", why=f"opset {onnx.opset} has no such attribute", instead="Write a newer opset")
    return onnx.write(op.kind, operands, outputs=len(op.results), **attributes)


IN_KERAS: dict[str, Callable[..., Any]] = {}  # by kind: how Keras says it, where it can


@exports("keras", Deferred)
def deferred_to_keras(op, keras, *operands):
    compiled = keras.backend.backend() == "jax"
    if op.kind not in IN_KERAS or compiled:
        raise keras.refuse(
            f"{op.kind} with numbers that the network computes",
            why="JAX compiles no result of unknown size" if compiled else "Keras fixes shapes and axes when a layer is made",
            instead="Make constants of them: initializers of the ONNX model",
        )
    return IN_KERAS[op.kind](op, keras, *operands)


def listed(torch: Any, position: int) -> Any:
    """In torch, the numbers of an operand as a list: Python ints where they are known, otherwise read from the tensor."""
    value = torch.node.inputs[position]
    content = value.content()
    if content is None:
        tensor = torch.tensor(value)
        return (tensor if value.rank == 1 else tensor.reshape(-1)).tolist()
    return [torch.size(n) for n in (content if isinstance(content, tuple) else (content,))]


def single(torch: Any, position: int) -> Any:
    """In torch, the only number of an operand."""
    content = torch.node.inputs[position].content()
    if content is None:
        return torch.tensor(torch.node.inputs[position]).item()
    return torch.size(content[0] if isinstance(content, tuple) else content)


def entries(torch: Any, position: int) -> list[Any]:
    """In torch, the numbers of an operand of known length, one by one."""
    (length,) = torch.node.inputs[position].shape or (1,)
    numbers = listed(torch, position)
    return numbers if isinstance(numbers, list) else [numbers[i] for i in range(length)]
