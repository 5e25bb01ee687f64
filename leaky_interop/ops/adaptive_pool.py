"""Pooling to a given output size, whatever the input's: window i of n is floor(i * in / n) to ceil((i + 1) * in / n).

Where the size divides evenly this is ordinary pooling, and to size 1 a reduction; the importers say so. What is left:

| meaning             | keras                              | torch            | onnx                                   |
|---------------------|------------------------------------|------------------|----------------------------------------|
| AdaptiveAveragePool | a matrix along every axis          | AdaptiveAvgPool  | MatMul along every axis                |
| AdaptiveMaxPool     | windows taken by index, then max   | AdaptiveMaxPool  | Gather, ReduceMax                      |

Keras has layers for both, but on TensorFlow its maximum ends the process for some sizes; they are read, not written.
"""

from typing import Any

import numpy as np

from ..op import Dim, Link, Op, Shape, Value, agree, case, exports, imports, op
from .average_pool import AveragePool
from .contract import along_each, along_each_in_keras, contract
from .pool import MaxIndices, MaxPool
from .reduce import ReduceMax, ReduceMean
from .reduce_exports import reduce_in_onnx
from .window import batched, no_pads, spread


class AdaptivePool(Op):
    """What both kinds share."""

    output: tuple[Dim, ...]

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [((*inputs[0].shape[:2], *self.output), inputs[0].dtype)]

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: 1}, 1)]


def bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Where each window begins and ends."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def means(size: int, count: int) -> np.ndarray:
    """The matrix (count, size) that averages each window."""
    matrix = np.zeros((count, size))
    for row, (begin, end) in enumerate(bounds(size, count)):
        matrix[row, begin:end] = 1 / (end - begin)
    return matrix


def members(size: int, count: int) -> np.ndarray:
    """The indices (count, longest) in each window; shorter windows name their last element again."""
    spans = bounds(size, count)
    longest = max(end - begin for begin, end in spans)
    return np.array([[min(begin + i, end - 1) for i in range(longest)] for begin, end in spans], np.int64)


@op
class AdaptiveAveragePool(AdaptivePool):
    """The mean of each of as many windows as the output has places."""

    output: tuple[Dim, ...]
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x = arrays[0].astype(np.float32 if arrays[0].dtype.itemsize < 4 else arrays[0].dtype)
        for axis, count in enumerate(self.output, start=2):
            x = contract(x, axis, means(x.shape[axis], count).astype(x.dtype))
        return x.astype(arrays[0].dtype)

    def length(self, *arrays: np.ndarray) -> int:
        pairs = zip(arrays[0].shape[2:], self.output, strict=True)
        return int(np.prod([max(end - begin for begin, end in bounds(size, count)) for size, count in pairs]))


@op
class AdaptiveMaxPool(AdaptivePool):
    """The largest element of each of as many windows as the output has places."""

    output: tuple[Dim, ...]
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        for axis, count in enumerate(self.output, start=2):
            x = x.take(members(x.shape[axis], count), axis=axis).max(axis + 1)
        return x

    def numbers(self, sizes: tuple[int, ...]) -> np.ndarray:
        """The elements (windows, longest) of every window, by their number in the image, the last axis fastest."""
        found = np.zeros((1, 1), np.int64)
        for size, count in zip(sizes, self.output, strict=True):
            along = members(size, count)
            found = found[:, None, :, None] * size + along[None, :, None, :]
            found = found.reshape(found.shape[0] * count, -1)
        return found


# --- importing --------------------------------------------------------------------------------------------------------


