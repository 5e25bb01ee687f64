"""Sequences of arrays.

| op                  | onnx                             | torch                    |
|---------------------|----------------------------------|--------------------------|
| SequenceConstruct   | SequenceConstruct, SequenceEmpty | [a, b]                   |
| SequenceInsert      | SequenceInsert                   | s[:i] + [x] + s[i:]      |
| SequenceErase       | SequenceErase                    | del s[i], on a copy      |
| SequenceAt          | SequenceAt                       | s[i]                     |
| SequenceLength      | SequenceLength                   | len(s)                   |
| SplitToSequence     | SplitToSequence                  | list(x.split(sizes))     |
| ConcatFromSequence  | ConcatFromSequence               | cat(s), stack(s)         |

A sequence whose members are known is no more than its members: what is read from it is they. Keras holds no others.
SequenceMap is a Loop (sequence_map.py).
"""

from typing import Any

import numpy as np

from ..op import Op, Shape, Value, exports, imports, kinds, op, symbol
from .join import Concat, Split
from .shape import with_axes

LENGTH = np.dtype(np.int64)


class OnSequences(Op):
    """Base of operators on values that are no arrays: none of them is folded into one."""

    tolerance = "exact"
    deterministic = False
    any_dtype = True
    texts = True


def fixed(shape: Shape) -> Any:
    """A shape as a kind holds it: open sizes are None."""
    return tuple(d if isinstance(d, int) else None for d in shape)


@op
class SequenceConstruct(OnSequences):
    """A sequence of its operands; `dtype` is that of its members."""

    dtype: str

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        kind = kinds.Sequence(numpy_dtype(self.dtype), (), empty=True)
        for value in inputs:
            joined = kind.joined(kinds.Sequence(value.dtype, fixed(value.shape)))
            if joined is None:
                raise ValueError(f"{self} does not hold {value!r}")
            kind = joined
        return [((), kind)]

    def reference(self, *arrays: Any) -> Any:
        return list(arrays)


@op
class SequenceInsert(OnSequences):
    """A sequence with one more member before a position (the third operand; at the end without one)."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        sequence, member, *_ = inputs
        joined = sequence.dtype.joined(kinds.Sequence(member.dtype, fixed(member.shape)))
        if joined is None:
            raise ValueError(f"{sequence!r} does not hold {member!r}")
        return [((), joined)]

    def told(self, *inputs: Value | None) -> Value | None:
        sequence, x, *position = inputs
        known = members(sequence)
        at = None if known is None else position_of(position, len(known))
        return None if at is None else listed(sequence.graph, x.dtype, (*known[:at], x, *known[at:]))

    def reference(self, *arrays: Any) -> Any:
        sequence, member, *position = arrays
        at = len(sequence) if not position or position[0] is None else int(position[0])
        return [*sequence[:at], member, *sequence[at:]]


@op
class SequenceErase(OnSequences):
    """A sequence without the member at a position (the second operand; the last without one)."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [((), inputs[0].dtype)]

    def told(self, *inputs: Value | None) -> Value | None:
        sequence, *position = inputs
        known, at = members(sequence), position_of(position, -1)
        if not known or at is None:
            return None
        at %= len(known)
        return listed(sequence.graph, known[0].dtype, (*known[:at], *known[at + 1 :]))

    def reference(self, *arrays: Any) -> Any:
        sequence, *position = arrays
        at = -1 if not position or position[0] is None else int(position[0])
        return [a for i, a in enumerate(sequence) if i != at % len(sequence)]


@op
class SequenceAt(OnSequences):
    """The member at a position. Sizes in which members differ are named after the label."""

    label: str

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        kind = inputs[0].dtype
        return [(opened(kind.shape, self.label), kind.element)]

    def told(self, *inputs: Value | None) -> Value | None:
        known, at = members(inputs[0]), inputs[1].content()
        return known[at] if known and at is not None and -len(known) <= at < len(known) else None

    def reference(self, *arrays: Any) -> Any:
        return arrays[0][int(arrays[1])]


