"""Whether written source computes, bit for bit, what the model does that it was written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..draws import example_arrays
from ..errors import RuntimeFailure
from ..graph import Graph

Run = Callable[[list[Any]], list[Any]]  # from an array for each input to arrays, texts or numbers


def executed(path: Path) -> dict[str, Any]:
    """The names that a module of our own text defines."""
    scope: dict[str, Any] = {"__file__": str(path), "__name__": path.stem}
    exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), scope)  # its names are made or checked, the rest are literals
    return scope


def compare(graph: Graph, model: Run, source: Run, hint: str) -> None:
    """Run both on drawn arrays; where the model takes none of those, on all that it takes of others.

    Raises RuntimeFailure where one bit of a result differs, or the source fails.
    """
    for tries in _tries(graph):
        taken = [same for arrays in tries if (same := _agree(model, source, arrays)) is not None]
        if not all(taken):
            raise RuntimeFailure("the source code", why="it does not compute the same bits as the model", hint=hint)
        if taken:
            return


def _agree(model: Run, source: Run, arrays: list[Any]) -> bool | None:
    """Whether both give the same bits; None where the model does not take these arrays."""
    try:
        expected = model(arrays)
    except Exception:  # whatever a framework raises for an index or a size that does not fit
        return None
    try:
        return [_bits(r) for r in expected] == [_bits(r) for r in source(arrays)]
    except Exception:  # what the model takes its source must take
        return False


def _tries(graph: Graph) -> Iterator[list[list[Any]]]:
    """Seeded arrays; then with integers of which each is an index, or a size, of almost anything."""
    for batch in (2, 1):
        drawn = example_arrays(graph, batch=batch)
        yield [drawn]
        whole = [isinstance(a, np.ndarray) and a.dtype.kind in "iu" for a in drawn]
        if any(whole):
            yield [[np.full_like(a, n) if w else a for a, w in zip(drawn, whole, strict=True)] for n in (0, 1)]


def _bits(result: Any) -> Any:
    if isinstance(result, np.ndarray | np.generic) and result.dtype.kind not in "OU":
        return result.dtype, result.shape, result.tobytes()
    return result.tolist() if isinstance(result, np.ndarray) else result
