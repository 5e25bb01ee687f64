"""TimeDistributed of Keras: one layer on every step of a sequence.

Keras' own layers look at each entry of a batch alone, so that all steps may stand in one batch. Of any other layer
nobody knows that: it runs step by step, in a Scan.
"""

from typing import Any

from ..op import Value, imports
from .control import Scan
from .recurrent_cells import TIME, without_time

ANYWHERE = {"Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "Rescaling", "Embedding"}  # however many axes


@imports("keras", "TimeDistributed")
def time_distributed_from_keras(layer, x, mask=None):
    inner = layer.native.layer
    layer.follow(mask)
    given = [x] if mask is None or not takes_mask(inner) else [x, mask]
    if type(inner).__name__ in ANYWHERE and type(inner).__module__.startswith("keras.src.layers."):
        return step(layer, x)
    if alone(inner):
        batch, time = x.shape[:2]
        y = step(layer, *(v.reshape(batch * time, *v.shape[2:]) for v in given))
        return y.reshape(batch, time, *y.shape[1:])
    body = layer.body([(without_time(v), v.dtype) for v in given], lambda *values: [step(layer, *values)])
    count = len(given)
    return Scan(
        label=layer.unique("layer"), states=0, axes=(TIME,) * count, backwards=(False,) * count, result_axes=(TIME,),
        result_backwards=(False,), body=body,
    )(*given)  # fmt: skip


def step(layer: Any, x: Value, mask: Value | None = None) -> Value:
    """The wrapped layer's result. It computes in the dtype of the layer around it."""
    (y,) = layer.called(layer.native.layer, "layer", x, **({} if mask is None else {"mask": mask}))
    return y.cast(layer.compute_dtype) if y.dtype.kind in "fV" else y


def takes_mask(inner: Any) -> bool:
    """Whether a layer asks for the mask."""
    return bool(inner._call_has_mask_arg)


def alone(inner: Any) -> bool:
    """Whether a layer, or every layer in a model, is known to compute each entry of a batch by itself."""
    if not type(inner).__module__.startswith("keras.src.layers."):
        parts = getattr(inner, "layers", None)
        whole = type(inner).__name__ in ("Functional", "Sequential") and type(inner).__module__.startswith("keras.")
        return whole and all(map(alone, parts)) and all(map(is_layer, getattr(inner, "operations", parts)))
    axes = getattr(inner, "axis", None)
    mixes = 0 in (axes if isinstance(axes, list | tuple) else [axes])
    wrapped = [getattr(inner, name) for name in ("layer", "forward_layer", "backward_layer", "cell") if hasattr(inner, name)]
    free = type(inner).__name__ != "Lambda" and not getattr(inner, "stateful", False)  # which steps on from entry to entry
    return not mixes and free and all(map(alone, wrapped))


def is_layer(operation: Any) -> bool:
    """Whether an operation of a model is a layer."""
    return hasattr(operation, "_call_has_mask_arg")
