"""coremltools on PyTorch modules. Its models run on macOS alone: the result is computed from the slope that it writes."""

import importlib

import answers
import from_torch
import numpy as np
import torch

ENVIRONMENT = {"python": "3.11", "packages": ["coremltools==9.0", "torch==2.13.0", "numpy==2.4.6"]}


def tool():
    """The package of the same name as this file, which is loaded by its path."""
    return importlib.import_module("coremltools")


def describe():
    variants = ["mlprogram in float32", "mlprogram in float16"]
    return {
        "name": "coremltools",
        "version": tool().__version__,
        "variants": variants,
        "dtypes": ["float32"],
        "spellings": dict.fromkeys(variants, from_torch.SPELLINGS),
        "defaults": dict.fromkeys(variants, from_torch.DEFAULTS),
    }


def run(job, arrays):
    ct, x = tool(), arrays["x"]

    def export(module):
        traced = torch.jit.trace(module, torch.zeros(1, x.size))
        precision = ct.precision.FLOAT32 if job["variant"].endswith("32") else ct.precision.FLOAT16
        made = ct.convert(
            traced, inputs=[ct.TensorType(shape=(1, x.size))], convert_to="mlprogram", compute_precision=precision,
            skip_model_load=True,
        )  # fmt: skip
        return made._mil_program.functions["main"].operations

    def target(operations, x):
        (op,) = [o for o in operations if o.op_type in ("leaky_relu", "prelu")]
        with np.errstate(all="ignore"):
            return np.where(x >= 0, x, np.asarray(op.alpha.val).reshape(-1)[0].astype(x.dtype) * x)

    def form(operations):
        return " ".join(o.op_type for o in operations if o.op_type not in ("const", "cast"))

    return answers.answer(job, x, from_torch, export, target, form)
