"""A network that is ready to run: onnxruntime over arrays and pictures, in batches, from any number of threads.

What a Keras or PyTorch model computes is asked of its conversion, which takes and gives the same arrays in the same
layout; a file's conversion is verified once and kept in the cache. Arrays go to onnxruntime by its plain `run`, which reads
numpy in place. Bound outputs were measured on the CPU: new ones are no faster, only one that is written over each time is,
and results that are kept cannot be.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .. import ort
from ..errors import RuntimeFailure, Usage
from . import cache
from .ports import Picture, Port, port
from .preprocessing import KEY, Preprocessing
from .recipes import recipe, stored
from .sound import Samples, Sound


class WrongJob(Usage):
    """What is stated of the inputs does not fit the network, whichever input comes: not the fault of one of them."""


class Session:
    """A network, open. Use it as a context manager, or call `close`.

    Parameters
    ----------
    model : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    providers : onnxruntime's execution providers, the best first; the CPU by default
    threads : threads that work on one operator; all cores by default
    preprocess : a Preprocessing, its name or its file; by default what the model's metadata says
    example, input_shapes, weights : as for `convert`, for models that are no ONNX file
    allow_root, trust, signature : as for `load`, where a file is opened

    Raises Usage, UnsafeFile, Unsupported, Refused as `convert` does, and RuntimeFailure where onnxruntime does not take it.
    """

    def __init__(
        self,
        model: Any,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        *,
        preprocess: Preprocessing | Sound | str | os.PathLike[str] | None = None,
        example: Any = None,
        input_shapes: Any = None,
        weights: Any = None,
        allow_root: str | os.PathLike[str] | None = None,
        trust: bool = False,
        signature: str | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise Usage(f"threads={threads}", why="a network runs on one thread or more")
        stated = recipe(preprocess) if isinstance(preprocess, str | os.PathLike) else preprocess
        options = {"input_shapes": input_shapes, "example": example, "weights": weights, "signature": signature}
        native = as_onnx(model, options, allow_root, trust)
        proto = ort.as_proto(native)
        self._runtime: Any = ort.session(native, providers=providers or (ort.CPU,), threads=threads)
        self.inputs: tuple[Port, ...] = tuple(map(port, self._runtime.get_inputs()))
        self.outputs: tuple[Port, ...] = tuple(map(port, self._runtime.get_outputs()))
        self.last_operators = _last_operators(proto)
        if stated is None and (kept := [p.value for p in proto.metadata_props if p.key == KEY]):
            stated = stored(kept[0])
        self.preprocessing: Preprocessing | Sound | None = stated
        self.held: Picture | Samples | None = None  # how the input holds what is preprocessed
        if stated is not None and len(self.inputs) == 1:
            self.preprocessing, self.held = stated.fitted(self.inputs[0])

    @property
    def batch(self) -> int | None:
        """How many rows the network takes at once; None for any number."""
        sizes = {p.batch for p in self.inputs} - {None}
        return min(sizes) if sizes else None

    def predict(self, inputs: Any, batch: int | None = None) -> np.ndarray | list[np.ndarray]:
        """The network's output for each row, in its own layout; a list, where there are several outputs.

        inputs : an array whose first axis is the batch; several in the order of the inputs, or a dict by name; or a
            picture or a list of them, each a path, the bytes of a file, or a `PIL.Image`
        batch : how many rows run at once; all by default, or as many as the network is fixed to. What is left over for a
            network of a fixed batch is filled up with its last row, whose extra results are dropped.

        Raises Usage where the inputs do not fit, RuntimeFailure where onnxruntime fails.
        """
        if _is_picture(inputs):
            inputs = [inputs]
        if isinstance(inputs, list | tuple) and inputs and all(map(_is_picture, inputs)):
            samples = [self.sample(one) for one in inputs]
            if len({one.shape for one in samples}) > 1:
                why = "the network takes any size, and one batch holds one"
                raise Usage("the files are of different sizes", why=why, hint="State a size in the preprocessing")
            feeds = [np.stack(samples)]
        elif isinstance(inputs, Mapping):
            if set(inputs) != {p.name for p in self.inputs}:
                why = f"it takes {', '.join(map(str, self.inputs))}"
                raise Usage(f"the network does not take {', '.join(map(repr, inputs))}", why=why)
            feeds = [inputs[p.name] for p in self.inputs]
        else:
            feeds = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        found = self.run(feeds, batch)
        return found[0] if len(found) == 1 else found

    def sample(self, given: Any, name: str = "") -> np.ndarray:
        """One picture or sound as the network takes it, without the batch axis. `name`: what errors call it."""
        if self.preprocessing is not None and self.held is not None:
            made: Any = self.preprocessing  # the two kinds of recipe have each its own kind of shape
            return made.sample(given, name, self.held, self.inputs[0].dtype)
        if len(self.inputs) > 1:
            raise WrongJob("a file is given", why="the network has several inputs", hint="Pass arrays by name")
        hint = "Pass preprocess=, or --preprocess: imagenet, keras:mobilenet_v2, darknet, gan or a .toml file"
        raise WrongJob("nothing says how pictures or sounds become this network's numbers", hint=hint)

    def run(self, arrays: Sequence[Any], batch: int | None = None) -> list[np.ndarray]:
        """All outputs for arrays in the order of the inputs, `batch` rows at a time. Errors as `predict`."""
        if batch is not None and batch < 1:
            raise Usage(f"batch={batch}", why="a batch has one row or more")
        if len(arrays) != len(self.inputs):
            raise Usage(f"{len(arrays)} arrays are given", why=f"the network takes {', '.join(map(str, self.inputs))}")
        feeds = [_fitting(a, p) for a, p in zip(arrays, self.inputs, strict=True)]
        if not feeds or not feeds[0].ndim:
            return self._run(feeds)
        rows = len(feeds[0])
        step = self.batch or batch or rows
        if self.batch and batch and batch != self.batch:
            raise Usage(f"batch={batch}", why=f"the network is fixed to {self.batch} rows")
        if rows == step or (not self.batch and rows < step):
            return self._run(feeds)
        if any(a.ndim == 0 or len(a) != rows for a in feeds):
            sizes = ", ".join(str(list(a.shape)) for a in feeds)
            raise Usage(f"arrays of {sizes} do not run in pieces", why="they have not the same number of rows")
        if not rows:
            raise Usage("there are no rows", why=f"the network is fixed to {self.batch} at a time")
        pieces = [self._piece([a[start : start + step] for a in feeds], step) for start in range(0, rows, step)]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _piece(self, feeds: list[np.ndarray], step: int) -> list[np.ndarray]:
        """The outputs of some rows, filled up where the network is fixed to more."""
        rows = len(feeds[0])
        if self.batch and rows < step:
            feeds = [np.concatenate([a, np.repeat(a[-1:], step - rows, axis=0)]) for a in feeds]
        found = self._run(feeds)
        for array, output in zip(found, self.outputs, strict=True):
            if not array.ndim or len(array) != len(feeds[0]):
                why = f"its output {output.name} {list(array.shape)} has not one row for each of {len(feeds[0])}"
                raise Usage("the network does not run in pieces", why=why, hint="Pass all rows in one batch")
        return [array[:rows] for array in found]

    def _run(self, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
        made = self._runtime
        if made is None:
            raise Usage("the session is closed")
        try:
            return ort.feed(made, feeds)
        except RuntimeFailure as error:
            if type(error.__cause__).__name__ == "InvalidArgument":
                raise Usage("the arrays do not fit the network", why=error.why) from error
            raise

    def close(self) -> None:
        """Give the network's memory back; what other threads are running ends first."""
        self._runtime = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def as_onnx(model: Any, options: dict[str, Any], allow_root: Any, trust: bool) -> Any:
    """The network as an ONNX model with its weights: read, or converted."""
    from .. import files

    if isinstance(model, str | os.PathLike) and not _is_factory(model):
        kind = files.kind(model)
        if kind == "onnx":
            return files.read_onnx(model, allow_root, trust=trust)
        return files.read_onnx(_converted(model, kind, {**options, "allow_root": allow_root, "trust": trust}))
    from .. import frameworks
    from ..converting import convert

    if not isinstance(model, str) and frameworks.of(model) == "onnx":
        return model
    return convert(model, to="onnx", verify=True, allow_root=allow_root, trust=trust, **options)


