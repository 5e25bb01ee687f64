"""What Keras computes in 32 bits although 64 go in: much of keras.ops, on every backend but TensorFlow."""

from typing import Any

import numpy as np

IN_32_BITS = dict.fromkeys(("keras/torch", "keras/jax"), "Keras computes it in float32")  # what cases say of it


def in_32_bits(keras: Any, dtype: np.dtype) -> bool:
    """Whether Keras' backend at hand knows no wider numbers than 32 bits for this dtype."""
    return dtype.itemsize == 8 and keras.backend.result_type(dtype.name) != dtype.name


def extreme(keras: Any, function: str, x: Any, y: Any) -> Any:
    """The "maximum" or "minimum" of two numbers, of integers in all their bits."""
    dtype = keras.outputs[0].dtype
    if dtype.kind not in "iu" or not in_32_bits(keras, dtype):
        return getattr(keras.ops, function)(x, y)
    return keras.ops.where((keras.ops.greater if function == "maximum" else keras.ops.less)(x, y), x, y)


def whole_quotient(keras: Any) -> None:
    """Refuse to divide 64-bit integers where Keras would do it in 32 bits."""
    if in_32_bits(keras, keras.outputs[0].dtype) and keras.outputs[0].dtype.kind in "iu":
        raise keras.refuse(
            f"a division in {keras.outputs[0].dtype}",
            why=f"Keras computes it in 32 bits on the {keras.backend.backend()} backend",
            instead="Set KERAS_BACKEND=tensorflow, or divide in int32",
        )


def floats_only(keras: Any, what: str) -> None:
    """Refuse integers where Keras' backends have no kernel for them, or round otherwise than each other."""
    if keras.inputs[0].dtype.kind in "iu":
        raise keras.refuse(
            f"{what} in {keras.inputs[0].dtype}",
            why="Keras' backends compute it in floats only",
            instead="Cast the data to a floating dtype",
        )


def exact_in_keras(keras: Any, what: str) -> None:
    """Refuse an operator in float64 where Keras would compute it in float32."""
    if keras.inputs[0].dtype == np.float64 and in_32_bits(keras, keras.inputs[0].dtype):
        raise keras.refuse(
            f"{what} in float64",
            why=f"Keras computes it in float32 on the {keras.backend.backend()} backend",
            instead="Set KERAS_BACKEND=tensorflow",
        )


def product_in_keras(keras: Any, a: Any, b: Any) -> Any:
    """A matrix product; of integers, which TensorFlow's backend multiplies in float32, as sums of products."""
    if keras.outputs[0].dtype.kind not in "iu":
        return keras.ops.matmul(a, b)
    b = keras.ops.expand_dims(b, -3) if len(a.shape) > 1 else b
    products = keras.ops.multiply(keras.ops.expand_dims(a, -1), b)
    return keras.ops.sum(products, axis=-2)
