"""PyTorch's factorisations with all that they give, and its histograms."""

import numpy as np
import pytest
import torch

import leaky_interop as li
from leaky_interop.errors import Refused
from tests.native import Applied

L = torch.linalg
GENERATOR = torch.Generator().manual_seed(0)
A = torch.randn(2, 4, 4, generator=GENERATOR)
P = A @ A.mT + torch.eye(4)
C = L.cholesky(P)
B = torch.randn(2, 4, 3, generator=GENERATOR)
SINGULAR = torch.stack([torch.zeros(3, 3), torch.eye(3), torch.diag(torch.tensor([1.0, 0.0, 2.0]))])
FACTORS = {
    "inv_ex": (L.inv_ex, A),
    "cholesky_ex": (lambda p: L.cholesky_ex(p, upper=True), P),
    "cholesky": (torch.cholesky, P),
    "cholesky_solve": (torch.cholesky_solve, B, C),
    "cholesky_solve of an upper factor": (lambda b, c: torch.cholesky_solve(b, c.mT, upper=True), B, C),
    "cholesky_inverse": (torch.cholesky_inverse, C),
    "cholesky_inverse of an upper factor": (lambda c: torch.cholesky_inverse(c.mT, upper=True), C),
    "lu_factor_ex": (L.lu_factor_ex, A),
    "lu_factor_ex of singular ones": (L.lu_factor_ex, SINGULAR),
    "lu": (L.lu, A),
    "lu of tall ones": (L.lu, torch.randn(3, 5, 2, generator=GENERATOR)),
    "lu of wide ones": (L.lu, torch.randn(3, 2, 5, generator=GENERATOR)),
    "cholesky of nothing": (torch.cholesky, torch.zeros(2, 0, 0)),
    "inv of nothing": (L.inv, torch.zeros(0, 0)),
    "solve of nothing": (L.solve, torch.zeros(2, 0, 0), torch.zeros(2, 0, 3)),
    "lu_solve": (lambda a, b: L.lu_solve(*L.lu_factor(a), b), A, B),
    "solve_ex": (L.solve_ex, A, B),
    **{
        f"triangular_solve {upper} {transpose}": (
            lambda b, a, u=upper, t=transpose: torch.triangular_solve(b, a + 3 * torch.eye(4), upper=u, transpose=t)[0], B, A,
        )
        for upper in (False, True) for transpose in (False, True)
    },
}  # fmt: skip
X = torch.tensor([0.1, 0.2, 0.3, 0.7, 1.0, float("nan"), -1, 5, 0.65, 0.0, -0.0])
HISTOGRAMS = {
    "histc": (lambda x: torch.histc(x, 10, 0, 1), X),
    "histc below": (lambda x: torch.histc(x, 3, -2, -0.5), X),
    "histc of the data": (lambda x: torch.histc(x, 4), A),
    "histc of one number": (lambda x: torch.histc(x, 5), torch.ones(6)),
    "histogram": (lambda x: torch.histogram(x, 7), A),
    "histogram of weights": (lambda x: torch.histogram(x, 7, range=(-1.0, 1.0), weight=x.abs(), density=True), A),
    "histogram of edges": (lambda x: torch.histogram(x, torch.tensor([-1.0, -0.2, 0.1, 2.0]), density=True), A),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
@pytest.mark.parametrize("name", [*FACTORS, *HISTOGRAMS])
def test_as_pytorch_computes_it(name, to):
    function, *given = (FACTORS | HISTOGRAMS)[name]
    if to == "keras" and "singular" in name:
        pytest.skip("Keras' own factorisation raises an error there")
    made = li.convert(Applied(lambda *xs: function(*xs)), to=to, example=tuple(given), static_batch=True)
    wanted, found = function(*given), li.run(made, [x.numpy() for x in given])
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
    for one, two in zip(wanted, found if isinstance(found, list | tuple) else [found], strict=True):
        finite = np.isfinite(one.numpy())  # of what is divided by nothing, frameworks give other infinities
        np.testing.assert_allclose(np.asarray(two)[finite], one.numpy()[finite], rtol=2e-5, atol=2e-6)
        assert two.dtype == one.numpy().dtype


def test_the_sign_of_success_names_the_first_pivot_that_fails():
    given = torch.stack([torch.eye(3), torch.diag(torch.tensor([1.0, 0.0, 2.0])), -torch.eye(3)])
    for function in (L.inv_ex, L.cholesky_ex):
        made = li.convert(Applied(lambda x, f=function: f(x)[1]), to="onnx", example=(given,), static_batch=True)
        np.testing.assert_array_equal(np.asarray(li.run(made, [given.numpy()])).reshape(-1), function(given)[1].numpy())


def test_edges_of_bins_lie_where_pytorch_puts_them():
    """Every third, its neighbours on both sides: one rounding elsewhere would put some into the next bin."""
    for bins, low, high in ((10, 0.0, 1.0), (7, -1.0, 2.0), (13, 0.3, 1.7)):
        edges = np.linspace(low, high, 3 * bins + 1).astype("f")
        x = torch.from_numpy(np.concatenate([edges, np.nextafter(edges, np.float32(9)), np.nextafter(edges, np.float32(-9))]))
        x = x[(x == 0) | (x.abs() >= torch.finfo(x.dtype).smallest_normal)]  # TensorFlow's threads take others for 0
        for function in (lambda x, n=bins, a=low, b=high: torch.histc(x, n, a, b), lambda x, n=bins, a=low, b=high: torch.histogram(x, n, range=(a, b))[0]):
            for to in ("onnx", "keras"):
                made = li.convert(Applied(function), to=to, example=(x,), static_batch=True)
                np.testing.assert_array_equal(np.asarray(li.run(made, [x.numpy()])).reshape(-1), function(x).numpy())


def test_what_is_not_read_is_refused():
    for function in (lambda x: L.lu_factor(x, pivot=False), lambda x: torch.triangular_solve(x, x, unitriangular=True)[0]):
        with pytest.raises(Refused):
            li.load(Applied(function), (A,), static_batch=True)


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_eigenvalues(to):
    one = torch.diag(torch.tensor([3.0, -2.0, 3.0, 0.0]))
    x = torch.cat([A + A.mT, one[None], torch.zeros(1, 4, 4), A[:1] * 1e4])
    for function in (L.eigvalsh, lambda x: L.eigvalsh(x, UPLO="U")):
        made = li.convert(Applied(lambda x, f=function: f(x)), to=to, example=(x,))
        for given in (x, x[:1], x[1:3]):
            wanted, found = function(given).numpy(), np.asarray(li.run(made, [given.numpy()])).reshape(-1, 4)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=np.abs(wanted).max() * 2e-6)


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_exponentials_of_matrices(to):
    made = li.convert(Applied(torch.matrix_exp), to=to, example=(A,))
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    for given in (A, A[:1] * 10, torch.block_diag(turn * 3, turn * 40)[None], torch.zeros(7, 4, 4)):
        wanted, found = torch.matrix_exp(given).numpy(), np.asarray(li.run(made, [given.numpy()])).reshape(given.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=np.abs(wanted).max() * 2e-5)


