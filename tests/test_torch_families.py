"""Network families of PyTorch to Keras and ONNX, verified node by node, and back to the state dict that they began with."""

import copy
import functools

import network_checks as checks
import numpy as np
import pytest
import torch

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused
from tests.torch_families import all_families
from tests.torch_families.generators import unet_generator

FAMILIES = all_families()


@functools.lru_cache(maxsize=1)
def loaded(family):
    """A family's model and its graph, once for all targets."""
    model = family.model()
    rng = np.random.default_rng(3)
    return model, li.load(model, tuple(rng.standard_normal((1, *shape)).astype(np.float32) for shape in family.shapes))


def check(family, to):
    model, graph = loaded(family)
    assert all(not isinstance(v.shape[0], int) for v in (*graph.inputs, *graph.outputs)), "the batch is fixed"
    conversion = transfer_graph(graph, to)
    report = checks.verified(conversion)
    inner = [line for line in report.transposes if line.endswith("inside")]
    assert len(inner) <= (0 if family.plain else family.inside), "\n".join(report.transposes)
    checks.check_batches(graph, conversion)
    if to not in family.changed:
        check_state(model, conversion)


def is_compared(key, attentions):
    return not key.endswith("num_batches_tracked") and not key.startswith(attentions)


def check_state(model, conversion):
    """Read back into PyTorch, the network holds the weights that it began with, under their names.

    Attention that a file spells out comes back as PyTorch's own layer, with projections of its own form.
    """
    back = transfer_graph(li.load(conversion.model), "torch").model
    attentions = tuple(f"{name}." for name, module in back.named_modules() if isinstance(module, torch.nn.MultiheadAttention))
    expected, received = ({k: v for k, v in m.state_dict().items() if is_compared(k, attentions)} for m in (model, back))
    fixed = [buffer for name, buffer in model.named_buffers() if name not in model.state_dict()]
    for key in received.keys() - expected.keys():  # Keras saves every number of a layer
        assert any(torch.equal(received[key], buffer) for buffer in fixed), key
    assert received.keys() >= expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(received[key], tensor), key


@pytest.mark.one_backend
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_to_onnx_and_back(family):
    check(family, "onnx")


@pytest.mark.parametrize(
    "family", [pytest.param(f, id=f.name, marks=() if f.backends else pytest.mark.one_backend) for f in FAMILIES]
)
def test_to_keras_and_back(family):
    check(family, "keras")


@pytest.mark.one_backend
@pytest.mark.parametrize("to", ["onnx", "keras"])
def test_statistics_of_the_batch_stay_those_of_the_batch(to):
    """A batch norm that tracks none takes them from the pictures that it is given, in evaluation mode too."""
    model = unet_generator(tracked=False).eval()
    x = np.random.default_rng(0).standard_normal((3, 3, 16, 16)).astype("f")
    conversion = transfer_graph(li.load(model, (x,)), to)
    checks.verified(conversion)
    (alone,), (among,) = li.run(conversion.model, [x[:1]]), li.run(conversion.model, [x])
    assert np.abs(alone - among[:1]).max() > 1e-3
    np.testing.assert_allclose(among, model(torch.from_numpy(x)).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.one_backend
def test_dropout_that_stays_on_is_refused():
    class Noisy(torch.nn.Conv2d):
        def forward(self, x):
            return torch.nn.functional.dropout(super().forward(x), 0.5, training=True)

    with pytest.raises(Refused, match="random"):
        li.load(Noisy(3, 4, 3).eval(), (np.zeros((2, 3, 8, 8), "f"),))


class ByExample(torch.nn.Module):
    """As StyleGAN2 writes it, with all settings, and perhaps a bias, which its groups would need batch times."""

    def __init__(self, transposed, biased=False):
        super().__init__()
        self.transposed, self.biased = transposed, biased
        self.weight = torch.nn.Parameter(torch.randn(4, 3, 3, 2) if transposed else torch.randn(3, 4, 3, 2))

    def forward(self, x, style):
        batch = x.shape[0]
        weight = (self.weight * style.view(batch, 1, 1, 1, 1)).flatten(0, 1)
        bias = style.repeat(1, 3).flatten() if self.biased else None
        x = x.reshape(1, batch * 4, *x.shape[2:])
        if self.transposed:
            y = torch.nn.functional.conv_transpose2d(x, weight, bias, (2, 1), (1, 0), (1, 0), batch, (1, 2))
        else:
            y = torch.nn.functional.conv2d(x, weight, bias, (2, 1), (1, 0), (1, 2), batch)
        return y.view(batch, 3, *y.shape[2:])


@pytest.mark.one_backend
@pytest.mark.parametrize("to", ["onnx", "keras", "torch"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_kernel_for_each_example(transposed, to):
    example = (np.random.default_rng(0).standard_normal((2, 4, 7, 6)).astype("f"), np.ones((2, 1), "f"))
    graph = li.load(ByExample(transposed).eval(), example)
    conversion = transfer_graph(graph, to)
    checks.verified(conversion)
    checks.check_batches(graph, conversion)
    with pytest.raises(Refused, match="static_batch"):
        li.load(ByExample(transposed, biased=True).eval(), example)


@pytest.mark.one_backend
@pytest.mark.parametrize(("dtype", "off"), [(torch.float16, 0.02), (torch.bfloat16, 0.15), (torch.float64, 1e-12)])
def test_a_network_that_came_through_onnx_can_be_cast(dtype, off):
    """Ones beside the scores of an anchor-free detector: they are of the type that the network is cast to."""
    model, _ = loaded(next(f for f in FAMILIES if f.name == "yolo_v6"))
    x = torch.tensor(np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype("f"))
    made = li.convert(li.convert(model, "onnx", example=x, verify=False), "torch", verify=False)
    expected, received = (copy.deepcopy(m).to(dtype)(x.to(dtype)) for m in (model, made))
    assert received.dtype == dtype
    assert torch.allclose(expected.double(), received.double(), rtol=off, atol=off)
