"""Transfer of weights onto a network that is there already: alignment, strictness, and what is written."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
import torch

import leaky_interop as li
import models
from leaky_interop.alignment import align, align_weights
from leaky_interop.errors import Refused, Usage
from leaky_interop.graph import Graph, Parameter
from leaky_interop.ops.dense import Dense
from leaky_interop.ops.math import Add, Sub
from models.pairing import copy_weights

IMAGE = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
FIRST = np.ascontiguousarray(IMAGE.transpose(0, 3, 1, 2))
EXAMPLE = {"example": (torch.from_numpy(FIRST),)}


def keras_net(seed: int, *, names: tuple[str, str] = ("left", "right"), slope: float = 0.1) -> keras.Model:
    """Two parallel branches of one structure between a convolution and a dense layer."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.LeakyReLU(slope)(keras.layers.Conv2D(4, 3, name="conv")(image))
    x = keras.layers.BatchNormalization(name="norm")(x)
    branches = [keras.layers.LeakyReLU(slope)(keras.layers.Conv2D(4, 1, name=name)(x)) for name in names]
    x = keras.layers.Flatten()(keras.layers.Add()(branches))
    model = keras.Model(image, keras.layers.Dense(5, name="head")(x))
    rng = np.random.default_rng(seed)
    norm = model.get_layer("norm")
    norm.set_weights([rng.uniform(0.5, 2, 4).astype("float32") for _ in range(4)])
    return model


class TorchNet(torch.nn.Module):
    """The same network as a PyTorch user writes it, its branches in the other order and its names others."""

    def __init__(self, slope: float = 0.1, classes: int = 5):
        super().__init__()
        self.slope = slope
        self.c = torch.nn.Conv2d(3, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4, eps=1e-3)
        self.right = torch.nn.Conv2d(4, 4, 1)
        self.left = torch.nn.Conv2d(4, 4, 1)
        self.fc = torch.nn.Linear(144, classes)

    def forward(self, image):
        leaky = torch.nn.functional.leaky_relu
        x = self.bn(leaky(self.c(image), self.slope))
        x = leaky(self.right(x), self.slope) + leaky(self.left(x), self.slope)
        return self.fc(x.permute(0, 2, 3, 1).flatten(1))


def torch_net(seed: int, **settings) -> TorchNet:
    torch.manual_seed(seed)
    return TorchNet(**settings)


def made(framework: str, seed: int):
    """A network with weights of its own, and what it computes on the image."""
    if framework == "torch":
        model = torch_net(seed)
        return model, lambda: li.run(model, [FIRST])[0]
    model = keras_net(seed)
    model = model if framework == "keras" else li.convert(model, to="onnx")
    return model, lambda: li.run(model, [IMAGE])[0]


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
@pytest.mark.parametrize("source", ["keras", "torch", "onnx"])
def test_the_target_computes_what_the_source_does(source, target):
    src, wanted = made(source, 1)
    dst, got = made(target, 2)
    assert np.abs(wanted() - got()).max() > 0.1
    done = li.transfer(src, dst, **(EXAMPLE if source == "torch" else {}))
    assert done.passed, str(done)
    assert len(done.matched) == 5
    assert done.unused == done.missing == ()
    np.testing.assert_allclose(got(), wanted(), rtol=0, atol=1e-5)


