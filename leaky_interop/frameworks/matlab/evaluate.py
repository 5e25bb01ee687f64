"""Evaluates the statements of a MATLAB source, as far as a network needs them.

It goes through them in order, as MATLAB would, and keeps what it cannot follow as an error that only counts if the
network needs it: a source also holds training options and plots. No name of the source is looked up anywhere but in
the tables here and in `functions`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import Unsupported, Usage
from .functions import FUNCTIONS
from .layers import Array, Connection, Layer, Network, assembled
from .text import Called, Expression, Field, Matrix, Number, Operation, Text, parse

MOST_LAYERS = 10_000
MOST_NUMBERS = 1 << 24  # in an array that a source fills


def network(source: str, name: str, load: Callable[[str], Mapping[str, Any]]) -> Network:
    """The network of a source. load: gives the variables of a `.mat` file that the source loads by its plain name.

    Raises Usage where there is none, where MATLAB would raise an error, or where a statement that it needs is not
    understood; Unsupported for functions that are no layers known here, all of them at once.
    """
    evaluator = Evaluator(name, load)
    values = evaluator.variables
    held: set[str] = set()  # names that were networks at some time
    broken: list[Usage | Unsupported] = []  # errors in what looks like a network
    for statement in parse(source, name):
        value: Any = statement.value
        if isinstance(value, Expression):
            try:
                value = evaluator.value(value)
            except (Usage, Unsupported) as error:
                value = error
                broken += [error] if isinstance(statement.value, Matrix) else []
        value = Array([value]) if isinstance(value, Layer) and not statement.target else value
        target = statement.target or ("ans" if isinstance(value, Array) else "")
        if target:
            values.pop(target, None)  # the last assignment comes last
            values[target] = value
            held |= {target} if isinstance(value, Array) else set()
    for name_held in ("layers", *held):
        if isinstance(values.get(name_held), Usage | Unsupported):
            raise values[name_held]
    arrays = [v for v in values.values() if isinstance(v, Array)]
    graphs = [a for a in arrays if a.joined is not None]
    usual = [values["layers"]] if isinstance(values.get("layers"), Array) else []
    chosen = [*arrays, *usual, *graphs]
    if not chosen:
        hint = "Assign one: layers = [imageInputLayer([28 28 1]) ...]"
        raise broken[-1] if broken else Usage(f"{name} holds no layer array", hint=hint)
    return assembled(chosen[-1], name.removesuffix(".m"))


# --- expressions ------------------------------------------------------------------------------------------------------

CONSTANTS = {"pi": math.pi, "inf": math.inf, "Inf": math.inf, "nan": math.nan, "NaN": math.nan, "eps": 2.0**-52,
             "true": 1.0, "false": 0.0}  # fmt: skip
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, ".*": operator.mul, "/": operator.truediv,
         "./": operator.truediv, "^": operator.pow}  # fmt: skip


class Evaluator:
    """Evaluates expressions over numbers, text, structures and layers."""

    def __init__(self, name: str, load: Callable[[str], Mapping[str, Any]]):
        self.name, self.load = name, load
        self.variables: dict[str, Any] = {}
        self.missing: list[tuple[str, str, str, str]] = []

    def wrong(self, at: Expression, what: str, why: str = "", hint: str = "") -> Usage:
        return Usage(what, f"line {at.line}, column {at.column} of {self.name}", why, hint)

    def value(self, expression: Expression) -> Any:
        """The value of a whole statement; every function that is not known is reported, not only the first."""
        self.missing = []
        value = self.evaluate(expression)
        if self.missing:
            raise Unsupported(self.missing)
        return value

    def evaluate(self, at: Expression) -> Any:
        match at:
            case Number() | Text():
                return at.value
            case Called():
                return self.called(at)
            case Field():
                held = self.evaluate(at.of)
                if not isinstance(held, Mapping) or at.name not in held:
                    raise self.wrong(at, f"there is no field {at.name!r}")
                return held[at.name]
            case Matrix():
                return self.matrix(at)
            case Operation():
                return self.operation(at)
        raise self.wrong(at, "this is not understood")

    def called(self, at: Called) -> Any:
        if at.name in self.variables:
            held = self.variables[at.name]
            if isinstance(held, Usage | Unsupported):
                raise held
            if at.arguments or at.named:
                raise self.wrong(at, f"a part of {at.name} is taken", "parts of variables are not read")
            return held
        if at.name in FUNCTIONS:
            arguments = [self.evaluate(a) for a in at.arguments]
            return self.layer(at, arguments, [(n, self.evaluate(v)) for n, v in at.named])
        if at.name in CONSTANTS and not at.arguments:
            return CONSTANTS[at.name]
        if at.name in _TOOLS and not at.named:
            return _TOOLS[at.name](self, at, [self.evaluate(a) for a in at.arguments])
        self.missing.append(("matlab", "imports", at.name, f"line {at.line} of {self.name}"))
        return None

    def layer(self, at: Called, arguments: list[Any], named: list[tuple[str, Any]]) -> Layer:
        """A layer function's result, with its defaults filled in and everything checked."""
        kind = FUNCTIONS[at.name]
        checks, given = kind.checks, {}
        if len(arguments) < len(kind.required):
            lacking = list(kind.required)[len(arguments)]
            raise self.wrong(at, f"{at.name} lacks its argument {lacking}")
        for name in kind.required:
            given[name] = arguments.pop(0)
        for name in kind.optional:
            if arguments and not isinstance(arguments[0], str):
                given[name] = arguments.pop(0)
        if len(arguments) % 2 or not all(isinstance(a, str) for a in arguments[::2]):
            raise self.wrong(at, f"the arguments of {at.name} are no pairs of names and values")
        spelled = {name.lower(): name for name in (*kind.optional, *kind.named, "Name")}
        for stated, value in (*zip(arguments[::2], arguments[1::2], strict=True), *named):
            name = spelled.get(stated.lower())
            if name is None:
                raise self.wrong(
                    at, f"{at.name} has no argument {stated!r}", hint=f"It has {', '.join(spelled.values())}"
                )
            given[name] = value
        label = given.pop("Name", "")
        if not isinstance(label, str):
            raise self.wrong(at, f"the name of {at.name} is no text")
        settings = dict(kind.defaults)
        for name, value in given.items():
            if value is None:  # of a function that is not known: it is reported in the end
                continue
            try:
                settings[name] = checks[name](value)
            except ValueError as error:
                raise self.wrong(at, f"{name} of {at.name} is not {error}") from None
        return Layer(at.name, at.line, settings, frozenset(given), label)

    def matrix(self, at: Matrix) -> Any:
        rows = [[self.evaluate(e) for e in row] for row in at.rows]
        flat = [e for row in rows for e in row if e is not None]
        if at.cell:
            return tuple(flat)
        if any(isinstance(e, Layer | Array) for e in flat):
            return self.layers(at, rows, flat)
        if any(isinstance(e, str) for e in flat):
            if len(rows) != 1 or not all(isinstance(e, str) for e in flat):
                raise self.wrong(at, "text is joined with something else")
            if sum(map(len, flat)) > MOST_NUMBERS:
                raise self.wrong(at, "the text is too long")
            return "".join(flat)
        if not all(isinstance(e, float | np.ndarray) for e in flat):
            raise self.wrong(at, "these cannot stand in one matrix")
        if sum(np.size(e) for e in flat) > MOST_NUMBERS:
            raise self.wrong(at, f"a matrix has more than {MOST_NUMBERS:,} numbers")
        blocks = [[b for b in map(np.atleast_2d, row) if b.size] for row in rows]
        try:
            joined = [np.concatenate(row, 1) for row in blocks if row]
            return np.concatenate(joined, 0) if joined else np.zeros((0, 0))
        except ValueError:
            raise self.wrong(at, "the rows of a matrix differ in length") from None

    def layers(self, at: Matrix, rows: list[list[Any]], flat: list[Any]) -> Array:
        found: list[Layer] = []
        for element in flat:
            if isinstance(element, np.ndarray) and not element.size:
                continue
            if isinstance(element, Array) and element.joined is None:
                found += element.layers
            elif isinstance(element, Layer):
                found.append(element)
            else:
                raise self.wrong(at, "something that is no layer stands in a layer array")
        if len(found) > MOST_LAYERS:
            raise self.wrong(at, f"there are more than {MOST_LAYERS:,} layers")
        # a layer that stands in two places is two layers
        copies = [dataclasses.replace(layer, settings=dict(layer.settings)) for layer in found]
        return Array(copies, row=len(rows) == 1 and len(rows[0]) > 1)

    def operation(self, at: Operation) -> Any:
        operands = [self.evaluate(o) for o in at.operands]
        if any(o is None for o in operands):
            return None
        if not all(isinstance(o, float | np.ndarray) for o in operands):
            raise self.wrong(at, f"{at.sign!r} is applied to something that is no number")
        if at.sign == "'":
            return np.atleast_2d(operands[0]).T
        if len(operands) == 1:
            return operands[0] if at.sign == "+" else -operands[0]
        plain = all(isinstance(o, float) or o.size == 1 for o in operands)
        matrices = [o for o in operands if isinstance(o, np.ndarray) and o.size != 1]
        scaled = len(matrices) == 1 and (at.sign == "*" or (at.sign == "/" and matrices[0] is operands[0]))
        if matrices and not (scaled or at.sign in ("+", "-", ".*", "./")):
            raise self.wrong(at, "products of matrices are not read")
        with np.errstate(all="ignore"):
            try:
                if math.prod(np.broadcast_shapes(*map(np.shape, operands))) > MOST_NUMBERS:
                    raise self.wrong(at, f"the result has more than {MOST_NUMBERS:,} numbers")
                result = SIGNS[at.sign](*(np.asarray(o, float) for o in operands))
            except ValueError as error:
                if isinstance(error, Usage):
                    raise
                raise self.wrong(at, "two matrices differ in size") from None
        return float(result.reshape(-1)[0]) if plain else result


