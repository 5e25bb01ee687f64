"""Control flow: operators that run graphs of their own.

| op   | onnx          | what its graphs take                         | what they give               |
|------|---------------|----------------------------------------------|------------------------------|
| If   | If            | captured                                     | the results                  |
| Loop | Loop          | step, condition, carried..., captured...     | condition, carried..., rows  |
| Scan | Scan          | states..., one place of each list, captured  | states..., rows              |

A graph reads nothing from outside but its inputs: what it captures is an operand, behind the others. Sizes that only a
run tells (how often a loop went round, how long a branch's result is) are symbols named after the operator's label.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..op import (
    Dim,
    Graph,
    Op,
    Shape,
    Value,
    agree,
    exports,
    kinds,
    maximum,
    name_of,
    op,
    rename,
    run_body,
    sizes_outside,
    symbol,
    symbols,
)  # fmt: skip

Call = Callable[[Graph, Sequence[Any]], list[Any]]  # runs a body on arrays
FOREVER = 2**63 - 1  # rounds: as many as the condition lets
MOST_COUNTED = 1024  # rounds that are counted before a run


class Control(Op):
    """Base of the operators that run graphs. `label` is unique in a network: it names the sizes that only a run tells."""

    label: str
    deterministic = False  # a loop of constants may be long: it runs where the network runs
    any_dtype = True
    texts = True

    def flow(self, call: Call, *arrays: Any) -> tuple[Any, ...]:
        """The results, every body run by `call`."""
        raise NotImplementedError

    def reference(self, *arrays: Any) -> Any:
        results = self.flow(run_body, *arrays)
        return results[0] if len(results) == 1 else results

    def outside(self, index: int, shape: Shape, known: dict[str, Dim]) -> Shape:
        """A result's shape as the graph around sees it: what only the body knows has a name of its own."""
        return tuple(
            rename(d, known) if symbols(d) <= set(known) else self.open_size(index, axis) for axis, d in enumerate(shape)
        )

    def open_size(self, index: int, axis: int) -> Dim:
        """The symbol of a size of a result that only a run tells."""
        return symbol(f"?{self.label}_{index}_{axis}")


@op
class If(Control):
    """The results of `then` where the condition (one boolean) holds, otherwise those of `other`."""

    label: str
    then: Graph
    other: Graph

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        both = []
        for body in self.bodies:
            known = sizes_outside(body.inputs, inputs[1:])
            both.append([self.outside(i, v.shape, known) for i, v in enumerate(body.outputs)])
        results = []
        for index, (one, other) in enumerate(zip(*both, strict=True)):
            dims = enumerate(zip(one, other, strict=True))
            shape = tuple(a if agree(a, b) else self.open_size(index, axis) for axis, (a, b) in dims)
            results.append((shape, kinds.joined(self.then.outputs[index].dtype, self.other.outputs[index].dtype)))
        return results

    def flow(self, call: Call, *arrays: Any) -> tuple[Any, ...]:
        condition, *captured = arrays
        return tuple(call(self.then if bool(condition) else self.other, captured))


@op
class Loop(Control):
    """Runs `body` while its condition holds, at most as often as the first operand says.

    Operands: the number of rounds (FOREVER for any), whether to begin, `carried` values, what the body captures.
    Results: the carried values at the end, then what each round gave besides, stacked along a new first axis.
    """

    label: str
    carried: int
    body: Graph

    def fixed(self, axis: int, index: int) -> bool:
        """Whether a carried value has the same size along an axis in every round."""
        return agree(self.body.inputs[2 + index].shape[axis], self.body.outputs[1 + index].shape[axis])

    @property
    def endless(self) -> bool:
        """Whether the body never ends the loop itself."""
        going = self.body.outputs[0]
        return going is self.body.inputs[1] or (going.is_constant and bool(going.array()))

    def rounds(self, trips: Value, condition: Value) -> Dim | None:
        """How often the body runs, where that is known before the run."""
        count, begins = trips.content(), condition.content()
        if begins is False:
            return 0
        return maximum(count, 0) if begins and self.endless and count is not None else None

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        trips, condition, *rest = inputs
        inner, initial = self.body.inputs[2:], rest
        known: dict[str, Dim] = dict(sizes_outside(inner[self.carried :], initial[self.carried :]))
        for index in range(self.carried):
            for axis, dim in enumerate(inner[index].shape):
                if self.fixed(axis, index) and (name := name_of(dim)):
                    known.setdefault(name, initial[index].shape[axis])
        count = self.rounds(trips, condition)
        rows = symbol(f"?{self.label}_rounds") if count is None else count
        results = []
        for index, value in enumerate(self.body.outputs[1:]):
            if index < self.carried:
                results.append((self.carried_shape(index, known), inner[index].dtype))
            else:
                results.append(((rows, *self.outside(index, value.shape, known)), value.dtype))
        return results

    def carried_shape(self, index: int, known: dict[str, Dim]) -> Shape:
        """The shape of a carried value at the end, as the graph around sees it."""
        return tuple(
            rename(d, known) if self.fixed(axis, index) and symbols(d) <= set(known) else self.open_size(index, axis)
            for axis, d in enumerate(self.body.inputs[2 + index].shape)
        )

    def flow(self, call: Call, *arrays: Any) -> tuple[Any, ...]:
        trips, going, *rest = arrays
        carried, captured = rest[: self.carried], rest[self.carried :]
        rows: list[list[Any]] = [[] for _ in self.body.outputs[1 + self.carried :]]
        step = 0
        while bool(going) and step < int(trips):
            results = call(self.body, (np.asarray(step, np.int64), going, *carried, *captured))
            going, carried = results[0], results[1 : 1 + self.carried]
            for row, result in zip(rows, results[1 + self.carried :], strict=True):
                row.append(result)
            step += 1
        stacks = map(stacked, rows, self.body.outputs[1 + self.carried :])
        return (*carried, *stacks)


