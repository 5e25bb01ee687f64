"""`python -m benchmarks.large`: how much memory a model of 3 GB takes on its way, its weights in a file beside it.

ONNX to ONNX, and ONNX to PyTorch to ONNX, each in a process of its own that has imported the frameworks: the most resident
memory (anonymous and mapped from files) from then on, in sizes of the weights. Nothing is verified.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TARGETS = {"onnx": 1.3, "torch": 2.3}  # at most, in sizes of the weights
WIDTH = 8192  # one layer's weights are a quarter of a gigabyte


def build(path: Path, layers: int) -> int:
    """Write a chain of layers, and return the bytes of its weights, none of which is ever in memory with another."""
    import onnx
    from onnx import TensorProto, helper

    weights, nodes, size = [], [], 4 * WIDTH * WIDTH
    random = np.random.default_rng(0)
    with path.with_suffix(".data").open("wb") as handle:
        for i in range(layers):
            handle.write((random.standard_normal((WIDTH, WIDTH), np.float32) / 100).tobytes())
            weight = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=(WIDTH, WIDTH))
            weight.data_location = TensorProto.EXTERNAL
            for key, text in (("location", f"{path.stem}.data"), ("offset", str(i * size)), ("length", str(size))):
                weight.external_data.add(key=key, value=text)
            weights.append(weight)
            nodes += [
                helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"y{i}"], name=f"dense{i}"),
                helper.make_node("LeakyRelu", [f"y{i}"], [f"x{i + 1}"], name=f"leaky{i}", alpha=0.2),
            ]
    ports = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["n", WIDTH]) for i in (0, layers)]
    graph = helper.make_graph(nodes, "large", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return layers * size


def convert(source: Path, target: Path, through: str) -> None:
    """Print the bytes that this process came to hold beyond what it held before, and the seconds."""
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401

    import leaky_interop as li
    from leaky_interop.speed import memory

    li.support()  # imports every adapter
    before, start = memory.resident(), time.perf_counter()
    memory.reset_peak()
    model = li.convert(source, to="torch") if through == "torch" else source
    li.convert(model, target, verify=False)
    print(memory.peak() - before, time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--layers", type=int, default=12, help="each has 0.25 GB of weights")
    parser.add_argument("--through", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.through:
        convert(*options.files, options.through)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "large.onnx"
        size = build(source, options.layers)
        for through, limit in TARGETS.items():
            command = [sys.executable, "-m", "benchmarks.large", "--through", through, str(source)]
            target = Path(folder) / through / "made.onnx"
            target.parent.mkdir()
            done = subprocess.run([*command, str(target)], stdout=subprocess.PIPE, text=True, check=True)
            held, seconds = map(float, done.stdout.split()[-2:])
            way = "ONNX to ONNX" if through == "onnx" else "ONNX to PyTorch to ONNX"
            verdict = "" if held / size <= limit else ": missed"
            print(f"{way}: {held / size:.2f} of {size / 2**30:.2f} GiB, at most {limit}{verdict}; {seconds:.0f} s")
            for path in target.parent.iterdir():
                path.unlink()


if __name__ == "__main__":
    main()
