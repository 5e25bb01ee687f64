"""Every known advisory of the formats that are read: a hostile file for each, refused by the command line.

All files are opened in one process that is watched: exit code 4, the sentence, at most a second of computing and 300 MB,
nothing opened outside of the folder, nothing started, nothing written. SECURITY.md's table is made of `ADVISORIES`.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import json
import os
import re
import resource
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.cli import main
from tests import keras_samples
from tests import test_files_keras_hostile as of_keras
from tests import test_files_onnx as of_onnx
from tests.fuzz.watching import Watch

pytestmark = pytest.mark.one_backend

ROOT = Path(__file__).parents[1]
SECRET = b"never to be read 0123456789abcdef" * 4
SECONDS, MEGABYTES = 1.0, 300
Build = Callable[[Path], list[Any]]  # writes into the folder, whose parent has secret.bin, and returns a command line


# Builders of files


def external(location: str = "w.bin", **changes: Any) -> Build:
    """A model whose weight lies at that place."""
    return model(lambda: of_onnx._model([of_onnx._external(location, **changes)]))


def model(make: Callable[[], Any]) -> Build:
    def build(folder: Path) -> list[Any]:
        (folder / "w.bin").write_bytes(bytes(32))
        (folder / "sl").symlink_to(folder.parent)
        (folder / "sf.bin").symlink_to(folder.parent / "secret.bin")
        os.link(folder.parent / "secret.bin", folder / "hl.bin")
        return ["inspect", of_onnx._save(folder, make())]

    return build


def run(build: Build) -> Build:
    """The same file, given to onnxruntime."""

    def again(folder: Path) -> list[Any]:
        _, path = build(folder)
        np.save(folder / "x.npy", np.zeros(4, np.float32))
        return ["run", path, "--input", folder / "x.npy"]

    return again


def hidden(place: str, location: str) -> Build:
    return model(lambda: of_onnx.HIDING[place](of_onnx._external(location)))


def learning() -> Any:
    node = helper.make_node("SVMClassifier", ["x"], ["y", "z"], domain="ai.onnx.ml", vectors_per_class=[2**31 - 1])
    return of_onnx._model([onnx.numpy_helper.from_array(of_onnx.VALUES, "w")], [node])


def ring(within: str | None) -> Build:
    if within == "Loop":
        inner = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="f")], "b", [], [of_onnx._value("y")])
        body = [helper.make_node("Loop", ["x", "x"], ["y"], body=inner)]
        looped = helper.make_function("f", "F", ["x"], ["y"], body, [helper.make_opsetid("f", 1)])
        return model(lambda: of_onnx._model(functions=[looped]))
    return model(
        lambda: of_onnx._model(functions=[of_onnx._function("F", "G", within=within), of_onnx._function("G", "F")])
    )


def tar(*members: tuple[str, bytes, str]) -> Build:
    def build(folder: Path) -> list[Any]:
        with tarfile.open(folder / "net.onnx", "w") as out:
            for name, kind, target in members:
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = kind, target
                out.addfile(entry)
        return ["inspect", folder / "net.onnx"]

    return build


def config(case: str, name: str = "net.keras") -> Build:
    """An honest Keras file with a configuration of `test_files_keras_hostile.py`."""
    edit = of_keras.HOSTILE[case] if isinstance(case, str) else case

    def build(folder: Path) -> list[Any]:
        return ["inspect", of_keras._edited((folder.parent.parent / "honest", None), folder, edit, name)]

    return build


def lookup(vocabulary: str) -> Build:
    return config(of_keras._replace("StringLookup", {"vocabulary": vocabulary}))


def h5(change: Callable[[Any], None], inside: bool = False) -> Build:
    """An honest HDF5 file with something else in it, alone or as the weights in a .keras file."""

    def build(folder: Path) -> list[Any]:
        honest, path = folder.parent.parent / "honest", folder / "net.h5"
        path.write_bytes((honest / ("net.weights.h5" if inside else "net.h5")).read_bytes())
        with contextlib.chdir(folder), h5py.File(path, "r+") as file:
            change(file)
        if inside:
            content = path.read_bytes()
            path = of_keras._rezipped(
                (honest, None), folder, lambda entries: entries.update({of_keras_weights: content})
            )
        return ["inspect", path]

    return build


of_keras_weights = "model.weights.h5"


def zipped(entries: Callable[[], list[tuple[Any, bytes]]], name: str = "net.keras") -> Build:
    """The honest .keras file with further entries."""

    def build(folder: Path) -> list[Any]:
        path = folder / name
        path.write_bytes((folder.parent.parent / "honest" / "net.keras").read_bytes())
        with zipfile.ZipFile(path, "a") as out:
            for entry, content in entries():
                out.writestr(entry, content)
        return ["inspect", path]

    return build


def link_entry() -> list[tuple[Any, bytes]]:
    entry = zipfile.ZipInfo("assets/link")
    entry.external_attr = 0o120777 << 16
    return [(entry, b"/etc/passwd")]


def inflated(command: Callable[[Path], list[Any]], *entries: str) -> Build:
    """A zip whose entries declare 3.9 GiB each, of which a thousandth is stored."""

    def build(folder: Path) -> list[Any]:
        path = folder / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for entry in entries:
                out.writestr(entry, bytes(2**22))
        content = bytearray(path.read_bytes())
        place = content.find(b"PK\x01\x02")
        while place >= 0:
            content[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2**26)
            place = content.find(b"PK\x01\x02", place + 1)
        path.write_bytes(content)
        return command(path)

    return build


def as_inputs(path: Path) -> list[Any]:
    return ["run", "torch.nn:Identity", "--input", path.rename(path.with_suffix(".npz"))]


def as_weights(path: Path) -> list[Any]:
    return ["inspect", "torch.nn:Identity", "--weights", path]


def npz_bomb(folder: Path) -> list[Any]:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    with zipfile.ZipFile(folder / "x.zip", "w") as target:
        target.writestr("x.npy", out.getvalue() + bytes(40))
    return as_inputs(folder / "x.zip")


def pth(pickled: bytes) -> Build:
    def build(folder: Path) -> list[Any]:
        torch.save({"w": torch.ones(2)}, folder / "honest.pth")
        with zipfile.ZipFile(folder / "honest.pth") as given, zipfile.ZipFile(folder / "net.pth", "w") as out:
            for name in given.namelist():
                out.writestr(name, pickled if name.endswith("data.pkl") else given.read(name))
        return as_weights(folder / "net.pth")

    return build


def pth_tar(folder: Path) -> list[Any]:
    tar(("pickle", tarfile.REGTYPE, ""), ("tensors", tarfile.REGTYPE, ""))(folder)
    return as_weights((folder / "net.onnx").rename(folder / "net.pth"))


def os_system(folder: Path) -> list[Any]:
    (folder / "net.pth").write_bytes(b"\x80\x02cos\nsystem\nX\x0d\x00\x00\x00touch executed\x85R.")
    return as_weights(folder / "net.pth")


# The advisories: component and version that mended it, what a file tries, how it is refused, and the files by case.

OUTSIDE, LINKED, STRANGE, UNSAFE = "leads outside", "link", "names what is not Keras' own", "unsafe configuration"
MEMBERS = (
    ("link", tarfile.SYMTYPE, "/etc"),
    ("link/../x", tarfile.REGTYPE, ""),
    ("../y", tarfile.LNKTYPE, "../secret.bin"),
)
LOCATIONS = ("../secret.bin", "sl/secret.bin", "sf.bin", "hl.bin", "/etc/hostname")
ADVISORIES: dict[str, tuple[str, str, str, dict[str, Build]]] = {
    "CVE-2022-25882": ("onnx 1.13.0", "external data at a path above the model", OUTSIDE, {"up": external("../../../etc/passwd")}),
    "CVE-2024-27318": (
        "onnx 1.16.0", "the same behind a folder that is not there, or from the root", OUTSIDE,
        {"junk": external("junk/../../secret.bin"), "absolute": external("/etc/passwd")},
    ),
    "CVE-2024-27319": (
        "onnx 1.16.0", "a tensor whose size is not what is stored", "negative size|does not fill its shape",
        {"negative": model(lambda: of_onnx._model([TensorProto(name="w", data_type=1, dims=[-4], raw_data=bytes(16))])),
         "large": model(lambda: of_onnx._model([TensorProto(name="w", data_type=1, dims=[2**40], raw_data=bytes(16))]))},
    ),
    "CVE-2024-5187": ("onnx 1.16.2", "a tar with members outside; nothing is ever unpacked", "is a tar file", {"tar": tar(*MEMBERS)}),
    "CVE-2024-7776": ("onnx, later", "the same with links", "is a tar file", {"links": tar(MEMBERS[0], MEMBERS[1])}),
    "CVE-2025-51480": (
        "onnx 1.21", "a model that, saved again, writes above its folder", OUTSIDE, {"location": external("../../out")}),
    "CVE-2026-27489": ("onnx 1.21.0", "external data behind a folder that is a link", LINKED, {"parent": external("sl/secret.bin")}),
    "CVE-2026-34447": ("onnx 1.21.0", "external data that is a link", LINKED, {"final": external("sf.bin")}),
    "CVE-2026-34446": ("onnx 1.21.0", "external data that is a hard link", "hard link", {"hard": external("hl.bin")}),
    "CVE-2026-34445": (
        "onnx 1.21.0", "an entry that names a Python attribute, or a huge length or negative offset", "unsafe external data",
        {"class": external(__class__="x"), "length": external(length=2**63 - 1), "offset": external(offset=-16),
         "beyond": external(offset=2**63 - 1)},
    ),
    "GHSA-7w46-vvrh-m8q5": ("onnx 1.22", "functions that call each other in a ring", "in a ring", {"ring": ring(None)}),
    "onnx!8171": (
        "onnx, 2026-07", "the same through the body of an If or Loop", "in a ring",
        {"If": ring("graph"), "Loop": ring("Loop"), "list of graphs": ring("list of graphs")},
    ),
    "ORT sparse external data": (
        "onnxruntime 1.26.0", "external data in sparse tensors", "unsafe external data",
        {f"{place} {location}": run(hidden(place, location)) for place in ("sparse constant", "sparse initializer") for location in LOCATIONS},
    ),
    "ORT hard link": ("onnxruntime 1.31.1, still open", "onnxruntime reads hard-linked external data", "hard link", {"hard": run(external("hl.bin"))}),
    "ORT SVM OOB": ("onnxruntime, 2026-04", "trees and vectors whose kernels read beyond their data", r"an operator of ai\.onnx\.ml",
                    {"vectors": run(model(learning)), "inspected": model(learning)}),
    "CVE-2024-3660": (
        "Keras 2.13", "bytecode in a Lambda layer", "holds Python code",
        {name: config("lambda", name) for name in ("net.keras", "net.h5")} | {"field": config("lambda as a field")},
    ),
    "CVE-2025-1550": (
        "Keras 3.9.0", "any module's functions, named in the configuration", f"{STRANGE}|{UNSAFE}",
        {case: config(case) for case in ("operating system", "subprocess", "builtin", "initializer", "call argument", "compilation", "registered name")},
    ),
    "CVE-2025-8747": ("Keras 3.11.0", "Keras' own tools, such as its downloads", STRANGE,
                      {case: config(case) for case in ("download", "loading another model")}),
    "CVE-2025-9905": ("Keras 3.11.3", "a Lambda layer in .h5, where safe mode did nothing", "holds Python code", {"h5": config("lambda", "net.h5")}),
    "CVE-2025-9906": ("Keras 3.11.0", "a call that switches safe mode off", STRANGE, {"call": config("unsafe loading")}),
    "CVE-2025-49655": ("Keras 3.11.3", "a pickled module in TorchModuleWrapper", "holds a pickled module", {"pickle": config("torch module")}),
    "CVE-2025-12058": (
        "Keras 3.12.0", "a vocabulary that is a path or an address", "a file would be opened",
        {"path": lookup("/etc/hostname"), "address": lookup("http://127.0.0.1:1/"), "text": config("vocabulary address"),
         "integers": config("vocabulary of integers")},
    ),
    "CVE-2025-12060": ("Keras 3.12.0", "a tar whose links lead outside; nothing is ever unpacked", "is a tar file", {"links": tar(*MEMBERS)}),
    "CVE-2026-0897": (
        "Keras 3.12.1", "an HDF5 dataset of a huge size and no data", "declares",
        {f"inside={inside}": h5(of_keras.HOSTILE_HDF5["shape bomb"], inside) for inside in (False, True)},
    ),
    "CVE-2026-1669": (
        "Keras 3.12.1, 3.13.2", "HDF5 links, external storage, virtual datasets", "elsewhere|other files",
        {f"{case} inside={inside}": h5(of_keras.HOSTILE_HDF5[case], inside)
         for case in ("soft link", "external link", "external storage", "virtual dataset") for inside in (False, True)},
    ),
    "CVE-2026-1462": ("Keras 3.13.2", "a layer that loads a SavedModel at a path", "opens a SavedModel|a file would be opened", {"layer": config("saved model")}),
    "CVE-2026-12481": ("Keras 3", "not published: no class beyond the list is taken", f"{STRANGE}|{UNSAFE}",
                       {case: config(case) for case in ("class inside keras", "module inside keras", "type specification", "jax", "flax")}),
    "keras!22899": ("Keras 3.15", "links in the weights of a .keras file", "elsewhere", {"soft": h5(of_keras.HOSTILE_HDF5["soft link"], True)}),
    "keras!22900": ("Keras 3.15", "links in a whole-model .h5", "elsewhere", {"external": h5(of_keras.HOSTILE_HDF5["external link"])}),
    "keras!22973": ("Keras 3.15", "a tar whose hard link leads outside", "is a tar file", {"hard": tar(MEMBERS[2])}),
    "keras!22975": ("Keras 3.15", "a shape bomb in the weights", "declares", {"bomb": h5(of_keras.HOSTILE_HDF5["shape bomb"], True)}),
    "keras!22976": ("Keras 3.15", "a virtual dataset", "other files", {"virtual": h5(of_keras.HOSTILE_HDF5["virtual dataset"], True)}),
    "keras!23010": ("Keras 3.15", "a zip bomb", "declares", {"zip": inflated(lambda p: ["inspect", p], "config.json", "model.weights.h5")}),
    "keras!23015": (
        "Keras 3.15", "entries of a zip that lead outside or are links", "unsafe entry|an entry that is not read",
        {"up": zipped(lambda: [("../x", b"")]), "absolute": zipped(lambda: [("/etc/x", b"")]), "link": zipped(link_entry),
         "code": zipped(lambda: [("x.py", b"")])},
    ),
    "keras!23016": ("Keras 3.15", "an .npz bomb", "declares", {"header": npz_bomb, "zip": inflated(as_inputs, "x.npy")}),
    "keras!23048": ("Keras 3.15", "a class that is not known, within one that is", f"{STRANGE}|{UNSAFE}", {"nested": config("nested")}),
    "CVE-2025-32434": ("torch 2.6.0", "torch's oldest format, which runs code in spite of weights_only", "is a tar file", {"tar": pth_tar}),
    "CVE-2026-24747": (
        "torch 2.10.0", "a pickle that breaks the restricted unpickler", "more than tensors",
        {"items of a list": pth(b"\x80\x02]K\x00K\x01s."), "items of a number": pth(b"\x80\x02K\x05(K\x00K\x01u."),
         "state of a list": pth(b"\x80\x02]}b.")},
    ),
    "pickle": ("any", "a pickle that runs a program", "is a Python pickle", {"program": os_system}),
}  # fmt: skip
# Advisories of functions that the package never calls: what may not occur in its code.
NEVER = {
    "CVE-2026-28500": ("onnx 1.21.0", "onnx.hub trusts whom it is told to: it is never used", "hub"),
    "CVE-2026-0994": (
        "protobuf 5.29.6, 6.33.5",
        "JSON of a protobuf message, nested deeply: JSON is never parsed as one",
        "json_format",
    ),
    "Polygraphy json/serde.py": ("Polygraphy 0.53.6", "its JSON holds pickles: it is never used", "polygraphy"),
    "get_file": ("Keras", "Keras' downloads: never used", "get_file"),
    "custom operators": ("onnxruntime", "libraries of custom operators: never loaded", "register_custom_ops_library"),
}
WRITING = {
    "GHSA-q56x-g2fj-4rj6": ("onnx 1.21", "a link that waits where external data will be written: it is replaced, not followed"),
}  # fmt: skip
CASES = [(name, case) for name, (*_, files) in ADVISORIES.items() for case in files]


# Everything is opened in one process


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[tuple[str, str], dict[str, Any]]:
    """What each command line ended in, by advisory and case."""
    base = tmp_path_factory.mktemp("hostile")
    (base / "honest").mkdir()
    keras_samples.save_all(base / "honest")
    jobs = []
    for number, (name, case) in enumerate(CASES):
        folder = base / str(number) / "model"
        folder.mkdir(parents=True)
        (folder.parent / "secret.bin").write_bytes(SECRET)
        arguments = ADVISORIES[name][3][case](folder)
        jobs.append({"key": [name, case], "folder": str(folder.parent), "arguments": [str(a) for a in arguments]})
    (base / "jobs.json").write_text(json.dumps(jobs))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(base), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.test_security_ids", str(base)]
    done = subprocess.run(command, cwd=base, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return {tuple(row["key"]): row for row in json.loads((base / "outcomes.json").read_text())}


def open_all(base: Path) -> None:
    """Run in the other process: the commands, each watched and measured."""
    watch = Watch(base)
    for warm in (["inspect", base / "honest" / "net.keras"], ["inspect", "torch.nn:Identity", "--input-shape", "2,3"]):
        _ended(warm)
    rows = []
    for job in json.loads((base / "jobs.json").read_text()):
        before, started, there = _now(), time.process_time(), _listing(Path(job["folder"]))
        watch.on = True
        code, said = _ended(job["arguments"])
        watch.on = False
        seconds = time.process_time() - started
        rows.append({
            "key": job["key"], "code": code, "said": said, "seconds": seconds, "megabytes": (_peak() - before) / 1024,
            "seen": list(watch.seen), "written": sorted(_listing(Path(job["folder"])) ^ there),
        })  # fmt: skip
        watch.seen.clear()
    (base / "outcomes.json").write_text(json.dumps(rows))


def _ended(arguments: list[Any]) -> tuple[Any, str]:
    """Exit code and everything said."""
    out = io.StringIO()
    out.reconfigure = lambda **_: None  # type: ignore[attr-defined]  # as the command line does with its streams
    with contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
        try:
            main([str(a) for a in arguments])
        except SystemExit as ended:
            return ended.code, out.getvalue()
    return None, out.getvalue()


def _now() -> int:
    """KiB that the process has; from now on its peak counts anew. Source: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The most memory that the process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _listing(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name} {case}" for name, case in CASES])
