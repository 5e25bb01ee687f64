"""Multi-head attention is found in whatever it was written as, with its weights to the bit; and nowhere else."""

import keras
import numpy as np
import pytest
import torch
from family_checks import kinds

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.verification import verify_conversion

rng = np.random.default_rng(21)


def verified(source, to, *example):
    """What a model is converted to, once its numbers are proved."""
    conversion = transfer_graph(li.load(source, *example), to)
    report = verify_conversion(conversion)
    assert report.passed, str(report)
    return conversion


def network(layer, *, features=8, length=5, mask=None, other=None, **call):
    """A Keras layer between its inputs, all its numbers random."""
    inputs = [keras.Input((length, features))]
    if other:
        inputs.append(keras.Input(other))
    if mask:
        call["attention_mask"] = keras.Input(mask, dtype="bool")
    data = (inputs[0], inputs[-1])
    model = keras.Model([*inputs, *([call["attention_mask"]] if mask else [])], layer(*data, **call))
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape) * 0.5)
    return model


def multi(heads=2, size=4, **settings):
    return keras.layers.MultiHeadAttention(heads, size, name="mha", **settings)


def grouped(heads, shared, **settings):
    return keras.layers.GroupQueryAttention(4, heads, shared, name="gqa", **settings)


NETWORKS = {
    "plain": lambda: network(multi()),
    "sizes": lambda: network(multi(3, 5, value_dim=7, output_shape=6), other=(4, 9)),
    "no_bias": lambda: network(multi(use_bias=False), length=None),
    "causal": lambda: network(multi(), length=None, use_causal_mask=True),
    "mask": lambda: network(multi(size=3), mask=(5, 5)),
    "mask_and_causal": lambda: network(multi(), mask=(5, 5), use_causal_mask=True),
    "mask_that_drops": lambda: network(multi(dropout=0.2), other=(4, 8), mask=(5, 4)),
    "shared": lambda: network(grouped(4, 2)),
    "one_for_all": lambda: network(grouped(6, 1), use_causal_mask=True),
}


@pytest.mark.parametrize("via", ["torch", "onnx", "keras"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_comes_back_with_its_numbers_and_names(name, via):
    model = NETWORKS[name]()
    there = verified(model, via).model
    back = verified(there, "keras").model
    (layer,) = (one for one in back.layers if "Attention" in type(one).__name__)
    assert type(layer) is type(model.layers[-1])
    expected, received = layer.get_config(), model.layers[-1].get_config()
    for field in ("num_heads", "key_dim", "head_dim", "num_query_heads", "num_key_value_heads", "use_bias"):
        assert expected.get(field) == received.get(field)
    numbers = {v.path: v for v in back.weights}
    assert numbers.keys() == {v.path for v in model.weights}
    for variable in model.weights:
        assert numbers[variable.path].trainable
        ours, theirs = (keras.ops.convert_to_numpy(v) for v in (variable, numbers[variable.path]))
        assert np.array_equal(ours, theirs), variable.path


class Attending(torch.nn.Module):
    def __init__(self, call=None, **settings):
        super().__init__()
        self.attention, self.call = torch.nn.MultiheadAttention(8, 2, **settings), call or {}

    def forward(self, query, key=None, value=None):
        key = query if key is None else key
        return self.attention(query, key, key if value is None else value, **self.call)[0]


BEFORE = torch.ones(5, 5, dtype=torch.bool).triu(1)
X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
CALLS = {
    "plain": ({}, {"need_weights": False}),
    "weights": ({}, {}),
    "no_bias": ({"bias": False}, {}),
    "causal": ({}, {"attn_mask": BEFORE, "is_causal": True, "need_weights": False}),
    "numbers": ({}, {"attn_mask": torch.nn.Transformer.generate_square_subsequent_mask(5)}),
    "pairs": ({}, {"attn_mask": BEFORE.flip(0, 1), "need_weights": False}),
}


@pytest.mark.parametrize("first", [True, False], ids=["batch_first", "time_first"])
@pytest.mark.parametrize("name", CALLS)
def test_a_module_becomes_a_layer_and_comes_back_with_its_state(name, first):
    settings, call = CALLS[name]
    model = Attending(call, batch_first=first, **settings).eval()
    x = (X if first else X.transpose(0, 1).contiguous(),)
    there = verified(model, "keras", x)
    assert kinds(there.graph).count("MultiHeadAttention") == 1
    assert set(kinds(there.graph)) <= {"MultiHeadAttention", "Transpose"}
    layer = there.model.get_layer("attention")
    assert "Dense" not in str([type(one).__name__ for one in there.model.layers])
    assert layer.query_dense.kernel.shape == (8, 2, 4)
    back = verified(there.model, "torch").model
    state = back.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    assert isinstance(back.get_submodule("attention"), torch.nn.MultiheadAttention)


def test_projections_of_other_sizes():
    model = Attending(kdim=6, vdim=7, batch_first=True).eval()
    example = (X, torch.randn(2, 4, 6), torch.randn(2, 4, 7))
    back = verified(verified(model, "keras", example).model, "torch").model
    assert back.state_dict().keys() == model.state_dict().keys()


def test_a_padding_mask():
    class Padded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x, padded):
            return self.attention(x, x, x, key_padding_mask=padded, need_weights=False)[0]

    padded = torch.tensor([[False] * 5, [False, False, True, True, True]])
    there = verified(Padded().eval(), "keras", (X, padded))
    assert kinds(there.graph).count("MultiHeadAttention") == 1


@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_layer_is_layers_only(norm_first):
    model = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first).eval()
    there = verified(verified(model, "onnx", (X,)).model, "keras")
    found = [type(layer).__name__ for layer in there.model.layers]
    assert sorted(set(found)) == ["Add", "Dense", "InputLayer", "LayerNormalization", "MultiHeadAttention", "ReLU"]


