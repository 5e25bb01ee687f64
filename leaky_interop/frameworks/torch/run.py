"""Runs PyTorch: a model as its owner would, or a program value by value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ...errors import RuntimeFailure
from ...numeric import dtype
from .arrays import from_numpy, to_numpy
from .export import LISTS, NARROW, SHAPES


def owns(model: Any) -> bool:
    """Whether a model is PyTorch's (asked after Keras, whose models are modules too on its torch backend)."""
    return isinstance(model, torch.nn.Module | torch.export.ExportedProgram)


class Program:
    """Runs an exported program or a graph module value by value."""

    def __init__(self, model: Any, module: Any = None):
        self.model = model
        self.module = module  # what the user has, where `model` is its export

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs of the user's own model on flat inputs."""
        if self.module is None:
            return run(self.model, arrays)
        queue = iter([from_numpy(a) for a in arrays])
        specs = [s for s in self.model.graph_signature.input_specs if s.kind == torch.export.graph_signature.InputKind.USER_INPUT]
        args, kwargs = pytree.tree_unflatten([_given(s, queue) for s in specs], self.model.call_spec.in_spec)
        return _evaluated(self.module, args, kwargs)

    def settings(self, arrays: Sequence[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
        """Outputs in every setting that users run the model in."""
        return [("torch", self.whole(arrays))]

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value in `keys` (all, if None); consumers read the `given` values."""
        inputs = [from_numpy(a) for a in arrays]
        if isinstance(self.model, torch.export.ExportedProgram):
            module, specs = self.model.graph_module, self.model.graph_signature.input_specs
            queue, state = iter(inputs), {**self.model.state_dict, **self.model.constants}
            inputs = [_given(s, queue) if s.target is None else state[s.target] for s in specs]
        else:
            module = self.model
        with torch.no_grad():
            results = _Watched(module, watch, keys, given or {}).run(*inputs)
        if isinstance(self.model, torch.export.ExportedProgram):
            results = user_outputs(self.model, results)
        return _flat(results, self.model)


def _given(spec: Any, queue: Iterator[torch.Tensor]) -> Any:
    """What an input of the program receives: the next tensor, or the number, text or None that torch took for fixed."""
    fixed = torch.export.graph_signature.ConstantArgument
    return spec.arg.value if isinstance(spec.arg, fixed) else next(queue)


def user_outputs(program: torch.export.ExportedProgram, outputs: Sequence[Any]) -> list[Any]:
    """What the model itself returns, without the inputs and buffers that it wrote to."""
    specs = program.graph_signature.output_specs
    return [o for o, s in zip(outputs, specs, strict=True) if s.kind == torch.export.graph_signature.OutputKind.USER_OUTPUT]


class _Watched(torch.fx.Interpreter):
    def __init__(self, module: torch.fx.GraphModule, watch: Any, keys: Any, given: Mapping[Any, np.ndarray]):
        super().__init__(module)
        self.watch, self.keys, self.given = watch, keys, given
        self.narrow = module.meta.get(NARROW, {})

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if (self.watch is None and not self.given) or n.op in ("output", "get_attr"):
            return result
        if isinstance(result, tuple | list):
            return type(result)(self.see(f"{n.name}:{i}", r) for i, r in enumerate(result))
        return self.see(n.name, result)

    def see(self, key: str, result: Any) -> Any:
        if not isinstance(result, torch.Tensor | np.ndarray):
            return result
        if self.watch is not None and (self.keys is None or key in self.keys):
            array = to_numpy(result)
            self.watch(key, array.astype(dtype(self.narrow.get(key, array.dtype))))  # a copy: in-place calls may follow
        return from_numpy(self.given[key]) if key in self.given else result


def run(model: Any, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of the model itself, flat, in evaluation mode; arrays in order or by parameter name."""
    if isinstance(model, torch.export.ExportedProgram):
        names = [a for a in model.graph_signature.user_inputs if isinstance(a, str)]
        return Program(model).run([arrays[n] for n in names] if isinstance(arrays, Mapping) else arrays)
    if isinstance(arrays, Mapping):
        return _evaluated(model, (), {k: from_numpy(a) for k, a in arrays.items()})
    return _evaluated(model, tuple(from_numpy(a) for a in arrays), {})


def _evaluated(model: torch.nn.Module, args: Any, kwargs: Any) -> list[np.ndarray]:
    """Flat outputs in evaluation mode; the model's modes are put back."""
    modes = {module: module.training for module in model.modules() if hasattr(module, "training")}  # frozen TorchScript has none
    try:
        with torch.no_grad():
            return _flat((model.eval() if modes else model)(*args, **kwargs), model)
    except RuntimeError as error:
        raise RuntimeFailure(f"torch could not run {type(model).__name__}", why=str(error).partition("\n")[0]) from error
    finally:
        for module, training in modes.items():
            module.training = training


def leaves(structure: Any) -> list[Any]:
    """Nested outputs in PyTorch's flat order: dicts as they come."""
    return pytree.tree_leaves(structure)


def _flat(results: Any, model: Any) -> list[Any]:
    """Flat outputs; the lists that a model of ours gives stay lists."""
    meta = getattr(model, "meta", {})
    if not meta.get(LISTS):
        arrays = [plain(r) for r in pytree.tree_leaves(results) if isinstance(r, torch.Tensor | np.ndarray | bool | int | float)]
        narrow = meta.get(NARROW)
        if not narrow:
            return arrays
        ends = [narrow.get(n.name) for n in pytree.tree_leaves(model.graph.output_node().args[0])]
        return [a.astype(dtype(kind)) if kind else a for a, kind in zip(arrays, ends, strict=True)]
    return [to_numpy(r) for r in (results if isinstance(results, tuple) else (results,))]


def plain(result: Any) -> np.ndarray:
    """A tensor, number or array of text that a model gives, as an array; None and text by itself are no outputs."""
    if isinstance(result, torch.Tensor | np.ndarray):
        return to_numpy(result)
    return np.asarray(result, np.float32 if isinstance(result, float) else None)


def describe(model: Any) -> str:
    """A model in a line."""
    if isinstance(model, torch.export.ExportedProgram):
        return f"torch ExportedProgram ({sum(t.numel() for t in model.state_dict.values()):,} parameters)"
    name = getattr(model, "original_name", type(model).__name__)  # of TorchScript: its class in Python
    return f"torch {name} ({sum(p.numel() for p in model.parameters()):,} parameters)"


def knows_inputs(model: Any) -> bool:
    """Whether the model itself tells what inputs it takes."""
    return isinstance(model, torch.export.ExportedProgram) or SHAPES in getattr(model, "meta", {})
