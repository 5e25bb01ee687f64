"""Writes a converted network as PyTorch source with its weights beside it: code that runs without this package.

The module tree of a built model gives the attributes, its graph the statements (`source_steps`); scopes of the source
become classes, those that repeat one class, layers that follow one another an nn.Sequential (`code`). Names in the code
are identifiers that this package has made or checked; other text of the source stands in literals and docstrings only.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from ...code import text
from ...code.checking import Run, compare, executed
from ...code.words import Unique, title, words
from ...graph import Graph
from . import control
from .arrays import MEMORY_FORMATS, from_numpy, to_numpy
from .source_classes import Classes
from .source_steps import RESERVED


def save_source(model: torch.fx.GraphModule, path: Path, graph: Graph) -> None:
    """Write `net.py` and `net.safetensors` beside each other; `path` is one of them.

    Raises ModuleNotFoundError without safetensors, RuntimeFailure if the source did not compute the same bits.
    """
    from safetensors.torch import save_file

    source = Source(model, graph)
    path.with_suffix(".py").write_text(source.text(), encoding="utf-8")
    save_file(source.state, path.with_suffix(".safetensors"))
    again = executed(path.with_suffix(".py"))["load"]()
    compare(graph, _run(model), _run(again), "Write a .pt2 file")


def _memory_formats(weight: torch.Tensor) -> list[torch.memory_format]:
    """The memory format of a weight, if it is an unusual one."""
    wanted = MEMORY_FORMATS.get(weight.ndim)
    unusual = wanted is not None and not weight.is_contiguous() and weight.is_contiguous(memory_format=wanted)
    return [wanted] if wanted is not None and unusual else []


def _run(model: nn.Module) -> Run:
    """The model as a function of arrays; what it draws is seeded."""

    def run(arrays: list[Any]) -> list[Any]:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            results = pytree.tree_leaves(model(*map(from_numpy, arrays)))
        return [np.asarray(to_numpy(r)) if isinstance(r, torch.Tensor) else r for r in results]

    return run


class Source:
    """The text of one model; `state` is what its weights file holds."""

    def __init__(self, model: torch.fx.GraphModule, graph: Graph):
        self.model = model
        self.graph = graph
        self.state: dict[str, torch.Tensor] = {}
        self.tied: dict[str, str] = {}
        self.frozen: list[str] = []
        self.owned()
        self.unique = Unique([*RESERVED, "OrderedDict", *(kind.__name__ for kind in control.KINDS)])
        self.main = self.unique(title(words(graph.description)) or "Network")
        self.bodies: dict[str, str] = {}  # the text of graphs inside branches and loops, by class
        self.classes = Classes(self, model, "")

    def owned(self) -> None:
        """Which tensors are saved, and which are the same as others."""
        owners: dict[int, str] = {}
        tensors = dict(self.model.named_parameters(remove_duplicate=False))
        tensors |= dict(self.model.named_buffers(remove_duplicate=False))
        for name, tensor in tensors.items():
            owner, _, key = name.rpartition(".")
            container = self.model.get_submodule(owner)
            plain = type(container) is nn.Module or isinstance(container, torch.fx.GraphModule)  # and no layer
            if plain and key in container._non_persistent_buffers_set:
                continue  # a constant: the blocks that read it have their own
            first = owners.setdefault(id(tensor), name)
            if first == name:
                self.state[name] = tensor.detach().contiguous()
            else:
                self.tied[name] = first

    def text(self) -> str:
        """The whole file."""
        body = self.classes.text(self.main)
        flows = {type(m) for m in self.model.modules()} & set(control.KINDS)
        parts = [inspect.getsource(kind).strip() for kind in control.KINDS if kind in flows]
        parts += [*self.bodies.values(), body, self.load()]
        whole = "\n\n\n".join(parts)
        imports = ["from __future__ import annotations", ""]
        imports += ["import re"] if re.search(r"\bre\.", whole) else []
        imports += ["from collections import OrderedDict"] if "OrderedDict(" in whole else []
        imports += ["from pathlib import Path", ""]
        imports += ["import numpy as np"] if re.search(r"\bnp\.", whole) else []
        imports += ["import torch"]
        imports += ["import torch.nn.functional as F"] if re.search(r"\bF\.", whole) else []
        imports += ["from safetensors.torch import load_file", "from torch import Tensor, nn"]
        if not re.search(r"\btorch\.", whole):
            imports.remove("import torch")
        if not re.search(r"\bTensor\b", whole):
            imports[-1] = "from torch import nn"
        head = [
            *text.docstring(self.heading(), 0),
            "",
            *imports,
            "",
            'WEIGHTS = Path(__file__).with_suffix(".safetensors")',
        ]
        return "\n".join(head) + "\n\n\n" + whole + "\n"

    def heading(self) -> list[str]:
        return [f"{self.main}, converted by leaky_interop from {' '.join(self.graph.description.split())}."]

    def load(self) -> str:
        lines = text.signature("load", ["weights: str | Path = WEIGHTS"], self.main, 0)
        lines += ['    """The network with its trained weights, in evaluation mode."""', f"    model = {self.main}()"]
        lines.append("    state = load_file(weights)")
        for name, owner in self.tied.items():
            lines.append(
                f"    state[{text.unparse(ast.Constant(name))}] = state[{text.unparse(ast.Constant(owner))}]  # the same weight"
            )
        lines.append("    model.load_state_dict(state, strict=True)")
        formats = {w.ndim: f for w in self.model.parameters() for f in _memory_formats(w)}
        for rank, memory_format in sorted(formats.items()):
            lines += ["    for weight in model.parameters():", f"        if weight.ndim == {rank}:"]
            lines.append(f"            weight.data = weight.data.to(memory_format={memory_format})")
        return "\n".join([*lines, "    return model.eval()"])
