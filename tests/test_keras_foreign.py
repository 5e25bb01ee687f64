"""Layers, functions and models of the user's own: opened, read by an importer of the user's, or refused with a reason."""

import inspect

import keras
import numpy as np
import onnx
import pytest

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.op import IMPORTERS
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.verification import verify_conversion

layers, ops = keras.layers, keras.ops
BACKEND = keras.backend.backend()


@pytest.fixture(autouse=True)
def registered():
    """What a test registers is gone afterwards."""
    before = {key: list(rows) for key, rows in IMPORTERS.items()}
    yield
    IMPORTERS.clear()
    IMPORTERS.update(before)


def model_of(layer, *shape, dtype=None):
    given = keras.Input(shape or (5,), dtype=dtype)
    return keras.Model(given, layer(given))


def assert_converts(model, example=None, **options):
    for to in ("onnx", "torch", "keras"):
        graph = li.load(model, example, **options)
        report = verify_conversion(transfer_graph(graph, to))
        assert report.passed, f"{to}: {report}"
    return graph


def unsupported(model, example=None):
    with pytest.raises(li.Unsupported) as caught:
        li.load(model, example)
    return str(caught.value)


def line_of(function, text):
    """file:line of the first line with this text in a function."""
    lines, start = inspect.getsourcelines(function)
    return f"test_keras_foreign.py:{start + next(i for i, line in enumerate(lines) if text in line)}"


# opened


class Holder(layers.Layer):
    """Variables and layers in every kind of container."""

    def __init__(self):
        super().__init__()
        self.inner = {"a": layers.Dense(3), "b": [layers.Dense(3), layers.LeakyReLU(0.1)]}
        self.listed = []

    def build(self, shape):
        for i in range(2):
            self.listed.append(self.add_weight(shape=(3,), name=f"w{i}", initializer="ones"))
        self.pair = (self.listed[0], self.listed[1])
        self.named = {"x": [self.listed[0]]}

    def call(self, x):
        y = self.inner["b"][1](self.inner["b"][0](x) + self.inner["a"](x))
        return y * self.listed[0] + self.pair[1] * self.named["x"][0]


def test_weights_in_lists_tuples_and_dicts_stay_weights():
    graph = assert_converts(model_of(Holder()))
    names = [p.name for p in graph.parameters()]
    assert {"holder.w0", "holder.w1"} <= set(names)


class Structured(layers.Layer):
    def call(self, given, *, scale=1.0, other=None):
        total = given["p"] * scale + given["q"][0] * given["q"][1]
        return {"sum": total if other is None else total + other, "parts": (given["p"], [total - 1])}


def test_nested_inputs_keyword_calls_and_nested_outputs_keep_their_names():
    p, q, r = (keras.Input((5,), name=name) for name in "pqr")
    given = {"p": p, "q": [q, r]}
    graph = assert_converts(keras.Model(given, Structured()(given, scale=2.5, other=r)))
    assert [v.name for v in graph.inputs] == ["p", "q", "r"]
    assert sorted(graph.output_names) == ["parts_0", "parts_1_0", "sum"]


class ClassToken(keras.Model):
    """A weight of the model's own, repeated for every row."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self.token = self.add_weight(shape=(1, 1, 4), name="token", initializer="random_normal")

    def call(self, x, training=False):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, 4))
        return self.dense(ops.concatenate([token, x], axis=1)[:, 0])


def test_a_subclassed_model_has_weights_of_its_own():
    graph = assert_converts(ClassToken(), (np.ones((2, 6, 4), "float32"),))
    assert "token" in [p.name for p in graph.parameters()]


class Block(layers.Layer):
    """A Sequential that is only built when the block is."""

    def __init__(self):
        super().__init__()
        self.body = keras.Sequential([layers.Dense(4, activation="relu"), layers.Dropout(0.5), layers.Dense(2)])
        self.attention = layers.MultiHeadAttention(2, 4)

    def call(self, x, training=None):
        return self.body(self.attention(x, x, training=training), training=training)


def test_a_sequential_inside_a_layer_is_read_at_the_size_it_is_called_with():
    assert_converts(model_of(Block(), 6, 4))
    assert_converts(model_of(Block(), None, 4))


class Masked(layers.Layer):
    supports_masking = True

    def call(self, x, mask=None):
        return x if mask is None else ops.where(ops.expand_dims(mask, -1), x, 0.0)


def test_a_layer_receives_the_mask_that_it_asks_for():
    given = keras.Input((6,), dtype="int32")
    assert_converts(keras.Model(given, Masked()(layers.Embedding(5, 4, mask_zero=True)(given))))


class Twice(keras.Operation):
    def call(self, x):
        return x * 2.0

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_an_operation_of_the_users_own_is_opened():
    assert_converts(model_of(Twice()))


class OwnLstm(layers.LSTM):
    """Other defaults; all that computes is Keras'."""

    def __init__(self, units, **settings):
        super().__init__(units, **{"recurrent_activation": "tanh", **settings})


