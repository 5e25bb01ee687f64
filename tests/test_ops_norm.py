"""Normalisation in every native spelling, and that its bounds notice what goes wrong."""

import dataclasses

import keras
import numpy as np
import pytest
import torch
from family_checks import ALL, check, kinds, onnx_model
from native import Applied

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused
from leaky_interop.numeric import compare, sum_limit
from leaky_interop.op import CASES
from leaky_interop.ops.group_norm import GroupNorm
from leaky_interop.ops.layer_norm import LayerNorm, RMSNorm
from leaky_interop.ops.norm import BatchNorm, BatchStatisticsNorm

rng = np.random.default_rng(11)
X = rng.uniform(-1, 3, (2, 4, 5, 6)).astype(np.float32)
TORCH = keras.backend.backend() == "torch"


def vector(size, low=-1.5, high=2.5):
    return rng.uniform(low, high, size).astype(np.float32)


def keras_model(layer, shape=X.shape[1:], **call):
    """One layer in a model, its weights drawn; statistics stay positive."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs, **call))
    for variable in model.weights:
        low = 0.1 if "variance" in variable.path else -1.5
        variable.assign(vector(variable.shape, low))
    return model


def drawn(module):
    """A PyTorch module in evaluation, its weights and statistics drawn."""
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.ndim:
                tensor.copy_(torch.from_numpy(vector(tuple(tensor.shape), 0.1 if "var" in name else -1.5)))
    return module.eval()


# --- BatchNorm --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 1, 2, 3])
def test_keras_normalises_any_axis(axis):
    graph = check(keras_model(keras.layers.BatchNormalization(axis)), X)
    assert kinds(graph).count("BatchNorm") == 1


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_keras_batch_norm_of_any_rank_needs_no_transposes_in_keras(rank):
    x = rng.standard_normal((2, 3, 4, 5, 6)[:rank]).astype(np.float32)
    model = keras_model(keras.layers.BatchNormalization(), x.shape[1:])
    check(model, x)
    names = [type(layer).__name__ for layer in li.convert(model, to="keras").layers]
    assert names == ["InputLayer", "BatchNormalization"]


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
def test_absent_weights_come_back_absent_from_everywhere(center, scale):
    model = keras_model(keras.layers.BatchNormalization(center=center, scale=scale))
    check(model, X)
    for framework in ALL:
        back = li.load(li.convert(model, to=framework), (X,))
        (node,) = (n for n in back.nodes if isinstance(n.op, BatchNorm))
        assert (node.inputs[1] is not None, node.inputs[2] is not None) == (scale, center), framework


def test_filled_weights_are_no_parameters_to_train():
    module = li.convert(keras_model(keras.layers.BatchNormalization(center=False, name="bn")), to="torch")
    assert [name for name, _ in module.named_parameters()] == ["bn.weight"]
    assert set(module.state_dict()) - {"bn.num_batches_tracked"} == {"bn.weight", "bn.running_mean", "bn.running_var"}


@pytest.mark.parametrize("momentum", [0.99, 0.9, 0.25])
def test_R22_R23_settings_are_copied_and_turned_around(momentum):
    model = keras_model(keras.layers.BatchNormalization(momentum=momentum, epsilon=0.0125))
    module = next(m for m in li.convert(model, to="torch").modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert module.eps == 0.0125
    assert module.momentum == pytest.approx(1 - momentum, abs=1e-12)
    node = next(n for n in li.convert(model, to="onnx").graph.node if n.op_type == "BatchNormalization")
    found = {a.name: a.f for a in node.attribute}
    assert found["epsilon"] == np.float32(0.0125)
    assert found["momentum"] == np.float32(momentum)
    back = next(layer for layer in li.convert(li.convert(model, to="onnx"), to="keras").layers if layer.weights)
    assert (back.momentum, back.epsilon) == (momentum, 0.0125)


def test_R24_weights_keep_their_places():
    model = keras_model(keras.layers.BatchNormalization(name="bn"))
    gamma, beta, mean, variance = (keras.ops.convert_to_numpy(w) for w in model.get_layer("bn").weights)
    state = {k: v.numpy() for k, v in li.convert(model, to="torch").state_dict().items()}
    for name, array in (("weight", gamma), ("bias", beta), ("running_mean", mean), ("running_var", variance)):
        np.testing.assert_array_equal(state[f"bn.{name}"], array)


def test_R25_what_training_keeps_of_the_variance_is_noted():
    sources = {"keras": keras_model(keras.layers.BatchNormalization()), "torch": drawn(torch.nn.BatchNorm2d(4))}
    sources["onnx"] = li.convert(sources["keras"], to="onnx")
    for source, model in sources.items():
        graph = li.load(model, (X,))
        for target in ALL:
            notes = transfer_graph(graph, target).graph.notes
            assert any("n / (n - 1)" in n for n in notes) == ((source == "torch") != (target == "torch")), (source, target)
            graph.notes.clear()


def test_R26_a_convolution_before_it_is_left_alone():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs)))
    for framework in ALL:
        back = li.load(li.convert(model, to=framework), (np.zeros((2, 8, 8, 3), np.float32),))
        assert [k for k in kinds(back) if k != "Transpose"] == ["Conv", "BatchNorm"], framework


@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 5), X.shape])
@pytest.mark.parametrize("affine", [True, False])
def test_R27_batch_statistics_are_never_frozen(shape, affine):
    x = rng.uniform(-1, 3, shape).astype(np.float32)
    kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d}[len(shape)]
    graph = check(drawn(kind(4, eps=0.01, affine=affine, track_running_stats=False)), x)
    assert kinds(graph) == ["BatchStatisticsNorm"]
    one = graph.run(x)[0][:1]
    assert np.abs(graph.run(x[:1])[0] - one).max() > 0.05, "a sample alone has other statistics"


def test_R27_running_statistics_that_training_ignores():
    class Training(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(4))
            self.register_buffer("variance", torch.ones(4))

        def forward(self, x):
            return torch.nn.functional.batch_norm(x, self.mean.clone(), self.variance.clone(), training=True, eps=0.01)

    assert kinds(check(Training(), X)) == ["BatchStatisticsNorm"]


def test_momentum_none_stays_an_average_in_torch_and_is_noted_in_keras():
    module = drawn(torch.nn.BatchNorm2d(4, momentum=None))
    graph = check(module, X)
    assert graph.nodes[0].op.momentum is None
    back = li.convert(module, to="torch", example=(X,))
    assert next(m for m in back.modules() if isinstance(m, torch.nn.BatchNorm2d)).momentum is None


@pytest.mark.parametrize("frozen", ["layer", "nothing"])
def test_frozen_weights_stay_frozen(frozen):
    layer = keras.layers.BatchNormalization(name="bn")
    model = keras_model(layer)
    layer.trainable = frozen != "layer"
    for framework in ALL:
        back = li.load(li.convert(model, to=framework), (X,))
        flags = [p.trainable for p in back.parameters()]
        assert flags == [frozen != "layer"] * 2 + [False] * 2, framework


def test_mixed_precision_computes_in_float32():
    inputs = keras.Input(X.shape[1:], dtype="float16")
    model = keras.Model(inputs, keras.layers.BatchNormalization(dtype="mixed_float16")(inputs))
    graph = check(model, X.astype(np.float16))
    assert [k for k in kinds(graph) if k != "Transpose"] == ["Cast", "BatchNorm", "Cast"]


def test_statistics_of_a_mask_are_a_matter_of_training():
    inputs = keras.Input((5, 6))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Masking()(inputs)))
    x = rng.standard_normal((2, 5, 6)).astype(np.float32)
    x[:, 3:] = 0
    check(model, x)


@pytest.mark.parametrize("opset", [1, 6, 7, 9, 14, 15])
def test_every_opset_of_batch_normalization(opset):
    scale, bias, mean, variance = vector(4), vector(4), vector(4), vector(4, 0.1)
    more = {"is_test": 1} if opset < 7 else {}
    more |= {"consumed_inputs": [0, 0, 0, 1, 1]} if opset == 1 else {}
    more |= {"epsilon": 0.01, "momentum": 0.8}
    model = onnx_model("BatchNormalization", [X], [scale, bias, mean, variance], opset=opset, **more)
    shaped = [a.reshape(4, 1, 1) for a in (scale, bias, mean, variance)]
    wanted = (X - shaped[2]) / np.sqrt(shaped[3] + np.float32(0.01)) * shaped[0] + shaped[1]
    graph = check(model, X, given=[wanted] if opset < 7 else None)
    assert (graph.nodes[0].op.epsilon, graph.nodes[0].op.momentum) == (0.01, 0.8)
    assert [p.trainable for p in graph.parameters()] == [True, True, False, False]


@pytest.mark.parametrize("opset", [6, 8])
def test_spatial_0_has_statistics_of_every_element(opset):
    shape = X.shape[1:]
    scale, bias, mean, variance = vector(shape), vector(shape), vector(shape), vector(shape, 0.1)
    more = {"is_test": 1} if opset < 7 else {}
    model = onnx_model("BatchNormalization", [X], [scale, bias, mean, variance], opset=opset, spatial=0, **more)
    wanted = (X - mean) / np.sqrt(variance + np.float32(1e-5)) * scale + bias
    check(model, X, given=[wanted])


@pytest.mark.parametrize("opset", [7, 9, 15])
def test_training_mode_of_onnx_uses_the_batch(opset):
    more = {"outputs": 3, "training_mode": 1} if opset == 15 else {"outputs": 5}
    scale, bias, mean, variance = vector(4), vector(4), vector(4), vector(4, 0.1)
    model = onnx_model("BatchNormalization", [X], [scale, bias, mean, variance], opset=opset, **more)
    mean, variance = (f((0, 2, 3), keepdims=True) for f in (X.mean, X.var))
    wanted = (X - mean) / np.sqrt(variance + np.float32(1e-5)) * scale.reshape(4, 1, 1) + bias.reshape(4, 1, 1)
    assert kinds(check(model, X, given=[wanted])) == ["BatchStatisticsNorm"]


def every_result(model, *names):
    """A model whose further results are outputs too: of the same dtype as the first."""
    for name in names:
        model.graph.output.add().CopyFrom(model.graph.output[0])
        model.graph.output[-1].name = name
    return model


@pytest.mark.parametrize("momentum", [0.9, 0.25])
def test_statistics_that_onnx_updates_are_results_like_others(momentum):
    weights = [vector(4), vector(4), vector(4), vector(4, 0.1)]
    model = onnx_model("BatchNormalization", [X], weights, opset=15, outputs=3, training_mode=1, momentum=momentum)
    axes, kept = (0, 2, 3), np.float32(momentum)
    normal = (X - X.mean(axes, keepdims=True)) / np.sqrt(X.var(axes, keepdims=True) + np.float32(1e-5))
    wanted = [
        normal * weights[0].reshape(4, 1, 1) + weights[1].reshape(4, 1, 1),
        weights[2] * kept + X.mean(axes) * (1 - kept),
        weights[3] * kept + X.var(axes) * (1 - kept),
    ]
    check(every_result(model, "y1", "y2"), X, given=wanted)


def test_statistics_of_old_operator_sets_are_refused():
    model = onnx_model("BatchNormalization", [X], [vector(4)] * 4, opset=9, outputs=5)
    model.graph.output[0].name = "y1"
    with pytest.raises(Refused, match="running statistics"):
        li.load(model)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_layer_normalization_tells_its_statistics(axis):
    model = onnx_model("LayerNormalization", [X], [np.ones(X.shape[axis:], np.float32)], opset=17, outputs=3, axis=axis, epsilon=0.01)
    check(every_result(model, "y1", "y2"), X)


def test_statistics_of_layer_normalization_are_wide_where_the_data_are_not():
    half = X.astype(np.float16)
    model = every_result(onnx_model("LayerNormalization", [half], [np.ones(X.shape[-1], np.float16)], opset=17, outputs=3), "y1", "y2")
    for port in model.graph.output[1:]:
        port.type.tensor_type.elem_type = 1
    graph = li.load(model)
    results = graph.run(half)
    assert [r.dtype.name for r in results] == ["float16", "float32", "float32"]
    np.testing.assert_allclose(results[1][..., 0], half.astype(np.float32).mean(-1), rtol=1e-5, atol=1e-6)
    for target in ALL:
        for expected, received in zip(results, li.run(transfer_graph(graph, target).model, [half]), strict=True):
            np.testing.assert_allclose(received.astype(np.float32), expected.astype(np.float32), rtol=2e-3, atol=2e-3)


# --- LayerNorm, RMSNorm -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, [2, 3], [-2, -1], [1, 2, 3], *([] if TORCH else [1, [1, 2], [1, 3], 2])])
@pytest.mark.parametrize(("center", "scale"), [(True, True), (False, True), (True, False), (False, False)])
def test_keras_layer_normalization(axis, center, scale):
    layer = keras.layers.LayerNormalization(axis, epsilon=0.01, center=center, scale=scale)
    assert kinds(check(keras_model(layer), X)).count("LayerNorm") == 1


@pytest.mark.parametrize("axis", [-1, [2, 3]])
def test_keras_rms_normalization(axis):
    assert kinds(check(keras_model(keras.layers.RMSNormalization(axis, epsilon=0.01)), X)).count("RMSNorm") == 1


@pytest.mark.skipif(TORCH, reason="Keras normalises over the wrong axis there on the torch backend")
def test_keras_scales_the_last_axis_whatever_it_normalises():
    x = rng.standard_normal((2, 4, 3, 4)).astype(np.float32)
    check(keras_model(keras.layers.RMSNormalization(1, epsilon=0.01), x.shape[1:]), x)


def test_functions_of_keras_take_its_own_epsilon():
    inputs = keras.Input((5,))
    x = (rng.standard_normal((2, 5)) * 1e-3).astype(np.float32)
    for function in (keras.ops.layer_normalization, keras.ops.rms_normalization):
        check(keras.Model(inputs, function(inputs)), x)


def test_a_deviation_around_a_mean_that_is_not_subtracted():
    with pytest.warns(UserWarning, match="deprecated"):
        model = keras_model(keras.layers.LayerNormalization(rms_scaling=True))
        check(model, X)


@pytest.mark.parametrize("affine", [{}, {"bias": False}, {"elementwise_affine": False}])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6)])
def test_torch_layer_norm(shape, affine):
    assert kinds(check(drawn(torch.nn.LayerNorm(shape, eps=0.01, **affine)), X)) == ["LayerNorm"]


@pytest.mark.parametrize("function", [torch.nn.functional.layer_norm, torch.nn.functional.rms_norm])
def test_weights_that_are_computed_and_transposed(function):
    weight = rng.standard_normal((5, 4)).astype(np.float32)
    check(Applied(lambda x, w: function(x, (4, 5), w.transpose(0, 1))), rng.standard_normal((2, 3, 4, 5)).astype(np.float32), weight)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_epsilon_left_out_is_the_dtypes_own(dtype):
    module = drawn(torch.nn.RMSNorm(6)).to(getattr(torch, dtype))
    x = (X * (1e-3 if dtype != "float64" else 1e-8)).astype(dtype)
    check(module, x, to=("torch", "onnx"))


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_onnx_layer_normalization(axis, bias):
    shape = X.shape[axis % 4 :]
    model = onnx_model("LayerNormalization", [X], [vector(shape), vector(shape) if bias else None], opset=17, axis=axis)
    assert kinds(check(model, X)) == ["LayerNorm"]


def test_an_absent_bias_that_is_named_empty_does_not_end_the_process():
    model = onnx_model("LayerNormalization", [X], [np.ones(X.shape[-1], np.float32)], opset=17, axis=-1)
    model.graph.node[0].input.append("")
    check(model, X)


def test_onnx_rms_normalization():
    model = onnx_model("RMSNormalization", [X], [vector((5, 6))], opset=23, axis=-2, epsilon=0.01)
    model.ir_version = 11
    graph = check(model, X)
    assert graph.nodes[0].op == RMSNorm(axes=(2, 3), epsilon=0.01)


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_layer_norm_for_older_opsets(opset):
    check(drawn(torch.nn.LayerNorm(6, eps=0.01)), X, to=("onnx",), opset=opset)


# --- GroupNorm --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 6, -1])
@pytest.mark.parametrize(("axis", "center", "scale"), [(-1, True, True), (-1, False, True), (-1, True, False)])
def test_keras_group_normalization(groups, axis, center, scale):
    layer = keras.layers.GroupNormalization(groups, axis, epsilon=0.01, center=center, scale=scale)
    graph = check(keras_model(layer), X)
    op = next(n.op for n in graph.nodes if isinstance(n.op, GroupNorm))
    assert op == GroupNorm(groups=6 if groups == -1 else groups, epsilon=0.01)


@pytest.mark.parametrize("axis", [1, 2])
def test_keras_group_normalization_of_another_axis(axis):
    x = rng.uniform(-1, 3, (2, 4, 6, 5)).astype(np.float32)
    check(keras_model(keras.layers.GroupNormalization(2, axis, epsilon=0.01), x.shape[1:]), x)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_torch_group_norm(groups, affine):
    graph = check(drawn(torch.nn.GroupNorm(groups, 4, eps=0.01, affine=affine)), X)
    assert graph.nodes[0].op == GroupNorm(groups=groups, epsilon=0.01)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_torch_instance_norm(rank, affine):
    x = rng.uniform(-1, 3, (2, 4, 3, 2, 5)[:rank]).astype(np.float32)
    kind = getattr(torch.nn, f"InstanceNorm{rank - 2}d")
    check(drawn(kind(4, eps=0.01, affine=affine)), x)


def test_instance_norm_with_running_statistics_is_batch_norm():
    module = drawn(torch.nn.InstanceNorm2d(4, affine=True, track_running_stats=True))
    assert kinds(check(module, X)) == ["BatchNorm"]


@pytest.mark.parametrize("opset", [1, 6, 22])
def test_onnx_instance_normalization(opset):
    more = {"consumed_inputs": [0, 0, 0]} if opset == 1 else {}
    model = onnx_model("InstanceNormalization", [X], [vector(4), vector(4)], opset=opset, epsilon=0.01, **more)
    runs = opset == 6
    wanted = None if runs else li.load(onnx_model("InstanceNormalization", [X], [vector(4), vector(4)], opset=6)).run(X)
    graph = li.load(model)
    assert graph.nodes[0].op == GroupNorm(groups=4, epsilon=0.01)
    if runs:
        check(model, X)
    else:
        assert wanted[0].shape == graph.run(X)[0].shape


def test_R28_scale_per_group_and_per_channel():
    for opset, size in ((18, 2), (21, 4)):
        more = {"num_groups": 2, "epsilon": 0.01}
        check(onnx_model("GroupNormalization", [X], [vector(size), vector(size)], opset=opset, **more), X)


def test_R28_as_many_groups_as_channels_are_instances():
    model = keras_model(keras.layers.GroupNormalization(-1))
    assert any(isinstance(m, torch.nn.InstanceNorm2d) for m in li.convert(model, to="torch").modules())
    assert "InstanceNormalization" in [n.op_type for n in li.convert(model, to="onnx").graph.node]


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize("groups", [2, 4])
def test_group_norm_for_older_opsets(opset, groups):
    check(drawn(torch.nn.GroupNorm(groups, 4, eps=0.01)), X, to=("onnx",), opset=opset)


# --- by magnitude -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_torch_local_response_norm(size):
    check(torch.nn.LocalResponseNorm(size, 0.3, 0.6, 0.8), rng.standard_normal((2, 7, 3, 5)).astype(np.float32))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_onnx_lrn(size):
    check(onnx_model("LRN", [X], opset=13, size=size, alpha=0.3, beta=0.6, bias=0.8), X)


@pytest.mark.parametrize(("axis", "p"), [(1, 2), (-1, 1), (3, 2)])
def test_onnx_lp_normalization(axis, p):
    x = X.copy()
    x[0, :, 0, 0] = 0
    x[1, 1, 1, :] = 0
    check(onnx_model("LpNormalization", [x], opset=1, axis=axis, p=p), x)


@pytest.mark.parametrize("axes", [None, [2, 3], [-1]])
def test_onnx_mean_variance_normalization(axes):
    check(onnx_model("MeanVarianceNormalization", [X], opset=13, **({} if axes is None else {"axes": axes})), X)


@pytest.mark.parametrize("axis", [-1, 1, [1, 2]])
def test_keras_unit_normalization(axis):
    x = X.copy()
    x[0] = 0
    check(keras_model(keras.layers.UnitNormalization(axis)), x)


@pytest.mark.parametrize(("order", "axis"), [(1, 1), (2, None), (2, (1, 2)), (3, -1)])
def test_keras_normalize(order, axis):
    inputs = keras.Input(batch_shape=X.shape)
    check(keras.Model(inputs, keras.ops.normalize(inputs, axis, order, 0.5)), X)


def test_the_norm_of_a_matrix_is_refused():
    inputs = keras.Input(X.shape[1:])
    with pytest.raises(Refused, match="normalize of order 1 over 2 axes"):
        li.load(keras.Model(inputs, keras.ops.normalize(inputs, (1, 2), 1)))


# --- bounds -----------------------------------------------------------------------------------------------------------


def faults(case):
    """The same operator with a fault that users have met, by name."""
    op = case.op
    if case.name not in ("group_norm/instance_rank_2", "group_norm/instance_of_one_element"):  # there x - mean is 0
        yield "epsilon 0.001 for 0.00101", dataclasses.replace(op, epsilon=op.epsilon * 1.01), lambda a: a
    if isinstance(op, BatchNorm | BatchStatisticsNorm | GroupNorm | LayerNorm):
        yield "bias dropped", op, lambda a: [*a[:2], None, *a[3:]] if a[2] is not None else None
    if isinstance(op, BatchNorm):
        yield "mean and variance swapped", op, lambda a: [*a[:3], abs(a[4]), abs(a[3])]
        yield "scale and bias swapped", op, lambda a: [a[0], a[2], a[1], *a[3:]] if a[1] is not None else None


FAMILY = ("batch_norm", "batch_statistics_norm", "layer_norm", "rms_norm", "group_norm")


@pytest.mark.parametrize("name", [n for n in CASES if n.split("/")[0] in FAMILY and "float16" not in n])
def test_the_bound_notices_faults(name):
    case = CASES[name]
    arrays = case.arrays()
    right = case.op.reference(*arrays)
    length, magnitude = case.op.terms(*arrays)
    limit = sum_limit(length, magnitude, right.dtype)
    planted = 0
    for fault, op, change in faults(case):
        changed = change(arrays)
        if changed is None:
            continue
        problem = compare(right, op.reference(*changed), limit)
        assert problem.ratio > 1, f"{fault} passes: {problem}"
        planted += 1
    assert planted


@pytest.mark.parametrize("shift", [0, 10, 1000])
@pytest.mark.parametrize("op", [LayerNorm(axes=(1,), epsilon=1e-3), GroupNorm(groups=1, epsilon=1e-3)])
def test_the_bound_covers_cancellation(op, shift):
    """Every backend, whatever formula it takes for the variance, and data far from zero."""
    x = (rng.standard_normal((64, 48)) + shift).astype(np.float32)
    exact = op.reference(x.astype(np.float64), None, None)
    length, magnitude = op.terms(x, None, None)
    limit = sum_limit(length, magnitude, x.dtype)
    mean = x.mean(1, keepdims=True)
    naive = (x - mean) / np.sqrt((x * x).mean(1, keepdims=True) - mean * mean + np.float32(1e-3))
    for name, found in (("two passes", op.reference(x, None, None)), ("one pass", naive)):
        problem = compare(exact.astype(np.float32), found, limit)
        assert shift == 1000 or not isinstance(problem, str)
        assert isinstance(problem, str) or problem.ratio <= 1, f"{name}: {problem}"
    assert limit.max() < 10 ** (-4 if shift == 0 else -2 if shift == 10 else 3)
