"""Source code that a conversion writes: it reads well, runs alone, and computes the same bits."""

import ast
import copy
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils import _pytree as pytree

import leaky_interop as li
import models
from leaky_interop.errors import RuntimeFailure, Usage
from tests.source_networks import MADE, network

pytestmark = pytest.mark.one_backend
EVERY = [*MADE, *(f"{form} {name}" for name in models.NAMES for form in ("torch", "keras"))]


def module_of(path):
    spec = importlib.util.spec_from_file_location("written_source", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def written(name, tmp_path, **options):
    """The living conversion of a network, its written module, and inputs for both."""
    source, example = network(name)
    li.convert(source, tmp_path / "net.py", example=example, verify=False, **options)
    living = li.convert(source, "torch", example=example, **options)
    graph = li.load(source, example=example)
    arrays = [np.random.default_rng(1).standard_normal([5 if i == 0 else d for i, d in enumerate(v.shape)]) for v in graph.inputs]
    inputs = [torch.tensor((np.abs(a) * 3 if v.dtype.kind == "i" else a).astype(v.dtype)) for a, v in zip(arrays, graph.inputs, strict=True)]
    return living, module_of(tmp_path / "net.py"), inputs


def same(a, b):
    a, b = pytree.tree_leaves(a), pytree.tree_leaves(b)
    assert [(x.dtype, x.shape, x.numpy(force=True).tobytes()) for x in a] == [(x.dtype, x.shape, x.numpy(force=True).tobytes()) for x in b]


@pytest.mark.parametrize("name", EVERY)
def test_written_source_is_clean_and_computes_the_same_bits(name, tmp_path):
    living, module, inputs = written(name, tmp_path)
    again = module.load()
    with torch.no_grad():
        expected, found = living(*inputs), again(*inputs)
    same(expected, found)
    assert pytree.tree_structure(expected) == pytree.tree_structure(found)
    assert not again.training
    constants = {n for n in again.state_dict() if n.rpartition(".")[2].startswith("constant")}
    assert [n for n in again.state_dict() if n not in constants] == list(living.state_dict())
    assert {n: p.requires_grad for n, p in again.named_parameters()} == {n: p.requires_grad for n, p in living.named_parameters()}
    for rule in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *rule, "--isolated", tmp_path / "net.py"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    assert "getattr" not in (tmp_path / "net.py").read_text()


def test_written_source_runs_without_this_package(tmp_path):
    living, _, inputs = written("unet", tmp_path)
    torch.save((inputs, living(*inputs)), tmp_path / "numbers.pt")
    code = (
        "import sys; sys.modules['leaky_interop'] = None\n"
        "import net, torch\n"
        "inputs, expected = torch.load('numbers.pt')\n"
        "assert torch.equal(net.load()(*inputs), expected)\n"
        "import pickle; assert torch.equal(pickle.loads(pickle.dumps(net.load()))(*inputs), expected)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def classes(path):
    tree = ast.parse(path.read_text())
    return {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}


def test_blocks_that_repeat_are_one_class(tmp_path):
    written("torch resnet", tmp_path)
    found = classes(tmp_path / "net.py")
    assert list(found) == ["BasicBlock", "ResNet"]
    text = (tmp_path / "net.py").read_text()
    assert "BasicBlock(8, 16, stride=2, downsample=True)" in text and "BasicBlock(8, 8)" in text
    written("vit", tmp_path)
    found = classes(tmp_path / "net.py")
    assert list(found) == ["Attention", "Block", "ViT"]
    assert "q, k, v = " in (tmp_path / "net.py").read_text()
    written("unet", tmp_path)
    text = (tmp_path / "net.py").read_text()
    assert list(classes(tmp_path / "net.py")) == ["DoubleConv", "UNet"]
    assert "torch.cat((down1, self.up1(self.down2(down1))), dim=1)" in text


def test_weights_are_loaded_strictly(tmp_path):
    _, module, _ = written("unet", tmp_path)
    state = load_file(tmp_path / "net.safetensors")
    del state["outc.bias"]
    save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(RuntimeError, match=r"outc\.bias"):
        module.load()
    save_file(load_file(tmp_path / "net.safetensors") | {"outc.bias": torch.zeros(2), "more": torch.zeros(1)}, tmp_path / "net.safetensors")
    with pytest.raises(RuntimeError, match="more"):
        module.load()


HOSTILE = ['"""\nimport os; os\u2024abort()\n"""', '"+exit()+"', "a;import os", "x\\", "lambda", "nn", "F", "torch", "é", "__class__x", "a b", "{0}", "self", "load"]


def test_names_of_strangers_stay_text(tmp_path):
    """Names of layers, classes and inputs in an ONNX file and a module."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict()
            for i, name in enumerate(HOSTILE):
                part = nn.Module()
                if i % 3:
                    part._parameters[name[::-1]] = nn.Parameter(torch.rand(3))
                part.inner = nn.Linear(3, 3)
                part._modules[name] = nn.LeakyReLU(0.1)
                self.parts._modules[name] = part

        def forward(self, x):
            for part in self.parts._modules.values():
                x = list(part._modules.values())[-1](part.inner(x))
                for weight in part._parameters.values():
                    x = x + weight
            return x

    Net.__name__ = Net.__qualname__ = 'Net"""\nimport os; os.abort()\n"""'
    torch.manual_seed(0)
    x = torch.randn(2, 3)
    model = Net().eval()
    for source in (model, li.convert(model, "onnx", example=(x,))):
        li.convert(source, tmp_path / "net.py", example=(x,), verify=False)
        text = (tmp_path / "net.py").read_text()
        assert {getattr(node, "id", "") for node in ast.walk(ast.parse(text))}.isdisjoint({"os", "getattr", "exec", "eval"})
        assert torch.equal(module_of(tmp_path / "net.py").load()(x), li.convert(source, "torch", example=(x,))(x))


def test_source_that_differs_is_not_written(tmp_path, monkeypatch):
    """The check at the end of writing sees a wrong setting."""
    from leaky_interop.frameworks.torch import source_modules

    usual = source_modules._settings
    monkeypatch.setattr(source_modules, "_settings", lambda module: usual(module) | ({"negative_slope": 0.21} if isinstance(module, nn.LeakyReLU) else {}))
    monkeypatch.setattr(source_modules, "_own_repr", lambda module: repr(type(module)(**source_modules._settings(module))))
    source, example = network("torch pix2pix_generator")
    with pytest.raises(RuntimeFailure, match="same bits"):
        li.convert(source, tmp_path / "net.py", example=example, verify=False)
    assert not list(tmp_path.iterdir())


def test_the_framework_is_that_of_source_alone(tmp_path):
    source, example = network("unet")
    for target, framework in (("net.onnx", "torch"), ("net.py", "onnx"), ("torch", "torch")):
        with pytest.raises(Usage, match="framework"):
            li.convert(source, target if target == "torch" else tmp_path / target, example=example, framework=framework)


@pytest.mark.parametrize("prefix", ("", "module.", "model."))
def test_a_checkpoint_may_have_one_name_before_all(prefix, tmp_path):
    source, example = network("unet")
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "net.ckpt")
    torch.manual_seed(7)
    other = MADE["unet"][0]().eval()
    model = li.convert(other, "torch", example=example, weights=tmp_path / "net.ckpt")
    torch.testing.assert_close(model(*example), source(*example))
    for changed in (state | {f"{prefix}more": torch.zeros(1)}, state | {"other.more": torch.zeros(1)}):
        torch.save(changed, tmp_path / "net.ckpt")
        with pytest.raises(Usage, match=r"unexpected.*more"):
            li.convert(other, "torch", example=example, weights=tmp_path / "net.ckpt")
    torch.save(dict(list(state.items())[1:]), tmp_path / "net.ckpt")
    with pytest.raises(Usage, match=r"missing.*inc\.0\.weight"):
        li.convert(other, "torch", example=example, weights=tmp_path / "net.ckpt")


@pytest.mark.parametrize("name", ("vit", "encoder", "shared", "torch resnet", "torch dcgan_generator", "keras nested"))
def test_converted_modules_survive_what_users_do(name):
    """Constants, free and tied weights, containers: copied, pickled, traced, compiled, exported, in other dtypes and places."""
    source, example = network(name)
    model = li.convert(source, "torch", example=example)
    inputs = example or (torch.randn(2, *li.load(source).inputs[0].shape[1:]),)
    expected = model(*inputs)
    same(copy.deepcopy(model)(*inputs), expected)
    same(pickle.loads(pickle.dumps(model))(*inputs), expected)
    # without gradients nn.MultiheadAttention goes another way, so that PyTorch's own check of a trace fails on it
    same(torch.jit.trace(model, inputs, strict=False, check_trace=False)(*inputs), expected)
    for backend in ("eager", "aot_eager"):
        same(torch.compile(model, backend=backend)(*inputs), expected)
    same(torch.export.export(model, inputs).module()(*inputs), expected)
    wide = pytree.tree_leaves(copy.deepcopy(model).double()(*(i.double() if i.is_floating_point() else i for i in inputs)))
    narrow = pytree.tree_leaves(copy.deepcopy(model).half()(*(i.half() if i.is_floating_point() else i for i in inputs)))
    for a, b, c in zip(wide, narrow, pytree.tree_leaves(expected), strict=True):
        assert (a.dtype, b.dtype) == (torch.float64, torch.float16)
        torch.testing.assert_close(a.float(), c, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(b.float(), c, rtol=5e-2, atol=5e-2)
    moved = copy.deepcopy(model).to("meta")(*(i.to("meta") for i in inputs))
    assert [(t.device.type, t.shape) for t in pytree.tree_leaves(moved)] == [("meta", t.shape) for t in pytree.tree_leaves(expected)]


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="inductor writes C++, and no compiler is here")
def test_a_converted_module_is_compiled_to_native_code(tmp_path, monkeypatch):
    """Slopes, batch norms and moved axes, at more than one batch."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.3), nn.Flatten(), nn.Linear(144, 2))
    model = li.convert(nn.Sequential(*layers).eval(), "torch", example=torch.randn(2, 3, 8, 8))
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="inductor", dynamic=True)
    with torch.no_grad():
        for batch in (2, 7):
            x = torch.randn(batch, 3, 8, 8)
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-5)


