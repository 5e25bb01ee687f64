"""Forests (ai.onnx.ml), all trees walked at once: importers only.

| native (ai.onnx.ml)    | results                                                            |
|------------------------|--------------------------------------------------------------------|
| TreeEnsembleRegressor  | the sum, mean, least or largest of the leaves' weights, by target  |
| TreeEnsembleClassifier | the label, and the sum of the leaves' weights, by class            |
| TreeEnsemble           | as the regressor, since operator set 5                             |

A step down every tree is one comparison of picked entries with picked thresholds; leaves lead to themselves. A forest is
as many steps deep as its deepest tree. Two classes of which only one has weights follow onnxruntime: the label is decided
by 0.5 where no weight is negative, otherwise by 0, and the other class gets 1 - x or -x.
"""

import dataclasses
from typing import Any

import numpy as np

from ..op import Value, imports
from .arg import ArgMax, located
from .classical import in_float, texts
from .compare import Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual, Where
from .functions import IsInf, IsNaN, Neg
from .gather import Gather, GatherElements
from .index import sliced
from .join import Concat
from .logic import And, Or
from .math import Add, Mul, Sub
from .reduce import ReduceAny, ReduceMax, ReduceMin, ReduceSum, reduced
from .shape import with_axes
from .smooth import Sigmoid
from .softmax import Softmax

MODES = (
    "BRANCH_LEQ",
    "BRANCH_LT",
    "BRANCH_GTE",
    "BRANCH_GT",
    "BRANCH_EQ",
    "BRANCH_NEQ",
    "BRANCH_MEMBER",
)  # as numbered
COMPARED = (LessOrEqual, Less, GreaterOrEqual, Greater, Equal, NotEqual)
MEMBER, LEAF = 6, 7
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
DEEPEST = 200  # steps


@dataclasses.dataclass(frozen=True)
class Forest:
    """Nodes of all trees in one numbering; `weights` (nodes, targets) are those of leaves, `there` which a leaf has."""

    roots: np.ndarray
    modes: np.ndarray
    features: np.ndarray
    splits: np.ndarray
    true: np.ndarray
    false: np.ndarray
    missing: np.ndarray  # whether NaN goes where true leads
    weights: np.ndarray
    there: np.ndarray
    members: np.ndarray  # (nodes, most members), filled up with NaN

    def depth(self, node: Any) -> int:
        """Steps to the lowest leaf. Raises Refused for a ring, or too many."""
        level, steps = np.unique(self.roots), 0
        while len(level := level[self.modes[level] != LEAF]):
            level = np.unique(np.concatenate([self.true[level], self.false[level]]))
            steps += 1
            if steps > DEEPEST:
                raise node.refused(
                    f"a tree deeper than {DEEPEST}", why="it may have no end, and each step is several operators"
                )
        return steps

    def leaves(self, node: Any, x: Value) -> Value:
        """(rows, trees): the leaf that each row reaches in each tree."""
        graph, place = x.graph, x.graph.constant(self.roots[None])
        for step in range(self.depth(node)):
            features = self.at(graph, self.features, place)
            if step:
                entries = GatherElements(axis=1)(x, features)
            else:
                entries = Gather(axis=1)(x, features.reshape(len(self.roots)))
            held = self.holds(graph, entries, place)
            place = Where()(held, self.at(graph, self.true, place), self.at(graph, self.false, place))
        return place

    def at(self, graph: Any, numbers: np.ndarray, place: Value) -> Value:
        """What the nodes at some places have."""
        return Gather(axis=0)(graph.constant(numbers), place)

    def holds(self, graph: Any, entries: Value, place: Value) -> Value:
        """Whether the entries meet the conditions of the nodes."""
        kinds = [int(m) for m in np.unique(self.modes) if m != LEAF]
        split, held = self.at(graph, self.splits.astype(entries.dtype), place), None
        for mode in kinds:
            if mode == MEMBER:
                row = self.at(graph, self.members.astype(entries.dtype), place)
                met = reduced(ReduceAny, Equal()(with_axes(entries, [-1]), row), [-1], False)
            else:
                met = COMPARED[mode]()(entries, split)
            if len(kinds) > 1:
                met = And()(met, self.at(graph, self.modes == mode, place))
            held = met if held is None else Or()(held, met)
        if self.missing.any():
            held = Or()(held, And()(IsNaN()(entries), self.at(graph, self.missing, place)))
        return held

    def aggregated(self, node: Any, x: Value, how: str, base: Any = None) -> Value:
        """(rows, targets): the leaves' weights of all trees together, and the base; the least and largest of none are 0."""
        place, graph = self.leaves(node, x), x.graph
        weights = np.where(self.there, self.weights, {"MIN": np.inf, "MAX": -np.inf}.get(how, 0.0))
        kind = {"MIN": ReduceMin, "MAX": ReduceMax}.get(how, ReduceSum)
        found = reduced(kind, self.at(graph, weights.astype(x.dtype), place), [1], False)
        y = Mul()(found, 1 / len(self.roots)) if how == "AVERAGE" else found
        y = y if base is None else Add()(y, graph.constant(np.asarray(base, x.dtype)))
        if np.isfinite(weights[self.modes == LEAF]).all():
            return y
        return Where()(IsInf()(found), graph.constant(np.zeros((), x.dtype)), y)


