"""Asks exporters which slope arrives: `python -m leaky_interop.conformance.exporters [--install] [NAME ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...files import atomic
from ..as_json import render
from . import plans, run, to_markdown


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask exporters which slope of LeakyReLU arrives.")
    known = plans()
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(known)}; all by default")
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write its tables, which are printed otherwise")
    chosen = parser.parse_args()
    if unknown := set(chosen.name) - set(known):
        parser.error(f"there is no exporter {', '.join(sorted(unknown))}")
    record = run([known[n] for n in chosen.name or known], install=chosen.install)
    for path, rendering in ((chosen.json, render), (chosen.markdown, to_markdown)):
        if path:
            with atomic(path) as temporary:
                temporary.write_text(rendering(record), encoding="utf-8")
    if not chosen.markdown:
        print(to_markdown(record))
    return 0 if record.passed else 1


if __name__ == "__main__":
    sys.exit(main())
