"""PyTorch weights (`.pth`, `.pt`, `.ckpt`, `.safetensors`): state dicts only, never an unpickled object."""

from __future__ import annotations

import io
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from leaky_interop.errors import UnsafeFile, Usage, require

from .archive import Archive
from .arrays import safetensors
from .identify import ZIP, kind
from .source import damaged, opened

OLDEST = (2, 10)  # earlier ones have holes in torch.load(weights_only=True)
EXTENSIONS = {
    ml_dtypes.bfloat16: "bfloat16",
    ml_dtypes.float8_e4m3fn: "float8_e4m3fn",
    ml_dtypes.float8_e5m2: "float8_e5m2",
}
USUAL = ("state_dict", "model_state_dict", "model")  # where checkpoints keep the network


def safe_torch() -> Any:
    """The torch module, if it is new enough to open a stranger's file."""
    torch = require("torch")
    found = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if found and (int(found[1]), int(found[2])) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise Usage(
            f"torch {torch.__version__} is too old to open weights safely", hint=f"Install torch {needed} or newer"
        )
    return torch


def state_dict(path: str | os.PathLike[str], part: str | None = None) -> dict[str, Any]:
    """The tensors in a weights file by name; of a checkpoint with several state dicts, the one called `part`."""
    path = Path(path)
    found = kind(path)
    torch = safe_torch()
    if found == "safetensors":
        content: Any = {name: _tensor(torch, array) for name, array in safetensors(path).items()}
    elif found == "pth":
        content = _load(torch, path)
    else:
        raise Usage(f"{path.name} does not hold PyTorch weights", hint="They come as .pth, .pt, .ckpt or .safetensors")
    return _choose(torch, content, part, path.name)


def _load(torch: Any, path: Path) -> Any:
    with opened(path) as handle:
        if handle.read(4) == ZIP:
            Archive(handle, path.name)
            handle.seek(0)
            return load_weights_only(torch, handle, path.name)
        with _Bounded(os.dup(handle.fileno())) as bounded:
            return load_weights_only(torch, bounded, path.name)


class _Bounded(io.BufferedReader):
    """A file that allocates no more than it holds, however much a pickle asks it for."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor))
        self.size = os.fstat(descriptor).st_size
        self.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        return super().read(-1 if size is None or size < 0 else min(size, self.size))


def load_weights_only(torch: Any, handle: IO[bytes], name: str) -> Any:
    """What the pickle holds, if it is tensors and plain containers."""
    try:
        return torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|class|function|type) ([\w.]+)", str(error))
        raise UnsafeFile(
            f"{name} holds more than tensors",
            why=f"it names {named[1]}" if named else "its pickle names something else",
            hint="Load it where you trust it and save model.state_dict() alone",
        ) from None
    except Exception as error:  # its unpickler raises whatever a damaged file leads to
        raise damaged(name, str(error).partition("\n")[0]) from None


def check_weights_only(torch: Any, content: bytes, name: str) -> None:
    """Refuse a pickle that the restricted loader does not take; an empty one is nothing."""
    if content:
        if content.startswith(ZIP):
            Archive(io.BytesIO(content), name)
        load_weights_only(torch, io.BytesIO(content), name)


def _choose(torch: Any, content: Any, part: str | None, name: str) -> dict[str, Any]:
    """The one state dict in what a checkpoint holds."""
    if part is not None:
        if not isinstance(content, Mapping) or part not in content:
            raise Usage(f"{name} has no part {part!r}", hint=_parts(content))
        content = content[part]
    if _is_state_dict(torch, content):
        return dict(content)
    held = {key: value for key, value in _items(content) if _is_state_dict(torch, value)}
    chosen = next((key for key in USUAL if key in held), None) or (min(held) if len(held) == 1 else None)
    if chosen is None:
        raise Usage(f"{name} does not hold exactly one state dict", hint=_parts(content))
    return dict(held[chosen])


def _items(content: Any) -> list[tuple[str, Any]]:
    return [(str(key), value) for key, value in content.items()] if isinstance(content, Mapping) else []


def _parts(content: Any) -> str:
    keys = [key for key, _ in _items(content)]
    return f"It has the parts {', '.join(keys[:20])}" if keys else "Save model.state_dict()"


def _is_state_dict(torch: Any, content: Any) -> bool:
    """A non-empty table of tensors; modules may add extra state that is none."""
    items = _items(content)
    return any(isinstance(value, torch.Tensor) for _, value in items) and all(
        isinstance(value, torch.Tensor) or key.endswith("_extra_state") for key, value in items
    )


def _tensor(torch: Any, array: np.ndarray) -> Any:
    """The array as a tensor of its own; numpy's extension types go over as bits."""
    array = np.array(array)
    name = EXTENSIONS.get(array.dtype.type)
    if name is None:
        return torch.from_numpy(array)
    bits = {1: np.uint8, 2: np.int16}[array.dtype.itemsize]
    return torch.from_numpy(array.view(bits)).view(getattr(torch, name))
