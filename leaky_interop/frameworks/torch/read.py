"""Reads PyTorch: any module or exported program becomes a graph.

Models are read through `torch.export`; the exported graph is taken as it is, in-place forms get their functional
meaning, and only a graph that really mutates an aliased tensor is sent through torch's own functionalisation.
Dimensions that torch keeps symbolic stay symbolic (`sizes`); torch's own arithmetic on them is read, not traced.
Complex tensors are read as pairs along a last axis of their own, and calls that take one by importers of their own,
named "complex aten.mul.Tensor" ("mixed" where real tensors of floats go in too): no other may take a pair for two numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ... import names
from ...errors import Refused
from ...graph import Anchor, Graph, Parameter, Value
from ...op import importer_of
from ...passes import after_import
from ...sizes import Dim, Size, floor_divide, maximum, minimum, scaled, symbol
from ..base import Call, Importing, output_names
from .arrays import numpy_dtype, to_numpy
from .export import FUNCTIONS, export
from .run import Program, describe, user_outputs

FRAMEWORK = "torch"


def load(
    model: Any, *, example: Any = None, input_shapes: Any = None, static_batch: bool = False, dynamic_batch: bool = False
) -> Graph:
    """The graph of a module (exported with `example`) or of an ExportedProgram."""
    if isinstance(model, torch.export.ExportedProgram):
        program = model
    else:
        program = export(model, example, input_shapes, static_batch)
    program = _readable(program)
    graph = _Reader(program, describe(model)).read()
    graph.program.module = None if model is program else model
    return graph


def _readable(program: Any) -> Any:
    """The program without mutated aliases, and with operators that have no importer replaced by torch's own definition."""
    if _mutates_aliases(program):
        program = program.run_decompositions({})
    tried: set[Any] = set()
    while missing := _without_importer(program) - tried:
        tried |= missing
        table = torch.export.default_decompositions()
        wanted = {target: table[target] for target in missing if target in table}
        if wanted:
            program = program.run_decompositions(wanted)
    return program


def _without_importer(program: Any) -> set[Any]:
    calls = (n for n in program.graph.nodes if n.op == "call_function" and isinstance(n.target, torch._ops.OpOverload))
    read = (n for n in calls if not _is_constant(n) and not _ignored(str(n.target)))
    return {n.target for n in read if _importer(_native(n), n.target._schema) is None}


def _is_constant(node: torch.fx.Node) -> bool:
    """Whether a call makes the same tensor whatever the inputs: of plain numbers alone, and not at random."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or node.all_input_nodes or target._schema.name == "aten::empty":
        return False
    return isinstance(node.meta["val"], torch.Tensor) and torch.Tag.nondeterministic_seeded not in target.tags


def _is_complex(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_complex()


def _native(node: torch.fx.Node) -> str:
    """The operator's name as torch prints it, marked where a complex tensor goes in."""
    values = [v for n in node.all_input_nodes for v in pytree.tree_leaves(n.meta.get("val")) if isinstance(v, torch.Tensor)]
    if not any(map(_is_complex, values)):
        return str(node.target)
    mixed = any(v.is_floating_point() for v in values)
    return f"{'mixed' if mixed else 'complex'} {node.target}"


def _ignored(native: str) -> bool:
    """Torch's assertions about sizes: they compute nothing."""
    return native.startswith(("aten._assert", "aten.sym_", "<built-in"))


def _importer(native: str, schema: Any) -> Callable[..., Any] | None:
    """The importer of an ATen operator; an in-place form is read as its functional one."""
    found = importer_of(FRAMEWORK, native)
    return importer_of(FRAMEWORK, _functional(native)) if found is None and _in_place(schema) else found


def _mutates_aliases(program: Any) -> bool:
    """Whether an in-place call changes a tensor that something else also sees (a view, an input, a buffer)."""
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        written = [a for a, spec in zip(node.args, node.target._schema.arguments, strict=False) if spec.is_write]
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


