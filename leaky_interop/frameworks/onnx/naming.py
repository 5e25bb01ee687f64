"""What the layers of an ONNX file are called, where exporters of other projects wrote it.

They put the layer into its weights' names ("conv1.weight", "model/conv1/kernel") and its scope into the node's
("/layer1/layer1.0/relu/Relu" of torch.onnx, "model/conv1/Conv2D" of tf2onnx); nodes without either are numbered.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from ... import names

OWN = "leaky_interop"  # the producer whose files say names as they are


def titles(nodes: Sequence[Any], weights: Collection[str]) -> list[str]:
    """A canonical name for every node, each once: the layer's where its weights tell it, or its scope, or its own."""
    scopes = [_scope(node) for node in nodes]
    layers = [_layer(node, weights) for node in nodes]
    alone = {layer for layer, count in Counter(layers).items() if layer and count == 1}
    paths = [layer if layer in alone else scope for layer, (scope, _) in zip(layers, scopes, strict=True)]
    inner = {container for path in paths for container in _containers(path)}
    unique = names.Unique()
    found = []
    for node, path, layer, (scope, last) in zip(nodes, paths, layers, scopes, strict=True):
        taken = path in inner or (path in alone and path != layer)
        found.append(unique((".".join(filter(None, (scope, last))) if taken else path) or last or node.op_type))
    return found


def _layer(node: Any, weights: Collection[str]) -> str:
    """What stands before the last part of the names of a node's weights, if they agree."""
    parts = [re.split(r"[./]", name.strip("/").removesuffix(":0")) for name in node.input if name in weights]
    before = {".".join(p[:-1]) for p in parts}
    return before.pop() if len(before) == 1 else ""


def _scope(node: Any) -> tuple[str, str]:
    """The path that a node's name states, and what is left: its operator, perhaps numbered, or a name without a path."""
    name = node.name or next((o for o in node.output if o), "")
    *path, last = filter(None, name.split("/")) if name.strip("/") else [node.op_type]
    steps: list[str] = []
    for step in path:
        if steps and step.startswith(f"{steps[-1]}."):  # torch repeats: "/layer1/layer1.0"
            steps.pop()
        steps.append(step)
    numbered = re.fullmatch(rf"{re.escape(node.op_type)}(_\d+)?", last)
    return ".".join(steps if numbered else [*steps, last]), last if numbered else ""


def _containers(path: str) -> list[str]:
    """The paths that hold a path: "a" and "a.b" for "a.b.c"."""
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]
