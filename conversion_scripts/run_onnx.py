"""Runs an ONNX file on arrays by onnxruntime: python -m conversion_scripts.run_onnx net.onnx inputs.npz outputs.npz"""

import sys

import numpy as np

import leaky_interop as li


def main(model: str, inputs: str, outputs: str) -> int:
    """Read named arrays, run the model, write its outputs under their names."""
    found = li.run(model, dict(np.load(inputs, allow_pickle=False)))
    names = [port.name for port in li.inspect(model).outputs]
    np.savez(outputs, **dict(zip(names, found, strict=True)))
    for name, array in zip(names, found, strict=True):
        print(f"{name}: {array.dtype}{list(array.shape)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
