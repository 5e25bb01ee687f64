"""Shapes in every spelling of PyTorch and Keras: reshapes, transposes, casts, broadcasting, repeating, ranges."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, kinds
from hypothesis import given, settings
from hypothesis import strategies as st

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.graph import Graph
from leaky_interop.ops.shape import Reshape, unit_axes

rng = np.random.default_rng(3)
X = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)


def module(function):
    """A PyTorch module of a function."""
    return type("Net", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


def keras_model(function, *shapes, dtype="float32"):
    """A Keras model of a function of its inputs."""
    inputs = [keras.Input(s, dtype=dtype) for s in shapes or [X.shape[1:]]]
    return keras.Model(inputs, function(*inputs))


# --- torch ------------------------------------------------------------------------------------------------------------

TORCH = {
    "view": lambda x: x.view(x.size(0), -1, 2),
    "view_as": lambda x: x.view_as(x),
    "reshape": lambda x: x.reshape(-1, 5),
    "reshape_two_open": lambda x: x.reshape(x.shape[0] * 3, x.shape[2], 5),
    "flatten": lambda x: x.flatten(1, 2),
    "flatten_all": lambda x: x.flatten(),
    "ravel": torch.ravel,
    "unflatten": lambda x: x.unflatten(2, (2, -1)),
    "squeeze": lambda x: x[:, :1].squeeze(),
    "squeeze_axis": lambda x: x[:, :1].squeeze(1),
    "squeeze_axis_that_stays": lambda x: x.squeeze(1),
    "squeeze_axes": lambda x: x[:, :1, :, :1].squeeze((1, -1)),
    "unsqueeze": lambda x: x.unsqueeze(-1).unsqueeze(0),
    "permute": lambda x: x.permute(0, -1, 1, 2),
    "transpose": lambda x: x.transpose(-1, 1),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "movedim": lambda x: x.movedim(1, -1),
    "movedims": lambda x: x.movedim((1, 3), (2, 1)),
    "mT": lambda x: x.mT,
    "T": lambda x: x[0, 0].T,
    "contiguous": lambda x: x.permute(0, 2, 3, 1).contiguous().clone().detach(),
    "double": lambda x: x.double(),
    "half_and_back": lambda x: x.half().float(),
    "to_int": lambda x: (x * 3).to(torch.int32),
    "to_bool": lambda x: x.bool(),
    "to_other": lambda x: x.to(torch.zeros(1, dtype=torch.float64)),
    "to_device_and_dtype": lambda x: x.to("cpu", torch.float64),
    "type_as": lambda x: x.type_as(torch.zeros(1, dtype=torch.int64)),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "expand_in_front": lambda x: x[0, 0].expand(2, 3, 4, 5),
    "expand_as": lambda x: x[:, :1].expand_as(x),
    "broadcast_to": lambda x: torch.broadcast_to(x[:, :1], (2, 3, 4, 5)),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "repeat_in_front": lambda x: x.repeat(2, 1, 1, 1, 1),
    "repeat_of_size_1": lambda x: x[:, :1].repeat(1, 3, 1, 1),
    "tile": lambda x: torch.tile(x, (2, 1)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "repeat_interleave_flat": lambda x: x.repeat_interleave(2),
    "repeat_interleave_uneven": lambda x: x.repeat_interleave(torch.tensor([1, 0, 3]), 1),
    "flip": lambda x: x.flip(1, -1),
    "fliplr": torch.fliplr,
    "rot90": lambda x: torch.rot90(x, 1, (2, 3)),
    "rot90_twice": lambda x: torch.rot90(x, 2, (1, 3)),
    "rot90_back": lambda x: torch.rot90(x, -1, (1, 2)),
    "roll": lambda x: x.roll((1, -2), (1, 3)),
    "roll_flat": lambda x: x.roll(3),
    "tril": lambda x: x.tril(-1),
    "triu": lambda x: x.triu(1),
    "diagonal": lambda x: torch.diagonal(x, 1, 2, 3),
    "diagonal_below": lambda x: torch.diagonal(x, -1, 3, 1),
    "full": lambda x: x + torch.full((5,), 2.0),
    "full_open": lambda x: torch.full((x.shape[0], 3), 2),
    "zeros_open": lambda x: torch.zeros(x.shape[0], 3) + x[:, :, 0, 0],
    "ones_like": lambda x: torch.ones_like(x, dtype=torch.int64),
    "full_like": lambda x: torch.full_like(x, 2.5),
    "new_zeros": lambda x: torch.cat([x, x.new_zeros(x.shape[0], 1, 4, 5)], 1),
    "new_ones": lambda x: x.new_ones(5) * x,
    "new_full": lambda x: x.new_full((x.shape[0], 2), 3.0),
    "empty_filled": lambda x: torch.empty(x.shape[0]).fill_(1.5),
    "zeroed": lambda x: torch.empty_like(x).zero_(),
    "arange": lambda x: torch.arange(x.shape[0]),
    "arange_steps": lambda x: torch.arange(1, x.shape[0] * 2 + 1, 2),
    "arange_floats": lambda x: torch.arange(0, 1, 0.2) + x,
    "arange_of_a_dtype": lambda x: torch.arange(x.shape[0], dtype=torch.float32) + x.sum(),
    "linspace": lambda x: torch.linspace(-0.3, 1.7, 5) + x * 0,
    "eye": lambda x: x[:, :, :, :4] @ torch.eye(4) + torch.eye(4, 4),
    "tril_indices": lambda x: x[:, torch.tril_indices(3, 3)[0]],
    "meshgrid": lambda x: torch.stack(torch.meshgrid(x[0, 0, 0], x[0, 0, :, 0], indexing="ij")),
    "meshgrid_xy": lambda x: torch.stack(torch.meshgrid(x[0, 0, 0], x[0, 0, :, 0], indexing="xy")),
    "scalar": lambda x: torch.scalar_tensor(2.0) * x + torch.tensor(3.0),
    "identity": lambda x: x,
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_spellings(name):
    check(module(TORCH[name]), X)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_linspace_is_made_bit_by_bit(count, dtype):
    graph = li.load(
        module(lambda x: x.to(dtype) * 0 + torch.linspace(-0.37, 2.91, count, dtype=dtype)), (X[:, :, :, :1],)
    )
    (constant,) = [v for n in graph.nodes for v in n.inputs if v.is_constant and v.rank]
    assert np.array_equal(constant.array(), torch.linspace(-0.37, 2.91, count, dtype=dtype).numpy())


@pytest.mark.parametrize("bounds", [(0, 1, 0.1), (5, -2, -0.7), (1, 10, 3), (0.5, 4)])
def test_torch_arange_is_made_bit_by_bit(bounds):
    graph = li.load(module(lambda x: x.sum() + torch.arange(*bounds)), (X,))
    (constant,) = [v for n in graph.nodes for v in n.inputs if v.is_constant and v.rank]
    assert np.array_equal(constant.array(), torch.arange(*bounds).float().numpy())


def test_a_negative_zero_is_expanded_as_it_is():
    x = np.array([[-0.0], [0.0]], np.float32)
    for model in (module(lambda x: x.expand(-1, 3)), module(lambda x: x[:1].expand(x.shape[0], 3))):
        graph = check(model, x)
        for framework in ("keras", "torch", "onnx"):
            (y,) = li.run(li.convert(model, to=framework, example=(x,)), [x])
            assert np.array_equal(np.signbit(y), np.signbit(graph.run(x)[0])), framework


# --- keras ------------------------------------------------------------------------------------------------------------

ops = keras.ops
KERAS = {
    "Flatten": keras.layers.Flatten(),
    "Reshape": keras.layers.Reshape((5, -1, 2)),
    "Permute": keras.layers.Permute((3, 1, 2)),
    "reshape": lambda x: ops.reshape(x, (-1, 12, 5)),
    "reshape_merging_the_batch": lambda x: ops.reshape(x, (-1, 5)),
    "expand_dims": lambda x: ops.expand_dims(x, -1),
    "expand_two_dims": lambda x: ops.expand_dims(x, (1, 3)),
    "squeeze": lambda x: ops.squeeze(ops.expand_dims(x, (1, 3))),
    "squeeze_axis": lambda x: ops.squeeze(ops.expand_dims(x, 2), 2),
    "ravel": ops.ravel,
    "transpose": lambda x: ops.transpose(x, (0, 3, 1, 2)),
    "transpose_reversed": lambda x: ops.transpose(x),
    "moveaxis": lambda x: ops.moveaxis(x, 1, -1),
    "moveaxes": lambda x: ops.moveaxis(x, (1, 2), (3, 1)),
    "swapaxes": lambda x: ops.swapaxes(x, 1, -1),
    "cast": lambda x: ops.cast(ops.multiply(x, 3), "int32"),
    "copy": lambda x: ops.copy(ops.convert_to_tensor(x)),
    "RepeatVector": lambda x: keras.layers.RepeatVector(3)(keras.layers.Flatten()(x)),
    "broadcast_to_is_static": lambda x: ops.add(ops.broadcast_to(np.ones((1, 5), np.float32), (4, 5)), x),
    "tile": lambda x: ops.tile(x, (1, 2, 1, 3)),
    "tile_in_front": lambda x: ops.tile(x[0, 0, 0], (3, 1)),
    "repeat": lambda x: ops.repeat(x, 3, axis=2),
    "repeat_uneven": lambda x: ops.repeat(x, np.array([1, 0, 2]), axis=1),
    "flip": lambda x: ops.flip(x, axis=(1, 2)),
    "flip_all": lambda x: ops.flip(x),
    "roll": lambda x: ops.roll(x, 2, axis=1),
    "roll_axes": lambda x: ops.roll(x, (1, -1), axis=(1, 2)),
    "tril": lambda x: ops.tril(x, k=1),
    "triu": lambda x: ops.triu(x, k=-1),
    "diagonal": lambda x: ops.diagonal(x, offset=1, axis1=1, axis2=3),
    "zeros_like": lambda x: ops.add(ops.zeros_like(x), 1.0),
    "ones_like": lambda x: ops.ones_like(x, dtype="int32"),
    "full_like": lambda x: ops.full_like(x, 2.5),
    "meshgrid": lambda x: ops.stack(ops.meshgrid(x[0, 0, 0], x[0, 0, :, 0], indexing="ij")),
    "meshgrid_xy": lambda x: ops.stack(ops.meshgrid(x[0, 0, 0], x[0, 0, :, 0])),
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
def test_keras_spellings(name):
    check(keras_model(KERAS[name]), X)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_R14_keras_flattens_channels_last_whatever_the_data_format(data_format):
    check(keras_model(keras.layers.Flatten(data_format=data_format)), X)


def test_R14_a_flatten_between_layouts_is_taken_up_by_the_dense_layer():
    source = keras.Sequential(
        [keras.Input((6, 7, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
    )
    graph = check(source, rng.standard_normal((2, 6, 7, 3)).astype(np.float32))
    assert kinds(graph).count("Transpose") <= 1


def test_open_height_and_width_keep_unit_axes_in_keras():
    def forward(x):
        return (x.unsqueeze(2) * x.mean(1, keepdim=True).unsqueeze(2)).squeeze(2)

    model = li.convert(module(forward), to="keras", input_shapes=[(None, 3, None, None)])
    x = rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    np.testing.assert_allclose(li.run(model, [x])[0], forward(torch.from_numpy(x)).numpy(), rtol=1e-6)


def test_two_open_sizes_in_one_shape_are_refused_by_keras():
    source = module(lambda x: x.reshape(x.shape[0], 3 * x.shape[3], x.shape[2]))
    with pytest.raises(Refused, match="open size"):
        li.convert(source, to="keras", input_shapes=[(None, 3, None, None)])


# --- properties -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([1, 2, 3]), max_size=5), st.data())
def test_unit_axes_name_what_a_reshape_adds_or_removes(before, data):
    after = list(before)
    for _ in range(data.draw(st.integers(0, 2))):
        after.insert(data.draw(st.integers(0, len(after))), 1)
    for first, second in ((before, after), (after, before)):
        found = unit_axes(tuple(first), tuple(second))
        if found is None:
            assert first == second
            continue
        removed, added = found
        x = np.zeros(first)
        assert (x.squeeze(removed) if removed else np.expand_dims(x, added)).shape == tuple(second)


@settings(deadline=None, max_examples=200)
@given(
    st.permutations(range(4)),
    st.lists(st.sampled_from([1, 2, 3]), min_size=4, max_size=4),
    st.integers(0, 3),
    st.integers(1, 4),
)
def test_a_reshape_slides_only_where_nothing_changes(perm, shape, start, length):
    """Merging neighbours under any order of axes: what `under` promises holds, or it promises nothing."""
    stop = min(start + length, 4)
    target = (*shape[:start], int(np.prod(shape[start:stop])), *shape[stop:])
    graph = Graph()
    value, op = graph.input("x", tuple(shape), np.float32), Reshape(shape=target)
    moved = op.under(tuple(perm), (value,))
    if moved is not None:
        x = np.arange(np.prod(shape)).reshape(shape)
        turned = moved.op.reference(x.transpose(np.argsort(perm)))
        assert np.array_equal(op.reference(x), turned.transpose(moved.outputs[0]))
