"""What a verification runs on: the arrays of the user, of a recording, or seeded ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import kinds
from .errors import Usage
from .graph import Graph, Value
from .interpreter import bind, check_fits
from .parameter import invert
from .running import to_array
from .sizes import Shape, Size, evaluate, rename, symbols

WORDS = ("", "leaky", "ReLU unit", "0.5", "a,b,,c", "Straße")
OPEN = (64, 256, 1024, 4096, 16384)  # open sizes that are no batch; multiples of what most networks stride over in all


@dataclasses.dataclass
class Draw:
    label: str
    arrays: list[np.ndarray]
    by_node: bool = True


def draws(graph: Graph, perms: Sequence[Any], inputs: Any = None, sizes: Mapping[str, int] | None = None) -> list[Draw]:
    """The user's arrays, or seeded ones at batch 1 and others, large and negative values among them."""
    if inputs is not None:
        return [Draw("the given arrays", given_arrays(graph, perms, inputs))]
    found = []
    fixed = batch_symbols(graph) <= set(sizes or ())
    for seed, batch, scale, by_node in ((0, 1, 1.0, True), (1, 2, 10.0, True), (2, 3, 1.0, False)):
        arrays = example_arrays(graph, batch=batch, seed=seed, scale=scale, sizes=sizes)
        label = f"normal{'' if scale == 1 else f' times {scale:g}'}, seed {seed}, batch {'as fixed' if fixed else batch}"
        back = [turned(a, None if p is None else invert(p)) for a, p in zip(arrays, perms, strict=False)]
        found.append(Draw(label, back, by_node))
    return found


def recorded_draws(graph: Graph, perms: Sequence[Any], runs: Sequence[list[np.ndarray]], sizes: Mapping[str, int]) -> list[Draw]:
    """What the source was recorded on, where the network takes it: a batch that is fixed may leave one run out."""
    found = []
    for number, arrays in enumerate(runs):
        there = [turned(a, p) for a, p in zip(arrays, perms, strict=False)]
        try:
            for value, array in zip(graph.inputs, there, strict=True):
                check_fits(value, array)
        except ValueError:
            continue
        bound = bind((v.shape for v in graph.inputs), there)
        if all(bound.get(name, size) == size for name, size in sizes.items()):
            found.append(Draw(f"as recorded, run {number + 1}, batch {arrays[0].shape[0] if arrays[0].ndim else 'none'}", arrays))
    if not found:
        raise Usage("no recorded run fits the network", hint="Record it on an example of the sizes that the other model takes")
    return found


def given_arrays(graph: Graph, perms: Sequence[Any], inputs: Any) -> list[np.ndarray]:
    """The user's arrays in the order of the inputs. Raises Usage where they do not fit."""
    names = [v.name for v in graph.inputs]
    given: list[Any]
    if isinstance(inputs, Mapping):
        fits, given = set(inputs) == set(names), [inputs.get(n) for n in names]
    else:
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        fits = len(given) == len(names)
    if not fits:
        what = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else f"{len(given)} arrays"
        raise Usage(f"{what} are given", why=f"the network takes {', '.join(names)}")
    arrays = [to_array(a) for a in given]
    for value, array, perm in zip(graph.inputs, arrays, perms, strict=False):
        inside = array if isinstance(array, list) else [] if array is None else [array]
        if any(a.dtype != kinds.element(value.dtype) for a in inside):
            raise Usage(f"input {value.name!r} takes {value.dtype}, received {', '.join(str(a.dtype) for a in inside)}")
        try:
            check_fits(value, turned(array, perm) if perm is not None and array.ndim == value.rank else array)
        except ValueError as error:
            raise Usage(str(error)) from None
    return arrays


def turned(array: np.ndarray, perm: tuple[int, ...] | None) -> np.ndarray:
    """An array in another layout, as its own copy."""
    return array if perm is None else np.ascontiguousarray(array.transpose(perm))


def example_arrays(
    graph: Graph,
    *,
    batch: int = 1,
    seed: int = 0,
    scale: float = 1.0,
    size: int | None = None,
    sizes: Mapping[str, int] | None = None,
) -> list[np.ndarray]:
    """One array for each input, in its shape and dtype: normal numbers times `scale`; small non-negative integers.

    Open sizes are `batch` along a first axis and `size` elsewhere, unless `sizes` has them by name. Without `size`, the
    first of OPEN that leaves no value of the network empty.
    """
    rng = np.random.default_rng(seed)
    batches = batch_symbols(graph)
    if size is None:
        size = next((s for s in OPEN if not _empties(graph, sizes or {}, batches, s)), OPEN[0])
    result = []
    for value in graph.inputs:
        if isinstance(value.dtype, kinds.Sequence | kinds.Optional):
            result.append(_example(value.dtype, rng, scale))
            continue
        shape = concrete(rename(value.shape, sizes or {}), batches, batch, size)
        rows = _rows(graph, value)
        if value.dtype == object:
            array = rng.choice(np.asarray(WORDS, object), shape)
        elif value.dtype == bool:
            array = rng.random(shape) < 0.5
        elif value.dtype.kind in "iu" or rows is not None:
            array = rng.integers(0, 5 if rows is None else rows, shape)
        else:
            array = rng.standard_normal(shape) * scale
        result.append(np.asarray(array, value.dtype))
    return result


def _example(kind: Any, rng: np.random.Generator, scale: float) -> Any:
    """Something of a kind: an optional that is there, a sequence of three members that differ in their open sizes."""
    if isinstance(kind, kinds.Optional):
        content = kind.content
        return _example(content, rng, scale) if isinstance(content, kinds.Sequence) else _example(kinds.Sequence(content, kind.shape), rng, scale)[0]
    shapes = [tuple(size if d is None else d for d in kind.shape or ()) for size in (2, 3, 5)]
    if kind.element.kind in "fV":
        return [(rng.standard_normal(shape) * scale).astype(kind.element) for shape in shapes]
    return [rng.integers(0, 2, shape).astype(kind.element) for shape in shapes]


def batch_symbols(graph: Graph) -> set[str]:
    """The sizes that stand for the batch: those of the first axis of an input."""
    return {name for v in graph.inputs if v.shape for name in symbols(v.shape[:1])}


def concrete(shape: Shape, batches: set[str], batch: int, size: int) -> tuple[int, ...]:
    """A shape with every open size decided."""
    names = symbols(tuple(d for d in shape if isinstance(d, Size)))
    return evaluate(tuple(shape), {name: batch if name in batches else size for name in names})


def _empties(graph: Graph, sizes: Mapping[str, int], batches: set[str], size: int) -> bool:
    """Whether some value of the network has no elements at these sizes."""
    shapes = (concrete(rename(v.shape, sizes), batches, 1, size) for n in graph.nodes for v in n.outputs)
    return any(d < 1 for shape in shapes for d in shape)


def _rows(graph: Graph, value: Value) -> int | None:
    """How many rows the smallest table has that an input looks things up in; None where it does not."""
    ids, rows = {id(value)}, []
    for node in graph.nodes:
        if not node.inputs or id(node.inputs[0]) not in ids:
            continue
        if type(node.op).__name__ in ("Cast", "Reshape", "Transpose"):
            ids |= {id(v) for v in node.outputs}
        elif type(node.op).__name__ == "Embedding" and isinstance(count := node.inputs[1].shape[0], int):  # type: ignore[union-attr]
            rows.append(count)
    return min(rows, default=None)
