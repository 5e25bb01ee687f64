"""What an exported program gives: how its outputs are nested, and what it keeps from one call to the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ...errors import Refused
from ...graph import Graph, Value

NOTHING = object()


def described(spec: Any, results: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The nesting of the outputs, of which dataclasses become dicts and None is left out, and the flat outputs.

    The nesting is None where it is of other kinds than dicts, lists and tuples.
    """
    if spec.num_leaves != len(results):
        return None, list(results)
    kept = [r for r in results if r is not None]
    places = iter(range(len(kept)))
    nested = _plain(pytree.tree_unflatten([NOTHING if r is None else next(places) for r in results], spec))
    return (nested if sorted(_leaves(nested)) == list(range(len(kept))) else None), kept


def _plain(part: Any) -> Any:
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        part = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    if isinstance(part, dict):
        return {key: _plain(inner) for key, inner in part.items() if inner is not NOTHING}
    if isinstance(part, list | tuple):
        inner = [_plain(p) for p in part if p is not NOTHING]
        return inner if isinstance(part, list) else tuple(inner)
    return part


def _leaves(part: Any) -> Iterator[int]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
    for one in inner:
        yield from _leaves(one)
    if type(part) is int:
        yield part


def refuse_state(program: Any, graph: Graph, values: Sequence[Value | None]) -> None:
    """Refuse a network that writes a buffer and computes with it: each call of it gives something else.

    A buffer that is only written (the running statistics of a batch norm in training mode) changes no output.
    values: what the program's outputs were read as, of which the first are what is written.
    """
    kinds = torch.export.graph_signature.OutputKind
    tensors = {}
    for spec, value in zip(program.graph_signature.output_specs, values, strict=True):
        tensor = program.state_dict.get(spec.target, program.constants.get(spec.target))
        as_it_was = value is not None and value.const is not None and value.const.root is tensor
        if spec.kind == kinds.BUFFER_MUTATION and not as_it_was:
            tensors[id(tensor)] = spec.target
    read = (v.const.root for n in graph.nodes for v in n.inputs if v is not None and v.const is not None)
    for root in (*read, *(v.const.root for v in graph.outputs if v.const is not None)):
        if id(root) in tensors:
            raise Refused(
                f"the buffer {tensors[id(root)]!r}, which the network writes and computes with",
                why="its outputs depend on the calls before, and only what follows from the inputs converts",
                hint="Make the buffer an input and an output of the network",
            )
