"""Random ONNX graphs as hypothesis draws them: a row of MAKERS a family of operators.

A graph grows from two inputs and small constants; every step takes values that are there and adds one. What jumps (comparisons,
rounding, choices of the largest) takes only values that no rounding error can have touched: inputs are multiples of a
quarter, and only what was moved since counts as `sharp`. Sizes may be the symbol "n", the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

Dims = tuple[Any, ...]  # sizes; the first may be "n"
FLOATS, INTS = ("float32", "float64"), ("int32", "int64")
SMALL = ("int8", "int16", "uint8")  # onnxruntime moves and casts these, and has few kernels that compute in them
OPSET = 21


@dataclasses.dataclass(frozen=True)
class Port:
    """A value of the graph."""

    name: str
    dims: Dims
    dtype: str
    sharp: bool


class Growing:
    """A graph to which steps are added; `draw` is hypothesis' own."""

    def __init__(self, draw: Callable[[Any], Any]):
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[Port] = []
        self.ports: list[Port] = []

    def one_of(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def pick(self, fits: Callable[[Port], bool]) -> Port:
        """A value that fits; raises LookupError where none does."""
        fitting = [p for p in self.ports if fits(p)]
        if not fitting:
            raise LookupError("nothing fits")
        return self.one_of(reversed(fitting))  # towards the last, so that graphs grow deep

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def numbers(self, dims: Dims, dtype: str) -> np.ndarray:
        """Multiples of a quarter, or whole."""
        random = np.random.default_rng(self.draw(st.integers(0, 999)))
        return (random.integers(-8, 9, dims) / (4 if dtype in FLOATS else 1)).astype(dtype)

    def add(self, kind: str, operands: list[str], dims: Dims, dtype: str, *, sharp: bool = False, **attributes: Any) -> Port:
        port = Port(f"v{len(self.nodes)}", dims, dtype, sharp)
        self.nodes.append(helper.make_node(kind, operands, [port.name], name=f"{kind}_{len(self.nodes)}", **attributes))
        self.ports.append(port)
        return port

    def model(self) -> onnx.ModelProto:
        """All values that nothing takes are outputs."""
        taken = {name for node in self.nodes for name in node.input}
        ends = [p for p in self.ports if p.name not in taken and p not in self.inputs]
        graph = helper.make_graph(self.nodes, "random", [_info(p) for p in self.inputs], [_info(p) for p in ends], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model


def _info(port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(port.name, helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype)), port.dims)


def _float(p: Port) -> bool:
    return p.dtype in FLOATS


def _number(p: Port) -> bool:
    return p.dtype in (*FLOATS, *INTS)


def _axes(p: Port) -> range:
    """The axes of known sizes."""
    return range(int(p.dims[:1] == ("n",)), len(p.dims))


def _with_axis(p: Port) -> bool:
    return len(_axes(p)) > 0


# --- the families -----------------------------------------------------------------------------------------------------

SMOOTH = ("Tanh", "Sigmoid", "Erf", "Softplus", "Softsign", "Sin", "Cos", "Atan", "Gelu", "Mish", "HardSwish")
BENT = ("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Abs", "Neg", "HardSigmoid")


def unary(g: Growing) -> None:
    x = g.pick(_float)
    kind = g.one_of((*SMOOTH, *BENT))
    if x.dtype == "float64" and kind not in ("Tanh", "Sigmoid", "Sin", "Relu", "LeakyRelu", "Abs", "Neg"):
        kind = "Tanh"  # onnxruntime has few kernels of 64 bits
    slopes = {"LeakyRelu": (0.0, 0.01, 0.2, 1.5, -0.5), "Elu": (0.7, 1.0), "Celu": (0.5, 2.0), "ThresholdedRelu": (0.125, 1.125)}
    attributes = {"alpha": g.one_of(slopes[kind])} if kind in slopes else {}
    if kind == "ThresholdedRelu" and not x.sharp:
        kind, attributes = "Relu", {}
    g.add(kind, [x.name], x.dims, x.dtype, **attributes)


def guarded(g: Growing) -> None:
    """Functions that need their operand in bounds."""
    x = g.pick(lambda p: p.dtype == "float32")
    kind = g.one_of(("Exp", "Sqrt", "Log", "Reciprocal"))
    low, high = {"Exp": (-3, 2), "Sqrt": (0.25, 9), "Log": (0.25, 9), "Reciprocal": (0.5, 9)}[kind]
    bounds = [g.constant(np.float32(b)) for b in (low, high)]
    clipped = g.add("Clip", [x.name, *bounds], x.dims, x.dtype, sharp=x.sharp)
    g.add(kind, [clipped.name], x.dims, x.dtype)


def binary(g: Growing) -> None:
    x = g.pick(_number)
    kind = g.one_of(("Add", "Sub", "Mul", "Max", "Min", "Div", "PRelu", "Mean"))
    if x.dtype not in FLOATS and kind in ("Div", "PRelu", "Mean"):
        kind = "Add"
    fixed = [1 if d == "n" else d for d in x.dims]
    if kind in ("Div", "PRelu") or g.draw(st.booleans()):  # a constant that broadcasts along some axes
        begin = g.draw(st.integers(0, len(fixed)))
        dims = tuple(1 if g.draw(st.booleans()) else d for d in fixed[begin:])
        array = g.numbers(dims, x.dtype)
        y = g.constant(np.abs(array) + 1 if kind == "Div" else array)
    else:
        y = g.pick(lambda p: p.dtype == x.dtype and p.dims[-len(x.dims) :] == x.dims[-len(p.dims) :]).name
        dims = next(p.dims for p in g.ports if p.name == y)
        x = x if len(x.dims) >= len(dims) else dataclasses.replace(x, dims=dims)
    g.add(kind, [y, next(p.name for p in g.ports if p.name == x.name)] if kind in ("Add", "Mul") else [x.name, y], x.dims, x.dtype)


def jumping(g: Growing) -> None:
    x = g.pick(lambda p: p.sharp and _number(p))
    kind = g.one_of(("Less", "GreaterOrEqual", "Equal", "Floor", "Round", "Sign"))
    if kind in ("Floor", "Round", "Sign"):
        kind = kind if x.dtype == "float32" else "Sign"
        g.add(kind, [x.name], x.dims, x.dtype, sharp=True)
        return
    g.add(kind, [x.name, g.constant(g.numbers((), x.dtype))], x.dims, "bool", sharp=True)


def choosing(g: Growing) -> None:
    condition = g.pick(lambda p: p.dtype == "bool")
    x = g.pick(lambda p: p.dims == condition.dims and _number(p))
    g.add("Where", [condition.name, x.name, g.constant(g.numbers((), x.dtype))], x.dims, x.dtype, sharp=x.sharp)


def logical(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype == "bool")
    y = g.pick(lambda p: p.dtype == "bool" and p.dims == x.dims)
    kind = g.one_of(("And", "Or", "Xor", "Not"))
    g.add(kind, [x.name] if kind == "Not" else [x.name, y.name], x.dims, "bool", sharp=True)


def cast(g: Growing) -> None:
    x = g.pick(lambda p: p.sharp)
    unsigned = ("uint8",) if x.dtype not in FLOATS else ()  # what a negative float becomes there, nothing says
    dtype = g.one_of((*FLOATS, *INTS, "int8", "int16", "bool", *unsigned))
    g.add("Cast", [x.name], x.dims, dtype, sharp=True, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def reduce(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype in ("float32", "int32") and _with_axis(p))
    axis = g.one_of(_axes(x))
    kinds = ("Sum", "Mean", "Max", "Min", "L1", "L2", "LogSumExp", "SumSquare", "Prod")
    kind = f"Reduce{g.one_of(kinds)}"
    kind = kind if x.dtype in FLOATS else "ReduceSum"
    keep = g.draw(st.integers(0, 1))
    dims = (*x.dims[:axis], *([1] * keep), *x.dims[axis + 1 :])
    shown = axis - len(x.dims) if g.draw(st.booleans()) else axis
    g.add(kind, [x.name, g.constant(np.array([shown], np.int64))], dims, x.dtype, sharp=kind in ("ReduceMax", "ReduceMin") and x.sharp, keepdims=keep)


def largest(g: Growing) -> None:
    x = g.pick(lambda p: p.sharp and p.dtype == "float32" and _with_axis(p))
    axis, last = g.one_of(_axes(x)), g.draw(st.integers(0, 1))
    dims = (*x.dims[:axis], 1, *x.dims[axis + 1 :])
    g.add(g.one_of(("ArgMax", "ArgMin")), [x.name], dims, "int64", sharp=True, axis=axis, keepdims=1, select_last_index=last)


def softmax(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype == "float32" and _with_axis(p))
    g.add(g.one_of(("Softmax", "LogSoftmax")), [x.name], x.dims, x.dtype, axis=g.one_of(_axes(x)))


def cumulative(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype in ("float32", "int32") and _with_axis(p))
    settings = {"exclusive": g.draw(st.integers(0, 1)), "reverse": g.draw(st.integers(0, 1))}
    g.add("CumSum", [x.name, g.constant(np.array(g.one_of(_axes(x)), np.int64))], x.dims, x.dtype, **settings)


def transpose(g: Growing) -> None:
    x = g.pick(lambda p: len(p.dims) > 1)
    fixed = len(x.dims) - len(_axes(x))  # the batch stays in front
    perm = (*range(fixed), *g.draw(st.permutations(_axes(x))))
    g.add("Transpose", [x.name], tuple(x.dims[a] for a in perm), x.dtype, sharp=x.sharp, perm=perm)


def reshape(g: Growing) -> None:
    """The last two axes become one, or one is parted; the batch is 0, which copies it."""
    x = g.pick(_with_axis)
    axes, size = _axes(x), x.dims[-1]
    if len(axes) > 1 and g.draw(st.booleans()):
        dims: Dims = (*x.dims[:-2], x.dims[-2] * size)
    else:
        part = g.one_of([d for d in range(1, size + 1) if size % d == 0])
        dims = (*x.dims[:-1], part, size // part)
    if len(dims) > 5:
        raise LookupError("too many axes")
    wanted = [0 if d == "n" else d for d in dims]
    if g.draw(st.booleans()):
        wanted[-1] = -1
    g.add("Reshape", [x.name, g.constant(np.array(wanted, np.int64))], dims, x.dtype, sharp=x.sharp)


def slice_(g: Growing) -> None:
    x = g.pick(_with_axis)
    axis = g.one_of(_axes(x))
    size, step = x.dims[axis], g.one_of((1, 2, -1, -2))
    begin = g.draw(st.integers(0, size - 1))
    end = g.draw(st.integers(begin + 1, size)) if step > 0 else g.draw(st.integers(-1, begin - 1)) if begin else -1
    count = len(range(begin, end, step))
    stop = end if end >= 0 else -size - 1
    operands = [g.constant(np.array([v], np.int64)) for v in (begin, stop, axis, step)]
    g.add("Slice", [x.name, *operands], (*x.dims[:axis], count, *x.dims[axis + 1 :]), x.dtype, sharp=x.sharp)


def gather(g: Growing) -> None:
    x = g.pick(_with_axis)
    axis = g.one_of(_axes(x))
    size = x.dims[axis]
    index = np.array(g.draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=4)), np.int64)
    if g.draw(st.booleans()):
        index = index[0]
    dims = (*x.dims[:axis], *index.shape, *x.dims[axis + 1 :])
    g.add("Gather", [x.name, g.constant(index)], dims, x.dtype, sharp=x.sharp, axis=axis)


def concat(g: Growing) -> None:
    x = g.pick(_with_axis)
    axis = g.one_of(_axes(x))
    y = g.pick(lambda p: p.dtype == x.dtype and len(p.dims) == len(x.dims) and p.dims[axis] != "n"
               and all(a == b for i, (a, b) in enumerate(zip(p.dims, x.dims, strict=True)) if i != axis))  # fmt: skip
    dims = (*x.dims[:axis], x.dims[axis] + y.dims[axis], *x.dims[axis + 1 :])
    g.add("Concat", [x.name, y.name], dims, x.dtype, sharp=x.sharp and y.sharp, axis=axis)


def pad(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype == "float32" and _with_axis(p))
    axis, mode = g.one_of(_axes(x)), g.one_of(("constant", "edge", "reflect"))
    most = x.dims[axis] - 1 if mode == "reflect" else 3
    before, after = (g.draw(st.integers(0, min(most, 3))) for _ in "ab")
    pads = np.zeros((2, len(x.dims)), np.int64)
    pads[:, axis] = before, after
    operands = [x.name, g.constant(pads.reshape(-1))] + ([g.constant(np.float32(-1.5))] if mode == "constant" else [])
    dims = (*x.dims[:axis], x.dims[axis] + before + after, *x.dims[axis + 1 :])
    g.add("Pad", operands, dims, x.dtype, sharp=x.sharp, mode=mode)


def expand(g: Growing) -> None:
    x = g.pick(lambda p: 1 <= len(p.dims) <= 4)
    at = g.one_of(range(len(x.dims) - len(_axes(x)), len(x.dims) + 1))
    g.add("Unsqueeze", [x.name, g.constant(np.array([at], np.int64))], (*x.dims[:at], 1, *x.dims[at:]), x.dtype, sharp=x.sharp)


def squeeze(g: Growing) -> None:
    x = g.pick(lambda p: 1 in p.dims)
    axis = g.one_of([a for a in _axes(x) if x.dims[a] == 1])
    g.add("Squeeze", [x.name, g.constant(np.array([axis], np.int64))], (*x.dims[:axis], *x.dims[axis + 1 :]), x.dtype, sharp=x.sharp)


def tile(g: Growing) -> None:
    x = g.pick(lambda p: _with_axis(p) and p.dtype in ("float32", "int64"))
    axis, times = g.one_of(_axes(x)), g.draw(st.integers(1, 3))
    repeats = np.ones(len(x.dims), np.int64)
    repeats[axis] = times
    g.add("Tile", [x.name, g.constant(repeats)], (*x.dims[:axis], x.dims[axis] * times, *x.dims[axis + 1 :]), x.dtype, sharp=x.sharp)


def matmul(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype == "float32" and len(p.dims) >= 2 and p.dims[-1] != "n")
    width = g.draw(st.integers(1, 4))
    weight = g.constant(g.numbers((x.dims[-1], width), "float32"))
    g.add("MatMul", [x.name, weight], (*x.dims[:-1], width), "float32")


def conv(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype == "float32" and len(p.dims) in (3, 4) and len(_axes(p)) >= len(p.dims) - 1)
    channels, spatial = x.dims[1], x.dims[2:]
    group = g.one_of([d for d in range(1, channels + 1) if channels % d == 0])
    filters = group * g.draw(st.integers(1, 2))
    kernel = [g.draw(st.integers(1, 3)) for _ in spatial]
    strides, dilations = ([g.draw(st.integers(1, 2)) for _ in spatial] for _ in "sd")
    pads = [g.draw(st.integers(0, 2)) for _ in (*spatial, *spatial)]
    rows = zip(spatial, kernel, strides, dilations, pads, pads[len(spatial) :], strict=False)
    sizes = [(n + before + after - d * (k - 1) - 1) // s + 1 for n, k, s, d, before, after in rows]
    if min(sizes) < 2:  # of one element: docs/upstream.md says what torch does there
        raise LookupError("too small")
    operands = [x.name, g.constant(g.numbers((filters, channels // group, *kernel), "float32"))]
    if g.draw(st.booleans()):
        operands.append(g.constant(g.numbers((filters,), "float32")))
    g.add("Conv", operands, (x.dims[0], filters, *sizes), "float32", group=group, strides=strides, dilations=dilations, pads=pads)


def pool(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype == "float32" and len(p.dims) in (3, 4) and len(_axes(p)) >= len(p.dims) - 1)
    spatial = x.dims[2:]
    kernel = [g.draw(st.integers(1, 3)) for _ in spatial]
    strides = [g.draw(st.integers(1, 2)) for _ in spatial]
    pads = [g.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    rows = zip(spatial, kernel, strides, pads, pads[len(spatial) :], strict=False)
    sizes = [(n + before + after - k) // s + 1 for n, k, s, before, after in rows]
    if min(sizes) < 1:
        raise LookupError("too small")
    kind = g.one_of(("MaxPool", "AveragePool"))
    more = {"count_include_pad": g.draw(st.integers(0, 1))} if kind == "AveragePool" else {}
    g.add(kind, [x.name], (*x.dims[:2], *sizes), "float32", sharp=kind == "MaxPool" and x.sharp,
          kernel_shape=kernel, strides=strides, pads=pads, **more)  # fmt: skip


def normalise(g: Growing) -> None:
    x = g.pick(lambda p: p.dtype == "float32" and len(p.dims) >= 2 and len(_axes(p)) >= len(p.dims) - 1)
    kind = g.one_of(("LayerNormalization", "BatchNormalization"))
    size = x.dims[-1 if kind == "LayerNormalization" else 1]
    scale, bias, mean, variance = (g.numbers((size,), "float32") for _ in range(4))
    operands = [g.constant(a) for a in (scale, bias)]
    if kind == "BatchNormalization":
        operands += [g.constant(mean), g.constant(np.abs(variance) + 0.5)]
    more = {"axis": -1} if kind == "LayerNormalization" else {}
    g.add(kind, [x.name, *operands], x.dims, "float32", epsilon=g.one_of((1e-5, 1e-2)), **more)


def scatter(g: Growing) -> None:
    """Some entries along an axis are replaced, each at most once."""
    x = g.pick(lambda p: _number(p) and "n" not in p.dims and len(p.dims) > 0)
    axis = g.one_of(range(len(x.dims)))
    count = g.draw(st.integers(1, x.dims[axis]))
    random = np.random.default_rng(g.draw(st.integers(0, 999)))
    rest = [d for i, d in enumerate(x.dims) if i != axis]
    rows = [random.permutation(x.dims[axis])[:count] for _ in range(int(np.prod(rest)))]
    index = np.moveaxis(np.reshape(rows, (*rest, count)), -1, axis)
    index = np.where(random.random(index.shape) < 0.5, index - x.dims[axis], index)  # the same place from the end
    operands = [x.name, g.constant(index.astype(np.int64)), g.constant(g.numbers(index.shape, x.dtype))]
    g.add("ScatterElements", operands, x.dims, x.dtype, sharp=x.sharp, axis=axis)


def resize(g: Growing) -> None:
    """Whole multiples of the sizes of images."""
    x = g.pick(lambda p: p.dtype == "float32" and len(p.dims) == 4 and len(_axes(p)) >= 3)
    scales = [g.draw(st.integers(1, 3)) for _ in "hw"]
    mode = g.one_of(("nearest", "linear"))
    how = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"} if mode == "nearest" else {}
    dims = (*x.dims[:2], *(d * s for d, s in zip(x.dims[2:], scales, strict=True)))
    operands = [x.name, "", g.constant(np.array([1, 1, *scales], np.float32))]
    g.add("Resize", operands, dims, x.dtype, sharp=mode == "nearest" and x.sharp, mode=mode, **how)


def rounds(g: Growing) -> None:
    """A loop that is known to end after one to three rounds."""
    x = g.pick(lambda p: p.dtype == "float32")
    kind = g.one_of(("Tanh", "LeakyRelu", "Sin"))
    scalar = [helper.make_tensor_value_info("i", onnx.TensorProto.INT64, []), helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, [])]
    carried = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.dims) for n in ("v", "w")]
    going = helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, [])
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node(kind, ["v"], ["w"])]
    body = helper.make_graph(nodes, f"body{len(g.nodes)}", [*scalar, carried[0]], [going, carried[1]])
    trips = g.constant(np.array(g.draw(st.integers(1, 3)), np.int64))
    g.add("Loop", [trips, "", x.name], x.dims, x.dtype, body=body)


MAKERS = (
    unary, guarded, binary, jumping, choosing, logical, cast, reduce, largest, softmax, cumulative, transpose, reshape, slice_,
    gather, concat, pad, expand, squeeze, tile, matmul, conv, pool, normalise,
    scatter, resize, rounds,
)  # fmt: skip


@st.composite
def graphs(draw: Callable[[Any], Any]) -> tuple[onnx.ModelProto, list[Port]]:
    """A model of 1 to 8 steps, and its inputs."""
    g = Growing(draw)
    for name in ("x", "y")[: draw(st.integers(1, 2))]:
        dims = draw(st.lists(st.integers(1, 6), min_size=0, max_size=3))
        batch = ["n"] if draw(st.booleans()) else [draw(st.integers(1, 3))]
        dtype = draw(st.sampled_from(("float32",) * 3 + ("float64", "int32", "int64")))
        g.inputs.append(Port(name, (*batch, *dims), dtype, True))
    g.ports = list(g.inputs)
    for _ in range(draw(st.integers(1, 8))):
        try:
            draw(st.sampled_from(MAKERS))(g)
        except LookupError:
            continue
    if not g.nodes:
        g.add("Identity", [g.inputs[0].name], g.inputs[0].dims, g.inputs[0].dtype)
    return g.model(), g.inputs


def arrays(inputs: list[Port], batch: int, seed: int) -> list[np.ndarray]:
    """Multiples of a quarter, or whole numbers."""
    random = np.random.default_rng(seed)
    found = []
    for port in inputs:
        dims = [batch if d == "n" else d for d in port.dims]
        numbers = random.integers(-12, 13, dims)
        found.append((numbers / 4 if port.dtype in FLOATS else numbers // 2).astype(port.dtype))
    return found
