"""Files: what they are by content, arrays and PyTorch weights; hostile ones are refused, honest ones are read."""

import io
import json
import os
import pickle
import stat
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from leaky_interop import files
from leaky_interop.errors import MissingFile, UnsafeFile, Usage
from leaky_interop.files import archive as archive_module
from leaky_interop.files import source

SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Evil:
    """An object that leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


def _zip(path, entries):
    with zipfile.ZipFile(path, "w") as out:
        for entry, content in entries:
            out.writestr(entry, content)
    return path


def _entry(name, mode=0):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


def _safetensors(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# What a file is


def test_kind_goes_by_content_not_by_name(tmp_path):
    path = tmp_path / "november_model"  # a real Keras file has no suffix
    path.write_bytes(SIGNATURE + bytes(100))
    assert files.kind(path) == "h5"
    path.write_bytes(bytes(512) + SIGNATURE + bytes(100))  # behind a user block
    assert files.kind(path) == "h5"


def test_kind_of_each_honest_file(tmp_path):
    weights = {"w": torch.ones(2)}
    torch.save(weights, tmp_path / "a.pth")
    torch.save(weights, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    np.save(tmp_path / "a.npy", np.ones(3))
    header = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    (tmp_path / "a.safetensors").write_bytes(_safetensors(header, bytes(4)))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    found = {path.name: files.kind(path) for path in tmp_path.iterdir()}
    assert found == {
        "a.pth": "pth",
        "b.pth": "pth",
        "a.npz": "npz",
        "a.npy": "npy",
        "a.safetensors": "safetensors",
        "saved": "savedmodel",
    }


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.onnx", b"", "empty"),
        ("net.onnx", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        ("net.keras", b"<!DOCTYPE html><html>", "web page"),
        ("net.onnx", b"\x1f\x8b\x08rest", "gzip"),
        ("net.tflite", b"\x1c\0\0\0TFL3" + bytes(20), "TensorFlow Lite"),
        ("net.onnx", b"random words, no model at all", "truncated or damaged.*ends in .onnx"),
        ("net.h5", b"\x89HDF", "truncated or damaged"),
        ("net.keras", b"PK\x03\x04" + bytes(40), "truncated or damaged"),
        ("net.xyz", b"random words, no model at all", "known kind.*.safetensors"),
    ],
)
def test_a_foreign_or_broken_file_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Usage, match=f"(?s){name}.*{words}"):
        files.kind(tmp_path / name)


def test_a_missing_file_a_folder_and_a_pipe(tmp_path):
    with pytest.raises(MissingFile, match="there is no file"):
        files.kind(tmp_path / "none.onnx")
    with pytest.raises(Usage, match="folder"):
        files.kind(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(Usage, match="not a regular file"):
        files.kind(tmp_path / "pipe.onnx")


def test_an_error_names_the_file_without_its_folder(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(Usage) as caught:
        files.kind(tmp_path / "net.onnx")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_bare_pickle_is_never_opened(tmp_path, protocol):
    (tmp_path / "net.pth").write_bytes(pickle.dumps(Evil(tmp_path / "trace"), protocol))
    with pytest.raises(UnsafeFile, match="pickle"):
        files.state_dict(tmp_path / "net.pth")
    assert not (tmp_path / "trace").exists()


def test_torchs_oldest_tar_format_is_refused(tmp_path):
    (tmp_path / "net.pth").write_bytes(bytes(257) + b"ustar" + bytes(300))
    with pytest.raises(UnsafeFile, match="tar"):
        files.state_dict(tmp_path / "net.pth")


# Zip entries


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (_entry("../outside.npy"), "leads outside"),
        (_entry("/etc/outside.npy"), "leads outside"),
        (_entry("a/../../outside.npy"), "leads outside"),
        (_entry("C:\\outside.npy"), "leads outside"),
        (_entry("link.npy", stat.S_IFLNK | 0o777), "link or a device"),
        (_entry("device.npy", stat.S_IFCHR | 0o666), "link or a device"),
    ],
)
def test_zip_entries_that_lead_elsewhere_are_refused(tmp_path, entry, why):
    path = _zip(tmp_path / "a.npz", [("x.npy", b"x"), (entry, b"/etc/passwd")])
    with pytest.raises(UnsafeFile, match=why):
        files.arrays(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_zip_entries_of_one_name_are_refused(tmp_path):
    with pytest.raises(UnsafeFile, match="two entries"):
        files.arrays(_zip(tmp_path / "a.npz", [("x.npy", b"1"), ("x.npy", b"2")]))


def test_overlapping_zip_entries_are_refused(tmp_path):
    path = _zip(tmp_path / "a.npz", [("x.npy", b"1" * 50), ("y.npy", b"2" * 50)])
    data = bytearray(path.read_bytes())
    second = data.rfind(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)  # y's header now lies where x's does
    path.write_bytes(data)
    with pytest.raises(UnsafeFile, match="overlaps"):
        files.arrays(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("x.npy", bytes(3 * source.MIB))
    files.kind(tmp_path / "a.npz")  # small enough to be believed
    monkeypatch.setattr(source, "FLOOR", source.MIB)
    with pytest.raises(UnsafeFile, match="declares 3 MiB"):
        files.arrays(tmp_path / "a.npz")


def test_a_zip_bomb_is_not_hidden_by_honest_entries_beside_it(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("bomb.npy", bytes(3 * source.MIB))
        out.writestr("honest.npy", os.urandom(100_000))
    monkeypatch.setattr(source, "FLOOR", source.MIB)
    with pytest.raises(UnsafeFile, match=r"entry 'bomb.npy' of a.npz declares 3 MiB"):
        files.arrays(tmp_path / "a.npz")


def test_deep_json_is_refused():
    with pytest.raises(UnsafeFile, match="nested too deeply"):
        archive_module.parse_json("[" * 100_000 + "]" * 100_000, "config.json")


# Arrays


def test_arrays_come_back_from_npz_and_npy(tmp_path):
    given = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.arange(6).reshape(2, 3)), "c": np.float32(3)}
    np.savez_compressed(tmp_path / "a.npz", **given)
    found = files.arrays(tmp_path / "a.npz")
    assert list(found) == ["a", "b", "c"]
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    np.save(tmp_path / "x.npy", given["b"])
    np.testing.assert_array_equal(files.arrays(tmp_path / "x.npy")["x"], given["b"], strict=True)


def test_an_array_of_objects_is_refused_and_not_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([Evil(tmp_path / "trace")], dtype=object))
    with pytest.raises(UnsafeFile, match="pickle"):
        files.arrays(tmp_path / "a.npz")
    assert not (tmp_path / "trace").exists()


def test_an_array_larger_than_its_file_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    (tmp_path / "x.npy").write_bytes(header.getvalue() + bytes(40))
    with pytest.raises(UnsafeFile, match="stores only 40 bytes"):
        files.arrays(tmp_path / "x.npy")


def test_safetensors_round_trip_with_every_type(tmp_path):
    from safetensors.torch import save_file

    given = {
        "half": torch.randn(2, 3).half(),
        "brain": torch.randn(3).bfloat16(),
        "eight": torch.randn(4).to(torch.float8_e5m2),
        "whole": torch.arange(5),
        "flag": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
    }
    save_file(given, tmp_path / "w.safetensors", metadata={"format": "pt"})
    found = files.state_dict(tmp_path / "w.safetensors")
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name].double(), tensor.double())
    assert files.arrays(tmp_path / "w.safetensors")["brain"].dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize(
    ("row", "error", "why"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, UnsafeFile, "long as its shape"),
        ({"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}, UnsafeFile, "long as its shape"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}, UnsafeFile, r"shape \[-1\]"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, UnsafeFile, "without a gap"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, UnsafeFile, "without a gap"),
        ({"dtype": "Q4", "shape": [1], "data_offsets": [0, 8]}, Usage, "not read"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, Usage, "4 bytes belong to no tensor"),
        ({"dtype": "F32", "shape": [1]}, Usage, "no place"),
    ],
)
def test_a_lying_safetensors_header_is_refused(tmp_path, row, error, why):
    (tmp_path / "w.safetensors").write_bytes(_safetensors({"w": row}, bytes(8)))
    with pytest.raises(error, match=why):
        files.arrays(tmp_path / "w.safetensors")


# PyTorch weights


def test_state_dicts_are_found_in_checkpoints(tmp_path):
    weights = {"a.weight": torch.randn(3), "a.bias": torch.randn(1)}
    cases = {
        "plain.pth": weights,
        "old.pth": weights,
        "lightning.ckpt": {"epoch": 3, "hparams": {"lr": 0.1}, "state_dict": weights, "ema": {"m": torch.ones(1)}},
        "one.tar": {"netG_state_dict": weights, "step": 5},
    }
    for name, content in cases.items():
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=name != "old.pth")
        found = files.state_dict(tmp_path / name)
        assert all(torch.equal(found[key], weights[key]) for key in weights)
        assert found.keys() == weights.keys()


def test_a_checkpoint_with_several_networks_asks_which(tmp_path):
    torch.save({"netG": {"w": torch.ones(1)}, "netD": {"w": torch.zeros(1)}}, tmp_path / "gan.pth")
    with pytest.raises(Usage, match=r"exactly one.*netG, netD"):
        files.state_dict(tmp_path / "gan.pth")
    assert files.state_dict(tmp_path / "gan.pth", part="netD")["w"] == 0
    with pytest.raises(Usage, match="no part 'x'"):
        files.state_dict(tmp_path / "gan.pth", part="x")


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_module_or_code_is_refused_unopened(tmp_path, new):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(UnsafeFile, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict"):
        files.state_dict(tmp_path / "module.pth")
    torch.save({"w": Evil(tmp_path / "trace")}, tmp_path / "evil.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(UnsafeFile):
        files.state_dict(tmp_path / "evil.pth")
    assert not (tmp_path / "trace").exists()


def test_torchscript_is_known_by_what_it_holds_and_is_no_weights(tmp_path):
    entries = [("net/constants.pkl", b""), ("net/data.pkl", b""), ("net/code/net.py", b"")]
    path = _zip(tmp_path / "net.pt", entries)
    assert files.kind(path) == "torchscript"
    with pytest.raises(Usage, match="does not hold PyTorch weights"):
        files.state_dict(path)


def test_a_truncated_checkpoint_is_a_clear_error(tmp_path):
    for new in (True, False):
        torch.save({"w": torch.randn(1000)}, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
        whole = (tmp_path / "w.pth").read_bytes()
        for keep in (len(whole) // 3, len(whole) - 100):
            (tmp_path / "w.pth").write_bytes(whole[:keep])
            with pytest.raises(Usage, match="truncated or damaged"):
                files.state_dict(tmp_path / "w.pth")


def test_an_old_torch_does_not_open_weights(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(1)}, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(Usage, match="too old"):
        files.state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_a_file_that_nobody_named_is_no_link(tmp_path, link):
    """The numbers beside a source, the constants beside a graph, the model in a folder: they are read by their names."""
    from leaky_interop import files
    from leaky_interop.errors import UnsafeFile

    outside = tmp_path / "outside.mat"
    outside.write_bytes(b"secret")
    (tmp_path / "given").mkdir()
    place = tmp_path / "given" / "net.mat"
    assert files.beside(place) is None
    place.symlink_to(outside) if link == "symbolic" else place.hardlink_to(outside)
    with pytest.raises(UnsafeFile, match=r"net\.mat is a link"):
        files.beside(place)
    (tmp_path / "given" / "net.m").write_text("layers = [\n    imageInputLayer([4 4 1])\n];\n")
    with pytest.raises(UnsafeFile, match=r"net\.mat is a link"):
        files.open_matlab(tmp_path / "given" / "net.m")
    place.unlink()
    place.write_bytes(b"own")
    assert files.beside(place) == place
