"""Linear models and support vector machines (ai.onnx.ml): importers only.

| native (ai.onnx.ml) | is                                                                                |
|---------------------|-----------------------------------------------------------------------------------|
| LinearRegressor     | x @ coefficients + intercepts                                                     |
| LinearClassifier    | the label of the largest such score, and the scores                               |
| SVMRegressor        | kernel(x, vectors) @ coefficients + rho; of one class, its sign                   |

Two classes with one score: the label is decided by 0, the other class gets 1 - x. Results are float32. An SVMClassifier
votes pair by pair, and couples probabilities in rounds: it is refused.
"""

from typing import Any

import numpy as np

from ..op import Value, imports, refuses
from .arg import ArgMax, located
from .compare import Greater, Where
from .functions import Exp, Neg
from .gather import Gather
from .math import Add, Mul, Pow
from .matmul import matrix_product
from .reduce import ReduceSum, reduced
from .shape import with_axes
from .smooth import Tanh
from .trees import labels_of, of_two, rows_of, transformed

refuses(
    "onnx", "ai.onnx.ml.SVMClassifier",
    what="which votes pair by pair", why="its probabilities come from rounds that end where little changes",
    instead="Keep it in ONNX behind the network, or use a LinearClassifier",
)  # fmt: skip


def scores_of(node: Any, x: Value, count: int) -> Value:
    """(rows, count): one linear score for each of the rows of coefficients."""
    weights = np.asarray(node.coefficients, x.dtype).reshape(count, -1).T
    y = matrix_product(node, x, x.graph.constant(np.ascontiguousarray(weights)))
    return Add()(y, x.graph.constant(np.asarray(node.intercepts, x.dtype))) if node.intercepts else y


@imports("onnx", "ai.onnx.ml.LinearRegressor")
def linear_regressor_from_onnx(node, x):
    return transformed(node, scores_of(node, rows_of(x).cast(np.float32), node.targets), node.post_transform)


@imports("onnx", "ai.onnx.ml.LinearClassifier")
def linear_classifier_from_onnx(node, x):
    labels, how, x = labels_of(node, "classlabels_ints"), node.post_transform, rows_of(x).cast(np.float32)
    node.multi_class  # noqa: B018  (onnxruntime does not read it)
    count = len(node.intercepts or labels)
    scores = scores_of(node, x, count)
    if count == 1 and len(labels) == 2:
        above = Greater()(scores, 0.0).reshape(x.shape[0])
        _, pair = of_two(node, scores, labels, how, positive=True)
        return Gather(axis=0)(x.graph.constant(labels), above.cast(np.int64)), pair
    if count != len(labels):
        raise node.refused(f"{count} scores of {len(labels)} classes", why="each class has one, or of two the second")
    return Gather(axis=0)(x.graph.constant(labels), located(ArgMax, scores, -1, False)), transformed(node, scores, how)


@imports("onnx", "ai.onnx.ml.SVMRegressor")
def svm_regressor_from_onnx(node, x):
    x, graph = rows_of(x).cast(np.float32), x.graph
    rho = np.asarray(node.rho, np.float32)[:1]
    if not node.n_supports:  # the coefficients themselves
        y = matrix_product(node, x, graph.constant(np.asarray(node.coefficients, np.float32).reshape(-1, 1)))
    else:
        vectors = np.asarray(node.support_vectors, np.float32).reshape(node.n_supports, -1)
        y = matrix_product(
            node, kernel(node, x, vectors), graph.constant(np.asarray(node.coefficients, np.float32).reshape(-1, 1))
        )
    y = Add()(y, graph.constant(rho))
    if node.one_class:
        return Where()(
            Greater()(y, 0.0), graph.constant(np.ones((), np.float32)), graph.constant(np.full((), -1, np.float32))
        )
    return transformed(node, y, node.post_transform)


def kernel(node: Any, x: Value, vectors: np.ndarray) -> Value:
    """(rows, vectors): how alike each row is to each support vector."""
    gamma, offset, degree = (float(p) for p in (*(node.kernel_params or ()), 0.0, 0.0, 0.0)[:3])
    if node.kernel_type == "RBF":
        apart = Add()(with_axes(x, [1]), x.graph.constant(-vectors[None]))
        return Exp()(Neg()(Mul()(reduced(ReduceSum, Mul()(apart, apart), [2], False), gamma)))
    product = matrix_product(node, x, x.graph.constant(np.ascontiguousarray(vectors.T)))
    if node.kernel_type == "LINEAR":
        return product
    moved = Add()(Mul()(product, gamma), offset)
    return Tanh()(moved) if node.kernel_type == "SIGMOID" else Pow()(moved, degree)
