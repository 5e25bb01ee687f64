"""Categories as numbers, and numbers as vectors of categories.

| Keras            | what it turns into indices                                  | output_mode                                  |
|------------------|-------------------------------------------------------------|----------------------------------------------|
| CategoryEncoding | indices already                                             | one_hot, multi_hot, count (with weights)     |
| Discretization   | how many boundaries are at most x                           | int, one_hot, multi_hot, count               |
| IntegerLookup    | the place in a vocabulary, 0 or more others for what is not | the same and tf_idf                          |
| StringLookup     | the same for text                                           | the same and tf_idf                          |
| TextVectorization| the same for the words of a text                            | int, multi_hot, count, tf_idf                |

In lookups indices go: the mask token if there is one, `num_oov_indices` for what is outside, the vocabulary. Hashes of text
(FarmHash, SipHash) have no operators anywhere else.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports, product, refuses
from .classical import looked_up
from .compare import Equal
from .expand import filled
from .index import sliced
from .join import Concat
from .promotion import as_value
from .strings import StringNormalizer, StringSplit

HASHED = "it hashes its input as text (FarmHash or SipHash), for which no other framework has operators"
refuses(
    "keras", "Hashing", "HashedCrossing",
    what="which sorts into bins by a hash", why=HASHED, instead="Compute it before the network, and give that the bins",
)  # fmt: skip
DENSE = 16  # a table of all numbers between the least and the greatest key, where it has at most so many places a key


def encoded(ops: Any, indices: Any, mode: str, depth: int, dtype: str, weights: Any = None) -> Any:
    """Indices in one of Keras' output modes: as they are, or one vector for each or (multi_hot, count) for all of a sample."""
    if mode == "int":
        return ops.cast(indices, dtype)
    indices = indices if indices.shape else ops.expand_dims(indices, -1)
    if mode == "one_hot":
        indices = ops.squeeze(indices, -1) if len(indices.shape) > 1 and indices.shape[-1] == 1 else indices
        return ops.one_hot(indices, depth, dtype=dtype)
    axis = 1 if len(indices.shape) > 1 else 0
    hot = ops.one_hot(indices, depth, dtype=dtype if weights is None else weights.dtype)
    if mode == "multi_hot":
        return ops.max(hot, axis)
    return ops.sum(hot if weights is None else hot * ops.expand_dims(weights, -1), axis)


def _dense(layer: Any) -> None:
    if layer.sparse:
        raise Refused("a sparse result", why="no other framework's network gives one", hint="Use sparse=False")


@imports("keras", "CategoryEncoding")
def category_encoding_from_keras(layer, x, count_weights=None):
    _dense(layer)

    def code(ops, x, *weights):
        weights = [ops.cast(w, layer.compute_dtype) for w in weights]
        return encoded(ops, ops.cast(x, "int32"), layer.output_mode, layer.num_tokens, layer.native.dtype, *weights)

    return layer.written(code, x, *(() if count_weights is None else (count_weights,)))


@imports("keras", "Discretization")
def discretization_from_keras(layer, x):
    _dense(layer)
    bins = np.asarray(layer.bin_boundaries, np.float32)

    def code(ops, x):
        indices = ops.digitize(x, bins)
        return encoded(ops, indices, layer.output_mode, len(bins) + 1, layer.native.output_dtype)

    return layer.written(code, x)


@imports("keras", "IntegerLookup")
def integer_lookup_from_keras(layer, x):
    native, outside = layer.native, layer.num_oov_indices
    x = as_value(layer, x)
    keys, values = _vocabulary(layer, native, np.int64)

    def code(ops, x):
        x = ops.cast(x, "int64")
        known, found = table(ops, x, keys, values)
        if outside > 1 and not layer.invert:
            other = ops.mod(x, outside) + native._oov_start_index()
        else:
            other = ops.cast(native._default_value, "int64")
        indices = ops.where(known, found, other)
        if layer.mask_token is not None:
            indices = ops.where(ops.equal(x, int(layer.mask_token)), ops.cast(_masked(native), "int64"), indices)
        return _in_mode(native, ops, indices)

    return layer.written(code, x).cast(_weights(native).dtype)


@imports("keras", "StringLookup")
def string_lookup_from_keras(layer, x):
    found = _indices(layer, layer.native, as_value(layer, x))
    return found if layer.invert else _vectors(layer, layer.native, found)


@imports("keras", "TextVectorization")
def text_vectorization_from_keras(layer, x):
    """Lower case, words, places in the vocabulary. The words of a row are followed by empty ones, which are masked."""
    native, lookup = layer.native, layer.native._lookup_layer
    _judge_text(native)
    x = as_value(layer, x)
    if native._standardize == "lower":  # of ASCII alone
        shape, flat = x.shape, x.reshape(product(x.shape))
        lowered = StringNormalizer(label=layer.unique("lower"), case="LOWER", case_sensitive=True, stop_words=(), locale="C")
        x = lowered(flat).reshape(*shape)
    if native._split is not None:
        batch = x.shape[0]
        x = x.reshape(batch)
        for i, space in enumerate(SPACES):  # each by its name: without one, onnxruntime splits at " " alone, Python at more
            x, _ = StringSplit(label=layer.unique(f"split_{i}"), delimiter=space, most=None)(x)
        x = x.reshape(batch, product(x.shape[1:]))
    length = native._output_sequence_length or 1  # no row is empty, which has no largest
    x = Concat(axis=x.rank - 1)(x, filled(layer.graph, (*x.shape[:-1], length), "", object)) if native._split or length > 1 else x
    found = _indices(layer, lookup, x)
    if native._output_mode != "int":
        return _vectors(layer, lookup, found)
    if native._split is not None:
        empty = Equal()(x, layer.graph.constant(np.array("", object)))
        found = layer.written(_empty_last, found, empty)
    return sliced(found, {found.rank - 1: slice(0, native._output_sequence_length)})


