"""Runs one runtime in a process of its own: `python worker.py FILE_OR_MODULE`. Stands alone: Python 3.8 and numpy.

It reads one JSON object a line from its standard input and answers each with one line. What frameworks print goes to
stderr. A message is {"do": "describe"} or {"do": "run", "job": {...}, "arrays": {...}}; an answer is {"about": {...}},
{"arrays": {...}} or {"error": "ValueError: ..."}. An array is {"dtype": "float32", "shape": [2, 3], "data": base64}; the
special numbers of a job travel as JSON's NaN and Infinity. It survives nothing: who dies is started again.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

TOO_LONG = 400  # characters of a message; runtimes like to print their whole stack


def load(name: str) -> Any:
    """A runtime from its file, or from an installed module."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    sys.path.append(str(Path(name).parent / "shared"))  # behind all that is installed
    spec = importlib.util.spec_from_file_location("runtime_" + Path(name).stem, name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bfloat16() -> Any:
    """The numpy dtype of bfloat16, or None where ml_dtypes is not installed: its bits then stand for it."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def unpack(packed: Any) -> Any:
    """The array of a message."""
    kind = packed["dtype"]
    bits = "uint16" if kind == "bfloat16" else kind
    made = np.frombuffer(base64.b64decode(packed["data"]), bits).reshape(packed["shape"]).copy()
    return made.view(bfloat16()) if kind == "bfloat16" and bfloat16() is not None else made


def pack(made: Any, kind: str = "") -> Any:
    """An array as part of a message. kind: what it is called, where its own name does not say so."""
    made = np.array(made, order="C", copy=True)
    if made.dtype.name == "bfloat16" or (kind == "bfloat16" and made.dtype == np.uint16):
        made, kind = made.view(np.uint16), "bfloat16"
    else:
        kind = made.dtype.name
    data = base64.b64encode(made.tobytes()).decode()
    return {"dtype": kind, "shape": list(made.shape), "data": data}


def answer(runtime: Any, message: Any) -> Any:
    """What one message is answered."""
    try:
        if message["do"] == "describe":
            return {"about": dict(runtime.describe(), python=sys.version.split()[0])}
        arrays = {name: unpack(packed) for name, packed in message["arrays"].items()}
        with np.errstate(all="ignore"):
            results = runtime.run(message["job"], arrays)
        return {"arrays": {name: pack(made, message["job"]["dtype"]) for name, made in results.items()}}
    except Exception as error:  # a refusal may have any type
        return {"error": " ".join("{}: {}".format(type(error).__name__, error).split())[:TOO_LONG]}  # noqa: UP032


def main(name: str) -> int:
    here = str(Path(__file__).parent)
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != here]  # noqa: PTH100  (no file beside this one)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        runtime = load(name)
    except Exception as error:  # its framework is not installed, or broken
        answers.write(json.dumps({"error": "{}: {}".format(type(error).__name__, error)[:TOO_LONG]}) + "\n")  # noqa: UP032
        return 1
    for line in sys.stdin:
        answers.write(json.dumps(answer(runtime, json.loads(line))) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
