"""The classes of PyTorch source code: one for each scope of the source that is no plain sequence of layers."""

from __future__ import annotations

import ast

from ... import names
from ...code import text
from ...code.folding import Definition
from ...code.naming import statements
from ...code.steps import Block, Made, call, dotted, value, walk
from ...code.words import class_name, is_name, title, type_text, words
from .source_modules import repeated, shortened
from .source_tree import Tree


class Classes(Tree):
    """The text of one graph module's classes."""

    def text(self, main: str) -> str:
        """The classes, the one that holds the others last."""
        found = []
        for definition in self.definitions.all:
            path = definition.block.path
            said = self.source.graph.classes.get(names.decode("torch", self.prefix + ".".join(path)), "")
            said = "" if said in ("Sequential", "ModuleList", "ModuleDict", "Module") else title(words(said))
            definition.name = self.source.unique(said or class_name(path))
        for definition in self.definitions.all:
            found.append(self.class_text(definition.name, definition.block, definition))
        found.append(self.class_text(main, self.root, None))
        return "\n\n\n".join(found)

    def class_text(self, name: str, block: Block, definition: Definition | None) -> str:
        if block.is_sequence and definition is not None:
            return self.sequence_text(name, block, definition)
        lines = [f"class {name}(nn.Module):", *text.docstring(self.docstring(block, definition), 4), ""]
        stored = self.stored(block)
        if block.entries or stored:
            parameters = self.parameters(definition) if definition else []
            lines += text.signature("__init__", ["self", *parameters], "None", 4)
            lines += ["        super().__init__()", *(f"        self.{k} = {k}" for k in stored)]
            for key, made in block.entries:
                lines += self.entry(block, key, shortened(self.called(made)), definition)
            if definition is None and not self.prefix:
                lines += self.settle()
            lines.append("")
        given = self.input_names(block, definition)
        returned = self.steps.returned if block is self.root else _tuple([value(r) for r in block.results])
        parameters = [f"{n}: {self.type_of(i)}" for n, i in zip(given, block.inputs, strict=True)]
        lines += text.signature("forward", ["self", *parameters], _returns(returned), 4)
        written, result = statements(block, given, lambda read: self.read(read, block), returned)
        for statement in written:
            lines += text.lines(statement.expression, 8, f"{', '.join(statement.targets)} = ")
        lines += text.returned(result, 8)
        return "\n".join(lines)

    def parameters(self, definition: Definition) -> list[str]:
        """The parameters of a constructor with their types."""
        given = {k: f" = {text.unparse(ast.Constant(v))}" for k, v in definition.defaults.items()}
        return [f"{k}: {type_text(definition.parameters[k])}{given.get(k, '')}" for k in definition.sorted()]

    def sequence_text(self, name: str, block: Block, definition: Definition) -> str:
        lines = [f"class {name}(nn.Sequential):", *text.docstring(self.docstring(block, definition), 4), ""]
        lines += text.signature("__init__", ["self", *self.parameters(definition)], "None", 4)
        made = shortened(self.called(block.entries[0][1]))
        made.func = ast.Attribute(call("super"), "__init__")  # type: ignore[attr-defined]
        return "\n".join([*lines, *text.lines(made, 8)])

    def docstring(self, block: Block, definition: Definition | None) -> list[str]:
        if definition is not None:
            paths = list(dict.fromkeys(".".join(i.path) for i in definition.instances))
            if len(paths) == 1:
                return [f"The source's {paths[0]}."]
            shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
            return [f"The source's {shown}."]
        if self.prefix:
            return [f"A branch or round of the source's {self.prefix.split('.')[0]}."]
        graph = self.source.graph
        rows = [("Inputs", [(n, v) for n, v in zip(self.input_names(block, None), graph.inputs, strict=True)])]
        rows.append(("Outputs", list(zip(graph.output_names, graph.outputs, strict=True))))
        lines = ["The whole network."]
        for heading, ports in rows:
            lines += ["", f"{heading}:"]
            for port, v in ports:
                sizes = (
                    f"({', '.join(map(str, v.shape))}{',' if v.rank == 1 else ''})" if hasattr(v.dtype, "name") else ""
                )
                lines.append(f"    {port}: {v.dtype} {sizes}".rstrip())
        return lines

    def called(self, made: ast.expr) -> ast.expr:
        """An expression with the classes' names in it."""
        classes = self.definitions.of

        class Name(ast.NodeTransformer):
            def generic_visit(self, node: ast.AST) -> ast.AST:
                if isinstance(node, Made):
                    return _made(classes[id(node.block)], {str(k.arg): k.value for k in node.keywords})
                return super().generic_visit(node)

            visit = generic_visit

        return repeated(Name().visit(made))

    def entry(self, block: Block, key: str, made: ast.expr, definition: Definition | None) -> list[str]:
        """The statement that sets an attribute; a flag decides about one that not all instances have."""
        owner, _, own = key.rpartition(".")
        where = text.unparse(self.read("@" + ".".join((*block.path, *owner.split("."))), block)) if owner else "self"
        if isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "register_buffer":
            made = ast.Call(
                ast.Attribute(dotted("self"), "register_buffer"), [ast.Constant(own), *made.args], made.keywords
            )
            lines = text.lines(made, 8)
            lines[0] = lines[0].replace("self.", f"{where}.", 1)
            return lines
        if not is_name(own):
            method = "register_parameter" if text.unparse(made).startswith("nn.Parameter(") else "add_module"
            return (
                text.lines(call(ast.Attribute(dotted("self"), method), ast.Constant(own), made), 8)
                if where == "self"
                else [f"        {where}.{method}({text.unparse(ast.Constant(own))}, {text.unparse(made)})"]
            )
        if definition is not None and key == definition.optional:
            inside = text.lines(made, 12, f"self.{own} = ")
            return [f"        self.{own} = nn.Identity()", f"        if {own}:", *inside]
        return text.lines(made, 8, f"{where}.{own} = ")

    def settle(self) -> list[str]:
        """What is said about the whole tree: weights that are the same, and those that stand still."""
        lines = []
        for name, owner in self.source.tied.items():
            home, _, key = name.rpartition(".")
            target = self.read(f"@{home}", self.root) if home else dotted("self")
            if is_name(key):
                lines.append(
                    f"        {text.unparse(ast.Attribute(target, key))} = {text.unparse(self.read('@' + owner, self.root))}"
                )
            else:
                given = f"{text.unparse(ast.Constant(key))}, {text.unparse(self.read('@' + owner, self.root))}"
                lines.append(f"        {text.unparse(target)}.register_parameter({given})")
        for name in self.source.frozen:
            lines.append(f"        {text.unparse(self.read('@' + name, self.root))}.requires_grad_(False)")
        return lines

    def stored(self, block: Block) -> list[str]:
        """The parameters that the statements of a block read."""
        read = (
            n.id[1:]
            for item in block.items
            for n in walk(item.expression)
            if isinstance(n, ast.Name) and n.id[:1] == "$"
        )
        return list(dict.fromkeys(read))

    def input_names(self, block: Block, definition: Definition | None) -> list[str]:
        if block is self.root:
            return [
                str(n.target) if is_name(str(n.target)) else n.name
                for n in self.model.graph.nodes
                if n.op == "placeholder"
            ]
        unique = names.Unique(["self"])
        bases = [unique("x")]
        bases += [unique("size" if self.type_of(i) == "int" else self.base_of(i)) for i in block.inputs[1:]]
        return bases[: len(block.inputs)]

    def base_of(self, number: int) -> str:
        given = dict(zip(self.steps.inputs, (names.identifier(v.name) for v in self.source.graph.inputs), strict=False))
        step = next((s for s in self.steps.steps if number in s.results), None)
        return (step.base if step else given.get(number)) or "y"

    def type_of(self, number: int) -> str:
        step = next((s for s in self.steps.steps if number in s.results), None)
        sized = (
            step is not None
            and isinstance(step.expression, ast.Subscript)
            and isinstance(step.expression.value, ast.Attribute)
        )
        if step is not None and isinstance(step.expression, ast.Attribute) and step.expression.attr == "device":
            return "torch.device"
        return "int" if sized else "Tensor"

    def read(self, name: str, block: Block) -> ast.expr:
        """The expression of a place, seen from a block's class, or of a stored parameter."""
        if name[0] == "$":
            return ast.Attribute(ast.Name("self"), name[1:])
        path = tuple(name[1:].split("."))
        found: ast.expr = ast.Name("self")
        for count in range(len(block.path) + 1, len(path) + 1):
            owner, part = path[: count - 1], path[count - 1]
            holder = self.at.get(owner)
            counted = (holder is not None and holder.is_sequence) or self.kinds.get(owner) in ("list", "weights")
            if part.isdigit() and counted:
                found = ast.Subscript(found, ast.Constant(int(part)))
            elif is_name(part):
                found = ast.Attribute(found, part)
            elif self.kinds.get(owner) == "dict":
                found = ast.Subscript(found, ast.Constant(part))
            else:
                module = ".".join(path[:count]) in self.modules
                found = call(ast.Attribute(found, "get_submodule" if module else "get_parameter"), ast.Constant(part))
        return found


