"""Slopes in Python source text, of any framework: one reader of calls, which runs nothing of what it reads.

Names are followed through the text's imports, so a function of the user's own that is also called leaky_relu is none.
Slopes are numbers, simple arithmetic of numbers (1 / 3), or a name that the text binds once, to one of these.
"""

from __future__ import annotations

import ast
import dataclasses
import keyword
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import Usage
from .spelling import Found, Given, Spelling, single, text_of

DEEPEST = 50  # nesting of the arithmetic that states a slope
ALIASES = {"tf": "tensorflow", "mx": "mxnet", "jnp": "jax.numpy", "np": "numpy"}  # where the text imports nothing
NUMBERS = {"nan": math.nan, "inf": math.inf}
MODULES = ("math", "np", "numpy", "jnp", "jax.numpy", "torch")  # where NUMBERS are found


@dataclasses.dataclass(frozen=True)
class Call:
    """How a framework's function or layer is called.

    names: full dotted names, the one to write first. keywords: of the slope, the one to write first; none: it has no
    slope to state. position: the slope's, among the positional arguments. function: it may be handed over without being
    called, which means its default. method: it is also called on data, by this name, its position one less.
    string: a text that names it (`activation="leaky_relu"`), for layers whose name begins with one of `names`.
    """

    names: tuple[str, ...]
    keywords: tuple[str, ...] = ()
    position: int = 1
    function: bool = True
    method: str = ""
    string: str = ""


def constant(node: ast.expr, names: Mapping[str, float], depth: int = 0) -> float | None:
    """The number that an expression states; None where it states none, or only running it would tell."""
    if depth > DEEPEST:
        return None
    try:
        match node:
            case ast.Constant(value=bool()):
                return None
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return names.get(name)
            case ast.Attribute(value=module, attr=attr) if dotted(module) in MODULES:
                return NUMBERS.get(attr)
            case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str() as text)], keywords=[]):
                return float(text)
            case ast.Call(func=ast.Name(id="float"), args=[inner], keywords=[]):
                return constant(inner, names, depth + 1)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
                value = constant(inner, names, depth + 1)
                return value if value is None or isinstance(sign, ast.UAdd) else -value
            case ast.BinOp(left=left, op=operator, right=right):
                a, b = constant(left, names, depth + 1), constant(right, names, depth + 1)
                return None if a is None or b is None else arithmetic(operator, a, b)
    except (ValueError, OverflowError, ZeroDivisionError):
        pass
    return None


def arithmetic(operator: ast.operator, a: float, b: float) -> float | None:
    match operator:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.Div():
            return a / b
        case ast.Pow():
            value = a**b
            return value if isinstance(value, float) else None
    return None


