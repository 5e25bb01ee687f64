"""Resizing by interpolation. Output sizes and scales are one number an axis of the data, those that stay included.

| meaning                                | keras                  | torch         | onnx                               |
|----------------------------------------|------------------------|---------------|------------------------------------|
| nearest, asymmetric, floor             | UpSampling             | nearest       | Upsample, Resize-10; by attributes |
| nearest, half_pixel, round_prefer_ceil | Resizing               | nearest-exact | by attributes                      |
| linear, half_pixel                     | UpSampling2D, Resizing | bilinear      | half_pixel, the default            |
| linear, align_corners                  | matrices               | align_corners | by attributes                      |
| linear, asymmetric                     | matrices               | matrices      | Upsample, Resize-10                |
| cubic, a = -0.75, border repeated      | matrices               | bicubic       | cubic_coeff_a left out             |
| cubic, a = -0.5, inside only           | bicubic                | matrices      | by attributes                      |
| antialias                              | Resizing               | antialias     | by attributes                      |
| lanczos, area                          | Resizing               | matrices      | matrices                           |

Keras' backends disagree on bicubic: its definition is TensorFlow's, and what is written is right on all.
"""

from typing import Any

import numpy as np

from ..op import Dim, Link, Op, Shape, Value, agree, case, exports, op
from .contract import along_each, along_each_in_keras, contract, in_keras
from .resample import TIE, mixing, nearest, nearest_in_onnxruntime, nearest_in_torch


