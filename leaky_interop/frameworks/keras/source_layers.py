"""Keras' layers and functions as source code: their settings, of which what is usual is left out."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import keras
import numpy as np

from ...code.steps import call, literal, with_calls
from ...errors import Refused
from ...graph import snake

FIRST = ("pool_size", "rate", "size", "padding", "cropping")  # settings that come first and are given by position
STATED = (
    "rate",
    "pool_size",
    "negative_slope",
    "epsilon",
    "momentum",
)  # written even where they are the default: frameworks differ
HINT = "Write a .keras file"
NUMBERS = ("_initializer", "_regularizer", "_constraint")  # settings that say how numbers begin or are trained


def constructor(layer: keras.Layer, name: ast.expr | None) -> ast.expr:
    """The call that makes a layer like this one: what it requires, then what differs from the usual.

    Raises Refused for a layer with a setting that has no literal.
    """
    if type(layer).__name__ == "Bidirectional":
        inner = constructor(layer.forward_layer, None)
        rest = {"merge_mode": literal(layer.merge_mode, "merge_mode")}
        return _named(call("layers.Bidirectional", inner, **rest), layer, name)
    kind = next((k for k in (type(layer).__name__, "GroupQueryAttention") if getattr(keras.layers, k, None) is type(layer)), None)
    if kind is None:
        raise Refused(
            f"the layer {type(layer).__name__} in source code", layer.name, "it is none of keras.layers", HINT
        )
    config = layer.get_config()
    settings = {
        k: literal(_plain(v, layer), k) for k, v in config.items() if k in _parameters(type(layer)) and _told(k, v)
    }
    if isinstance(layer, keras.layers.MultiHeadAttention):  # what it fills in by itself
        usual = {"value_dim": layer.key_dim, "attention_axes": (1,)}
        settings = {k: v for k, v in settings.items() if k not in usual or config[k] != usual[k]}
    return _named(call(f"layers.{kind}", **settings), layer, name)


def shortened(node: ast.expr) -> ast.expr:
    """An expression whose layers are made as people make them: required settings by position, usual ones left out."""
    return with_calls(node, _shorten)


def _shorten(found: ast.Call) -> None:
    f = found.func
    if not (isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "layers"):
        return
    parameters = _parameters(getattr(keras.layers, f.attr))
    kept = [k for k in found.keywords if not _is_usual(k, parameters, f.attr)]
    for place, (name, parameter) in enumerate(parameters.items()):
        needed = parameter.default is inspect.Parameter.empty or (place == 0 and name in FIRST)
        if not needed or not kept or kept[0].arg != name or len(found.args) != place:
            break
        found.args.append(kept.pop(0).value)
    found.keywords = kept


def arguments_of(operation: Any, given: int) -> tuple[str, list[Any], dict[str, Any]]:
    """The function of keras.ops that an operation comes from, its settings by position and by name.

    given : how many arguments stand by position

    Raises Refused where there is none that takes these.
    """
    kind = type(operation).__name__
    name = snake(kind)
    function = getattr(keras.ops, name, None)
    settings = {k: v for k, v in operation.get_config().items() if k != "name"}
    if function is None:
        raise Refused(f"{kind} in source code", operation.name, "keras.ops has no function for it", HINT)
    parameters = inspect.signature(function).parameters
    if unknown := [k for k in settings if k not in parameters]:
        raise Refused(f"{kind} in source code", operation.name, f"keras.ops.{name} takes no {', '.join(unknown)}", HINT)
    told = {k: v for k, v in settings.items() if not _same(v, parameters[k].default)}
    order = list(parameters)[given:]
    by_place = [k for k, following in zip(told, order, strict=False) if k == following][:1]
    return name, [told.pop(k) for k in by_place], told


def _named(made: ast.Call, layer: keras.Layer, name: ast.expr | None) -> ast.expr:
    if layer.dtype_policy.name != "float32":
        made.keywords.append(ast.keyword("dtype", ast.Constant(layer.dtype_policy.name)))
    if not layer.trainable:
        made.keywords.append(ast.keyword("trainable", ast.Constant(False)))
    if name is not None:
        made.keywords.append(ast.keyword("name", name))
    return made


def _parameters(made: type) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(made.__init__).parameters.items())[1:])  # type: ignore[misc]


def _told(name: str, content: Any) -> bool:
    """Whether a setting is told: not where it only concerns how numbers begin."""
    return (
        not name.endswith(NUMBERS)
        and name not in ("name", "dtype", "trainable", "seed")
        and not (name == "activation" and content == "linear")
    )


def _plain(content: Any, layer: keras.Layer) -> Any:
    """A setting as a literal; one number for several that are the same."""
    if isinstance(content, list | tuple):
        content = tuple(_plain(c, layer) for c in content)
        same = bool(content) and all(type(c) is int and c == content[0] for c in content)
        return content[0] if same and not any(hasattr(layer, k) for k in ("target_shape", "dims", "axis")) else content
    if content is None or isinstance(content, bool | int | float | str):
        return content
    what = f"a setting of {type(layer).__name__} in source code"
    raise Refused(what, layer.name, f"{type(content).__name__} has no literal", HINT)


def _is_usual(keyword: ast.keyword, parameters: dict[str, inspect.Parameter], kind: str) -> bool:
    if not isinstance(keyword.value, ast.Constant) or keyword.arg not in parameters:
        return False
    content = keyword.value.value
    if keyword.arg in STATED and kind not in ("ReLU", "Activation"):
        return False
    if keyword.arg == "data_format":
        return bool(content == "channels_last")
    return _same(content, parameters[keyword.arg].default)


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, tuple) and len(set(b)) == 1 and isinstance(a, int):
        return bool(a == b[0])
    if isinstance(a, tuple) and len(a) == 1:
        a = a[0]
    return type(a) is type(b) and bool(a == b)


def array_expression(array: np.ndarray) -> ast.expr:
    """A constant as numpy writes it."""
    kind = ast.Constant(array.dtype.name)
    if array.ndim >= 2 and array.size > 4 and array.shape[-1] == array.shape[-2] == array.size**0.5:
        for name, corner in (("triu", array[..., 0, -1]), ("tril", array[..., -1, 0])):
            full = np.full(array.shape, corner.reshape(-1)[0], array.dtype)
            for k in (-1, 0, 1):
                if np.array_equal(getattr(np, name)(full, k), array):
                    filled = call("np.full", ast.Constant(array.shape), ast.Constant(full.item(0)), dtype=kind)
                    return call(f"np.{name}", filled, ast.Constant(k))
    if array.ndim == 1 and array.dtype.kind == "i" and len(array) > 1 and np.array_equal(array, np.arange(len(array))):
        return call("np.arange", literal(len(array), "size"), dtype=kind)
    return call("np.array", literal(_tuples(array.tolist()), "values"), dtype=kind)


def _tuples(content: Any) -> Any:
    return tuple(map(_tuples, content)) if isinstance(content, list) else content
