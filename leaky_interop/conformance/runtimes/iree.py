"""IREE on ONNX models, through the ONNX dialect of torch-mlir, compiled for this CPU. A compilation takes seconds."""

import importlib.metadata
import tempfile
from pathlib import Path

import onnx
from iree import runtime
from iree.compiler import ir
from iree.compiler.api import Output, Session, Source
from iree.compiler.extras import onnx_importer
from one_node import onnx_model

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
        "operators": ["leaky_relu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float16": "type", "float32": "float32", "float64": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    config = runtime.Config("local-sync")
    binary = _compiled(_imported(onnx_model(job, arrays)))
    module = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, binary), config)
    return {"y": module["job"](arrays["x"]).to_host()}


def _imported(model):
    """The text of an ONNX model in MLIR."""
    info = onnx_importer.ModelInfo(onnx.shape_inference.infer_shapes(model))
    module = info.create_module(context=ir.Context())
    onnx_importer.NodeImporter.define_function(info.main_graph, module.operation).import_all()
    return str(module)


def _compiled(text):
    session = Session()
    session.set_flags("--iree-input-type=onnx", "--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host")
    invocation = session.invocation()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.mlir"
        file.write_text(text)
        read = invocation.parse_source(Source.open_file(session, str(file)))
        if not read or not invocation.execute():
            raise RuntimeError("IREE does not compile this network")
    output = Output.open_membuffer()
    invocation.output_vm_bytecode(output)
    return bytes(output.map_memory())
