"""ncnn: layer ReLU with `0=slope`, layer PReLU with its slope as data, from a text param and raw weights in memory."""

import tempfile
from pathlib import Path

import ncnn
import numpy as np

ENVIRONMENT = {"python": "3.11", "packages": ["ncnn==1.0.20261020", "ml_dtypes==0.6.0"]}


def describe():
    return {
        "name": "ncnn",
        "version": ncnn.__version__,
        "variants": ["default"],
        "dtypes": ["bfloat16", "float32"],  # its bfloat16 is a way to store float32
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.0,
        "held": {"bfloat16": "float32", "float32": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    given, arrays = arrays["x"].dtype, {name: array.astype(np.float32) for name, array in arrays.items()}
    x = arrays["x"]
    layers, weights = [], []
    if job["placement"] == "conv":
        size = arrays["w"].size
        layers.append(f"Convolution conv 1 1 @ @ 0={len(arrays['w'])} 1=1 5=0 6={size}")
        weights.append(np.zeros(1, np.int32).tobytes() + arrays["w"].tobytes())  # a tag: float32 follows
    if job["operator"] == "prelu":
        layers.append("PReLU prelu 1 1 @ @ 0=1")
        weights.append(arrays["slope"].tobytes())
    else:
        layers.append("ReLU relu 1 1 @ @" + ("" if job["slope"] is None else f" 0={job['slope']:.9e}"))
    if job["placement"] == "max_pool":
        layers.append("Pooling pool 1 1 @ @ 0=0 1=2 2=2")
    lines = [line.replace("@", f"b{i}", 1).replace("@", f"b{i + 1}") for i, line in enumerate(layers)]
    text = "\n".join(["7767517", f"{len(lines) + 1} {len(lines) + 1}", "Input in 0 1 b0", *lines, ""])

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    net.opt.use_bf16_storage = job["dtype"] == "bfloat16"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.param").write_text(text)
        (Path(folder) / "net.bin").write_bytes(b"".join(weights))
        if net.load_param(f"{folder}/net.param") or net.load_model(f"{folder}/net.bin"):
            raise RuntimeError(f"ncnn does not load this network: {text}")
    body = x[0] if job["placement"] != "alone" else x  # a Mat has no batch
    extractor = net.create_extractor()
    extractor.input("b0", ncnn.Mat(np.ascontiguousarray(body)).clone())  # else it works in place, in memory of numpy
    code, y = extractor.extract(f"b{len(lines)}")
    if code:
        raise RuntimeError(f"ncnn ended with code {code}")
    y = np.array(y).astype(given)
    return {"y": y[None] if job["placement"] != "alone" else y.reshape(x.shape)}  # a Mat has no rank 0 either