def test_a_hostile_file_is_refused(outcomes, name, case):
    row = outcomes[name, case]
    said = " ".join(row["said"].split())
    assert row["code"] == 4, said
    assert re.search(ADVISORIES[name][2], said), said
    assert said.count("Traceback") == 0 and 20 < len(said) < 700
    assert SECRET.decode() not in row["said"]
    assert row["seen"] == [] and row["written"] == []
    assert row["seconds"] <= SECONDS
    assert row["megabytes"] <= MEGABYTES


HONEST = [*sorted((ROOT / "models").glob("*.keras")), *sorted((ROOT / "tests" / "chainer_samples").glob("*.chainer"))]


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.name)
def test_an_honest_file_is_not_refused(path):
    """Those of the project; the valid files of every reader are read by `test_fuzz.py`."""
    assert li.inspect(path).operators


def test_the_watch_and_the_measures_would_tell(tmp_path):
    """The same process opens an honest file, and sees a file outside, a program and memory."""
    watch = Watch(tmp_path)
    watch.on = True
    (tmp_path / "x").write_bytes(b"")
    assert watch.seen == []
    with contextlib.suppress(OSError):
        (tmp_path.parent / "outside.txt").write_text("")
    os.system("true")
    watch.on = False
    assert [line.partition(" ")[0] for line in watch.seen] == ["open", "os.system"]
    before = _now()
    assert bytearray(b"1") * (1 << 29) and _peak() - before > 100 * 1024


