"""Reads PyTorch: any module or exported program becomes a graph.

Models are read through `torch.export`; the exported graph is taken as it is, in-place forms get their functional
meaning, and only a graph that really mutates an aliased tensor is sent through torch's own functionalisation.
Dimensions that torch keeps symbolic stay symbolic (`sizes`); torch's own arithmetic on them is read, not traced.
Complex tensors are read as pairs along a last axis of their own, and calls that take one by importers of their own,
named "complex aten.mul.Tensor" ("mixed" where real tensors of floats go in too): no other may take a pair for two numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from ... import names
from ...bodies import Captures
from ...errors import Refused
from ...graph import Anchor, Graph, Parameter, Value
from ...op import importer_of
from ...passes import after_import
from ...sizes import Dim, Size, symbol
from ..base import Call, Importing, output_names
from .arrays import numpy_dtype, to_numpy
from .bodies import ControlCall
from .decompose import FRAMEWORK, importer_for, is_complex, is_constant, is_ignored, is_random, native_name, readable
from .export import FUNCTIONS, export, frozen
from .outputs import described, refuse_state
from .run import Program, describe, plain, user_outputs
from .symbolic import MEASURED, from_sympy, is_new

ITEMS = ("aten.item.default", "aten._local_scalar_dense.default")  # make a Python number of a tensor


def load(
    model: Any, *, example: Any = None, input_shapes: Any = None, static_batch: bool = False, dynamic_batch: bool = False
) -> Graph:
    """The graph of a module (exported with `example`) or of an ExportedProgram."""
    exported = isinstance(model, torch.export.ExportedProgram)
    program = model if exported else export(model, example, input_shapes, static_batch)
    kept = set() if exported else frozen(model, program, example, input_shapes, static_batch)
    graph = Reader(readable(program), describe(model), kept).read()
    graph.program.module = None if exported else model
    return graph


class Reader:
    """Walks one exported program."""

    def __init__(self, program: Any, description: str, frozen: Collection[str] = ()):
        self.program, self.frozen = program, frozen
        self.importing = Importing(FRAMEWORK, description)
        self.graph = self.importing.graph
        self.env: dict[torch.fx.Node, Any] = {}
        self.symbols: dict[str, Size] = {}
        self.roots: dict[Any, Any] = {}
        self.names: dict[torch.fx.Node, str] = {}
        self.counts: dict[str, int] = {}  # of calls under one name
        stacks = [_stack(node) for node in program.graph.nodes]  # what a parametrised weight calls does not count
        self.composite = {path for stack in stacks for path, inner in pairwise(stack) if "parametrizations" not in inner}
        self.called = {path for stack in stacks for path in stack}
        self.targets: dict[torch.fx.Node, str] = {}  # of weights: where the module holds them
        self.captures: Captures | None = None  # what the body at hand takes from outside
        self.path = ""  # through the calls around it

    def read(self) -> Graph:
        from torch.export.graph_signature import ConstantArgument, InputKind

        specs = self.program.graph_signature.input_specs
        placeholders = [n for n in self.program.graph.nodes if n.op == "placeholder"]
        users = [n for n, s in zip(placeholders, specs, strict=True) if s.kind == InputKind.USER_INPUT]
        self.name_symbols(users)
        for node, spec in zip(placeholders, specs, strict=True):
            if isinstance(spec.arg, ConstantArgument):
                self.env[node] = spec.arg.value  # a number, text or None, which torch took for fixed
            elif spec.kind == InputKind.USER_INPUT:
                self.env[node] = self.user_input(node)
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                self.env[node] = self.graph.parameter(self.parameter(spec, InputKind))
                self.targets[node] = spec.target
            else:
                raise Refused(f"the exported program takes {spec.kind} {spec.arg.name!r}", why="only tensors convert")
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self.visit(node)
        graph = self.graph
        outputs = next(n for n in self.program.graph.nodes if n.op == "output").args[0]
        results = user_outputs(self.program, outputs)
        graph.structure, results = described(self.program.call_spec.out_spec, results)
        graph.outputs = [self.value(r) for r in results if not (self.importing.missing and self.env.get(r) is None)]
        graph.output_names = output_names(graph.structure, len(results))
        graph.program = Program(self.program)
        made = self.importing.finish(after_import)
        refuse_state(self.program, made, [self.env.get(n) if isinstance(n, torch.fx.Node) else None for n in outputs])
        return made

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

    def name_measured(self, results: Sequence[Value | None], fakes: Sequence[Any]) -> None:
        """A size that only a run tells goes by the importer's name for it from here on."""
        for value, fake in zip(results, fakes, strict=True):
            if value is None or not isinstance(fake, torch.Tensor):
                continue
            for ours, theirs in zip(value.shape, fake.shape, strict=False):
                if isinstance(theirs, torch.SymInt) and theirs.node.expr.is_Symbol and isinstance(ours, Size):
                    self.symbols.setdefault(str(theirs.node.expr), ours)

    # calls

    def visit(self, node: torch.fx.Node) -> None:
        fake = node.meta.get("val")
        if isinstance(fake, torch.SymInt | torch.SymBool | torch.SymFloat | int | bool | float):
            if str(node.target) in ITEMS and isinstance(fake, torch.SymFloat | torch.SymInt | torch.SymBool):
                self.env[node] = self.env[node.args[0]].reshape()  # type: ignore[index]
            return  # torch's arithmetic on sizes: read where it is used
        if node.target is operator.getitem:
            source, index = node.args
            made = self.env.get(source)  # type: ignore[arg-type]
            self.env[node] = None if made is None else made[index]  # type: ignore[index]
            return
        if is_ignored(str(node.target)):
            return
        if is_constant(node):
            made = node.target(*node.args, **node.kwargs)  # type: ignore[operator]
            self.env[node] = self.graph.constant(to_numpy(torch.view_as_real(made) if made.is_complex() else made))
            return
        if isinstance(node.target, torch._ops.OpOverload):
            self.call(node, native_name(node), node.target, node.args, node.kwargs)
        else:
            self.control(node)

    def control(self, node: torch.fx.Node) -> None:
        """A call that runs graphs of its own; torch states its results as a list."""
        importer = importer_of(FRAMEWORK, str(node.target)) if isinstance(node.target, torch._ops.HigherOrderOperator) else None
        if importer is None:
            raise Refused(
                f"{node.target}, which runs other functions", f"torch {node.name!r}", "only what computes tensors from tensors converts",
                "Write it with torch.where, or export the branch or the rounds that are wanted",
            )  # fmt: skip
        call = ControlCall(self, node)
        several = isinstance(node.meta["val"], tuple | list)
        fakes = node.meta["val"] if several else [node.meta["val"]]
        results = self.importing.call(
            importer, call, call.operands(), name=self.name(node), source=f"torch {node.target} {node.name!r}",
            claims=[self.claimed(f) if isinstance(f, torch.Tensor) else None for f in fakes],
            keys=None if self.captures else [f"{node.name}:{i}" for i in range(len(fakes))] if several else [node.name],
        )  # fmt: skip
        self.env[node] = results if several else results[0]
        self.name_measured(results, fakes)

    def inner(self, module: Any, operands: Sequence[Any]) -> list[Value]:
        """What a graph inside a call makes of its arguments, read into the graph at hand."""
        for place, operand in zip((n for n in module.graph.nodes if n.op == "placeholder"), operands, strict=True):
            self.env[place] = operand
            fake = place.meta["val"]
            if isinstance(operand, Value):
                self.name_measured([operand], [fake])
            elif isinstance(fake, torch.SymInt) and fake.node.expr.is_Symbol and isinstance(operand, Size):
                self.symbols.setdefault(str(fake.node.expr), operand)
        for node in module.graph.nodes:
            if node.op == "call_function":
                self.visit(node)
        found = next(n for n in module.graph.nodes if n.op == "output").args[0]
        return [self.value(r) for r in (found if isinstance(found, list | tuple) else [found])]

    def label(self, node: torch.fx.Node) -> str:
        """A name that no other call that runs graphs has."""
        return self.path + self.name(node)

    def call(self, node: torch.fx.Node, native: str, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        where = f"torch {native} {node.name!r}" + (f" in {module!r}" if (module := _module(node)) else "")
        schema = target._schema
        importer = importer_for(native, schema)
        several = isinstance(node.meta["val"], tuple | list)
        fakes = node.meta["val"] if several else [node.meta["val"]]
        keys = [f"{node.name}:{i}" for i in range(len(fakes))] if several else [node.name]
        given = {a.name: v for a, v in zip(schema.arguments, args, strict=False)} | dict(kwargs)
        operands = [self.argument(given.get(a.name, a.default_value)) for a in schema.arguments]
        if any(_counts(a) and _computed(o) for a, o in zip(schema.arguments, operands, strict=True)):
            raise Refused("a size that the network computes", where, MEASURED, "Compute it outside, and export with it")
        if importer is None and is_random(target):
            raise Refused(
                f"{native}, which draws random numbers", where, "no two frameworks draw the same ones, whatever the seed",
                "Make its result an input of the network, or a constant",
            )  # fmt: skip
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
            _call(node, self.graph, left_out, [v for v in given.values() if isinstance(v, torch.fx.Node)], self.frozen),
            operands,
            name=self.name(node),
            source=where,
            left_out=left_out,
            claims=[self.claimed(f) if isinstance(f, torch.Tensor) else None for f in fakes],
            keys=None if self.captures or any(map(is_complex, fakes)) else keys,  # a pair is not compared with a complex number
        )
        self.env[node] = results if several else results[0]
        self.name_measured(results, fakes)
        for changed, spec in zip(args, schema.arguments, strict=False):
            if spec.is_write and isinstance(changed, torch.fx.Node):
                self.env[changed] = self.env[node]  # whoever reads the old name from here on sees the new numbers

    def name(self, node: torch.fx.Node) -> str:
        """The canonical name of a call: its module's path where torch.nn made the module, otherwise path and function.

        A module of another maker gives its path to the call that takes its `weight`, so that the weight keeps its name.
        """
        if node in self.names:
            return self.names[node]
        stack = [entry for entry in (node.meta.get("nn_module_stack") or {}).values() if not entry[0].startswith("_empty")]
        path, kind = stack[-1] if stack else ("", "")
        self.graph.classes |= {names.decode(FRAMEWORK, p): str(k).rpartition(".")[2].rstrip("'>") for p, k in stack if p}
        if path.startswith(f"{FUNCTIONS}."):
            found = names.decode(FRAMEWORK, path.removeprefix(f"{FUNCTIONS}."))
        elif owner := self.owner(node, path):
            found = names.decode(FRAMEWORK, owner)
        elif str(kind).startswith("torch.nn.modules.") and path not in self.composite:
            found = names.decode(FRAMEWORK, path)
        else:
            function = str(node.target).split(".", 1)[-1].partition(".")[0].strip("_")
            plain = names.decode(FRAMEWORK, f"{path}.{function}" if path else function)
            count = self.counts[plain] = self.counts.get(plain, -1) + 1
            found = f"{plain}_{count}" if count else plain
        self.names[node] = found
        return found

    def owner(self, node: torch.fx.Node, path: str) -> str | None:
        """The module whose `weight` a call takes: its own, or one within it that is itself never called."""
        inside = f"{path}." if path else ""
        for argument in node.args:
            owner, _, key = (self.targets.get(argument, "") if isinstance(argument, torch.fx.Node) else "").rpartition(".")
            if key == "weight" and (owner == path or (owner.startswith(inside) and owner not in self.called)):
                return owner
        return None

    def argument(self, value: Any) -> Any:
        """A native argument as importers read it: Values, plain numbers, sizes, numpy dtypes."""
        if isinstance(value, torch.fx.Node):
            fake = value.meta.get("val")
            if value in self.env:
                return self.env[value]
            if isinstance(fake, torch.SymFloat | torch.SymBool):
                raise Refused(
                    f"{value.target} of {value.name!r}", why="Python computes with a number that the network computes",
                    hint="Keep it a tensor",
                )  # fmt: skip
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
        if content is None:
            why = "it is not read: it serves the operator's gradient"
            raise Refused(f"an output, the further result of {result.args[0]}", why=why, hint="Leave it out of the outputs")
        return self.graph.constant(content, plain(content).dtype) if isinstance(content, bool | float) else self.graph.of_sizes(content)

    def claimed(self, fake: torch.Tensor) -> tuple[tuple[Dim | None, ...], Any]:
        """Shape and dtype that torch states, None for a size that only a run tells; of a complex tensor, those of its pairs."""
        shape = (None if is_new(d, self.symbols) else self.size(d) for d in fake.shape)
        return (*shape, *(2,) * fake.is_complex()), numpy_dtype(fake.real.dtype)

    def shape(self, fake: torch.Tensor) -> tuple[Dim, ...]:
        return tuple(self.size(d) for d in fake.shape)

    def size(self, dim: Any) -> Dim:
        return from_sympy(dim.node.expr, self.symbols) if isinstance(dim, torch.SymInt) else int(dim)


