"""Weights that a file holds in another form than their owner does, say a layer scale as (1, C, 1, 1) instead of (C).

The file's metadata tells the owner's shape and the way from it, so that a network read back has the weights it began with.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...parameter import Parameter, apply_steps, invert

VIEWS = "leaky_interop.views"  # model metadata: by weight, the shape that its owner gives it and the steps from there
KINDS = {"transpose", "reshape"}


def told(parameter: Parameter) -> Any:
    """What the metadata says of a weight; nothing where its owner has it as it is written, or other steps lead there."""
    if not parameter.name or not parameter.steps:
        return None
    owned = parameter.owned
    steps = parameter.seen_from(owned)
    return [owned.shape, steps] if steps and {kind for kind, *_ in steps} <= KINDS else None


def viewed(parameter: Parameter, said: Any) -> Parameter:
    """A stored weight as the view that it is of its owner's; as it is stored, where what a file says does not fit."""
    try:
        shape, steps = tuple(map(int, said[0])), tuple((str(kind), tuple(map(int, entries))) for kind, entries in said[1])
        blank = np.broadcast_to(False, shape)
        shapes = [apply_steps(blank, steps[:count]).shape for count in range(len(steps) + 1)]
        if shapes[-1] != parameter.shape or not {kind for kind, _ in steps} <= KINDS:
            return parameter
    except (TypeError, ValueError, IndexError, KeyError):  # numpy's, on shapes and orders that are none
        return parameter
    back = [("transpose", invert(e)) if kind == "transpose" else ("reshape", shapes[i]) for i, (kind, e) in enumerate(steps)]
    back.reverse()
    return dataclasses.replace(parameter, read=lambda: apply_steps(parameter.read(), back), steps=steps)
