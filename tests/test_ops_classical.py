"""Classical machine learning (ai.onnx.ml): what onnxruntime's kernels say, in every framework, when asked for."""

import numpy as np
import onnx
import pytest
from onnx import helper

import leaky_interop as li
from leaky_interop.errors import Refused

RNG = np.random.default_rng(11)
X = np.array([[0, -1.5, np.nan, 2], [0.5, 3, -0.0, 1e6], [np.inf, -1, 0.25, -3], [0, 0, 0, 0]], np.float32)
FINITE = np.array([[0, -1.5, 7, 2], [0.5, 3, -0.0, 10], [-0.5, -1, 0.25, -3], [0, 0, 0, 0], [1, 2, 3, 4]], np.float32)
WHOLE = np.array([[3, -1, 0, 7], [2, 2, 5, -9], [0, 0, 0, 0]], np.int64)
WORDS = np.array([["a", "Ä", ""], ["b", "a", "not there"]], object)
ELEMENTS = {np.dtype(object): onnx.TensorProto.STRING}


def model_of(kind, arrays, outputs, version=3, **settings):
    """One operator of ai.onnx.ml on inputs with an open batch; `outputs` are element types with a rank."""
    ports = []
    for i, a in enumerate(arrays):
        element = ELEMENTS.get(a.dtype) or helper.np_dtype_to_tensor_dtype(a.dtype)
        ports.append(
            helper.make_tensor_value_info(f"x{i}", element, ["batch", *a.shape[1:]] if i == 0 and a.ndim else a.shape)
        )
    made = [
        helper.make_tensor_value_info(f"y{i}", e, [f"d{i}{k}" for k in range(rank)])
        for i, (e, rank) in enumerate(outputs)
    ]
    node = helper.make_node(kind, [p.name for p in ports], [p.name for p in made], domain="ai.onnx.ml", **settings)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(helper.make_graph([node], "g", ports, made), opset_imports=opsets, ir_version=10)


def check(model, arrays, targets=("torch", "onnx"), exact=True):
    """The same numbers, shapes and types as in onnxruntime, on all rows and on each alone."""
    for target in targets:
        made = li.convert(model, target, trust=True, verify=False)
        for given in (arrays, [a[:1] if i == 0 and a.ndim else a for i, a in enumerate(arrays)]):
            expected, received = li.run(model, given), li.run(made, given)
            for e, r in zip(expected, received, strict=True):
                assert (r.shape, r.dtype) == (e.shape, e.dtype), target
                if exact or e.dtype.kind not in "f":
                    np.testing.assert_array_equal(r, e)
                else:
                    np.testing.assert_allclose(r, e, rtol=2e-6, atol=1e-6)
    return made