def _filled(number: float) -> Callable[..., Any]:
    def tool(evaluator: Evaluator, at: Called, arguments: list[Any]) -> Any:
        sizes = [
            int(n)
            for a in arguments
            if not isinstance(a, str)
            for n in np.asarray(a, float).reshape(-1)
            if 0 <= n < 2**31
        ]
        sizes = [*sizes, *sizes] if len(sizes) == 1 else sizes or [1, 1]
        if math.prod(sizes) > MOST_NUMBERS:
            raise evaluator.wrong(at, f"{at.name} asks for more than {MOST_NUMBERS:,} numbers")
        return np.full(sizes, number)

    return tool


def _same(evaluator: Evaluator, at: Called, arguments: list[Any]) -> Any:
    if len(arguments) != 1 or not isinstance(arguments[0], float | np.ndarray):
        raise evaluator.wrong(at, f"{at.name} takes one array of numbers")
    return arguments[0] if at.name == "double" else _single(arguments[0])


def _single(value: Any) -> Any:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) if isinstance(value, float) else value.astype(np.float32)


def _loaded(evaluator: Evaluator, at: Called, arguments: list[Any]) -> Any:
    if len(arguments) != 1 or not isinstance(arguments[0], str):
        raise evaluator.wrong(at, "load takes the name of a file")
    if not re.fullmatch(r"[\w. -]+", arguments[0]) or arguments[0].startswith("."):
        raise evaluator.wrong(at, f"load({arguments[0]!r}) is not followed", "a source may only name a file beside it")
    return evaluator.load(arguments[0])