def _is_factory(source: str | os.PathLike[str]) -> bool:
    if Path(source).exists():  # asked first: what follows imports every operator
        return False
    from ..loading import FACTORY

    return FACTORY.fullmatch(str(source)) is not None


def _converted(path: str | os.PathLike[str], kind: str, options: dict[str, Any]) -> Path:
    """The file's conversion out of the cache, verified when it was made."""
    from ..converting import convert
    from ..files import parts
    from ..running import to_array

    given = [*parts(path)] if kind == "savedmodel" else [path]
    given += [] if options["weights"] is None else [options["weights"]]
    if kind == "matlab" and options["weights"] is None and (numbers := Path(path).with_suffix(".mat")).exists():
        given.append(numbers)
    example = options["example"]
    arrays = example if isinstance(example, tuple | list) else () if example is None else (example,)
    deciding = (kind, options["input_shapes"], options.get("signature"), [(a.shape, str(a.dtype), a.tobytes()) for a in map(to_array, arrays)])
    return cache.entry(cache.key(given, deciding), lambda target: convert(path, target, **options))


def _last_operators(proto: Any) -> tuple[str, ...]:
    """What computes each output."""
    graph = proto.graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    return tuple(makers.get(output.name, "") for output in graph.output)


def _is_picture(given: Any) -> bool:
    return isinstance(given, str | os.PathLike | bytes) or hasattr(given, "getexif")


def _fitting(given: Any, wanted: Port) -> np.ndarray:
    """The array as onnxruntime takes it, without a copy where it is laid out plainly and of the right type.

    Only floating-point numbers change their width: bytes put into a network of fractions are more often forgotten
    preprocessing than meant.
    """
    if isinstance(given, np.ndarray):
        array = given
    else:
        from ..running import to_array  # imports every operator

        array = to_array(given)
    if array.dtype != wanted.dtype:
        if not (array.dtype.kind == "f" and (wanted.dtype.kind == "f" or wanted.dtype.name == "bfloat16")):
            hint = "Convert the array, if these are the numbers that the network wants"
            raise Usage(
                f"the array is of {array.dtype}",
                where=f"input {wanted.name}",
                why=f"it takes {wanted.dtype}",
                hint=hint,
            )
        array = array.astype(wanted.dtype)
    return np.ascontiguousarray(array) if array.ndim else array