FLOAT, INT, STRING = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.STRING
NUMBERS = [
    ("ArrayFeatureExtractor", [X, np.array([[3, 0, 0]], np.int64)], FLOAT, {}),
    ("Binarizer", [FINITE], FLOAT, {"threshold": 0.25}),
    ("Binarizer", [FINITE], FLOAT, {}),
    ("Imputer", [X], FLOAT, {"imputed_value_floats": [7.0], "replaced_value_float": float("nan")}),
    ("Imputer", [X], FLOAT, {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": 0.0}),
    ("Imputer", [WHOLE], INT, {"imputed_value_int64s": [9, 8, 7, 6], "replaced_value_int64": 2}),
    ("Scaler", [FINITE], FLOAT, {"offset": [0.1], "scale": [-3.0]}),
    ("Scaler", [X], FLOAT, {"offset": [0.1, 1.0, -2.0, 0.0], "scale": [1.0, 0.1, 2.0, -0.5]}),
    ("Scaler", [WHOLE], FLOAT, {"offset": [0.5], "scale": [0.25]}),
    ("Scaler", [FINITE.astype(np.float64)], FLOAT, {"offset": [0.1], "scale": [0.3]}),
    ("Normalizer", [FINITE], FLOAT, {"norm": "MAX"}),
    ("Normalizer", [FINITE], FLOAT, {"norm": "L1"}),
    ("Normalizer", [FINITE], FLOAT, {"norm": "L2"}),
    ("Normalizer", [WHOLE], FLOAT, {"norm": "L2"}),
    ("OneHotEncoder", [WHOLE], FLOAT, {"cats_int64s": [0, 7, 5, -9]}),
    ("OneHotEncoder", [FINITE], FLOAT, {"cats_int64s": [0, 7, -1]}),
    ("FeatureVectorizer", [FINITE, FINITE[:, :2]], FLOAT, {"inputdimensions": [3, 4]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "arrays", "element", "settings"), NUMBERS)
def test_numbers(kind, arrays, element, settings):
    if kind == "FeatureVectorizer":
        arrays = [arrays[0][:1], arrays[1][:1]]
    rank = arrays[0].ndim + (kind == "OneHotEncoder")
    model = model_of(kind, arrays, [(element, rank)], version=1, **settings)
    keras = ("keras",) if arrays[0].dtype != np.float64 else ()  # whose torch backend computes in float32
    check(model, arrays, ("torch", "onnx", *keras), exact=kind not in ("Normalizer", "Scaler"))


TABLES = [
    (1, WORDS, INT, {"classes_strings": ["b", "a", "a"], "default_int64": -7}),
    (1, WHOLE, STRING, {"classes_strings": ["zero", "", "two"], "default_string": "other"}),
    (2, WORDS, FLOAT, {"keys_strings": ["a", "b", "a"], "values_floats": [1.5, -0.0, 9.0], "default_float": 0.25}),
    (2, WORDS, STRING, {"keys_strings": ["a", ""], "values_strings": ["Ä", "none"]}),
    (2, X, INT, {"keys_floats": [0.0, float("nan"), float("inf")], "values_int64s": [4, 5, 6]}),
    (2, WHOLE, STRING, {"keys_int64s": [7, 0, 2], "values_strings": ["x", "y", "z"], "default_string": "?"}),
    (4, WHOLE, onnx.TensorProto.DOUBLE, {"keys_tensor": np.array([7, 0]), "values_tensor": np.array([0.1, 1e300]), "default_tensor": np.array([-1.0])}),
    (3, X, INT, {"keys_floats": [0.0, 2.0, 0.0], "values_int64s": [4, 5, 6]}),
    (4, X, INT, {"keys_floats": [0.0, float("nan"), float("inf")], "values_int64s": [4, 5, 6]}),
    (4, X.astype(np.float64), INT, {"keys_tensor": np.array([np.nan, 0.25]), "values_tensor": np.array([3, 1]), "default_tensor": np.array([0])}),
]  # fmt: skip


@pytest.mark.parametrize(("version", "x", "element", "settings"), TABLES)
def test_label_encoders(version, x, element, settings):
    settings = {k: onnx.numpy_helper.from_array(v, k) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    model = model_of("LabelEncoder", [x], [(element, 2)], version=version, **settings)
    check(model, [x], ("torch", "onnx") + (("keras",) if STRING not in (element, ELEMENTS.get(x.dtype)) else ()))


def test_category_mappers():
    settings = {"cats_strings": ["a", "b", ""], "cats_int64s": [3, -1, 0]}
    check(model_of("CategoryMapper", [WORDS], [(INT, 2)], 1, **settings), [WORDS])
    check(model_of("CategoryMapper", [WHOLE], [(STRING, 2)], 1, **settings, default_string="no"), [WHOLE])


def test_one_hot_words():
    check(model_of("OneHotEncoder", [WORDS], [(FLOAT, 3)], 1, cats_strings=["a", "Ä", "zz"]), [WORDS])


# --- forests ----------------------------------------------------------------------------------------------------------

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
ROWS = np.concatenate(
    [RNG.integers(-2, 3, (40, 4)).astype(np.float32), RNG.standard_normal((20, 4)).astype(np.float32), X]
)


def forest(part, seed, targets, trees=5, depth=5, modes=MODES[:1], missing=False, all_targets=True, low=-1.0):
    """Random trees as attributes, thresholds among the numbers of ROWS."""
    rng = np.random.default_rng(seed)
    rows = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}

    def grow(tree, level, counter):
        own = next(counter)
        at = len(rows["treeids"])
        is_leaf = level == depth or (level > 0 and rng.random() < 0.3)
        entries = (tree, own, int(rng.integers(4)), float(rng.integers(-2, 3)), str(rng.choice(modes)), 0, 0)
        entries = (tree, own, 0, 0.0, "LEAF", 0, 0) if is_leaf else entries
        for name, value in zip(rows, entries, strict=True):
            rows[name].append(value)
        if is_leaf:
            for target in range(targets) if all_targets else [int(rng.integers(targets))]:
                for name, value in zip(leaves, (tree, own, target, float(rng.uniform(low, 1))), strict=True):
                    leaves[name].append(value)
        else:
            rows["truenodeids"][at], rows["falsenodeids"][at] = (
                grow(tree, level + 1, counter),
                grow(tree, level + 1, counter),
            )
        return own

    for tree in range(trees):
        grow(tree, 0, iter(range(10_000)))
    found = {f"nodes_{k}": v for k, v in rows.items()} | {f"{part}_{k}": v for k, v in leaves.items()}
    if missing:
        found["nodes_missing_value_tracks_true"] = rng.integers(0, 2, len(rows["modes"])).tolist()
    return found


@pytest.mark.parametrize("how", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize(("modes", "missing"), [(MODES[:1], False), (MODES[1:2], True), (MODES, True)])
@pytest.mark.parametrize("targets", [1, 3])
def test_random_regression_forests(how, modes, missing, targets):
    settings = forest(
        "target", 3 + targets, targets, modes=modes, missing=missing, all_targets=how != "MIN" or targets == 1
    )
    settings |= {"n_targets": targets, "aggregate_function": how, "base_values": [0.25] * targets}
    check(model_of("TreeEnsembleRegressor", [ROWS], [(FLOAT, 2)], **settings), [ROWS], exact=False)


def test_regression_forests_of_double_numbers():
    settings = forest("target", 8, 2, modes=MODES) | {"n_targets": 2}
    x = ROWS.astype(np.float64)
    check(model_of("TreeEnsembleRegressor", [x], [(FLOAT, 2)], **settings), [x], exact=False)


def test_a_forest_in_keras_and_with_a_softmax():
    settings = forest("target", 5, 3) | {"n_targets": 3, "post_transform": "SOFTMAX"}
    check(model_of("TreeEnsembleRegressor", [ROWS], [(FLOAT, 2)], **settings), [ROWS], ("keras", "torch"), exact=False)


@pytest.mark.parametrize("how", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("words", [False, True])
def test_random_forests_of_three_classes(how, words):
    labels = {"classlabels_strings": ["Ä", "", "c"]} if words else {"classlabels_int64s": [7, -1, 3]}
    settings = forest("class", 21, 3, missing=True) | labels | {"post_transform": how}
    check(
        model_of("TreeEnsembleClassifier", [ROWS], [(STRING if words else INT, 1), (FLOAT, 2)], **settings),
        [ROWS],
        exact=False,
    )


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("low", [-1.0, 0.0])
@pytest.mark.parametrize("base", [None, [0.125]])
def test_random_forests_of_two_classes(how, low, base):
    settings = forest("class", 22, 1, trees=2 if low == 0 else 5, low=low) | {
        "classlabels_int64s": [5, 9],
        "post_transform": how,
    }
    settings |= {} if base is None else {"base_values": base}
    settings["class_weights"] = [w / 2 for w in settings["class_weights"]]
    check(model_of("TreeEnsembleClassifier", [ROWS], [(INT, 1), (FLOAT, 2)], **settings), [ROWS], exact=False)


def test_votes_for_some_classes_only_are_refused():
    settings = forest("class", 23, 3, all_targets=False) | {"classlabels_int64s": [1, 2, 3]}
    with pytest.raises(Refused, match="vote for some classes only"):
        li.load(model_of("TreeEnsembleClassifier", [ROWS], [(INT, 1), (FLOAT, 2)], **settings), trust=True)


def test_a_tree_that_leads_back_is_refused():
    settings = forest("target", 1, 1, trees=1)
    inner = [i for i, mode in enumerate(settings["nodes_modes"]) if mode != "LEAF"]
    settings["nodes_truenodeids"][inner[-1]] = settings["nodes_nodeids"][inner[-1]]
    with pytest.raises(Refused, match="deeper than"):
        li.load(model_of("TreeEnsembleRegressor", [ROWS], [(FLOAT, 2)], n_targets=1, **settings), trust=True)


# --- linear models and vectors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("classes", [2, 3])
def test_linear_models(how, classes):
    weights, offsets = RNG.standard_normal(classes * 4).tolist(), RNG.standard_normal(classes).tolist()
    model = model_of(
        "LinearRegressor",
        [FINITE],
        [(FLOAT, 2)],
        coefficients=weights,
        intercepts=offsets,
        targets=classes,
        post_transform=how,
    )
    check(model, [FINITE], ("torch", "onnx", "keras"), exact=False)
    settings = {
        "coefficients": weights,
        "intercepts": offsets,
        "classlabels_strings": ["x", "y", "z"][:classes],
        "post_transform": how,
    }
    check(model_of("LinearClassifier", [FINITE], [(STRING, 1), (FLOAT, 2)], **settings), [FINITE], exact=False)


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC"])
def test_a_linear_classifier_of_one_score(how):
    settings = {
        "coefficients": [0.5, -1.0, 2.0, 0.25],
        "intercepts": [0.1],
        "classlabels_ints": [4, 8],
        "post_transform": how,
    }
    check(model_of("LinearClassifier", [FINITE], [(INT, 1), (FLOAT, 2)], **settings), [FINITE], exact=False)


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("one_class", [0, 1])
def test_regression_by_support_vectors(kernel, one_class):
    settings = {
        "kernel_type": kernel, "kernel_params": [0.3, 0.7, 3.0], "n_supports": 3, "one_class": one_class, "rho": [0.2],
        "support_vectors": RNG.standard_normal(12).tolist(), "coefficients": [0.5, -0.25, 1.0],
    }  # fmt: skip
    check(model_of("SVMRegressor", [FINITE], [(FLOAT, 2)], **settings), [FINITE], exact=False)
