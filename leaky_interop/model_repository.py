"""A network in the layout that Triton Inference Server reads: NAME/config.pbtxt and NAME/1/model.onnx.

The configuration says what the ONNX file says: Triton refuses a model whose configuration does not fit. Fields are those
of Triton's model configuration (`ModelConfig` in its `model_config.proto`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import Refused, Usage

TYPES = {
    "BOOL": "BOOL", "UINT8": "UINT8", "UINT16": "UINT16", "UINT32": "UINT32", "UINT64": "UINT64", "INT8": "INT8",
    "INT16": "INT16", "INT32": "INT32", "INT64": "INT64", "FLOAT16": "FP16", "FLOAT": "FP32", "DOUBLE": "FP64",
    "STRING": "STRING", "BFLOAT16": "BF16",
}  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a folder on any system


def triton(
    model: Any,
    folder: str | os.PathLike[str],
    name: str | None = None,
    *,
    version: int = 1,
    max_batch: int = 32,
    example: Any = None,
    input_shapes: Any = None,
    weights: Any = None,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Path:
    """Write a network into a model repository of Triton.

    Parameters
    ----------
    model : an ONNX model or its path, written as it is; any other source, converted and verified
    folder : the repository, which may hold other networks
    name : what the network is called there; by default as its file
    max_batch : how many rows Triton may put together, where the network leaves its batch open
    example, input_shapes, weights, allow_root, trust : as for `convert`

    Returns the network's folder. Raises Refused where Triton has no such type of numbers, and whatever `convert` raises.
    """
    from . import files
    from .inference.session import as_onnx
    from .ort import as_proto, write_for_runtime

    name = name if name is not None else _name(model)
    if not NAME.fullmatch(name):
        raise Usage(f"{name!r} is no name for a network in Triton", hint="Give one of letters, digits, _, - and .")
    for what, number, least in (("version", version, 1), ("max_batch", max_batch, 0)):
        if number < least:
            raise Usage(f"{what} is {number}", why=f"it is {least} or more")
    options = {"example": example, "input_shapes": input_shapes, "weights": weights}
    native = as_onnx(model, options, allow_root, trust)
    home = Path(folder) / name
    text = config(as_proto(native), name, max_batch)
    (home / str(version)).mkdir(parents=True, exist_ok=True)
    with files.atomic(home / str(version) / "model.onnx") as temporary:
        write_for_runtime(native, temporary)
    with files.atomic(home / "config.pbtxt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return home


def config(model: Any, name: str, max_batch: int = 32) -> str:
    """The text of config.pbtxt for an ONNX ModelProto."""
    import onnx

    graph = model.graph
    if not all(port.type.tensor_type.HasField("shape") for port in graph.output):
        graph = onnx.shape_inference.infer_shapes(model).graph
    weights = {t.name for t in graph.initializer}
    ports = {"input": [p for p in graph.input if p.name not in weights], "output": list(graph.output)}
    shapes = {p.name: _shape(p) for several in ports.values() for p in several}
    batched = max_batch > 0 and len({s[0] if s else 1 for s in shapes.values()}) == 1
    batched = batched and all(s and isinstance(s[0], str) and s[0] for s in shapes.values())
    lines = [f"name: {_quoted(name)}", 'backend: "onnxruntime"', f"max_batch_size: {max_batch if batched else 0}"]
    for kind, several in ports.items():
        blocks = [_port(p, shapes[p.name][1:] if batched else shapes[p.name]) for p in several]
        lines += [f"{kind} [", ",\n".join(blocks), "]"]
    if batched:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _shape(port: Any) -> list[int | str]:
    """A port's sizes, open ones by name. Refused where the file does not say how many there are."""
    tensor = port.type.tensor_type
    if not port.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise Refused(
            f"{port.name} has no shape",
            why="Triton's configuration states every shape",
            hint="Infer the model's shapes first",
        )
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]


def _port(port: Any, sizes: Sequence[int | str]) -> str:
    import onnx

    kind = onnx.TensorProto.DataType.Name(port.type.tensor_type.elem_type)
    if kind not in TYPES:
        raise Refused(f"{port.name} is of type {kind}", why="Triton has no such type")
    dims = ", ".join(str(d) if isinstance(d, int) else "-1" for d in sizes) or "1"
    alone = "" if sizes else "\n    reshape { shape: [ ] }"  # Triton wants one size at least
    return f"  {{\n    name: {_quoted(port.name)}\n    data_type: TYPE_{TYPES[kind]}\n    dims: [ {dims} ]{alone}\n  }}"


def _quoted(text: str) -> str:
    from google.protobuf import text_encoding

    return f'"{text_encoding.CEscape(text, as_utf8=True)}"'


def _name(model: Any) -> str:
    """A file's name without its ending, or a factory's; `model` where there is neither."""
    if not isinstance(model, str | os.PathLike):
        return "model"
    return str(model).rpartition(":")[2] if not Path(model).exists() and ":" in str(model) else Path(model).stem
