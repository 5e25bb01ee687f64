"""Recognises shuffles in what frameworks write them as: reshapes and transposes, or channels taken by index.

A chain of reshapes and transposes only moves factors of sizes about. Where it moves them as DepthToSpace, SpaceToDepth
or ChannelShuffle do, in whatever layout, it becomes that operator between two transposes, which the layout pass then
cancels. Values inside the chain are gone afterwards; its result keeps its anchor. No number changes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..layout import identity, settle
from ..op import Op, Perm
from ..ops.gather import Gather
from ..ops.shape import Reshape
from ..ops.shuffle import Block, ChannelShuffle, DepthToSpace, SpaceToDepth
from ..ops.transpose import Transpose
from ..sizes import Dim, Shape, agree


@dataclasses.dataclass(eq=False)
class Factor:
    """A factor of a size, known by identity."""

    size: Dim


Axes = list[list[Factor]]
Found = tuple[Perm, Op, Perm]  # transpose, operator, transpose


def recognise_shuffles(graph: Graph) -> Graph:
    """Replace every chain that shuffles by the operator that says so."""
    graph = _replaced_chains(graph)
    graph = _replaced_gathers(graph)
    return _joined(graph)


# --- chains of reshapes and transposes --------------------------------------------------------------------------------


def _replaced_chains(graph: Graph) -> Graph:
    users = consumers(graph)
    found: dict[int, tuple[Found, Value]] = {}  # by last node of the chain: what it is, and what it starts from
    gone: set[int] = set()
    for node in graph.nodes:
        if not isinstance(node.op, Reshape) or id(node) in gone:
            continue
        chain = _chain(node, users)
        for end in range(len(chain) - 1, 1, -1):  # the longest first
            part = chain[: end + 1]
            if isinstance(part[-1].op, Reshape) and (what := _meaning(part)) is not None:
                assert node.inputs[0] is not None
                found[id(part[-1])] = what, node.inputs[0]
                gone.update(id(n) for n in part)
                break
    if not found:
        return graph
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if id(node) in found:
            (before, op, after), source = found[id(node)]
            value = rewrite.get(source)
            for step in (Transpose(perm=before), op, Transpose(perm=after)):
                if not (isinstance(step, Transpose) and step.perm == identity(len(step.perm))):
                    name = "" if isinstance(step, Transpose) else None
                    (value,) = rewrite.emit(node, step, (value,), name=name)
            assert value is not None
            inherit(value, node.outputs[0])
            rewrite.put(node.outputs[0], value)
        elif id(node) not in gone:
            rewrite.copy(node)
    return settle(rewrite.finish())


def _chain(node: Node, users: dict[int, list[Any]]) -> list[Node]:
    """The reshapes and transposes from a node on, each read only by the next."""
    chain = [node]
    while True:
        readers = users.get(id(chain[-1].outputs[0]), [])
        if len(readers) != 1 or readers[0] is None or not isinstance(readers[0].op, Reshape | Transpose):
            return chain
        chain.append(readers[0])


def _meaning(chain: list[Node]) -> Found | None:
    """What a chain does to the factors of its input's sizes, if an operator does it."""
    assert chain[0].inputs[0] is not None
    traced = _traced(chain, chain[0].inputs[0].shape)
    if traced is None:
        return None
    before, after = traced
    _merge(before, after)
    if len(before) != len(after) or before[0] != after[0]:
        return None
    return _to_space(before, after) or _to_depth(before, after) or _interleaved(before, after)


