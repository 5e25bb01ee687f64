"""A PyTorch network as a Keras file: python -m conversion_scripts.torch_to_keras package.module:factory net.keras 3 32 32

The factory returns the module; the sizes are one input's shape without the batch, which stays dynamic.
"""

import sys

import leaky_interop as li


def main(source: str, target: str, *shape: str) -> int:
    """Write `target` in Keras' own layout (channels last) and print the report."""
    report = li.convert(source, target, io="native", input_shapes=[(None, *map(int, shape))])
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
