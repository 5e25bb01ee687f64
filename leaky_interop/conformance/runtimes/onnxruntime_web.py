"""onnxruntime-web: ONNX models in WebAssembly, in Node.js. pip cannot install it: npm puts it beside this interpreter."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from one_node import onnx_model

ENVIRONMENT = {"python": "3.11", "packages": ["onnx==1.23.2"]}
WANTED = "onnxruntime-web@1.30.0"
PACKAGE = Path(sys.prefix) / "node_modules" / "onnxruntime-web" / "package.json"
if not PACKAGE.exists():
    raise ImportError(f"it is a package of npm: npm install --prefix {sys.prefix} {WANTED}")
PROGRAM = """
import ort from "onnxruntime-web";
import { readFileSync, writeFileSync } from "node:fs";

ort.env.wasm.numThreads = 1;
const [folder, shape] = process.argv.slice(-2);
const options = { executionProviders: ["wasm"] };
const session = await ort.InferenceSession.create(readFileSync(folder + "/job.onnx"), options);
const x = new Float32Array(new Uint8Array(readFileSync(folder + "/x")).buffer);
const { y } = await session.run({ x: new ort.Tensor("float32", x, JSON.parse(shape)) });
writeFileSync(folder + "/y", new Uint8Array(y.data.buffer, y.data.byteOffset, y.data.byteLength));
writeFileSync(folder + "/shape", JSON.stringify(y.dims));
"""


def describe():
    return {
        "name": "onnxruntime_web",
        "version": json.loads(PACKAGE.read_text())["version"],
        "variants": ["wasm"],
        "dtypes": ["float32"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float32": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.onnx").write_bytes(onnx_model(job, arrays).SerializeToString())
        (folder / "x").write_bytes(arrays["x"].tobytes())
        command = ["node", "--input-type=module", "-e", PROGRAM, "--", name, json.dumps(arrays["x"].shape)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=sys.prefix
        )  # imports are resolved from there
        if done.returncode:
            raise RuntimeError(done.stderr)
        shape = json.loads((folder / "shape").read_text())
        return {"y": np.frombuffer((folder / "y").read_bytes(), np.float32).reshape(shape)}
