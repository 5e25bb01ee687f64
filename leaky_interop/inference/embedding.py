"""Preprocessing inside an ONNX file: stated in its metadata, or done by its graph so that a picture's bytes go straight in.

What is folded equals the Python preprocessing bit for bit: a cast, the order of colours, a division, a subtraction, a
division, a transpose, in 32 bits like there. Decoding and resizing stay outside. ONNX could say the resize (`Resize`
with `antialias`), but not exactly: asked of onnxruntime 1.32 for random pictures, its bytes differ from Pillow's by 1 in
0.02 % of the values (bicubic), and by far more where the picture comes as 32-bit fractions. The metadata of a folded
network says what is left to do, so that `Session` takes the same files as before.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Refused, Usage
from ..files import atomic, read_onnx
from .ports import Port
from .preprocessing import KEY, Preprocessing
from .sound import Sound

IMAGE = "image"  # the new input


def embed(
    path: Path, recipe: Preprocessing | Sound, *, fold: bool = False, external_data: bool | None = None
) -> None:
    """State the recipe in an ONNX file, fitted to its input; with `fold`, in its graph. The file is replaced when all is well.

    external_data : as for `convert`

    Raises Usage where recipe and network do not fit, Refused where it cannot be folded exactly.
    """
    from onnx import numpy_helper

    from ..frameworks.onnx import save
    from ..ort import as_proto

    model = as_proto(read_onnx(path))
    port = _port(model)
    fitted, _ = recipe.fitted(port)
    if fold:
        if not isinstance(fitted, Preprocessing):
            raise Usage("the preprocessing of sounds is not folded", why="it does no arithmetic")
        fitted = folded(model, fitted, port)
    kept = [p for p in model.metadata_props if p.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=KEY, value=fitted.to_json())
    for tensor in model.graph.initializer:
        if not tensor.HasField("raw_data"):  # a foreign file may hold numbers in other fields, which are not written
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    with atomic(path) as temporary:
        save(model, temporary, None, external_data=external_data)  # type: ignore[arg-type]  (a message as it is)


def folded(model: Any, recipe: Preprocessing, port: Port) -> Preprocessing:
    """Put the recipe's arithmetic in front of the model's one input, in place; the recipe that is left for bytes.

    The new input is `image`, uint8 [batch, height, width, channels] with the colours as they are in files.
    """
    from onnx import TensorProto, helper, numpy_helper

    _, shape = recipe.fitted(port)
    if recipe.fit == "pad" and recipe.padding != int(recipe.padding):
        why = f"the letterbox is padded with {recipe.padding}, which no byte is"
        raise Refused(
            "the preprocessing in the graph", why=why, hint='State a whole number as padding, or fit = "stretch"'
        )
    if port.dtype.name == "bfloat16" or port.dtype.kind != "f":
        raise Refused("the preprocessing in the graph", why=f"the network takes {port.dtype}", hint="Fold it before")
    graph = model.graph
    taken = {v.name for v in (*graph.input, *graph.output, *graph.initializer)}
    taken |= {name for node in graph.node for name in (*node.input, *node.output, node.name)}

    def fresh(name: str) -> str:
        made = next(n for i in range(len(taken) + 1) if (n := name if not i else f"{name}_{i}") not in taken)
        taken.add(made)
        return made

    image, nodes = fresh(IMAGE), []

    def constant(name: str, values: Any, kind: Any = np.float32) -> str:
        made = fresh(f"{IMAGE}_{name}")
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, kind), made))
        return made

    def then(operator: str, *operands: str, **attributes: Any) -> None:
        made = fresh(f"{IMAGE}_{operator.lower()}")
        nodes.append(
            helper.make_node(
                operator, [nodes[-1].output[0] if nodes else image, *operands], [made], name=made, **attributes
            )
        )

    then("Cast", to=TensorProto.FLOAT)
    if shape.channels == 3 and recipe.colours == "bgr":
        then("Gather", constant("colours", [2, 1, 0], np.int64), axis=3)
    if recipe.divisor != 1:
        then("Div", constant("divisor", recipe.divisor))
    if any(recipe.mean):
        then("Sub", constant("mean", recipe.mean))
    if any(s != 1 for s in recipe.std):
        then("Div", constant("std", recipe.std))
    if shape.layout == "nchw":
        then("Transpose", perm=[0, 3, 1, 2])
    if port.dtype != np.float32:
        then("Cast", to=helper.np_dtype_to_tensor_dtype(port.dtype))
    nodes[-1].output[0] = port.name  # what the network reads
    old = next(i for i in graph.input if i.name == port.name)
    batch, height, width = (_dim(old, axis) for axis in ((0, 2, 3) if shape.layout == "nchw" else (0, 1, 2)))
    size = recipe.size or (height, width)
    graph.value_info.append(old)
    old.CopyFrom(helper.make_tensor_value_info(image, TensorProto.UINT8, [batch, *size, shape.channels]))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return dataclasses.replace(
        recipe, divisor=1.0, mean=(), std=(), colours="rgb", layout="nhwc", output_range=recipe.output_range
    )


def _dim(value: Any, axis: int) -> int | str | None:
    size = value.type.tensor_type.shape.dim[axis]
    return size.dim_value if size.HasField("dim_value") else size.dim_param or None


def _port(model: Any) -> Port:
    """The model's one input."""
    from onnx import helper

    weights = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1:
        raise Usage(f"the network has {len(inputs)} inputs", why="preprocessing is stated for networks of one")
    kind = inputs[0].type.tensor_type
    if not kind.HasField("shape"):
        raise Usage(f"the input {inputs[0].name} has no shape", hint="Convert it with --input-shape")
    sizes = (d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return Port(inputs[0].name, tuple(sizes), helper.tensor_dtype_to_np_dtype(kind.elem_type))