class LeakyReLU(layers.LeakyReLU):
    """Keras' name, another meaning."""

    def call(self, x):
        return ops.where(x < 0, x * self.negative_slope * 2.0, x)


def test_a_subclass_is_its_base_only_where_it_computes_the_same():
    graph = assert_converts(model_of(OwnLstm(3, go_backwards=True), 4, 2))
    assert "Lstm" in {type(n.op).__name__ for n in graph.nodes}
    graph = assert_converts(model_of(LeakyReLU(0.25)))
    assert {n.op.negative_slope for n in graph.nodes if isinstance(n.op, LeakyRelu)} <= {0.5}


# importers of the user's own


def _shifted(x):
    return keras.ops.numpy.where(x < 0, x * 0.3, x)


class Foreign(layers.Layer):
    """Not traceable: it asks for numbers."""

    def __init__(self, slope, **settings):
        super().__init__(**settings)
        self.slope = slope

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            raise TypeError("no symbols here")
        return ops.leaky_relu(x, self.slope)


@pytest.mark.parametrize("how", ["operator", "function"])
def test_a_users_importer_reads_a_layer(how):
    model = model_of(Foreign(0.15))
    text = unsupported(model)
    assert 'write @imports("keras", "test_keras_foreign.Foreign")' in text.replace("tests.", "")
    assert line_of(Foreign.call, "raise TypeError") + ": TypeError: no symbols here" in text
    if how == "operator":
        li.imports("keras", Foreign)(lambda layer, x: LeakyRelu(negative_slope=layer.slope)(x))
    else:
        li.imports("keras", Foreign)(lambda layer, x: layer.call(lambda t: ops.leaky_relu(t, layer.slope), x))
    graph = assert_converts(model)
    assert [n.op for n in graph.nodes] == [LeakyRelu(negative_slope=0.15)]


def test_an_importer_may_be_defined_anew_and_not_twice():
    def register(slope):
        def foreign(layer, x):
            return LeakyRelu(negative_slope=slope)(x)

        li.imports("keras", Foreign)(foreign)

    register(0.5)
    register(0.15)  # a notebook's cell that is run again
    assert_converts(model_of(Foreign(0.15)))
    with pytest.raises(ValueError, match="imported twice"):
        li.imports("keras", Foreign)(lambda layer, x: x)


def test_a_wrong_importer_is_found_out():
    li.imports("keras", Foreign)(lambda layer, x: LeakyRelu(negative_slope=0.5)(x))
    report = verify_conversion(transfer_graph(li.load(model_of(Foreign(0.15))), "onnx"))
    assert not report.passed


def test_a_users_importer_reads_an_operator_of_another_domain():
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["n", 3]) for name in "xy")
    node = onnx.helper.make_node("Leak", ["x"], ["y"], domain="mine", slope=0.25)
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("mine", 1)]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=10)
    with pytest.raises(li.Unsupported, match=r'write @imports\("onnx", "mine.Leak"\)'):
        li.load(model)
    li.imports("onnx", "mine.Leak")(lambda node, x: LeakyRelu(negative_slope=float(node.slope))(x))
    assert [n.op for n in li.load(model).nodes] == [LeakyRelu(negative_slope=0.25)]


def test_a_users_importer_reads_a_custom_operator_of_torch():
    import torch

    @torch.library.custom_op("leaky_tests::leak", mutates_args=())
    def leak(x: torch.Tensor, slope: float) -> torch.Tensor:
        return torch.where(x < 0, x * slope, x)

    leak.register_fake(lambda x, slope: torch.empty_like(x))

    class Net(torch.nn.Module):
        def forward(self, x):
            return leak(x, 0.25)

    example = (torch.ones(2, 3),)
    with pytest.raises(li.Unsupported, match=r"leaky_tests\.leak\.default"):
        li.load(Net(), example)
    li.imports("torch", torch.ops.leaky_tests.leak.default)(lambda call, x, slope: LeakyRelu(negative_slope=slope)(x))
    report = verify_conversion(transfer_graph(li.load(Net(), example), "onnx"))
    assert report.passed, str(report)


