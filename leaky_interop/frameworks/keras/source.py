"""Writes a converted network as Keras source with its weights beside it: code that runs without this package.

The calls of a built functional model give the statements; scopes that repeat become functions that take their layers'
name (`code`). Names of layers stand in literals; everything else in the code is an identifier of Keras or of our own.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path as File
from typing import Any

import keras
import numpy as np

from ... import names
from ...code import text
from ...code.checking import Run, compare, executed
from ...code.folding import Definition, Definitions, inner, skeleton
from ...code.naming import MAIN, statements
from ...code.scopes import blocks
from ...code.steps import Block, Item, Made, Path, Step, call, common, dotted, literal, operands, place, value
from ...code.words import Unique, class_name, numbered, title, type_text, words
from ...errors import Refused
from ...graph import Graph, snake
from .source_layers import arguments_of, array_expression, constructor, shortened
from .walk import nodes

LINE = 40  # characters of a constant that is written where it is used
FEW = 3  # steps of a block that is written out wherever it stands
MANY = 4  # results and further inputs of a block that is still a function
TAKEN = {"keras", "layers", "ops", "np", "build", "load", "name", "Path"}
BINARY = {
    "Add": ast.Add,
    "Subtract": ast.Sub,
    "Multiply": ast.Mult,
    "Divide": ast.Div,
    "TrueDivide": ast.Div,
    "Matmul": ast.MatMult,
}


def save_source(model: keras.Model, path: File, graph: Graph) -> None:
    """Write `net.py` and `net.weights.h5` beside each other.

    Raises RuntimeFailure if the source did not compute the same bits.
    """
    written = Source(model, graph).text()
    path.write_text(written, encoding="utf-8")
    made = executed(path)
    again = made["build"]()
    for layer in model.layers:
        there = again.get_layer(layer.name) if layer.weights else None
        for mine, other in zip(layer.weights, there.weights if there else (), strict=True):
            other.assign(mine)
    again.save_weights(path.with_suffix(".weights.h5"))
    compare(graph, _run(model), _run(made["load"]()), "Write a .keras file")


def _run(model: keras.Model) -> Run:
    """The model as a function of arrays."""

    def run(arrays: list[Any]) -> list[Any]:
        tensors = [keras.ops.convert_to_tensor(a) for a in arrays]
        results = keras.tree.flatten(model(tensors if len(tensors) > 1 else tensors[0], training=False))
        return [np.asarray(keras.ops.convert_to_numpy(r)) for r in results]

    return run


class Source:
    """The text of one model."""

    def __init__(self, model: keras.Model, graph: Graph):
        self.model = model
        self.graph = graph
        self.count = 0
        self.native: dict[int, ast.expr] = {}
        self.objects: dict[int, ast.expr] = {}  # layers with weights that are called several times
        self.steps: list[Step] = []
        self.inputs = [self.number(t) for t in model.inputs]
        self.calls = list(nodes(model))
        self.runs = Counter(id(n.operation) for n in self.calls)
        self.scopes = self.find_scopes()
        for node in self.calls:
            self.visit(node)
        returned = keras.tree.map_structure(lambda t: _Leaf(self.native[id(t)]), model._outputs_struct)
        self.returned = _structure(returned)
        self.root = blocks(self.steps, self.inputs, operands(self.returned), self.accepts)
        self.flatten()
        self.definitions = Definitions(self.root)

    def number(self, tensor: Any) -> int:
        self.native[id(tensor)] = value(self.count)
        self.count += 1
        return self.count - 1

    def path(self, name: str) -> Path:
        """A layer's name in parts: those of the scopes around it, then its own."""
        parts = name.split("__")
        return tuple(parts) if all(parts) and "." not in name else (name,)

    def find_scopes(self) -> dict[int, Path]:
        """The scope of each call, by id: its layer's; of a layer without weights that is called in many places, its users'."""
        found: dict[int, Path] = {}
        users: dict[int, list[Path]] = {}
        for node in reversed(self.calls):
            readers = [s for t in node.output_tensors for s in users.get(id(t), ())]
            own = self.path(node.operation.name)[:-1]
            is_shared = self.runs[id(node.operation)] > 1 and not getattr(node.operation, "weights", ())
            found[id(node)] = common(readers) if is_shared and readers else own
            for tensor in node.input_tensors:
                users.setdefault(id(tensor), []).append(found[id(node)])
        return found

    def visit(self, node: Any) -> None:
        """One call of a layer or function as a step."""
        operation = node.operation
        path = self.path(operation.name)
        results = [self.number(t) for t in node.output_tensors]
        scope = self.scope = self.scopes.get(id(node), path[:-1])
        base = names.identifier(next((p for p in reversed(path) if not p.isdigit()), "y"))
        if isinstance(operation, keras.Layer):
            expression = ast.Call(self.layer(operation, path, base), *self.arguments(node))
        else:
            expression = self.function(node)
        weight = 3 if isinstance(operation, keras.Layer) else 1
        base = f"{base}_" if base in TAKEN else base
        if len(results) > 1:
            base = snake(type(operation).__name__)
        self.steps.append(Step(scope, expression, results, base=base, weight=weight))

    def layer(self, operation: keras.Layer, path: Path, base: str) -> ast.expr:
        """The expression of a layer: its constructor, or the variable that holds one that is called several times."""
        if self.runs[id(operation)] == 1:
            return constructor(operation, place(path))
        if not operation.weights:
            return constructor(operation, None)
        if id(operation) not in self.objects:
            self.objects[id(operation)] = value(self.count)
            self.steps.append(
                Step(path[:-1], constructor(operation, place(path)), [self.count], base=f"{base}_layer", weight=3)
            )
            self.count += 1
        return self.objects[id(operation)]

    def function(self, node: Any) -> ast.expr:
        """A call of keras.ops; arithmetic as operators."""
        kind = type(node.operation).__name__
        given, keywords = self.arguments(node)
        first = keras.tree.flatten(node.arguments.args)[:1]
        if kind in BINARY and len(given) == 2 and first and isinstance(first[0], keras.KerasTensor):
            return ast.BinOp(given[0], BINARY[kind](), given[1])
        if kind == "GetItem":
            return ast.Subscript(given[0], given[1])
        name, by_place, settings = arguments_of(node.operation, len(given))
        given += [self.argument(v) for v in by_place]
        keywords += [ast.keyword(k, self.argument(v)) for k, v in settings.items()]
        return ast.Call(dotted(f"ops.{name}"), given, keywords)

    def arguments(self, node: Any) -> tuple[list[ast.expr], list[ast.keyword]]:
        given = [self.argument(a) for a in node.arguments.args]
        usual = (None, False)
        rest = {k: v for k, v in node.arguments.kwargs.items() if not any(v is u for u in usual)}
        return given, [ast.keyword(k, self.argument(v)) for k, v in rest.items()]

    def argument(self, content: Any) -> ast.expr:
        if isinstance(content, keras.KerasTensor):
            return self.native[id(content)]
        if isinstance(content, list | tuple):
            return (ast.List if isinstance(content, list) else ast.Tuple)([self.argument(c) for c in content])
        if isinstance(content, slice):
            return ast.Slice(
                *(None if p is None else self.argument(p) for p in (content.start, content.stop, content.step))
            )
        if isinstance(content, np.ndarray | np.generic) or keras.ops.is_tensor(content):
            return self.array(
                np.asarray(keras.ops.convert_to_numpy(content) if keras.ops.is_tensor(content) else content)
            )
        if content is None or content is Ellipsis or isinstance(content, bool | int | float | str):
            return literal(content)
        raise Refused(
            f"an argument of {type(content)} in source code", why="it has no literal", hint="Write a .keras file"
        )

    def array(self, array: np.ndarray) -> ast.expr:
        """A constant as numpy writes it; one of many numbers has a line of its own."""
        made = array_expression(array)
        if len(ast.unparse(made)) < LINE:
            return made
        self.steps.append(Step(self.scope, made, [self.count], base="constant", weight=3))
        self.count += 1
        return value(self.count - 1)

    # blocks

    def accepts(self, block: Block) -> bool:
        """Whether a scope can be a function of few values."""
        block.expression = Made(block, [*(value(i) for i in block.inputs), place(block.path)])
        block.base = names.identifier(next((p for p in reversed(block.path) if not p.isdigit()), "y"))
        block.weight = 3
        return len(block.results) <= MANY and len(block.inputs) <= MANY + 1

    def flatten(self) -> None:
        """Write out the blocks that do not repeat, or hold little."""
        while True:
            counts = Counter(skeleton(b) for b in inner(self.root))
            single = {id(b) for b in inner(self.root) if counts[skeleton(b)] < 2 or len(b.items) < FEW}
            if not single:
                return
            self.root.items = self.flattened(self.root, single)

    def flattened(self, block: Block, single: set[int]) -> list[Item]:
        found: list[Item] = []
        for item in block.items:
            if isinstance(item, Block):
                item.items = self.flattened(item, single)
            found += item.items if isinstance(item, Block) and id(item) in single else [item]
        return found

    # text

    def text(self) -> str:
        """The whole file."""
        unique = Unique(TAKEN)
        parts = []
        for definition in self.definitions.all:
            path = definition.block.path
            said = self.graph.classes.get(names.decode("keras", "__".join(path)), "")
            said = "" if said in ("Sequential", "ModuleList", "ModuleDict", "Module") else title(said)
            definition.name = unique(names.identifier(snake(said or class_name(path))))
        for definition in self.definitions.all:
            parts.append(self.function_text(definition))
        parts += [self.build(), self.load()]
        whole = "\n\n\n".join(parts)
        description = " ".join(self.graph.description.split())
        head = [
            *text.docstring(
                [f"{words(self.graph.description) or 'A network'}, converted by leaky_interop from {description}."], 0
            ),
            "",
        ]
        head += ["from __future__ import annotations", "", "from pathlib import Path", "", "import keras"]
        head += ["import numpy as np"] if re.search(r"\bnp\.", whole) else []
        used = [name for name in ("layers", "ops") if re.search(rf"\b{name}\.", whole)]
        head += [f"from keras import {', '.join(used)}"] if used else []
        return "\n".join([*head, "", 'WEIGHTS = Path(__file__).with_suffix(".weights.h5")', "", "", whole, ""])

    def function_text(self, definition: Definition) -> str:
        block = definition.block
        given = ["x", *(n for n, _ in zip(self.others(block), block.inputs[1:], strict=False))]
        needed = [k for k in definition.sorted() if k not in definition.defaults]
        usual = [f"{k}: {type_text(definition.parameters[k])} = {v!r}" for k, v in definition.defaults.items()]
        typed = [
            *(f"{g}: keras.KerasTensor" for g in given),
            *(f"{k}: {type_text(definition.parameters[k])}" for k in needed),
        ]
        returns = (
            "keras.KerasTensor"
            if len(block.results) == 1
            else f"tuple[{', '.join(['keras.KerasTensor'] * len(block.results))}]"
        )
        lines = text.signature(definition.name, [*typed, "name: str", *usual], returns, 0)
        paths = list(dict.fromkeys("__".join(i.path) for i in definition.instances))
        lines += text.docstring(
            [f"The layers of {', '.join(paths[:3])}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''}."], 4
        )
        results: list[ast.expr] = [value(r) for r in block.results]
        returned = results[0] if len(results) == 1 else ast.Tuple(results)
        return "\n".join([*lines, *self.body(block, given, returned, {*definition.parameters})])

    def others(self, block: Block) -> list[str]:
        return [name for name, _ in zip(numbered("y"), block.inputs, strict=False)]

    def body(self, block: Block, given: list[str], returned: ast.expr, taken: set[str]) -> list[str]:
        taken = {*taken, *TAKEN, *(d.name for d in self.definitions.all)}
        written, result = statements(block, given, lambda read: self.read(read, block), returned, taken)
        lines = []
        for statement in written:
            lines += text.lines(shortened(self.called(statement.expression)), 4, f"{', '.join(statement.targets)} = ")
        return [*lines, *text.returned(shortened(self.called(result)), 4)]

    def called(self, made: ast.expr) -> ast.expr:
        """An expression with the functions' names in it."""
        definitions = self.definitions.of

        class Name(ast.NodeTransformer):
            def visit(self, node: ast.AST) -> ast.AST:
                node = self.generic_visit(node)
                if not isinstance(node, Made):
                    return node
                definition = definitions[id(node.block)]
                defaults, given = definition.defaults, {str(k.arg): k.value for k in node.keywords}
                needed = [given[k] for k in definition.sorted() if k not in defaults]
                rest = {
                    k: v
                    for k, v in given.items()
                    if k in defaults and not (isinstance(v, ast.Constant) and v.value == defaults[k])
                }
                *values, name = node.operands
                return call(definition.name, *values, *needed, name=name, **rest)

        return Name().visit(made)  # type: ignore[no-any-return]

    def read(self, read: str, block: Block) -> ast.expr:
        """A parameter, or the name of a layer: whole, or behind the name that a block is given."""
        if read[0] == "$":
            return ast.Name(read[1:])
        if block is self.root:
            return ast.Constant(read[1:].replace(".", "__"))
        own = read[1:].removeprefix("".join(f"{p}." for p in block.path)).replace(".", "__")
        return ast.JoinedStr([ast.FormattedValue(ast.Name("name"), -1), ast.Constant(f"__{own}")])

    def build(self) -> str:
        lines = text.signature("build", [], "keras.Model", 0) + text.docstring(self.docstring(), 4)
        unique = Unique(TAKEN - {"name"})
        own = [names.identifier(t._keras_history.operation.name) for t in self.model.inputs]
        given = [unique("inputs" if len(own) == 1 else f"{n}_input" if n in MAIN else n) for n in own]
        for name, tensor in zip(given, self.model.inputs, strict=True):
            free = tensor.shape[:1] == (None,)
            shape = [ast.Constant(tuple(tensor.shape[1:]))] if free else []
            settings = {} if free else {"batch_shape": ast.Constant(tuple(tensor.shape))}
            settings |= {} if tensor.dtype == "float32" else {"dtype": ast.Constant(tensor.dtype)}
            made = call("keras.Input", *shape, **settings, name=ast.Constant(tensor._keras_history.operation.name))
            lines += text.lines(made, 4, f"{name} = ")
        kept = ast.List([value(i) for i in self.inputs]) if len(given) > 1 else value(self.inputs[0])
        settings = {} if self.model.name.startswith("functional") else {"name": ast.Constant(self.model.name)}
        settled = self.settle()
        made = call("keras.Model", kept, self.returned, **settings)
        body = self.body(self.root, given, made, set())
        if settled:
            last = next(i for i in reversed(range(len(body))) if body[i].startswith("    return "))
            body[last] = body[last].replace("    return ", "    model = ", 1)
            body += [*settled, "    return model"]
        return "\n".join([*lines, *body])

    def settle(self) -> list[str]:
        """Weights that stand still in layers that train."""
        lines = []
        for layer in self.model.layers:
            still = [v for v in layer.weights if layer.trainable and not v.trainable and _has_gradient(layer, v)]
            for variable in still:
                place_ = next((k for k, v in vars(layer).items() if v is variable and k.isidentifier()), None)
                if place_ is None:
                    raise Refused(
                        f"the frozen weight {variable.path} in source code",
                        why="its layer has no name for it",
                        hint="Write a .keras file",
                    )
                lines.append(
                    f"    model.get_layer({text.unparse(ast.Constant(layer.name))}).{place_.lstrip('_')}.trainable = False"
                )
        return lines

    def load(self) -> str:
        lines = text.signature("load", ["weights: str | Path = WEIGHTS"], "keras.Model", 0)
        lines += ['    """The network with its trained weights."""', "    model = build()"]
        return "\n".join([*lines, "    model.load_weights(weights)", "    return model"])

    def docstring(self) -> list[str]:
        lines = ["The whole network, without numbers in it."]
        if any("rows_of" in n.operation.name for n in self.calls):
            lines += ["", "Weights that belong to no layer stand in Embeddings, all of whose rows are looked up."]
        rows = [("Inputs", [(v.name, v) for v in self.graph.inputs])]
        rows.append(("Outputs", list(zip(self.graph.output_names, self.graph.outputs, strict=True))))
        for heading, ports in rows:
            lines += [
                "",
                f"{heading}:",
                *(f"    {n}: {v.dtype} ({', '.join(map(str, v.shape))}{',' if v.rank == 1 else ''})" for n, v in ports),
            ]
        return lines


def _has_gradient(layer: Any, variable: Any) -> bool:
    """Whether a weight would train by itself: statistics and seeds do not."""
    return any(v is variable for part in layer._flatten_layers() for v in part._trainable_variables)


class _Leaf:
    def __init__(self, expression: ast.expr):
        self.expression = expression


def _structure(content: Any) -> ast.expr:
    """Nested outputs as an expression."""
    if isinstance(content, _Leaf):
        return content.expression
    if isinstance(content, dict):
        return ast.Dict([ast.Constant(str(k)) for k in content], [_structure(c) for c in content.values()])
    return (ast.List if isinstance(content, list) else ast.Tuple)([_structure(c) for c in content])
