"""Network families of PyTorch to Keras and ONNX, verified node by node, and back to the state dict that they began with."""

import functools

import network_checks as checks
import numpy as np
import pytest
import torch

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from tests.torch_families import all_families

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


def check_state(model, conversion):
    """Read back into PyTorch, the network holds the weights that it began with, under their names."""
    back = transfer_graph(li.load(conversion.model), "torch").model
    expected = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    received = {k: v for k, v in back.state_dict().items() if not k.endswith("num_batches_tracked")}
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
