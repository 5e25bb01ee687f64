"""An ONNX file as a Keras model: python -m conversion_scripts.onnx_to_keras net.onnx net.keras"""

import sys

import leaky_interop as li


def main(source: str, target: str) -> int:
    """Write `target` in Keras' own layout (channels last) and print the report."""
    report = li.convert(source, target, io="native")
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
