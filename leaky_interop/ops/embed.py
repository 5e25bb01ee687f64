"""Embeddings: rows of a table, looked up by whole numbers.

| setting        | keras Embedding                     | torch.nn.Embedding                      | onnx Gather |
|----------------|-------------------------------------|-----------------------------------------|-------------|
| table          | embeddings (rows, columns)          | weight (rows, columns)                  | data, axis 0 |
| row left alone | mask_zero: a mask, its own operator | padding_idx: no gradient, same numbers  | none        |
| clipping       | none                                | max_norm: rewrites the table, refused   | none        |
"""

import dataclasses
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op, weight
from .dense import Dense
from .math import Div, Mul
from .promotion import in_one_dtype
from .smooth import Tanh


@op
class Embedding(Op):
    """Row ids[...] of a table, for every entry of ids; operands: ids, table (rows, columns)."""

    tolerance = "exact"
    weights = (1,)

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        ids, table = inputs
        return [((*ids.shape, table.shape[1]), table.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[1].take(arrays[0], axis=0)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm, None), ((*perm, len(perm)),)) if len(perm) == inputs[0].rank else None


@imports("torch", "aten.embedding.default")
def embedding_from_torch(call, table, ids, padding_index, *_):
    if padding_index >= 0:
        call.graph.notes.append(
            f"{call.graph.source}: padding_idx={padding_index} keeps a row from training in PyTorch alone"
        )
    return looked_up(ids, table)


@imports("torch", "aten.embedding_renorm.default")
def renorm_from_torch(call, table, *_):
    raise Refused(
        "Embedding with max_norm", why="it rewrites its table whenever it is called", hint="Clip the table once"
    )


@imports("keras", "Embedding")
def embedding_from_keras(layer, ids):
    table = layer.weight("embeddings")
    if ids.is_constant and np.array_equal(ids.array(), np.arange(table.shape[0])):
        return held_weight(layer, table)
    return looked_up(ids.cast(np.int32) if ids.dtype.kind in "fV" else ids, table)


@imports("keras", "ReversibleEmbedding")
def reversible_embedding_from_keras(layer, x, reverse=False):
    """Rows of the table, or with `reverse` how much each of them is like x: a product with the table itself."""
    if not reverse:
        return embedding_from_keras(layer, x)
    kernel = layer.weight("embeddings") if layer.tie_weights else layer.weight("reverse_embeddings").transpose(1, 0)
    if layer.reverse_dtype is not None:
        x, kernel = x.cast(layer.reverse_dtype), kernel.cast(layer.reverse_dtype)
    scores = Dense()(*in_one_dtype(layer, x, kernel), None)
    cap = layer.logit_soft_cap
    return scores if cap is None else Mul()(Tanh()(Div()(scores, cap)), cap)


def held_weight(layer: Any, table: Value) -> Value:
    """How Keras holds what no layer of its own does (see frameworks/keras/holding.py): a weight of its name.

    Frozen and named constant, constant_1 ... it is a constant.
    """
    kept = layer.name != "constant" and not layer.name.startswith("constant_")
    name = layer.name if kept or table.const.trainable else ""
    return layer.graph.parameter(dataclasses.replace(table.const, name=name, home="table"))


def looked_up(ids: Value, table: Value) -> Value:
    """Rows of a table; those that are known before the run are a view of it."""
    if not ids.is_constant or table.const is None:
        return Embedding()(ids, table)
    rows = (ids.array().reshape(-1) % table.shape[0]).tolist()
    view = table.const if rows == list(range(table.shape[0])) else table.const.take(tuple(rows), 0)
    return table.graph.parameter(view.reshape(*ids.shape, table.shape[1]))


@exports("torch", Embedding)
def embedding_to_torch(op, torch, ids, table):
    if not torch.holds(table):
        return torch.nn.functional.embedding(ids, torch.tensor(table))
    return torch.place(torch.nn.Embedding(*table.shape), weight=table)(ids)


@exports("keras", Embedding)
def embedding_to_keras(op, keras, ids, table):
    layer = keras.rows_of(table, keras.node.name) if isinstance(table, Value) else None
    return keras.ops.take(keras.tensor(table), ids, axis=0) if layer is None else layer(ids)


@exports("onnx", Embedding)
def embedding_to_onnx(op, onnx, ids, table):
    return onnx.Gather(table, ids, axis=0)


def _ids(*shape: int, dtype: str = "int64") -> Operand:
    return Operand(shape, dtype=dtype, low=0, high=7)


case("embedding/tokens", Embedding(), _ids(2, 5), weight(7, 4), composed={})
case("embedding/int32", Embedding(), _ids(2, 3, 4, dtype="int32"), weight(7, 3))
case("embedding/float16", Embedding(), _ids(6), weight(7, 4, dtype="float16"))
