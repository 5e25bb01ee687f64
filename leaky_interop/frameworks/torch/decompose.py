"""Brings an exported program to operators that have importers, by torch's own definitions, and without aliases that are written.

An in-place form is read as its functional one; only a graph that really changes an aliased tensor goes through torch's own
functionalisation. Operators that take complex tensors have names of their own: see `native_name`.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ...errors import Refused
from ...op import importer_of

FRAMEWORK = "torch"
EMPTY = ("aten::empty", "aten::empty_strided", "aten::empty_permuted")  # whatever stands in memory: no constants


def readable(program: Any) -> Any:
    """The program without mutated aliases, and with operators that have no importer replaced by torch's own definition."""
    if any(_mode(node) for node in _nodes(program)):
        program = copy.copy(program)
        program._graph_module = copy.deepcopy(program.graph_module)  # the one that was given stays as it is
        for module in _graphs(program):
            _inline(module)
    if _mutates_aliases(program) or any(map(_maps_over_a_batch, _nodes(program))):
        program = _decomposed(program, {})
    program = _defined(program, definition)
    further = _defined(program, torch._decomp.decomposition_table.get)
    return program if any(t.namespace == "prims" for t in _without_importer(further)) else further


def _graphs(program: Any) -> list[Any]:
    """The program's graph and those inside its calls: branches, bodies of loops."""
    return [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]


def _nodes(program: Any) -> list[torch.fx.Node]:
    return [node for module in _graphs(program) for node in module.graph.nodes]


def _maps_over_a_batch(node: torch.fx.Node) -> bool:
    """Whether a call belongs to torch.vmap, whose batched tensors only torch's own tracing knows."""
    return getattr(node.target, "__module__", "") == "torch._functorch.predispatch"


def _mode(node: torch.fx.Node) -> str:
    """How a call that runs a part of the graph under a mode of its own is called; nothing for other nodes."""
    kind = getattr(node.target, "_name", "") if node.op == "call_function" else ""
    return kind if kind in ("wrap_with_autocast", "wrap_with_set_grad_enabled") else ""


def _inline(module: Any) -> None:
    """Put the parts that run under a mode of their own, which changes no number, into the graph around them."""
    for node in list(module.graph.nodes):
        if (kind := _mode(node)) == "wrap_with_autocast":
            _, dtype, enabled, _, body, *operands = node.args
            if enabled:
                hint = "Leave the region out, or cast inside it"
                raise Refused(f"autocast to {dtype} {node.name!r}", why="it chooses a precision for each operator", hint=hint)
        elif kind:
            _, body, *operands = node.args
        else:
            continue
        inner = getattr(module, body.target)
        _inline(inner)
        with module.graph.inserting_before(node):
            places = [n for n in inner.graph.nodes if n.op == "placeholder"]
            made = module.graph.graph_copy(inner.graph, dict(zip(places, operands, strict=True)))
        for user in list(node.users):
            user.replace_all_uses_with(made[user.args[1]])
            module.graph.erase_node(user)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()


def _defined(program: Any, definition: Callable[[Any], Any]) -> Any:
    """The program with what has no importer replaced by its definition, and what has none in that one too."""
    tried: set[Any] = set()
    while missing := {t for t in _without_importer(program) if not is_random(t)} - tried:  # those are refused by their own name
        tried |= missing
        wanted = {target: found for target in missing if (found := definition(target)) is not None}
        if wanted:
            program = _decomposed(program, wanted)
    return program


def _decomposed(program: Any, table: Mapping[Any, Any]) -> Any:
    try:
        return program.run_decompositions(dict(table))
    except Exception as error:  # whatever torch raises where its own passes fail
        first = str(error).strip().partition("\n")[0]
        hint = "Write what is changed in place as a new tensor, or call run_decompositions on the program to see torch's account"
        raise Refused("a program that torch itself cannot decompose", why=f"{type(error).__name__}: {first}", hint=hint) from error


def definition(target: Any) -> Callable[..., Any] | None:
    """Torch's definition of an operator in core ATen, or of a composite in what it is made of."""
    if target in (table := torch.export.default_decompositions()):
        return table[target]
    return target.decompose if target._can_decompose() else None


def is_random(target: Any) -> bool:
    """Whether an operator draws numbers."""
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


def _without_importer(program: Any) -> set[Any]:
    calls = (n for n in _nodes(program) if n.op == "call_function" and isinstance(n.target, torch._ops.OpOverload))
    read = (n for n in calls if not is_constant(n) and not is_ignored(str(n.target)))
    return {n.target for n in read if importer_for(native_name(n), n.target._schema) is None}


def is_constant(node: torch.fx.Node) -> bool:
    """Whether a call makes the same tensor whatever the inputs: of plain numbers alone, and not at random."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or node.all_input_nodes or target._schema.name in EMPTY:
        return False
    return isinstance(node.meta["val"], torch.Tensor) and not is_random(target)


def is_complex(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_complex()


def native_name(node: torch.fx.Node) -> str:
    """The operator's name as torch prints it, marked where a complex tensor goes in."""
    values = [v for n in node.all_input_nodes for v in pytree.tree_leaves(n.meta.get("val")) if isinstance(v, torch.Tensor)]
    if not any(map(is_complex, values)):
        return str(node.target)
    mixed = any(v.is_floating_point() for v in values)
    return f"{'mixed' if mixed else 'complex'} {node.target}"


def is_ignored(native: str) -> bool:
    """Torch's assertions about sizes: they compute nothing."""
    return native.startswith(("aten._assert", "aten.sym_", "<built-in"))


def importer_for(native: str, schema: Any) -> Callable[..., Any] | None:
    """The importer of an ATen operator; an in-place form is read as its functional one, a copied view as the view."""
    found = importer_of(FRAMEWORK, native)
    if found is None and (_in_place(schema) or "_copy." in native):
        return importer_of(FRAMEWORK, _functional(native))
    return found


def _mutates_aliases(program: Any) -> bool:
    """Whether an in-place call changes a tensor that something else also sees (a view, an input, a buffer)."""
    for node in _nodes(program):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        schema = node.target._schema.arguments
        written = [a for a, spec in zip(node.args, schema, strict=False) if spec.is_write]
        if any(spec.is_out and node.kwargs.get(spec.name) is not None for spec in schema):
            return True  # what is written to a given tensor becomes a copy to it
        for changed in written:
            if not isinstance(changed, torch.fx.Node):
                continue
            if changed.op == "placeholder" or _is_view(changed) or any(_is_view(u) for u in changed.users):
                return True
    return False


def _is_view(node: torch.fx.Node) -> bool:
    if node.target is operator.getitem:
        return _is_view(node.args[0])  # type: ignore[arg-type]
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return any(a.alias_info is not None and not a.is_write for a in node.target._schema.arguments)


def _in_place(schema: Any) -> bool:
    return any(a.is_write for a in schema.arguments)


def _functional(native: str) -> str:
    """aten.relu_.default -> aten.relu.default, aten.view_copy.default -> aten.view.default."""
    namespace, name, overload = native.split(".")
    return f"{namespace}.{name.removesuffix('_').removesuffix('_copy')}.{overload}"