def _call(
    node: torch.fx.Node, graph: Graph, left_out: Sequence[str], tensors: Sequence[torch.fx.Node], frozen: Collection[str]
) -> Call:
    """The call as importers see it.

    `in_order()` tells whether all tensors lie in memory in their order, without gaps; `function`, whether its arguments
    are the same in training mode: a graph module calls the function itself, and `frozen` names other modules.
    """
    call = Call(node.target, graph, left_out=left_out)
    path = _module(node)
    call.function = path.startswith(f"{FUNCTIONS}.") or path in frozen  # type: ignore[attr-defined]
    fakes = [n.meta["val"] for n in tensors if isinstance(n.meta["val"], torch.Tensor)]
    call.in_order = lambda: all(f.is_contiguous() and f.storage_offset() == 0 for f in fakes)  # type: ignore[attr-defined]
    return call


def refuse_complex(tensor: torch.Tensor, what: str) -> None:
    """Refuse complex numbers where a network takes, holds or gives them; between its calls they may be."""
    if is_complex(tensor):
        raise Refused(
            f"{what} is complex", why="ONNX and Keras have no complex tensors",
            hint="Use torch.view_as_real and torch.view_as_complex inside the network",
        )  # fmt: skip


def _lacks(arguments: Iterable[Any], env: Mapping[Any, Any]) -> bool:
    found: list[Any] = []
    torch.fx.node.map_arg(tuple(arguments), found.append)
    return any(n in env and env[n] is None for n in found)


def _counts(argument: Any) -> bool:
    """Whether an argument is a size, an axis or a list of such."""
    return "int" in str(argument.type).lower()


def _computed(operand: Any) -> bool:
    return isinstance(operand, Value) or (isinstance(operand, tuple) and any(map(_computed, operand)))


def _module(node: torch.fx.Node) -> str:
    """Path of the module a call was traced in."""
    stack = _stack(node)
    return stack[-1] if stack else ""


def _stack(node: torch.fx.Node) -> list[str]:
    """Paths of the modules around a call, the innermost last."""
    return [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if not path.startswith("_empty")]