def test_a_pickled_module_is_read_without_this_package(tmp_path):
    source, example = network("encoder")
    model = li.convert(source, "torch", example=example)
    (tmp_path / "net.pickle").write_bytes(pickle.dumps((model, example, model(*example))))
    code = (
        "import sys; sys.modules['leaky_interop'] = None\n"
        "import pickle, torch\n"
        "model, inputs, expected = pickle.load(open('net.pickle', 'rb'))\n"
        "assert all(torch.equal(model(*inputs)[k], expected[k]) for k in expected)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", ("unet", "torch voxnet", "torch resnet"))
def test_channels_last(name, tmp_path):
    source, example = network(name)
    plain = li.convert(source, "torch", example=example)
    model = li.convert(source, "torch", example=example, channels_last=True, verify=True)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    weights = [p for p in model.parameters() if p.ndim in formats and min(p.shape[1:]) > 1]
    assert weights and all(p.is_contiguous(memory_format=formats[p.ndim]) and not p.is_contiguous() for p in weights)
    torch.testing.assert_close(model(*example), plain(*example))
    li.convert(source, tmp_path / "net.py", example=example, channels_last=True)
    again = module_of(tmp_path / "net.py").load()
    assert {n: p.stride() for n, p in again.named_parameters()} == {n: p.stride() for n, p in model.named_parameters()}
    same(again(*example), model(*example))
    with pytest.raises(Usage, match="channels_last"):
        li.convert(source, tmp_path / "net.keras", example=example, channels_last=True)


