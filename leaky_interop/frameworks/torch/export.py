"""Exports a module with `torch.export`: examples, dynamic dimensions, and names that survive the export."""

from __future__ import annotations

import inspect
import itertools
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ... import names
from ...errors import Refused, Usage
from . import control
from .arrays import from_numpy
from .quick import quick
from .script import is_script, scripted

# What a written graph module remembers in its `meta`: the inputs it takes, and the layer names of its values.
SHAPES, DTYPES, NAMES = "leaky_interop.input_shapes", "leaky_interop.input_dtypes", "leaky_interop.names"
VALUES = "leaky_interop.value_shapes"  # by value: its shape, open sizes as texts
NARROW = "leaky_interop.narrow"  # by value: the element type of what a wider one holds, see arrays.HELD
LISTS = "leaky_interop.lists"  # and which of its outputs are lists, or may be None
FUNCTIONS = "_functions"  # where `named` puts a graph module's functions for the time of an export


def export(
    model: torch.nn.Module, example: Any, input_shapes: Any = None, static_batch: bool = False, training: bool = False
) -> Any:
    """`torch.export` in evaluation (or training) mode, with the batch (and what `input_shapes` leaves open) dynamic.

    An example of batch 1 is doubled along the batch axis, because torch takes a size of 1 for fixed. Raises Usage where
    torch cannot trace the model.
    """
    if any(isinstance(module, control.TEXTS) for module in model.modules()):
        why = "torch.export takes tensors, and there are none of text"
        raise Refused(f"a {type(model).__name__} that computes with text", why=why, hint="Convert the ONNX model that it was made of")
    model = scripted(model) if is_script(model) else model
    modes = {module: module.training for module in model.modules()}
    failure: Exception | None = None
    try:
        for args, kwargs, open_axes in attempts(model, example, input_shapes, static_batch):
            shapes = torch.export.ShapesCollection()
            for tensor, axes in open_axes:
                shapes[tensor] = dict.fromkeys(axes, torch.export.Dim.AUTO)
            try:
                with torch.no_grad(), quick(), warnings.catch_warnings():
                    # recurrent modules keep a second list of their weights, which tracing touches
                    warnings.filterwarnings("ignore", "The tensor attributes? self.*_flat_weights", UserWarning)
                    traced = named(model.train(training))
                    dynamic = shapes.dynamic_shapes(traced, args, kwargs) if open_axes else None
                    return torch.export.export(traced, args, kwargs, dynamic_shapes=dynamic, strict=False)
            except Refused:
                raise
            except Exception as error:  # whatever the model's own code or torch raises
                failure = failure or error
    finally:
        for module, mode in modes.items():
            module.training = mode
    first = str(failure).strip().partition("\n")[0]
    hint = "Call torch.export.export on it yourself to see torch's own account, and pass the exported program"
    raise Usage(f"torch.export cannot trace {type(model).__name__}", why=first, hint=hint) from failure


def frozen(model: torch.nn.Module, program: Any, example: Any, input_shapes: Any = None, static_batch: bool = False) -> set[str]:
    """Paths of the modules whose own batch norms keep their stored statistics in training mode too.

    In evaluation mode `training=False` and `training=self.training` look alike, so the model is exported in training
    mode as well; where that fails, or calls others, nothing is said to be frozen. A graph module tells it by itself.
    """
    called = _batch_norms(program)
    if not called or isinstance(model, torch.fx.GraphModule) or is_script(model):
        return set()
    try:
        trained = _batch_norms(export(model, example, input_shapes, static_batch, training=True))
    except (Refused, Usage):
        return set()
    if [path for path, _ in trained] != [path for path, _ in called]:
        return set()
    return {path for path, _ in trained} - {path for path, training in trained if training}


def _batch_norms(program: Any) -> list[tuple[str, bool]]:
    """The batch norms that modules other than torch.nn's call with stored statistics: whose path, and whether they train."""
    found = []
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.batch_norm.default and node.args[3] is not None:
            stack = [*(node.meta.get("nn_module_stack") or {}).values()]
            path, kind = stack[-1] if stack else ("", "")
            if "torch.nn.modules.batchnorm" not in str(kind):
                found.append((path, bool(node.args[5])))
    return found


Attempt = tuple[tuple[Any, ...], dict[str, Any], list[tuple[torch.Tensor, list[int]]]]


def attempts(model: torch.nn.Module, example: Any, input_shapes: Any, static_batch: bool) -> Iterator[Attempt]:
    """Arguments to export with and their open axes, the likeliest guess of where the batch stands first."""
    if example is None and input_shapes is None:
        input_shapes = written_shapes(model)
    if example is None and input_shapes is None:
        raise Usage(
            f"{type(model).__name__} needs an example of its inputs",
            why="a PyTorch module does not know the shapes that it takes",
            hint="Pass example=(tensor, ...) or input_shapes={'x': (None, 3, 224, 224)}",
        )
    wanted = _shapes(model, input_shapes)
    args, kwargs = _arguments(model, example if example is not None else _drawn(wanted, getattr(model, "meta", {}).get(DTYPES, {})))
    leaves, spec = pytree.tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    batch = tensors[0].shape[0] if tensors and tensors[0].ndim else None
    for other in (0, 1):  # the batch of further inputs stands first, or second as in recurrent states
        made, open_axes, shapes = [], [], iter(wanted.values() if wanted else ())
        for leaf in leaves:
            if isinstance(leaf, torch.Tensor):
                axis = 0 if leaf is tensors[0] else other
                has_batch = not static_batch and leaf.ndim > axis and leaf.shape[axis] == batch
                copy = torch.cat([leaf, leaf], axis) if has_batch and batch == 1 else leaf.clone()
                axes = {axis} if has_batch else set()
                for place, size in enumerate(next(shapes, ())):
                    axes |= {place} if size is None and not (static_batch and place == axis) else set()
                open_axes += [(copy, sorted(axes))] if axes else []
                leaf = copy
            made.append(leaf)
        args, kwargs = pytree.tree_unflatten(made, spec)
        yield args, kwargs, open_axes
        if len(tensors) < 2:
            return


