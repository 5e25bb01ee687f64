"""Every leaky slope of a model and where it came from: python -m conversion_scripts.check_slopes net.keras"""

import sys

import leaky_interop as li


def main(model: str) -> int:
    """Print one line a slope; return 1 where the model has none."""
    slopes = li.inspect(model).slopes
    for slope in slopes:
        print(f"{slope.node:<30} {slope.value}  {slope.given}  ({slope.origin})")
    return 0 if slopes else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
