"""Exported programs: torch's loader evaluates what a `.pt2` says, so all of that is held to a grammar first."""

import json
import pickle
import zipfile

import pytest
import torch

from leaky_interop import files
from leaky_interop.errors import UnsafeFile, Usage
from leaky_interop.files.pt2 import is_plain_expression, judge_program

Dim = torch.export.Dim


class Network(torch.nn.Module):
    """Parameters, buffers, a constant, sizes in arithmetic, keyword and dictionary inputs, a tree of outputs."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.stack = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.BatchNorm1d(2))
        self.register_buffer("shift", torch.ones(2))
        self.scale = torch.tensor([1.0, 2.0])

    def forward(self, x, extra, *, gain=None):
        y = torch.nn.functional.leaky_relu(self.conv(x), 0.2)
        y = y[:, :, : y.shape[2] // 2].mean((2, 3))
        y = self.stack(y) * self.scale + self.shift + extra["my-key"] * gain
        return {"out": y, "more": [y.flatten(), y.new_zeros(x.shape[0] * 2)]}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    network = Network().eval()
    args, kwargs = (torch.randn(2, 3, 12, 10), {"my-key": torch.ones(1)}), {"gain": torch.ones(1)}
    shapes = {"x": {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}, "extra": {"my-key": None}, "gain": None}
    torch.export.save(torch.export.export(network, args, kwargs, dynamic_shapes=shapes), path)
    return path, network


def _changed(source, target, change):
    """A copy of the archive with `change(name, content)` over every entry; None drops it."""
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w") as out:
        for name in given.namelist():
            content = change(name.partition("/")[2], given.read(name))
            if content is not None:
                out.writestr(name, content)
    return target


def _with_json(source, target, edit):
    def change(name, content):
        if name != "models/model.json":
            return content
        model = json.loads(content)
        edit(model)
        return json.dumps(model)

    return _changed(source, target, change)


def test_an_honest_program_loads_and_computes_the_same(program):
    path, network = program
    assert files.kind(path) == "pt2"
    loaded = files.open_pt2(path)
    x, extra, gain = torch.randn(5, 3, 16, 9), {"my-key": torch.randn(1)}, torch.randn(1)
    found, expected = loaded.module()(x, extra, gain=gain), network(x, extra, gain=gain)
    assert torch.equal(found["out"], expected["out"])
    assert found["more"][1].shape == (10,)


class Branching(torch.nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: torch.where(x < 0, x * 0.1, x), (x,))


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return torch.nn.functional.interpolate(y.unsqueeze(1), scale_factor=2.0), h + c


class Sizes(torch.nn.Module):
    def forward(self, x, y):
        n = x.shape[0] + y.shape[0] * 2
        pooled = torch.nn.functional.adaptive_avg_pool2d(torch.nn.functional.pad(x, (1, 2, 3, 0)), 4)
        parts = torch.chunk(x.reshape(x.shape[0], -1), 2, dim=1)
        return pooled, x.new_full((n,), float(n) / 3), parts[0] ** 2, x.view(-1, x.shape[3] * x.shape[2])


@pytest.mark.parametrize(
    ("network", "args", "shapes"),
    [
        (Branching(), (torch.randn(3, 4),), ({0: Dim.AUTO},)),
        (Recurrent(), (torch.randn(2, 5, 4),), ({0: Dim.AUTO, 1: Dim.AUTO},)),
        (Sizes(), (torch.randn(2, 3, 8, 8), torch.randn(5)), ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}, {0: Dim.AUTO})),
        (torch.nn.Transformer(8, 2, 1, 1, 16, batch_first=True), (torch.randn(2, 5, 8), torch.randn(2, 3, 8)), None),
    ],
    ids=["branching", "recurrent", "sizes", "transformer"],
)
def test_honest_programs_of_many_kinds_load(tmp_path, network, args, shapes):
    network.eval()
    torch.export.save(torch.export.export(network, args, dynamic_shapes=shapes), tmp_path / "net.pt2")
    found, expected = files.open_pt2(tmp_path / "net.pt2").module()(*args), network(*args)
    for one, other in zip(
        torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(expected), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def _first_expression(model, text):
    values = model["graph_module"]["graph"]["sym_int_values"]
    next(value for value in values.values() if "as_expr" in value)["as_expr"]["expr_str"] = text


def _first_spec(model, old, new):
    call = model["graph_module"]["module_call_graph"][0]["signature"]
    assert old in call["in_spec"]
    call["in_spec"] = call["in_spec"].replace(old, new)


def _graph(model):
    return model["graph_module"]["graph"]


CODE = "__import__('pathlib').Path({trace!r}).touch()"
HOSTILE = {
    "expression": lambda m, code: _first_expression(m, code),
    "guard": lambda m, code: m["guards_code"].append(code),
    "quote in a guard": lambda m, code: m["guards_code"].append(f"L['a\"+{code}+\"'] == 1"),
    "operator": lambda m, code: _graph(m)["nodes"][0].update(target="torch.os.system"),
    "library": lambda m, code: _graph(m)["nodes"][0].update(target="torch.ops.load_library"),
    "evaluation": lambda m, code: _graph(m)["nodes"][0].update(target="_operator.call"),
    "input's name": lambda m, code: _graph(m)["inputs"][-1]["as_tensor"].update(name=f"x={code}"),
    "node's name": lambda m, code: _graph(m)["nodes"][0].update(name=f"x={code}"),
    "parameter's name": lambda m, code: m["graph_module"]["signature"]["input_specs"][0]["parameter"].update(
        parameter_name=f'a" + {code} + "'
    ),
    "argument's name": lambda m, code: m["graph_module"]["module_call_graph"][0]["signature"].update(
        forward_arg_names=[f"x={code}"]
    ),
    "keyword": lambda m, code: _first_spec(m, "gain", f"gain={code}"),
    "keyword without quotes": lambda m, code: _first_spec(m, "gain", "gain=exit()"),
    "type of a tree": lambda m, code: _first_spec(m, "builtins.dict", "collections.defaultdict"),
    "enumeration in a tree": lambda m, code: _first_spec(
        m, '[\\"gain\\"]', '{\\"__enum__\\": true, \\"fqn\\": \\"os:x\\"}'
    ),
}


@pytest.mark.parametrize("place", HOSTILE)
def test_code_is_found_wherever_it_hides(program, tmp_path, place):
    code = CODE.format(trace=str(tmp_path / "trace"))
    hostile = _with_json(program[0], tmp_path / "evil.pt2", lambda model: HOSTILE[place](model, code))
    with pytest.raises(UnsafeFile, match=r"evil.pt2 is not safe to load"):
        files.open_pt2(hostile)
    assert not (tmp_path / "trace").exists()


class Evil:
    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


def test_pickles_inside_are_refused_unopened(program, tmp_path):
    torch.save((Evil(tmp_path / "trace"),), tmp_path / "evil.pt")
    evil = (tmp_path / "evil.pt").read_bytes()

    def samples(name, content):
        return evil if name == "data/sample_inputs/model.pt" else content

    def weight(name, content):
        if name == "data/weights/model_weights_config.json":
            config = json.loads(content)
            config["config"]["conv.weight"]["use_pickle"] = True
            return json.dumps(config)
        return evil if name == "data/weights/weight_0" else content

    def constant(name, content):
        if name == "data/constants/model_constants_config.json":
            return content.replace(b"tensor_0", b"opaque_obj_0")
        return content

    for change in (samples, weight):
        with pytest.raises(UnsafeFile, match="more than tensors"):
            files.open_pt2(_changed(program[0], tmp_path / "evil.pt2", change))
    hostile = _changed(program[0], tmp_path / "evil.pt2", constant)
    with zipfile.ZipFile(hostile, "a") as out:
        out.writestr("net/data/constants/opaque_obj_0", pickle.dumps(Evil(tmp_path / "trace")))
    with pytest.raises(UnsafeFile, match="pickled object"):
        files.open_pt2(hostile)
    assert not (tmp_path / "trace").exists()


def test_compiled_code_is_refused_and_other_entries_are_left_behind(program, tmp_path):
    for name in ("net/data/aotinductor/model/model.so", "net/extra/x.so"):
        hostile = _changed(program[0], tmp_path / "evil.pt2", lambda name, content: content)
        with zipfile.ZipFile(hostile, "a") as out:
            out.writestr(name, b"\x7fELF")
        with pytest.raises(UnsafeFile, match="compiled code"):
            files.open_pt2(hostile)
    with zipfile.ZipFile(_changed(program[0], tmp_path / "a.pt2", lambda name, content: content), "a") as out:
        out.writestr("net/extra/notes.txt", b"hello")
    assert files.open_pt2(tmp_path / "a.pt2").graph


def test_a_broken_archive_is_a_clear_error(program, tmp_path):
    def without(gone):
        return lambda name, content: None if name == gone else content

    with pytest.raises(Usage, match=r"not laid out|not a model of a known kind"):
        files.open_pt2(_changed(program[0], tmp_path / "a.pt2", without("archive_format")))
    whole = program[0].read_bytes()
    (tmp_path / "b.pt2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Usage, match="truncated or damaged"):
        files.open_pt2(tmp_path / "b.pt2")


@pytest.mark.parametrize(
    "text",
    [
        "s77",
        "Add(FloorDiv(Symbol('s53', positive=True, integer=True), Integer(2)), Integer(-1))",
        "Pow(Symbol('s0', integer=True), Integer(2))",
        "L['x'].size()[2] >= 3 and 4*L['x'].size()[0]*((-2) + L['x'].size()[3]) != 1",
        "(max(1, (-2) + L['x'].size()[3])) == (L['my-key'].stride()[1] // 2)",
    ],
)
def test_arithmetic_on_sizes_is_plain(text):
    assert is_plain_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "().__class__",
        "[s for s in L]",
        "lambda: 1",
        "(s0 := 1)",
        "eval('1')",
        "L['a\"b']",
        "s0 # comment",
        "s0\n",
        "s0.__class__",
        "9**9**9",
        "Pow(Integer(9), Integer(999999999))",
        "Symbol('s0') ** 1000",
        "1 << 99999",
        "x" * 200_000,
        "(" * 500,
    ],
)
def test_anything_else_is_not(text):
    assert not is_plain_expression(text)


def test_every_fault_is_named():
    program = {"guards_code": ["f()"], "graph": {"nodes": [{"target": "os.system", "name": "a b"}]}}
    assert sorted(what for _, what in judge_program(program)) == ["a b", "f()", "os.system"]
