"""Operators on images and signals whose sizes the network computes: crops, columns, grids, transforms, windows, frames."""

from collections.abc import Callable
from typing import Any

from ..deferring import Results, deferrable
from ..op import Value
from .deferred import entries, listed, single
from .deferred_axes import count_of

New = Callable[[], Any]


def _cropped(node: Any, new: New, x: Value, sizes: Value) -> Results:
    axes = range(x.rank) if node.axes is None else {a % x.rank for a in node.axes}
    return [(tuple(new() if a in axes else d for a, d in enumerate(x.shape)), x.dtype)]


@deferrable("CenterCropPad", numbers=[1], since=18, results=_cropped)
def centre_crop_pad_to_torch(op, torch, x, sizes):
    """A negative pad crops. Half of what is missing goes before, rounded towards nothing."""
    rank = torch.inputs[0].rank
    axes = range(rank) if op["axes"] is None else [a % rank for a in op["axes"]]
    pads: list[Any] = [0] * (2 * rank)
    for axis, wanted in zip(axes, entries(torch, 1), strict=True):
        more = wanted - x.shape[axis]
        first = (more + (more < 0)) // 2
        pads[2 * (rank - 1 - axis) : 2 * (rank - axis)] = first, more - first
    return torch.nn.functional.pad(x, pads)


def _folded(node: Any, new: New, x: Value, sizes: Value, kernel: Value) -> Results:
    return [((x.shape[0], new(), *(new() for _ in range(count_of(sizes, "sizes")))), x.dtype)]


@deferrable("Col2Im", numbers=[1, 2], since=18, results=_folded, tolerance="sum")
def fold_to_torch(op, torch, x, sizes, kernel):
    pads = op["pads"] or (0,) * 4
    if len(op.results[0][0]) != 4 or pads[:2] != pads[2:]:
        raise torch.refuse("columns of computed sizes, other than of two dimensions with even pads", why="torch folds no others",
                           instead="Make initializers of the sizes")  # fmt: skip
    settings = (op["dilations"] or 1, pads[:2], op["strides"] or 1)
    return torch.nn.functional.fold(x, listed(torch, 1), listed(torch, 2), *settings)


def _grid(node: Any, new: New, theta: Value, size: Value) -> Results:
    dims = theta.shape[1]
    return [((theta.shape[0], *(new() for _ in range(dims)), dims), theta.dtype)]


@deferrable("AffineGrid", numbers=[1], since=20, results=_grid, tolerance="sum")
def affine_grid_to_torch(op, torch, theta, size):
    return torch.nn.functional.affine_grid(theta, listed(torch, 1), bool(op["align_corners"]))


# --- signals ----------------------------------------------------------------------------------------------------------


def _spectrum(node: Any, new: New, x: Value, length: Value | None = None, axis: Value | None = None) -> Results:
    known = node.axis if node.has("axis") else -2 if axis is None else axis.content()
    known = known[0] if isinstance(known, tuple) else known
    shape = [new() if known is None or a == known % x.rank else d for a, d in enumerate(x.shape[:-1])]
    return [((*shape, 1 if node.inverse and node.onesided else 2), x.dtype)]


@deferrable("DFT", numbers=[1, 2], since=17, results=_spectrum, tolerance="sum")
def dft_to_torch(op, torch, x, length=None, axis=None):
    rank, inverse, onesided = torch.inputs[0].rank, op["inverse"], op["onesided"]
    axis = (op["axis"] if op.opset < 20 else -2) if axis is None else single(torch, 2)
    axis = axis % rank
    pairs = torch.inputs[0].shape[-1] == 2
    data = torch.view_as_complex(x.contiguous()) if pairs else x[..., 0]
    size = None if length is None else single(torch, 1)
    if inverse and onesided:
        return torch.fft.irfft(data, size, axis).unsqueeze(-1)
    if onesided and not pairs:
        return torch.view_as_real(torch.fft.rfft(data, size, axis))
    y = torch.view_as_real((torch.fft.ifft if inverse else torch.fft.fft)(data, size, axis).resolve_conj())
    return y.narrow(axis, 0, y.size(axis) // 2 + 1) if onesided else y


def _frames(
    node: Any, new: New, x: Value, step: Value, window: Value | None = None, length: Value | None = None
) -> Results:
    return [((x.shape[0], new(), new(), 2), x.dtype)]


@deferrable("STFT", numbers=[1, 3], since=17, results=_frames, tolerance="sum")
def stft_to_torch(op, torch, x, step, window=None, length=None):
    data = torch.view_as_complex(x.contiguous()) if torch.inputs[0].shape[-1] == 2 else x[..., 0]
    size = single(torch, 3) if length is not None else x.shape[1] if window is None else torch.tensor(window).shape[0]
    frames = data.unfold(1, size, single(torch, 1))
    frames = frames if window is None else frames * torch.tensor(window)
    if op["onesided"] and torch.inputs[0].shape[-1] == 1:
        return torch.view_as_real(torch.fft.rfft(frames))
    y = torch.view_as_real(torch.fft.fft(frames))
    return y.narrow(2, 0, y.size(2) // 2 + 1) if op["onesided"] else y


def _window(node: Any, new: New, size: Value) -> Results:
    return [((new(),), node.numpy_dtype(node.output_datatype))]


@deferrable("HannWindow", "HammingWindow", "BlackmanWindow", numbers=[0], since=17, results=_window, tolerance="sum")
def window_to_torch(op, torch, size):
    """ONNX's Hamming window is of 25/46, not of 0.54."""
    name = f"{op.kind.removesuffix('Window').lower()}_window"
    numbers = {"alpha": 25 / 46, "beta": 21 / 46} if op.kind == "HammingWindow" else {}
    function, double = getattr(torch.module, name), torch.module.float64
    made = torch.call(function, single(torch, 0), periodic=bool(op["periodic"]), dtype=double, **numbers)
    return made.to(torch.torch_dtype(torch.outputs[0].dtype))


def _filters(node: Any, new: New, *settings: Value) -> Results:
    return [((new(), new()), node.numpy_dtype(node.output_datatype))]


@deferrable("MelWeightMatrix", numbers=[0, 1, 2, 3, 4], since=17, results=_filters, tolerance="sum")
def mel_filters_to_torch(op, torch, *settings):
    raise torch.refuse(
        "mel filters that the network computes", why="torch makes none", instead="Make initializers of the settings"
    )
