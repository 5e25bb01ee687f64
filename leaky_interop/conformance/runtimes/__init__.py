"""The runtimes: a file each, with two functions. It imports numpy and its own framework, nothing of this package.

    def describe() -> dict:
        # {"name": "onnxruntime", "version": "1.32.0",
        #  "variants": ["disable", "all"],       ways of running; at least one
        #  "dtypes": ["float16", "float32"],     what is worth asking: float16, bfloat16, float32, float64, int32
        #  "operators": ["leaky_relu", "prelu"],
        #  "placements": ["alone", "conv", "max_pool", "quantised"],
        #  "default": 0.01,                      the documented slope when it is left out; None: it has to be given
        #  "held": {"float16": "float32"},       the precision of the slope that it claims: float32, type or float64
        #  "gradients": True,
        #  "narrower": {"all": {"placements": ["alone"]}}}   optional: what is different for a variant
        #  "costly": True}                       optional: every job is compiled, so ask the small selection of cases.py

    def run(job: dict, arrays: dict) -> dict:
        # job: {"variant", "operator", "dtype", "placement", "slope": float or None (left out), "gradient": bool}
        # Returns {"y": array}, with gradient also {"dx": array} (and "dslope", shape (1,), for prelu): the gradient of
        # sum(y). Raises anything where the runtime refuses; the message is kept.

Layout is channels first everywhere. The arrays of each placement:

* alone: x of rank 0 to 5, perhaps empty. y = leaky(x).
* conv: x (1, 1, h, w), w (16, 1, 1, 1) of ones. y = leaky(conv(x, w)), shape (1, 16, h, w), w a constant of the network.
  No bias, or one of zeros where the runtime only fuses with one.
* max_pool: x (1, 1, h, w), h and w even. y = max_pool(leaky(x)), window 2 x 2, stride 2, no padding.
* quantised (float32 only): x (1, 1, h, w) and 0-d arrays x_scale, y_scale (float32), x_zero_point, y_zero_point (int8).
  "quantised uint8" and "quantised int16" are the same with zero points of those types; of int16 both are 0.
  y = dequantise(quantise(leaky(dequantise(quantise(x))))), float32; the runtime may fuse that into an int8 kernel.
* prelu, in every placement, has slope: an array (1,) of x's dtype; job["slope"] is then the number it was made of.

bfloat16 arrays are ml_dtypes.bfloat16 where that is installed, else their bits as uint16; either may be returned.

What several files need stands in `shared/`, which is on the path of the worker: `from one_node import onnx_model`.
Every other file of this folder is a runtime.

A file may also define, as literals that are read without importing it:

    ENVIRONMENT = {"python": "3.11", "packages": ["jax==0.10.2"]}  # an interpreter of its own; see environments.py
    RUNTIMES = {"keras_numpy": {"variables": {"KERAS_BACKEND": "numpy"}}, ...}  # one file that is several runtimes:
        # each with its environment variables and, where it needs one, its own "environment"
"""