def counted(body: Graph, trips: Value, condition: Value, carried: Sequence[Value]) -> int | None:
    """How often a Loop runs whose condition hangs on integers alone that are known before; None where they are not.

    Only integers: what comes of comparing floats may differ from one runtime to another.
    """
    count, begins = trips.content(), condition.content()
    places = {id(v): i for i, v in enumerate(body.inputs)}
    asked, needed, nodes = [body.outputs[0]], set(), set()
    while asked:
        value = asked.pop()
        place = places.get(id(value))
        if value is None or (place is None and value.node is None) or place in needed:
            continue
        if place is not None:
            needed.add(place)
            if place >= 2 + len(carried) or (place >= 2 and not carried[place - 2].is_constant):
                return None
            asked += [body.outputs[place - 1]] if place >= 2 else []
        elif id(value.node) not in nodes:
            nodes.add(id(value.node))
            asked += value.node.inputs
            if any(v.dtype.kind not in "iub" for v in value.node.outputs):
                return None
    if not isinstance(count, int) or not isinstance(begins, bool) or any(body.inputs[i].dtype.kind not in "iub" for i in needed):
        return None
    kept = sorted(i for i in needed if i >= 2)
    part = Graph()
    part.inputs = [*body.inputs[:2], *(body.inputs[i] for i in kept)]
    part.nodes = [n for n in body.nodes if id(n) in nodes]
    part.outputs = [body.outputs[0], *(body.outputs[i - 1] for i in kept)]
    arrays, step = [carried[i - 2].array() for i in kept], 0
    while begins and step < min(count, MOST_COUNTED):
        begins, *arrays = run_body(part, [np.asarray(step), np.asarray(True), *arrays])
        step += 1
    return None if begins and step < count else step


def stacked(rows: list[Any], value: Value) -> np.ndarray:
    """Rows along a new first axis; none make an array whose open sizes are 0, as onnxruntime's are."""
    return np.stack(rows) if rows else np.zeros((0, *no_row(value)), value.dtype)


def no_row(value: Value) -> tuple[int, ...]:
    """The shape of a row that no round gives."""
    return tuple(d if isinstance(d, int) else 0 for d in value.shape)


