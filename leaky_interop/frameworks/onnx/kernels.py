"""What onnxruntime's CPU provider cannot run although ONNX allows it, and in which dtype it can.

A file counts as written only if onnxruntime loads it. Half-width floats are computed in float32 and rounded once, which
is what every framework's own half-width kernels do; small integers are computed in wider ones, which changes nothing.
float64 has no wider dtype to go to: an exporter writes a composition that float64 has kernels for, or refuses.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ...graph import Graph
from ...numeric import is_float

BFLOAT16 = {  # the few operators that have a bfloat16 kernel
    "Cast", "CastLike", "Concat", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "IsInf",
    "LayerNormalization", "Reshape", "ScatterND", "Shape", "Sign", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
}  # fmt: skip
LACKING = {  # by dtype: operators without a kernel, or that ONNX itself does not define for it
    "float16": {"Celu", "Col2Im", "Det", "RoiAlign"},
    "float64": {
        "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "Celu", "Col2Im", "Conv", "ConvTranspose", "Cosh",
        "Det", "Elu", "Erf", "Gelu", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Hardmax",
        "InstanceNormalization", "LRN", "LeakyRelu", "LpPool", "Mean", "Mish", "NonZero", "PRelu", "Resize", "Selu",
        "Sinh", "Softplus", "Softsign", "Tan", "ThresholdedRelu", "LSTM", "GRU", "RNN",
    },
    "bool": {"Less", "Greater", "Max", "Min", "Resize", "Where"},
    "int8": {"CumSum", "Pow", "ReduceMean", "ReduceProd", "ReduceSum", "Trilu"},
    "uint8": {"CumSum", "Pow", "ReduceMean", "ReduceProd", "ReduceSum", "Trilu"},
    "int16": {"ArgMax", "ArgMin", "Clip", "CumSum", "Max", "Min", "Pad", "Pow", "Relu", "Resize", "Trilu", "Where"},
    "uint16": {"ArgMax", "ArgMin", "Clip", "CumSum", "Max", "Min", "Pad", "Pow", "Resize", "Trilu", "Where"},
    "uint32": {"CumSum", "Pow", "Resize", "Trilu"},
    "int64": {"Resize"},
    "uint64": {"CumSum", "Pow", "Resize", "Trilu", "Where"},
}  # fmt: skip
_MOVED = {"DepthToSpace", "SpaceToDepth", "Col2Im"}
_REDUCED = {"Max", "Min", "Sum", "Prod", "Mean", "SumSquare", "L1", "L2", "LogSumExp"}
for _kind in ("bool", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
    LACKING[_kind] = LACKING.get(_kind, set()) | _MOVED
for _kind in ("uint32", "uint64"):
    LACKING[_kind] |= {"ArgMax", "ArgMin", "NonZero", "TopK"} | {f"Reduce{name}" for name in _REDUCED}
for _kind, _names in {"int8": {"Col2Im", "NonZero"}, "uint8": {"Col2Im"}, "int16": {"NonZero"}, "uint16": {"NonZero", "TopK"}}.items():
    LACKING[_kind] |= _names
for _kind in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
    LACKING[_kind] |= {"Gemm"}
NOWHERE = frozenset(("float4_e2m1fn",))  # element types without any kernel
NEWEST = dict.fromkeys(  # later ones have no kernel yet
    ("Optional", "OptionalGetElement", "OptionalHasElement", "Quantize", "Dequantize"), 27
)
SLOWER = {"AveragePool": 18}  # later ones are some ten times as slow unless channels fill onnxruntime's blocks: docs/upstream.md
SETTLED = frozenset((  # operators that no set after those says better
    "Add", "AveragePool", "BatchNorm", "Ceil", "Clip", "Concat", "Conv", "ConvTranspose", "Dense", "Div", "Dropout", "Elu",
    "Erf", "Exp", "Flip", "Floor", "Gather", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "LogSoftmax", "MatMul",
    "MaxPool", "Maximum", "Minimum", "Mul", "Neg", "PRelu", "Pad", "Pow", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceSum", "Relu", "Repeat", "Reshape", "Selu", "Sigmoid", "Silu", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
    "Sub", "Tanh", "Threshold", "Tile", "Transpose",
))  # fmt: skip
CARRIERS = {"float16": "float32", "bfloat16": "float32", "uint32": "int64", "uint64": "int64"}
CARRIERS |= dict.fromkeys(("bool", "int8", "uint8", "int16", "uint16"), "int32")


def fastest(graph: Graph) -> int | None:
    """The last operator set with fast kernels for a graph that has slower ones later; None where all are alike.

    Only where that set says everything as well, which takes no dilated means, nor pads that wrap around.
    """
    nodes = list(graph.all_nodes())
    wanted = [SLOWER[name] for node in nodes if (name := type(node.op).__name__) in SLOWER]
    newer = any(
        type(n.op).__name__ not in SETTLED
        or getattr(n.op, "mode", "") == "wrap"
        or (type(n.op).__name__ in SLOWER and max(n.op.dilations) > 1)  # type: ignore[attr-defined]
        or any(is_float(v.dtype) and v.dtype != np.float32 for v in n.outputs)
        for n in nodes
    )
    return None if newer or not wanted else min(wanted)


def runs(kind: str, dtype: np.dtype) -> bool:
    """Whether onnxruntime's CPU provider computes this operator in this dtype."""
    return kind in BFLOAT16 if dtype.name == "bfloat16" else kind not in LACKING.get(dtype.name, ())


