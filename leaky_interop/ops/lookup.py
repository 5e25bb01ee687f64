"""Categories as numbers, and numbers as vectors of categories.

| Keras            | what it turns into indices                                  | output_mode                                  |
|------------------|-------------------------------------------------------------|----------------------------------------------|
| CategoryEncoding | indices already                                             | one_hot, multi_hot, count (with weights)     |
| Discretization   | how many boundaries are at most x                           | int, one_hot, multi_hot, count               |
| IntegerLookup    | the place in a vocabulary, 0 or more others for what is not | the same and tf_idf                          |
| StringLookup     | the same for text                                           | the same and tf_idf                          |

In lookups indices go: the mask token if there is one, `num_oov_indices` for what is outside, the vocabulary. Hashes of text
(FarmHash, SipHash) have no operators anywhere else.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import imports, refuses
from .classical import looked_up
from .promotion import as_value

HASHED = "it hashes its input as text (FarmHash or SipHash), for which no other framework has operators"
refuses(
    "keras", "Hashing", "HashedCrossing",
    what="which sorts into bins by a hash", why=HASHED, instead="Compute it before the network, and give that the bins",
)  # fmt: skip
refuses(
    "keras", "TextVectorization",
    what="which splits text", why="ONNX has no operator that replaces parts of a text, as its standardization does",
    instead="Compute it before the network, and give that the indices; StringLookup converts",
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
    keys, values = _vocabulary(layer, np.int64)

    def code(ops, x):
        x = ops.cast(x, "int64")
        known, found = table(ops, x, keys, values)
        if outside > 1 and not layer.invert:
            other = ops.mod(x, outside) + native._oov_start_index()
        else:
            other = ops.cast(native._default_value, "int64")
        indices = ops.where(known, found, other)
        if layer.mask_token is not None:
            indices = ops.where(ops.equal(x, int(layer.mask_token)), ops.cast(_masked(layer), "int64"), indices)
        return _in_mode(layer, ops, indices)

    return layer.written(code, x).cast(_weights(layer).dtype)


@imports("keras", "StringLookup")
def string_lookup_from_keras(layer, x):
    native = layer.native
    keys, values = _vocabulary(layer, object)
    if layer.mask_token is not None:
        ends = (0, str(layer.mask_token)) if layer.invert else (str(layer.mask_token), _masked(layer))
        keys, values = (np.concatenate([np.array([end], a.dtype), a]) for end, a in zip(ends, (keys, values), strict=True))
    found = looked_up(as_value(layer, x), keys, values, layer.oov_token if layer.invert else native._default_value)
    if layer.invert:
        return found
    return layer.written(lambda ops, indices: _in_mode(layer, ops, indices), found).cast(_weights(layer).dtype)


def _vocabulary(layer: Any, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a lookup finds, and as what. Raises Refused for lookups that hash."""
    _dense(layer)
    native, outside = layer.native, layer.num_oov_indices
    tokens = np.array(native.get_vocabulary(include_special_tokens=False), dtype)
    places = np.arange(len(tokens)) + native._token_start_index()
    if outside > 1 and not layer.invert and (dtype is object or layer.oov_method == "farmhash"):
        hint = "Use num_oov_indices=1" if dtype is object else "Use floormod"
        raise Refused("a lookup that hashes what is outside its vocabulary", why=HASHED, hint=hint)
    if not outside and not layer.invert:
        layer.graph.notes.append(f"{layer.name}: what is outside the vocabulary stops Keras; here it becomes -1")
    return (places, tokens) if layer.invert else (tokens, places)


def _weights(layer: Any) -> np.ndarray:
    """What the counts of a lookup are multiplied with."""
    return np.asarray(layer.native.idf_weights_const if layer.output_mode == "tf_idf" else np.int64(1))


def _depth(layer: Any) -> int:
    """How long the vectors of a lookup are."""
    return int(layer.max_tokens if layer.pad_to_max_tokens else layer.native.vocabulary_size())


def _masked(layer: Any) -> int:
    """The index of a masked entry: 0, or one behind the vectors' end, so that it leaves no trace in them."""
    return 0 if layer.output_mode == "int" else _depth(layer)


def _in_mode(layer: Any, ops: Any, indices: Any) -> Any:
    """The indices of a lookup in its output mode."""
    mode, weights = layer.output_mode, _weights(layer)
    if mode == "int":
        return indices
    result = encoded(ops, indices, "count" if mode == "tf_idf" else mode, _depth(layer), "int64")
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
