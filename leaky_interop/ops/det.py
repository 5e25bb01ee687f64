"""The determinant of matrices.

| meaning | keras   | torch             | onnx                                     |
|---------|---------|-------------------|------------------------------------------|
| Det     | ops.det | linalg.det, det   | Det since opset 11, float32 in onnxruntime |
"""

from typing import Any

import numpy as np

from ..op import Op, Operand, Shape, Value, agree, case, exports, imports, op
from .precision import IN_32_BITS, exact_in_keras
from .promotion import as_value
from .table import widened


@op
class Det(Op):
    """The determinants of the matrices in the last two axes."""

    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        if x.rank < 2 or not agree(*x.shape[-2:]):
            raise ValueError(f"{self} takes square matrices, not {x!r}")
        return [(x.shape[:-2], x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(np.linalg.det, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """No determinant is larger than the product of its rows' lengths; elimination errs as often as there are rows."""
        x = arrays[0].astype(np.float64)
        return x.shape[-1] ** 2, np.linalg.norm(x, axis=-1).prod(-1) * x.shape[-1]


@imports("torch", "aten.linalg_det.default", "aten.det.default")
@imports("keras", "ops.Det")
@imports("onnx", "Det", since=11)
def det_from_framework(call, x):
    return Det()(as_value(call, x))


@imports("torch", "aten._linalg_det.default")
def decomposed_det_from_torch(call, x):
    return Det()(x), None, None


def _eliminates(fw: Any) -> bool:
    """Whether the framework computes in the dtype at hand: not in halves, on a CPU."""
    return fw.inputs[0].dtype.itemsize >= 4


@exports("torch", Det)
def det_to_torch(op, torch, x):
    return (
        torch.linalg.det(x)
        if _eliminates(torch)
        else torch.linalg.det(x.float()).to(torch.torch_dtype(torch.inputs[0].dtype))
    )


@exports("keras", Det)
def det_to_keras(op, keras, x):
    exact_in_keras(keras, "a determinant")
    if _eliminates(keras):
        return keras.ops.det(x)
    return keras.ops.cast(keras.ops.det(keras.ops.cast(x, "float32")), keras.inputs[0].dtype.name)


@exports("onnx", Det)
def det_to_onnx(op, onnx, x):
    return onnx.Det(x)


case("det/matrix", Det(), (3, 3))
case("det/batches", Det(), (2, 3, 4, 4))
case("det/one", Det(), (5, 1, 1))
case("det/float16", Det(), Operand((2, 3, 3), dtype="float16"),
     composed=dict.fromkeys(("keras", "torch", "onnx"), "computed in float32"))  # fmt: skip
case("det/float64", Det(), Operand((2, 3, 3), dtype="float64"),
     refused=IN_32_BITS | {"onnx": "onnxruntime has no kernel"})  # fmt: skip
