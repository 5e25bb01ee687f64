"""PyTorch modules with one activation, by every spelling of its slope."""

import torch

SPELLINGS = ["LeakyReLU", "function", "PReLU", "RReLU"]
DEFAULTS = {"LeakyReLU": 0.01, "function": 0.01, "PReLU": 0.25, "RReLU": (1 / 8 + 1 / 3) / 2}


class Function(torch.nn.Module):
    """The function, its slope given or left out."""

    def __init__(self, given):
        super().__init__()
        self.given = given

    def forward(self, x):
        return torch.nn.functional.leaky_relu(x, **self.given)


def made(job, n):
    """A module in evaluation mode."""
    spelling, slope = job["spelling"], job["slope"]
    given = {} if slope is None else {"negative_slope": slope}
    if spelling == "LeakyReLU":
        module = torch.nn.LeakyReLU(**given)
    elif spelling == "function":
        module = Function(given)
    elif spelling == "PReLU":
        module = torch.nn.PReLU(**({} if slope is None else {"init": slope}), dtype=getattr(torch, job["dtype"]))
    else:
        module = torch.nn.RReLU(**({} if slope is None else {"lower": slope, "upper": slope}))
    return module.to(getattr(torch, job["dtype"])).eval()


def run(module, x):
    """What PyTorch computes."""
    with torch.no_grad():
        return module(torch.from_numpy(x[None].copy())).numpy()[0]
