"""A Keras model file as PyTorch: python -m conversion_scripts.keras_to_torch net.keras net.safetensors

Writes the weights and, beside them, `net.py` with the network as PyTorch source; `net.pt2` writes an exported program.
"""

import sys

import leaky_interop as li


def main(source: str, target: str) -> int:
    """Write `target`, print the network's code and the report."""
    module = li.convert(source, to="torch")
    print(module.code)
    report = li.convert(source, target)
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