def rows_of(x: Value) -> Value:
    return in_float(with_axes(x, [0]) if x.rank == 1 else x)


def transformed(node: Any, y: Value, how: str) -> Value:
    """Scores as the last step leaves them."""
    if how == "NONE":
        return y
    if how == "SOFTMAX":
        return Softmax(axes=(y.rank - 1,))(y)
    if how == "LOGISTIC":
        return Sigmoid()(y)
    raise node.refused(f"post_transform={how!r}", why="no framework has it as an operator")


def numbers(node: Any, name: str, default: Any = None) -> Any:
    """A list of floats, or the tensor of doubles that stands for it."""
    tensor = node.stated(f"{name}_as_tensor") if node.has(f"{name}_as_tensor") else None
    listed = node.stated(name)
    content = listed if tensor is None else tensor
    return default if content is None else np.asarray(content).reshape(-1)


def forest_of(node: Any, part: str, targets: int) -> Forest:
    """The trees of the first operators: nodes by tree and number, weights by the same."""
    keys = list(zip(node.nodes_treeids, node.nodes_nodeids, strict=True))
    index = {key: i for i, key in enumerate(keys)}
    modes = [mode.decode() if isinstance(mode, bytes) else mode for mode in node.nodes_modes]
    modes = np.array([MODES.index(mode) if mode in MODES[:MEMBER] else LEAF for mode in modes])
    own = np.arange(len(keys))
    true, false = (
        np.where(
            modes == LEAF,
            own,
            [index.get((tree, to), i) for i, ((tree, _), to) in enumerate(zip(keys, ids, strict=True))],
        )
        for ids in (node.nodes_truenodeids, node.nodes_falsenodeids)
    )
    weights, there = np.zeros((len(keys), targets)), np.zeros((len(keys), targets), bool)
    at = [node.stated(f"{part}_{name}") for name in ("treeids", "nodeids", "ids")]
    for tree, leaf, target, weight in zip(*at, numbers(node, f"{part}_weights"), strict=True):
        weights[index[tree, leaf], target] += weight
        there[index[tree, leaf], target] = True
    numbers(node, "nodes_hitrates")
    inner = own[modes != LEAF]
    roots = np.setdiff1d(own, np.concatenate([true[inner], false[inner]]))
    missing = np.asarray(node.nodes_missing_value_tracks_true or [0] * len(keys), bool)
    return Forest(
        roots,
        modes,
        np.asarray(node.nodes_featureids),
        numbers(node, "nodes_values"),
        true,
        false,
        missing,
        weights,
        there,
        np.zeros((0, 0)),
    )


@imports("onnx", "ai.onnx.ml.TreeEnsembleRegressor")
def tree_regressor_from_onnx(node, x):
    x, base, targets = rows_of(x), numbers(node, "base_values"), node.n_targets
    y = forest_of(node, "target", targets).aggregated(node, x, node.aggregate_function, base)
    return transformed(node, y, node.post_transform).cast(np.float32)