@op
class Scan(Control):
    """Runs `body` for each place along an axis of its lists, in order or backwards, carrying states along.

    Operands: `states` values, the lists, what the body captures. Results: the states at the end, then what each place
    gave besides, stacked along an axis, in order or backwards.
    """

    label: str
    states: int
    axes: tuple[int, ...]  # of each list, the one that is walked along
    backwards: tuple[bool, ...]
    result_axes: tuple[int, ...]  # of each stacked result, the new one
    result_backwards: tuple[bool, ...]
    body: Graph

    def parts(self, operands: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """States, lists and captured values of all operands."""
        ends = self.states, self.states + len(self.axes)
        return operands[: ends[0]], operands[ends[0] : ends[1]], operands[ends[1] :]

    def length(self, *lists: Any) -> Any:
        """How many places there are."""
        return lists[0].shape[self.axes[0]]

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        states, lists, captured = self.parts(inputs)
        inner_states, inner_places, inner_captured = self.parts(self.body.inputs)
        known: dict[str, Dim] = dict(sizes_outside(inner_captured, captured))
        known |= sizes_outside(inner_states, states)
        for inner, outer, axis in zip(inner_places, lists, self.axes, strict=True):
            rest = (*outer.shape[:axis], *outer.shape[axis + 1 :])
            known |= {name: s for d, s in zip(inner.shape, rest, strict=True) if (name := name_of(d))}
        results = []
        for index, value in enumerate(self.body.outputs):
            shape = self.outside(index, value.shape, known)
            if index >= self.states:
                at = self.result_axes[index - self.states]
                shape = (*shape[:at], self.length(*lists), *shape[at:])
            results.append((shape, value.dtype))
        return results

    def flow(self, call: Call, *arrays: Any) -> tuple[Any, ...]:
        states, lists, captured = self.parts(arrays)
        rows: list[list[Any]] = [[] for _ in self.result_axes]
        count = self.length(*lists)
        for step in range(count):
            at = [count - 1 - step if back else step for back in self.backwards]
            places = [x.take(i, axis) for x, i, axis in zip(lists, at, self.axes, strict=True)]
            results = call(self.body, (*states, *map(np.asarray, places), *captured))
            states = results[: self.states]
            for row, result in zip(rows, results[self.states :], strict=True):
                row.append(result)
        stacks = []
        turns = zip(rows, self.body.outputs[self.states :], self.result_axes, self.result_backwards, strict=True)
        for row, value, axis, back in turns:
            stacks.append(np.moveaxis(stacked(row[::-1] if back else row, value), 0, axis))
        return (*states, *stacks)


# --- exporters --------------------------------------------------------------------------------------------------------


@exports("onnx", If)
def if_to_onnx(op, onnx, condition, *captured):
    branches = {"then_branch": onnx.body(op.then, captured), "else_branch": onnx.body(op.other, captured)}
    return onnx.write("If", (condition,), outputs=len(onnx.outputs), **branches)


@exports("onnx", Loop)
def loop_to_onnx(op, onnx, trips, condition, *rest):
    carried, captured = rest[: op.carried], rest[op.carried :]
    body = onnx.body(op.body, captured)
    count, begins = (v.content() for v in onnx.node.inputs[:2])
    trips, condition = (None if count == FOREVER else trips), (None if begins is True else condition)
    return onnx.write("Loop", (trips, condition, *carried), outputs=len(onnx.outputs), body=body)


@exports("onnx", Scan)
def scan_to_onnx(op, onnx, *operands):
    states, lists, captured = op.parts(operands)
    return onnx.write(
        "Scan",
        (*states, *lists),
        outputs=len(onnx.outputs),
        body=onnx.body(op.body, captured),
        num_scan_inputs=len(lists),
        scan_input_axes=list(op.axes),
        scan_input_directions=list(map(int, op.backwards)),
        scan_output_axes=list(op.result_axes) or None,
        scan_output_directions=list(map(int, op.result_backwards)) or None,
    )


@exports("torch", If)
def if_to_torch(op, torch, condition, *captured):
    return torch.control("If", then=op.then, other=op.other)(condition, *captured)


@exports("torch", Loop)
def loop_to_torch(op, torch, trips, condition, *rest):
    settings = {"carried": op.carried, "endless": op.endless, "empty": empty(torch, op.body.outputs[1 + op.carried :])}
    count, begins = (v.content() for v in torch.node.inputs[:2])  # torch.export writes a known number of rounds out
    rounds = trips if count is None else torch.size(count)
    return torch.control("Loop", body=op.body, **settings)(rounds, condition if begins is None else begins, *rest)


@exports("torch", Scan)
def scan_to_torch(op, torch, *operands):
    axes = list(zip(op.axes, op.backwards, strict=True))
    result_axes = list(zip(op.result_axes, op.result_backwards, strict=True))
    settings = {"states": op.states, "axes": axes, "result_axes": result_axes}
    return torch.control("Scan", body=op.body, **settings, empty=empty(torch, op.body.outputs[op.states :]))(*operands)


def empty(torch, rows):
    if any(v.dtype.kind == "O" for v in rows):
        raise torch.refuse("rows of text", why="torch stacks tensors", instead="Give the last round's text alone")
    return [(no_row(v), torch.torch_dtype(v.dtype)) for v in rows]


@exports("keras", If)
def if_to_keras(op, keras, condition, *captured):
    raise keras.refuse(
        "an If",
        why="Keras saves no branches; both are computed and one is picked, where neither can fail and their sizes agree",
        instead="Make its condition a constant, or write ONNX or PyTorch",
    )


@exports("keras", Loop)
@exports("keras", Scan)
def loop_to_keras(op, keras, *operands):
    raise keras.refuse(
        f"a {type(op).__name__} whose number of rounds is known only at run time, or large",
        why="Keras saves no loops; others are written out",
        instead="Fix the sizes with input_shapes and the number of rounds as a constant, or write ONNX or PyTorch",
    )
