"""Layers of Keras around any cell: what the cell's own `call` computes, as the body of a Scan over the sequence.

A mask leaves steps out: the states stay, and the output is the one before (zeros before the first step, or always with
zero_output_for_mask).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Shape, Value
from .compare import Where
from .control import Scan
from .expand import filled
from .index import Select

TIME = 1  # the axis of it in every sequence of Keras


def scanned(
    layer: Any, native: Any, path: str, x: Value, given: Sequence[Value], mask: Value | None
) -> tuple[Value, list[Value]]:
    """What a layer gives out, in the order in which it reads, and its final states. `given`: initial states, or none."""
    states, pack = layer.states(native, x.shape[0], given)
    entries = [(without_time(x), x.dtype)]
    kinds = [(v.shape, v.dtype) for v in states]

    def step(*values: Value) -> list[Value]:
        """The states after a step, and its output."""
        *before, entry = values
        output, *after = layer.called(native.cell, f"{path}cell", entry, pack(before))
        return [*(a.cast(b.dtype) for a, b in zip(after, before, strict=True)), output.cast(native.compute_dtype)]

    body = layer.body([*kinds, *entries], step)
    if mask is not None:
        mask = mask_of(mask).cast(bool)
        zeros = filled(x.graph, (x.shape[0], *body.outputs[-1].shape[1:]), 0, body.outputs[-1].dtype)
        states, entries = [*states, zeros], [*entries, (mask.shape[:1], mask.dtype)]

        def masked(*values: Value) -> list[Value]:
            *before, previous, entry, counts = values
            kept = [*before, filled(previous.graph, (), 0, previous.dtype) if native.zero_output_for_mask else previous]
            return [
                Where()(counts.reshape(counts.shape[0], *(1,) * (new.rank - 1)), new, old)
                for new, old in zip(step(*before, entry), kept, strict=True)
            ]

        body = layer.body([*((v.shape, v.dtype) for v in states), *entries], masked)
    *after, output = body.outputs
    if mask is None:
        final = next((i for i, v in enumerate(after) if v is output), None)
    else:  # a state of its own
        final, after = len(after), body.outputs
    whole = native.return_sequences or final is None
    body.outputs = [*after, *[output] * whole]
    body.output_names = [f"output_{i}" for i in range(len(body.outputs))]
    body.structure = tuple(range(len(body.outputs)))
    lists = [x] if mask is None else [x, mask]
    found = Scan(
        label=layer.unique(f"{path}cell"),
        states=len(states),
        axes=(TIME,) * len(lists),
        backwards=(bool(native.go_backwards),) * len(lists),
        result_axes=(TIME,) * whole,
        result_backwards=(False,) * whole,
        body=body,
    )(*states, *lists)
    found = list(found) if isinstance(found, tuple) else [found]
    finals = found[: len(states) - (mask is not None)]
    if native.return_sequences:
        return found[-1], finals
    return last_of(found[-1]) if final is None else found[final], finals


def mask_of(mask: Value) -> Value:
    """A mask that says of each entry which steps count."""
    if mask.rank != 2:
        raise Refused(f"a mask of shape {mask.shape} in a recurrent layer", why="only (batch, time) says which steps count")
    return mask


def without_time(x: Value) -> Shape:
    """The shape of one step."""
    return (*x.shape[:TIME], *x.shape[TIME + 1 :])


def last_of(sequence: Value) -> Value:
    """The last step of a sequence."""
    return Select(axis=TIME, index=sequence.shape[TIME] - 1)(sequence)


def as_floats(x: Value, native: Any) -> Value:
    """Data in the dtype in which a layer computes: whole numbers are read as floats."""
    return x if x.dtype.kind in "fV" else x.cast(np.dtype(native.compute_dtype))