# What is never called, and what is written


@functools.cache
def _code() -> dict[str, ast.AST]:
    """The package's own files, parsed."""
    files = (ROOT / "leaky_interop").rglob("*.py")
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text(encoding="utf-8")) for file in files}


@functools.cache
def _used() -> dict[str, set[str]]:
    """Every name that each file uses."""
    return {file: set(_names(tree)) for file, tree in _code().items()}


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (getattr(node, "module", None) or "").split(".")
            yield from (part for alias in node.names for part in alias.name.split("."))


@pytest.mark.parametrize("name", NEVER)
def test_what_is_never_called(name):
    assert [file for file, names in _used().items() if NEVER[name][2] in names] == []


def test_every_load_of_torch_is_restricted():
    calls = 0
    for file, tree in _code().items():
        for node in ast.walk(tree) if "/files/" in file else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                calls += 1
                assert any(k.arg == "weights_only" and k.value.value is True for k in node.keywords)
    assert calls == 1


def test_onnxruntime_is_given_bytes_and_never_a_path():
    for file, tree in _code().items():
        if "/conformance/" in file or "/speed/" in file:  # run files of our own making
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("InferenceSession"):
                assert "SerializeToString" in ast.unparse(node.args[0]), file


@pytest.mark.parametrize("name", WRITING)
def test_what_waits_at_the_target_is_replaced_and_not_followed(name, tmp_path):
    (tmp_path / "secret.bin").write_bytes(SECRET)
    folder = tmp_path / "model"
    folder.mkdir()
    for target in ("net.onnx", "net.onnx.data"):
        (folder / target).symlink_to("../secret.bin")
    li.convert(torch.nn.Linear(40, 40), folder / "net.onnx", example=(torch.zeros(2, 40),), external_data=True)
    assert (tmp_path / "secret.bin").read_bytes() == SECRET
    assert sorted(path.name for path in folder.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert not any(path.is_symlink() for path in folder.iterdir())


# The table


def table() -> str:
    """SECURITY.md's table of every advisory and its test."""
    lines = ["| advisory | mended in | what a file tries | test in `tests/test_security_ids.py` |", "|---|---|---|---|"]
    for name, (component, what, _, files) in ADVISORIES.items():
        count = f", {len(files)} files" if len(files) > 1 else ""
        lines.append(f"| {name} | {component} | {what} | `test_a_hostile_file_is_refused[{name} ...]`{count} |")
    for name, (component, what, _) in NEVER.items():
        lines.append(f"| {name} | {component} | {what} | `test_what_is_never_called[{name}]` |")
    for name, (component, what) in WRITING.items():
        lines.append(
            f"| {name} | {component} | {what} | `test_what_waits_at_the_target_is_replaced_and_not_followed[{name}]` |"
        )
    return "\n".join(lines)


def test_the_table_of_security_md_is_up_to_date():
    from conversion_scripts import write_tables

    page = write_tables.SECURITY
    assert write_tables.written(page) == page.read_text(encoding="utf-8"), "run make docs"


if __name__ == "__main__":
    open_all(Path(sys.argv[1]))
