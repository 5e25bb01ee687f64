"""`python -m tests.record_keras_cases`: writes tests/keras_cases.json out of Keras' own unit tests.

Keras' wheel brings its tests. They run here under a plugin that notes every layer that they call and every function of
`keras.ops`, with its settings and what its operands look like; each kind of call once. Nothing of their results is
noted: what a layer should compute is asked of Keras itself when a case runs.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

PATH = Path(__file__).with_name("keras_cases.json")
ROOMS = ("numpy", "nn", "math", "linalg", "image", "core")  # the modules of keras.ops
SMALL = 64  # numbers of an integer operand that are kept as they are: they may be indices, lengths, classes
LARGEST = 20_000  # numbers of one operand; larger ones show nothing that smaller ones do not
ABSENT = ("jax", "jax.numpy", "grain")
MARKER = "requires_trainable_backend"  # of Keras' own tests; this project knows its own markers only
SLOW = "not (benchmark or rng or fit or train or saving or quantize or large or Dtype)"


class Recorder:
    """A pytest plugin."""

    def __init__(self, path: Path):
        self.path = path
        self.depth = 0
        self.cases: dict[str, dict[str, Any]] = {}

    def pytest_configure(self, config: Any) -> None:
        import keras
        from keras.src import ops

        config.addinivalue_line("markers", MARKER)
        for name in ABSENT:  # files compare with them, or feed them; what they compute is not asked here
            sys.modules.setdefault(name, np if name == "jax.numpy" else mock.MagicMock())
        sys.modules["conftest"] = types.SimpleNamespace(skip_if_backend=lambda *_: lambda test: test)
        self.layers = {value for name, value in vars(keras.layers).items() if inspect.isclass(value)}
        keras.Layer.__call__ = self.of_layer(keras.Layer.__call__)
        for room in ROOMS:
            module = getattr(ops, room)
            for name, function in list(vars(module).items()):
                if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
                    setattr(module, name, self.of_function(name, function))

    def of_layer(self, call: Any) -> Any:
        """`Layer.__call__` that notes the outermost call."""

        @functools.wraps(call)
        def noted(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self.depth == 0 and type(layer) in self.layers:
                self.note({"layer": type(layer).__name__}, lambda: settings(layer), args, kwargs)
            return self.inside(call, layer, *args, **kwargs)

        return noted

    def of_function(self, name: str, function: Any) -> Any:
        """A function of keras.ops that notes the outermost call."""

        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            if self.depth == 0:
                self.note({"operation": name}, dict, args, kwargs)
            return self.inside(function, *args, **kwargs)

        return noted

    def inside(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.depth += 1
        try:
            return function(*args, **kwargs)
        finally:
            self.depth -= 1

    def note(self, what: dict[str, Any], config: Any, args: Any, kwargs: Any) -> None:
        try:
            case = {**what, "config": config(), "args": plain(args), "kwargs": plain(kwargs)}
            text = json.dumps(case, sort_keys=True)
        except (TypeError, ValueError, NotImplementedError, AttributeError):
            return  # a function, a sparse tensor, a metric: nothing that a file can hold
        self.cases.setdefault(json.dumps(kind(case), sort_keys=True), json.loads(text))

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps(list(self.cases.values())))


def settings(layer: Any) -> Any:
    """A layer as Keras serializes it, without the name that it was given by chance."""
    import keras

    config = keras.saving.serialize_keras_object(layer)["config"]
    return {k: v for k, v in config.items() if k != "name"}


def plain(value: Any) -> Any:
    """Arguments as JSON has them: a tensor is what it looks like, and a small one of integers what it holds."""
    import keras

    if isinstance(value, keras.KerasTensor):
        return {"tensor": [d for d in value.shape], "dtype": value.dtype, "symbolic": True}
    if isinstance(value, np.ndarray | np.generic) or keras.ops.is_tensor(value) or isinstance(value, keras.Variable):
        array = np.asarray(keras.ops.convert_to_numpy(value))
        if array.size > LARGEST or array.dtype.kind not in "biufV":
            raise ValueError("too large, or text")
        found: dict[str, Any] = {"tensor": list(array.shape), "dtype": array.dtype.name}
        if array.dtype == bool or (array.dtype.kind in "iu" and array.size <= SMALL):
            found["values"] = array.tolist()
        elif array.size:
            finite = array.astype(np.float64)[np.isfinite(array.astype(np.float64))]
            found["range"] = [float(f"{end:.3g}") for end in (finite.min(initial=0), finite.max(initial=0))]
        return found
    if isinstance(value, tuple | list):
        return {"tuple" if isinstance(value, tuple) else "list": [plain(v) for v in value]}
    if isinstance(value, dict):
        return {"dict": {k: plain(v) for k, v in value.items()}}
    if isinstance(value, slice):
        return {"slice": [plain(value.start), plain(value.stop), plain(value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": str(value)}
    raise TypeError(f"{type(value).__name__} is nothing that a file can hold")


def kind(case: Any) -> Any:
    """What makes two calls the same: everything but the numbers of tensors."""
    if isinstance(case, dict) and "tensor" in case:
        return {k: v for k, v in case.items() if k in ("tensor", "dtype")}
    if isinstance(case, dict):
        return {k: kind(v) for k, v in case.items()}
    return [kind(v) for v in case] if isinstance(case, list) else case


def record(backend: str, only: str) -> list[dict[str, Any]]:
    """The cases that Keras' tests give on one backend."""
    import keras

    source = Path(keras.__file__).parent / "src"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.json"
        command = [sys.executable, "-m", "tests.record_keras_cases", "--inside", str(path), only]
        command += [str(p) for room in ("layers", "ops") for p in sorted((source / room).rglob("*_test.py"))]
        variables = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run(command, env=variables, check=False, stdout=sys.stderr)
        return json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.record_keras_cases", description=__doc__)
    parser.add_argument("--backend", action="append", help="run the tests on this backend; repeatable (tensorflow, torch)")
    parser.add_argument("--only", default=SLOW, help="pytest's -k")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for backend in options.backend or ("tensorflow", "torch"):
        for case in record(backend, options.only):
            found.setdefault(json.dumps(kind(case), sort_keys=True), case)
    rows = sorted(json.dumps(case, sort_keys=True) for case in found.values())
    PATH.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    print(f"{len(rows)} cases in {PATH.name}", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        import pytest

        path, only, *files = sys.argv[2:]
        options = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", "-k", only]
        sys.exit(pytest.main([*options, "--rootdir", "/", "-W", "ignore", *files], plugins=[Recorder(Path(path))]))
    main()
