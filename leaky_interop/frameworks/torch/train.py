"""Gradients of a PyTorch network, and what stands still meanwhile: modes, running statistics, dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ...graph import Parameter
from .arrays import from_numpy, to_numpy
from .run import Program, leaves

DROPOUT = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout)
AFTER_MASK = ("dropout_p", "is_causal")  # what may follow the mask of attention by position

Gradients = tuple[list[np.ndarray | None], list[np.ndarray | None]]


def gradients(
    program: Program,
    parameters: Sequence[Parameter],
    arrays: Sequence[np.ndarray],
    cotangents: Callable[[list[np.ndarray]], list[np.ndarray]],
    *,
    training: bool,
) -> Gradients:
    """Gradients of sum(cotangent * output) with respect to each input and each parameter, as the model holds them.

    cotangents : from flat outputs to one array of the same shape for each
    training : batch norm uses the batch's statistics; dropout is off either way

    None stands for an input of integers and for what the outputs do not depend on. The model is left as it was.
    """
    module = program.model if program.module is None else program.module
    exported = isinstance(module, torch.export.ExportedProgram)
    module = module.module() if exported else module
    inputs = [from_numpy(a).requires_grad_(a.dtype.kind in "fV") for a in arrays]
    args, kwargs = tuple(inputs), {}
    if program.module is not None:
        args, kwargs = pytree.tree_unflatten(inputs, program.model.call_spec.in_spec)
    wanted = [*(x for x in inputs if x.requires_grad), *(p.root for p in parameters)]
    with contextlib.nullcontext() if exported else mode(module, training):
        outputs = [o for o in leaves(module(*args, **kwargs)) if isinstance(o, torch.Tensor)]
        found = iter(pulled_back(outputs, wanted, cotangents))
    return [next(found) if x.requires_grad else None for x in inputs], list(found)


def pulled_back(
    outputs: Sequence[torch.Tensor],
    wanted: Sequence[torch.Tensor],
    cotangents: Callable[[list[np.ndarray]], list[np.ndarray]],
) -> list[np.ndarray | None]:
    """The gradients of outputs with respect to tensors, against cotangents that may depend on the outputs."""
    given = cotangents([to_numpy(o.detach()) for o in outputs])
    pairs = [(o, from_numpy(c)) for o, c in zip(outputs, given, strict=True) if o.requires_grad]
    if not pairs or not wanted:
        return [None] * len(wanted)
    differentiable, against = zip(*pairs, strict=True)
    found = torch.autograd.grad(differentiable, wanted, against, allow_unused=True)
    return [None if g is None else to_numpy(g) for g in found]


class WithoutDropout(TorchFunctionMode):
    """Functions that drop out give what they are given."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in DROPOUT:
            return args[0] if args else kwargs["input"]
        if func is F.scaled_dot_product_attention:
            args, kwargs = args[:4], {**(kwargs or {}), **dict(zip(AFTER_MASK, args[4:], strict=False)), "dropout_p": 0.0}
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def mode(module: torch.nn.Module, training: bool) -> Iterator[None]:
    """A module in training or evaluation mode, without dropout and new estimates; modes and buffers are put back."""
    modes = {m: m.training for m in module.modules()}
    rates = {m: m.dropout for m in module.modules() if isinstance(m, torch.nn.MultiheadAttention | torch.nn.RNNBase)}
    buffers = {b: b.detach().clone() for b in module.buffers()}
    try:
        module.train(training)
        for part in module.modules():
            if isinstance(part, torch.nn.modules.dropout._DropoutNd) or _estimates(part):
                part.eval()
        for part in rates:
            part.dropout = 0.0
        with WithoutDropout():
            yield
    finally:
        for part, rate in rates.items():
            part.dropout = rate
        for part, was in modes.items():
            part.training = was
        with torch.no_grad():
            for buffer, numbers in buffers.items():
                buffer.copy_(numbers)


def standing_still(program: Program) -> list[str]:
    """The names of the modules that would estimate the norm of a weight anew at every run in training mode."""
    module = program.model if program.module is None else program.module
    found = [] if isinstance(module, torch.export.ExportedProgram) else module.named_modules()
    return [name.removesuffix(".parametrizations.weight.0") for name, part in found if _estimates(part)]


def _estimates(module: torch.nn.Module) -> bool:
    """Whether a module is a spectral norm, or a layer whose hook is the older kind of one."""
    hooks = module._forward_pre_hooks.values()
    return isinstance(module, _SpectralNorm) or any(isinstance(hook, SpectralNorm) for hook in hooks)


def trains(program: Program) -> bool:
    """Whether the network has a training mode: an exported program is fixed in the mode it was exported in."""
    return not isinstance(program.model if program.module is None else program.module, torch.export.ExportedProgram)