class _Reader:
    """Walks one exported program."""

    def __init__(self, program: Any, description: str):
        self.program = program
        self.importing = Importing(FRAMEWORK, description)
        self.graph = self.importing.graph
        self.env: dict[torch.fx.Node, Any] = {}
        self.symbols: dict[str, Size] = {}
        self.roots: dict[Any, Any] = {}
        self.names: dict[torch.fx.Node, str] = {}
        self.counts: dict[str, int] = {}  # of calls under one name
        stacks = (_stack(node) for node in program.graph.nodes)  # what a parametrised weight calls does not count
        self.composite = {path for stack in stacks for path, inner in pairwise(stack) if "parametrizations" not in inner}

    def read(self) -> Graph:
        from torch.export.graph_signature import InputKind

        specs = self.program.graph_signature.input_specs
        placeholders = [n for n in self.program.graph.nodes if n.op == "placeholder"]
        users = [n for n, s in zip(placeholders, specs, strict=True) if s.kind == InputKind.USER_INPUT]
        self.name_symbols(users)
        for node, spec in zip(placeholders, specs, strict=True):
            if spec.kind == InputKind.USER_INPUT:
                self.env[node] = self.user_input(node)
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                self.env[node] = self.graph.parameter(self.parameter(spec, InputKind))
            else:
                raise Refused(f"the exported program takes {spec.kind} {spec.arg.name!r}", why="only tensors convert")
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self.visit(node)
        graph = self.graph
        outputs = next(n for n in self.program.graph.nodes if n.op == "output").args[0]
        results = user_outputs(self.program, outputs)
        graph.outputs = [self.value(r) for r in results if not (self.importing.missing and self.env.get(r) is None)]

        spec = self.program.call_spec.out_spec
        graph.structure = pytree.tree_unflatten(range(len(results)), spec) if spec.num_leaves == len(results) else None
        graph.output_names = output_names(graph.structure, len(results))
        graph.program = Program(self.program)
        return self.importing.finish(after_import)

    # inputs

    def name_symbols(self, users: Sequence[torch.fx.Node]) -> None:
        """The symbol of the first input's axis 0 is the batch; others are named after the first place they stand."""
        for node in users:
            for axis, dim in enumerate(getattr(node.meta["val"], "shape", ())):
                if isinstance(dim, torch.SymInt) and dim.node.expr.is_Symbol and str(dim.node.expr) not in self.symbols:
                    name = "batch" if axis == 0 and "batch" not in map(str, self.symbols.values()) else f"{node.name}_{axis}"
                    self.symbols[str(dim.node.expr)] = symbol(name)

    def user_input(self, node: torch.fx.Node) -> Value:
        fake = node.meta["val"]
        if not isinstance(fake, torch.Tensor):
            raise Refused(f"input {node.name!r} is a {type(fake).__name__}", why="only tensors are inputs of a network")
        refuse_complex(fake, f"input {node.name!r}")
        value = self.graph.input(node.name, self.shape(fake), numpy_dtype(fake.dtype))
        value.anchor = Anchor(node.name)
        return value

    def parameter(self, spec: Any, kinds: Any) -> Parameter:
        state = self.program.constants if spec.kind == kinds.CONSTANT_TENSOR else self.program.state_dict
        tensor = state[spec.target] if spec.target in state else self.program.constants[spec.target]
        refuse_complex(tensor, f"the weight {spec.target!r}")
        constant = spec.kind == kinds.CONSTANT_TENSOR or (spec.kind == kinds.BUFFER and not spec.persistent)
        key = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype) if tensor.numel() else id(tensor)
        root = self.roots.setdefault(key, tensor)
        return Parameter(
            name="" if constant else names.decode(FRAMEWORK, spec.target),
            shape=tuple(tensor.shape),
            dtype=numpy_dtype(tensor.dtype),
            read=lambda: to_numpy(tensor),
            root=root,
            trainable=spec.kind == kinds.PARAMETER and tensor.requires_grad,
        )

    # calls

    def visit(self, node: torch.fx.Node) -> None:
        fake = node.meta.get("val")
        if isinstance(fake, torch.SymInt | torch.SymBool | torch.SymFloat | int | bool | float):
            return  # torch's arithmetic on sizes: read where it is used
        if node.target is operator.getitem:
            source, index = node.args
            made = self.env.get(source)  # type: ignore[arg-type]
            self.env[node] = None if made is None else made[index]  # type: ignore[index]
            return
        if _ignored(str(node.target)):
            return
        if _is_constant(node):
            made = node.target(*node.args, **node.kwargs)  # type: ignore[operator]
            self.env[node] = self.graph.constant(to_numpy(torch.view_as_real(made) if made.is_complex() else made))
            return
        self.call(node, _native(node), node.target, node.args, node.kwargs)

    def call(self, node: torch.fx.Node, native: str, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        where = f"torch {native} {node.name!r}" + (f" in {module!r}" if (module := _module(node)) else "")
        schema = target._schema
        importer = _importer(native, schema)
        several = isinstance(node.meta["val"], tuple | list)
        fakes = node.meta["val"] if several else [node.meta["val"]]
        keys = [f"{node.name}:{i}" for i in range(len(fakes))] if several else [node.name]
        given = {a.name: v for a, v in zip(schema.arguments, args, strict=False)} | dict(kwargs)
        operands = [self.argument(given.get(a.name, a.default_value)) for a in schema.arguments]
        if importer is None:
            known = all(isinstance(f, torch.Tensor) for f in fakes)
            claims = [self.claimed(f) for f in fakes] if known else []
            made = self.importing.unsupported(native, where, operands, name=self.name(node), claims=claims, keys=keys)
            self.env[node] = None if not made else made if several else made[0]
            return
        if self.importing.missing and _lacks(given.values(), self.env):
            self.env[node] = None  # an earlier call is unsupported: go on only to list the others
            return
        left_out = [a.name for a in schema.arguments if a.name not in given]
        results = self.importing.call(
            importer,
            Call(target, self.graph, left_out=left_out),
            operands,
            name=self.name(node),
            source=where,
            left_out=left_out,
            claims=[self.claimed(f) if isinstance(f, torch.Tensor) else None for f in fakes],
            keys=None if any(map(_is_complex, fakes)) else keys,  # a pair is not compared with a complex number
        )
        self.env[node] = results if several else results[0]
        for changed, spec in zip(args, schema.arguments, strict=False):
            if spec.is_write and isinstance(changed, torch.fx.Node):
                self.env[changed] = self.env[node]  # whoever reads the old name from here on sees the new numbers

    def name(self, node: torch.fx.Node) -> str:
        """The canonical name of a call: its module's path where torch.nn made the module, otherwise path and function."""
        if node in self.names:
            return self.names[node]
        stack = [entry for entry in (node.meta.get("nn_module_stack") or {}).values() if not entry[0].startswith("_empty")]
        path, kind = stack[-1] if stack else ("", "")
        self.graph.classes |= {names.decode(FRAMEWORK, p): str(k).rpartition(".")[2].rstrip("'>") for p, k in stack if p}
        if path.startswith(f"{FUNCTIONS}."):
            found = names.decode(FRAMEWORK, path.removeprefix(f"{FUNCTIONS}."))
        elif str(kind).startswith("torch.nn.modules.") and path not in self.composite:
            found = names.decode(FRAMEWORK, path)
        else:
            function = str(node.target).split(".")[1].strip("_")
            plain = names.decode(FRAMEWORK, f"{path}.{function}" if path else function)
            count = self.counts[plain] = self.counts.get(plain, -1) + 1
            found = f"{plain}_{count}" if count else plain
        self.names[node] = found
        return found

    def argument(self, value: Any) -> Any:
        """A native argument as importers read it: Values, plain numbers, sizes, numpy dtypes."""
        if isinstance(value, torch.fx.Node):
            fake = value.meta.get("val")
            return self.size(fake) if isinstance(fake, torch.SymInt | int) and not isinstance(fake, bool) else self.env.get(value)
        if isinstance(value, list | tuple):
            return tuple(self.argument(v) for v in value)
        if isinstance(value, torch.SymInt):
            return self.size(value)
        return numpy_dtype(value) if isinstance(value, torch.dtype) else value

    def value(self, result: Any) -> Value:
        if isinstance(result, torch.fx.Node) and isinstance(self.env.get(result), Value):
            refuse_complex(result.meta["val"], "an output")
            return self.env[result]
        content = self.argument(result)
        return self.graph.of_sizes(content)

    def claimed(self, fake: torch.Tensor) -> tuple[tuple[Dim, ...], Any]:
        """Shape and dtype that torch states; of a complex tensor, those of its pairs."""
        return self.shape(fake) + (2,) * fake.is_complex(), numpy_dtype(fake.real.dtype)

    def shape(self, fake: torch.Tensor) -> tuple[Dim, ...]:
        return tuple(self.size(d) for d in fake.shape)

    def size(self, dim: Any) -> Dim:
        return _from_sympy(dim.node.expr, self.symbols) if isinstance(dim, torch.SymInt) else int(dim)


def refuse_complex(tensor: torch.Tensor, what: str) -> None:
    """Refuse complex numbers where a network takes, holds or gives them; between its calls they may be."""
    if _is_complex(tensor):
        raise Refused(
            f"{what} is complex", why="ONNX and Keras have no complex tensors",
            hint="Use torch.view_as_real and torch.view_as_complex inside the network",
        )  # fmt: skip


def _from_sympy(expression: Any, known: Mapping[str, Size]) -> Dim:
    """A size from torch's symbolic expression."""
    if expression.is_Integer:
        return int(expression)
    if expression.is_Symbol:
        return known.get(str(expression), symbol(str(expression)))
    if type(expression).__name__ in ("TruncToInt", "FloorToInt"):
        if (found := _scaled(expression.args[0], known)) is not None:
            return found
    args = [_from_sympy(a, known) for a in expression.args]
    kind = type(expression).__name__
    if kind in ("Add", "Mul", "Max", "Min"):
        combine = {"Add": operator.add, "Mul": operator.mul, "Max": maximum, "Min": minimum}[kind]
        total = args[0]
        for term in args[1:]:
            total = combine(total, term)
        return total
    if kind == "Pow" and isinstance(args[1], int) and args[1] > 0:
        total = args[0]
        for _ in range(args[1] - 1):
            total = total * args[0]
        return total
    if kind in ("FloorDiv", "CleanDiv", "IntTrueDiv"):
        return floor_divide(args[0], args[1])
    if kind in ("Mod", "PythonMod"):
        return args[0] - args[1] * floor_divide(args[0], args[1])
    raise Refused(f"the size expression {expression}", why=f"{kind} of sizes is not supported", hint="Fix that dimension")


def _scaled(expression: Any, known: Mapping[str, Size]) -> Dim | None:
    """The whole part of a size times a number, which is how torch says a scale factor."""
    numbers = [a for a in expression.args if a.is_number]
    sizes = [a for a in expression.args if type(a).__name__ == "ToFloat"]
    if len(numbers) != 1 or len(expression.args) != 2 or len(sizes) != 1:
        return None
    try:
        return scaled(_from_sympy(sizes[0].args[0], known), float(numbers[0]))
    except ValueError as error:
        raise Refused(str(error), why="the size would differ for some inputs", hint="Fix that dimension") from None


def _lacks(arguments: Iterable[Any], env: Mapping[Any, Any]) -> bool:
    found: list[Any] = []
    torch.fx.node.map_arg(tuple(arguments), found.append)
    return any(n in env and env[n] is None for n in found)


def _in_place(schema: Any) -> bool:
    return any(a.is_write for a in schema.arguments)


def _functional(native: str) -> str:
    """aten.relu_.default -> aten.relu.default."""
    namespace, name, overload = native.split(".")
    return f"{namespace}.{name.removesuffix('_')}.{overload}"


def _module(node: torch.fx.Node) -> str:
    """Path of the module a call was traced in."""
    stack = _stack(node)
    return stack[-1] if stack else ""


def _stack(node: torch.fx.Node) -> list[str]:
    """Paths of the modules around a call, the innermost last."""
    return [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if not path.startswith("_empty")]