IN_KERAS = [name for name in MADE if name != "recurrent"]  # whose float64 Keras computes on TensorFlow alone


@pytest.mark.parametrize("name", (*IN_KERAS, "torch darknet53", "torch mobilenet_v2", "keras srgan_generator", "keras nested", "torch audio_cnn"))
def test_keras_source_is_clean_and_computes_the_same_bits(name, tmp_path):
    import keras

    source, example = network(name)
    li.convert(source, tmp_path / "net.py", example=example, verify=False, framework="keras")
    living = li.convert(source, "keras", example=example)
    again = module_of(tmp_path / "net.py").load()
    arrays = li.load(source, example=example).inputs
    drawn = [np.random.default_rng(1).standard_normal([5 if i == 0 else d for i, d in enumerate(v.shape)]) for v in arrays]
    inputs = [(np.abs(a) * 3 if v.dtype.kind == "i" else a).astype(v.dtype) for a, v in zip(drawn, arrays, strict=True)]
    expected, found = (keras.tree.flatten(m(inputs if len(inputs) > 1 else inputs[0])) for m in (living, again))
    same([e.detach() for e in expected], [f.detach() for f in found])
    assert sorted(layer.name for layer in again.layers if layer.weights) == sorted(layer.name for layer in living.layers if layer.weights)
    assert sorted(v.path for v in again.trainable_variables) == sorted(v.path for v in living.trainable_variables)
    for rule in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *rule, "--isolated", tmp_path / "net.py"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_keras_blocks_that_repeat_are_one_function(tmp_path):
    source, example = network("vit")
    li.convert(source, tmp_path / "net.py", example=example, verify=False, framework="keras")
    functions = [n.name for n in ast.parse((tmp_path / "net.py").read_text()).body if isinstance(n, ast.FunctionDef)]
    assert "block" in functions and "attention" in functions


