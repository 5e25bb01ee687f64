"""Between tensors and numpy arrays, bfloat16 included."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def to_numpy(tensor: Any) -> Any:
    """The tensor's numbers; shares memory where it can. Of a list, those of each; of None, None."""
    if tensor is None or isinstance(tensor, list):
        return tensor and [to_numpy(t) for t in tensor]
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(numpy_dtype(torch.bfloat16))
    return tensor.numpy()


def from_numpy(array: Any) -> Any:
    """A tensor of its own memory. Of a list, one of each; of None, None."""
    if array is None or isinstance(array, list):
        return array and [from_numpy(a) for a in array]
    array = np.array(array, order="C", copy=True)
    with torch.device("cpu"):
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    from ...numeric import dtype as by_name

    return by_name(str(dtype).removeprefix("torch."))


def torch_dtype(dtype: Any) -> torch.dtype:
    return getattr(torch, np.dtype(dtype).name)
