"""What is fuzzed: each reader with its valid files, the form of their changes, and the sources that it consists of."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaky_interop.errors import LeakyInteropError

from . import seeds

PACKAGE = Path(__file__).parents[2] / "leaky_interop"
CANARY = b"never to be read 0123456789abcdef"  # the content of a file outside of the model's folder
DOOR = ("files/source.py", "files/identify.py", "files/archive.py", "errors.py")


@dataclasses.dataclass(frozen=True)
class Reader:
    """`read(folder, data)` opens one input as users do. `share`: how many of 1,000 executions it gets."""

    name: str
    form: str
    share: int
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path, bytes], Any]
    sources: tuple[str, ...]  # patterns below the package, of whose content `code` is the hash
    declared: tuple[type[Exception], ...] = (LeakyInteropError,)

    @property
    def code(self) -> str:
        """The version of the code that is fuzzed: a hash of its sources."""
        found = hashlib.sha256()
        for pattern in sorted({*DOOR, *self.sources}):
            for file in sorted(PACKAGE.glob(pattern)):
                found.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
        return found.hexdigest()[:12]


def on_file(name: str, function: Callable[[Path], Any]) -> Callable[[Path, bytes], Any]:
    """The input as a file of that name."""

    def read(folder: Path, data: bytes) -> Any:
        (folder / name).write_bytes(data)
        return function(folder / name)

    return read


def _arrays(path: Path) -> Any:
    from leaky_interop import files

    return [array.tobytes() for array in files.arrays(path).values()]


def _onnx(path: Path) -> Any:
    from leaky_interop import files

    files.kind(path)
    return [files.read_onnx(path).SerializeToString()]


def _load(path: Path) -> Any:
    import leaky_interop as li

    return str(li.load(path))


def _keras(path: Path) -> Any:
    from leaky_interop import files

    with files.read_keras(path) as file:
        return [array.tobytes() for array in file.arrays().values()]


def _built(path: Path) -> Any:
    from leaky_interop import files

    return [array.tobytes() for array in files.open_keras(path).get_weights()]


def _config(folder: Path, data: bytes) -> Any:
    from leaky_interop.files import keras_legacy
    from leaky_interop.files.archive import parse_json
    from leaky_interop.files.keras import config_of
    from leaky_interop.files.keras_allowed import allowed

    config = config_of(parse_json(data, "config.json"), "net.keras")
    return [
        allowed(keras_legacy.upgraded(config, written_by), keras_legacy.FUNCTIONS, "net.keras")
        for written_by in ((2, 3, 1), (3,))
    ]


def _weights(path: Path) -> Any:
    from leaky_interop import files

    return [
        tensor.detach().float().numpy().tobytes()
        for tensor in files.state_dict(path).values()
        if hasattr(tensor, "detach")
    ]


def _program(folder: Path, data: bytes) -> Any:
    from leaky_interop.files.archive import parse_json
    from leaky_interop.files.pt2 import judge_program

    return list(judge_program(parse_json(data, "model.json")))


def _judged(path: Path) -> Any:
    from leaky_interop.files import pt2
    from leaky_interop.files.archive import archive
    from leaky_interop.files.torch import safe_torch

    target = path.with_name("judged.pt2")
    with archive(path) as members:
        pt2.copy_judged(safe_torch(), members, target)


def _judged_script(path: Path) -> Any:
    from leaky_interop.files import torchscript
    from leaky_interop.files.archive import archive
    from leaky_interop.files.torch import safe_torch
    from leaky_interop.frameworks.torch.script import converts

    with archive(path) as members:
        torchscript.copy_judged(safe_torch(), members, path.with_name("judged.pt"), converts)


def _exported(path: Path) -> Any:
    from leaky_interop import files

    return files.open_pt2(path)


def _recording(path: Path) -> Any:
    from leaky_interop import files

    return files.read_recording(path)


def _matlab(path: Path) -> Any:
    from leaky_interop import files

    return files.open_matlab(path)


def _mat(path: Path) -> Any:
    from leaky_interop import files

    return files.read_mat(path)


def _wav(path: Path) -> Any:
    from leaky_interop.files.sounds import read_wav

    return [read_wav(path)[1].tobytes()]


def _csv(path: Path) -> Any:
    from leaky_interop.files import tables

    return list(tables.csv_rows(path))


def _parquet(path: Path) -> Any:
    from leaky_interop.files import tables

    return tables.parquet_count(path), list(tables.parquet_rows(path))


def _slopes(folder: Path, data: bytes) -> Any:
    from leaky_interop.spellings import read_file

    path = folder / f"net{seeds.SLOPE_FILES[(data or bytes(1))[0] % len(seeds.SLOPE_FILES)]}"
    path.write_bytes(data[1:])
    try:
        return read_file(path)
    finally:
        path.unlink()


def _report(folder: Path, data: bytes) -> Any:
    from leaky_interop.conformance import as_json as conformance
    from leaky_interop.report import as_json

    parser = (as_json, conformance)[(data or bytes(1))[0] % 2]
    return parser.parse(data[1:].decode("utf-8", "replace"))


def _kind(path: Path) -> Any:
    from leaky_interop import files

    return files.kind(path)


def _every_kind() -> list[bytes]:
    made = (seeds.npy, seeds.npz, seeds.safetensors, seeds.onnx, seeds.pth, seeds.chainer, seeds.mat)
    return [content for make in made for content in make()[:1]]


ONNX = ("files/onnx.py", "files/external.py")
KERAS = ("files/keras.py", "files/keras_*.py", "files/hdf5.py")
IMPORTERS = ("loading.py", "graph.py", "op.py", "sizes.py", "ops/*.py", "passes/*.py", "frameworks/*.py")
READERS = {
    reader.name: reader
    for reader in (
        Reader("kind", "bytes", 60, _every_kind, on_file("net", _kind), ()),
        Reader("npz", "zip", 70, seeds.npz, on_file("net.npz", _arrays), ("files/arrays.py",)),
        Reader("npy", "npy", 60, seeds.npy, on_file("net.npy", _arrays), ("files/arrays.py",)),
        Reader(
            "safetensors",
            "safetensors",
            90,
            seeds.safetensors,
            on_file("net.safetensors", _arrays),
            ("files/arrays.py",),
        ),
        Reader("onnx", "protobuf", 200, seeds.onnx, on_file("net.onnx", _onnx), ONNX),
        Reader(
            "onnx, imported",
            "protobuf",
            25,
            seeds.onnx_networks,
            on_file("net.onnx", _load),
            (*ONNX, *IMPORTERS, "frameworks/onnx/*.py"),
        ),
        Reader("keras", "zip", 20, seeds.keras_zip, on_file("net.keras", _keras), KERAS),
        Reader("keras, rebuilt", "zip", 5, seeds.keras_zip, on_file("net.keras", _built), KERAS),
        Reader("keras configuration", "json", 90, seeds.keras_configs, _config, KERAS),
        Reader("hdf5", "bytes", 60, seeds.keras_h5, on_file("net.h5", _keras), KERAS),
        Reader("pt2", "zip", 30, seeds.pt2, on_file("net.pt2", _judged), ("files/pt2.py", "files/torch.py")),
        Reader("pt2, loaded", "zip", 3, seeds.pt2, on_file("net.pt2", _exported), ("files/pt2.py", "files/torch.py")),
        Reader("torchscript", "zip", 10, seeds.torchscript, on_file("net.pt", _judged_script), ("files/torchscript.py",)),
        Reader("pt2 program", "json", 90, seeds.pt2_programs, _program, ("files/pt2.py",)),
        Reader("pth", "zip", 40, seeds.pth, on_file("net.pth", _weights), ("files/torch.py",)),
        Reader(
            "chainer",
            "zip",
            40,
            seeds.chainer,
            on_file("net.chainer", _recording),
            ("files/chainer.py", "files/arrays.py"),
        ),
        Reader(
            "matlab", "text", 60, seeds.matlab, on_file("net.m", _matlab), ("files/matlab.py", "frameworks/matlab/*.py")
        ),
        Reader("mat", "bytes", 80, seeds.mat, on_file("net.mat", _mat), ("files/mat.py",)),
        Reader("sounds", "bytes", 40, seeds.sounds, on_file("net.wav", _wav), ("files/sounds.py",)),
        Reader("csv", "text", 30, seeds.csv, on_file("net.csv", _csv), ("files/tables.py",)),
        Reader("parquet", "bytes", 15, seeds.parquet, on_file("net.parquet", _parquet), ("files/tables.py",)),
        Reader(
            "slopes of other systems", "labelled", 80, seeds.slopes, _slopes, ("spellings/*.py", "files/content.py")
        ),
        Reader(
            "reports", "labelled", 40, seeds.reports, _report, ("report/*.py", "conformance/as_json.py"), (ValueError,)
        ),
    )
}
