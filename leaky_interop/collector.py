"""Pauses Python's collector of reference cycles while a graph is read or written.

A conversion makes some hundred thousand small objects, nearly all of which stay. That sets off full collections, each
of which walks through every object of the frameworks: 0.2 s for nothing, more than the conversion of a small network.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def paused(function: F) -> F:
    """A function during which the collector rests; it is left as it was found, and calls inside change nothing."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not gc.isenabled():
            return function(*args, **kwargs)
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            gc.enable()

    return call  # type: ignore[return-value]
