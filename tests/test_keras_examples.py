"""Networks in the manner of keras.io's examples go to ONNX, PyTorch and back, verified node by node, at any batch."""

import functools

import keras_examples
import pytest

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.verification import verify_conversion

TARGETS = ("onnx", "torch", "keras")
NO_BATCH = ("graph_attention",)  # one graph of nodes


@functools.lru_cache(maxsize=1)
def made(name):
    """The network, once for all its targets."""
    return keras_examples.network(name)


def load(name):
    model = made(name)
    return li.load(model, input_shapes=[(None, 32, 32, 3)]) if name == "retinanet" else li.load(model)


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", keras_examples.NETWORKS)
def test_converts(name, to):
    """To each framework; and from PyTorch back to Keras, by numbers alone: what is one layer there is several here."""
    graph = load(name)
    conversion = transfer_graph(graph, to)
    report = verify_conversion(conversion)
    assert report.passed, str(report)
    if name not in NO_BATCH:
        assert not report.static
    if to == "torch":
        back = transfer_graph(li.load(conversion.model), "keras")
        again = verify_conversion(back)
        assert again.passed, str(again)
