"""`python -m benchmarks.keras_latency`: CNNs of PyTorch converted to Keras, their latency beside PyTorch's own.

Each network and backend in a process of its own: batch 1, one thread, medians of interleaved runs. On both backends the Keras
network runs as its users run it, by `predict_on_batch`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from benchmarks import measuring, networks

NETWORKS = ("ResNet50", "DenseNet121", "MobileNetV3-large", "resnet", "mobilenet_v2")
BACKENDS = ("tensorflow", "torch")
TARGET = 1.15  # times PyTorch, at most


def compare(name: str, runs: int) -> tuple[float, list[float]]:
    """Seconds of PyTorch, and of the network converted to Keras, as it is and with its batch norms folded."""
    import torch

    import leaky_interop as li
    from benchmarks.worker import _call, _laid_out

    torch.set_num_threads(1)
    subject = networks.get(name)
    network, arrays = networks.form(subject, "torch"), networks.arrays(subject, "torch")
    calls = [_call(network, arrays)]
    for fold in (False, True):
        made = li.convert(network, "keras", io="native", example=tuple(arrays), fold_batch_norm=fold)
        given = [_laid_out(a, tuple(i.shape)[1:]) for a, i in zip(arrays, made.inputs, strict=True)]
        calls.append(_call(made, given))
    own, *converted = measuring.interleaved(calls, runs)
    return own, converted


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keras_latency", description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=NETWORKS, help="only this network; repeatable"
    )
    parser.add_argument("--runs", type=int, default=30, help="runs of each (30)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        own, converted = compare(options.only[0], options.runs)
        texts = (f"{seconds / own:.2f}{'' if seconds / own <= TARGET else ' (missed)'}" for seconds in converted)
        print(
            f"{options.only[0]}: PyTorch {own * 1e3:.1f} ms; Keras on {os.environ['KERAS_BACKEND']}", *texts, sep=", "
        )
        return
    print(f"Times PyTorch, at most {TARGET}: as it is, and with batch norms folded", flush=True)
    for name in options.only or NETWORKS:
        for backend in BACKENDS:
            environment = {
                **os.environ,
                "KERAS_BACKEND": backend,
                "TF_NUM_INTRAOP_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            }
            command = [
                sys.executable,
                "-m",
                "benchmarks.keras_latency",
                "--here",
                "--only",
                name,
                "--runs",
                str(options.runs),
            ]
            subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
