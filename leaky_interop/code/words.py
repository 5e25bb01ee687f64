"""Names and types as Python writes them, made of whatever a source calls its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from keyword import iskeyword
from typing import Any

from .. import names
from .steps import Path

FEW = 4  # members of a tuple whose types are listed


class Unique(names.Unique):
    """Class names: the second Block is Block2."""

    def __call__(self, name: str) -> str:
        chosen = next(n for n in numbered(name) if n not in self._taken)
        self._taken.add(chosen)
        return chosen


def is_name(part: str) -> bool:
    """Whether a part of a path can stand behind a dot; inside a class, Python respells names that begin with "__"."""
    return part.isidentifier() and part.isascii() and not iskeyword(part) and not part.startswith("__")


def numbered(word: str) -> Iterator[str]:
    yield word
    yield from (f"{word}{i}" for i in range(2, 10**9))


def type_text(vector: Sequence[Any]) -> str:
    """The type of a parameter, None the last of several."""
    kinds = dict.fromkeys("None" if v is None else _type_of(v) for v in vector)
    return " | ".join(sorted(kinds, key=lambda k: k == "None"))


def _type_of(content: Any) -> str:
    """The type of a constant; tuples with more than a few members, or with tuples in them, are of any length."""
    if not isinstance(content, tuple):
        return type(content).__name__
    if len(content) > FEW or any(isinstance(c, tuple) for c in content):
        return f"tuple[{type_text(content)}, ...]"
    return f"tuple[{', '.join(map(_type_of, content))}]"


def words(description: str) -> str:
    """The name in a description: "torch ViT (45,258 parameters)" is about ViT."""
    found = re.sub(r"\(.*", "", description).split()
    return found[-1] if found else ""


def title(word: str) -> str:
    """A class name: "encoder_block" is EncoderBlock."""
    parts = [p for p in re.split(r"[^A-Za-z0-9]+", word) if p]
    found = "".join(p[0].upper() + p[1:] for p in parts)
    return found if found.isidentifier() and not iskeyword(found) else ""


def class_name(path: Path) -> str:
    """A name for the class at a path: of "blocks.0" Block, of "blocks.0.attn" Attn."""
    word = next((p for p in reversed(path) if not p.isdigit()), "Block")
    if path[-1].isdigit() and len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return title(word) or "Block"
