"""Where the time of a conversion goes: `python -m benchmarks.profile_conversion "PyTorch to ONNX" ResNet50`."""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import tempfile
from pathlib import Path

from benchmarks import measuring, networks
from benchmarks.converters import OURS, converter, direction
from benchmarks.worker import export, warm_up


def main(direction_name: str, network: str, lines: int = 40) -> None:
    """Print the functions that take longest, by what they and their callees take, then by what they alone take."""
    way, subject = direction(direction_name), networks.get(network)
    os.environ.setdefault("KERAS_BACKEND", way.backend or "torch")
    used, arrays = converter(OURS, way.name), networks.arrays(subject, way.source)
    with tempfile.TemporaryDirectory() as folder:
        path, onnx_source = Path(folder) / "target.onnx", Path(folder) / "source.onnx"
        warm_up(used, way, path)
        if way.source == "onnx":
            export({"network": network, "source": onnx_source})
        source = onnx_source if way.source == "onnx" else networks.form(subject, way.source)
        print(f"{measuring.seconds(lambda: used.convert(source, arrays, path))[0]:.2f} s without the profiler")
        with cProfile.Profile() as profile:
            used.convert(source, arrays, path)
    for order in ("cumulative", "tottime"):
        pstats.Stats(profile).strip_dirs().sort_stats(order).print_stats(lines)


if __name__ == "__main__":
    main(*sys.argv[1:3])
