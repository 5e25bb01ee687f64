"""Finds the blocks of a network: scopes of the source whose steps can be computed in one go.

A scope is a block where no value leaves it and comes back. Otherwise (a U-Net's list of stages) its children stand in the
scope around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from .folding import skeleton
from .steps import Block, Item, Path, Step

Accepts = Callable[[Block], bool]


def blocks(steps: Sequence[Step], inputs: Sequence[int], outputs: Sequence[int], accepts: Accepts) -> Block:
    """The whole network as a block of steps and blocks.

    accepts : whether a block can be written as one; it may set `is_sequence`
    """
    kept = set(outputs)
    return Block((), _folded((), list(steps), kept, accepts), list(inputs), list(outputs))


def _folded(path: Path, items: list[Item], kept: set[int], accepts: Accepts) -> list[Item]:
    """The items of a scope, its child scopes folded; `kept` are the values that are needed outside."""
    deeper = [scope for i in items if len(scope := _scope(i)) > len(path) and scope[: len(path)] == path]
    for child in dict.fromkeys(scope[: len(path) + 1] for scope in deeper):
        members = [i for i in items if isinstance(i, Step) and i.scope[: len(child)] == child]
        made = []
        for group in _invocations(members):
            inside = {id(m) for m in group}
            made.append((group, _block(child, group, [i for i in items if id(i) not in inside], kept, accepts)))
        fits = made and all(block is not None and accepts(block) for _, block in made)
        fits = fits and (len(made) == 1 or len({skeleton(block) for _, block in made}) == 1)  # type: ignore[arg-type]
        replaced = items
        for group, block in made if fits else ():
            replaced = _replace(replaced, group, block) if replaced else []  # type: ignore[arg-type]
        items = replaced if fits and replaced else _folded(child, items, kept, accepts)
    return items


def _scope(item: Item) -> Path:
    return item.scope if isinstance(item, Step) else item.path[:-1]


def _invocations(members: list[Step]) -> list[list[Step]]:
    """The steps of a scope, one list for each time that the scope is run; none where these cannot be told apart."""
    called = Counter(id_ for m in members if (id_ := _called(m)))
    runs = max(called.values(), default=1)
    if runs == 1 or min(called.values(), default=1) != runs:
        return [members]
    home = {result: m for m in members for result in m.results}
    group: dict[int, list[Step]] = {}
    for member in members:
        joined = [group[id(home[v])] for v in member.inputs if v in home]
        first = joined[0] if joined else []
        for other in joined[1:]:
            if other is not first:
                first += other
                for moved in other:
                    group[id(moved)] = first
        first.append(member)
        group[id(member)] = first
    found = list({id(g): g for g in group.values()}.values())
    return found if len(found) == runs else [members]


def _called(step: Step) -> str:
    function = getattr(getattr(step.expression, "func", None), "id", "")
    return function if function.startswith("@") else ""


def _block(path: Path, members: list[Step], others: list[Item], kept: set[int], accepts: Accepts) -> Block | None:
    made = {r for m in members for r in m.results}
    read_outside = {v for i in others for v in i.inputs} | kept
    inputs = list(dict.fromkeys(v for m in members for v in m.inputs if v not in made))
    results = [r for m in members for r in m.results if r in read_outside]
    if not results or all(m.inline for m in members):
        return None
    return Block(path, _folded(path, list(members), set(results), accepts), inputs, results)


def _replace(items: list[Item], group: Sequence[Item], block: Block) -> list[Item]:
    """The items with a block in place of its members, in an order in which everything is computed before it is read.

    Empty where there is none.
    """
    inside = {id(m) for m in group}
    where = min(i for i, item in enumerate(items) if id(item) in inside)
    left: list[Item] = [i for i in items[:where]] + [block] + [i for i in items[where:] if id(i) not in inside]
    return ordered(left)


def ordered(items: list[Item]) -> list[Item]:
    """The items, inputs before users, otherwise as they stand; empty where they go round in a circle."""
    home = {r: i for i, item in enumerate(items) for r in item.results}
    state = [0] * len(items)
    found: list[Item] = []
    for start in range(len(items)):
        waiting = [start]
        while waiting:
            place = waiting[-1]
            if state[place] == 2:
                waiting.pop()
                continue
            before = [home[v] for v in items[place].inputs if v in home and state[home[v]] != 2]
            if state[place] == 1 and before:
                return []
            state[place] = 1
            if before:
                if any(state[b] == 1 for b in before):
                    return []
                waiting += reversed(dict.fromkeys(before))
            else:
                state[place] = 2
                found.append(items[place])
                waiting.pop()
    return found
