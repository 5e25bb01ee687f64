"""Text: ONNX alone computes with it, so these convert from ONNX to ONNX; constant text is folded on the way to any.

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

from ..op import Op, Pointwise, Shape, Value, broadcast, exports, imports, op, symbol
from .cast import each

TEXT = np.dtype(object)


@op
class StringConcat(Pointwise):
    """x followed by y."""

    tolerance = "exact"
    any_dtype = True

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

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        left = symbol(f"?{self.label}_left") if self.stop_words else inputs[0].shape[-1]
        return [((*inputs[0].shape[:-1], left), TEXT)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        compared = (lambda t: t) if self.case_sensitive else str.lower
        stopped = set(map(compared, self.stop_words))
        change = {"LOWER": str.lower, "UPPER": str.upper}.get(self.case, lambda t: t)
        left = [change(t) for t in x.reshape(-1) if compared(t) not in stopped] or [""]
        return np.asarray(left, TEXT).reshape(*x.shape[:-1], len(left))


@op
class RegexFullMatch(Op):
    """Whether a pattern (RE2's syntax, of which Python's takes what is common) matches a text from end to end."""

    pattern: str
    tolerance = "exact"
    any_dtype = True
    deterministic = False  # Python's matching may take for ever where RE2's does not: not while a file is read

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[0].shape, np.dtype(bool))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        pattern = re.compile(self.pattern, re.ASCII)
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
