"""Joining, cutting and picking in every native spelling: concat, split, slices, gathers, scatters, sorting."""

import keras
import numpy as np
import onnx
import pytest
import torch
from family_checks import check, close, kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.graph import Graph
from leaky_interop.ops.index import sliced
from leaky_interop.ops.picking import diagonal

rng = np.random.default_rng(4)
X = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
INDEX = torch.tensor([[0, 2], [1, -1]])


def module(function):
    """A PyTorch module of a function."""
    return type("Net", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


def keras_model(function, *shapes):
    """A Keras model of a function of its inputs."""
    inputs = [keras.Input(s) for s in shapes or [X.shape[1:]]]
    return keras.Model(inputs, function(*inputs))


def node_model(
    kind, constants=(), *, opset, outputs=("y",), output=TensorProto.FLOAT, shape=X.shape, extra=None, **attributes
):
    """One ONNX node of x (and further inputs by name), with constants behind it."""
    constants = {f"c{i}": c for i, c in enumerate(constants) if c is not None}
    extra = extra or {}
    node = helper.make_node(kind, ["x", *extra, *constants], list(outputs), name="layer", **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    inputs += [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in extra.items()
    ]
    results = [
        helper.make_tensor_value_info(
            n, output if n == "y" else TensorProto.INT64 if n == "i" else TensorProto.FLOAT, None
        )
        for n in outputs
    ]
    initializers = [onnx.numpy_helper.from_array(np.asarray(c), n) for n, c in constants.items()]
    graph = helper.make_graph([node], "g", inputs, results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


# --- torch ------------------------------------------------------------------------------------------------------------


def assigned(x):
    y = x.clone()
    y[:, 1:3, :, ::1] = 0.5
    y[:, 0] = 2 * y[:, 2]
    return y


TORCH = {
    "cat": lambda x: torch.cat([x, x[:, :1], x + 1], 1),
    "cat_last": lambda x: torch.cat([x, x], -1),
    "cat_of_two_dtypes": lambda x: torch.cat([x, x.double()], 1),
    "stack": lambda x: torch.stack([x, -x], 2),
    "stack_last": lambda x: torch.stack([x, -x], -1),
    "hstack": lambda x: torch.hstack([x, x]),
    "vstack": lambda x: torch.vstack([x[0, 0, 0], x[0, 0, 1]]),
    "dstack": lambda x: torch.dstack([x[0, 0], x[1, 0]]),
    "column_stack": lambda x: torch.column_stack([x[0, 0, 0], x[1, 0, 0]]),
    "split": lambda x: x.split(2, 3)[::-1],
    "split_sizes": lambda x: x.split([1, 3, 1], -1)[1:],
    "chunk": lambda x: x.chunk(2, 3),
    "chunk_fewer_than_asked": lambda x: x.chunk(4, 3),
    "tensor_split": lambda x: x.tensor_split(3, 3),
    "tensor_split_at": lambda x: x.tensor_split([1, 3], 3),
    "unbind": lambda x: x.unbind(1),
    "slice": lambda x: x[:, 1:],
    "slice_two": lambda x: x[:, 1:3, :, 2:4],
    "slice_from_the_end": lambda x: x[..., -3:-1],
    "slice_beyond": lambda x: x[:, :100],
    "slice_nothing": lambda x: x[:, 2:1],
    "steps": lambda x: x[:, ::2, :, 1::3],
    "select": lambda x: x[:, -1],
    "select_two": lambda x: x[:, 1, :, 2],
    "new_axes": lambda x: x[:, None, ..., 1:3],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "narrow_from_the_end": lambda x: x.narrow(-1, -3, 2),
    "index_select": lambda x: x.index_select(2, torch.tensor([0, 2, 2])),
    "index_list": lambda x: x[:, [0, 2]],
    "index_tensor": lambda x: x[:, INDEX],
    "index_from_the_end": lambda x: x[:, :, [-1, 0, -2]],
    "index_pair": lambda x: x[:, [0, 2], [1, 3]],
    "index_pair_broadcast": lambda x: x[:, [[0], [2]], [1, 3]],
    "index_pair_apart": lambda x: x[:, [0, 2], :, [1, 3]],
    "index_first": lambda x: x[[1, 0]],
    "index_computed": lambda x: x[0, 0][x[:, 0, 0].argmax(-1) % 4],
    "gather": lambda x: x.gather(3, x[..., :2].argsort(-1)),
    "gather_shorter": lambda x: x.gather(1, torch.zeros(2, 1, 2, 5, dtype=torch.int64)),
    "trace": lambda x: torch.trace(x[0, 0]),
    "take": lambda x: torch.take(x, INDEX),
    "take_along_dim": lambda x: torch.take_along_dim(x, x.argsort(3), 3),
    "one_hot": lambda x: torch.nn.functional.one_hot(x.argmax(-1), 5),
    "topk": lambda x: x.topk(2, 1),
    "topk_smallest": lambda x: x.topk(3, -1, largest=False),
    "topk_all": lambda x: x.topk(5),
    "sort": lambda x: x.sort(-1, descending=True),
    "sort_stable": lambda x: torch.sort((x * 2).round(), stable=True, dim=1)[1],
    "argsort": lambda x: x.argsort(1),
    "msort": torch.msort,
    "scatter": lambda x: x.scatter(1, INDEX.abs()[:, :, None, None].expand(2, 2, 4, 5), x[:, :2] * 2),
    "scatter_number": lambda x: x.scatter(3, x.argmax(-1, keepdim=True), 9.0),
    "scatter_add": lambda x: x.scatter_add(1, torch.zeros(2, 2, 4, 5, dtype=torch.int64), x[:, :2]),
    "scatter_reduce": lambda x: x.scatter_reduce(1, torch.zeros(2, 2, 4, 5, dtype=torch.int64), x[:, 1:], "amax"),
    "index_put": lambda x: x.index_put((torch.tensor([0]), torch.tensor([1])), x[:1, 0]),
    "index_put_add": lambda x: x.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), x[:2, 0], accumulate=True),
    "index_copy": lambda x: x.index_copy(2, torch.tensor([3, 0]), x[:, :, :2]),
    "index_add": lambda x: x.index_add(1, torch.tensor([0, 0]), x[:, :2], alpha=2),
    "index_fill": lambda x: x.index_fill(3, torch.tensor([0, 4]), 7.0),
    "assignment": assigned,
    "select_scatter": lambda x: torch.select_scatter(x, x[:, 0], 1, -1),
    "slice_scatter": lambda x: torch.slice_scatter(x, x[:, :2] + 1, 1, 1, 3),
    "masked_assignment": lambda x: x.masked_fill(x > 0, 1.0),
}  # fmt: skip
STATIC = {
    "index_computed",
    "index_pair_apart",
    "gather_shorter",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "index_put",
    "scatter_number",
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_spellings(name):
    """Whole graphs with an open batch where Keras can say them so; scatters to grids need known sizes there."""
    check(module(TORCH[name]), X, static_batch=name in STATIC)


def chosen(x):
    """Sizes that a run tells, and arithmetic on them."""
    y = x[x > 0]
    return y, torch.nonzero(x > 1), torch.masked_select(x, x[:, :1] > 0), x[:, x[0, :, 0, 0] > -9].shape[1] * y.sum()


def test_results_as_many_as_a_mask_lets_through():
    check(module(chosen), X, to=("torch", "onnx"))
    check(module(lambda x: x[:, torch.tensor([True, False, True])]), X)
    with pytest.raises(Refused, match="depends on the data, and Keras fixes shapes"):
        li.convert(module(lambda x: x[x > 0]), "keras", example=(X,))


def test_a_size_that_is_read_from_numbers_is_refused():
    def counted(x):
        count = x[0, 0, 0, 0].long().item()
        torch._check(count >= 1)
        torch._check(count < 3)
        return x[:, :count]

    with pytest.raises(Refused, match="a size that the network computes"):
        li.load(module(counted), (np.ones((2, 3, 4, 5), np.float32),))
    check(module(lambda x: x * x[0, 0, 0, 0].item()), X)


@pytest.mark.parametrize("reduction", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatters_that_leave_out_what_is_there(reduction, include_self):
    index = torch.tensor([[[[0, 2, 0, 0, 1]]]]).expand(2, 1, 4, 5)

    def forward(x):
        whole = (x * 3).to(torch.int32)
        first = x.scatter_reduce(1, index, x[:, 1:2], reduction, include_self=include_self)
        second = x.index_reduce(1, torch.tensor([2, 2]), x[:, :2], reduction.replace("sum", "mean"), include_self=include_self)
        return first, second, whole.scatter_reduce(1, index, whole[:, 1:2], reduction, include_self=include_self)

    check(module(forward), X, static_batch=True)


def test_what_a_mask_lets_in_comes_in_order():
    def forward(x):
        y, z = x.clone(), x.clone()
        y[:, torch.tensor([True, False, True])] = x[:, :2] * 2
        z.index_put_((x[:, 0, 0, 0] > -9,), x + 1, accumulate=True)
        return y, z, x.masked_scatter(x > 0, x.flip(1)), x.masked_scatter(x[:, :1] > 0, x - 1)

    check(module(forward), X, static_batch=True)


def test_slices_in_a_row_become_one():
    assert kinds(li.load(module(lambda x: x[:, 1:][:, :, 1:][..., ::2]), (X,))) == ["Slice"]
    assert kinds(li.load(module(lambda x: x[:, 1:][:, 1:]), (X,))) == ["Slice", "Slice"]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(*(st.none() | st.integers(-6, 6) for _ in range(2)), st.none() | st.integers(-3, 3).filter(bool)),
        min_size=1,
        max_size=4,
    )
)
def test_slices_mean_what_numpy_says(bounds):
    key = tuple(slice(*b) for b in bounds)
    graph = Graph()
    graph.outputs = [sliced(graph.input("x", X.shape, X.dtype), dict(enumerate(key)))]
    (y,) = graph.run(X)
    assert np.array_equal(y, X[key]) and graph.outputs[0].shape == y.shape


@settings(deadline=None, max_examples=40)
@given(st.integers(-5, 5), st.permutations(range(3)), st.integers(1, 4), st.integers(1, 5))
def test_diagonals_mean_what_numpy_says(offset, axes, rows, columns):
    x = rng.standard_normal([dict(zip(axes, (rows, columns, 2), strict=True))[a] for a in range(3)])
    graph = Graph()
    graph.outputs = [diagonal(graph.input("x", x.shape, x.dtype), offset, axes[0], axes[1])]
    assert np.array_equal(graph.run(x)[0], np.diagonal(x, offset, axes[0], axes[1]))


# --- keras ------------------------------------------------------------------------------------------------------------

ops = keras.ops
PLACES = np.array([[0, 1], [1, 2]], np.int32)
KERAS = {
    "Concatenate": lambda x: keras.layers.Concatenate(axis=-1)([x, x[..., :2], x]),
    "Concatenate_axis": lambda x: keras.layers.Concatenate(axis=2)([x, x]),
    "concatenate": lambda x: ops.concatenate([x, ops.cast(x, "float16")], axis=1),
    "concatenate_with_a_constant": lambda x: ops.concatenate([x[0], np.ones((1, 4, 5), np.float32)], axis=0),
    "append": lambda x: ops.append(x, x, axis=2),
    "stack": lambda x: ops.stack([x, -x], axis=-1),
    "hstack": lambda x: ops.hstack([x, x]),
    "vstack": lambda x: ops.vstack([x[0, 0], x[0, 1]]),
    "dstack": lambda x: ops.dstack([x[0, 0, 0], x[0, 0, 1]]),
    "split": lambda x: ops.split(x, 2, axis=2),
    "split_at": lambda x: ops.split(x, [1, 3], axis=-1),
    "array_split": lambda x: ops.array_split(x, 2, axis=-1),
    "unstack": lambda x: ops.unstack(x, axis=1),
    "Cropping1D": lambda x: keras.layers.Cropping1D((1, 2))(x[:, 0]),
    "Cropping2D": keras.layers.Cropping2D(((1, 0), (0, 2))),
    "Cropping2D_channels_first": keras.layers.Cropping2D(((1, 0), (0, 2)), data_format="channels_first"),
    "Cropping3D": lambda x: keras.layers.Cropping3D(((0, 1), (1, 0), (1, 1)))(x[..., None]),
    "item": lambda x: x[..., 1:, ::2],
    "item_numbers": lambda x: x[:, 1, ..., -1],
    "item_new_axis": lambda x: x[:, None, 0, :, None],
    "item_one": lambda x: x[0],
    "slice": lambda x: ops.slice(x[0], [1, 0, 2], [2, 4, 3]),
    "slice_update": lambda x: ops.slice_update(x[0], [0, 1, 0], x[0][:, :2]),
    "hsplit": lambda x: ops.hsplit(x, 3),
    "vsplit": lambda x: ops.vsplit(x[0], [1]),
    "dsplit": lambda x: ops.dsplit(x, 2),
    "fliplr": ops.fliplr,
    "flipud": lambda x: ops.flipud(x[0]),
    "rot90": lambda x: ops.rot90(x, k=1, axes=(1, 2)),
    "rot90_back": lambda x: ops.rot90(x, k=-1, axes=(2, 3)),
    "trace": lambda x: ops.trace(x, offset=1, axis1=2, axis2=3),
    "take": lambda x: ops.take(x, np.array([2, 0, -1]), axis=1),
    "take_flat": lambda x: ops.take(x[0], np.array([[2, 0], [7, 1]])),
    "take_computed": lambda x: ops.take(x, ops.cast(ops.abs(x[0, 0, 0]) * 0, "int32"), axis=2),
    "take_along_axis": lambda x: ops.take_along_axis(x, ops.argsort(x, axis=2), axis=2),
    "take_along_axis_broadcast": lambda x: ops.take_along_axis(x, np.array([[[[0], [3]]]]), axis=2),
    "one_hot": lambda x: ops.one_hot(ops.argmax(x, axis=-1), 5),
    "one_hot_axis": lambda x: ops.one_hot(ops.argmax(x, axis=-1), 5, axis=1, dtype="int32"),
    "top_k": lambda x: [ops.cast(part, "int32") for part in ops.top_k(ops.multiply(x, 9), 3)],
    "sort": lambda x: ops.sort(x, axis=1),
    "argsort": lambda x: ops.argsort(x, axis=-1),
    "scatter_update": lambda x: ops.scatter_update(x[0], PLACES, x[0, 0, :2]),
    "scatter_update_add": lambda x: ops.scatter_update(x[0], PLACES[:, :1], x[0, :2], reduction="add"),
    "scatter": lambda x: ops.scatter(PLACES, x[0, 0, :2], (3, 4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
def test_keras_spellings(name):
    check(keras_model(KERAS[name]), X)


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="PyTorch has no negative steps, so Keras cannot run these"
)
def test_keras_reversed_items():
    check(keras_model(lambda x: x[:, ::-1, 2:0:-1]), X)


def test_keras_merges_whole_numbers_though_it_states_floats():
    ids = [keras.Input((3,), dtype="int32") for _ in range(2)]
    joined = keras.layers.Concatenate()(ids)
    check(keras.Model(ids, keras.layers.Embedding(9, 2)(joined)), *np.arange(12, dtype=np.int32).reshape(2, 2, 3) % 9)


def test_R15_axes_follow_the_layout():
    """Concat, split and reductions between convolutions leave no transpose inside."""

    def network(x):
        left, right = ops.split(keras.layers.Conv2D(6, 3)(x), 2, axis=-1)
        joined = keras.layers.Concatenate()([left, ops.flip(right, axis=1), ops.roll(right, 1, axis=2)])
        return keras.layers.Conv2D(2, 1)(joined[:, 1:, :, 1:])

    x = rng.standard_normal((2, 6, 7, 3)).astype(np.float32)
    source = keras_model(network, x.shape[1:])
    assert kinds(check(source, x)).count("Transpose") == 2  # of the input and of the output
    assert not [op for op in li.convert(source, to="keras").operations if type(op).__name__ in ("Permute", "Transpose")]


# --- onnx, every opset ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset, how", [(1, {}), (4, {"axis": 2}), (11, {"axis": -1})])
def test_onnx_concat(opset, how):
    model = node_model("Concat", opset=opset, extra={"z": X}, **how)
    check(model, X, X, given=[np.concatenate([X, X], how.get("axis", 1))] if opset < 7 else None, to=("torch", "onnx"))


@pytest.mark.parametrize("opset", [1, 2, 11, 13, 18])
@pytest.mark.parametrize("sizes", [None, [1, 3, 1]])
def test_onnx_split(opset, sizes):
    axis, outputs = (3, ("y", "z", "w")) if sizes else (2, ("y", "z"))
    constants = [np.array(sizes)] if sizes and opset in (1, 13, 18) else []
    if opset == 1 and sizes:
        constants = [np.array(sizes, np.float32)]
    attributes = {"axis": axis} | ({"split": sizes} if sizes and opset in (2, 11) else {})
    attributes |= {"num_outputs": 2} if opset == 18 and not sizes else {}
    parts = np.split(X, np.cumsum(sizes)[:-1] if sizes else 2, axis)
    model = node_model("Split", constants, opset=opset, outputs=outputs, **attributes)
    check(model, X, given=parts if opset < 7 else None, to=("torch", "onnx"))


def test_onnx_split_into_uneven_parts():
    check(node_model("Split", opset=18, outputs=("y", "z", "w"), axis=3, num_outputs=3), X, to=("torch", "onnx"))


SLICES = [
    ([1, -2], [3, 100], [1, 3], None),
    ([0], [-1], [-1], None),
    ([-1, 3], [-100, 0], [1, -1], [-1, -2]),
    ([0, 1, 2], [2, 3, 4], None, None),
]


@pytest.mark.parametrize("starts, ends, axes, steps", SLICES)
@pytest.mark.parametrize("opset", [1, 10, 13])
def test_onnx_slice(starts, ends, axes, steps, opset):
    if opset == 1:
        if steps or (axes and min(axes) < 0):
            pytest.skip("opset 1 has neither steps nor negative axes")
        key = [slice(None)] * 4
        for axis, start, end in zip(axes or range(len(starts)), starts, ends, strict=True):
            key[axis] = slice(start, end)
        model = node_model("Slice", opset=opset, starts=starts, ends=ends, **({"axes": axes} if axes else {}))
        check(model, X, given=[X[tuple(key)]], to=("torch", "onnx"))
    else:
        operands = [starts, ends, axes, steps] if axes else [starts, ends]
        check(node_model("Slice", [np.array(o) for o in operands if o], opset=opset), X, to=("torch", "onnx"))


@pytest.mark.parametrize("index", [[0, 2], -1, [[1, -1], [0, 0]]])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("opset", [11, 13])
def test_onnx_gather(index, axis, opset):
    index = np.array(index) if axis != 0 else np.clip(np.array(index), -2, 1)
    check(node_model("Gather", [index], opset=opset, axis=axis), X, to=("torch", "onnx"))


def test_onnx_gather_elements_counts_from_the_end():
    index = np.array([-1, 0, 2]).reshape(1, 3, 1, 1).repeat(2, 0)
    check(node_model("GatherElements", [index], opset=13, axis=2), X, to=("torch", "onnx"))


@pytest.mark.parametrize("batch", [0, 1])
def test_onnx_gather_nd(batch):
    index = rng.integers(-2, 2, (2, 3, 2))
    check(node_model("GatherND", [index], opset=13, batch_dims=batch), X, to=("torch", "onnx"))


@pytest.mark.parametrize(
    "kind, opset, how", [("Scatter", 9, {}), ("ScatterElements", 11, {}), ("ScatterElements", 18, {"reduction": "max"})]
)
def test_onnx_scatter_elements(kind, opset, how):
    index = np.array([[[[0, 2]], [[1, 0]], [[2, 1]]]])
    updates = rng.standard_normal(index.shape).astype(np.float32)
    check(node_model(kind, [index, updates], opset=opset, axis=3, **how), X)


@pytest.mark.parametrize("opset, how", [(11, {}), (16, {"reduction": "add"}), (18, {"reduction": "none"})])
def test_onnx_scatter_nd(opset, how):
    updates = rng.standard_normal((2, 4, 5)).astype(np.float32)
    check(node_model("ScatterND", [np.array([[0, 2], [1, 1]]), updates], opset=opset, **how), X)


@pytest.mark.parametrize("time, batch", [(0, 1), (1, 0)])
def test_onnx_reverse_sequence(time, batch):
    lengths = np.array([1, 3][:2] if batch == 0 else [2, 1, 0], np.int64)
    check(node_model("ReverseSequence", [lengths], opset=10, time_axis=time, batch_axis=batch), X)


def test_onnx_reverse_sequence_of_computed_lengths():
    model = node_model("ReverseSequence", opset=10, extra={"lengths": np.array([1, 3])}, time_axis=1, batch_axis=0)
    check(model, X, np.array([1, 3]))


@pytest.mark.parametrize("axis", [None, 1, -1])
def test_onnx_compress(axis):
    mask = np.array([True, False, True])
    check(node_model("Compress", [mask], opset=11, **({} if axis is None else {"axis": axis})), X, to=("torch", "onnx"))


@pytest.mark.parametrize("opset", [1, 10, 11])
def test_onnx_top_k(opset):
    constants = [] if opset == 1 else [np.array([2])]
    attributes = {"axis": 1} | ({"k": 2} if opset == 1 else {}) | ({"largest": 0} if opset == 11 else {})
    model = node_model("TopK", constants, opset=opset, outputs=("y", "i"), **attributes)
    order = np.argsort(X if opset == 11 else -X, 1, kind="stable")[:, :2]
    check(model, X, given=[np.take_along_axis(X, order, 1), order] if opset == 1 else None, to=("torch", "onnx"))


@pytest.mark.parametrize("opset, ids", [(9, [0, 4, 7, 2]), (11, [0, -1, -5, 9])])
@pytest.mark.parametrize("values", [[0, 1], [2.5, -1]])
def test_onnx_one_hot(opset, ids, values):
    node = helper.make_node("OneHot", ["ids", "depth", "values"], ["y"], axis=0)
    initializers = [
        onnx.numpy_helper.from_array(np.array(5), "depth"),
        onnx.numpy_helper.from_array(np.array(values, np.float32), "values"),
    ]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    check(model, np.array(ids), to=("torch", "onnx"))  # Keras on torch takes no number beyond the depth


def test_a_planted_fault_is_noticed():
    graph = li.load(module(lambda x: x[:, 1:]), (X,))
    with pytest.raises(AssertionError):
        close(graph, [X], graph.run(X), [X[:, :2]], "planted")