def opened(shape: Any, label: str) -> Shape:
    """A kind's shape as a value's: what is not fixed, only a run tells."""
    return tuple(symbol(f"?{label}_{axis}") if d is None else d for axis, d in enumerate(shape))


@op
class SequenceLength(OnSequences):
    """How many members a sequence has."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [((), LENGTH)]

    def told(self, *inputs: Value | None) -> Value | None:
        known = members(inputs[0])
        return None if known is None else inputs[0].graph.constant(len(known), np.int64)

    def reference(self, *arrays: Any) -> Any:
        return np.asarray(len(arrays[0]), np.int64)


@op
class SplitToSequence(OnSequences):
    """Pieces along an axis, as large as the second operand says, one after the other or (a number) all but the last."""

    axis: int
    texts = False

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x = inputs[0]
        return [((), kinds.Sequence(x.dtype, fixed((*x.shape[: self.axis], symbol("piece"), *x.shape[self.axis + 1 :]))))]

    def reference(self, *arrays: Any) -> Any:
        x, sizes = arrays
        cuts = np.cumsum(sizes)[:-1] if sizes.ndim else np.arange(int(sizes), x.shape[self.axis], int(sizes))
        return list(np.split(x, cuts, self.axis))


@op
class ConcatFromSequence(OnSequences):
    """The members one after the other along an axis; `new_axis`: along a new one."""

    label: str
    axis: int
    new_axis: bool
    texts = False

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        kind = inputs[0].dtype
        shape = opened(kind.shape, self.label)
        length = symbol(f"?{self.label}_length")
        rest = shape[self.axis :] if self.new_axis else shape[self.axis + 1 :]
        return [((*shape[: self.axis], length, *rest), kind.element)]

    def told(self, *inputs: Value | None) -> Value | None:
        known = members(inputs[0])
        return Concat(axis=self.axis)(*(with_axes(x, [self.axis]) for x in known) if self.new_axis else known) if known else None

    def reference(self, *arrays: Any) -> Any:
        return np.stack(arrays[0], self.axis) if self.new_axis else np.concatenate(arrays[0], self.axis)


def numpy_dtype(name: str) -> np.dtype:
    from ..numeric import dtype

    return dtype(name)


# --- ONNX -------------------------------------------------------------------------------------------------------------


def members(sequence: Value) -> tuple[Value, ...] | None:
    """The members of a sequence where they are known."""
    made = sequence.node
    return made.inputs if made is not None and isinstance(made.op, SequenceConstruct) else None  # type: ignore[return-value]


def position_of(operands: Any, default: int) -> Any:
    """A position (of no operand or one) where it is known before the run, otherwise None."""
    return operands[0].content() if operands and operands[0] is not None else default


def known_rank(node: Any, sequence: Value) -> None:
    """Raise Refused where nothing tells the rank of a sequence's members."""
    if sequence.dtype.shape is None or sequence.dtype.empty:
        why = "neither the file nor what was put into it tells the rank of its members"
        raise node.refused("what is read from this sequence", why=why, hint="Give the members' shape in its type")


def listed(graph: Any, dtype: Any, values: Any) -> Value:
    """A sequence of known members."""
    (made,) = graph.emit(SequenceConstruct(dtype=np.dtype(dtype).name), values)
    return made


@imports("onnx", "SequenceConstruct")
def sequence_construct_from_onnx(node, *xs):
    return listed(node.graph, xs[0].dtype, xs)


@imports("onnx", "SequenceEmpty")
def sequence_empty_from_onnx(node):
    return listed(node.graph, np.float32 if node.dtype is None else node.numpy_dtype(node.dtype), ())


@imports("onnx", "SequenceInsert")
def sequence_insert_from_onnx(node, sequence, x, position=None):
    return SequenceInsert()(sequence, x, *([] if position is None else [position.reshape()]))


@imports("onnx", "SequenceErase")
def sequence_erase_from_onnx(node, sequence, position=None):
    return SequenceErase()(sequence, *([] if position is None else [position.reshape()]))


@imports("onnx", "SequenceAt")
def sequence_at_from_onnx(node, sequence, position):
    if not members(sequence):
        known_rank(node, sequence)
    return SequenceAt(label=node.label)(sequence, position.reshape())


