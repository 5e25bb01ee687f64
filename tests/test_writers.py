"""Every writer goes through `files.atomic`: no other code opens a file to write, and a full disk is told for each format."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import leaky_interop as li
from leaky_interop import files

PACKAGE = Path(li.__file__).parent
# Who else writes, and why that loses nothing.
OTHERS = {
    "ort.py": "under the name that atomic gives to model_repository.py, or a temporary folder",
    "sandbox.py": "files of the kernel, and the pipe to the parent",
    "batch/journal.py": "the journal, whose torn lines are no entries",
    "browser/runtime.py": "a download in a private folder",
    "conformance/environments.py": "a torn stamp is not the one wanted, and is made again",
    "conformance/worker.py": "the pipe to the parent",
    "frameworks/chainer/recorder.py": "under the name that atomic gave to record.py, in another interpreter",
    "frameworks/keras/source.py": "under the name that atomic gives",
    "frameworks/keras/write.py": "under the name that atomic gives",
    "frameworks/matlab/write.py": "under the name that atomic gives",
    "frameworks/onnx/file.py": "under the name that atomic gives",
    "frameworks/torch/source.py": "under the name that atomic gives",
    "frameworks/torch/save.py": "under the name that atomic gives",
    "inference/on_ray.py": "a private folder",
    "inference/sources.py": "a temporary folder",
    "inference/writers.py": "under the name that atomic gives; lines are appended to a file that can be gone on with",
    "speed/forms.py": "a temporary folder",
    "speed/measuring.py": "a temporary folder",
    "speed/memory.py": "a file of the kernel",
    "speed/worker.py": "a temporary folder, and the pipe to the parent",
}
ALWAYS = {
    "write_text",
    "write_bytes",
    "savez",
    "savez_compressed",
    "save_file",
    "savefig",
    "savemat",
    "save_model",
    "touch",
}
MODED = {"open", "fdopen", "ZipFile", "File"}  # write where their mode says so
SAVERS = {"torch.save", "torch.export.save", "onnx.save", "onnx_ir.save", "np.save", "model.save"}


SAFE = ("atomic", "private_folder", "TemporaryDirectory")  # blocks in which a file may be written


def writes(tree: ast.AST) -> list[int]:
    """Lines of a module on which a file is written, outside of the blocks of SAFE."""
    found = []
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.With) and any(_last(item.context_expr) in SAFE for item in node.items):
            continue
        if _last(node) == "open" and "devnull" in ast.unparse(node):
            continue
        if _is_write(node):
            found.append(node.lineno)
        left += ast.iter_child_nodes(node)
    return sorted(found)


def _last(node: ast.AST) -> str:
    """The last name of what is called."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def _is_write(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Attribute) and node.attr in ("O_WRONLY", "O_RDWR", "O_CREAT")
    last = _last(node)
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    modes = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    moded = last in MODED and any(set(mode) <= set("rwxab+t") and set(mode) & set("wxa+") for mode in modes)
    return last in ALWAYS or ast.unparse(node.func) in SAVERS or moded


def test_the_search_finds_what_writes():
    text = """
    p.write_text(x); open(p, "w"); open(p, mode="ab"); p.open("xb"); zipfile.ZipFile(p, "w"); np.savez(p); torch.save(x, p)
    h5py.File(p, "r+"); os.open(p, os.O_RDWR); os.fdopen(d, "w")
    with a, files.atomic(p) as q: q.write_text(x)
    with opened(p) as q: q.write_text(x)
    open(p); open(p, "rb"); zipfile.ZipFile(p); h5py.File(p, "r"); os.open(p, os.O_RDONLY); members.open("name"); engine.save(m, p)
    """
    assert writes(ast.parse("\n".join(line.strip() for line in text.splitlines()))) == [2] * 7 + [3] * 3 + [5]


def test_nothing_is_written_past_atomic():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("files/") and (lines := writes(ast.parse(path.read_text(encoding="utf-8")))):
            found[name] = lines
    assert not {name: lines for name, lines in found.items() if name not in OTHERS}, (
        "write under files.atomic, or say here why not"
    )
    assert not OTHERS.keys() - found.keys()  # rows that excuse nothing


def network() -> torch.nn.Module:
    """2.4 MB of weights."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(600, 1000), torch.nn.LeakyReLU(0.2)).eval()


@pytest.mark.parametrize("name", ["net.onnx", "net.keras", "net.pt2", "net.safetensors", "net.m"])
@pytest.mark.parametrize("verify", [True, False], ids=["verified", "streamed"])
def test_a_full_disk_is_told_for_every_format_and_keeps_what_was_there(mounted, name, verify):
    disk = mounted("-t", "tmpfs", "-o", "size=1m", "none")
    earlier = [
        disk / name,
        *((disk / name).with_suffix(s) for s in {".m": [".mat"], ".safetensors": [".py"]}.get(Path(name).suffix, [])),
    ]
    for path in earlier:
        path.write_text("old")
    with pytest.raises(
        li.Usage, match=rf"{name} cannot be written: No space left on device. The earlier file is as it was"
    ):
        li.convert(network(), disk / name, example=(torch.zeros(2, 600),), verify=verify)
    assert {p.name: p.read_text() for p in disk.iterdir()} == {p.name: "old" for p in earlier}


def test_arrays_and_reports_on_a_full_disk_keep_what_was_there(mounted):
    import numpy as np

    disk = mounted("-t", "tmpfs", "-o", "size=1m", "none")
    (disk / "out.npz").write_text("old")
    with (
        pytest.raises(li.Usage, match=r"out.npz cannot be written: No space left"),
        files.atomic(disk / "out.npz") as path,
    ):
        files.write_npz(path, {"y": np.ones(1_000_000)})
    assert [p.read_text() for p in disk.iterdir()] == ["old"]
