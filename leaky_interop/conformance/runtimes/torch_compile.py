"""torch.compile with its own compiler, inductor: the slope is an argument of the function, so that it compiles seldom."""

import numpy as np
import torch
import torch.nn.functional as F


def describe():
    return {
        "name": "torch_compile",
        "version": torch.__version__,
        "variants": ["inductor"],
        "dtypes": ["float16", "bfloat16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"},
        "gradients": True,
        "costly": True,
    }


def alone(x, *slope):
    return F.leaky_relu(x, *slope)


def parametric(x, weight):
    return F.prelu(x, weight)


def after_conv(x, w, activation, *slope):
    return activation(F.conv2d(x, w), *slope)


def before_pool(x, activation, *slope):
    return F.max_pool2d(activation(x, *slope), 2)


COMPILED = {
    function.__name__: torch.compile(function, dynamic=True)
    for function in (alone, parametric, after_conv, before_pool)
}
torch._dynamo.config.cache_size_limit = torch._dynamo.config.accumulated_cache_size_limit = 1000


def run(job, arrays):
    torch.set_num_threads(1)
    x = tensor(arrays["x"])
    if job["operator"] == "prelu":
        activation, slope = parametric, (tensor(arrays["slope"]),)
    else:
        activation, slope = alone, () if job["slope"] is None else (job["slope"],)
    if job["gradient"]:
        for each in (x, *slope):
            if isinstance(each, torch.Tensor):
                each.requires_grad_()
    if job["placement"] == "conv":
        y = COMPILED["after_conv"](x, tensor(arrays["w"]), activation, *slope)
    elif job["placement"] == "max_pool":
        y = COMPILED["before_pool"](x, activation, *slope)
    else:
        y = COMPILED[activation.__name__](x, *slope)
    results = {"y": y}
    if job["gradient"]:
        y.sum().backward()
        results |= {"dx": x.grad} | ({"dslope": slope[0].grad} if job["operator"] == "prelu" else {})
    return {name: array(made.detach()) for name, made in results.items()}


def tensor(given):
    if given.dtype in (np.uint16, "bfloat16"):
        return torch.from_numpy(given.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(given)


def array(made):
    return made.view(torch.int16).numpy().view(np.uint16) if made.dtype == torch.bfloat16 else made.numpy()
