"""Axes in another order: Keras' Permute, transpose, moveaxis and swapaxes; torch's permute, transpose and movedim; ONNX' Transpose."""

from typing import Any

import numpy as np

from ..op import Op, Parameter, Shape, Value, case, exports, imports, op


@op
class Transpose(Op):
    """Axis i of the result is axis perm[i] of the input."""

    perm: tuple[int, ...]
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        if sorted(self.perm) != list(range(x.rank)):
            raise ValueError(f"{self} does not permute the {x.rank} axes of {x!r}")
        return [(tuple(x.shape[p] for p in self.perm), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].transpose(self.perm)

    def view(self, *inputs: Value | None) -> Parameter | None:
        return inputs[0].const.transpose(*self.perm) if inputs[0].const is not None else None


def moved_axes(x: Value, sources: Any, targets: Any) -> Value:
    """The axes `sources` put where `targets` say, the others in their order: numpy's moveaxis."""
    sources, targets = (tuple(a) if isinstance(a, tuple | list) else (a,) for a in (sources, targets))
    sources, targets = ([a % x.rank for a in axes] for axes in (sources, targets))
    perm = [axis for axis in range(x.rank) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        perm.insert(target, source)
    return x.transpose(*perm)


@imports("torch", "aten.permute.default")
def transpose_from_torch(call, x, dims):
    return x.transpose(*(d % x.rank for d in dims))


@imports("torch", "aten.transpose.int", "aten.swapaxes.default", "aten.swapdims.default")
def swapped_axes_from_torch(call, x, first, second):
    perm = list(range(x.rank))
    if x.rank:
        perm[first], perm[second] = perm[second], perm[first]
    return x.transpose(*perm)


@imports("torch", "aten.t.default", "aten.numpy_T.default")
def reversed_axes_from_torch(call, x):
    return x.transpose(*reversed(range(x.rank)))


@imports("torch", "aten.mT.default", "aten.adjoint.default")
def matrix_transpose_from_torch(call, x):
    return x.transpose(*range(x.rank - 2), x.rank - 1, x.rank - 2)


@imports("torch", "aten.movedim.int", "aten.movedim.intlist", "aten.moveaxis.int", "aten.moveaxis.intlist")
def moved_axes_from_torch(call, x, sources, targets):
    return moved_axes(x, sources, targets)


@imports("chainer", "Transpose")
def transpose_from_chainer(call, x):
    return x.transpose(*reversed(range(x.rank)) if call.axes is None else (a % x.rank for a in call.axes))


@imports("keras", "Permute")
def permute_from_keras(layer, x):
    return x.transpose(0, *layer.dims)


@imports("keras", "ops.Transpose")
def transpose_from_keras(call, x):
    return x.transpose(*(reversed(range(x.rank)) if call.axes is None else (a % x.rank for a in call.axes)))


@imports("keras", "ops.Moveaxis")
def moved_axes_from_keras(call, x):
    return moved_axes(x, call.source, call.destination)


@imports("keras", "ops.Swapaxes")
def swapped_axes_from_keras(call, x):
    return swapped_axes_from_torch(call, x, call.axis1, call.axis2)


@imports("onnx", "Transpose")
def transpose_from_onnx(node, x):
    return x.transpose(*(node.perm or reversed(range(x.rank))))


@exports("torch", Transpose)
def transpose_to_torch(op, torch, x):
    return x.permute(*op.perm)


@exports("onnx", Transpose)
def transpose_to_onnx(op, onnx, x):
    return onnx.Transpose(x, perm=list(op.perm))


@exports("keras", Transpose)
def transpose_to_keras(op, keras, x):
    if op.perm[:1] == (0,):
        return keras.place(keras.layers.Permute(op.perm[1:]))(x)
    return keras.ops.transpose(x, op.perm)


case("transpose/nchw_to_nhwc", Transpose(perm=(0, 2, 3, 1)), (2, 3, 4, 5))
case("transpose/batch_moves", Transpose(perm=(1, 2, 0)), (2, 3, 4))
