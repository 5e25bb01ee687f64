"""Writes the page: index.html, its script and style, the network, the runtime, and all that the script must know of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import Refused, Usage
from .runtime import SCRIPT, VERSION, runtime_files

OWN = ("page.css", "page.js", "pixels.js")
TAKEN = ("float32", "uint8")
GIVEN = ("float32", "float64", "int32", "int64", "uint8", "int8", "bool")
SAMPLES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif")  # what every browser shows
TALL_FIRST = 13  # since this Pillow, a picture that loses most of its height is resized along its columns first
RANGES = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0)}


def web(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    preprocess: Any = None,
    labels: Sequence[str] | None = None,
    top_k: int = 5,
    softmax: bool | None = None,
    samples: Sequence[str | os.PathLike[str]] = (),
    title: str | None = None,
    runtime_folder: str | os.PathLike[str] | None = None,
    example: Any = None,
    input_shapes: Any = None,
    weights: Any = None,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Path:
    """Write a page that runs a network of one input in the browser, from any static server and without the network.

    A network of pictures takes a file or a sample, one of plain numbers draws random ones. Classes are shown with their
    labels, pictures as pictures, anything else as numbers.

    Parameters
    ----------
    model : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    folder : where to write; made where it is not
    preprocess : a Preprocessing, its name or its file; by default what the model's metadata says
    labels, top_k, softmax : as for `Postprocessing`
    samples : pictures to choose from, copied beside the page
    runtime_folder : where the files of onnxruntime-web are, instead of the npm registry
    example, input_shapes, weights, allow_root, trust : as for `convert`

    Returns the path of index.html. Raises Usage and Refused for what the page cannot run, and what `Session` raises.
    """
    from .. import files
    from ..inference import Session
    from ..inference.session import as_onnx
    from ..ort import as_proto

    copied = _samples(samples)
    proto = as_proto(
        as_onnx(model, {"input_shapes": input_shapes, "example": example, "weights": weights}, allow_root, trust)
    )
    content = proto.SerializeToString()
    with Session(proto, preprocess=preprocess) as session:
        described = describe(session, labels, top_k, softmax)
    name = title or _name(model)
    described |= {"name": name, "samples": list(copied), "runtime": f"runtime/{SCRIPT}", "version": VERSION}
    runtime = runtime_files(runtime_folder)
    target = Path(folder)
    for made in (target, target / "runtime", *([target / "samples"] if copied else [])):
        made.mkdir(parents=True, exist_ok=True)
    texts = {
        "network.json": json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False),
        "index.html": _html(name, described),
    }
    texts |= {own: resources.files(__package__).joinpath(f"templates/{own}").read_text(encoding="utf-8") for own in OWN}
    copies = {f"runtime/{key}": path for key, path in runtime.items()} | copied
    with files.atomic(target / "model.onnx") as temporary:
        temporary.write_bytes(content)
    for place, path in copies.items():
        with files.atomic(target / place) as temporary:
            shutil.copyfile(path, temporary)
    for place, text in texts.items():
        with files.atomic(target / place) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return target / "index.html"


def describe(session: Any, labels: Sequence[str] | None, top_k: int, softmax: bool | None) -> dict[str, Any]:
    """What the script must know of a network. Raises Usage and Refused where the page cannot run it."""
    from ..inference import Postprocessing
    from ..inference.ports import Picture, picture

    if len(session.inputs) != 1:
        raise Usage(f"the network has {len(session.inputs)} inputs", why="the page feeds one")
    port = session.inputs[0]
    if port.dtype.name not in TAKEN or any(o.dtype.name not in GIVEN for o in session.outputs):
        ports = ", ".join(map(str, (port, *session.outputs)))
        raise Refused(
            "the page does not run this network",
            why=f"of {ports} a browser has not every type",
            hint="Convert it with 32 bits",
        )
    if port.batch not in (None, 1):
        raise Usage(
            f"the network takes {port.batch} rows at once",
            why="the page feeds one",
            hint="Convert it with an open batch",
        )
    found: dict[str, Any] = {"input": {"name": port.name, "dtype": port.dtype.name}, "outputs": []}
    if isinstance(session.held, Picture):
        found["input"] |= {"kind": "picture", "layout": session.held.layout, "channels": session.held.channels}
        found["preprocessing"] = recipe = dataclasses.asdict(session.preprocessing)
        recipe["tallFirst"] = int(version("pillow").partition(".")[0]) >= TALL_FIRST
        if port.dtype.name == "uint8":
            recipe["padding"] = round(recipe["padding"])
    else:
        if session.held is not None:
            raise Usage("the network takes sounds", why="the page feeds pictures and plain numbers")
        if _holds_picture(port, picture):
            session.sample(b"")  # raises: nothing says how pictures become numbers
        if None in port.shape[1:] or port.dtype.name != "float32":
            raise Usage(
                f"the page cannot make up {port}", why="it is neither a picture nor a fixed number of fractions"
            )
        found["input"] |= {"kind": "numbers", "shape": list(port.shape[1:])}
    wants = Postprocessing(labels=tuple(labels) if labels else None, top_k=top_k, softmax=softmax)
    stated = getattr(session.preprocessing, "output_range", None)
    for output, last in zip(session.outputs, session.last_operators, strict=True):
        made: dict[str, Any] = {"name": output.name, "kind": "numbers"}
        if _holds_picture(output, picture):
            shape = picture(output)
            made |= {"kind": "picture", "layout": shape.layout, "channels": shape.channels}
            made["range"] = list(stated or RANGES.get(last, ())) or None
        found["outputs"].append(made)
    try:
        wants.fits(session.outputs, session.last_operators)
    except Usage:
        if labels or softmax:
            raise
    else:
        if found["outputs"][0]["kind"] == "numbers":
            logits = softmax or (softmax is None and session.last_operators[0] == "LogSoftmax")
            found["outputs"][0] |= {"kind": "classes", "labels": wants.labels, "top": top_k, "softmax": logits}
    return found


def _holds_picture(port: Any, picture: Any) -> bool:
    try:
        return picture(port).channels in (1, 3)
    except Usage:
        return False


def _samples(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Each sample by its place beside the page. Raises Usage for what is no picture that a browser shows."""
    from .. import files

    found: dict[str, Path] = {}
    for number, given in enumerate(paths, 1):
        path = Path(given)
        if path.suffix.lower() not in SAMPLES:
            raise Usage(f"{path.name} is no sample for the page", why=f"browsers show {', '.join(SAMPLES)}")
        files.read_image(path)
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)[:60]
        found[f"samples/{number}_{stem}{path.suffix.lower()}"] = path
    return found


def _html(name: str, described: dict[str, Any]) -> str:
    from ..report.as_html import environment

    picture = described["input"]["kind"] == "picture"
    return (
        environment(__package__, "leaky_interop.report")
        .get_template("index.html")
        .render(name=name, picture=picture, version=VERSION)
    )


def _name(model: Any) -> str:
    if not isinstance(model, str | os.PathLike):
        return "Network"
    return Path(model).name if Path(model).exists() else str(model).rpartition(":")[2]
