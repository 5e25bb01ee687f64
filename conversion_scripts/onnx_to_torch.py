"""An ONNX file as PyTorch: python -m conversion_scripts.onnx_to_torch net.onnx net.safetensors"""

import sys

import leaky_interop as li


def main(source: str, target: str) -> int:
    """Write `target` (and, beside a .safetensors, the network's source) and print the report."""
    report = li.convert(source, target)
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
