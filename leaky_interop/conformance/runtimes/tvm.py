"""TVM: Relax's operators `nn.leakyrelu` and `nn.prelu`, compiled by LLVM for this CPU."""

import numpy as np
import tvm
from tvm import relax

ENVIRONMENT = {"python": "3.11", "packages": ["apache-tvm==0.27.0"]}


def describe():
    return {
        "name": "tvm",
        "version": tvm.__version__,
        "variants": ["llvm"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": {"float16": "type", "float32": "float32", "float64": "float64"},
        "gradients": False,
    }


def run(job, arrays):
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(arrays["x"].shape, job["dtype"]))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = x
            if job["placement"] == "conv":
                y = builder.emit(relax.op.nn.conv2d(y, relax.const(arrays["w"], job["dtype"])))
            if job["operator"] == "prelu":
                slope = relax.op.broadcast_to(relax.const(arrays["slope"], job["dtype"]), arrays["x"].shape[:1])
                y = builder.emit(relax.op.nn.prelu(y, builder.emit(slope), axis=0))
            else:
                y = builder.emit(relax.op.nn.leakyrelu(y, *([] if job["slope"] is None else [job["slope"]])))
            if job["placement"] == "max_pool":
                y = builder.emit(relax.op.nn.max_pool2d(y, (2, 2), (2, 2)))
            y = builder.emit_output(y)
        builder.emit_func_output(y)
    machine = relax.VirtualMachine(tvm.compile(builder.get(), target="llvm"), tvm.cpu())
    return {"y": np.array(machine["main"](tvm.runtime.tensor(arrays["x"])).numpy())}
