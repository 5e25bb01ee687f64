"""One measurement in a process of its own: `python -m benchmarks.worker TASK.json RESULT.json`."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring, networks
from benchmarks.converters import (
    WITHOUT_TORCHVISION,
    Arrays,
    Converter,
    Direction,
    converter,
    direction,
    export_onnx,
    tensors,
    without_torchvision,
)
from leaky_interop.speed import memory

AGAIN_FOR = 15.0  # seconds that are spent on converting again, at most


def export(task: dict[str, Any]) -> dict[str, Any]:
    """Write the PyTorch form of a network as ONNX, the source of others' conversions."""
    subject = networks.get(task["network"])
    export_onnx(networks.form(subject, "torch"), networks.arrays(subject, "torch"), Path(task["source"]))
    return {}


def convert(task: dict[str, Any]) -> dict[str, Any]:
    """Convert once with memory measured, then again a few times; then check, and time a living result."""
    way, subject = direction(task["direction"]), networks.get(task["network"])
    used = converter(task["converter"], way.name)
    arrays, path = networks.arrays(subject, way.source), Path(task["path"])
    warm_up_seconds, _ = measuring.seconds(lambda: warm_up(used, way, path))

    source = Path(task["source"]) if way.source == "onnx" else networks.form(subject, way.source)
    used.prepare(source, arrays)
    loaded = memory.resident()
    memory.reset_peak()
    first_seconds, result = measuring.seconds(lambda: used.convert(source, arrays, path))
    highest = memory.peak()

    again, end = [], time.monotonic() + AGAIN_FOR
    while len(again) < task["again"] and time.monotonic() < end:
        again.append(measuring.seconds(lambda: used.convert(source, arrays, path))[0])
    original = networks.form(subject, "torch") if way.source == "onnx" else source
    found: dict[str, Any] = {
        "warm_up_seconds": warm_up_seconds,
        "seconds": first_seconds,
        "again_seconds": min(again, default=None),
        "peak_bytes": highest - loaded + (0 if way.source == "onnx" else _weight_bytes(source)),
        "weight_bytes": _weight_bytes(original),
        **measuring.size(result),
        "versions": _versions(used),
    }
    expected = _run(original, arrays)
    if way.target == "onnx":
        np.savez(task["expected"], *arrays, *expected)
        return {**found, "onnx": str(result)}
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    fed = _as_fed(result, arrays)
    calls = [_call(result, fed), _call(networks.form(subject, way.target), networks.arrays(subject, way.target))]
    latency, reference = measuring.interleaved(calls, task["runs"])
    found |= {"latency_seconds": latency, "reference_seconds": reference}
    return found | {"difference": _difference(_run(result, fed), expected)}


def warm_up(used: Converter, way: Direction, path: Path) -> None:
    """Import what a conversion needs, and convert a network of one layer: parts of frameworks load when first used."""
    for framework in dict.fromkeys((way.source, way.target)):
        importlib.import_module(framework)
    if used.name in WITHOUT_TORCHVISION:
        without_torchvision()
    for library in used.libraries:
        importlib.import_module(library)
    arrays, origin = networks.arrays(networks.ONE_LAYER, way.source), "torch" if way.source == "onnx" else way.source
    source = networks.form(networks.ONE_LAYER, origin)
    if way.source == "onnx":
        source = export_onnx(source, arrays, path.with_suffix(".one_layer.onnx"))
    used.prepare(source, arrays)
    used.convert(source, arrays, path)


def round_trip(task: dict[str, Any]) -> dict[str, Any]:
    """A Keras network to PyTorch and from there, and from its ONNX file, to Keras again: time, size, equality, latency."""
    import leaky_interop as li
    from tests.network_checks import same_graph, without_dropout

    way, subject = direction(task["direction"]), networks.get(task["network"])
    path = Path(task["path"])
    li.convert(li.convert(networks.form(networks.ONE_LAYER, "keras"), "torch"), "keras")
    li.convert(networks.form(networks.ONE_LAYER, "keras"), path)
    li.convert(path, "keras")
    loaded = memory.resident()
    model, arrays = networks.form(subject, "keras"), networks.arrays(subject, way.source)
    own, weights, before = memory.resident() - loaded, _weight_bytes(model), li.load(model)
    found: dict[str, Any] = {"weight_bytes": weights, "own_bytes": own}  # what Keras takes to hold it
    li.convert(model, path, verify=False)
    made: dict[str, Any] = {}
    steps = {
        "torch": lambda: li.convert(model, "torch"),
        "keras": lambda: li.convert(made["torch"], "keras"),
        "keras_from_onnx": lambda: li.convert(path, "keras"),
    }
    for name, step in steps.items():
        loaded = memory.resident()
        memory.reset_peak()
        seconds, made[name] = measuring.seconds(step)
        source = 0 if name == "keras_from_onnx" else weights  # a file is only in memory as far as it is read
        found[name] = {"seconds": seconds, "peak_bytes": memory.peak() - loaded + source, **measuring.size(made[name])}
    for name in ("keras", "keras_from_onnx"):
        try:
            graphs = (without_dropout(g) for g in (before, li.load(made[name])))  # ONNX files have none at inference
            same_graph(*graphs, weight_names=False)  # a SeparableConv comes back as two layers
            found[name]["differs"] = ""
        except AssertionError as error:
            found[name]["differs"] = " ".join(str(error).split())[:300]
    rebuilt = [made[name] for name in ("keras", "keras_from_onnx")]
    expected = _run(model, arrays)
    found["difference"] = max(_difference(_run(m, arrays), expected) for m in (*rebuilt, made["torch"]))
    latencies = measuring.interleaved([_call(m, arrays) for m in (model, *rebuilt)], task["runs"])
    return found | dict(zip(("original_seconds", "keras_latency", "keras_from_onnx_latency"), latencies, strict=True))


