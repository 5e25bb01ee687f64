"""A network of each family of keras.applications, its first stages on small pictures, to each framework and back.

`python -m benchmarks.applications` measures the whole networks.
"""

import collections
import functools

import keras
import network_checks as checks
import numpy as np
import pytest
from keras import applications

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.passes.fold import fold_batch_norms
from models.seeding import randomise

SIZE = 33  # odd, so that "same" pads unevenly


def until(make, last, size=SIZE, **options):
    """The network up to a layer."""

    def build():
        whole = getattr(applications, make)(weights=None, include_top=False, input_shape=(size, size, 3), **options)
        return keras.Model(whole.inputs, whole.get_layer(last).output, name=whole.name)

    return build


def mobilenet():
    """A whole network, with its classifier."""
    return applications.MobileNet(weights=None, alpha=0.25, input_shape=(64, 96, 3), classes=10)


# by family: what builds it, and how many batch norms stay where all that can be are folded
FAMILIES = {
    "vgg": (until("VGG16", "block2_pool"), 0),
    "resnet": (until("ResNet50", "conv3_block1_out"), 0),
    "resnet_v2": (until("ResNet50V2", "conv3_block1_out"), 4),  # what is normalised is added to something else, too
    "densenet": (until("DenseNet121", "conv2_block3_concat"), 3),  # so it is with what is joined
    "inception": (until("InceptionV3", "mixed0", 75), 0),
    "inception_resnet": (until("InceptionResNetV2", "block35_1_ac", 75), 0),
    "xception": (until("Xception", "block4_sepconv2_bn", 71), 0),
    "mobilenet": (mobilenet, 0),
    "mobilenet_v2": (until("MobileNetV2", "block_7_add", alpha=0.35), 0),
    "mobilenet_v3": (until("MobileNetV3Small", "expanded_conv_5_add", alpha=0.75), 0),
    "efficientnet": (until("EfficientNetB0", "block4a_project_bn"), 0),
    "efficientnet_v2": (until("EfficientNetV2B0", "block4a_project_bn"), 0),
    "convnext": (until("ConvNeXtTiny", "convnext_tiny_stage_1_block_1_identity", 64), 0),
}
if keras.backend.backend() != "torch":  # where Keras does not give it
    FAMILIES["nasnet"] = (until("NASNetMobile", "reduction_concat_stem_2"), 1)  # of two paths joined
CROPPED = ("nasnet",)  # PyTorch keeps no name of a crop, which is no module
CHANNELS_LAST = (
    "convnext",
)  # its layer norms and dense layers work along the channels: elsewhere they are turned for it
SEPARABLE = ("xception",)  # one layer of two kernels comes back as two layers, each with its kernel


@functools.lru_cache(maxsize=1)
def loaded(family):
    """The network and its graph, once for all tests of a family."""
    model = randomise(FAMILIES[family][0](), seed=1, gain=1.2)
    return model, li.load(model)


def count(graph):
    return collections.Counter(type(node.op).__name__ for node in graph.nodes)


def answer(model, arrays):
    """Outputs that depend on what goes in, and are neither out of bounds nor all alike."""
    outputs = li.run(model, arrays)
    assert all(np.isfinite(o).all() and o.std() > 1e-6 for o in outputs)
    return outputs


def close(received, expected):
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_to_pytorch_and_back(family):
    model, graph = loaded(family)
    there = transfer_graph(graph, "torch")
    checks.verified(there)
    if family not in CHANNELS_LAST:
        checks.check_transposes(there)
    again = li.load(there.model)
    back = transfer_graph(again, "keras")
    checks.check_transposes(back)
    if family in CROPPED:
        graphs = [g.nodes for g in (graph, li.load(back.model))]
        assert all(n.op.matches(m.op) for n, m in zip(*graphs, strict=True))
    else:
        checks.same_graph(graph, li.load(back.model), weight_names=family not in SEPARABLE)
    arrays = [np.random.default_rng(4).standard_normal((2, *model.input_shape[1:])).astype(np.float32)]
    close(answer(back.model, arrays), answer(model, arrays))


@pytest.mark.parametrize("family", FAMILIES)
def test_to_onnx_and_back(family):
    model, graph = loaded(family)
    there = transfer_graph(graph, "onnx")
    checks.verified(there)
    if family not in CHANNELS_LAST:
        checks.check_transposes(there)
    back = transfer_graph(li.load(there.model), "keras")
    checks.check_transposes(back)
    graphs = [checks.without_dropout(g).nodes for g in (graph, li.load(back.model))]
    assert all(n.op.matches(m.op) and n.name == m.name for n, m in zip(*graphs, strict=True))
    arrays = [np.random.default_rng(5).standard_normal((1, *model.input_shape[1:])).astype(np.float32)]
    close(answer(back.model, arrays), answer(model, arrays))


@pytest.mark.parametrize("family", FAMILIES)
def test_with_its_batch_norms_folded(family):
    """One node for each that is folded is gone, and nothing else but scales beside them."""
    _, graph = loaded(family)
    folded = fold_batch_norms(graph)
    there = transfer_graph(folded, "onnx")
    checks.verified(there)
    if family not in CHANNELS_LAST:
        checks.check_transposes(there)
    before, after = count(graph), count(folded)
    assert after["BatchNorm"] == FAMILIES[family][1]
    changed = {kind for kind in before if before[kind] != after[kind]}
    assert changed <= {"BatchNorm", "Mul", "Add", "Sub", "Div"}
    assert len(folded.nodes) + before["BatchNorm"] - after["BatchNorm"] <= len(graph.nodes)