def _traced(chain: list[Node], shape: Shape) -> tuple[Axes, Axes] | None:
    """The factors of each axis of a chain's input and of its output; sizes of 1 have none."""
    before: Axes = [[Factor(n)] if n != 1 else [] for n in shape]
    after: Axes = [list(axis) for axis in before]
    for node in chain:
        if isinstance(node.op, Transpose):
            after = [after[p] for p in node.op.perm]
            continue
        assert isinstance(node.op, Reshape)
        flat, grouped = [f for axis in after for f in axis], list[list[Factor]]()
        for size in node.op.shape:
            group, left = list[Factor](), size
            while not agree(left, 1):
                if not flat:
                    return None
                factor = flat.pop(0)
                if agree(factor.size, left):
                    left = 1
                elif not isinstance(factor.size, int) or not isinstance(left, int):
                    return None
                elif left % factor.size == 0:
                    left //= factor.size
                elif factor.size % left == 0:
                    first, rest = Factor(left), Factor(factor.size // left)
                    for axis in before:
                        axis[:] = [g for f in axis for g in ((first, rest) if f is factor else (f,))]
                    flat.insert(0, rest)
                    factor, left = first, 1
                else:
                    return None
                group.append(factor)
            grouped.append(group)
        after = grouped
    return before, after


def _merge(before: Axes, after: Axes) -> None:
    """Put factors together that stand side by side on both sides."""
    for axis in before:
        place = 0
        while place + 1 < len(axis):
            pair = axis[place : place + 2]
            home = next((o for o in after for i in range(len(o) - 1) if o[i : i + 2] == pair), None)
            if home is None:
                place += 1
                continue
            one = Factor(pair[0].size * pair[1].size)
            for side in (axis, home):
                at = side.index(pair[0])
                side[at : at + 2] = [one]


def _to_space(before: Axes, after: Axes) -> Found | None:
    """DepthToSpace: the channels' factors go behind two others."""
    layout = _block(before, after)
    if layout is None:
        return None
    channels, rows, columns, block, first, kept = layout
    turned = (0, channels, _axis_of(before, rows), _axis_of(before, columns))
    where = {0: 0, 1: kept, 2: _axis_of(after, rows), 3: _axis_of(after, columns)}
    return turned, DepthToSpace(block=block, places_first=first), _placed(where)


def _to_depth(before: Axes, after: Axes) -> Found | None:
    """SpaceToDepth: the reverse."""
    layout = _block(after, before)
    if layout is None:
        return None
    channels, rows, columns, block, first, kept = layout
    turned = (0, kept, _axis_of(before, rows), _axis_of(before, columns))
    where = {0: 0, 1: channels, 2: _axis_of(after, rows), 3: _axis_of(after, columns)}
    return turned, SpaceToDepth(block=block, places_first=first), _placed(where)


def _block(deep: Axes, flat: Axes) -> tuple[int, Factor, Factor, int, bool, int] | None:
    """Where channels hold two factors that stand behind two others in `flat`.

    The channels' axis in `deep`, the factors for rows and columns, the block, whether the block's factors stand first
    in the channels, and the channels' axis in `flat`.
    """
    if len(deep) != 4 or [len(a) for a in deep[1:]].count(1) != 2 or deep[0] != flat[0]:
        return None
    channels = next(a for a in (1, 2, 3) if len(deep[a]) != 1)
    pairs = [axis for axis in flat[1:] if len(axis) == 2]
    kept = next((a for a in (1, 2, 3) if len(flat[a]) < 2), None)
    if len(pairs) != 2 or kept is None or len(deep[channels]) not in (2, 3):
        return None
    behind = {id(small): large for large, small in pairs}
    places = [f for f in deep[channels] if id(f) in behind]
    inner = [f for f in deep[channels] if id(f) not in behind]
    rows, columns = (behind.get(id(f)) for f in places) if len(places) == 2 else (None, None)
    if rows is None or columns is None or flat[kept] != inner or places[0].size != places[1].size:
        return None
    if [rows] not in deep or [columns] not in deep or deep[channels] not in (places + inner, inner + places):
        return None
    if any(_axis_of(side, rows) > _axis_of(side, columns) for side in (deep, flat)):
        return None
    block = places[0].size
    assert isinstance(block, int)
    return channels, rows, columns, block, bool(inner) and deep[channels] == places + inner, kept


def _interleaved(before: Axes, after: Axes) -> Found | None:
    """ChannelShuffle: the two factors of one axis change places."""
    mixed = [axis for axis, factors in enumerate(before) if len(factors) == 2]
    if len(mixed) != 1 or any(len(f) > 2 for f in before):
        return None
    wanted = [list(f) for f in before]
    wanted[mixed[0]].reverse()
    if sorted(map(_ids, wanted)) != sorted(map(_ids, after)):
        return None
    units = [axis for axis, factors in enumerate(after) if not factors]  # which of them is which makes no difference
    where = {axis: after.index(factors) if factors else units.pop(0) for axis, factors in enumerate(wanted)}
    groups = before[mixed[0]][0].size
    assert isinstance(groups, int)
    return identity(len(before)), ChannelShuffle(groups=groups, axis=mixed[0]), _placed(where)


def _ids(factors: list[Factor]) -> tuple[int, ...]:
    return tuple(id(f) for f in factors)


def _axis_of(axes: Axes, factor: Factor) -> int:
    return next(i for i, axis in enumerate(axes) if factor in axis)


def _placed(where: dict[int, int]) -> Perm:
    """The transpose that puts axis a at where[a]."""
    return tuple(sorted(where, key=lambda axis: where[axis]))


# --- channels taken by index ------------------------------------------------------------------------------------------


def _replaced_gathers(graph: Graph) -> Graph:
    """Write entries taken in interleaved order as a ChannelShuffle."""
    found = {id(n): op for n in graph.nodes if isinstance(n.op, Gather) and (op := _shuffled(n)) is not None}
    if not found:
        return graph
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        op = found.get(id(node))
        rewrite.copy(node, op, None if op is None else (rewrite.get(node.inputs[0]),))
    return rewrite.finish()


def _shuffled(node: Node) -> Op | None:
    x, index = node.inputs
    assert x is not None and index is not None and isinstance(node.op, Gather)
    size = x.shape[node.op.axis]
    if index.const is None or index.rank != 1 or not isinstance(size, int) or index.shape != (size,):
        return None
    taken = [int(i) % size for i in index.array()]
    if size < 4 or taken[0] != 0:
        return None
    groups = taken.index(1) if 1 in taken else 0  # entry 1 stands behind the first of every group
    op = ChannelShuffle(groups=groups or 1, axis=node.op.axis)
    return op if 1 < groups < size and size % groups == 0 and op.index(size).tolist() == taken else None


def _joined(graph: Graph) -> Graph:
    """Join a shuffle of channels with the operator beside it that then has the other order of channels."""
    users = consumers(graph)
    found: dict[int, Node] = {}  # by the operator that stays: the shuffle that goes
    for node in graph.nodes:
        if not isinstance(node.op, ChannelShuffle) or node.op.axis != 1:
            continue
        readers, source = users.get(id(node.outputs[0]), []), node.inputs[0].node  # type: ignore[union-attr]
        after = readers[0] if len(readers) == 1 else None
        if (
            after is not None
            and isinstance(after.op, DepthToSpace)
            and _turns(node.op.groups, after.op, after.outputs[0])
        ):
            found[id(after)] = node
        elif source is not None and isinstance(source.op, SpaceToDepth) and users[id(source.outputs[0])] == [node]:
            if _turns(node.op.groups, source.op, source.inputs[0]):
                found[id(source)] = node
    if not found:
        return graph
    rewrite = Rewrite(graph)
    gone = {id(n) for n in found.values()}
    for node in graph.nodes:
        if id(node) in found:
            shuffle = found[id(node)]
            first, last = (shuffle, node) if isinstance(node.op, DepthToSpace) else (node, shuffle)
            op = dataclasses.replace(node.op, places_first=not node.op.places_first)  # type: ignore[attr-defined,type-var]
            (made,) = rewrite.emit(node, op, (rewrite.get(first.inputs[0]),))
            inherit(made, last.outputs[0])
            rewrite.put(last.outputs[0], made)
        elif id(node) not in gone:
            rewrite.copy(node)
    return rewrite.finish()


def _turns(groups: int, op: Op, image: Value | None) -> bool:
    """Whether interleaving so many groups turns one order of channels into the other; `image` is the flat side."""
    assert isinstance(op, Block) and image is not None
    to_space = isinstance(op, DepthToSpace)
    return groups == (image.shape[1] if op.places_first == to_space else op.block**2)
