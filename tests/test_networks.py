"""Whole networks in all nine directions, verified node by node; round trips that end where they began."""

import keras
import network_checks as checks
import numpy as np
import pytest

import leaky_interop as li
import models
from leaky_interop.converting import transfer_graph

NETWORKS = [pytest.param(n, id=n.NAME) for n in models.all()]
FRAMEWORKS = ("keras", "torch", "onnx")


@pytest.mark.parametrize("to", FRAMEWORKS)
@pytest.mark.parametrize("origin", FRAMEWORKS)
@pytest.mark.parametrize("network", NETWORKS)
def test_converts(network, origin, to):
    model, given = checks.source(network, origin)
    graph, conversion, _ = checks.converted(model, to, given)
    checks.check_transposes(conversion)
    checks.check_batches(graph, conversion)


@pytest.mark.parametrize("origin, between", [("keras", "torch"), ("torch", "keras")])
@pytest.mark.parametrize("network", NETWORKS)
def test_round_trip_ends_where_it_began(network, origin, between):
    model, given = checks.source(network, origin)
    graph = li.load(model, given)
    there = transfer_graph(graph, between)
    back = transfer_graph(li.load(there.model), origin)
    checks.same_graph(graph, li.load(back.model))


@pytest.mark.parametrize("to", FRAMEWORKS)
@pytest.mark.parametrize("origin", ("keras", "torch"))
@pytest.mark.parametrize("network", [p for p in NETWORKS if p.values[0].FULLY_CONVOLUTIONAL])
def test_height_and_width_stay_dynamic(network, origin, to):
    model, given = checks.source(network, origin, dynamic=True)
    options = {}
    if origin == "torch":
        options = {"input_shapes": [(None, shape[0], *(None,) * (len(shape) - 1)) for shape in network.SHAPES.values()]}
    graph = li.load(model, given, **options)
    conversion = transfer_graph(graph, to)
    rng = np.random.default_rng(0)
    for steps in (3, 5):
        arrays = []
        for value in graph.inputs:
            sizes = [d if isinstance(d, int) else (2 if i == 0 else None) for i, d in enumerate(value.shape)]
            multiple = max(network.SIZE_MULTIPLE, 8)
            arrays.append(rng.standard_normal([steps * multiple + (i * multiple if s is None else 0) if s is None else s for i, s in enumerate(sizes)]).astype("f"))
        for received, expected in zip(li.run(conversion.model, arrays), graph.program.whole(arrays), strict=True):
            assert received.shape == expected.shape
            np.testing.assert_allclose(received, expected, rtol=1e-3, atol=2e-4 * np.abs(expected).max())


def test_a_converted_keras_model_is_native(tmp_path):
    """Functional, trains, saves and loads in safe mode."""
    network = models.get("resnet")
    model = li.convert(network.torch_model(), to="keras", io="native", example=checks.example(network))
    assert isinstance(model, keras.Model) and len(model.layers) > 10
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    x = np.random.default_rng(0).standard_normal((4, *model.input_shape[1:])).astype("f")
    np.testing.assert_array_equal(li.run(again, x)[0], li.run(model, x)[0])
    y = np.random.default_rng(1).standard_normal((4, *model.output_shape[1:])).astype("f")
    model.compile(optimizer="sgd", loss="mse")
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_converted_torch_model_is_native():
    """A graph module whose code reads well, that trains, exports and compiles."""
    import torch

    network = models.get("resnet")
    model = li.convert(network.keras_model(), to="torch")
    assert isinstance(model, torch.fx.GraphModule)
    assert "self.stem_conv" in model.code
    x = torch.randn(4, *li.load(network.keras_model()).inputs[0].shape[1:])
    assert torch.allclose(torch.compile(model, backend="eager")(x), model(x))
    torch.export.export(model, (x,))
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