class TestWhetherSourceComputesTheSame:
    """`compare` finds arrays that a model takes, and one bit that differs."""

    def compare(self, model, source, **inputs):
        from leaky_interop.code.checking import compare
        from leaky_interop.graph import Graph

        graph = Graph()
        for name, (shape, dtype) in inputs.items():
            graph.input(name, shape, np.dtype(dtype))
        compare(graph, model, source, "Write another file")

    def test_indices_are_drawn_until_some_fit(self):
        asked = []

        def model(arrays):
            asked.append(arrays[0])
            return [np.arange(1.0)[arrays[0]]]  # only 0 is an index of it

        self.compare(model, lambda arrays: [np.zeros(6)], index=((6,), "int64"))
        assert [(a.min(), a.max()) for a in asked[1:]] == [(0, 0), (1, 1)]
        with pytest.raises(li.RuntimeFailure, match="the same bits"):
            self.compare(model, lambda arrays: [np.ones(1)[arrays[0]]], index=((6,), "int64"))

    @pytest.mark.parametrize(
        ("first", "second"),
        [(np.zeros(3), -np.zeros(3)), (np.ones(2), np.ones((1, 2))), (np.ones(2), np.ones(2, np.float32)), ("a", "b"), (1, 2),
         (np.array(["a"], object), np.array(["b"], object))],
    )  # fmt: skip
    def test_a_bit_that_differs_is_found(self, first, second):
        self.compare(lambda _: [first], lambda _: [first], x=((2,), "float32"))
        with pytest.raises(li.RuntimeFailure, match="the same bits"):
            self.compare(lambda _: [first], lambda _: [second], x=((2,), "float32"))

    def test_nan_equals_itself_and_a_missing_result_is_found(self):
        self.compare(lambda _: [np.array(np.nan)], lambda _: [np.array(np.nan)], x=((2,), "float32"))
        with pytest.raises(li.RuntimeFailure, match="the same bits"):
            self.compare(lambda _: [np.ones(1)] * 2, lambda _: [np.ones(1)], x=((2,), "float32"))


def test_source_that_looks_up_what_was_not_drawn_is_checked(tmp_path, monkeypatch):
    """The table has fewer rows than the numbers that are drawn for an index that is computed."""
    from leaky_interop.frameworks.torch import source

    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(2, 3)

        def forward(self, index):
            return self.table(index * 2 - index)

    li.convert(Lookup(), tmp_path / "net.py", example=torch.zeros(3, dtype=torch.int64), verify=False)
    real = source.Source.text
    monkeypatch.setattr(source.Source, "text", lambda self: real(self).replace("* 2", "* 3"))
    with pytest.raises(li.RuntimeFailure, match="the same bits"):
        li.convert(Lookup(), tmp_path / "net.py", example=torch.zeros(3, dtype=torch.int64), verify=False)


def test_numbers_made_in_a_network_are_made_where_its_inputs_are(tmp_path):
    """Positions, masks and ones as long as an open size, in the living network, its export and its source."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(4, 2)

        def forward(self, x):
            places = torch.arange(x.shape[1], device=x.device).to(x.dtype)
            seen = nn.functional.scaled_dot_product_attention(x, x + places[:, None], x, is_causal=True)
            return self.out(seen), torch.ones(x.shape[0], 2, x.shape[1], device=x.device) * places

    x, shapes = torch.randn(2, 5, 4), {"x": ("batch", "time", 4)}
    net = Net()
    for source, options in ((net, {"example": x}), (li.convert(net, "onnx", example=x, input_shapes=shapes), {})):
        model = li.convert(source, "torch", input_shapes=shapes, verify=True, **options)
        li.convert(source, tmp_path / "net.py", input_shapes=shapes, verify=False, **options)
        for made in (model, module_of(tmp_path / "net.py").load()):
            for inputs in (x, torch.randn(3, 7, 4)):
                for a, b in zip(made(inputs), net(inputs), strict=True):
                    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
            same(torch.compile(made, backend="eager")(x), made(x))
            same(torch.jit.trace(made, (x,))(x), made(x))
            moved = copy.deepcopy(made).to("meta")(torch.randn(3, 7, 4, device="meta"))
            assert [(t.device.type, tuple(t.shape)) for t in moved] == [("meta", (3, 7, 2)), ("meta", (3, 2, 7))]
