"""`.mat` files: what other programs write is read number by number, and what is not as it has to be is refused."""

from __future__ import annotations

import io
import random
import struct
import time
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leaky_interop import files
from leaky_interop.errors import LeakyInteropError, UnsafeFile, Usage
from tests.octave_run import needed, octave

pytestmark = pytest.mark.one_backend

DTYPES = "float64 float32 int8 uint8 int16 uint16 int32 uint32 int64 uint64".split()


def saved(content, *, packed=False):
    stream = io.BytesIO()
    scipy.io.savemat(stream, content, do_compression=packed, long_field_names=True)
    return stream.getvalue()


def read(path, content):
    path.write_bytes(content)
    return files.read_mat(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=2, max_dims=5, min_side=0, max_side=4))
    ),
    st.booleans(),
)
def test_what_scipy_writes_is_read_with_every_bit(tmp_path, array, packed):
    found = read(tmp_path / "a.mat", saved({"x": array, "s": {"Weights": array, "b_1": array}}, packed=packed))
    for mine in (found["x"], found["s"]["Weights"], found["s"]["b_1"]):
        assert mine.dtype == array.dtype and mine.shape == array.shape
        assert mine.tobytes() == np.ascontiguousarray(array).tobytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=3)))
def test_what_is_written_is_read_by_scipy(tmp_path, array):
    files.write_mat(tmp_path / "a.mat", {"x0": {"Weights": array}})
    assert np.array_equal(scipy.io.loadmat(tmp_path / "a.mat")["x0"]["Weights"][0, 0], array, equal_nan=True)


def test_what_octave_writes_is_read(tmp_path):
    """Octave stores whole numbers in the smallest type that holds them."""
    needed()
    octave(
        "a = reshape(1:24, 2, 3, 4); s.Weights = single(a) / 7; s.Bias = int16(-3); s.text = 'x'; s.inner.y = 1; t = 'text'; c = {1}; b = true;"
        "z = 1 + 2i; e = []; save('-v7', 'seven.mat', 'a', 's', 't', 'c', 'b', 'z', 'e'); save('-v6', 'six.mat', 'a', 's', 't', 'c', 'b', 'z', 'e');",
        tmp_path,
    )
    for name in ("seven.mat", "six.mat"):
        found = files.read_mat(tmp_path / name)
        assert found["a"].dtype == np.float64 and np.array_equal(
            found["a"], np.arange(1, 25).reshape(2, 3, 4, order="F")
        )
        assert set(found) == {"a", "s", "b", "e"} and set(found["s"]) == {"Weights", "Bias"}
        assert (
            np.array_equal(found["s"]["Weights"], found["a"].astype(np.float32) / np.float32(7))
            and found["s"]["Bias"] == -3
        )
        assert found["e"].shape == (0, 0) and found["b"] == 1


def test_bytes_in_the_other_order_are_read(tmp_path):
    name, data = b"x", struct.pack(">3d", 1.5, -2, 3)
    array = (
        struct.pack(">IIII", 6, 8, 6, 0)
        + struct.pack(">IIii", 5, 8, 1, 3)
        + struct.pack(">HH4s", 1, 1, name)
        + struct.pack(">II", 9, 24)
        + data
    )
    body = struct.pack(">II", 14, len(array)) + array
    found = read(tmp_path / "a.mat", b"MATLAB 5.0 MAT-file".ljust(124, b" ") + struct.pack(">H", 0x0100) + b"MI" + body)
    assert np.array_equal(found["x"], [[1.5, -2, 3]])


def test_other_versions_and_files_are_told_apart(tmp_path):
    path = tmp_path / "a.mat"
    for content, message in (
        (b"MATLAB 7.3 MAT-file, Platform".ljust(512, b" ") + b"\x89HDF\r\n\x1a\n", "version 7.3"),
        (b"MATLAB 5.0 MAT-file" + b" " * 200, "does not begin"),
        (b"PK\3\4", "does not begin"),
        (saved({"x": np.ones(3)})[:90], "does not begin"),
        (saved({"x": np.ones(30)})[:-100], "goes beyond the end"),
        (saved({"x": np.ones(30)}, packed=True)[:-9], "goes beyond the end"),
    ):
        with pytest.raises(Usage, match=message):
            read(path, content)
    path.write_bytes(saved({"x": np.ones(3)}))
    assert files.kind(path) == "mat"
    with pytest.raises(Usage, match="holds mat data, not a network"):
        import leaky_interop as li

        li.load(path)


def test_objects_are_left_out_and_said(tmp_path):
    content = bytearray(saved({"x": {"a": np.ones((2, 2))}}))
    place = content.index(struct.pack("<II", 6, 8)) + 8
    content[place] = 3  # the type: an object
    with pytest.raises(Usage, match="holds objects of MATLAB and no numbers"):
        read(tmp_path / "a.mat", bytes(content))


def test_a_size_that_is_not_there_is_not_believed(tmp_path):
    for sizes in ((1 << 30, 1 << 30), (-3, -10), (0, 7), (31, 1), (1 << 20, 1)):
        content = bytearray(saved({"x": np.ones((5, 6))}))
        place = content.index(struct.pack("<II", 5, 8)) + 8
        content[place : place + 8] = struct.pack("<ii", *sizes)
        with pytest.raises(UnsafeFile, match="it stores 240 bytes"):
            read(tmp_path / "a.mat", bytes(content))


def test_what_unpacks_without_end_is_refused_before_it_fills_the_memory(tmp_path):
    plain = saved({"x": np.zeros((8, 8))})[:128]
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(600)) + packer.flush()
    began = time.monotonic()
    with pytest.raises(UnsafeFile, match="exhaust memory"):
        read(tmp_path / "a.mat", plain + struct.pack("<II", 15, len(bomb)) + bomb)
    assert time.monotonic() - began < 20


def test_changed_bytes_are_refused_or_read_and_nothing_else(tmp_path):
    numbers = np.arange(72.0).reshape(3, 3, 2, 4)
    bases = [
        saved(
            {"conv": {"Weights": numbers.astype("f4"), "Bias": np.zeros((1, 1, 4))}, "x": numbers, "t": "text"},
            packed=p,
        )
        for p in (False, True)
    ]
    rng = random.Random(0)
    outcomes = set()
    for _ in range(1500):
        content = bytearray(rng.choice(bases))
        for _ in range(rng.choice([1, 1, 2, 8])):
            place = rng.randrange(len(content))
            if rng.random() < 0.7:
                content[place] = rng.randrange(256)
            else:
                content = content[: place + 1]
        try:
            read(tmp_path / "a.mat", bytes(content))
            outcomes.add("read")
        except LeakyInteropError as error:
            outcomes.add(type(error).__name__)
    assert outcomes == {"read", "Usage", "UnsafeFile"}