def _graph(evaluator: Evaluator, at: Called, arguments: list[Any]) -> Array:
    """layerGraph and dlnetwork: a graph of no layers, or of an array whose layers follow each other."""
    if not arguments:
        return Array([], joined=[])
    array = arguments[0]
    if len(arguments) > 1 or not isinstance(array, Array):
        raise evaluator.wrong(at, f"{at.name} takes a layer array")
    return array if array.joined is not None else _with_layers(Array([], joined=[]), array)


def _with_layers(graph: Array, added: Array) -> Array:
    chain: list[Connection] = [(a, b, 1) for a, b in itertools.pairwise(added.layers)]
    return Array([*graph.layers, *added.layers], joined=[*(graph.joined or ()), *chain])


def _added(evaluator: Evaluator, at: Called, arguments: list[Any]) -> Array:
    graph, layers = [*arguments, None, None][:2]
    layers = Array([layers]) if isinstance(layers, Layer) else layers
    if not (
        isinstance(graph, Array) and graph.joined is not None and isinstance(layers, Array) and layers.joined is None
    ):
        raise evaluator.wrong(at, "addLayers takes a layer graph and layers")
    return _with_layers(graph, layers)


def _connected(evaluator: Evaluator, at: Called, arguments: list[Any]) -> Array:
    graph, *ends = arguments or [None]
    if not (
        isinstance(graph, Array)
        and graph.joined is not None
        and len(ends) == 2
        and all(isinstance(e, str) for e in ends)
    ):
        raise evaluator.wrong(at, "connectLayers takes a layer graph and two names")
    start, (target, _, place) = ends[0].partition("/")[0], ends[1].partition("/")
    if not re.fullmatch(r"in[1-9]?\d{0,3}", place or "in"):
        raise evaluator.wrong(at, f"{ends[1]!r} names no input of a layer")
    return Array(graph.layers, joined=[*graph.joined, (start, target, int(place[2:] or 1))])


_TOOLS: dict[str, Callable[[Evaluator, Called, list[Any]], Any]] = {
    "zeros": _filled(0.0), "ones": _filled(1.0), "single": _same, "double": _same, "load": _loaded, "layerGraph": _graph,
    "dlnetwork": _graph, "addLayers": _added, "connectLayers": _connected,
}  # fmt: skip
