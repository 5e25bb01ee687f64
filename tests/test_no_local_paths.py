"""No path of this machine is in anything that is written: every byte of every file, unpacked, is looked through.

Networks are made, converted and compared in a folder with a name that tells, from a source file in it.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.errors import Mismatch

TELLTALE = "Tell Tale of Ada"
NETWORK = """
import keras
import torch


class Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = torch.nn.Linear(4, 3)

    def forward(self, x):
        return torch.nn.functional.leaky_relu(self.dense(x), 0.3) + x.mean()


def head():
    torch.manual_seed(0)
    return Head().eval()


def other():
    torch.manual_seed(1)
    return Head().eval()


class Scaled(keras.layers.Layer):
    def call(self, x):
        return keras.ops.leaky_relu(x, 0.3) * keras.ops.mean(x)


def functional():
    keras.utils.set_random_seed(0)
    given = keras.Input((4,))
    return keras.Model(given, Scaled()(keras.layers.Dense(3)(given)))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, on the path, whose name must not be met again; temporary files go below it as well."""
    folder = tmp_path / TELLTALE
    (folder / "temporary").mkdir(parents=True)
    (folder / "told_network.py").write_text(NETWORK)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    yield folder
    sys.modules.pop("told_network", None)


def contents(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The bytes of a file and of whatever is packed in it: entries of a zip, attributes of HDF5, streams of zlib and gzip."""
    yield name, content
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            for entry in members.infolist():
                yield f"{name}/{entry.filename}", entry.filename.encode() + entry.extra + entry.comment
                yield from contents(members.read(entry), f"{name}/{entry.filename}")
    elif content.startswith(b"\x89HDF"):
        with h5py.File(io.BytesIO(content)) as file:
            found: list[str] = []
            file.visititems(lambda key, item: found.extend([key, *map(str, item.attrs.items())]))
            yield f"{name}/attributes", "\n".join([*found, *map(str, file.attrs.items())]).encode()
    elif content.startswith(b"\x1f\x8b"):
        yield from contents(gzip.decompress(content), f"{name}/gzip")
    place = content.find(b"\x78\x9c")  # compressed matrices of MATLAB
    while place >= 0:
        try:
            yield f"{name}/zlib at {place}", zlib.decompressobj().decompress(content[place:])
        except zlib.error:
            pass
        place = content.find(b"\x78\x9c", place + 1)


def told(folder: Path) -> list[str]:
    """Where the folder's name stands in what lies in it, in any of the ways in which a path can be written."""
    words = TELLTALE.encode()
    spelled = {
        words,
        words.replace(b" ", b"%20"),
        words.replace(b" ", b"\\ "),
        words.replace(b" ", b"_"),
        TELLTALE.encode("utf-16-le"),
    }
    spelled |= {str(folder.parent).encode(), b"told_network.py", str(Path.home()).encode() + b"/"}
    spelled |= {str(place).encode() for place in (Path(li.__file__).parents[1], sys.prefix, sys.base_prefix + "/lib")}
    written = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name != "told_network.py" and "__pycache__" not in path.parts
    ]
    assert written
    return [
        place
        for path in written
        for place, content in contents(path.read_bytes(), path.name)
        if any(word in content for word in spelled)
    ]


TARGETS = ["net.onnx", "net.keras", "net.pt2", "net.safetensors"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("factory", ["head", "functional"])
def test_written_models_and_reports_hold_no_path(folder, factory, target):
    reports = [part for suffix in ("html", "json", "md") for part in ("--report", f"report.{suffix}")]
    with pytest.raises(SystemExit) as ended:
        main(["convert", f"told_network:{factory}", target, "--input-shape", "2,4", *reports])
    assert ended.value.code == 0
    assert {"report.html", "report.json", "report.md", target} <= {path.name for path in folder.iterdir()}
    assert told(folder) == []


@pytest.mark.parametrize("target", TARGETS)
def test_models_that_come_from_files_hold_no_path(folder, target):
    """From a file that PyTorch and Keras wrote, with all that they note of where the code stood."""
    import told_network
    import torch

    (folder / "source").mkdir()
    torch.export.save(torch.export.export(told_network.head(), (torch.ones(2, 4),)), folder / "source" / "given.pt2")
    report = li.convert(folder / "source" / "given.pt2", folder / target)
    (folder / "report.json").write_text(report.to_json())
    (folder / "inspection.json").write_text(
        li.inspect(folder / target).to_json() if target != "net.safetensors" else "{}"
    )
    (folder / "source" / "given.pt2").unlink()
    assert told(folder) == []


def test_matlab_source_and_its_numbers_hold_no_path(folder):
    import keras

    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3), keras.layers.LeakyReLU(0.2)])
    model.save(folder / "given.keras")
    li.convert(folder / "given.keras", folder / "net.m")
    (folder / "given.keras").unlink()
    assert {"net.m", "net.mat"} <= {path.name for path in folder.iterdir()}
    assert told(folder) == []


def test_the_report_of_a_mismatch_and_its_reproducer_hold_no_path(folder):
    import told_network

    made = li.convert(told_network.head(), "onnx", example=(np.ones((2, 4), np.float32),))
    (folder / "net.onnx").write_bytes(made.SerializeToString())
    reports = [part for suffix in ("html", "json", "md") for part in ("--report", f"report.{suffix}")]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "verify",
                "told_network:other",
                str(folder / "net.onnx"),
                "--input-shape",
                "2,4",
                *reports,
                "--reproducer",
                "apart",
            ]
        )
    assert ended.value.code == Mismatch.exit_code
    assert list((folder / "apart").iterdir())
    assert told(folder) == []


def test_errors_name_the_file_alone(folder, capsys):
    (folder / "net.onnx").write_bytes(b"random words, no model at all")
    for command in (["inspect", str(folder / "net.onnx")], ["inspect", "told_network:gone"]):
        with pytest.raises(SystemExit):
            main(command)
        assert TELLTALE not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["zip", "hdf5", "gzip", "zlib", "report"])
def test_the_search_finds_a_path(folder, kind):
    path = f"/home/{TELLTALE}/x"
    packed = folder / "packed"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("a.json", json.dumps({"path": path}))
    elif kind == "hdf5":
        with h5py.File(packed, "w") as file:
            file.create_group("g").attrs["path"] = path
    elif kind == "gzip":
        packed.write_bytes(gzip.compress(path.encode() * 9))
    elif kind == "zlib":
        packed.write_bytes(b"MATLAB" + zlib.compress(path.encode() * 9))
    else:
        packed.write_text(f"<p>{path}</p>")
    assert told(folder)
