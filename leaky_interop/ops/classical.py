"""Classical machine learning (ai.onnx.ml), said in the operators of networks: importers only.

| native (ai.onnx.ml)    | is                                                                                            |
|------------------------|-----------------------------------------------------------------------------------------------|
| ArrayFeatureExtractor  | entries along the last axis                                                                   |
| Binarizer              | x > threshold                                                                                 |
| CategoryMapper         | a text's number or a number's text, by two lists                                              |
| FeatureVectorizer      | rows cut or filled up to their widths, one after the other                                    |
| Imputer                | one value, or NaN, replaced                                                                   |
| LabelEncoder           | the value of the first key that x is; NaN is a key since operator set 4                       |
| Normalizer             | x divided by the largest entry, the sum of absolute values, or the root of that of squares    |
| OneHotEncoder          | equality with every category                                                                  |
| Scaler                 | (x - offset) * scale                                                                          |

What the specification leaves open (results in float32, a row of zeros that stays) is as onnxruntime's kernels have it;
trees stand in trees.py, linear models and SVMs in classical_linear.py. A file with these operators is read when asked for.
"""

from typing import Any

import numpy as np

from ..op import Value, imports, product
from .arg import ArgMax, located
from .compare import Equal, Greater, Where
from .functions import IsNaN, Sqrt
from .gather import Gather
from .index import sliced
from .join import Concat
from .logic import Or
from .math import Div, Mul, Sub
from .pad import pad
from .reduce import ReduceAny, ReduceL1, ReduceMax, ReduceSumSquare, reduced
from .shape import with_axes


def texts(content: Any) -> np.ndarray:
    """An attribute's strings as an array of text."""
    return np.array([text.decode() if isinstance(text, bytes) else text for text in content], object)


def in_float(x: Value) -> Value:
    """What these operators compute in: float32, of whole numbers too; float64 stays."""
    return x if x.dtype == np.float64 else x.cast(np.float32)


def row_of(node: Any, numbers: Any, x: Value) -> Value:
    """One number for all features, or one for each, as an operand beside x."""
    if len(numbers) not in (1, x.shape[-1] if x.rank else 1) or (len(numbers) > 1 and x.rank > 2):
        raise node.refused(
            f"{len(numbers)} numbers for an input of rank {x.rank}", why="one belongs to each feature, or one to all"
        )
    return x.graph.constant(np.asarray(numbers, x.dtype))


@imports("onnx", "ai.onnx.ml.ArrayFeatureExtractor")
def entries_from_onnx(node, x, places):
    found = Gather(axis=x.rank - 1)(x, places.reshape(product(places.shape)))
    return with_axes(found, [0]) if x.rank == 1 else found


@imports("onnx", "ai.onnx.ml.Binarizer")
def binarizer_from_onnx(node, x):
    return Greater()(x, x.graph.constant(np.asarray(node.threshold, x.dtype))).cast(x.dtype)


@imports("onnx", "ai.onnx.ml.Imputer")
def imputer_from_onnx(node, x):
    floats, whole = (node.imputed_value_floats, node.replaced_value_float), (node.imputed_value_int64s, node.replaced_value_int64)
    (wanted, old), (others, _) = (floats, whole) if x.dtype.kind == "f" else (whole, floats)
    if not wanted or others:
        raise node.refused(f"an Imputer of {x.dtype}", why="it has to have values of that type, and no others")
    lacking = IsNaN()(x) if old != old else Equal()(x, x.graph.constant(np.asarray(old, x.dtype)))
    return Where()(lacking, row_of(node, wanted, x), x)


@imports("onnx", "ai.onnx.ml.Scaler")
def scaler_from_onnx(node, x):
    x = in_float(x)
    moved = Sub()(x, row_of(node, node.offset, x)) if node.offset else x
    return (Mul()(moved, row_of(node, node.scale, x)) if node.scale else moved).cast(np.float32)


@imports("onnx", "ai.onnx.ml.Normalizer")
def normalizer_from_onnx(node, x):
    if x.rank > 2:
        raise node.refused("a Normalizer of more than two axes", why="it normalises rows")
    x = x.cast(np.float32)
    kind = {"MAX": ReduceMax, "L1": ReduceL1, "L2": ReduceSumSquare}[node.norm]
    size = reduced(kind, x, [-1], True)
    size = Sqrt()(size) if node.norm == "L2" else size
    return Div()(x, Where()(Equal()(size, 0.0), x.graph.constant(np.ones((), np.float32)), size))


