"""Every error that a user can meet, with its exit code: one place, so that messages read alike.

A message says what happened, where in the user's model, why, and what to do next, in that order and in one or two
sentences. Errors also are what Python users expect of them (`FileNotFoundError`, `NotImplementedError`, ...), and they
survive pickling, because engines run in other processes. Nothing here imports a framework except `require`, on request.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from .graph import Graph
    from .report.record import Report

EXTRAS: dict[str, str] = {
    "keras": "keras", "h5py": "keras", "torch": "torch", "tensorflow": "tensorflow", "tf2onnx": "savedmodel", "matplotlib": "plot",
    "flatbuffers": "tflite", "scipy": "matlab", "ray": "ray", "PIL": "inference", "pyarrow": "inference",
}  # fmt: skip


class LeakyInteropError(Exception):
    """An error of this package: `what` happened, `where` in the user's model, `why`, and a `hint` for what to do."""

    exit_code: int = 5

    def __init__(self, what: str, where: str = "", why: str = "", hint: str = "") -> None:
        self.what, self.where, self.why, self.hint = what, where, why, hint
        first = what.rstrip(".") + (f" at {where}" if where else "") + (f": {why.rstrip('.')}" if why else "") + "."
        super().__init__(f"{first} {hint.rstrip('.')}." if hint else first)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[LeakyInteropError], args: tuple[Any, ...], state: Mapping[str, Any]) -> LeakyInteropError:
    """The error again, without running its `__init__` on a message that is already written."""
    base: Any = kind.__base__  # OSError insists that its own __new__ is called
    error: LeakyInteropError = base.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class Usage(LeakyInteropError, ValueError):
    """What the user gave cannot be used: a foreign or truncated file, a shape that does not fit, a wrong option."""

    exit_code = 2


class MissingFile(Usage, FileNotFoundError):
    """A file that is not there."""


class MissingFramework(Usage, ImportError):
    """A framework that is needed and not installed, or installed and broken."""


class MissingAdapter(NamedTuple):
    """One operator that a framework cannot import or export, and where it stands in the user's model."""

    framework: str
    verb: Literal["imports", "exports"]
    native: str  # the exact string the framework prints; for an exporter the canonical operator's name
    where: str = ""
    hint: str = ""


class Unsupported(LeakyInteropError, NotImplementedError):
    """Operators without an adapter: all of them at once, with the decorator to write and where."""

    exit_code = 3

    def __init__(self, missing: Iterable[MissingAdapter | tuple[str, ...]], partial: Graph | None = None) -> None:
        self.missing = [MissingAdapter(*row) for row in missing]
        self.partial = partial  # what could be read, with stand-ins for the rest
        grouped: dict[tuple[str, str, str], list[MissingAdapter]] = {}
        for row in self.missing:
            grouped.setdefault(row[:3], []).append(row)
        lines = []
        for (framework, verb, native), rows in grouped.items():
            places = ", ".join(dict.fromkeys(row.where for row in rows if row.where))
            hints = "; ".join(dict.fromkeys(row.hint.rstrip(".") for row in rows if row.hint))
            decorator = f'@{verb}("{framework}", {native if verb == "exports" else _quoted(native)})'
            place = f" at {places}" if places else ""
            lines.append(f"  {native}{place}: write {decorator}" + (f" ({hints})" if hints else ""))
        what = f"{len(grouped)} operator{'s have' if len(grouped) > 1 else ' has'} no adapter"
        super().__init__(what)
        where = "Write adapters in leaky_interop/ops/<family>.py"
        where += ", or in your own code with leaky_interop.imports" * any(row.verb == "imports" for row in self.missing)
        self.args = (f"{what}:\n" + "\n".join(lines) + f"\n{where}.",)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, {**self.__dict__, "partial": None})  # a graph stays where its model is


class Refused(LeakyInteropError, NotImplementedError):
    """A setting that the target cannot express without changing a number."""

    exit_code = 3


class OpenSize(Refused, TypeError):
    """A plain number that an operator needs, where a size is known only when the network runs."""


class Computed(Refused):
    """A number that an operator needs before the run, and that the network computes: read as `Deferred` where that can be."""


class Mismatch(LeakyInteropError, AssertionError):
    """Two models that ought to compute the same and do not; carries the report."""

    exit_code = 1

    def __init__(self, report: Report) -> None:
        self.report = report
        first: Any = report.first_difference
        error = first.error
        source = getattr(first, "source", "")  # outputs have none
        adapter = getattr(first, "adapter", "")
        numbers = f"differs by {error.absolute:.3g} ({error.ulp:.3g} ULP), allowed {error.limit:.3g}" if error else ""
        super().__init__(
            f"{report.target} does not compute what {report.source} does",
            where=f"{first.name} ({source})" if source else first.name,
            why=first.problem or numbers,
            hint=f"Its adapter is {adapter}" if adapter else "",
        )


class UnsafeFile(LeakyInteropError, ValueError):
    """A file that would read outside itself, run code or exhaust memory; nothing of it was executed."""

    exit_code = 4


class RuntimeFailure(LeakyInteropError, RuntimeError):
    """An engine failed while it loaded or ran a model."""

    exit_code = 5


def require(module_name: str, extra: str | None = None) -> ModuleType:
    """The framework's module, imported now, or the error that says what to install."""
    top = module_name.partition(".")[0]
    extra = extra or EXTRAS.get(top)
    install = "Install it with: pip install leaky_interop" + (f"[{extra}]" if extra else "")
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == top:
            raise MissingFramework(f"{top} is not installed", hint=install) from None
        if top == "keras" and missing in ("tensorflow", "jax", "torch"):
            what = f"Keras is set to the {missing} backend, and {missing} is not installed"
            hint = "Choose another backend with the environment variable KERAS_BACKEND, or install that one"
            raise MissingFramework(what, hint=hint) from None
        raise MissingFramework(f"{top} is installed but needs {missing}, which is not", hint=install) from error
    except ImportError as error:
        raise MissingFramework(f"{top} is installed but does not import", why=str(error), hint=install) from error


def _quoted(text: str) -> str:
    return f'"{text}"'
