"""Opens any source: a living model, a file, or `package.module:factory`; the first half of every verb."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import frameworks, names
from .collector import paused
from .errors import LeakyInteropError, RuntimeFailure, Unsupported, Usage, require
from .graph import Graph
from .passes.idioms import with_fast_math

DATA = ("onnx", *frameworks.FORMATS)  # whose models are data and hold no code of the user's
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def open_model(
    source: Any,
    weights: Any = None,
    *,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Any:
    """The native model of a source.

    source: a model, a path to a `.keras`, `.h5`, `.onnx`, `.pt2`, `.pt` (TorchScript), `.chainer` or `.m` file or a
    SavedModel's folder, or "package.module:factory",
    whose function (or class) is called without arguments. weights: a `.safetensors`, `.pth` or `.ckpt` file for a
    factory's module, a `.weights.h5`, `.h5` or `.keras` file for its Keras model, loaded strictly; a `.mat` file for a
    MATLAB source. The others: as for `load`. Raises Usage for what is none of these, UnsafeFile for a file that is not to
    be trusted.
    """
    from . import files

    if not isinstance(source, str | os.PathLike):
        if frameworks.of(source) is None:
            kind = f"{type(source).__module__}.{type(source).__qualname__}"
            raise Usage(f"{kind} is no model", why="it is not a Keras, PyTorch or ONNX model and not a path")
        return _with_weights(source, weights)
    if isinstance(source, str) and FACTORY.fullmatch(source) and not Path(source).exists():
        return _with_weights(_made(source), weights)
    kind = files.kind(source)
    if kind == "onnx":
        return files.read_onnx(source, allow_root, trust=trust)
    if kind in ("keras", "h5"):
        require("keras", "keras")
        return files.open_keras(source, custom_objects, trust=trust)
    if kind == "pt2":
        require("torch", "torch")
        return files.open_pt2(source)
    if kind == "torchscript":
        require("torch", "torch")
        from .frameworks.torch.script import converts

        return files.open_torchscript(source, converts, trust=trust)
    if kind == "chainer":
        return files.read_recording(source)
    if kind == "savedmodel":
        return files.read_saved_model(source, signature, trust=trust)
    if kind == "matlab":
        return files.open_matlab(source, weights)
    hint = "Name the code that builds the network, package.module:factory, and give this file as its weights"
    raise Usage(f"{Path(source).name} holds {kind} data, not a network", hint=hint)


def load(
    model: Any,
    example: Any = None,
    input_shapes: Any = None,
    *,
    weights: Any = None,
    static_batch: bool = False,
    dynamic_batch: bool = False,
    fast_math: bool = False,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Graph:
    """The canonical graph of a model.

    Parameters
    ----------
    model : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    example : tuple of arrays or tensors, in the model's own layout; needed for PyTorch modules and models without inputs
    input_shapes : dict of name -> shape, or shapes in order; None, a string or -1 leaves a size open
    weights : weights file for a factory
    static_batch : fix the batch at 1, or at the example's
    dynamic_batch : open the batch where the source fixes it
    fast_math : also recognise LeakyReLU where it was spelled in a way that differs from it for some numbers (in the sign
        of a zero, at infinities, by roundings); the graph's notes name each place, and what differs
    allow_root : a folder inside which links of a file's external data may lead, as in the caches of model hubs
    trust : also take what runs code or has kernels that read beyond their data: Lambda layers, ai.onnx.ml, TorchScript
        that calls operators which do not convert, operators of a SavedModel that are in no list
    custom_objects : the user's own Keras classes and functions by name, for a .keras or .h5 file
    signature : which signature of a TensorFlow SavedModel; "serving_default", or its only one, if nothing is said

    Raises Unsupported (all operators without an importer at once), Refused, Usage, UnsafeFile. A file is read in this
    process; the worker with limits, which an engine's crash does not leave, is the command line's (`--sandbox`).
    """
    native = open_model(
        model, weights, allow_root=allow_root, trust=trust, custom_objects=custom_objects, signature=signature
    )
    framework = frameworks.of(native) or ""
    engine = frameworks.get(framework)
    reading = {"trust": trust} if framework == "onnx" else {}
    try:
        with _failures(is_data=framework in DATA or isinstance(model, str | os.PathLike)):
            graph = paused(engine.load)(
                native, example=example, input_shapes=input_shapes, static_batch=static_batch, dynamic_batch=dynamic_batch, **reading
            )
    except Unsupported as error:
        if fast_math and error.partial is not None:
            error.partial.passes += (with_fast_math,)
        raise
    if fast_math:
        raw = graph.raw or graph
        raw.passes += (with_fast_math,)
        graph = with_fast_math(graph)
        graph.raw, graph.passes = raw, raw.passes
    graph.notes += engine.hazards(native) if hasattr(engine, "hazards") else []
    known = [v.name for v in graph.inputs]
    spelled = {*known, *(names.encode(graph.framework, name) for name in known)}
    if isinstance(input_shapes, Mapping) and (unknown := set(input_shapes) - spelled):
        raise Usage(f"there is no input {', '.join(map(repr, sorted(unknown)))}", why=f"there is {', '.join(known)}")
    return graph


@contextmanager
def _failures(*, is_data: bool) -> Iterator[None]:
    """Whatever the content of a file leads an importer to raise, as one clear error; code of the user's raises its own."""
    try:
        yield
    except LeakyInteropError:
        raise
    except Exception as error:
        if not is_data:
            raise
        why = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
        cause = None if isinstance(error, StopIteration) else error  # contextlib takes one caused by that for itself
        raise RuntimeFailure("the network cannot be read", why=why, hint="Its file may be damaged or not valid") from cause


def _made(source: str) -> Any:
    module_name, _, attribute = source.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise Usage(f"there is no module {module_name!r}", why=str(error), hint="Set PYTHONPATH to where it is") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise Usage(f"{module_name} has no {attribute!r}")
        found = getattr(found, part)
    model = found()
    if frameworks.of(model) is None:
        raise Usage(f"{source} returned a {type(model).__name__}", why="a factory must return a model")
    return model


def _with_weights(model: Any, weights: Any) -> Any:
    if weights is None:
        return model
    from . import files

    framework = frameworks.of(model)
    if framework == "keras":
        if not model.built:
            raise Usage(f"Keras model {model.name!r} has no weights yet", hint="Let the factory call it once, or model.build(shape)")
        files.load_keras_weights(model, weights)
        return model
    if framework != "torch":
        raise Usage("weights are given", why="only a Keras model or a PyTorch module takes them from another file")
    state = _unwrapped(files.state_dict(weights), set(model.state_dict()))
    lacking, extra = sorted(set(model.state_dict()) - set(state)), sorted(set(state) - set(model.state_dict()))
    if lacking or extra:
        parts = [f"{label} {', '.join(keys)}" for label, keys in (("missing", lacking), ("unexpected", extra)) if keys]
        raise Usage(f"the weights of {Path(weights).name} do not fit {type(model).__name__}", why="; ".join(parts))
    model.load_state_dict(state)
    return model


def _unwrapped(state: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    """The weights without the one name before all of theirs, which a wrapper has added ("module.", "model.").

    Only where they then are exactly the wanted ones; otherwise as they are.
    """
    prefix = next(iter(state), "").partition(".")[0] + "."
    bare = {key.removeprefix(prefix): value for key, value in state.items()}
    wrapped = all(key.startswith(prefix) for key in state) and set(state) != wanted
    return bare if wrapped and set(bare) == wanted else state