# refused


class Tf(layers.Layer):
    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        import tensorflow as tf

        return tf.nn.leaky_relu(x, 0.1)


class Torch(layers.Layer):
    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        import torch

        return torch.nn.functional.leaky_relu(x, 0.1)


class Asks(layers.Layer):
    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        return x if ops.sum(x) > 0 else -x


@pytest.mark.parametrize("kind, text", [(Tf, "calls tf.*"), (Torch, "calls torch.*"), (Asks, "boolean")])
def test_what_cannot_be_traced_is_refused_with_its_line(kind, text):
    found = unsupported(model_of(kind(name="mine")))
    line = line_of(kind.call, "if ops.sum" if kind is Asks else "return")
    assert f"at keras {kind.__name__} 'mine'" in found and line in found and text in found, found


def test_every_layer_that_cannot_be_traced_is_listed():
    found = unsupported(keras.Sequential([keras.Input((3,)), Tf(), layers.Dense(2), Torch()]))
    assert "2 operators" in found and ".Tf" in found and ".Torch" in found


class Noisy(layers.Layer):
    def call(self, x):
        return x + keras.random.normal(ops.shape(x)[1:])


class NoisyInTraining(layers.Layer):
    def call(self, x, training=False):
        return x + keras.random.normal(ops.shape(x)) if training else x * 2.0


def test_random_numbers_are_refused_where_inference_draws_them():
    with pytest.raises(li.Refused, match=r"random numbers at keras Noisy 'noisy'.*training"):
        li.load(model_of(Noisy()))
    assert_converts(model_of(NoisyInTraining()))
    keras.random.normal((2,))  # outside, they are drawn as ever


def test_a_models_call_that_cannot_be_traced_is_refused_with_its_line():
    class Net(keras.Model):
        def call(self, x):
            return ops.convert_to_tensor(np.tanh(ops.convert_to_numpy(x)))

    with pytest.raises(li.Usage, match=r"cannot be traced: test_keras_foreign.py:\d+"):
        li.load(Net(), (np.ones((2, 3), "float32"),))


def test_an_activation_of_another_library_is_refused():
    import torch

    dense = layers.Dense(2)
    model = model_of(dense)
    dense.activation = torch.tanh
    with pytest.raises(li.Refused, match=r"the function .*tanh"):
        li.load(model)


def test_a_lambda_of_its_owner_is_opened():
    assert_converts(model_of(layers.Lambda(lambda x, by: ops.tanh(x) * by, arguments={"by": 3.0})))


def test_a_sequential_without_an_input_asks_for_its_shapes():
    model = keras.Sequential([layers.Dense(3), layers.LeakyReLU(0.3)])
    with pytest.raises(li.Usage, match="input_shapes"):
        li.load(model)
    assert_converts(model, input_shapes=[(None, 5)])


class Numbered(layers.Layer):
    """Adds each row's place in the batch, three times, and the same row of ones and twos to all."""

    def call(self, x):
        rows = ops.shape(x)[0]
        places = ops.reshape(ops.arange(rows, dtype="int32") * 3, (rows, 1))
        return x + ops.cast(places, x.dtype) + ops.ones((rows, 1)) * ops.convert_to_tensor([[1.0, 2, 1, 2, 1]])


class Squares(layers.Layer):
    """What grows with the batch, but not evenly."""

    def call(self, x):
        rows = ops.shape(x)[0]
        return x + ops.cast(ops.reshape(ops.square(ops.arange(rows)), (rows, 1)), x.dtype)


def test_an_array_as_long_as_the_batch_grows_with_it():
    model = model_of(Numbered())
    network = li.convert(model, to="onnx")
    for batch in (1, 2, 7, 12):
        x = np.linspace(-1, 1, batch * 5, dtype=np.float32).reshape(batch, 5)
        (found,) = li.run(network, [x])
        places = 3 * np.arange(batch, dtype=np.float32).reshape(-1, 1)
        np.testing.assert_array_equal(found, x + places + np.array([1, 2, 1, 2, 1], np.float32))


def test_an_array_that_grows_unevenly_is_refused():
    with pytest.raises(li.Refused, match="depend on the batch"):
        li.load(model_of(Squares()))
