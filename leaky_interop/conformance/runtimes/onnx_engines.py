"""Engines that read ONNX files, each a runtime of its own in an environment of its own; ENGINE tells them apart.

openvino: the CPU plugin; its frontend makes PRelu of LeakyRelu, the only form that OpenVINO has.
opencv: the DNN module, two implementations of it; float32 inside, whatever the type of the network.
tract, mnn: as they optimise by default.
iree: MLIR's ONNX dialect, compiled for the CPU.
onnxruntime_web: WebAssembly in Node.js, which pip cannot install; it is looked for in the environment's node_modules.
"""

import functools
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper

RUNTIMES = {
    "openvino": {
        "variables": {"ENGINE": "openvino"},
        "environment": {"python": "3.11", "packages": ["openvino==2026.4.1", "onnx==1.23.2", "ml_dtypes==0.6.0"]},
    },
    "opencv": {
        "variables": {"ENGINE": "opencv"},
        "environment": {"python": "3.11", "packages": ["opencv-python-headless==5.0.0.93", "onnx==1.23.2"]},
    },
    "tract": {
        "variables": {"ENGINE": "tract"},
        "environment": {"python": "3.11", "packages": ["tract==0.23.9", "onnx==1.23.2"]},
    },
    "mnn": {
        "variables": {"ENGINE": "mnn"},
        "environment": {"python": "3.11", "packages": ["MNN==3.6.1", "onnx==1.23.2"]},
    },
    "iree": {
        "variables": {"ENGINE": "iree"},
        "environment": {
            "python": "3.11",
            "packages": ["iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0", "onnx==1.23.2"],
        },
    },
    "onnxruntime_web": {
        "variables": {"ENGINE": "onnxruntime_web"},
        "environment": {"python": "3.11", "packages": ["onnx==1.23.2"]},
    },
}
# of each: its distribution, its variants, its types with the precision of the slope, and its placements
ABOUT = {
    "openvino": (
        "openvino",
        ["cpu"],
        {"float16": "type", "bfloat16": "type", "float32": "float32", "float64": "float32"},
        ["alone", "conv", "max_pool", "quantised"],
    ),
    "opencv": (
        "opencv-python-headless",
        ["classic", "new"],
        {"float32": "float32", "float64": "float32"},
        ["alone", "conv", "max_pool", "quantised"],
    ),
    "tract": (
        "tract",
        ["default"],
        {"float16": "type", "float32": "float32", "float64": "float32"},
        ["alone", "conv", "max_pool", "quantised"],
    ),
    "mnn": ("MNN", ["default"], {"float32": "float32"}, ["alone", "conv", "max_pool", "quantised"]),
    "iree": (
        "iree-base-compiler",
        ["llvm-cpu"],
        {"float16": "type", "float32": "float32", "float64": "float32"},
        ["alone", "conv", "max_pool", "quantised"],
    ),
    "onnxruntime_web": ("", ["wasm"], {"float32": "float32"}, ["alone", "conv", "max_pool", "quantised"]),
}
ENGINE = os.environ["ENGINE"]


def describe():
    distribution, variants, held, placements = ABOUT[ENGINE]
    return {
        "name": ENGINE,
        "version": importlib.metadata.version(distribution) if distribution else web_version(),
        "variants": variants,
        "dtypes": list(held),
        "operators": ["leaky_relu", "prelu"],
        "placements": placements,
        "default": 0.009999999776482582,
        "held": held,
        "gradients": False,
    }


def run(job, arrays):
    return {"y": globals()[ENGINE](job, onnx_model(job, arrays).SerializeToString(), arrays["x"])}


