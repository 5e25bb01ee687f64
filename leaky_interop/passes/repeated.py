"""Computes once what a network computes twice: the same operator on the same values, an activation in each branch say.

Not for a network whose layers a reader shall find again, so it is done only when asked for, with the folding of batch
norms.
"""

from __future__ import annotations

from typing import Any

from ..graph import Graph, Rewrite, Value


def share_repeated(graph: Graph) -> Graph:
    """The graph without operators that repeat an earlier one; and a note of how many there were."""
    seen: dict[Any, tuple[Value, ...]] = {}
    rewrite, count = Rewrite(graph), 0
    for node in graph.nodes:
        key = (type(node.op), repr(node.op), *(_known(rewrite.get(v)) for v in node.inputs))
        if key in seen and node.op.deterministic and not node.op.bodies:
            count += 1
            for value, earlier in zip(node.outputs, seen[key], strict=True):
                rewrite.put(value, earlier)
        else:
            seen[key] = rewrite.copy(node)
    done = rewrite.finish()
    if count:
        done.notes.append(f"computed once and used again: {count} operator{'s' * (count != 1)}")
    return done


def _known(value: Value | None) -> Any:
    """What decides whether two operands are the same."""
    if value is None or value.sizes is not None:
        return None if value is None else repr(value.sizes.tolist())  # type: ignore[union-attr]
    return id(value) if value.const is None else value.const.identity
