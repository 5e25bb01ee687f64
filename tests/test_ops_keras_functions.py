"""Keras' functions that are read as compositions: each as a network of that one call, to ONNX, to PyTorch and back."""

import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import leaky_interop as li  # noqa: E402
from leaky_interop.errors import Refused  # noqa: E402

K = keras.ops
NAN, INF = float("nan"), float("inf")
RAGGED = np.array([[1.5, NAN, -2.0, 0.0], [NAN, NAN, NAN, NAN], [INF, 1.0, -INF, NAN]], np.float32)
PLAIN = np.array([[1.5, -0.5, -2.0, 0.25], [3.0, 0.0, 7.0, -1.0], [2.0, 1.0, -4.0, 5.0]], np.float32)
WHOLE = np.array([[12, -18, 0, 7], [8, 9, 5, -7]], np.int32)
OTHER = np.array([[18, 12, 4, 0], [3, 6, 10, 21]], np.int32)
SPREAD = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [-0.5, 0.25, 2.0]], np.float32)
CHANCE = np.array([[0.2, 0.7, 0.1], [0.0, 1.0, 0.0]], np.float32)
ROWS = np.array([1.0, -2.0, 0.5], np.float32)

CALLS = {
    **{f"{n} axis={a} keepdims={k}": (lambda x, n=n, a=a, k=k: getattr(K, n)(x, axis=a, keepdims=k), RAGGED)
       for n in ("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd")
       for a, k in ((None, False), (-1, True), ((0, 1), False))},
    "nanargmax": (lambda x: K.nanargmax(x, axis=1), RAGGED),
    "nanargmin": (lambda x: K.nanargmin(x, axis=-1, keepdims=True), RAGGED),
    "nancumsum": (lambda x: K.nancumsum(x, axis=1), RAGGED[:2]),
    "nancumprod": (lambda x: K.nancumprod(x), RAGGED[:2]),
    "nanmax of integers": (lambda x: K.nanmax(x, axis=0), WHOLE),
    "median": (lambda x: K.median(x, axis=-1), PLAIN),
    "median with NaN": (lambda x: K.median(x, axis=1, keepdims=True), RAGGED[:2]),
    "nanmedian": (lambda x: K.nanmedian(x, axis=1), RAGGED[:2]),
    "quantile": (lambda x: K.quantile(x, [0.1, 0.5, 0.93], axis=(0, 1), keepdims=True), PLAIN),
    **{f"percentile {m}": (lambda x, m=m: K.percentile(x, [0.0, 37.0, 100.0], axis=0, method=m), PLAIN)
       for m in ("linear", "lower", "higher", "nearest", "midpoint")},
    **{f"nanquantile {m}": (lambda x, m=m: K.nanquantile(x, 0.4, axis=1, method=m), RAGGED[:2])
       for m in ("linear", "lower", "higher", "nearest", "midpoint")},
    "fabs": (K.fabs, WHOLE),
    "angle": (K.angle, RAGGED[:, :3]),
    "cbrt": (K.cbrt, PLAIN),
    "i0": (K.i0, PLAIN * 3),
    "erfinv": (K.erfinv, np.array([-1, -0.999, -0.3, 0.0, 1e-5, 0.5, 0.9999, 1], np.float32)),
    "ldexp": (lambda x, y: K.ldexp(x, y), PLAIN[:2], WHOLE),
    "logaddexp2": (lambda x, y: K.logaddexp2(x, y), np.array([1, INF, -INF, 80], np.float32), np.array([2, INF, -INF, -80], np.float32)),
    "nextafter": (lambda x, y: K.nextafter(x, y), PLAIN, PLAIN + 1),
    "ptp": (lambda x: K.ptp(x, axis=1), PLAIN),
    "allclose": (lambda x, y: K.allclose(x, y, atol=0.1), PLAIN, PLAIN + np.float32(0.05)),
    "isin": (lambda x, y: K.isin(x, y, invert=True), WHOLE, OTHER),
    "gcd": (lambda x, y: K.gcd(x, y), WHOLE, OTHER),
    "lcm": (lambda x, y: K.lcm(x, y), WHOLE, OTHER),
    "digitize": (lambda x: K.digitize(x, np.array([-1.0, 0.0, 2.0], np.float32)), np.append(PLAIN.ravel(), np.float32(NAN))),
    "searchsorted left": (lambda x: K.searchsorted(K.array([-1.0, 0.0, 2.0]), x), PLAIN[0]),
    "searchsorted right": (lambda x: K.searchsorted(K.array([-1.0, 0.0, 2.0]), x, side="right"), PLAIN[0]),
    "unravel_index": (lambda x: K.unravel_index(x, (2, 3, 4)), np.arange(24, dtype=np.int32)),
    "diag": (lambda x: K.diag(x, k=-1), ROWS),
    "diag of a matrix": (lambda x: K.diag(x, k=1), PLAIN),
    "diagflat": (lambda x: K.diagflat(x, k=2), PLAIN),
    "diff": (lambda x: K.diff(x, n=2, axis=0), PLAIN),
    "diff of booleans": (lambda x: K.diff(x), PLAIN > 0),
    "trapezoid": (lambda x: K.trapezoid(x, dx=0.5, axis=0), PLAIN),
    "trapezoid between": (lambda x: K.trapezoid(x, x=np.array([0.0, 1.0, 4.0, 5.0], np.float32)), PLAIN),
    "vander": (lambda x: K.vander(x, N=4, increasing=True), ROWS),
    "kron": (lambda x, y: K.kron(x, y), PLAIN, SPREAD),
    "cross": (lambda x, y: K.cross(x, y), PLAIN[:2, :3], PLAIN[1:, 1:]),
    **{f"correlate {m}": (lambda x, y, m=m: K.correlate(x, y, mode=m), PLAIN[0], ROWS) for m in ("valid", "same", "full")},
    "corrcoef": (K.corrcoef, PLAIN),
    "linspace": (lambda x, y: K.linspace(x, y, num=5, endpoint=False), ROWS, ROWS + 3),
    "logspace": (lambda x, y: K.logspace(x, y, num=4, base=2), ROWS, ROWS + 3),
    "geomspace": (lambda x, y: K.geomspace(x, y, num=4), ROWS, ROWS * 8),
    "saturate_cast": (lambda x: K.saturate_cast(x, "uint8"), PLAIN * 100),
    "sparsemax": (lambda x: K.sparsemax(x, axis=0), PLAIN),
    **{f"binary_crossentropy {f}": (lambda t, x, f=f: K.binary_crossentropy(t, x, from_logits=f), CHANCE[::-1].copy(), CHANCE) for f in (False, True)},
    **{f"categorical_crossentropy {f}": (lambda t, x, f=f: K.categorical_crossentropy(t, x, from_logits=f), CHANCE[::-1].copy(), CHANCE)
       for f in (False, True)},
    "loss of a sigmoid": (lambda t, x: K.binary_crossentropy(t, K.sigmoid(x)), CHANCE, CHANCE * 90),
    "loss of a softmax": (lambda t, x: K.categorical_crossentropy(t, K.softmax(x)), CHANCE, CHANCE * 90),
    "sparse_categorical_crossentropy": (
        lambda t, x: K.sparse_categorical_crossentropy(t, x), np.array([2, 1], np.int32), CHANCE + np.float32(0.5)
    ),
    "multi_hot": (lambda x: K.multi_hot(x, 5), np.array([[0, 3], [4, -1]], np.int32)),
    "in_top_k": (lambda t, x: K.in_top_k(t, x, 2), np.array([2, 0], np.int32), CHANCE),
    "cdist": (lambda x, y: K.cdist(x, y), PLAIN, PLAIN[:2] + 1),
    "psnr": (lambda x, y: K.psnr(x, y, 2.0), PLAIN, PLAIN + np.float32(0.25)),
    "cholesky": (K.cholesky, SPREAD),
    "cholesky upper": (lambda x: K.cholesky(x, upper=True), np.stack([SPREAD, SPREAD * 2])),
    "cholesky_inverse": (lambda x: K.cholesky_inverse(x), np.tril(SPREAD)),
    "inv": (K.inv, np.stack([SPREAD, SPREAD[::-1]])),
    "solve": (lambda a, b: K.solve(a, b), SPREAD[[2, 0, 1]], ROWS),
    "solve_triangular": (lambda a, b: K.solve_triangular(a, b, lower=True), SPREAD, PLAIN),
    "qr": (K.qr, PLAIN),
    "qr complete": (lambda x: K.qr(x, mode="complete"), PLAIN.T.copy()),
    "pinv": (K.pinv, np.stack([SPREAD, np.outer(ROWS, ROWS)])),
    "matrix_rank": (K.matrix_rank, np.stack([SPREAD, np.outer(ROWS, ROWS)])),
    "singular values": (lambda x: K.svd(x, compute_uv=False), PLAIN),
    "least squares": (lambda a, b: K.lstsq(a, b), PLAIN.T.copy(), np.array([1, 2, -1, 0.5], np.float32)),
    **{f"norm of a matrix, {o}": (lambda x, o=o: K.norm(x, ord=o), PLAIN) for o in (2, -2, "nuc")},
    "norm of matrices": (lambda x: K.norm(x, ord=2, axis=(0, 2), keepdims=True), np.stack([SPREAD, PLAIN[:, 1:]])),
    "lu_factor": (K.lu_factor, SPREAD[[2, 0, 1]]),
    "logdet of no definite matrix": (K.logdet, SPREAD[::-1].copy()),
    "slice from computed places": (lambda x, s: K.slice(x, s, (2, 3)), PLAIN, np.array([1, 1], np.int32)),
    "slice_update from computed places": (lambda x, s: K.slice_update(x, s, K.ones((2, 2))), PLAIN, np.array([1, 2], np.int32)),
    "slice_update at the end": (lambda x, s: K.slice_update(x, s, x[:2, :2] * 3), PLAIN, np.array([-1, -2], np.int32)),
    "depth_to_space channels first": (lambda x: K.depth_to_space(x, 2, data_format="channels_first"), np.arange(64, dtype=np.float32).reshape(1, 16, 2, 2)),
    "space_to_depth channels first": (lambda x: K.space_to_depth(x, 2, data_format="channels_first"), np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)),
    "slogdet": (K.slogdet, SPREAD[::-1].copy() * 1e4),
    "logdet": (K.logdet, SPREAD * 1e4),
}  # fmt: skip