@imports("onnx", "ai.onnx.ml.TreeEnsemble", since=5)
def trees_from_onnx(node, x):
    inner, leaves, targets = len(node.nodes_featureids), len(node.leaf_targetids), node.n_targets
    ends = lambda ids, is_leaf: np.asarray(ids) + inner * np.asarray(is_leaf)  # noqa: E731
    own = np.arange(inner, inner + leaves)
    weights, there = np.zeros((inner + leaves, targets)), np.zeros((inner + leaves, targets), bool)
    weights[own, node.leaf_targetids], there[own, node.leaf_targetids] = np.asarray(node.leaf_weights).reshape(-1), True
    modes = np.concatenate([np.asarray(node.nodes_modes).reshape(-1).astype(int), np.full(leaves, LEAF)])
    fill = lambda content, kind: np.concatenate([np.asarray(content, kind).reshape(-1), np.zeros(leaves, kind)])  # noqa: E731
    hitrates = node.nodes_hitrates  # noqa: F841  (says how often, changes nothing)
    forest = Forest(
        np.asarray(node.tree_roots), modes, fill(node.nodes_featureids, int), fill(node.nodes_splits, float),
        np.append(ends(node.nodes_truenodeids, node.nodes_trueleafs), own), np.append(ends(node.nodes_falsenodeids, node.nodes_falseleafs), own),
        fill(node.nodes_missing_value_tracks_true or [0] * inner, bool), weights, there, _members(node, modes),
    )  # fmt: skip
    y = forest.aggregated(node, rows_of(x), AGGREGATES[node.aggregate_function])
    return transformed(node, y, TRANSFORMS[node.post_transform])


def _members(node: Any, modes: np.ndarray) -> np.ndarray:
    """By node, the values that meet its condition: in the file one list after the other, parted by NaN."""
    sets: list[list[float]] = [[]]
    for value in () if node.membership_values is None else np.asarray(node.membership_values).reshape(-1).tolist():
        if value != value:
            sets.append([])
        else:
            sets[-1].append(value)
    found = np.full((len(modes), max(map(len, sets))), np.nan)
    for place, values in zip(np.flatnonzero(modes == MEMBER), sets, strict=False):
        found[place, : len(values)] = values
    return found


# --- classes ----------------------------------------------------------------------------------------------------------


def labels_of(node: Any, name: str) -> np.ndarray:
    """The labels of the classes, text or numbers."""
    words, ids = node.classlabels_strings, node.stated(name)
    return texts(words) if words else np.asarray(ids, np.int64)


@imports("onnx", "ai.onnx.ml.TreeEnsembleClassifier")
def tree_classifier_from_onnx(node, x):
    labels, base, how = labels_of(node, "classlabels_int64s"), numbers(node, "base_values"), node.post_transform
    x = rows_of(x)
    forest = forest_of(node, "class", len(labels))
    used = np.flatnonzero(forest.there.any(0))
    if len(labels) > 2 and (base is not None or forest.there[forest.modes == LEAF].all()):
        scores = forest.aggregated(node, x, "SUM", base)
        label = Gather(axis=0)(x.graph.constant(labels), located(ArgMax, scores, -1, False))
        return label, transformed(node, scores, how).cast(np.float32)
    if len(labels) == 2 and used.tolist() == [0] and (base is None or len(base) == 1):
        score = sliced(forest.aggregated(node, x, "SUM", None if base is None else [base[0], 0]), {1: slice(0, 1)})
        return of_two(node, score, labels, how, positive=bool((numbers(node, "class_weights") >= 0).all()))
    raise node.refused(
        "a forest whose leaves vote for some classes only", why="onnxruntime then counts by whether a class has votes"
    )


def of_two(node: Any, score: Value, labels: np.ndarray, how: str, *, positive: bool) -> tuple[Value, Value]:
    """Label and scores of two classes by the score (rows, 1) of the second."""
    above = Greater()(score, 0.5 if positive else 0.0).reshape(score.shape[0])
    label = Gather(axis=0)(score.graph.constant(labels), above.cast(np.int64))
    if how == "PROBIT":
        transformed(node, score, how)
    if positive:
        score = Sigmoid()(score) if how == "LOGISTIC" else score
        pair = Concat(axis=1)(Sub()(1.0, score), score)
    else:
        pair = Concat(axis=1)(Neg()(score), score)
        pair = Sigmoid()(pair) if how == "LOGISTIC" else pair
    return label, pair.cast(np.float32)
