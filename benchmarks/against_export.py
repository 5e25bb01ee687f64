"""PyTorch to ONNX beside torch.onnx.export, turn by turn in one process: `python -m benchmarks.against_export ResNet50`.

Prints, for each network, the processor seconds that both take, how many times faster this project is, the latency of its
file in those of the other's, how many nodes both have and of which kinds the numbers differ. Batch norms are folded, as
the other does. Without names, the networks for which there are targets; any PyTorch family of the tests has a name too.
Ratios hold on a machine that does other things too; seconds do not.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

from benchmarks import measuring, networks
from benchmarks.converters import OURS, TORCH_ONNX, converter, direction
from benchmarks.worker import onnx_latency, warm_up

FAMILIES = ("vit", "convnext_torchvision", "unet", "swin_v2", "nfnet", "Encoder", "LSTM tagger")
NETWORKS = ("ResNet50", "MobileNetV3-large", "DenseNet121", "Swin-T", *FAMILIES)
PEER = "torch.onnx.export"
ROUNDS, RUNS = 3, 30


def main(names: list[str]) -> None:
    """Print a line for each network, and the nodes that only one of the two files has."""
    import numpy as np
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folded = functools.partial(converter(OURS, TORCH_ONNX).convert, fold_batch_norm=True)
    used = [dataclasses.replace(converter(OURS, TORCH_ONNX), convert=folded), converter(PEER, TORCH_ONNX)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.onnx" for index in range(2)]
        for way, path in zip(used, paths, strict=True):
            warm_up(way, direction(TORCH_ONNX), path)
        for name in names:
            subject = networks.get(name)
            model, arrays = networks.form(subject, "torch"), networks.arrays(subject, "torch")
            seconds: list[list[float]] = [[], []]
            for _ in range(ROUNDS):
                for way, path, taken in zip(used, paths, seconds, strict=True):
                    gc.collect()
                    start = time.process_time()
                    way.convert(model, arrays, path)
                    taken.append(time.process_time() - start)
            with torch.no_grad():
                expected = model(*map(torch.from_numpy, arrays)).numpy()
            np.savez(Path(folder) / "expected.npz", *arrays, expected)
            task = {"network": name, "expected": str(Path(folder) / "expected.npz"), "onnx": list(map(str, paths)), "runs": RUNS}
            latency = onnx_latency(task)["latency_seconds"]
            ours, peer = (statistics.median(taken) for taken in seconds)
            times = statistics.median(b / a for a, b in zip(*seconds, strict=True))
            print(f"{name}: {ours:.2f} s and {peer:.2f} s, {times:.2f} times faster, latency {latency[0] / latency[1]:.3f} of the other's")
            counted = [collections.Counter(measuring.onnx_kinds(path)) for path in paths]
            more = {kind: (counted[0][kind], counted[1][kind]) for kind in counted[0] | counted[1]}
            print(f"    {counted[0].total()} nodes and {counted[1].total()}:", end=" ")
            print(", ".join(f"{k} {a} and {b}" for k, (a, b) in sorted(more.items()) if a != b), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
