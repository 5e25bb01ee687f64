"""Gradients of a PyTorch network, and what stands still meanwhile: modes, running statistics, dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ...graph import Parameter
from .arrays import from_numpy, to_numpy
from .run import Program, leaves

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


@contextlib.contextmanager
def mode(module: torch.nn.Module, training: bool) -> Iterator[None]:
    """A module in training or evaluation mode without dropout; modes and buffers are put back."""
    modes = {m: m.training for m in module.modules()}
    buffers = {b: b.detach().clone() for b in module.buffers()}
    try:
        module.train(training)
        for part in module.modules():
            if isinstance(part, torch.nn.modules.dropout._DropoutNd):
                part.eval()
        yield
    finally:
        for part, was in modes.items():
            part.training = was
        with torch.no_grad():
            for buffer, numbers in buffers.items():
                buffer.copy_(numbers)


def trains(program: Program) -> bool:
    """Whether the network has a training mode: an exported program is fixed in the mode it was exported in."""
    return not isinstance(program.model if program.module is None else program.module, torch.export.ExportedProgram)
