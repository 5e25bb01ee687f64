"""The interpreter that has Chainer: an environment of its own, for Chainer needs a numpy older than any that this package runs on.

It is the one of the conformance suite's Chainer, made by the same command.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...conformance import environments
from ...errors import Refused

VARIABLE = "LEAKY_INTEROP_CHAINER"  # an interpreter of the user's own that has Chainer, Python 3.10 or 3.11


def interpreter() -> Path:
    """The interpreter with Chainer: the one that LEAKY_INTEROP_CHAINER names, or the suite's. Raises Refused without."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise Refused(
                f"{VARIABLE} names {named}",
                why="there is no such file",
                hint="Name a Python interpreter that has Chainer",
            )
        return Path(named)
    made = environments.interpreter(environments.plans()["chainer"])
    if made is None:
        raise Refused(
            "running a Chainer network", why="Chainer needs a numpy older than 1.24, so it has an environment of its own",
            hint=f"Make it with: leaky-interop conformance --install --runtime chainer, or set {VARIABLE} to a Python that has it",
        )  # fmt: skip
    return made