@imports("onnx", "SequenceLength")
def sequence_length_from_onnx(node, sequence):
    return SequenceLength()(sequence)


@imports("onnx", "SplitToSequence")
def split_to_sequence_from_onnx(node, x, sizes=None):
    axis, keep = node.axis % x.rank, sizes is not None or node.keepdims
    total = x.shape[axis]
    content = position_of([sizes], 1)
    if isinstance(content, int) and isinstance(total, int):
        content = (content,) * (total // content) + ((total % content,) if total % content else ())
    if isinstance(content, tuple) and all(isinstance(d, int) for d in content):
        pieces = [x] if len(content) == 1 else list(Split(axis=axis, sizes=content)(x))
        if not keep:
            pieces = [p.reshape(*p.shape[:axis], *p.shape[axis + 1 :]) for p in pieces]
        return listed(node.graph, x.dtype, pieces)
    if not keep:
        raise node.refused("a SplitToSequence without keepdims along an open size", why="its pieces would be of another rank")
    return SplitToSequence(axis=axis)(x, node.graph.constant(1, np.int64) if sizes is None else sizes)


@imports("onnx", "ConcatFromSequence")
def joined_from_onnx(node, sequence):
    known, new = members(sequence), bool(node.new_axis)
    if not known:
        known_rank(node, sequence)
    rank = known[0].rank if known else len(sequence.dtype.shape)
    return ConcatFromSequence(label=node.label, axis=node.axis % (rank + new), new_axis=new)(sequence)


# --- exporters --------------------------------------------------------------------------------------------------------

def same_to_onnx(op, onnx, *operands):
    """Operators that ONNX has under the same name and without settings."""
    return onnx.write(type(op).__name__, operands)


for kind in (SequenceInsert, SequenceErase, SequenceAt, SequenceLength):
    exports("onnx", kind)(same_to_onnx)


@exports("onnx", SequenceConstruct)
def sequence_construct_to_onnx(op, onnx, *xs):
    return onnx.SequenceConstruct(*xs) if xs else onnx.SequenceEmpty(dtype=onnx.element_type(op.dtype))


@exports("onnx", SplitToSequence)
def split_to_sequence_to_onnx(op, onnx, x, sizes):
    return onnx.SplitToSequence(x, sizes, axis=op.axis)


@exports("onnx", ConcatFromSequence)
def concat_from_sequence_to_onnx(op, onnx, sequence):
    return onnx.ConcatFromSequence(sequence, axis=op.axis, new_axis=int(op.new_axis))


@exports("torch", SequenceConstruct)
def sequence_construct_to_torch(op, torch, *xs):
    return torch.call(list, [*xs])


def number(torch, operand, default):
    """A position as Python has it."""
    value = torch.node.inputs[operand] if len(torch.node.inputs) > operand else None
    if value is None:
        return default
    return value.content() if value.content() is not None else torch.tensor(value).item()


@exports("torch", SequenceInsert)
def sequence_insert_to_torch(op, torch, sequence, x, *position):
    at = number(torch, 2, None)
    return sequence + torch.call(list, [x]) if at is None else sequence[:at] + torch.call(list, [x]) + sequence[at:]


@exports("torch", SequenceErase)
def sequence_erase_to_torch(op, torch, sequence, *position):
    return torch.control("SequenceErase")(sequence, *(position or [-1]))


@exports("torch", SequenceAt)
def sequence_at_to_torch(op, torch, sequence, position):
    return sequence[number(torch, 1, 0)]


@exports("torch", SequenceLength)
def asked_in_torch(op, torch, x):
    return torch.control(type(op).__name__)(x)


@exports("torch", SplitToSequence)
def split_to_sequence_to_torch(op, torch, x, sizes):
    return torch.control("SplitToSequence", axis=op.axis)(x, sizes)


@exports("torch", ConcatFromSequence)
def concat_from_sequence_to_torch(op, torch, sequence):
    return torch.call(torch.stack if op.new_axis else torch.cat, sequence, op.axis)
