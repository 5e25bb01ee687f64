"""Text: ONNX computes with it, and PyTorch's modules in numpy's arrays; constant text is folded on the way to any.

| op               | onnx             | meaning                                                             |
|------------------|------------------|---------------------------------------------------------------------|
| StringConcat     | StringConcat     | x followed by y                                                     |
| StringSplit      | StringSplit      | the parts between delimiters (white space, if none), and their number |
| StringNormalizer | StringNormalizer | stop words left out, case changed                                   |
| RegexFullMatch   | RegexFullMatch   | whether a pattern matches the whole text                            |

Arrays of text are numpy's object arrays of str. What moves, compares or chooses values (Reshape, Gather, Where, Equal ...)
takes them as any others; Cast writes and reads numbers as onnxruntime does.
"""

import re
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Pointwise, Shape, Value, broadcast, exports, imports, op, symbol
from .cast import each

TEXT = np.dtype(object)


@op
class StringConcat(Pointwise):
    """x followed by y."""

    tolerance = "exact"
    any_dtype = True
    texts = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(broadcast(*(v.shape for v in inputs)), TEXT)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda a, b: a + b, *arrays)


@op
class StringSplit(Op):
    """The parts of each text along a new last axis, filled up with empty ones, and how many there are.

    delimiter: "" is any white space. most: how often to split at most, None for any. The longest row is named after the
    label.
    """

    label: str
    delimiter: str
    most: int | None
    tolerance = "exact"
    any_dtype = True
    texts = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        shape = inputs[0].shape
        return [((*shape, symbol(f"?{self.label}_parts")), TEXT), (shape, np.dtype(np.int64))]

    def reference(self, *arrays: np.ndarray) -> Any:
        (x,) = arrays
        most = -1 if self.most is None else self.most
        parts = [t.split(self.delimiter or None, most) if t else [] for t in x.reshape(-1)]
        width = max(map(len, parts), default=0)
        found = np.full((len(parts), width), "", TEXT)
        for row, texts in zip(found, parts, strict=True):
            row[: len(texts)] = texts
        counts = np.asarray([len(p) for p in parts], np.int64)
        return found.reshape(*x.shape, width), counts.reshape(x.shape)


def in_case(text: str, case: str, ascii: bool) -> str:
    """A text in "LOWER", "UPPER" or (NONE) its own case: every character becomes one, as C's towlower and towupper say."""
    if case == "NONE":
        return text
    return "".join(c if ascii and not c.isascii() else lower(c) if case == "LOWER" else upper(c) for c in text)


def lower(c: str) -> str:
    return c.lower()[0]


def upper(c: str) -> str:
    """Unicode's simple mapping: where the capital is several characters, the one that begins a title, or the letter itself."""
    return next((u for u in (c.upper(), c.title()) if len(u) == 1), c)


