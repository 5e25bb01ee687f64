"""Fourier transforms in every native spelling, windows and mel filters."""

import keras
import numpy as np
import onnx
import pytest
import torch
from family_checks import check, check_by_definition, kinds, onnx_model
from onnx.reference import ReferenceEvaluator

import leaky_interop as li
from leaky_interop.errors import Refused, Unsupported

rng = np.random.default_rng(9)
X = rng.standard_normal((2, 6, 5)).astype(np.float32)


def module(function):
    return type("Net", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


# --- torch ------------------------------------------------------------------------------------------------------------

SPECTRA = {
    "fft": lambda x: torch.fft.fft(x).abs(),
    "fft_axis": lambda x: torch.fft.fft(x, n=8, dim=1).real,
    "fft_ortho": lambda x: torch.fft.fft(x, dim=1, norm="ortho").imag,
    "ifft": lambda x: torch.fft.ifft(x, n=4, norm="forward").imag * 1.0,
    "fft2": lambda x: torch.fft.fft2(x).real,
    "fft2_sizes": lambda x: torch.fft.fft2(x, s=(4, 7), norm="forward").real,
    "fftn": lambda x: torch.fft.fftn(x).imag,
    "ifftn": lambda x: torch.fft.ifftn(x, dim=(0, 2)).real,
    "fnet": lambda x: torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real,
    "rfft": lambda x: torch.view_as_real(torch.fft.rfft(x, n=7, norm="ortho")),
    "rfft2": lambda x: torch.fft.rfft2(x, norm="ortho").abs(),
    "there_and_back": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1), n=6, dim=1),
    "there_and_back_2": lambda x: torch.fft.irfft2(torch.fft.rfft2(x), s=(6, 5)),
    "there_and_back_n": lambda x: torch.fft.ifftn(torch.fft.fftn(x, norm="ortho"), norm="ortho").real,
    "filter": lambda x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(x.flip(-1)), n=5),
    "conjugate": lambda x: (torch.fft.rfft(x) * torch.fft.rfft(x).conj()).real,
    "scaled": lambda x: torch.view_as_real(torch.fft.rfft(x).transpose(1, 2) * 0.5),
    "permuted": lambda x: torch.fft.fft(x).permute(2, 0, 1).imag,
    "made": lambda x: torch.fft.ifft(torch.complex(x, x * 2)).imag,
    "viewed": lambda x: torch.fft.fft(torch.view_as_complex(x.reshape(2, 3, 5, 2)), dim=1).real,
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectra_of_torch(name):
    check(module(SPECTRA[name]), X, to=("torch", "onnx") if len(name) % 2 else ("keras",), static_batch=name in ("fftn", "there_and_back_n"))


STFTS = [
    {"n_fft": 8}, {"n_fft": 8, "hop_length": 3, "center": False}, {"n_fft": 8, "win_length": 5, "normalized": True},
    {"n_fft": 7, "onesided": False, "window": torch.hann_window(7)}, {"n_fft": 8, "win_length": 6, "window": torch.hamming_window(6)},
]  # fmt: skip


@pytest.mark.parametrize("settings", STFTS, ids=lambda s: "-".join(s))
def test_stft_of_torch(settings):
    x = rng.standard_normal((2, 30)).astype(np.float32)
    check(module(lambda x: torch.stft(x, return_complex=True, **settings).real), x)


def test_angles_and_magnitudes():
    x = rng.standard_normal((2, 5)).astype(np.float32) + 3
    check(module(lambda x: (torch.fft.fft(x)[..., 1:2] if False else torch.fft.fft(x)).abs()), x)
    graph = li.load(module(lambda x: torch.complex(x, x * 2).angle()), (x,))
    np.testing.assert_allclose(graph.run(x)[0], np.angle(x + 2j * x), rtol=1e-6)


@pytest.mark.parametrize(
    "function", [lambda x: torch.fft.fft(x) + 1, lambda x: torch.fft.fft(x) * x, lambda x: torch.fft.fft(x).exp()]
)
def test_what_takes_complex_numbers_and_is_not_known_is_unsupported(function):
    """Never read by the importer of real numbers, which would take a pair for two of them."""
    with pytest.raises(Unsupported, match=r"(complex|mixed) aten"):
        li.load(module(lambda x: torch.view_as_real(function(x))), (X,))


def test_complex_ports_are_refused():
    with pytest.raises(Refused, match="output is complex"):
        li.load(module(torch.fft.fft), (X,))


# --- keras ------------------------------------------------------------------------------------------------------------

