"""A Keras model file as ONNX, verified node by node: python -m conversion_scripts.keras_to_onnx net.keras net.onnx"""

import sys

import leaky_interop as li


def main(source: str, target: str) -> int:
    """Write `target`, print the report, and return 0 where all numbers agree."""
    report = li.convert(source, target)
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