def _made(definition: Definition, arguments: dict[str, ast.expr]) -> ast.expr:
    """The constructor call of a class of ours: what has no default by position, if that is little."""
    defaults = definition.defaults
    needed = [k for k in definition.sorted() if k not in defaults]
    by_place = needed if len(needed) <= 3 else []
    usual = {
        k for k, v in arguments.items() if isinstance(v, ast.Constant) and k in defaults and v.value == defaults[k]
    }
    rest = {k: arguments[k] for k in definition.sorted() if k not in by_place and k not in usual}
    return call(definition.name, *(arguments[k] for k in by_place), **rest)


def _tuple(parts: list[ast.expr]) -> ast.expr:
    return parts[0] if len(parts) == 1 else ast.Tuple(parts)


def _returns(returned: ast.expr) -> str:
    """The type of what a forward returns."""
    if isinstance(returned, ast.Tuple):
        return f"tuple[{', '.join(_returns(e) for e in returned.elts) or '()'}]"
    if isinstance(returned, ast.List):
        return f"list[{' | '.join(dict.fromkeys(_returns(e) for e in returned.elts)) or 'Tensor'}]"
    if isinstance(returned, ast.Dict):
        return f"dict[str, {' | '.join(dict.fromkeys(_returns(e) for e in returned.values)) or 'Tensor'}]"
    return "None" if isinstance(returned, ast.Constant) and returned.value is None else "Tensor"