SPACES = "\v\f\r\t\n "  # what TensorFlow splits at


def _empty_last(ops: Any, found: Any, empty: Any) -> Any:
    """The entries of each row that are not empty, in their order, then the others."""
    place = ops.cumsum(ops.ones_like(found), axis=1)
    order = ops.argsort(ops.where(empty, place + 2**40, place), axis=1)
    return ops.take_along_axis(found, order, axis=1)


def _judge_text(native: Any) -> None:
    """Raises Refused for what ONNX has no operator for."""
    length, mode = native._output_sequence_length, native._output_mode
    reasons = {
        f"standardize={native._standardize!r}": (
            native._standardize not in (None, "lower"),
            "ONNX has no operator that replaces parts of a text, as leaving punctuation out does",
        ),
        f"split={native._split!r}": (native._split not in (None, "whitespace"), "ONNX splits texts at delimiters alone"),
        f"ngrams={native._ngrams_arg}": (native._ngrams is not None, "no operator joins the words of a row"),
        "ragged=True": (native._ragged, "no other framework's network gives rows of unlike length"),
        f"output_mode={mode!r}": (mode == "one_hot", "Keras says the shape of its result otherwise than it is"),
        "output_sequence_length=None": (
            mode == "int" and native._split is not None and length is None,
            "the longest row of a batch would decide how many words each has",
        ),
    }
    for what, (met, why) in reasons.items():
        if met:
            hint = "Compute it before the network, and give that the indices; StringLookup and other settings convert"
            raise Refused(f"TextVectorization with {what}", why=why, hint=hint)


def _indices(layer: Any, lookup: Any, x: Value) -> Value:
    """The indices of texts, or the texts of indices, by a StringLookup: that which is called or one inside."""
    keys, values = _vocabulary(layer, lookup, object)
    if lookup.mask_token is not None:
        ends = (0, str(lookup.mask_token)) if lookup.invert else (str(lookup.mask_token), _masked(lookup))
        keys, values = (np.concatenate([np.array([end], a.dtype), a]) for end, a in zip(ends, (keys, values), strict=True))
    return looked_up(x, keys, values, lookup.oov_token if lookup.invert else lookup._default_value)


def _vectors(layer: Any, lookup: Any, indices: Value) -> Any:
    return layer.written(lambda ops, indices: _in_mode(lookup, ops, indices), indices).cast(_weights(lookup).dtype)


def _vocabulary(layer: Any, lookup: Any, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a lookup finds, and as what. Raises Refused for lookups that hash."""
    _dense(lookup)
    outside = lookup.num_oov_indices
    tokens = np.array(lookup.get_vocabulary(include_special_tokens=False), dtype)
    places = np.arange(len(tokens)) + lookup._token_start_index()
    if outside > 1 and not lookup.invert and (dtype is object or lookup.oov_method == "farmhash"):
        hint = "Use num_oov_indices=1" if dtype is object else "Use floormod"
        raise Refused("a lookup that hashes what is outside its vocabulary", why=HASHED, hint=hint)
    if not outside and not lookup.invert:
        layer.graph.notes.append(f"{layer.name}: what is outside the vocabulary stops Keras; here it becomes -1")
    return (places, tokens) if lookup.invert else (tokens, places)


def _weights(lookup: Any) -> np.ndarray:
    """What the counts of a lookup are multiplied with."""
    return np.asarray(lookup.idf_weights_const if lookup.output_mode == "tf_idf" else np.int64(1))


def _depth(lookup: Any) -> int:
    """How long the vectors of a lookup are."""
    return int(lookup.max_tokens if lookup.pad_to_max_tokens else lookup.vocabulary_size())


def _masked(lookup: Any) -> int:
    """The index of a masked entry: 0, or one behind the vectors' end, so that it leaves no trace in them."""
    return 0 if lookup.output_mode == "int" else _depth(lookup)


def _in_mode(lookup: Any, ops: Any, indices: Any) -> Any:
    """The indices of a lookup in its output mode."""
    mode, weights = lookup.output_mode, _weights(lookup)
    if mode == "int":
        return indices
    result = encoded(ops, indices, "count" if mode == "tf_idf" else mode, _depth(lookup), "int64")
    return result if mode != "tf_idf" else ops.cast(result, weights.dtype.name) * weights


def table(ops: Any, x: Any, keys: np.ndarray, values: np.ndarray) -> tuple[Any, Any]:
    """Whether each number is a key, and the value of the key that it is (anything where it is none)."""
    keys, values = (keys, values) if len(keys) else (np.array([-1]), np.array([0]))
    low, span = int(keys.min()), int(np.ptp(keys)) + 1
    if span <= DENSE * len(keys) + 1024:
        there, by_key = np.zeros(span, bool), np.zeros(span, np.int64)
        there[keys - low], by_key[keys - low] = True, values
        place = ops.clip(x - low, 0, span - 1)
        inside = ops.logical_and(x >= low, x < low + span)
        return ops.logical_and(inside, ops.take(there, place)), ops.take(by_key, place)
    same = ops.equal(ops.expand_dims(x, -1), keys)
    return ops.any(same, -1), ops.sum(ops.where(same, values, 0), -1)