class ByHand(torch.nn.Module):
    """Attention of four linear layers; `factor` is what the usual scale is multiplied with."""

    def __init__(self, factor=1.0, shown=False, mixed=False, turned=False):
        super().__init__()
        self.q, self.k, self.v, self.o = (torch.nn.Linear(8, 8, bias=not (mixed and i == 1)) for i in range(4))
        self.factor, self.shown, self.turned = factor, shown, turned

    def forward(self, x):
        q, k, v = (f(x).reshape(x.shape[0], 5, 2, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        q = q[:, [1, 0]] if self.turned else q
        weights = (q @ k.transpose(2, 3) * (self.factor / 2)).softmax(-1)
        y = self.o((weights @ v).transpose(1, 2).reshape(x.shape[0], 5, 8))
        return (y, weights) if self.shown else y


def test_a_users_own_linear_layers_stay_what_they_are():
    back = verified(verified(ByHand(), "keras", (X,)).model, "torch").model
    assert back.state_dict().keys() == ByHand().state_dict().keys()


def through_onnx(model):
    return verified(verified(model.eval(), "onnx", (X,)).model, "keras")


def test_a_file_of_separate_products():
    there = through_onnx(ByHand())
    assert set(kinds(there.graph)) == {"MultiHeadAttention"}


@pytest.mark.parametrize("settings", [{"factor": 1.5}, {"factor": 1 + 1e-4}, {"shown": True}, {"mixed": True}], ids=str)
def test_what_the_layer_does_not_say_stays(settings):
    assert "MultiHeadAttention" not in kinds(through_onnx(ByHand(**settings)).graph)


def test_heads_in_another_order_are_rows_of_the_kernel_in_another_order():
    assert set(kinds(through_onnx(ByHand(turned=True)).graph)) == {"MultiHeadAttention"}


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_and_a_mask_that_shows_nothing(batch):
    model = network(multi(dropout=0.1), mask=(5, 5))
    back = verified(verified(model, "onnx").model, "keras").model
    x = rng.standard_normal((batch, 5, 8)).astype(np.float32)
    for mask in (np.zeros((batch, 5, 5), bool), rng.random((batch, 5, 5)) < 0.3):
        expected, received = (li.run(m, [x, mask])[0] for m in (model, back))
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def test_a_saved_layer_needs_nothing_of_this_package(tmp_path):
    there = verified(Attending(batch_first=True).eval(), "keras", (X,)).model
    there.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    x = X.numpy()
    np.testing.assert_array_equal(li.run(again, [x])[0], li.run(there, [x])[0])


@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_source_code_says_the_layer(framework, tmp_path, monkeypatch):
    model = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    path = tmp_path / f"encoder_in_{framework}.py"
    assert li.convert(model, path, example=X, framework=framework).passed
    expected = {
        "keras": 'layers.MultiHeadAttention(2, 4, name="self_attn")(inputs, inputs)',
        "torch": "nn.MultiheadAttention(8, 2, batch_first=True)",
    }
    assert expected[framework] in path.read_text()
    monkeypatch.syspath_prepend(tmp_path)
    network = __import__(path.stem).load()
    received = li.run(network, [X.numpy()])[0]
    np.testing.assert_allclose(received, model(X).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_source_code_keeps_what_is_not_usual(tmp_path, monkeypatch):
    model = Attending(kdim=6, vdim=6, bias=False, batch_first=True).eval()
    model.attention.out_proj.weight.requires_grad_(False)
    assert li.convert(model, tmp_path / "attending.py", example=(X, torch.randn(2, 4, 6))).passed
    monkeypatch.syspath_prepend(tmp_path)
    state = dict(__import__("attending").load().named_parameters())
    assert state.keys() == dict(model.named_parameters()).keys()
    assert [p.requires_grad for p in state.values()] == [p.requires_grad for p in model.parameters()]


def test_source_code_of_a_long_call_keeps_how_it_is_called(tmp_path):
    model = network(grouped(4, 2), use_causal_mask=True)
    path = tmp_path / "grouped.py"
    assert li.convert(model, path, framework="keras").passed
    assert "layers.GroupQueryAttention(4, 4, 2" in path.read_text()
    assert "use_causal_mask=True" in path.read_text()