def onnx_model(job, arrays, opset=16):
    """The placement of a job as a model: input "x", output "y", shapes fixed. Opset 16 is the first with bfloat16."""
    constants, nodes = {}, []

    def add(kind, *names, **attributes):
        """One more node: it reads what the last one computed, then these constants."""
        constants.update({name: arrays[name] for name in names})
        source = nodes[-1].output[0] if nodes else "x"
        nodes.append(helper.make_node(kind, [source, *names], [f"t{len(nodes)}"], name=f"n{len(nodes)}", **attributes))

    def quantise(side):
        add("QuantizeLinear", f"{side}_scale", f"{side}_zero_point")
        add("DequantizeLinear", f"{side}_scale", f"{side}_zero_point")

    x, placement = arrays["x"], job["placement"]
    shape = list(x.shape)
    if placement == "conv":
        add("Conv", "w", kernel_shape=list(arrays["w"].shape[2:]))
        shape[1] = len(arrays["w"])
    if placement == "quantised":
        quantise("x")
    if job["operator"] == "prelu":
        add("PRelu", "slope")
    else:
        add("LeakyRelu", **({} if job["slope"] is None else {"alpha": job["slope"]}))
    if placement == "max_pool":
        add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        shape[2:] = [n // 2 for n in shape[2:]]
    if placement == "quantised":
        quantise("y")
    nodes[-1].output[0] = "y"
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes,
        "job",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def openvino(job, model, x):
    import openvino as ov

    def tensor(array):
        """Shares its memory. The Python API has no arrays of bfloat16, but takes their bits."""
        if job["dtype"] == "bfloat16":
            return ov.Tensor(array.view(np.uint16), array.shape, ov.Type.bf16)
        return ov.Tensor(array, shared_memory=True)

    core = ov.Core()
    # without the hint, the plugin may choose bfloat16 for a float32 network
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(core.read_model(model), "CPU", config).create_infer_request()
    y = np.empty(list(request.model_outputs[0].shape), x.dtype)
    request.set_tensor("x", tensor(x))
    request.set_tensor("y", tensor(y))
    request.infer()
    return y


def opencv(job, model, x):
    import cv2

    engine = {"classic": cv2.dnn.ENGINE_CLASSIC, "new": cv2.dnn.ENGINE_NEW}[job["variant"]]
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8), engine)
    net.setInput(x, "x")
    return net.forward()


def tract(job, model, x):
    import tract as engine

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.onnx"
        file.write_bytes(model)
        runnable = engine.onnx().load(file).into_model().into_runnable()
    return runnable.run([x])[0].to_numpy()


def mnn(job, model, x):
    import _tools  # the converter itself: MNN.tools, which wraps it, would install a package for telemetry
    import MNN

    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "job.onnx", Path(folder) / "job.mnn"
        source.write_bytes(model)
        _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(made), "--bizCode", "job"])
        net = MNN.nn.load_module_from_file(str(made), ["x"], ["y"])
    given = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW)
    given.write(x)
    return np.array(MNN.expr.convert(net.onForward([given])[0], MNN.expr.NCHW).read())


def iree(job, model, x):
    from iree import compiler, runtime

    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "job.onnx", Path(folder) / "job.mlir"
        source.write_bytes(model)
        command = [sys.executable, "-m", "iree.compiler.tools.import_onnx", str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        binary = compiler.compile_str(
            made.read_text(),
            target_backends=["llvm-cpu"],
            input_type="onnx",
            extra_args=["--iree-llvmcpu-target-cpu=host"],
        )
    config = runtime.Config("local-sync")
    module = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, binary), config)
    return module["job"](x).to_host()


def onnxruntime_web(job, model, x):
    program = """
        import ort from "onnxruntime-web";
        import { readFileSync, writeFileSync } from "node:fs";
        ort.env.wasm.numThreads = 1;
        const [folder, shape] = process.argv.slice(-2);
        const session = await ort.InferenceSession.create(readFileSync(folder + "/job.onnx"), { executionProviders: ["wasm"] });
        const bytes = readFileSync(folder + "/x");
        const x = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
        const { y } = await session.run({ x: new ort.Tensor("float32", x, JSON.parse(shape)) });
        writeFileSync(folder + "/y", new Uint8Array(y.data.buffer, y.data.byteOffset, y.data.byteLength));
        writeFileSync(folder + "/shape", JSON.stringify(y.dims));
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.onnx").write_bytes(model)
        (folder / "x").write_bytes(x.tobytes())
        command = ["node", "--input-type=module", "-e", program, "--", name, json.dumps(x.shape)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=sys.prefix)  # its node_modules are found so
        if done.returncode:
            raise RuntimeError(done.stderr)
        return np.frombuffer((folder / "y").read_bytes(), x.dtype).reshape(json.loads((folder / "shape").read_text()))


@functools.cache
def web_version():
    package = Path(sys.prefix) / "node_modules" / "onnxruntime-web" / "package.json"
    if not package.exists():
        raise ImportError(f"it is a package of npm: npm install --prefix {sys.prefix} onnxruntime-web@1.30.0")
    return json.loads(package.read_text())["version"]
