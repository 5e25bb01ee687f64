"""What every operator says about permuted data and about the order of features is true of its own reference."""

import numpy as np
import pytest

from leaky_interop.graph import Graph
from leaky_interop.op import CASES
from leaky_interop.ops.transpose import Transpose

PERMS = {
    2: [(1, 0)],
    3: [(0, 2, 1), (1, 2, 0)],
    4: [(0, 3, 1, 2), (0, 2, 3, 1), (2, 0, 3, 1)],
    5: [(0, 4, 1, 2, 3), (0, 2, 3, 4, 1)],
}


def values(case, arrays):
    graph = Graph()
    return [None if a is None else graph.input(f"x{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]


def results(op, arrays):
    made = op.reference(*arrays)
    return made if isinstance(made, tuple) else (made,)


def same(expected, received, where):
    """Equal but for the order of additions: the reference sums along other axes of memory."""
    assert expected.shape == received.shape and expected.dtype == received.dtype, where
    if expected.dtype.kind in "fV":
        precision = 64 * np.finfo(np.float32 if expected.dtype.itemsize > 2 else np.float16).eps
        wide = (a.astype(np.float64) for a in (received, expected))
        np.testing.assert_allclose(*wide, rtol=precision, atol=precision, err_msg=where)
    else:
        assert np.array_equal(expected, received), where


def settled():
    """Every case with every permutation of one of its operands that has enough axes."""
    for case in CASES.values():
        ranks = sorted({len(o.shape) for o in case.operands if o is not None and o.kind == "input"})
        for rank in ranks:
            for perm in PERMS.get(rank, ()):
                yield pytest.param(case, perm, id=f"{case.name}-{''.join(map(str, perm))}")


@pytest.mark.parametrize("case, perm", list(settled()))
def test_an_operator_works_under_a_permutation_as_it_says(case, perm):
    arrays = case.arrays()
    moved = case.op.under(perm, tuple(values(case, arrays)))
    if moved is None:
        return
    turned = []
    for array, wanted in zip(arrays, moved.inputs, strict=True):
        if array is not None and wanted is not None:
            array = array.reshape((1,) * (len(wanted) - array.ndim) + array.shape)
            array = array.transpose(np.argsort(wanted)) if array.ndim == len(wanted) else array
        turned.append(array)
    expected, received = results(case.op, arrays), results(moved.op, turned)
    for e, r, back in zip(expected, received, moved.outputs, strict=True):
        same(e, r if back is None else r.transpose(back), f"{moved.op} under {perm}")


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in CASES.values()])
def test_an_inferred_shape_is_the_computed_one(case):
    arrays = case.arrays()
    inferred = case.op.infer(*values(case, arrays))
    for (shape, dtype), array in zip(inferred, results(case.op, arrays), strict=True):
        assert (tuple(shape), dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in CASES.values()])
def test_features_keep_their_order_along_a_link(case):
    arrays = case.arrays()
    (expected, *others) = results(case.op, arrays)
    if others:
        return
    rng = np.random.default_rng(1)
    for link in case.op.links(tuple(values(case, arrays))):
        sizes = {arrays[i].shape[axis] for i, axis in link.inputs.items() if arrays[i] is not None}
        if len(sizes) != 1 or sizes == {1}:
            continue
        order = rng.permutation(sizes.pop())
        mixed = [
            a if a is None or i not in link.inputs else a.take(order, link.inputs[i]) for i, a in enumerate(arrays)
        ]
        (received,) = results(case.op, mixed)
        same(expected if link.output is None else expected.take(order, link.output), received, str(link))


def test_a_wrong_claim_is_noticed():
    case = CASES["transpose/nchw_to_nhwc"]
    with pytest.raises(AssertionError):
        same(results(case.op, case.arrays())[0], results(Transpose(perm=(0, 3, 2, 1)), case.arrays())[0], "planted")


def test_every_operator_that_can_move_says_so():
    """Moves, reductions and products slide past transposes; a transpose stays in front of what says nothing."""
    moving = {
        "ArgMax", "ArgMin", "Cast", "Concat", "CumProd", "CumSum", "Dense", "Einsum", "Embedding", "Expand", "Flip",
        "Gather", "GatherElements", "MatMul", "OneHot", "ReduceMax", "ReduceMean", "ReduceSum", "ReduceVariance",
        "Repeat", "Reshape", "Roll", "ScatterElements", "Select", "Slice", "Sort", "Split", "Tile", "TopK",
    }  # fmt: skip
    found = set()
    for case in CASES.values():
        rank = len(case.operands[0].shape) if case.operands and case.operands[0] is not None else 0
        for perm in [(*range(1, rank - 1), 0, rank - 1), *PERMS.get(rank, ())] if rank > 1 else ():
            if case.op.under(perm, tuple(values(case, case.arrays()))) is not None:
                found.add(type(case.op).__name__)
    assert moving <= found, f"{moving - found} say nothing"