def adaptive(x: Value, output: Any, average: bool) -> tuple[Value, Op | None]:
    """Adaptive pooling in the plainest form that means the same, and the operator that it became."""
    sizes, axes = x.shape[2:], range(2, x.rank)
    output = tuple(n if o is None else o for n, o in zip(sizes, spread(output, x.rank - 2), strict=True))
    left = [axis for axis, n, o in zip(axes, sizes, output, strict=True) if not agree(n, o)]
    ones = tuple(axis for axis, o in zip(axes, output, strict=True) if axis in left and o == 1)
    if not left:
        return x, None
    op: Op
    if len(ones) == len(left):
        op = (ReduceMean if average else ReduceMax)(axes=ones, keepdims=True)
    elif all(isinstance(n, int) and isinstance(o, int) and n % o == 0 for n, o in zip(sizes, output, strict=True)):
        kernel = tuple(n // o for n, o in zip(sizes, output, strict=True))
        fields = {"kernel": kernel, "strides": kernel, "pads": no_pads(len(kernel)), "dilations": (1,) * len(kernel)}
        op = AveragePool(**fields, counted=no_pads(len(kernel))) if average else MaxPool(**fields)
    else:
        op = (AdaptiveAveragePool if average else AdaptiveMaxPool)(output=output)
    return op(x), op


@imports(
    "torch", "aten.adaptive_avg_pool1d.default", "aten.adaptive_avg_pool2d.default", "aten.adaptive_avg_pool3d.default",
    "aten._adaptive_avg_pool2d.default", "aten._adaptive_avg_pool3d.default",
)  # fmt: skip
@batched
def adaptive_average_pool_from_torch(call, x, output):
    return adaptive(x, output, average=True)[0]


@imports(
    "torch", "aten.adaptive_max_pool1d.default", "aten.adaptive_max_pool2d.default", "aten.adaptive_max_pool3d.default"
)
@batched
def adaptive_max_pool_from_torch(call, x, output):
    y, op = adaptive(x, output, average=False)
    return y, MaxIndices(of=op if isinstance(op, MaxPool) else AdaptiveMaxPool(output=y.shape[2:]))(x)


@imports(
    "keras", "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D",
    "ops.AdaptiveAveragePool", channels_last=True,
)  # fmt: skip
def adaptive_average_pool_from_keras(layer, x):
    return adaptive(x, layer.output_size, average=True)[0]


@imports(
    "keras", "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D", "ops.AdaptiveMaxPool",
    channels_last=True,
)  # fmt: skip
def adaptive_max_pool_from_keras(layer, x):
    return adaptive(x, layer.output_size, average=False)[0]


# --- exporting --------------------------------------------------------------------------------------------------------


@exports("torch", AdaptiveAveragePool)
@exports("torch", AdaptiveMaxPool)
def adaptive_pool_to_torch(op, torch, x):
    kind = "Avg" if isinstance(op, AdaptiveAveragePool) else "Max"
    module = getattr(torch.nn, f"Adaptive{kind}Pool{len(op.output)}d")
    output = tuple(o if isinstance(o, int) else None for o in op.output)  # None: as many as the input has
    return torch.place(module(output if len(output) > 1 else output[0]))(x)


def known(op: AdaptivePool, fw: Any) -> dict[int, tuple[int, int]]:
    """Input and output size of every axis that changes; refused where one is open."""
    pairs = enumerate(zip(fw.inputs[0].shape[2:], op.output, strict=True), start=2)
    changing = {axis: pair for axis, pair in pairs if not agree(*pair)}
    if not all(isinstance(n, int) for pair in changing.values() for n in pair):
        raise fw.refuse(
            f"adaptive pooling to {op.output} of an open size",
            why="where its windows begin and end depends on the size",
            instead="Fix the size with input_shapes",
        )
    return changing


@exports("keras", AdaptiveAveragePool, channels_last=True)
def adaptive_average_pool_to_keras(op, keras, x):
    return along_each_in_keras(keras, x, {axis: means(*sizes) for axis, sizes in known(op, keras).items()})


@exports("onnx", AdaptiveAveragePool)
def adaptive_average_pool_to_onnx(op, onnx, x):
    return along_each(onnx, x, {axis: means(*sizes) for axis, sizes in known(op, onnx).items()})


@exports("keras", AdaptiveMaxPool, channels_last=True)
def adaptive_max_pool_to_keras(op, keras, x):
    for axis, sizes in known(op, keras).items():
        x = keras.ops.max(keras.ops.take(x, members(*sizes), axis=axis - 1), axis=axis)
    return x


@exports("onnx", AdaptiveMaxPool)
def adaptive_max_pool_to_onnx(op, onnx, x):
    for axis, sizes in known(op, onnx).items():
        x = reduce_in_onnx(onnx, "ReduceMax", onnx.Gather(x, members(*sizes), axis=axis), [axis + 1], False)
    return x


MATRICES = dict.fromkeys(("keras", "onnx"), "comes back as a matrix product along every axis")
GATHERED = dict.fromkeys(("keras", "onnx"), "comes back as elements taken by index and their maximum")

for _kind, _name, _composed in (
    (AdaptiveAveragePool, "adaptive_average_pool", MATRICES),
    (AdaptiveMaxPool, "adaptive_max_pool", GATHERED),
):
    case(f"{_name}/2d", _kind(output=(3, 4)), (2, 3, 7, 10), composed=_composed)
    case(f"{_name}/one_axis", _kind(output=(3, 6)), (2, 3, 7, 6), composed=_composed)
    case(f"{_name}/larger_than_the_input", _kind(output=(5, 7)), (2, 3, 3, 4), composed=_composed)
    case(f"{_name}/1d", _kind(output=(3,)), (2, 3, 7), composed=_composed)
    case(f"{_name}/3d", _kind(output=(2, 3, 4)), (2, 2, 3, 4, 7), composed=_composed)
