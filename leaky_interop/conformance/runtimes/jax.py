"""JAX: `jax.nn.leaky_relu`, and Flax, whose two functions of that name are expected to be the same one."""

import jax
import jax.numpy as jnp
import numpy as np

ENVIRONMENT = {"python": "3.11", "packages": ["jax==0.10.2", "flax==0.12.8"]}
DTYPES = ["float16", "bfloat16", "float32", "float64"]

jax.config.update("jax_enable_x64", True)  # without it float64 silently becomes float32


def describe():
    return {
        "name": "jax",
        "version": jax.__version__,
        "variants": ["eager", "jit", "flax"],
        "dtypes": DTYPES,
        "operators": ["leaky_relu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": dict.fromkeys(DTYPES, "type"),  # a weakly typed Python float
        "gradients": True,
    }


def run(job, arrays):
    if job["variant"] == "flax":
        import flax

        leaky_relu = flax.linen.leaky_relu
    else:
        leaky_relu = jax.nn.leaky_relu
    slope = () if job["slope"] is None else (job["slope"],)

    def function(x):
        if job["placement"] == "conv":
            x = jax.lax.conv(x, jnp.asarray(arrays["w"]), (1, 1), "VALID")
        y = leaky_relu(x, *slope)
        if job["placement"] == "max_pool":
            y = jax.lax.reduce_window(y, jnp.array(-jnp.inf, y.dtype), jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return y

    wrap = jax.jit if job["variant"] == "jit" else lambda f: f
    x = jnp.asarray(arrays["x"])
    result = {"y": np.asarray(wrap(function)(x))}
    if job["gradient"]:
        result["dx"] = np.asarray(wrap(jax.grad(lambda x: function(x).sum()))(x))
    return result