def network(call, arrays):
    inputs = [keras.Input(batch_shape=a.shape, dtype=a.dtype.name) for a in arrays]
    outputs = [t for t in keras.tree.flatten(call(*inputs)) if t is not None]
    return keras.Model(inputs, outputs)


def agree(expected, received):
    assert len(expected) == len(received)
    for e, r in zip(expected, received, strict=True):
        assert (e.shape, e.dtype) == (r.shape, r.dtype)
        np.testing.assert_allclose(r, e, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", CALLS)
def test_a_function_is_the_same_everywhere(name):
    call, *arrays = CALLS[name]
    model = network(call, arrays)
    expected = li.run(model, arrays)
    agree(expected, li.run(li.convert(model, to="onnx"), arrays))
    made = li.convert(model, to="torch")
    agree(expected, li.run(made, arrays))
    agree(expected, li.run(li.convert(made, to="keras", example=tuple(arrays), static_batch=True), arrays))


@pytest.mark.parametrize("call", [
    lambda x: K.argpartition(x, 1), K.eigh, K.svd,
    lambda x: K.view_as_complex(x[:, :2]),
])  # fmt: skip
def test_what_differs_between_backends_is_refused(call):
    with pytest.raises(Refused):
        li.convert(network(call, [SPREAD]), to="onnx")


def test_a_factor_of_too_many_rows_is_refused_for_onnx_alone():
    many = np.eye(40, dtype=np.float32) * 2
    model = network(K.inv, [many])
    with pytest.raises(Refused, match="40 rows"):
        li.convert(model, to="onnx")
    agree(li.run(model, [many]), li.run(li.convert(model, to="torch"), [many]))


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") != "torch", reason="what Keras states of float64 is wrong on torch")
def test_results_have_the_dtype_that_the_backend_computes():
    x = PLAIN.astype(np.float64)
    model = network(lambda x: K.max(x, axis=1), [x])
    assert li.run(li.convert(model, to="torch"), [x])[0].dtype == li.run(model, [x])[0].dtype


BACKEND = keras.backend.backend()
ONES = np.ones((2, 3), np.float32)
NUMBERS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
EDGES = {  # what the backends compute differently, or Keras states wrongly
    "sum over no axes": (lambda x: K.sum(x, axis=()), NUMBERS),
    "mean over no axes": (lambda x: K.mean(x, axis=[], keepdims=True), NUMBERS),
    "sum of all, axes kept": (lambda x: K.sum(x, keepdims=True), NUMBERS),
    "max and a first value": (lambda x: K.max(x, axis=1, initial=11.0), NUMBERS),
    "sort of all": (lambda x: K.sort(x, axis=None), NUMBERS[:, ::-1].copy()),
    "argsort of all": (lambda x: K.argsort(x, axis=None), NUMBERS[:, ::-1].copy()),
    "append": (lambda x, y: K.append(x, y), NUMBERS, ONES),
    "inner with a number": (lambda x, y: K.inner(x, y), np.float32(3).reshape(()), ONES),
    "dot of equal ranks": (lambda x, y: K.dot(x, y), NUMBERS, np.ones((2, 4, 5), np.float32)),
    "count_nonzero": (lambda x: K.count_nonzero(x, axis=1), NUMBERS),
    "take of all": (lambda x: K.take(x, np.array([[2, -1], [0, -2]], np.int32)), NUMBERS),
    "average of the last axis": (lambda x, w: K.average(x, axis=-1, weights=w), ONES, PLAIN[:2, :3] ** 2),
    "layer_normalization by the deviation": (lambda x, g: K.layer_normalization(x, g, rms_scaling=True), PLAIN, PLAIN[0]),
    "rms_normalization by a factor each": (lambda x, g: K.rms_normalization(x, g), PLAIN, PLAIN + 1),
    "moments of halves": (lambda x: K.moments(x, axes=[0]), np.array([-1810, 5, 1100], np.float16)),
    **{f"norm {o}": (lambda x, o=o: K.norm(x, ord=o, axis=(0, 2)), NUMBERS - 11) for o in (1, -1, INF, -INF)},
    "norm 0": (lambda x: K.norm(x, ord=0, axis=1), NUMBERS),
    "slice": (lambda x: K.slice(x, np.array([0, 1, 1], np.int32), (1, 2, 2)), NUMBERS),
}  # fmt: skip


ALONE = {("rms_normalization by a factor each", "torch")}


@pytest.mark.parametrize("name", EDGES)
def test_the_backend_that_runs_it_is_followed(name):
    if (name, BACKEND) in ALONE:
        pytest.skip("Keras itself does not run it on this backend")
    call, *arrays = EDGES[name]
    model = network(call, arrays)
    expected = li.run(model, arrays)
    for target in ("onnx", "torch"):
        received = li.run(li.convert(model, to=target), arrays)
        for e, r in zip(expected, received, strict=True):
            assert (e.shape, e.dtype) == (r.shape, r.dtype)
            np.testing.assert_allclose(r, e, rtol=1e-3 if e.dtype == np.float16 else 1e-5, atol=1e-6)
