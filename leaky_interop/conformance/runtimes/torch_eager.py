"""PyTorch, operator by operator: the function, its in-place form and the module."""

import numpy as np
import torch
import torch.nn.functional as F

FLOATS = ["float16", "bfloat16", "float32", "float64"]


def describe():
    return {
        "name": "torch_eager",
        "version": torch.__version__,
        "variants": ["functional", "in-place", "module"],
        "dtypes": [*FLOATS, "int32"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"},
        "gradients": True,
        "narrower": {"in-place": {"operators": ["leaky_relu"]}, "module": {"placements": ["alone"], "dtypes": FLOATS}},
    }


def run(job, arrays):
    torch.set_num_threads(1)
    x = tensor(arrays["x"])
    if job["placement"] == "quantised":
        return {"y": quantised(job, arrays, x).numpy()}
    weight = tensor(arrays["slope"]) if job["operator"] == "prelu" else None
    if job["gradient"]:
        x.requires_grad_()
        if weight is not None:
            weight.requires_grad_()
    y = F.conv2d(x, tensor(arrays["w"])) if job["placement"] == "conv" else x
    y = activate(job, y, weight)
    if job["placement"] == "max_pool":
        y = F.max_pool2d(y, 2)
    results = {"y": y}
    if job["gradient"]:
        y.sum().backward()
        results |= {"dx": x.grad} | ({} if weight is None else {"dslope": weight.grad})
    return {name: array(made.detach()) for name, made in results.items()}


def activate(job, x, weight):
    slope = () if job["slope"] is None else (job["slope"],)
    if job["variant"] == "module":
        module = torch.nn.LeakyReLU(*slope) if weight is None else torch.nn.PReLU(1, dtype=x.dtype)
        if weight is not None:
            del module.weight
            module.weight = weight
        return module(x)
    if weight is not None:
        return F.prelu(x, weight)
    if job["variant"] == "in-place":
        return F.leaky_relu_(x.clone(), *slope)
    return F.leaky_relu(x, *slope)


def quantised(job, arrays, x):
    """The int8 kernel of LeakyReLU."""
    if job["operator"] == "prelu":
        raise NotImplementedError("the int8 kernel of PReLU takes a quantised slope only")
    scales = [
        float(arrays["x_scale"]),
        int(arrays["x_zero_point"]),
        float(arrays["y_scale"]),
        int(arrays["y_zero_point"]),
    ]
    q = torch.quantize_per_tensor(x, scales[0], scales[1], torch.qint8)
    slope = 0.01 if job["slope"] is None else job["slope"]
    return torch.ops.quantized.leaky_relu(q, slope, False, scales[2], scales[3]).dequantize()


def tensor(given):
    if given.dtype in (np.uint16, "bfloat16"):
        return torch.from_numpy(given.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(given)


def array(made):
    return made.view(torch.int16).numpy().view(np.uint16) if made.dtype == torch.bfloat16 else made.numpy()