@imports("onnx", "ai.onnx.ml.FeatureVectorizer")
def feature_vectorizer_from_onnx(node, *xs):
    parts = []
    for x, width in zip(xs, node.inputdimensions, strict=True):
        rows = x.reshape(*((1, -1) if x.rank == 1 else (x.shape[0], -1)[: x.rank])) if x.rank != 2 else x
        if not isinstance(rows.shape[1], int):
            raise node.refused(
                "features of open number", why="they are cut or filled up", hint="Fix the sizes with input_shapes"
            )
        kept = sliced(rows, {1: slice(0, width)}) if rows.shape[1] > width else rows
        parts.append(pad(kept.cast(np.float32), [(0, 0), (0, width - kept.shape[1])], "constant", 0.0))
    return parts[0] if len(parts) == 1 else Concat(axis=1)(*parts)


@imports("onnx", "ai.onnx.ml.OneHotEncoder")
def one_hot_encoder_from_onnx(node, x):
    numbers, words = node.cats_int64s, node.cats_strings
    if x.dtype != object:
        x = x.cast(np.int64)
    if not node.zeros:
        node.graph.notes.append(f"{node.label}: what is no category stops onnxruntime; here it becomes zeros")
    same = Equal()(
        with_axes(x, [-1]), x.graph.constant(texts(words) if x.dtype == object else np.asarray(numbers, np.int64))
    )
    return same.cast(np.float32)


# --- tables -----------------------------------------------------------------------------------------------------------


def looked_up(x: Value, keys: np.ndarray, values: np.ndarray, default: Any, *, finds_nan: bool = False) -> Value:
    """The value of the first key that equals x; the default where none does. finds_nan: NaN is a key that equals itself."""
    graph, column = x.graph, with_axes(x, [-1])
    same = Equal()(column, graph.constant(keys))
    if finds_nan and keys.dtype.kind == "f" and np.isnan(keys).any():
        same = Or()(
            same, Where()(IsNaN()(column), graph.constant(np.isnan(keys)), graph.constant(np.zeros(len(keys), bool)))
        )
    place = located(ArgMax, same.cast(np.int32), -1, False)
    known = reduced(ReduceAny, same, [-1], False)
    index = Where()(known, place, graph.constant(np.int64(len(keys))))
    return Gather(axis=0)(graph.constant(np.append(values, np.asarray(default, values.dtype))), index)


def stated(node: Any, name: str, kinds: Any) -> np.ndarray | None:
    """One of the lists that an attribute's name has for several types, or its tensor."""
    for suffix, dtype in kinds.items():
        if node.has(name + suffix) and (content := node.stated(name + suffix)) is not None:
            return texts(content) if dtype is object else np.asarray(content, dtype)
    tensor = node.stated(f"{name}tensor") if node.has(f"{name}tensor") else None
    return None if tensor is None else np.asarray(tensor).reshape(-1)


@imports("onnx", "ai.onnx.ml.LabelEncoder")
def places_of_classes_from_onnx(node, x):
    words = texts(node.classes_strings or ())
    numbers, defaults = np.arange(len(words)), (node.default_int64, node.default_string)
    if x.dtype == object:  # of a word that is there twice, onnxruntime keeps the last place
        return looked_up(x, words[::-1], numbers[::-1], defaults[0])
    return looked_up(x, numbers, words, defaults[1])


@imports("onnx", "ai.onnx.ml.LabelEncoder", since=2)
def label_encoder_from_onnx(node, x):
    lists = {"strings": object, "int64s": np.int64, "floats": np.float32}
    keys, values = stated(node, "keys_", lists), stated(node, "values_", lists)
    defaults = {"O": node.default_string, "i": node.default_int64, "f": node.default_float}
    tensor = node.default_tensor if node.has("default_tensor") else None
    if keys is None or values is None or len(keys) != len(values) or keys.dtype != x.dtype:
        raise node.refused(f"a LabelEncoder of {x.dtype}", why="it has to have as many keys of that type as values")
    default = defaults[values.dtype.kind] if tensor is None else np.asarray(tensor).reshape(-1)[0]
    default = default.decode() if isinstance(default, bytes) else default
    return looked_up(x, keys, values, default, finds_nan=node.opset >= 4)


@imports("onnx", "ai.onnx.ml.CategoryMapper")
def category_mapper_from_onnx(node, x):
    words, numbers = texts(node.cats_strings), np.asarray(node.cats_int64s, np.int64)
    defaults = (node.default_int64, node.default_string)
    if x.dtype == object:
        return looked_up(x, words, numbers, defaults[0])
    return looked_up(x, numbers, words, defaults[1])
