"""What Keras computes in float32 although float64 goes in: most of keras.ops, on every backend but TensorFlow."""

from typing import Any

import numpy as np

IN_32_BITS = dict.fromkeys(("keras/torch", "keras/jax"), "Keras computes it in float32")  # what cases say of it


def exact_in_keras(keras: Any, what: str) -> None:
    """Refuse an operator in float64 where Keras would compute it in float32."""
    if keras.inputs[0].dtype == np.float64 and keras.backend.result_type("float64", "float64") != "float64":
        raise keras.refuse(
            f"{what} in float64",
            why=f"Keras computes it in float32 on the {keras.backend.backend()} backend",
            instead="Set KERAS_BACKEND=tensorflow",
        )