@op
class StringNormalizer(Op):
    """The texts of a row (of shape (n,) or (1, n)) that are no stop words, in upper or lower case; one empty text of none."""

    label: str
    case: str  # "NONE" | "LOWER" | "UPPER"
    case_sensitive: bool  # in comparing with stop words
    stop_words: tuple[str, ...]
    locale: str
    tolerance = "exact"
    any_dtype = True
    texts = True

    @property
    def ascii(self) -> bool:
        """Whether the locale knows no other letters."""
        return self.locale in ("C", "POSIX")

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        left = symbol(f"?{self.label}_left") if self.stop_words else inputs[0].shape[-1]
        return [((*inputs[0].shape[:-1], left), TEXT)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        fold = "NONE" if self.case_sensitive else "UPPER" if self.case == "UPPER" else "LOWER"
        stopped = {in_case(word, fold, self.ascii) for word in self.stop_words}
        left = [in_case(t, self.case, self.ascii) for t in x.reshape(-1) if in_case(t, fold, self.ascii) not in stopped] or [""]
        return np.asarray(left, TEXT).reshape(*x.shape[:-1], len(left))


TOKENS = re.compile(r"\\.|\(\?[a-zA-Z-]|\[\^?\]?|\{,|.", re.DOTALL)
SPACE = r"\t\n\f\r "  # RE2's \s, which lacks Python's \v
OUTSIDE = {r"\s": f"[{SPACE}]", r"\S": f"[^{SPACE}]", r"\z": r"\Z", "$": r"\Z", "{,": r"\{,"}  # of classes


def in_python(pattern: str) -> str:
    """A pattern of RE2's syntax in Python's (with re.ASCII). Raises Refused for what that has no word for."""
    found, inside = [], False
    for token in TOKENS.findall(pattern):
        if (not inside and token.startswith("(?") and token != "(?P") or (inside and (token == r"\S" or token[0] == "[")):
            why = "Python reads flags, and brackets and complements within classes, otherwise than RE2"
            raise Refused(f"{token} in the pattern {pattern!r}", why=why, hint=r"Write the characters themselves, \[ of a bracket")
        if inside:
            inside = token != "]"
            token = SPACE if token == r"\s" else token
        else:
            inside = token.startswith("[")
            token = OUTSIDE.get(token, token)
        found.append(token)
    pattern = "".join(found)
    try:
        re.compile(pattern, re.ASCII)
    except re.error as error:
        raise Refused(f"the pattern {pattern!r}", why=f"Python does not take it: {error}", hint="Write it in other words") from None
    return pattern


@op
class RegexFullMatch(Op):
    """Whether a pattern (in RE2's syntax: see `in_python`) matches a text from end to end."""

    pattern: str
    tolerance = "exact"
    any_dtype = True
    texts = True
    deterministic = False  # Python's matching may take for ever where RE2's does not: not while a file is read

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[0].shape, np.dtype(bool))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        pattern = re.compile(in_python(self.pattern), re.ASCII)
        return np.asarray(np.frompyfunc(lambda t: pattern.fullmatch(t) is not None, 1, 1)(arrays[0]), bool)


# --- ONNX -------------------------------------------------------------------------------------------------------------


@imports("onnx", "StringConcat")
def string_concat_from_onnx(node, x, y):
    return StringConcat()(x, y)


@imports("onnx", "StringSplit")
def string_split_from_onnx(node, x):
    return StringSplit(label=node.label, delimiter=node.delimiter or "", most=node.maxsplit)(x)


@imports("onnx", "StringNormalizer")
def string_normalizer_from_onnx(node, x):
    return StringNormalizer(
        label=node.label,
        case=node.case_change_action,
        case_sensitive=bool(node.is_case_sensitive),
        stop_words=tuple(word.decode() if isinstance(word, bytes) else word for word in node.stopwords or ()),
        locale=node.locale or "",
    )(x)


@imports("onnx", "RegexFullMatch")
def regex_full_match_from_onnx(node, x):
    return RegexFullMatch(pattern=node.pattern or "")(x)


@exports("onnx", StringConcat)
def string_concat_to_onnx(op, onnx, x, y):
    return onnx.StringConcat(x, y)


@exports("onnx", StringSplit)
def string_split_to_onnx(op, onnx, x):
    return onnx.StringSplit(x, delimiter=op.delimiter or None, maxsplit=op.most, outputs=2)


@exports("onnx", StringNormalizer)
def string_normalizer_to_onnx(op, onnx, x):
    return onnx.StringNormalizer(
        x,
        case_change_action=op.case,
        is_case_sensitive=int(op.case_sensitive),
        stopwords=list(op.stop_words) or None,
        locale=op.locale or None,
    )


@exports("onnx", RegexFullMatch)
def regex_full_match_to_onnx(op, onnx, x):
    return onnx.RegexFullMatch(x, pattern=op.pattern)


# --- PyTorch ----------------------------------------------------------------------------------------------------------


@exports("torch", StringConcat)
def string_concat_to_torch(op, torch, x, y):
    return torch.control("StringConcat")(x, y)


@exports("torch", StringSplit)
def string_split_to_torch(op, torch, x):
    return torch.control("StringSplit", delimiter=op.delimiter or None, most=-1 if op.most is None else op.most)(x)


@exports("torch", StringNormalizer)
def string_normalizer_to_torch(op, torch, x):
    settings = {"case": op.case, "case_sensitive": op.case_sensitive, "stop_words": list(op.stop_words), "ascii": op.ascii}
    return torch.control("StringNormalizer", **settings)(x)


@exports("torch", RegexFullMatch)
def regex_full_match_to_torch(op, torch, x):
    return torch.control("RegexFullMatch", pattern=in_python(op.pattern))(x)
