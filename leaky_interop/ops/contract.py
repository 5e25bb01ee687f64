"""Applying a constant matrix along one axis: how a separable linear map is written where no operator does it.

Used by pooling and resizing. The matrix is (out, in); the axis is brought to the last place but one by merging what
follows it, never by moving data.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Dim, Shape, product


def contract(x: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """The definition."""
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)


def along(
    x: Any,
    shape: Shape,
    axis: int,
    matrix: np.ndarray,
    held: Callable[[np.ndarray], Any],
    matmul: Callable[[Any, Any], Any],
    reshape: Callable[[Any, tuple[Dim, ...]], Any],
) -> Any:
    """`contract` in a framework's own words: how it holds a constant, multiplies matrices and reshapes."""
    behind = shape[axis + 1 :]
    if not behind:
        return matmul(x, held(np.ascontiguousarray(matrix.T)))
    if len(behind) == 1:
        return matmul(held(matrix), x)
    merged = reshape(x, (*shape[: axis + 1], product(behind)))
    return reshape(matmul(held(matrix), merged), (*shape[:axis], matrix.shape[0], *behind))


def along_each(fw: Any, x: Any, matrices: dict[int, np.ndarray]) -> Any:
    """Matrices along several axes of a channels-first value, in torch or ONNX; the exporter's own first operand."""
    torch = fw.framework == "torch"

    def held(matrix: np.ndarray) -> Any:
        return fw.tensor(fw.graph.constant(matrix.astype(fw.inputs[0].dtype)))

    def matmul(a: Any, b: Any) -> Any:
        return fw.matmul(a, b) if torch else fw.MatMul(a, b)

    def reshape(y: Any, dims: tuple[Dim, ...]) -> Any:
        return y.reshape(fw.shape(dims)) if torch else fw.Reshape(y, fw.shape(dims))

    return _each(x, fw.inputs[0].shape, matrices, held, matmul, reshape)


def in_keras(axis: int, rank: int) -> int:
    """Where an axis of channels-first data stands in channels-last data."""
    return {0: 0, 1: rank - 1}.get(axis, axis - 1)


def along_each_in_keras(keras: Any, x: Any, matrices: dict[int, np.ndarray]) -> Any:
    """The same of a channels-last value; axes are still those of channels-first data."""
    port = keras.inputs[0]
    shape = (port.shape[0], *port.shape[2:], port.shape[1])

    def held(matrix: np.ndarray) -> Any:
        return keras.tensor(keras.graph.constant(matrix.astype(port.dtype)))

    def reshape(y: Any, dims: tuple[Dim, ...]) -> Any:
        return keras.ops.reshape(y, keras.static_shape(dims))

    moved = {in_keras(axis, len(shape)): matrix for axis, matrix in matrices.items()}
    return _each(x, shape, moved, held, keras.ops.matmul, reshape)


def _each(x: Any, shape: Shape, matrices: dict[int, np.ndarray], *how: Callable[..., Any]) -> Any:
    for axis, matrix in matrices.items():
        x = along(x, shape, axis, matrix, *how)
        shape = (*shape[:axis], matrix.shape[0], *shape[axis + 1 :])
    return x
