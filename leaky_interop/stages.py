"""Says which stage a verb is in to whoever listens: the command line shows it, everybody else pays nothing."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

_listener: contextvars.ContextVar[Callable[[str], None] | None] = contextvars.ContextVar("listener", default=None)


def stage(name: str) -> None:
    """From now on, until the next call, this is being done: "load", "convert", "verify", "write"."""
    listener = _listener.get()
    if listener is not None:
        listener(name)


@contextlib.contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with the name of every stage that begins inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