@op
class Resize(Op):
    """The data on another grid. `scales` divide coordinates where they are given; None is output size / input size.

    rounding is for nearest, cubic_a for cubic, otherwise "" and 0; inside_only: see `resample.mixing`.
    """

    shape: Shape
    scales: tuple[float | None, ...]
    mode: str
    coordinates: str
    rounding: str
    cubic_a: float
    inside_only: bool
    antialias: bool

    @property
    def tolerance(self) -> str:  # type: ignore[override]
        return "exact" if self.mode == "nearest" else "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(self.shape, inputs[0].dtype)]

    def changing(self, shape: Shape) -> list[int]:
        """The axes that are resized."""
        return [
            a for a, (n, m, s) in enumerate(zip(shape, self.shape, self.scales, strict=True)) if s or not agree(n, m)
        ]

    def indices(self, axis: int, size: int) -> tuple[int, ...]:
        """Nearest: what each place along an axis takes."""
        return nearest(size, self.shape[axis], self.scales[axis], self.coordinates, self.rounding)  # type: ignore[arg-type]

    def matrix(self, axis: int, size: int) -> np.ndarray:
        """The other modes: how each place along an axis is mixed."""
        count: Any = self.shape[axis]
        return mixing(
            size, count, self.scales[axis], self.mode, self.coordinates, self.cubic_a, self.inside_only, self.antialias
        )

    def matrices(self, shape: Shape) -> dict[int, np.ndarray]:
        """The matrix of every axis that changes."""
        return {axis: self.matrix(axis, shape[axis]) for axis in self.changing(shape)}  # type: ignore[arg-type]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        if self.mode == "nearest":
            for axis in self.changing(x.shape):
                x = x.take(self.indices(axis, x.shape[axis]), axis)
            return x
        wide = x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)
        for axis, matrix in self.matrices(x.shape).items():
            wide = contract(wide, axis, matrix.astype(wide.dtype))
        return wide.astype(x.dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Weights are as uncertain as the coordinates they come from, which frameworks compute in float32."""
        x, length = np.abs(arrays[0]).astype(np.float64), 1
        for axis, matrix in self.matrices(x.shape).items():
            used = matrix != 0
            length *= int(used.sum(1).max())
            x = contract(x, axis, np.abs(matrix) + used * (np.arange(matrix.shape[1]) + 1.0))
        return length, x

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        changing = self.changing(inputs[0].shape)
        return [Link({0: axis}, axis) for axis in range(len(self.shape)) if axis not in changing]


def factor(size: Dim, count: Dim) -> int | None:
    """The whole number of times that an output is as long as the input, if it is one."""
    if isinstance(size, int) and isinstance(count, int):
        return count // size if count % size == 0 else None
    ratio = count // size if not isinstance(size, int) else None
    return ratio if isinstance(ratio, int) and agree(size * ratio, count) else None


def factors(op: Resize, shape: Shape) -> list[int] | None:
    """The whole factors of all spatial axes, if they all have one."""
    found = [factor(n, m) for n, m in zip(shape[2:], op.shape[2:], strict=True)]
    return None if None in found or any(op.scales) else found  # type: ignore[return-value]


def is_fixed(op: Resize, shape: Shape) -> bool:
    """Whether every size that changes is a known number."""
    return all(isinstance(shape[a], int) and isinstance(op.shape[a], int) for a in op.changing(shape))


def scales_tell(op: Resize, shape: Shape) -> bool:
    """Whether the output's sizes follow from the scales: rounded down, where a policy may have rounded up."""
    rows = zip(shape, op.shape, op.scales, strict=True)
    return all(int(np.float32(s) * np.float32(n)) == m for n, m, s in rows if s and isinstance(n, int) and isinstance(m, int))


def open_size(fw: Any, op: Resize) -> Exception:
    """The refusal of what needs to know the size."""
    return fw.refuse(
        f"{op.mode} resizing with {op.coordinates} coordinates of an open size",
        why="it has no operator of its own here, and its weights depend on the size",
        instead="Fix the size with input_shapes",
    )


def spatial_only(op: Resize, fw: Any) -> bool:
    """Whether batch and channels stay and one to three further axes there are."""
    return fw.inputs[0].rank in (3, 4, 5) and all(axis > 1 for axis in op.changing(fw.inputs[0].shape))


# --- torch ------------------------------------------------------------------------------------------------------------


@exports("torch", Resize)
def resize_to_torch(op, torch, x):
    shape = torch.inputs[0].shape
    mode = torch_mode(op, torch)
    if mode is None:
        if not is_fixed(op, shape):
            raise open_size(torch, op)
        if op.mode != "nearest":
            return along_each(torch, x, op.matrices(shape))
        for axis in op.changing(shape):
            index = np.array(op.indices(axis, shape[axis]))
            x = torch.index_select(x, axis, torch.tensor(torch.graph.constant(index)))
        return x
    corners = op.coordinates == "align_corners" if op.mode != "nearest" else None
    whole = factors(op, shape)
    if any(op.scales[2:]):
        triples = zip(op.scales[2:], shape[2:], op.shape[2:], strict=True)
        to: dict[str, Any] = {"scale_factor": tuple(float(s or (1 if agree(n, m) else m / n)) for s, n, m in triples)}
    elif whole is not None:
        to = {"scale_factor": tuple(map(float, whole))}
    else:
        to = {"size": tuple(torch.size(m) for m in op.shape[2:])}
    if op.antialias or not all(isinstance(n, int | float) for n in next(iter(to.values()))):
        return torch.nn.functional.interpolate(x, **to, mode=mode, align_corners=corners, antialias=op.antialias)
    return torch.place(torch.nn.Upsample(**to, mode=mode, align_corners=corners))(x)


def torch_mode(op: Resize, torch: Any) -> str | None:
    """What torch calls this interpolation, if it has it."""
    port = torch.inputs[0]
    if not spatial_only(op, torch) or port.dtype.kind not in "fV" or not scales_tell(op, port.shape):
        return None
    if op.mode == "nearest":
        form = (op.coordinates, op.rounding)
        if form not in (("asymmetric", "floor"), ("half_pixel", "round_prefer_ceil")):
            return None
        centred = op.coordinates == "half_pixel"
        return ("nearest-exact" if centred else "nearest") if picks_alike(op, port.shape, centred) else None
    if op.coordinates not in ("half_pixel", "align_corners") or op.inside_only != op.antialias:
        return None  # torch repeats the border, unless it antialiases
    if op.antialias and (any(op.scales) or op.coordinates == "align_corners" or op.shape[-1] == 1):
        return None  # its antialiased rows of one element are wrong (2.13), and corners are where nobody has them
    if op.mode == "linear" and not (op.antialias and port.rank != 4):
        return {3: "linear", 4: "bilinear", 5: "trilinear"}[port.rank]
    own = op.cubic_a == (-0.5 if op.antialias else -0.75)
    return "bicubic" if op.mode == "cubic" and port.rank == 4 and own else None


def picks_alike(op: Resize, shape: Shape, centred: bool) -> bool:
    """Whether torch and TensorFlow, which compute in float32, take the very elements; an open size is trusted."""
    return all(
        nearest_in_torch(shape[a], op.shape[a], op.scales[a], centred) == op.indices(a, shape[a])  # type: ignore[arg-type]
        for a in op.changing(shape)
        if isinstance(shape[a], int) and isinstance(op.shape[a], int)
    )


# --- keras ------------------------------------------------------------------------------------------------------------


@exports("keras", Resize, channels_last=True)
def resize_to_keras(op, keras, x):
    port, spatial = keras.inputs[0], keras.inputs[0].rank - 2
    whole = factors(op, port.shape) if spatial_only(op, keras) else None
    layer = None
    if whole is not None and op.mode == "nearest" and (op.coordinates, op.rounding) == ("asymmetric", "floor"):
        size = whole[0] if spatial == 1 else tuple(whole)
        layer = getattr(keras.layers, f"UpSampling{spatial}D")(size)
    elif keras_linear(op, port, keras):
        if whole is not None and spatial == 1:  # an image of one row
            row = keras.layers.UpSampling2D((1, whole[0]), interpolation="bilinear")
            return keras.ops.squeeze(keras.place(row)(keras.ops.expand_dims(x, 1)), 1)
        if whole is not None and spatial == 2:
            layer = keras.layers.UpSampling2D(tuple(whole), interpolation="bilinear")
        elif spatial == 2 and spatial_only(op, keras) and all(isinstance(m, int) for m in op.shape[2:]):
            layer = keras.layers.Resizing(*op.shape[2:], interpolation="bilinear", data_format="channels_last")
    if layer is not None:
        return keras.place(layer)(x)
    if not is_fixed(op, port.shape):
        raise open_size(keras, op)
    if op.mode != "nearest":
        return along_each_in_keras(keras, x, op.matrices(port.shape))
    for axis in op.changing(port.shape):
        x = keras.ops.take(x, np.array(op.indices(axis, port.shape[axis])), axis=in_keras(axis, port.rank))
    return x


def keras_linear(op: Resize, port: Any, keras: Any) -> bool:
    """Whether Keras' bilinear means this and computes it in the data's precision: TensorFlow does in float32."""
    plain = op.mode == "linear" and op.coordinates == "half_pixel" and not op.antialias and not any(op.scales)
    return plain and (port.dtype != np.float64 or keras.backend.backend() != "tensorflow")


# --- onnx -------------------------------------------------------------------------------------------------------------


@exports("onnx", Resize)
def resize_to_onnx(op, onnx, x):
    shape = onnx.inputs[0].shape
    if not onnx_has(op, onnx):
        if not is_fixed(op, shape):
            raise open_size(onnx, op)
        if op.mode != "nearest":
            return along_each(onnx, x, op.matrices(shape))
        for axis in op.changing(shape):
            x = onnx.Gather(x, np.array(op.indices(axis, shape[axis]), np.int64), axis=axis)
        return x
    whole = factors(op, shape)
    if any(op.scales) or whole is not None:
        numbers = [float(s or factor(n, m) or 1) for s, n, m in zip(op.scales, shape, op.shape, strict=True)]
        to = (np.array(numbers, np.float32), None)
    else:
        to = (None, onnx.sizes(op.shape))
    return onnx.Resize(
        x, None, *to, mode=op.mode, coordinate_transformation_mode=op.coordinates,
        nearest_mode=op.rounding or None, cubic_coeff_a=op.cubic_a or None, exclude_outside=int(op.inside_only) or None,
        antialias=int(op.antialias) or None,
    )  # fmt: skip


def onnx_has(op: Resize, onnx: Any) -> bool:
    """Whether ONNX has this interpolation and onnxruntime computes it."""
    port = onnx.inputs[0]
    if op.mode not in ("nearest", "linear", "cubic") or not onnx.runs("Resize") or (op.antialias and onnx.opset < 18):
        return False
    if not scales_tell(op, port.shape):
        return False
    if op.coordinates == "half_pixel_symmetric" and (onnx.opset < 19 or op.mode == "nearest"):
        return False
    if any(s is None and not agree(n, m) for s, n, m in zip(op.scales, port.shape, op.shape, strict=True)) and any(
        op.scales
    ):
        return False  # scales of some axes, sizes of others
    changing = [(port.shape[a], op.shape[a]) for a in op.changing(port.shape)]
    if op.mode == "cubic" and is_fixed(op, port.shape) and any(m < n for n, m in changing):  # type: ignore[operator]
        return False  # onnxruntime moves a transpose past it, and then refuses to make channels-last data smaller
    if op.mode == "nearest":
        return all(
            nearest_in_onnxruntime(port.shape[a], op.shape[a], op.scales[a], op.coordinates, op.rounding, tie)  # type: ignore[arg-type]
            == op.indices(a, port.shape[a])  # type: ignore[arg-type]
            for tie in (0.0, TIE)  # older and newer versions
            for a in op.changing(port.shape)
            if isinstance(port.shape[a], int) and isinstance(op.shape[a], int)
        )
    return (
        spatial_only(op, onnx)
        and (op.mode == "linear" or port.rank == 4)
        and (op.mode == "cubic" or not op.inside_only or op.antialias)
    )


# --- cases ------------------------------------------------------------------------------------------------------------

MATRIX = "comes back as a matrix product along every axis"
INDEX = "comes back as elements taken by index"
BOTH_BY_INDEX = {"keras": INDEX, "torch": INDEX}


def _resize(
    name: str, x: Any, to: tuple[int, ...], mode: str, coordinates: str, rounding: str = "", **fields: Any
) -> None:
    composed = fields.pop("composed", None)
    plain = {"scales": (None,) * len(x), "cubic_a": 0.0, "inside_only": False, "antialias": False}
    op = Resize(
        shape=(*x[: len(x) - len(to)], *to), mode=mode, coordinates=coordinates, rounding=rounding, **plain | fields
    )
    case(f"resize/{name}", op, x, composed=composed)


_resize("nearest_2d", (2, 3, 4, 5), (8, 15), "nearest", "asymmetric", "floor")
_resize("nearest_1d", (2, 3, 5), (10,), "nearest", "asymmetric", "floor")
_resize("nearest_3d", (1, 2, 2, 3, 4), (4, 6, 12), "nearest", "asymmetric", "floor")
_resize("nearest_uneven", (2, 3, 4, 5), (7, 3), "nearest", "asymmetric", "floor", composed={"keras": INDEX})
_resize("nearest_centred", (2, 3, 4, 5), (7, 3), "nearest", "half_pixel", "round_prefer_ceil",
        composed={"keras": INDEX})  # fmt: skip
_resize("nearest_half", (2, 3, 6, 8), (3, 4), "nearest", "asymmetric", "floor", composed={"keras": INDEX})
_resize("nearest_corners", (2, 3, 4, 5), (9, 8), "nearest", "align_corners", "round_prefer_floor",
        composed=BOTH_BY_INDEX)  # fmt: skip
_resize("nearest_ceil", (2, 3, 4, 5), (7, 3), "nearest", "half_pixel", "ceil", composed=BOTH_BY_INDEX)
_resize("nearest_float32_differs", (1, 1, 26, 39), (22, 33), "nearest", "asymmetric", "floor",
        composed=BOTH_BY_INDEX | {"onnx": INDEX})  # fmt: skip
_resize("nearest_scales", (2, 3, 5, 7), (7, 10), "nearest", "asymmetric", "floor", scales=(None, None, 1.5, 1.5),
        composed={"keras": INDEX})  # fmt: skip
_resize("nearest_channels", (2, 3, 4, 5), (6, 4, 5), "nearest", "asymmetric", "floor", composed=BOTH_BY_INDEX)
_resize("bilinear", (2, 3, 4, 5), (8, 10), "linear", "half_pixel")
_resize("bilinear_uneven", (2, 3, 4, 5), (7, 3), "linear", "half_pixel")
_resize("bilinear_corners", (2, 3, 4, 5), (7, 9), "linear", "align_corners", composed={"keras": MATRIX})
_resize("bilinear_asymmetric", (2, 3, 4, 5), (8, 10), "linear", "asymmetric",
        composed={"keras": MATRIX, "torch": MATRIX})  # fmt: skip
_resize("bilinear_scales", (2, 3, 5, 7), (7, 10), "linear", "half_pixel", scales=(None, None, 1.5, 1.5),
        composed={"keras": MATRIX})  # fmt: skip
_resize("bilinear_one_axis", (2, 3, 4, 5), (4, 9), "linear", "half_pixel")
_resize("bilinear_antialiased", (2, 3, 9, 12), (4, 5), "linear", "half_pixel", inside_only=True, antialias=True,
        composed={"keras": MATRIX})  # fmt: skip
_resize("bilinear_antialiased_border", (2, 3, 9, 12), (4, 5), "linear", "half_pixel", antialias=True,
        composed={"keras": MATRIX, "torch": MATRIX})  # fmt: skip
_resize("linear_1d", (2, 3, 5), (10,), "linear", "half_pixel",
        composed={"keras": "comes back as Reshape, Resize of an image of one row, Reshape"})  # fmt: skip
_resize("trilinear", (1, 2, 3, 4, 2), (5, 8, 3), "linear", "half_pixel", composed={"keras": MATRIX})
_resize("bicubic", (2, 3, 4, 5), (8, 7), "cubic", "half_pixel", cubic_a=-0.75, composed={"keras": MATRIX})
_resize("bicubic_corners", (2, 3, 4, 5), (8, 7), "cubic", "align_corners", cubic_a=-0.75, composed={"keras": MATRIX})
_resize("bicubic_keras", (2, 3, 4, 5), (8, 7), "cubic", "half_pixel", cubic_a=-0.5, inside_only=True,
        composed={"keras": MATRIX, "torch": MATRIX})  # fmt: skip
_resize("bicubic_antialiased", (2, 3, 9, 8), (4, 5), "cubic", "half_pixel", cubic_a=-0.5, inside_only=True,
        antialias=True, composed={"keras": MATRIX, "onnx": MATRIX})  # fmt: skip
_resize("bicubic_antialiased_border", (2, 3, 9, 8), (4, 5), "cubic", "asymmetric", cubic_a=-0.75, antialias=True,
        composed={"keras": MATRIX, "torch": MATRIX, "onnx": MATRIX})  # fmt: skip
_resize("lanczos3", (2, 3, 6, 7), (9, 5), "lanczos3", "half_pixel",
        composed=dict.fromkeys(("keras", "torch", "onnx"), MATRIX))  # fmt: skip
_resize("area", (2, 3, 6, 7), (4, 10), "area", "half_pixel", composed=dict.fromkeys(("keras", "torch", "onnx"), MATRIX))