def test_weights_arrive_in_the_targets_own_layout_and_objects():
    src, dst = keras_net(1), torch_net(2)
    before = dict(dst.named_parameters()) | dict(dst.named_buffers())
    li.transfer(src, dst)
    assert all(before[name] is tensor for name, tensor in (*dst.named_parameters(), *dst.named_buffers()))
    kernel = keras.ops.convert_to_numpy(src.get_layer("conv").kernel)
    np.testing.assert_array_equal(dst.c.weight.detach().numpy(), kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(dst.fc.weight.detach().numpy(), src.get_layer("head").get_weights()[0].T)
    np.testing.assert_array_equal(dst.bn.running_var.numpy(), src.get_layer("norm").get_weights()[3])
    assert dst.c.weight.requires_grad and dst.training


def test_branches_of_one_structure_go_by_name():
    src, dst = keras_net(1), torch_net(2)
    li.transfer(src, dst)
    for name in ("left", "right"):
        kernel = src.get_layer(name).get_weights()[0]
        np.testing.assert_array_equal(getattr(dst, name).weight.detach().numpy(), kernel.transpose(3, 2, 0, 1))


def test_branches_without_common_names_go_by_order():
    src, dst = keras_net(1, names=("one", "two")), torch_net(2)
    done = li.transfer(src, dst)
    assert {m.source.split()[-1] for m in done.matched} == {"'conv'", "'norm'", "'one'", "'two'", "'head'"}
    assert done.passed  # the sum of both does not tell them apart


def test_layers_of_one_shape_go_by_what_surrounds_them():
    class Wrong(torch.nn.Module):  # registers and names its layers in an order that says nothing
        def __init__(self):
            super().__init__()
            self.z, self.y, self.x = (torch.nn.Linear(4, 4) for _ in range(3))

        def forward(self, inputs):
            a, b = self.x(inputs), self.z(inputs * 2)
            return torch.relu(self.y(a)) + b

    keras.utils.set_random_seed(3)
    i = keras.Input((4,))
    b = keras.layers.Dense(4, name="b")(i * 2)
    a2 = keras.layers.Dense(4, name="a2")(keras.layers.Dense(4, name="a1")(i))
    dst = Wrong()
    done = li.transfer(keras.Model(i, keras.layers.ReLU()(a2) + b), dst)
    assert done.passed, str(done)
    found = {m.source.split()[-1]: m.target.split()[-1] for m in done.matched}
    assert found == {"'b'": "'z'", "'a1'": "'x'", "'a2'": "'y'"}


def test_shared_weights_stay_shared():
    x = keras.Input((3,))
    layer = keras.layers.Dense(3, name="shared")
    src = keras.Model(x, layer(keras.layers.LeakyReLU()(layer(x))))

    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)

        def forward(self, x):
            return self.layer(torch.nn.functional.leaky_relu(self.layer(x), 0.3))

    dst = Shared()
    assert li.transfer(src, dst).passed
    np.testing.assert_array_equal(dst.layer.weight.detach().numpy(), layer.get_weights()[0].T)


def test_learned_slopes_of_another_shape_are_the_same_slopes():
    slopes = np.linspace(-0.5, 0.5, 4, dtype=np.float32)
    image = keras.Input((8, 8, 3))
    layer = keras.layers.PReLU(shared_axes=[1, 2])
    src = keras.Model(image, layer(keras.layers.Conv2D(4, 3)(image)))
    layer.set_weights([slopes.reshape(1, 1, 4)])
    dst = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.PReLU(4))
    done = li.transfer(src, dst)
    assert done.passed, str(done)
    np.testing.assert_array_equal(dst[1].weight.detach().numpy(), slopes)


def test_different_weights_do_not_fit_into_one_that_is_tied():
    keras.utils.set_random_seed(0)
    x = keras.Input((3,))
    y = keras.layers.Dense(3, name="a")(x)
    src = keras.Model(x, keras.layers.Dense(3, name="b")(keras.layers.LeakyReLU()(y)))
    layer = torch.nn.Linear(3, 3)
    dst = torch.nn.Sequential(layer, torch.nn.LeakyReLU(0.3), layer)
    before = layer.weight.detach().clone()
    with pytest.raises(Refused, match=r"cannot hold two weights .*in several places, where the source has different"):
        li.transfer(src, dst)
    assert torch.equal(layer.weight, before)


def test_a_wrong_setting_of_the_target_is_found_after_the_transfer():
    done = li.transfer(keras_net(1), torch_net(2, slope=0.01))
    assert not done.passed
    assert not done.report.passed
    assert done.report.first_difference.op == "LeakyRelu(negative_slope=0.1)"
    assert len(done.matched) == 5


class WithHead(TorchNet):
    """A network with one layer more than the source has."""

    def __init__(self):
        super().__init__()
        self.extra = torch.nn.Linear(5, 5)

    def forward(self, image):
        return self.extra(super().forward(image))


def test_structures_that_differ_are_refused_before_anything_is_written():
    torch.manual_seed(0)
    dst = WithHead()
    before = {name: tensor.clone() for name, tensor in dst.state_dict().items()}
    extra = r"differ in structure: without weights: torch aten\.linear.*'extra'.*strict=False"
    with pytest.raises(Refused, match=extra):
        li.transfer(keras_net(1), dst)
    assert all(torch.equal(before[name], tensor) for name, tensor in dst.state_dict().items())


def test_what_fits_is_transferred_on_request_and_the_rest_is_listed():
    torch.manual_seed(0)
    src, dst = keras_net(1), WithHead()
    extra = dst.extra.weight.detach().clone()
    done = li.transfer(src, dst, strict=False)
    assert not done.passed
    assert len(done.matched) == 5
    assert [layer.split()[-1] for layer in done.missing] == ["'extra'"]
    assert torch.equal(dst.extra.weight, extra)
    np.testing.assert_array_equal(dst.fc.weight.detach().numpy(), src.get_layer("head").get_weights()[0].T)
    assert "not filled in the target:\n  torch aten.linear" in str(done)