def since(kind: str, attribute: str | None = None) -> int:
    """The first operator set that has an operator, or an attribute of it."""
    schemas = [s for s in onnx.defs.get_all_schemas_with_history() if (s.name, s.domain) == (kind, "")]
    return min(s.since_version for s in schemas if attribute is None or attribute in s.attributes)


class Types:
    """The type variables of an operator's operands and results, "T" or a fixed "tensor(int64)", and its attributes."""

    def __init__(self, kind: str, opset: int, domain: str):
        self.schema = None if domain else onnx.defs.get_schema(kind, opset)  # not ONNX's own: nothing is known
        self.inputs, self.outputs = _variables(kind, opset, domain)
        self.main = "T" if "T" in self.inputs else self.inputs[0]  # the one that decides which kernel runs

    def knows(self, attribute: str) -> bool:
        """Whether this operator set has an attribute."""
        return self.schema is None or attribute in self.schema.attributes

    def allows(self, variable: str, dtype: np.dtype) -> bool:
        """Whether this operator set takes a dtype for a type variable; newer ones often take more."""
        found = {c.type_param_str: c.allowed_type_strs for c in self.schema.type_constraints} if self.schema else {}
        allowed = [kind for kind in found.get(variable, [variable]) if kind.startswith("tensor(")]  # of sequences it says nothing
        return not allowed or type_string(dtype) in allowed

    def foreign(self, operands: Iterable[np.dtype | None], results: Iterable[np.dtype | None]) -> str:
        """The first dtype that this operator set does not take where it stands; empty where there is none."""
        places = [*((self.input(n), d) for n, d in enumerate(operands)), *((self.output(n), d) for n, d in enumerate(results))]
        tensors = ((variable, d) for variable, d in places if isinstance(d, np.dtype))
        return next((d.name for variable, d in tensors if not self.allows(variable, d)), "")

    def input(self, index: int) -> str:
        """The type variable of an operand; a variadic operator's last one stands for all that follow."""
        return self.inputs[min(index, len(self.inputs) - 1)]

    def output(self, index: int) -> str:
        """The type variable of a result."""
        return self.outputs[min(index, len(self.outputs) - 1)]

    def turns(self, index: int, dtype: np.dtype) -> bool:
        """Whether an operand of a dtype without a kernel is cast: floats are, the booleans of a Where are not."""
        return self.input(index) == self.main or dtype.kind in "fV"

    def read(self, operands: Iterable[np.dtype | None]) -> dict[str, np.dtype]:
        """The dtype that the operands give to each type variable."""
        found: dict[str, np.dtype] = {}
        for index, dtype in enumerate(operands):
            if dtype is not None:
                found.setdefault(self.input(index), dtype)
        return found

    def result(self, index: int, dtypes: Mapping[str, np.dtype], attributes: Mapping[str, Any]) -> np.dtype | None:
        """The dtype of a result, where operands, schema or attributes tell."""
        name = self.output(index)
        if name in dtypes:
            return dtypes[name]
        if (kind := attributes.get("to", attributes.get("dtype", attributes.get("output_dtype")))) is None and name.startswith("tensor("):
            kind = getattr(onnx.TensorProto, name[7:-1].upper())
        return None if kind is None else np.dtype(helper.tensor_dtype_to_np_dtype(kind))


@functools.cache
def type_string(dtype: np.dtype) -> str:
    """A dtype as schemas spell it: "tensor(float)" """
    kind = onnx.TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(dtype))
    return f"tensor({kind.lower()})"


@functools.cache
def _variables(kind: str, opset: int, domain: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if domain:
        return ("",), ("",)  # not ONNX's own: nothing is known
    schema = onnx.defs.get_schema(kind, opset)
    return tuple(i.type_str for i in schema.inputs) or ("",), tuple(o.type_str for o in schema.outputs)
