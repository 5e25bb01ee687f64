"""Families of PyTorch networks, small, written in the manner of torchvision and timm: what a converter meets in the wild.

Each module holds one family or a few related ones, faithful in structure to the published architectures: classes of
`nn.Module` with helper functions, module lists, in-place activations, buffers of positions, windows, flags. `FAMILIES`
lists every network; `Family.model()` builds one with seeded weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

MODULES = (
    "classic", "residual", "dense", "inception", "mobile", "efficient", "reparametrised", "normaliser_free", "modern",
    "attending", "vision_transformer", "windows", "segmentation", "nested", "detection", "yolo", "yolo_pyramids", "mixers",
    "hybrids", "audio", "generators",
)  # fmt: skip
@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """A network of a family, and what its conversion is held to."""

    name: str
    make: Callable[[], Any]
    shapes: tuple[tuple[int, ...], ...]  # of its inputs, without the batch
    plain: bool  # a CNN: no transpose may stay inside
    inside: int  # transposes that the network itself asks for, at most
    changed: Mapping[str, str]  # by framework, why its state dict comes back from there in another form
    backends: bool  # whether its Keras form is checked on every backend

    def model(self) -> Any:
        """The network in evaluation mode, its weights away from what a fresh network has."""
        import torch

        torch.manual_seed(0)
        model = self.make().eval()
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 1.5)
                elif tensor.is_floating_point() and (tensor.ndim <= 1 or isinstance(tensor, torch.nn.Parameter)):
                    tensor.add_(torch.randn_like(tensor) * 0.05)
        return model


FAMILIES: dict[str, Family] = {}


def family(
    *shapes: tuple[int, ...], plain: bool = False, inside: int = 0, changed: Mapping[str, str] = MappingProxyType({}), backends: bool = False
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Registers the function that builds a network, under the function's name, with the shapes of its inputs."""

    def register(make: Callable[[], Any]) -> Callable[[], Any]:
        name = make.__name__
        if name in FAMILIES:
            raise ValueError(f"{name} is registered twice")
        FAMILIES[name] = Family(name, make, shapes or ((3, 32, 32),), plain, inside, changed, backends)
        return make

    return register


def all_families() -> list[Family]:
    """Every network of every module."""
    for module in MODULES:
        import_module(f"tests.torch_families.{module}")
    return list(FAMILIES.values())