def test_eigenvectors_are_refused():
    with pytest.raises(Refused, match="eigvalsh"):
        li.load(Applied(lambda x: L.eigh(x)[0]), (A,))


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_of_a_symmetric_matrix_only_the_lower_triangle_counts(to):
    for function in (lambda x: L.pinv(x, hermitian=True), lambda x: L.pinv(x, rtol=1e-4, hermitian=True)):
        made = li.convert(Applied(function), to=to, example=(A,))
        np.testing.assert_allclose(np.asarray(li.run(made, [A.numpy()])).reshape(A.shape), function(A).numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_angles_of_real_numbers(to):
    x = torch.tensor([-1.5, -0.0, 0.0, 2.0, float("nan"), float("-inf"), float("inf")])
    made = li.convert(Applied(torch.angle), to=to, example=(x,), static_batch=True)
    np.testing.assert_array_equal(np.asarray(li.run(made, [x.numpy()])).reshape(-1), torch.angle(x).numpy())


def test_matrices_without_any_number():
    for function in (L.inv, L.cholesky, lambda x: L.qr(x)[1], lambda x: L.lu_factor(x)[0]):
        li.convert(Applied(lambda x, f=function: f(x)), to="torch", example=(torch.zeros(2, 0, 0),), static_batch=True)


@pytest.mark.parametrize("name", ["_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"])
@pytest.mark.parametrize("to", ["onnx", "keras"])
def test_antialiased_resizing_with_a_factor_for_each_axis(name, to):
    x = torch.randn(2, 3, 8, 9, generator=GENERATOR)
    function = lambda x: getattr(torch.ops.aten, name).default(x, [5, 6], False, None, None)  # noqa: E731
    made = li.convert(Applied(function), to=to, example=(x,))
    np.testing.assert_allclose(np.asarray(li.run(made, [x.numpy()])).reshape(2, 3, 5, 6), function(x).numpy(), rtol=1e-4, atol=1e-5)
