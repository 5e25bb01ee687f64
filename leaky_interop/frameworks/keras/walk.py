"""Walks a functional Keras model call by call, nested models included: the one traversal that reading and running share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

Path = tuple[str, ...]  # names of the nested models a call stands in


def functional(model: Any) -> Any | None:
    """The functional graph of a model: itself, or what a Sequential keeps; None where there is none."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if isinstance(model, keras.Function) or hasattr(model, "_nodes_by_depth") else None


def nodes(function: Any) -> Iterator[Any]:
    """The calls of a functional graph in execution order."""
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if not node.is_input:
                yield node


def stated_arguments(node: Any) -> tuple[list[Any], dict[str, Any]]:
    """A call's positional and keyword arguments, as the model's definition has them."""
    return list(node.arguments.args), dict(node.arguments.kwargs)


def walk(
    function: Any,
    inputs: Sequence[Any],
    apply: Callable[..., Sequence[Any]],
    path: Path = (),
    arguments_of: Callable[[Any], tuple[list[Any], dict[str, Any]]] = stated_arguments,
    enter: Callable[[Any, list[Any]], None] = lambda inner, inputs: None,
    env: dict[int, Any] | None = None,
) -> list[Any]:
    """Flat outputs of `function` on flat `inputs`, in whatever arithmetic `apply` does.

    `apply(operation, args, kwargs, key, node)` returns the flat results of one call; `key` names the call: the path of
    nested models, the operation, and which of its calls it is. `enter(inner, inputs)` is told before each nested one.
    `env` is filled, but for nested models: what each symbolic tensor stands for.
    """
    env = {} if env is None else env
    env.update({id(tensor): value for tensor, value in zip(function.inputs, inputs, strict=True)})
    counts: dict[str, int] = {}
    for node in nodes(function):
        operation = node.operation
        count = counts[operation.name] = counts.get(operation.name, -1) + 1
        key = (*path, operation.name, count)
        args, kwargs = keras.tree.map_structure(
            lambda a: env.get(id(a), a) if isinstance(a, keras.KerasTensor) else a,
            arguments_of(node),
        )
        inner = functional(operation) if isinstance(operation, keras.Model) else None
        if inner is not None:
            given = arguments(operation, args, kwargs)
            enter(inner, given)
            results = walk(inner, given, apply, (*path, operation.name, str(count)), enter=enter)
        else:
            results = apply(operation, args, kwargs, key, node)
        for tensor, value in zip(node.output_tensors, results, strict=True):
            env[id(tensor)] = value
    return [env[id(tensor)] for tensor in function.outputs]


def beside_float64(operands: Any) -> Any:
    """Operands with Python's floats in float64 where a tensor is: by itself Keras makes float32 of them but on TensorFlow."""
    flat = keras.tree.flatten(operands)
    if keras.backend.result_type("float64") == "float64" or not any("float64" in str(getattr(v, "dtype", "")) for v in flat):
        return operands
    return keras.tree.map_structure(lambda v: keras.ops.convert_to_tensor(v, "float64") if isinstance(v, float) else v, operands)


def arguments(model: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """The flat inputs of a nested model's call, in its own order (by key for a dict)."""
    given = args[0] if args else next(iter(kwargs.values()))
    names = model._inputs_struct if hasattr(model, "_inputs_struct") else None
    if isinstance(given, dict) and isinstance(names, dict):
        given = {key: given[key] for key in names}
    return keras.tree.flatten(given)
