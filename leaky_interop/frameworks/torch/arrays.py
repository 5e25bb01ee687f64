"""Between tensors and numpy arrays: bfloat16 and float8 by their bits, narrower types in the wider one that holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...numeric import dtype as by_name

MEMORY_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}  # by rank: channels innermost
HELD = {  # what torch has no tensors of, and the type that holds its numbers
    "int2": torch.int8, "int4": torch.int8, "uint2": torch.uint8, "uint4": torch.uint8,
    "float4_e2m1fn": torch.float8_e4m3fn,
}  # fmt: skip


def to_numpy(tensor: Any) -> Any:
    """The tensor's numbers; shares memory where it can. Of a list, those of each; None and text as they are."""
    if tensor is None or isinstance(tensor, list):
        return tensor and [to_numpy(t) for t in tensor]
    if isinstance(tensor, np.ndarray):
        return tensor
    tensor = tensor.detach().cpu()
    if bits := _bits(numpy_dtype(tensor.dtype)):
        return tensor.view(bits).numpy().view(numpy_dtype(tensor.dtype))
    return tensor.numpy()


def from_numpy(array: Any, *, given: bool = False) -> Any:
    """A tensor of its own memory. Of a list, one of each; None as it is, text as an array of str.

    given: nothing else reads the array, whose memory may be the tensor's.
    """
    if array is None or isinstance(array, list):
        return array and [from_numpy(a) for a in array]
    if np.asarray(array).dtype.kind in "OU":
        return np.array(array, object)
    dtype = torch_dtype(np.asarray(array).dtype)
    array = np.array(array, numpy_dtype(dtype), order="C", copy=None if given else True)
    with torch.device("cpu"):
        if bits := _bits(array.dtype):
            return torch.from_numpy(array.view(numpy_dtype(bits))).view(dtype)
        return torch.from_numpy(array)


def _bits(dtype: np.dtype) -> torch.dtype | None:
    """The integer of the width of a dtype that numpy itself does not know; what it does know needs none."""
    return None if dtype.isbuiltin == 1 else torch.uint8 if dtype.itemsize == 1 else torch.int16


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    return by_name(str(dtype).removeprefix("torch."))


def torch_dtype(dtype: Any) -> torch.dtype:
    name = by_name(dtype).name
    return HELD.get(name) or getattr(torch, name)
