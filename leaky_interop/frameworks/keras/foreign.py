"""Layers and functions of the user's own: how importers name them, whose `call` they inherit, why one is not traced."""

from __future__ import annotations

import contextlib
import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from ...errors import LeakyInteropError, Refused
from ...graph import snake
from .flow import Flow

# What a class may define anew and still compute what the Keras layer that it comes from computes.
HARMLESS = {"__init__", "build", "get_config", "from_config", "compute_output_shape"}
LIBRARIES = {"tensorflow": "tf", "torch": "torch", "jax": "jax"}
TRACED = "and only keras.ops can be traced: write it with keras.ops"


def native_name(operation: Any) -> str:
    """How importers name an operation: a Keras layer's class, "ops." and the class of a Keras operation.

    A class of the user's own is named with its module ("net.Twice"), so that it cannot be taken for one of Keras'; where
    it inherits all that computes from a Keras layer, it is that layer.
    """
    kind = type(operation)
    if isinstance(operation, Flow):
        return operation.native
    if not is_own(kind) and isinstance(operation, keras.Layer):
        base = next(c for c in kind.__mro__ if is_own(c))
        between = kind.__mro__[: kind.__mro__.index(base)]
        defined = {n for c in between for n, v in vars(c).items() if inspect.isroutine(v) or isinstance(v, property)}
        overridden = {n for n in defined - HARMLESS if hasattr(base, n)}
        if base.__module__.startswith("keras.src.layers.") and base is not keras.Layer and not overridden:
            return base.__name__
    if not is_own(kind):
        return qualified(kind)
    return kind.__name__ if isinstance(operation, keras.Layer) else f"ops.{kind.__name__}"


def called(operation: Any) -> tuple[str, str]:
    """What messages call an operation, and what its calls are named after."""
    if isinstance(operation, Flow):
        return f"ops.{operation.called} ({operation.place})", operation.called
    native, kind = native_name(operation), type(operation).__name__
    return (native if native.startswith("ops.") else kind), snake(kind)


def is_own(kind: type) -> bool:
    """Whether a class is Keras' own."""
    return kind.__module__.startswith("keras.")


def qualified(kind: type) -> str:
    """A class of the user's own as importers name it."""
    return f"{kind.__module__}.{kind.__qualname__}"


@contextlib.contextmanager
def without_random() -> Iterator[None]:
    """Refuse random numbers while code is traced: they would become constants."""
    module: Any = keras.src.backend.random
    drawn = module.draw_seed

    def refuse(seed: Any) -> Any:
        raise Refused(
            "random numbers", why="each call draws others, so that no two frameworks compute the same",
            hint="Draw them outside and make them an input, or leave them out where `training` is False; a layer that was never "
            "called (in a branch that was not taken) draws its weights: build it before",
        )  # fmt: skip

    module.draw_seed = refuse
    try:
        yield
    finally:
        module.draw_seed = drawn


def reason(function: Any, error: Exception) -> str:
    """Why code of the user's was not traced: the line that failed, and the library that it calls there, if another."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    plain = plain if hasattr(plain, "__code__") else type(plain).__call__
    own = getattr(plain, "__code__", None)
    if own is None:
        return _first_line(error)
    if library := LIBRARIES.get(plain.__module__.partition(".")[0]):
        return f"it is a function of {library}.*, {TRACED}"
    at, failed = own.co_firstlineno, own
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == own.co_filename:
            at, failed = trace.tb_lineno, code
        trace = trace.tb_next
    place = f"{Path(own.co_filename).name}:{at}"
    called = _libraries(failed, plain.__globals__) or _libraries(own, plain.__globals__)
    return f"{place} calls {' and '.join(called)}, {TRACED}" if called else f"{place}: {_first_line(error)}"


def _libraries(code: types.CodeType, outside: dict[str, Any]) -> list[str]:
    """The libraries other than Keras that a function names."""
    found = []
    for name in code.co_names:
        value = outside.get(name)
        module = getattr(value, "__name__" if inspect.ismodule(value) else "__module__", name)
        top = str(module).partition(".")[0]
        if top in LIBRARIES and f"{LIBRARIES[top]}.*" not in found:
            found.append(f"{LIBRARIES[top]}.*")
    return found


def _first_line(error: Exception) -> str:
    if isinstance(error, LeakyInteropError):
        return str(error)
    own = re.search(r"\x1b\[1m(.*?)\x1b\[0m", str(error), re.DOTALL)  # Keras sets what was raised in bold letters
    text = (own[1] if own else str(error)).strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
