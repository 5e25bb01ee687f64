"""Parses MATLAB source text as far as layer arrays are written in it: assignments of calls, matrices and numbers.

Nothing is evaluated here. Inside brackets whitespace and line ends separate elements, and a quote after whitespace
begins text; inside parentheses neither does. A statement that is not understood is kept as such, with the name that it
assigns to, because a source also holds training options, plots and the like; it only matters if the network needs it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from ...errors import Usage

MOST_TEXT = 4 << 20  # characters; a layer array of a thousand layers has a tenth of that
MOST_DEPTH = 60  # of brackets within brackets
MOST_TERMS = 200  # of operators in one row
KEYWORDS = frozenset("break case catch classdef continue else elseif end for function global if otherwise parfor "
                     "persistent return spmd switch try while".split())  # fmt: skip

TOKEN = re.compile(
    r"""(?P<number>(?:\d+(?:\.(?![*/\\^'])\d*)?|\.\d+)(?:[eEdD][+-]?\d+)?)
      | (?P<name>[A-Za-z]\w*)
      | (?P<op>\.\^|\.\*|\./|\.'|==|~=|<=|>=|&&|\|\||[][(){},;:=+\-*/\\^@~&|<>.?!])""",
    re.VERBOSE | re.ASCII,
)
BLANK = re.compile(r"(?:[ \t\r\f\v]|\.\.\.[^\n]*\n)+|\.\.\.[^\n]*")
COMMENT = re.compile(r"%[^\n]*")
BLOCK = re.compile(r"[ \t]*%\{[ \t\r]*$", re.MULTILINE)
TEXT = {"'": re.compile(r"'((?:[^'\n]|'')*)'"), '"': re.compile(r'"((?:[^"\n]|"")*)"')}
OPENING, CLOSING = "([{", {")": "(", "]": "[", "}": "{"}


@dataclasses.dataclass(frozen=True)
class Token:
    kind: str  # "number", "text", "name", "op", "line" (the end of one) or "end"
    text: str
    line: int
    column: int
    spaced: bool  # whitespace stands before it


@dataclasses.dataclass(frozen=True)
class Expression:
    """Base of what stands on the right of an assignment; knows where it stands."""

    line: int
    column: int


@dataclasses.dataclass(frozen=True)
class Number(Expression):
    value: float


@dataclasses.dataclass(frozen=True)
class Text(Expression):
    value: str


@dataclasses.dataclass(frozen=True)
class Called(Expression):
    """A name, with arguments or without: a variable or a function. `named` are those written Name=value."""

    name: str
    arguments: tuple[Expression, ...] = ()
    named: tuple[tuple[str, Expression], ...] = ()


@dataclasses.dataclass(frozen=True)
class Field(Expression):
    of: Expression
    name: str


@dataclasses.dataclass(frozen=True)
class Matrix(Expression):
    """Rows of elements; in braces it is a cell array."""

    rows: tuple[tuple[Expression, ...], ...]
    cell: bool


@dataclasses.dataclass(frozen=True)
class Operation(Expression):
    """An arithmetic operator: one operand for a sign or a transpose ("'"), otherwise two."""

    sign: str
    operands: tuple[Expression, ...]


@dataclasses.dataclass(frozen=True)
class Statement:
    """`target = value`. The value is an error where it is not understood; there is no target where none is assigned."""

    target: str
    value: Expression | Usage
    line: int


def parse(text: str, name: str) -> list[Statement]:
    """The statements of a source, `name` being what errors call it. Raises Usage with line and column."""
    return _Parser(text, name).statements()


class _Lexer:
    """Splits a source into tokens."""

    def __init__(self, text: str, name: str):
        if len(text) > MOST_TEXT:
            raise Usage(f"{name} is longer than {MOST_TEXT:,} characters", why="no layer array is")
        self.source, self.name = text, name
        self.open: list[Token] = []  # brackets that are open

    def error(self, what: str, line: int, column: int, why: str = "") -> Usage:
        return Usage(what, f"line {line}, column {column} of {self.name}", why)

    def tokens(self) -> Iterator[Token]:
        text, place, line, start, before = self.source, 0, 1, 0, None
        spaced = False
        while place < len(text):
            if place == start and (block := BLOCK.match(text, place)):
                place = self.block_end(block, line)
                line, start = text.count("\n", 0, place) + 1, place
                continue
            if skipped := BLANK.match(text, place) or COMMENT.match(text, place):
                place, spaced = skipped.end(), True
                if ends := skipped[0].count("\n"):
                    line, start = line + ends, text.rindex("\n", 0, place) + 1
                continue
            found = self.token(place, line, place - start + 1, spaced, before)
            if found[0].kind != "line" or not (self.open and self.open[-1].text == "("):
                before = found[0]
                yield before
            spaced = found[0].kind == "line"
            place = found[1]
            if found[0].kind == "line":
                line, start = line + 1, place
        if self.open:
            raise self.error(f"{self.open[-1].text!r} is never closed", self.open[-1].line, self.open[-1].column)
        yield Token("line", "\n", line, place - start + 1, True)
        yield Token("end", "", line, place - start + 1, True)

    def token(self, place: int, line: int, column: int, spaced: bool, before: Token | None) -> tuple[Token, int]:
        """The token at a place, and where it ends."""
        character = self.source[place]
        if character == "\n":
            return Token("line", "\n", line, column, spaced), place + 1
        if character == "'" and self.transposes(before, spaced):
            return Token("op", "'", line, column, spaced), place + 1
        if character in TEXT:
            quoted = TEXT[character].match(self.source, place)
            if quoted is None:
                raise self.error(f"text begins with {character} and does not end on its line", line, column)
            inner = quoted[1].replace(character * 2, character)
            return Token("text", inner, line, column, spaced), quoted.end()
        found = TOKEN.match(self.source, place)
        if found is None:
            raise self.error(f"{character!r} is not understood", line, column)
        made = Token(found.lastgroup or "", found[0], line, column, spaced)
        if made.kind == "op":
            self.bracket(made)
        return made, found.end()

    def transposes(self, before: Token | None, spaced: bool) -> bool:
        """Whether a single quote is an operator on what stands before it."""
        if before is None or (spaced and self.open and self.open[-1].text != "("):
            return False
        return before.kind in ("number", "name", "text") or (
            before.kind == "op" and before.text in (")", "]", "}", "'", ".'")
        )

    def bracket(self, token: Token) -> None:
        if token.text in OPENING:
            if len(self.open) == MOST_DEPTH:
                raise self.error(f"brackets are nested more than {MOST_DEPTH} deep", token.line, token.column)
            self.open.append(token)
        elif token.text in CLOSING:
            if not self.open or self.open[-1].text != CLOSING[token.text]:
                raise self.error(f"{token.text!r} closes nothing", token.line, token.column)
            self.open.pop()

    def block_end(self, block: re.Match[str], line: int) -> int:
        """Where a block comment ends; they nest."""
        depth = 0
        for found in re.compile(r"^[ \t]*%([{}])[ \t\r]*$", re.MULTILINE).finditer(self.source, block.start()):
            depth += 1 if found[1] == "{" else -1
            if depth == 0:
                return min(found.end() + 1, len(self.source))
        raise self.error("'%{' is never closed", line, 1)


class _Parser:
    """Recursive descent over the tokens; its depth is bounded by that of the brackets and by MOST_DEPTH signs."""

    def __init__(self, text: str, name: str):
        self.lexer = _Lexer(text, name)
        self.tokens = list(self.lexer.tokens())
        self.place = 0
        self.brackets: list[str] = []

    @property
    def now(self) -> Token:
        return self.tokens[self.place]

    @property
    def after(self) -> Token:
        return self.tokens[min(self.place + 1, len(self.tokens) - 1)]

    def take(self) -> Token:
        self.place += 1
        return self.tokens[self.place - 1]

    def sees(self, *texts: str) -> bool:
        return self.now.kind == "op" and self.now.text in texts

    def expect(self, text: str) -> Token:
        if not self.sees(text):
            raise self.wrong(f"{text!r} is missing here")
        return self.take()

    def wrong(self, what: str = "", why: str = "") -> Usage:
        token = self.now
        shown = "the end of the line" if token.kind in ("line", "end") else repr(token.text)
        return self.lexer.error(what or f"{shown} is not understood", token.line, token.column, why)

    # statements

    def statements(self) -> list[Statement]:
        found = []
        while self.now.kind != "end":
            if self.now.kind == "line" or self.sees(";", ","):
                self.take()
            else:
                found.append(self.statement())
        return found

    def statement(self) -> Statement:
        start = self.now
        if start.text in KEYWORDS and start.kind == "name":
            why = "a layer array is read from plain assignments, without conditions, loops and functions"
            raise self.wrong(f"{start.text!r} is not read", why)
        if start.kind == "name" and self.after.kind in ("name", "number") and self.after.spaced:
            self.skip()  # command syntax: close all
            return Statement("", self.lexer.error("a command", start.line, start.column), start.line)
        first = self.place
        try:
            target = ""
            if start.kind == "name" and self.after.text == "=" and self.after.kind == "op":
                target = self.take().text
                self.take()
            value = self.expression()
            if not (self.now.kind == "line" or self.sees(";", ",")):
                raise self.wrong()
            return Statement(target, value, start.line)
        except Usage as error:
            self.place, self.brackets = first, []
            assigned = self.skip()
            if assigned and start.kind != "name":
                raise
            return Statement(start.text if assigned else "", error, start.line)

    def skip(self) -> bool:
        """Pass over a statement; whether it assigns something."""
        depth, assigns = 0, False
        while self.now.kind != "end" and (depth or not (self.now.kind == "line" or self.sees(";", ","))):
            token = self.take()
            if token.kind == "op":
                depth += (token.text in OPENING) - (token.text in CLOSING)
                assigns = assigns or (token.text == "=" and depth == 0)
        return assigns

    # expressions

    def expression(self) -> Expression:
        return self.operation((("+", "-"), ("*", "/", ".*", "./")), 0)

    def operation(self, signs: tuple[tuple[str, ...], ...], level: int) -> Expression:
        """Operators of one binding strength, those that bind more tightly inside."""
        if level == len(signs):
            return self.signed(0)
        left, count = self.operation(signs, level + 1), 0
        while self.sees(*signs[level]) and not self.separates():
            count = self.counted(count)
            sign = self.take()
            left = Operation(sign.line, sign.column, sign.text, (left, self.operation(signs, level + 1)))
        return left

    def counted(self, count: int) -> int:
        """One more operator in a row."""
        if count == MOST_TERMS:
            raise self.wrong(f"there are more than {MOST_TERMS} operators in a row")
        return count + 1

    def separates(self) -> bool:
        """Whether a sign begins a new element: [1 -2] has two, [1 - 2] and [1-2] have one."""
        inside = bool(self.brackets) and self.brackets[-1] != "("
        return inside and self.now.text in ("+", "-") and self.now.spaced and not self.after.spaced

    def signed(self, depth: int) -> Expression:
        if self.sees("+", "-"):
            if depth == MOST_DEPTH:
                raise self.wrong("there are too many signs in a row")
            sign = self.take()
            return Operation(sign.line, sign.column, sign.text, (self.signed(depth + 1),))
        return self.power(depth)

    def power(self, depth: int) -> Expression:
        base, count = self.postfix(), 0
        while self.sees("^", ".^"):
            count = self.counted(count)
            sign = self.take()
            exponent = self.signed(depth + 1) if self.sees("+", "-") else self.postfix()
            base = Operation(sign.line, sign.column, "^", (base, exponent))
        return base

    def postfix(self) -> Expression:
        value, count = self.primary(), 0
        while True:
            count = self.counted(count)
            apart = self.now.spaced and bool(self.brackets) and self.brackets[-1] != "("
            if self.sees("'", ".'") and not apart:
                sign = self.take()
                value = Operation(sign.line, sign.column, "'", (value,))
            elif self.sees(".") and not apart and self.after.kind == "name":
                dot = self.take()
                value = Field(dot.line, dot.column, value, self.take().text)
            elif self.sees("(") and not apart and isinstance(value, Called) and not value.arguments and not value.named:
                value = self.call(value)
            else:
                return value

    def primary(self) -> Expression:
        token = self.now
        if token.kind == "number":
            self.take()
            return Number(token.line, token.column, float(re.sub("[dD]", "e", token.text)))
        if token.kind == "text":
            self.take()
            return Text(token.line, token.column, token.text)
        if token.kind == "name" and token.text not in KEYWORDS:
            self.take()
            return Called(token.line, token.column, token.text)
        if self.sees("("):
            self.take()
            self.brackets.append("(")
            inner = self.expression()
            self.expect(")")
            self.brackets.pop()
            return inner
        if self.sees("[", "{"):
            return self.matrix()
        raise self.wrong()

    def call(self, function: Called) -> Called:
        """The arguments of a call, those written Name=value apart and last."""
        self.expect("(")
        self.brackets.append("(")
        plain: list[Expression] = []
        named: list[tuple[str, Expression]] = []
        while not self.sees(")"):
            if plain or named:
                self.expect(",")
            if self.now.kind == "name" and self.after.kind == "op" and self.after.text == "=":
                name = self.take().text
                self.take()
                named.append((name, self.expression()))
            elif named:
                raise self.wrong("a Name=value argument is followed by one without a name")
            else:
                plain.append(self.expression())
        self.take()
        self.brackets.pop()
        return Called(function.line, function.column, function.name, tuple(plain), tuple(named))

    def matrix(self) -> Matrix:
        start = self.take()
        self.brackets.append(start.text)
        closing = "]" if start.text == "[" else "}"
        rows: list[tuple[Expression, ...]] = []
        row: list[Expression] = []
        comma = False  # one stands before what comes, which must be an element or the end of the row
        while not self.sees(closing):
            if self.now.kind == "line" or self.sees(";"):
                self.take()
                if row:
                    rows.append(tuple(row))
                row, comma = [], False
            elif self.sees(","):
                if comma or not row:
                    raise self.wrong("an element is missing before ','")
                self.take()
                comma = True
            else:
                row.append(self.expression())
                comma = False
        self.take()
        self.brackets.pop()
        return Matrix(start.line, start.column, (*rows, tuple(row)) if row else tuple(rows), start.text == "{")
