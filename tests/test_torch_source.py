"""A network rebuilt in PyTorch: its code is short and quick to run, and its source file runs without this package."""

import copy
import importlib.util
import io
import pickle

import numpy as np
import pytest
import torch

import leaky_interop as li

pytestmark = pytest.mark.one_backend
X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype("f")


class Odd(torch.nn.Module):
    """Names that are no identifiers: numbers, keywords, signs; weights that two modules share, or that belong to none."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.LeakyReLU(0.15))
        self.add_module("class", torch.nn.Conv2d(4, 4, 1))
        self.add_module("a-b", torch.nn.ModuleDict({"x y": torch.nn.Conv2d(4, 4, 1), "lambda": torch.nn.PReLU(4)}))
        self.twin = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1))
        self.twin[0].weight = getattr(self, "class").weight
        self.stem[0].weight.requires_grad_(False)
        self.free = torch.nn.ParameterList([torch.nn.Parameter(torch.rand(4, 1, 1)), torch.nn.Parameter(torch.rand(1), requires_grad=False)])

    def forward(self, x):
        x = self.twin(getattr(self, "class")(self.stem(x)))
        odd = getattr(self, "a-b")
        return odd["lambda"](odd["x y"](x)) * self.free[0] + self.free[1]


def network():
    torch.manual_seed(0)
    return Odd().eval()


def loaded(path):
    """The network of a source file."""
    spec = importlib.util.spec_from_file_location("network_source", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load()


@pytest.mark.parametrize("through", ("torch", "onnx", "keras"))
def test_the_source_of_any_name_runs(tmp_path, through):
    source = li.convert(network(), to=through, example=(X,)) if through != "torch" else network()
    arrays = X
    assert li.convert(source, tmp_path / "net.safetensors", example=(X,)).passed
    again = loaded(tmp_path / "net.py")
    built = li.convert(source, to="torch", example=(X,))
    assert torch.equal(again(torch.tensor(arrays)), built(torch.tensor(arrays)))
    assert list(again.state_dict()) == list(built.state_dict())
    assert {n: p.requires_grad for n, p in again.named_parameters()} == {n: p.requires_grad for n, p in built.named_parameters()}


def test_what_is_shared_stays_shared_in_the_source(tmp_path):
    li.convert(network(), tmp_path / "net.safetensors", example=(X,))
    model = loaded(tmp_path / "net.py")
    twin = model.get_parameter("twin.0.weight")
    assert sum(p is twin for _, p in model.named_parameters(remove_duplicate=False)) == 2


def deep(depth=3, width=3):
    """A network of nested containers, each layer of which is seen in the result."""
    if not depth:
        conv = torch.nn.Conv2d(3, 3, 1)
        torch.nn.init.dirac_(conv.weight)
        return torch.nn.Sequential(conv, torch.nn.LeakyReLU(0.95))
    return torch.nn.Sequential(*(deep(depth - 1, width) for _ in range(width)))


def test_a_container_is_looked_up_once():
    """A lookup of a submodule costs as much as a small operator's dispatch."""
    model = li.convert(deep().eval(), to="torch", example=(X,))
    lookups = model.code.count("getattr(") + model.code.count("self.")
    containers = sum(1 for m in model.modules() if type(m) is torch.nn.Module) + 1
    leaves = sum(1 for m in model.modules() if not any(m.children()))
    assert lookups <= containers + leaves


@pytest.mark.parametrize("make", (network, deep))
def test_the_code_survives_what_users_do_to_a_module(make):
    source = make().eval()
    model, x = li.convert(source, to="torch", example=(X,)), torch.tensor(X)
    expected = model(x)
    model.recompile()
    scripted = torch.jit.script(model)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    changed = [
        model,
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(buffer, weights_only=False),
        scripted,
        torch.fx.symbolic_trace(model),
        torch.compile(model, backend="eager"),
        torch.export.export(model, (x,)).module(),
    ]
    for other in changed:
        assert torch.equal(other(x), expected)
    model.graph.lint()
    with torch.no_grad():
        model.get_parameter(next(n for n, _ in model.named_parameters())).mul_(2)
    assert not torch.equal(model(x), expected)
    assert torch.equal(changed[1](x), expected)


def test_a_module_that_is_replaced_is_called():
    """The code holds no module: who swaps a layer finds the new one called."""
    model, x = li.convert(deep().eval(), to="torch", example=(X,)), torch.tensor(X)
    name = next(n for n, m in model.named_modules() if isinstance(m, torch.nn.LeakyReLU))
    owner, _, key = name.rpartition(".")
    before = model(x)
    setattr(model.get_submodule(owner), key, torch.nn.LeakyReLU(0.9))
    assert not torch.equal(model(x), before)


def test_names_of_containers_and_values_do_not_collide():
    """A value is called as its container would be, and a user adds one more."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.LeakyReLU(0.15))
            self.block_1 = torch.nn.ReLU()

        def forward(self, block):
            return self.block_1(self.block(block))

    model, x = li.convert(Net().eval(), to="torch", example=(X,)), torch.tensor(X)
    expected = model(x)
    output = next(n for n in model.graph.nodes if n.op == "output")
    last = output.args[0]
    for wanted in model.code.split():
        if wanted.isidentifier() and wanted.startswith("block"):
            with model.graph.inserting_before(output):
                new = model.graph.create_node("call_function", torch.neg, (last,), name=wanted)
                last = new
    output.args = (last,)
    model.recompile()
    assert torch.equal(model(x).abs(), expected.abs())