def _shapes(model: torch.nn.Module, input_shapes: Any) -> dict[str, tuple[int | None, ...]]:
    """Input shapes by name: from a dict, a list of shapes or one shape; strings and -1 mean an open size, as None does."""
    if not input_shapes:
        return {}
    if not isinstance(input_shapes, Mapping):
        several = isinstance(input_shapes[0], tuple | list)
        parameters = list(inspect.signature(model.forward).parameters)
        shapes = list(input_shapes) if several else [input_shapes]
        input_shapes = {(parameters[i] if i < len(parameters) else f"x{i}"): s for i, s in enumerate(shapes)}
    return {k: tuple(d if isinstance(d, int) and d >= 0 else None for d in shape) for k, shape in input_shapes.items()}


def written_shapes(model: torch.nn.Module) -> Any:
    """The input shapes that a graph module written by this package remembers; None for other modules."""
    return getattr(model, "meta", {}).get(SHAPES) if isinstance(model, torch.fx.GraphModule) else None


def _drawn(shapes: Mapping[str, tuple[int | None, ...]], dtypes: Mapping[str, torch.dtype]) -> tuple[torch.Tensor, ...]:
    """Zeros of the given dtypes (float32 where nothing is said); an open batch is 2, any other open size 64."""
    sizes = {k: tuple((2 if i == 0 else 64) if d is None else d for i, d in enumerate(s)) for k, s in shapes.items()}
    return tuple(torch.zeros(size, dtype=dtypes.get(name, torch.float32)) for name, size in sizes.items())


def _arguments(model: torch.nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments: a tuple is positional, a dict by parameter name is keywords, else one argument."""
    example = pytree.tree_map(lambda a: from_numpy(a) if isinstance(a, np.ndarray) else a, example)
    if isinstance(example, dict) and set(example) <= set(inspect.signature(model.forward).parameters):
        return (), dict(example)
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


class _Function(torch.nn.Module):
    """A function that carries a name while a graph module is exported."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def named(model: torch.nn.Module) -> torch.nn.Module:
    """An fx graph module whose functions keep their value's name through torch.export; other models as they are."""
    if not isinstance(model, torch.fx.GraphModule):
        return model
    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(model.graph, {}))
    root = torch.nn.Module()
    root.__dict__.update({k: v for k, v in model.__dict__.items() if k in ("_parameters", "_buffers", "training")})
    root._modules = {**model._modules, FUNCTIONS: torch.nn.Module()}
    root._non_persistent_buffers_set = set(model._non_persistent_buffers_set)
    homes: dict[str, Any] = {}  # by path: calls of one name share it only if they call the same function
    for node in graph.nodes:
        if node.op in ("call_function", "call_method") and node.target is not operator.getitem:
            function = node.target if node.op == "call_function" else _method(node.target)
            base = names.encode("torch", model.meta.get(NAMES, {}).get(node.name) or node.name)
            paths = itertools.chain([base], (f"{base}_{i}" for i in itertools.count(1)))
            path = next(p for p in paths if homes.setdefault(p, node.target) == node.target)
            add_submodule(root._modules[FUNCTIONS], path, _Function(function))  # type: ignore[arg-type]
            node.op, node.target = "call_module", f"{FUNCTIONS}.{path}"
    return graph_module(root, graph)


def graph_module(root: torch.nn.Module, graph: torch.fx.Graph) -> torch.fx.GraphModule:
    """A graph module whose buffers are saved only where the root's are: fx saves every one that it copies."""
    made = torch.fx.GraphModule(root, graph)
    for node in made.graph.nodes:
        owner, _, key = str(node.target).rpartition(".")
        if node.op == "get_attr" and key in root.get_submodule(owner)._non_persistent_buffers_set:
            made.get_submodule(owner)._non_persistent_buffers_set.add(key)
    return made


def add_submodule(root: torch.nn.Module, path: str, module: torch.nn.Module) -> torch.nn.Module:
    """Put a module at a dotted path, or find the one that stands there already when it is only a container.

    A container that stands where a module belongs hands its children over.
    """
    *parents, last = path.split(".")
    for part in parents:
        if part not in root._modules:
            root.add_module(part, torch.nn.Module())
        root = root._modules[part]  # type: ignore[assignment]
    there = root._modules.get(last)
    if there is not None and type(module) is torch.nn.Module:
        return there
    for key, child in there._modules.items() if there is not None else ():
        module.add_module(key, child)
    root.add_module(last, module)
    return module


def _method(name: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: getattr(self, name)(*args, **kwargs)