def dotted(node: ast.AST) -> str:
    """ "a.b.c" of a name or of attributes of a name, otherwise ""."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


class Text:
    """A parsed text: its imports, its constants, and the names under which calls are kept."""

    def __init__(self, source: str) -> None:
        try:
            self.nodes = list(ast.walk(ast.parse(source)))
        except SyntaxError as error:
            why = f"{error.msg}, line {error.lineno}"
            raise Usage("the Python source does not parse", why=why, hint="Python 2 is not read") from None
        except (RecursionError, MemoryError, ValueError):
            raise Usage("the Python source does not parse", why="it is nested too deeply, or holds a null") from None
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    self.imports[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    if alias.name == "*":
                        self.stars.append(node.module)
                    else:
                        self.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        self.packages = {name.partition(".")[0] for name in (*self.imports.values(), *self.stars)}
        self.constants = self._constants()
        self.kept = dict(self._kept())

    def names_of(self, node: ast.AST) -> list[str]:
        """The full dotted names that a name may stand for; one, but for imports of everything."""
        name = dotted(node)
        if not name:
            return []
        first, dot, rest = name.partition(".")
        if first in self.imports:
            return [self.imports[first] + dot + rest]
        if self.packages:
            return [f"{module}.{name}" for module in self.stars]
        return [ALIASES.get(first, first) + dot + rest]

    def _constants(self) -> dict[str, float]:
        """Names that the text binds exactly once, to a number."""
        bound: dict[str, int] = {}
        values: dict[str, ast.expr] = {}
        for node in self.nodes:
            match node:
                case (
                    ast.Name(id=name, ctx=ast.Store() | ast.Del())
                    | ast.arg(arg=name)
                    | ast.alias(asname=str() as name)
                    | ast.alias(name=name)
                    | ast.FunctionDef(name=name)
                    | ast.ClassDef(name=name)
                    | ast.MatchAs(name=str() as name)
                ):
                    bound[name] = bound.get(name, 0) + 1
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    values[name] = value
        imported = {f"{module}.{name}": value for module in MODULES for name, value in NUMBERS.items()}
        plain = {alias: imported[full] for alias, full in self.imports.items() if full in imported}
        found = {name: constant(value, plain) for name, value in values.items() if bound[name] == 1}
        return plain | {name: value for name, value in found.items() if value is not None}

    def _kept(self) -> Iterator[tuple[int, str]]:
        """By the id of an expression, the name under which it is kept: act = ..., self.act = ..., ("act", ...)."""
        for node in self.nodes:
            match node:
                case (
                    ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value)
                ) if dotted(target):
                    yield id(value), dotted(target).removeprefix("self.")
                case ast.Tuple(elts=[ast.Constant(value=str() as name), value]):
                    yield id(value), name
                case ast.Dict(keys=keys, values=values):
                    for key, value in zip(keys, values, strict=True):
                        if isinstance(key, ast.Constant) and isinstance(key.value, str):
                            yield id(value), key.value


def read(rows: Sequence[tuple[Spelling, Call]], source: object) -> list[Found]:
    """The slopes of several frameworks in one text, in order."""
    text = Text(text_of(source, "Python source"))
    by_name = {name: row for row in rows for name in row[1].names if not row[1].string}
    found: list[tuple[int, int, Found]] = []
    spoken: set[int] = set()  # expressions that are called, or asked about: no slopes by themselves
    for node in text.nodes:
        if not isinstance(node, ast.Call):
            continue
        function, arguments = node.func, node.args
        if arguments and "functools.partial" in text.names_of(function):
            function, arguments = arguments[0], arguments[1:]
        spoken.add(id(function))
        if dotted(node.func) in ("isinstance", "issubclass"):
            spoken |= {id(inner) for argument in node.args for inner in ast.walk(argument)}
        place: dict[str, Any] = {"name": _name(text, node), "line": node.lineno}
        for spelling, call, position in _meant(text, function, rows, by_name):
            slope, how = _stated(text, node, arguments, call, position)
            found.append((node.lineno, node.col_offset, spelling.found(slope, **how, **place)))
        for spelling, call in rows:
            if call.string and _named_by_string(text, node, call):
                found.append((node.lineno, node.col_offset, spelling.found(None, given="left out", **place)))
    for node in text.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in spoken:
            for spelling, call in filter(None, (by_name.get(name) for name in text.names_of(node))):
                if call.function:
                    given: Given = "left out" if call.keywords else "hard-coded"
                    place = {"name": text.kept.get(id(node), ""), "line": node.lineno}
                    found.append((node.lineno, node.col_offset, spelling.found(None, given=given, **place)))
    return [slope for *_, slope in sorted(found, key=lambda row: row[:2])]


def _meant(
    text: Text, function: ast.expr, rows: Sequence[tuple[Spelling, Call]], by_name: Mapping[str, tuple[Spelling, Call]]
) -> Iterator[tuple[Spelling, Call, int]]:
    """The rows that a called expression is an instance of, each with the position of the slope."""
    names = text.names_of(function)
    for spelling, call in filter(None, map(by_name.get, names)):
        yield spelling, call, call.position
        return
    if isinstance(function, ast.Attribute) and dotted(function).partition(".")[0] not in text.imports:
        for spelling, call in rows:
            package = call.names[0].partition(".")[0]
            if call.method == function.attr and (package in text.packages or not text.packages):
                yield spelling, call, call.position - 1


def _stated(
    text: Text, node: ast.Call, arguments: list[ast.expr], call: Call, position: int
) -> tuple[float | None, dict[str, Any]]:
    """The slope that a call states, and how; unpacked arguments may state anything."""
    if not call.keywords:
        return None, {"given": "hard-coded"}
    unpacked = any(k.arg is None for k in node.keywords) or any(isinstance(a, ast.Starred) for a in arguments)
    stated = next((k.value for k in node.keywords if k.arg in call.keywords), None)
    if stated is None and len(arguments) > position and not unpacked:
        stated = arguments[position]
    if stated is None:
        return None, {"given": "computed", "note": "its arguments are unpacked"} if unpacked else {"given": "left out"}
    value = constant(stated, text.constants)
    if value is None:
        return None, {"given": "computed", "note": f"from {dotted(stated) or 'an expression'}"}
    return value, {"given": "stated"}


def _name(text: Text, node: ast.Call) -> str:
    stated = next((k.value for k in node.keywords if k.arg == "name"), None)
    if isinstance(stated, ast.Constant) and isinstance(stated.value, str):
        return stated.value
    return text.kept.get(id(node), "")


def _named_by_string(text: Text, node: ast.Call, call: Call) -> bool:
    """Whether a layer of the framework is given the activation's name: activation="leaky_relu"."""
    if not any(name.startswith(call.names) for name in text.names_of(node.func)):
        return False
    first = node.args[:1] if dotted(node.func).rpartition(".")[2] in ("Activation", "get") else []
    texts = (*first, *(k.value for k in node.keywords if k.arg == "activation"))
    return any(isinstance(t, ast.Constant) and t.value == call.string for t in texts)


def write(spelling: Spelling, slope: float, name: str) -> str:
    """One statement, which keeps the result under the name."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Usage(f"{name!r} is no name in Python", hint="Give the layer a name of letters, digits and _")
    return f"{name} = {spelling.says(slope)}\n"


def number(slope: float) -> str:
    """A number as Python writes it, which reads back as the same."""
    return repr(slope) if math.isfinite(slope) else f'float("{slope}")'


def short(slope: float) -> str:
    """A number that is held in 32 bits, as short as those allow."""
    return single(slope) if math.isfinite(slope) else number(slope)


def python(call: Call, **fields: Any) -> Spelling:
    """A row of a framework that is called from Python."""
    arguments = ["x"] if call.function else []
    arguments += [f"{call.keywords[0]}={{slope}}"] if call.keywords else []
    spelling = Spelling(
        api=fields.pop("api", call.names[0]),
        parameter=fields.pop("parameter", call.keywords[0] if call.keywords else "(hard-coded)"),
        line=fields.pop("line", f"{call.names[0]}({', '.join(arguments)})"),
        number=short if fields["held"] == "float32" else number,
        reader=lambda spelling, source: read([(spelling, call)], source),
        writer=write,
        **fields,
    )
    ROWS.append((spelling, call))
    return spelling


ROWS: list[tuple[Spelling, Call]] = []  # of every framework: one text may use several
