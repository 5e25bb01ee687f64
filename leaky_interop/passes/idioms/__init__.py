"""Recognises operators that a framework spelled with several others: LeakyReLU in its many forms, and its relatives.

Only spellings that compute the same bits for every input are taken. One that differs somewhere, at an infinity or in
the sign of a zero, is taken with fast math alone, and the graph's notes then say where and what may differ; without
it, `near_misses` names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from ...graph import Graph, Node, Rewrite, Value, inherit
from ...op import Op, agree
from . import slopes, smooth
from .matching import Found, Missed

__all__ = ["Found", "Missed", "NearMiss", "near_misses", "recognise", "with_fast_math"]

Rule = Callable[[Node], Found | Missed | None]
RULES: dict[type[Op], tuple[Rule, ...]] = {
    kind: (*slopes.RULES.get(kind, ()), *smooth.RULES.get(kind, ())) for kind in {**slopes.RULES, **smooth.RULES}
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearMiss:
    """A node that looks like an operator that it does not compute."""

    node: str
    spelling: str
    reason: str
    warning: str  # what is probably a mistake in the network, as a sentence of its own
    origin: str


def recognise(graph: Graph, *, fast_math: bool = False) -> Graph:
    """The graph with every idiom as the operator that it spells; fast_math: nearly the same operator will do."""
    rewrite = Rewrite(graph)
    loose: dict[tuple[str, str, str], list[str]] = {}  # nodes, by what they spell, what they became, and what differs
    for node in graph.nodes:
        found = next((a for a in answers(node) if isinstance(a, Found) and (fast_math or not a.differs)), None)
        if found is None:
            inner = node.op.with_bodies(lambda body: recognise(body, fast_math=fast_math)) if node.op.bodies else node.op
            rewrite.copy(node, inner)
            rewrite.new.notes += [note for body in inner.bodies for note in body.notes if note not in rewrite.new.notes]
        elif found.op is None:
            rewrite.put(node.outputs[0], rewrite.get(found.operands[0]))  # type: ignore[arg-type]
        else:
            outputs = rewrite.emit(node, found.op, map(rewrite.get, found.operands))
            if found.differs:
                loose.setdefault((found.spelling, str(found.op), found.differs), []).append(node.source or node.name)
                outputs[0].node.roundings = found.roundings  # type: ignore[union-attr]
            rewrite.new.notes += [f"{node.source or node.name}: {found.warning}"] if found.warning else []
            for old, new in zip(node.outputs, outputs, strict=True):
                inherit(new, old)
                rewrite.put(old, new)
    for (spelling, op, differs), places in loose.items():
        where = ", ".join(places)
        rewrite.new.notes.append(f"fast math: {spelling} became {op} at {where}; it differs at {differs}")
    return rewrite.finish()


def with_fast_math(graph: Graph) -> Graph:
    """The graph with what is nearly an operator as that operator."""
    return recognise(graph, fast_math=True)


def near_misses(graph: Graph) -> Iterator[NearMiss]:
    """Every node that looks like an idiom and was left as it is, with the reason."""
    for node in graph.all_nodes():
        for answer in answers(node):
            reason = answer.reason if isinstance(answer, Missed) else ""
            if isinstance(answer, Found) and answer.differs:
                reason = f"differs from {answer.op} at {answer.differs}; fast math takes it"
            if reason:
                yield NearMiss(
                    node=node.name, spelling=answer.spelling, reason=reason, warning=answer.warning, origin=node.source
                )


def answers(node: Node) -> Iterator[Found | Missed]:
    """What the rules say of a node that computes floats or truths."""
    if node.outputs[0].dtype.kind in "fVb":
        for answer in filter(None, (rule(node) for rule in RULES.get(type(node.op), ()))):
            if isinstance(answer, Missed) or _fits(answer, node.outputs[0]):
                yield answer


def _fits(found: Found, result: Value) -> bool:
    """Whether it gives a result of the same shape: a constant may have broadcast the operand."""
    try:
        kinds = (
            [(v.shape, v.dtype) for v in found.operands[:1]] if found.op is None else found.op.infer(*found.operands)
        )
    except (TypeError, ValueError):
        return False
    return all(agree(a, b) for a, b in zip(kinds[0][0], result.shape, strict=False)) and len(kinds[0][0]) == result.rank