def verified(task: dict[str, Any]) -> dict[str, Any]:
    """The same conversions on small pictures, verified node by node: nodes judged, or what differs."""
    import leaky_interop as li

    name = task["network"]
    model = networks.application(name, networks.GAIN, networks.SIZES[name][1])
    made, found = {"": model}, {}
    for step, (source, to, options) in {
        "onnx": ("", "onnx", {}),
        "onnx, folded": ("", "onnx", {"fold_batch_norm": True}),
        "torch": ("", "torch", {}),
        "keras": ("torch", "keras", {}),
        "keras from onnx": ("onnx", "keras", {}),
    }.items():
        try:
            made[step] = li.convert(made[source], to, verify=True, **options)
            found[step] = ""
        except (li.Mismatch, li.Refused, li.Unsupported) as error:
            found[step] = " ".join(str(error).split())[:300]
    return {"steps": found}


def onnx_latency(task: dict[str, Any]) -> dict[str, Any]:
    """ONNX files that all were one network: latency, nodes that are executed, distance from the source."""
    import onnxruntime

    with np.load(task["expected"]) as saved:
        given = [saved[name] for name in saved.files]
    count = len(networks.get(task["network"]).SHAPES)
    calls: list[Any] = []
    differences: list[float | None] = []
    executed: list[int | None] = []
    unusable: list[str | None] = []
    for path in map(Path, task["onnx"]):
        optimised = path.with_suffix(".optimised.onnx")
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = 3  # a warning that this file fits this machine only
        options.intra_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a peer's file may be none that onnxruntime takes
            unusable.append(" ".join(str(error).replace(str(path.parent), "").split())[:300])
            executed.append(None)
            differences.append(None)
            continue
        unusable.append(None)
        executed.append(measuring.size(optimised)["nodes"])
        optimised.unlink()
        names = [i.name for i in session.get_inputs()]
        if len(names) != count:  # a peer may have made inputs of constants: nobody can run that
            differences.append(None)
            continue
        feeds = dict(zip(names, given[:count], strict=True))
        differences.append(_difference(session.run(None, feeds), given[count:]))
        calls.append(lambda session=session, feeds=feeds: session.run(None, feeds))
    medians = iter(measuring.interleaved(calls, task["runs"]))
    latencies = [None if d is None else next(medians) for d in differences]
    return {"latency_seconds": latencies, "difference": differences, "executed_nodes": executed, "unusable": unusable}


def _call(model: Any, arrays: Arrays) -> Any:
    """A call without arguments that runs the model once, the way its users do."""
    if hasattr(model, "predict_on_batch"):
        given = arrays if len(arrays) > 1 else arrays[0]
        return lambda: model.predict_on_batch(given)
    import torch

    inputs = tensors(arrays)

    def call() -> Any:
        with torch.inference_mode():
            return model(*inputs)

    return call


def _run(model: Any, arrays: Arrays) -> Arrays:
    outputs = _call(model, arrays)()
    if isinstance(outputs, dict):
        outputs = [outputs[key] for key in sorted(outputs)]
    return [np.asarray(o) for o in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def _as_fed(model: Any, arrays: Arrays) -> Arrays:
    """PyTorch's arrays in the layout that a converted Keras model asks for."""
    if not hasattr(model, "predict_on_batch"):
        return arrays
    return [_laid_out(a, tuple(i.shape)[1:]) for a, i in zip(arrays, model.inputs, strict=True)]


def _laid_out(array: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Channels-first as it is where that fits, otherwise channels-last."""
    same = all(b in (None, a) for a, b in zip(array.shape[1:], shape, strict=True))
    return array if same else np.ascontiguousarray(np.moveaxis(array, 1, -1))


def _difference(received: Arrays, expected: Arrays) -> float:
    """The largest difference, as a part of the largest number that is expected."""
    pairs = [(r, _laid_out(e, r.shape[1:])) for r, e in zip(received, expected, strict=True)]
    return max(float(np.abs(r - e).max() / np.abs(e).max()) for r, e in pairs)


def _weight_bytes(model: Any) -> int:
    weights = model.weights if hasattr(model, "weights") else model.state_dict().values()
    return sum(4 * int(np.prod(weight.shape)) for weight in weights)  # all are float32


def _versions(used: Converter) -> dict[str, str]:
    """Of the peer itself, and of all that it was measured with."""
    names = [*(requirement.partition("==")[0] for requirement in used.requirements), *measuring.PACKAGES]
    return measuring.versions(names)


TASKS = {f.__name__: f for f in (export, convert, onnx_latency, round_trip, verified)}

if __name__ == "__main__":
    work, result_path = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    try:
        outcome = TASKS[work["task"]](work)
    except Exception as error:  # a peer may fail in any way; that is a result too
        outcome = {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    result_path.write_text(json.dumps(outcome))