def test_other_classes_keep_their_own_head():
    src, dst = keras_net(1), torch_net(2, classes=7)
    done = li.transfer(src, dst, strict=False)
    assert [layer.split()[-1] for layer in (*done.unused, *done.missing)] == ["'head'", "'fc'"]
    assert done.report is None or not done.report.passed
    np.testing.assert_array_equal(
        dst.left.weight.detach().numpy(), src.get_layer("left").get_weights()[0].transpose(3, 2, 0, 1)
    )


@pytest.mark.parametrize("name", ["audio_cnn", "esrgan_generator", "multi_input_output", "nested", "siamese"])
def test_whole_networks_get_the_weights_that_a_copy_by_hand_gives_them(name):
    network = models.get(name)
    src, dst, wanted = network.keras_model(), network.torch_model(), network.torch_model()
    copy_weights(src, wanted)
    done = li.transfer(src, dst)
    assert done.passed, str(done)
    state = dst.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in wanted.state_dict().items())


def test_another_dtype_is_refused():
    with pytest.raises(Refused, match=r"the numbers would be rounded .*float32.*float64"):
        li.transfer(keras_net(1), torch_net(2).double(), example=(IMAGE.astype(np.float64),))


def test_a_path_is_no_target(tmp_path):
    with pytest.raises(Usage, match="the target of a transfer is no model"):
        li.transfer(keras_net(1), str(tmp_path / "net.onnx"))


def test_an_onnx_model_that_is_read_from_a_copy_is_refused():
    import onnx_ir

    dst = onnx_ir.from_proto(li.convert(keras_net(2), to="onnx"))
    with pytest.raises(Usage, match="cannot be written in place"):
        li.transfer(keras_net(1), dst)


def test_an_onnx_model_keeps_the_names_of_its_weights():
    dst = li.convert(keras_net(2), to="onnx")
    names = [t.name for t in dst.graph.initializer]
    li.transfer(keras_net(1), dst)
    assert [t.name for t in dst.graph.initializer] == names
    onnx.checker.check_model(dst, full_check=True)


def test_alignment_follows_equal_weights_where_names_and_order_mislead():
    src = keras_net(1)
    dst = torch_net(2)
    li.transfer(src, dst)
    dst.left, dst.right = dst.right, dst.left
    first, second = li.load(src), li.load(dst, **EXAMPLE)
    pairs = {a.name: b.name for a, b in align(first, second) if a.name in ("left", "right")}
    assert pairs == {"left": "right", "right": "left"}
    assert li.verify(src, dst).passed


def chains(order: str, ends: str, join: str) -> Graph:
    """Chains "a", "b" ... of four equal Dense nodes, built in one order and read in another, joined or not."""
    graph = Graph()
    x = graph.input("x", (2, 4), np.float32)
    results = {}
    for name in order:
        results[name] = x
        for index in range(4):
            numbers = np.zeros((4, 4), np.float32)
            kernel = Parameter(f"{name}{index}", (4, 4), numbers.dtype, lambda n=numbers: n, numbers)
            (results[name],) = graph.emit(Dense(), (results[name], graph.parameter(kernel), None))
            graph.nodes[-1].name = f"{order}.{name}{index}"
    values = [results[name] for name in ends]
    graph.outputs = values if not join else list(graph.emit(Sub() if join == "sub" else Add(), values))
    return graph


def same_chains(first: Graph, second: Graph) -> bool:
    pairs = align_weights(first, second, numbers=False)
    assert len(pairs) == 8
    return all(a.name[-2:] == b.name[-2:] for a, b in pairs)


def test_chains_are_told_apart_by_the_output_that_they_lead_to():
    assert same_chains(chains("ab", "ab", ""), chains("ba", "ab", ""))
    assert not same_chains(chains("ab", "ab", ""), chains("ab", "ba", ""))


def test_chains_are_told_apart_by_the_operand_that_they_become():
    assert same_chains(chains("ab", "ab", "sub"), chains("ba", "ab", "sub"))
    assert not same_chains(chains("ab", "ab", "sub"), chains("ab", "ba", "sub"))


def test_operands_of_a_sum_may_trade_places():
    assert same_chains(chains("ab", "ab", "add"), chains("ab", "ba", "add"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_numbers_that_were_read_from_keras_stay_when_the_model_is_trained_on(dtype):
    from leaky_interop.frameworks.keras.read import numbers

    layer = keras.layers.Dense(3, dtype=dtype)
    layer.build((None, 2))
    read = numbers(layer.kernel)
    before = read.copy()
    layer.kernel.assign_add(keras.ops.ones((2, 3), dtype))
    layer.kernel.assign(layer.kernel * 2)
    np.testing.assert_array_equal(read, before)
    assert (numbers(layer.kernel) != before).all() and read.dtype.name == dtype
