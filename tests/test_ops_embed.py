"""Embeddings, and the weights that no layer owns: free ones, shared ones, larger constants."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, kinds
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused

rng = np.random.default_rng(5)
IDS = rng.integers(0, 9, (2, 5))
X = rng.standard_normal((2, 6, 8)).astype(np.float32)


def module(forward, **members):
    """A PyTorch module of these members whose forward is a function of itself and its inputs."""
    made = type("Net", (torch.nn.Module,), {"forward": forward})()
    for name, member in members.items():
        setattr(made, name, member)
    return made.eval()


def parameter(*shape, trainable=True):
    return torch.nn.Parameter(torch.from_numpy(rng.standard_normal(shape).astype(np.float32)), requires_grad=trainable)


def reloaded(model, tmp_path):
    """A Keras model after a trip through a file, loaded in safe mode."""
    model.save(tmp_path / "net.keras")
    return keras.models.load_model(tmp_path / "net.keras", safe_mode=True)


# --- lookups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"padding_idx": 0}, {"scale_grad_by_freq": True}], ids=str)
def test_torch_embedding(settings):
    graph = check(torch.nn.Sequential(torch.nn.Embedding(9, 4, **settings)).eval(), IDS)
    assert kinds(graph) == ["Embedding"]
    assert any("padding_idx" in note for note in graph.notes) == ("padding_idx" in settings)


def test_torch_max_norm_is_refused():
    with pytest.raises(Refused, match="max_norm"):
        li.load(torch.nn.Embedding(9, 4, max_norm=1.0), (IDS,))


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_keras_embedding(mask, dtype):
    ids = keras.Input((5,), dtype=dtype)
    model = keras.Model(ids, keras.layers.Embedding(9, 4, mask_zero=mask)(ids))
    assert kinds(check(model, IDS.astype(dtype)))[-1] == "Embedding"


def test_a_keras_mask_reaches_the_layer_that_uses_it():
    ids = keras.Input((5,), dtype="int32")
    found = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 4, mask_zero=True)(ids))
    check(keras.Model(ids, found), np.array([[3, 0, 1, 0, 0], [1, 2, 3, 4, 0]], np.int32))


def test_onnx_gather_of_rows_is_an_embedding():
    table = helper.make_tensor("table", TensorProto.FLOAT, (9, 4), rng.standard_normal(36))
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 5])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph([node], "g", inputs, outputs, [table]), ir_version=8)
    model.opset_import[0].version = 13
    assert kinds(check(model, IDS)) == ["Embedding"]


# --- free weights -----------------------------------------------------------------------------------------------------


def transformer_input(self, x):
    tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
    return self.head(self.inner.gamma * tokens * self.temperature)[:, 0]


def with_free_weights():
    inner = torch.nn.Module()
    inner.gamma = parameter(8)
    return module(
        transformer_input, token=parameter(1, 1, 8), positions=parameter(1, 7, 8, trainable=False), inner=inner,
        temperature=parameter(), head=torch.nn.Linear(8, 3),
    )  # fmt: skip


def test_a_free_weight_is_named_trainable_and_saved_in_keras(tmp_path):
    source = with_free_weights()
    graph = check(source, X)
    model = reloaded(transfer_graph(graph, "keras").model, tmp_path)
    flags = {v.path.partition("/")[0]: v.trainable for v in model.weights}
    assert flags == {"token": True, "positions": False, "inner__gamma": True, "temperature": True, "head": True}
    for batch in (1, 2, 7):
        x = rng.standard_normal((batch, 6, 8)).astype(np.float32)
        np.testing.assert_allclose(model.predict(x, verbose=0), source(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_free_weight_comes_back_from_keras_as_it_was(tmp_path):
    before = li.load(with_free_weights(), (X,))
    after = li.load(reloaded(transfer_graph(before, "keras").model, tmp_path))
    assert [n.name for n in after.nodes] == [n.name for n in before.nodes]
    assert all(a.op.matches(b.op) for a, b in zip(after.nodes, before.nodes, strict=True))
    found = {p.name: p for p in after.parameters()}
    for weight in before.parameters():
        if not weight.name.startswith("head"):
            assert found[weight.name].trainable == weight.trainable
            assert np.array_equal(found[weight.name].array(), weight.array())
    again = transfer_graph(after, "torch").model
    assert {"token", "positions", "inner.gamma", "temperature", "head.weight"} <= dict(again.named_parameters()).keys()


def test_a_free_weight_trains_in_keras():
    model = transfer_graph(li.load(with_free_weights(), (X,)), "keras").model
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}
    model.compile("sgd", "mse")
    model.fit(X, np.ones((2, 3), np.float32), verbose=0)
    changed = {
        v.path.partition("/")[0]
        for v in model.weights
        if not np.array_equal(before[v.path], keras.ops.convert_to_numpy(v))
    }
    assert changed == {"token", "inner__gamma", "temperature", "head"}


@pytest.mark.parametrize("framework", ["torch", "onnx"])
def test_a_free_weight_keeps_its_name(framework):
    before = li.load(with_free_weights(), (X,))
    after = li.load(transfer_graph(before, framework).model, (X,))
    scalars = {"temperature"} if framework == "onnx" else set()  # an ONNX initializer without axes is a constant
    assert {"token", "positions", "inner.gamma", "temperature"} <= {p.name for p in after.parameters()} | scalars


def test_two_weights_of_one_name_stay_two():
    """A kernel that a layer holds and a free weight of the name the layer gives its own."""
    inner = torch.nn.Linear(8, 8)
    source = module(lambda self, x: self.linear(x) + self.linear_weight, linear=inner, linear_weight=parameter(8))
    check(source, X)


def part(self, x):
    return x + self.positions[:, : x.shape[1]]


def lookup(self, x):
    return x + self.table(torch.arange(x.shape[1]))


PARTS = [
    (part, {"positions": parameter(1, 9, 8)}, 72),
    (lookup, {"table": torch.nn.Embedding(9, 8)}, 72),
    (
        lambda self, x: x + self.bias[self.index],
        {"bias": parameter(4, 8), "index": torch.tensor([0, 3, 3, 1, 0, 2])},
        32,
    ),
]


@pytest.mark.parametrize("framework", ["keras", "torch", "onnx"])
@pytest.mark.parametrize("forward, members, size", PARTS, ids=["slice", "lookup", "index"])
def test_a_weight_of_which_a_part_is_used_stays_whole(forward, members, size, framework):
    before = check(module(forward, **members), X, to=(framework,))
    model = transfer_graph(before, framework).model
    assert count(model, framework) == size
    after = li.load(model, (X,))
    assert kinds(after) == kinds(before)
    (old,), (new,) = before.parameters(), after.parameters()
    assert (new.name, new.trainable) == (old.name, old.trainable)
    assert np.array_equal(new.read().reshape(-1), old.read().reshape(-1))


def test_a_constant_goes_through_a_layer():
    """A table of sines through a Dense: no operand is symbolic, so Keras would compute it at once."""
    table = torch.from_numpy(rng.standard_normal((6, 8)).astype(np.float32))
    check(module(lambda self, x: x + self.layer(table), layer=torch.nn.Linear(8, 8)), X)


@pytest.mark.parametrize("framework", ["keras", "torch", "onnx"])
def test_a_sequence_of_open_length(framework):
    def forward(self, ids):
        length = ids.shape[1]
        x = self.tokens(ids) + self.positions(torch.arange(length))
        return x[:, : length // 2 + 1] + self.mask[:length, :length].sum() + x[:, length // 2].unsqueeze(1)

    mask = torch.tril(torch.ones(9, 9))
    source = module(forward, tokens=torch.nn.Embedding(9, 4), positions=torch.nn.Embedding(9, 4), mask=mask)
    model = li.convert(source, to=framework, example=(IDS,), input_shapes=[(None, None)])
    for batch, length in ((1, 3), (3, 9), (2, 1)):
        ids = rng.integers(0, 9, (batch, length))
        expected = source(torch.from_numpy(ids)).detach().numpy()
        np.testing.assert_allclose(li.run(model, [ids])[0], expected, rtol=1e-5, atol=1e-5)


# --- shared weights ---------------------------------------------------------------------------------------------------


def count(model, framework):
    """How many numbers a model holds."""
    if framework == "onnx":
        return sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == 1)
    weights = model.weights if framework == "keras" else model.parameters()
    return sum(int(np.prod(tuple(w.shape))) for w in weights)


def language_model(self, ids):
    return torch.nn.functional.linear(self.norm(self.embedding(ids)), self.embedding.weight)


def transposed_head(self, ids):
    return self.embedding(ids) @ self.embedding.weight.T + self.bias


def head_first(self, ids):
    """The matrix product is computed before the lookup that shares its table."""
    one = torch.nn.functional.one_hot(ids, 9).float() @ self.embedding.weight
    return one + self.embedding(ids)


SHARING = [
    (language_model, {"norm": torch.nn.LayerNorm(4)}, 36 + 8),
    (transposed_head, {"bias": parameter(9)}, 36 + 9),
    (head_first, {}, 36),
]


@pytest.mark.parametrize("framework", ["keras", "torch", "onnx"])
@pytest.mark.parametrize("forward, members, size", SHARING, ids=[row[0].__name__ for row in SHARING])
def test_tied_weights_stay_tied(forward, members, size, framework):
    torch.manual_seed(0)
    source = module(forward, embedding=torch.nn.Embedding(9, 4), **members)
    graph = check(source, IDS, to=(framework,))
    model = transfer_graph(graph, framework).model
    assert count(model, framework) == size
    again = li.load(model, (IDS,))
    back = transfer_graph(again, "torch").model
    assert count(back, "torch") == size


def test_two_layers_of_one_kernel_share_it():
    first, second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    second.weight = first.weight
    graph = check(module(lambda self, x: self.second(torch.relu(self.first(x))), first=first, second=second), X)
    for framework in ("keras", "torch", "onnx"):
        assert count(transfer_graph(graph, framework).model, framework) == 64 + 8 + 8


def test_two_layers_of_the_same_weights_are_one_layer_in_keras():
    first, second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    second.weight, second.bias = first.weight, first.bias
    graph = li.load(module(lambda self, x: self.second(torch.relu(self.first(x))), first=first, second=second), (X,))
    model = transfer_graph(graph, "keras").model
    assert sum(isinstance(layer, keras.layers.Dense) for layer in model.layers) == 1
    assert count(model, "keras") == 64 + 8


def test_a_shared_layer_comes_through_onnx_shared():
    layer = torch.nn.Linear(8, 8)
    graph = li.load(module(lambda self, x: self.layer(torch.relu(self.layer(x))), layer=layer), (X,))
    onnx = transfer_graph(graph, "onnx").model
    assert count(onnx, "onnx") == 64 + 8
    assert count(transfer_graph(li.load(onnx), "keras").model, "keras") == 64 + 8


def test_parts_of_one_weight_are_layers_of_their_own():
    def forward(self, x):
        q, k = self.both.chunk(2)
        return torch.nn.functional.linear(x, q) * torch.nn.functional.linear(x, k)

    graph = check(module(forward, both=parameter(10, 8)), X)
    model = transfer_graph(graph, "keras").model
    assert sum(isinstance(layer, keras.layers.Dense) for layer in model.layers) == 2


# --- constants --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_a_large_constant_is_no_text_in_keras(dtype, tmp_path):
    numbers = rng.standard_normal((40, 50)) if dtype == "float32" else rng.integers(0, 2, (40, 50))
    held = torch.from_numpy(numbers.astype(dtype))

    def forward(self, x):
        return torch.where(held, x, -x) if dtype == "bool" else x * held

    x = rng.standard_normal((2, 40, 50)).astype(np.float32)
    graph = check(module(forward), x)
    model = transfer_graph(graph, "keras").model
    assert not model.trainable_weights and len(model.to_json()) < 8000
    again = li.load(reloaded(model, tmp_path))
    assert not again.parameters()
    assert kinds(again) == kinds(graph)


def test_R52_an_eager_tensor_that_keras_captures_is_a_constant():
    x = keras.Input((5,))
    model = keras.Model(
        x, keras.ops.add(x, keras.ops.ones(5)) * keras.ops.convert_to_tensor(np.arange(5.0, dtype="float32"))
    )
    graph = check(model, rng.standard_normal((2, 5)).astype(np.float32))
    assert len(graph.inputs) == 1 and not graph.parameters()
