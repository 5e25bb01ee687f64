"""Tokens of the notations that are not Python, and the calls in them; and the numbers that their arguments state."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from ..errors import Usage
from .python_source import constant
from .spelling import Spelling

MOST = 1_000_000  # tokens of one text
LONGEST = 40  # tokens of an expression that states a slope
OPEN, CLOSE = "([{", ")]}"

COMMENTS = {
    "#": r"\#[^\n]*",
    "//": r"//[^\n]*|/\*(?:.*?\*/|.*)",
    "julia": r"\#=(?:.*?=\#|.*)|\#[^\n]*|\"\"\"(?:.*?\"\"\"|.*)",  # three quotes: it describes what follows
}
# What is not closed reaches to the end, so that no text makes the search start over and over.
DOUBLE = r"\"(?:\\.|[^\"\\])*(?:\"|\\?\Z)"
STRINGS = {
    "#": DOUBLE + r"|'(?:\\[^\n]|[^'\\\n])*(?:'|\\?(?=\n|\Z))",
    "julia": DOUBLE + r"|'(?:\\[^\n]{1,10}|[^'\\\n])'",  # a single quote after a name transposes
}
STRINGS["//"] = STRINGS["#"]
NUMBER = r"0[xX][0-9a-fA-F]+|(?:\d[\d_]*(?:\.(?!\.)\d*)?|\.\d+)(?:[eEfF][+-]?\d+)?[fF]?"


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    kind: str  # "name", "number", "string", "mark"
    text: str
    line: int


@dataclasses.dataclass(frozen=True)
class Arguments:
    """One call: the name that is called, what stands before it, and each argument with its keyword or ""."""

    name: str
    line: int
    before: tuple[Token, ...]
    after: str  # the token that follows the call
    arguments: tuple[tuple[str, tuple[Token, ...]], ...]

    def at(self, position: int, keyword: str) -> tuple[Token, ...] | None:
        """The argument of that keyword, or at that position among those without one."""
        named = [tokens for word, tokens in self.arguments if word == keyword]
        plain = [tokens for word, tokens in self.arguments if not word]
        return named[0] if named else plain[position] if len(plain) > position else None


def tokens(text: str, style: Literal["#", "//", "julia"]) -> list[Token]:
    """The tokens of a text; its comments are left out."""
    pattern = re.compile(
        rf"(?P<space>\s+|{COMMENTS[style]})|(?P<string>{STRINGS[style]})|(?P<number>{NUMBER})"
        r"|(?P<name>[^\W\d]\w*!?)|(?P<mark>->|::|//|==|=>|.)",
        re.DOTALL,
    )
    found: list[Token] = []
    line = 1
    for match in pattern.finditer(text):
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(Token(kind, match[0], line))
            if len(found) > MOST:
                raise Usage("the text is too long", why=f"it has more than {MOST:,} words and signs")
        line += match[0].count("\n")
    return found


def calls(found: Sequence[Token], names: Sequence[str], between: str = "") -> Iterator[Arguments]:
    """The calls of these names; `between` may stand between a name and its bracket, as Julia's dot does."""
    closing = _closing(found)
    for index, token in enumerate(found):
        if token.kind != "name" or token.text not in names:
            continue
        start = index + 1 + (bool(between) and _text(found, index + 1) == between)
        if _text(found, start) == "(" and start in closing:
            before = tuple(found[max(0, index - 8) : index])
            arguments = tuple(map(_keyword, _parts(found, start, closing)))
            yield Arguments(token.text, token.line, before, _text(found, closing[start] + 1), arguments)


def parts(found: Sequence[Token]) -> list[tuple[str, tuple[Token, ...]]]:
    """What one pair of brackets holds, each part with its keyword or ""."""
    closing = _closing(found)
    return list(map(_keyword, _parts(found, 0, closing))) if 0 in closing else []


def _text(found: Sequence[Token], index: int) -> str:
    return found[index].text if 0 <= index < len(found) else ""


def _closing(found: Sequence[Token]) -> dict[int, int]:
    """Where each bracket that opens is closed."""
    waiting, closing = [], {}
    for index, token in enumerate(found):
        if token.kind == "mark" and token.text in OPEN:
            waiting.append(index)
        elif token.kind == "mark" and token.text in CLOSE and waiting:
            closing[waiting.pop()] = index
    return closing


def _parts(found: Sequence[Token], start: int, closing: Mapping[int, int]) -> Iterator[tuple[Token, ...]]:
    """What a bracket holds, split at its commas; of what is too long for a number, the beginning.

    Brackets inside are stepped over, so that calls within calls cost no more than the text is long.
    """
    end = closing[start]
    index = begin = start + 1
    while index <= end:
        if index == end or found[index].text in (",", ";"):
            if begin < index:
                yield tuple(found[begin : min(index, begin + LONGEST + 3)])
            begin = index + 1
        index = closing.get(index, index) + 1


def _keyword(part: tuple[Token, ...]) -> tuple[str, tuple[Token, ...]]:
    if len(part) > 2 and part[0].kind == "name" and part[1].text in ("=", ":"):
        return part[0].text, part[2:]
    return "", part


def number_of(
    found: Sequence[Token], literal: Callable[[str], str] = str, names: Mapping[str, float] | None = None
) -> float | None:
    """The number that an expression states; `literal` writes the notation's numbers as Python does. None: computed."""
    if not 0 < len(found) <= LONGEST:
        return None
    words = [literal(t.text) if t.kind == "number" else t.text.replace("//", "/") for t in found]
    try:
        node = ast.parse(" ".join(words), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return constant(node, names or {})


def kept(call: Arguments) -> str:
    """The name under which the result of a call is kept: `act = f(x)`, `auto* act = f(x)`, `act = tf.layers.f(x)`."""
    words = [token.text for token in call.before]
    while len(words) > 2 and words[-1] in (".", "->", "::"):
        del words[-2:]
    return words[-2] if len(words) > 1 and words[-1] == "=" and words[-2].isidentifier() else ""


def statement(spelling: Spelling, slope: float, name: str) -> str:
    """One line, which keeps the result under the name."""
    if not name.isidentifier():
        raise Usage(f"{name!r} is no name there", hint="Give the layer a name of letters, digits and _")
    return f"{name} = {spelling.says(slope)}\n"
