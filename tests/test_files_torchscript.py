"""TorchScript archives: what loading one could do is judged before torch sees it."""

import pickle
import zipfile

import pytest
import torch

from leaky_interop import files
from leaky_interop.errors import LeakyInteropError, RuntimeFailure, UnsafeFile
from leaky_interop.files.torchscript import judge_code, judge_pickle
from leaky_interop.frameworks.torch.script import converts

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.filterwarnings(
        "ignore:.*torch.jit.*:DeprecationWarning", "ignore:The TorchScript type system:UserWarning"
    ),
]


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.LeakyReLU(0.3), torch.nn.BatchNorm2d(4))
        self.register_buffer("table", torch.arange(8.0)[2:6])
        self.sizes = [1, 2]

    def forward(self, x):
        x = self.layers(x)
        if x.size(0) > 4:
            x = x * self.sizes[1]
        return {"y": x + self.table.view(-1, 1, 1) + torch.ones(4, 1, 1)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "net.pt"
    torch.jit.script(Network().eval()).save(path)
    return path


def changed(source, target, change):
    """A copy of an archive whose entries `change(name, content)` has rewritten."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def opened(path, **options):
    return files.open_torchscript(path, converts, **options)


def test_an_honest_archive_loads_and_computes_the_same(saved):
    assert files.kind(saved) == "torchscript"
    x = torch.randn(2, 3, 8, 8)
    for options in ({}, {"trust": True}):
        torch.testing.assert_close(opened(saved, **options)(x)["y"], torch.jit.load(saved)(x)["y"], rtol=0, atol=0)


SAVING = "    torch.save(x, '{trace}')\n"
MAPPING = "    y = torch.from_file('{trace}', True, 100)\n"
CODE = {
    "saves": SAVING,
    "maps a file": MAPPING,
    "by its namespace": "    ops.aten.save(x, '{trace}')\n",
    "by another name": "    f = torch.save\n    f(x, '{trace}')\n",
    "another name for operators": "    o = ops\n    o.aten.add(x, x)\n",
    "as a method": "    x.save('{trace}')\n",
    "by its text": "    getattr(torch, 'save')(x, '{trace}')\n",
    "other operators": "    ops.profiler._record_function_enter('a')\n",
    "objects of C++": "    c = __torch__.torch.classes.profiler._RecordFunction\n",
    "random numbers of the machine": "    torch.manual_seed(3)\n",
}


def with_code(saved, target, lines):
    def change(name, content):
        if not name.endswith(".py") or b"class Network" not in content:
            return content
        head, found, tail = content.decode().partition("    layers = self.layers\n")
        assert found
        return (head + lines + found + tail).encode()

    return changed(saved, target, change)


@pytest.mark.parametrize("kind", CODE)
def test_code_that_reaches_beyond_tensors_is_refused_unopened(saved, tmp_path, kind):
    hostile = with_code(saved, tmp_path / "evil.pt", CODE[kind].format(trace=tmp_path / "trace"))
    with pytest.raises(UnsafeFile, match=r"evil\.pt is not safe to load"):
        opened(hostile)
    assert not (tmp_path / "trace").exists()


def test_what_is_refused_is_a_danger_indeed(saved, tmp_path):
    """Trusted, the archive writes where its code says; and code of __setstate__ runs while it is loaded."""
    hostile = with_code(saved, tmp_path / "evil.pt", SAVING.format(trace=tmp_path / "trace"))
    opened(hostile, trust=True)(torch.randn(1, 3, 8, 8))
    assert (tmp_path / "trace").exists()


def test_code_that_runs_while_loading_is_refused(tmp_path):
    class Eager(torch.nn.Module):
        @torch.jit.export
        def __getstate__(self):
            return 3

        @torch.jit.export
        def __setstate__(self, state: int):
            self.training = False

        def forward(self, x):
            return x + 1

    torch.jit.script(Eager()).save(tmp_path / "evil.pt")
    with pytest.raises(UnsafeFile, match="while it is loaded"):
        opened(tmp_path / "evil.pt")


def test_tensors_stay_within_their_storages(saved, tmp_path):
    """Loaded as it is, such a tensor would show memory that belongs to others."""

    def longer(name, content):
        return content[:-8] if name == "data/0" else content

    with pytest.raises(UnsafeFile, match="larger than what is stored"):
        opened(changed(saved, tmp_path / "evil.pt", longer))

    def wider(name, content):  # the numbers 8 and 4 of the buffer's view
        return content.replace(b"K\x02(K\x04t", b"K\x02(K\x77t") if name == "data.pkl" else content

    assert wider("data.pkl", zipfile.ZipFile(saved).read("net/data.pkl")) != zipfile.ZipFile(saved).read("net/data.pkl")
    with pytest.raises(UnsafeFile, match="beyond its storage"):
        opened(changed(saved, tmp_path / "evil.pt", wider))


class Evil:
    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


@pytest.mark.parametrize("entry", ["data.pkl", "constants.pkl"])
def test_pickles_name_modules_and_tensors_alone(saved, tmp_path, entry):
    evil = pickle.dumps(Evil(tmp_path / "trace"), protocol=2)
    hostile = changed(saved, tmp_path / "evil.pt", lambda name, content: evil if name == entry else content)
    with pytest.raises(UnsafeFile, match="names something else"):
        opened(hostile)
    assert not (tmp_path / "trace").exists()
    with pytest.raises(LeakyInteropError, match="truncated or damaged"):
        opened(changed(saved, tmp_path / "cut.pt", lambda name, content: content[:-1] if name == entry else content))


def test_objects_of_cpp_and_foreign_storages_are_refused():
    for text in (
        b"c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n.",
        b"cos\nsystem\n.",
        b"ctorch\nload\n.",
    ):
        with pytest.raises(UnsafeFile, match="names something else"):
            judge_pickle(b"\x80\x02" + text, "data.pkl", {})
    storage = b"\x80\x02(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuJ\x05\x00\x00\x00tQ."
    judge_pickle(storage, "data.pkl", {"0": 20})
    with pytest.raises(UnsafeFile, match="larger than what is stored"):
        judge_pickle(storage, "data.pkl", {"0": 19})


@pytest.mark.parametrize("text", [b"def f(:\n", b"\xff\xfe", b"x = " + b"(" * 5000 + b")" * 5000, b"\0"])
def test_code_that_is_none(text):
    assert list(judge_code(text, lambda name: True))


def test_what_lies_beside_is_left_behind(saved, tmp_path):
    with zipfile.ZipFile(changed(saved, tmp_path / "a.pt", lambda name, content: content), "a") as out:
        out.writestr("net/extra/notes.txt", b"hello")
    assert opened(tmp_path / "a.pt").layers
    with pytest.raises(RuntimeFailure, match="cannot load"):
        opened(changed(saved, tmp_path / "b.pt", lambda name, content: None if name == "version" else content))


def test_known_operators():
    assert all(map(converts, ["conv2d", "relu_", "add", "dropout", "size", "rand", "upsample_bilinear2d"]))
    assert not any(map(converts, ["save", "from_file", "manual_seed", "set_grad_enabled", "rpc_sync"]))