KERAS = {
    "fft": lambda x: keras.ops.fft((x, x * 2))[1],
    "fft2": lambda x: keras.ops.fft2((x, x - 1))[0],
    "ifft2": lambda x: keras.ops.ifft2((x, x - 1))[1],
    "rfft": lambda x: keras.ops.rfft(x)[0],
    "rfft_length": lambda x: keras.ops.rfft(x, 8)[1],
    "irfft": lambda x: keras.ops.irfft((x, x + 1)),
    "irfft_length": lambda x: keras.ops.irfft((x, x + 1), 9),
    "stft": lambda x: keras.ops.stft(keras.ops.reshape(x, (-1, 30)), 6, 3, 8)[0],
    "stft_hamming": lambda x: keras.ops.stft(keras.ops.reshape(x, (-1, 30)), 6, 4, 8, window="hamming")[0],
    "stft_plain": lambda x: keras.ops.stft(keras.ops.reshape(x, (-1, 30)), 8, 5, 8, window=None, center=False)[1],
}


@pytest.mark.parametrize("name", KERAS)
def test_spectra_of_keras(name):
    inputs = keras.Input((6, 5))
    graph = check(keras.Model(inputs, KERAS[name](inputs)), X)
    assert "DFT" in kinds(graph)


def test_a_named_window_of_odd_length_is_refused_by_keras_backends_differing():
    inputs = keras.Input((30,))
    with pytest.raises(Refused, match="hann window of odd length 7"):
        li.load(keras.Model(inputs, keras.ops.stft(inputs, 7, 4, 8)[0]))


# --- onnx -------------------------------------------------------------------------------------------------------------

PAIRS = rng.standard_normal((2, 6, 5, 2)).astype(np.float32)
REAL = PAIRS[..., :1]


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("x", [PAIRS, REAL], ids=["pairs", "real"])
@pytest.mark.parametrize("attributes", [{}, {"inverse": 1}, {"onesided": 1}, {"inverse": 1, "onesided": 1}], ids=str)
@pytest.mark.parametrize(("axis", "length"), [(1, None), (2, 8), (-3, 5)])
def test_dft_of_onnx(opset, x, attributes, axis, length):
    if attributes.get("onesided") and (x is PAIRS) != bool(attributes.get("inverse")):
        pytest.skip("one half tells all of real data only")
    weights = [None if length is None else np.array(length, np.int64)]
    if opset == 20:
        weights.append(np.array(axis, np.int64))
    else:
        attributes = {**attributes, "axis": axis}
    check_by_definition(onnx_model("DFT", [x], weights, opset=opset, **attributes), x, opset=max(opset, 17))


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("window", [None, np.hanning(6).astype(np.float32)])
def test_stft_of_onnx(onesided, window):
    x = rng.standard_normal((2, 20, 1)).astype(np.float32)
    weights = [np.array(3, np.int64), window, np.array(6, np.int64)]
    check_by_definition(onnx_model("STFT", [x], weights, opset=17, onesided=onesided), x)


def constant_of(kind, *settings, **attributes):
    """What a node of constants alone gives: added to an input, because a network has one."""
    names = [f"c{i}" for i in range(len(settings))]
    nodes = [onnx.helper.make_node(kind, names, ["w"], **attributes), onnx.helper.make_node("Add", ["x", "w"], ["y"])]
    held = [onnx.numpy_helper.from_array(np.asarray(s), n) for s, n in zip(settings, names, strict=True)]
    ports = [onnx.helper.make_tensor_value_info(n, 1, None if n == "y" else []) for n in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", ports[:1], ports[1:], held)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    zero = np.zeros((), np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": zero})
    for received in (li.load(model).run(zero)[0], li.run(li.convert(model, to="torch"), [zero])[0]):
        np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-6)
    return expected


@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("size", [2, 7, 16])
@pytest.mark.parametrize("name", ["hann", "hamming", "blackman"])
def test_windows(name, size, periodic):
    made = constant_of(f"{name.capitalize()}Window", np.array(size, np.int64), periodic=periodic)
    expected = getattr(torch, f"{name}_window")(size, periodic=bool(periodic)).numpy()
    np.testing.assert_allclose(made, expected, atol=8e-3 if name == "hamming" else 1e-6)  # torch rounds 25/46 to 0.54


@pytest.mark.parametrize(
    ("count", "length", "rate", "low", "high"),
    [(8, 16, 8192, 0.0, 4096.0), (5, 64, 16000, 20.0, 7600.0), (12, 16, 8000, 0.0, 4000.0)],
)
def test_mel_filters(count, length, rate, low, high):
    whole = (np.array(n, np.int64) for n in (count, length, rate))
    constant_of("MelWeightMatrix", *whole, *(np.array(n, np.float32) for n in (low, high)))
