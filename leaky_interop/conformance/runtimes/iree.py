"""IREE on ONNX models, through the ONNX dialect of torch-mlir, compiled for the CPU."""

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

from iree import compiler, runtime
from onnx_model import onnx_model

ENVIRONMENT = {
    "python": "3.11",
    "packages": ["iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0", "onnx==1.23.2"],
}


def describe():
    return {
        "name": "iree",
        "version": importlib.metadata.version("iree-base-compiler"),
        "variants": ["llvm-cpu"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float16": "type", "float32": "float32", "float64": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    with tempfile.TemporaryDirectory() as folder:
        onnx, mlir = Path(folder) / "job.onnx", Path(folder) / "job.mlir"
        onnx.write_bytes(onnx_model(job, arrays).SerializeToString())
        command = [sys.executable, "-m", "iree.compiler.tools.import_onnx", str(onnx), "-o", str(mlir)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        text = mlir.read_text()
    options = {"target_backends": ["llvm-cpu"], "input_type": "onnx", "extra_args": ["--iree-llvmcpu-target-cpu=host"]}
    binary = compiler.compile_str(text, **options)
    config = runtime.Config("local-sync")
    module = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, binary), config)
    return {"y": module["job"](arrays["x"]).to_host()}
