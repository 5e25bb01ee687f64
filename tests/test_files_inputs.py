"""Pictures, sounds and tables from strangers: what they mean is kept, what they try is refused."""

from __future__ import annotations

import io
import struct
import wave
import zlib

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

import leaky_interop as li
from leaky_interop import files
from leaky_interop.files import images, tables
from tests.inference_samples import encoded, photo


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(files.read_image(data))


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind,options", [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {}), ("WEBP", {"lossless": True})]
)
def test_formats_without_loss_keep_every_pixel(kind, options):
    np.testing.assert_array_equal(pixels(encoded(photo(), kind, **options)), np.asarray(photo()))


def test_jpeg_is_what_pillow_decodes():
    data = encoded(photo(), "JPEG", quality=80)
    np.testing.assert_array_equal(pixels(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]  # Image.Transpose
    expected = photo() if turned is None else photo().transpose(Image.Transpose(turned))
    np.testing.assert_array_equal(pixels(encoded(photo(), "PNG", exif=exif)), np.asarray(expected))


def test_a_palette_alpha_and_black_and_white_become_colours_and_grey():
    clear = photo().copy()
    clear.putalpha(0)
    np.testing.assert_array_equal(pixels(encoded(clear)), np.asarray(photo()))  # the colours behind stay
    table = photo().quantize(16)
    np.testing.assert_array_equal(pixels(encoded(table)), np.asarray(table.convert("RGB")))
    table.info["transparency"] = 0
    np.testing.assert_array_equal(pixels(encoded(table, transparency=0)), np.asarray(table.convert("RGB")))
    bits = photo().convert("1")
    np.testing.assert_array_equal(pixels(encoded(bits)), np.asarray(bits, np.uint8) * 255)
    grey = photo().convert("LA")
    np.testing.assert_array_equal(pixels(encoded(grey)), np.asarray(photo().convert("L")))
    assert files.read_image(encoded(photo().convert("CMYK"), "TIFF")).mode == "RGB"


def test_sixteen_bits_are_rounded_to_eight_and_not_cut_off():
    wide = np.uint16([[0, 127, 129, 257, 32767, 65534, 65535]])
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(wide))), [[0, 0, 1, 1, 127, 255, 255]])
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(wide), "TIFF")), [[0, 0, 1, 1, 127, 255, 255]])


def test_numbers_of_no_stated_range_are_no_picture():
    fractions = Image.fromarray(np.float32([[0.5, 1e9]]))
    with pytest.raises(li.Usage, match="no stated range"):
        files.read_image(encoded(fractions, "TIFF"))
    large = Image.fromarray(np.int32([[70000, -3]]))
    with pytest.raises(li.Usage, match="more than 16 bits"):
        files.read_image(encoded(large, "TIFF"))


def test_the_first_of_several_frames_is_read():
    frames = [Image.new("RGB", (4, 4), (n * 60, 0, 0)) for n in range(3)]
    data = encoded(frames[1], "WEBP", save_all=True, append_images=frames[2:], lossless=True)
    assert (pixels(data)[..., 0] == 60).all()


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is this large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 10_000), (2**31 - 1, 1), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(size):
    with pytest.raises(li.UnsafeFile, match="pixels"):
        files.read_image(png_of(*size), "bomb.png")


def test_a_large_honest_picture_is_read_without_a_warning(recwarn):
    assert images.MOST_PIXELS >= Image.MAX_IMAGE_PIXELS
    files.read_image(encoded(Image.new("L", (9500, 9500)), "PNG"))  # 90 million, where Pillow starts to warn
    assert not recwarn.list


def test_formats_that_run_programs_are_not_opened():
    assert not {"EPS", "PDF", "WMF", "PSD", "FITS"} & set(images.FORMATS)
    with pytest.raises(li.Usage, match="no picture"):
        files.read_image(encoded(photo(), "EPS"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_broken_picture_is_a_sentence(kind):
    data = encoded(photo(), kind)
    rng = np.random.default_rng(0)
    for cut in (1, 7, 20, len(data) // 2, len(data) - 3):
        try:
            files.read_image(data[:cut], "cut")
        except li.Usage as error:
            assert "cut" in str(error)
    for _ in range(60):
        noisy = bytearray(data)
        for place in rng.integers(0, len(data), 6):
            noisy[place] = rng.integers(0, 256)
        try:
            files.read_image(bytes(noisy), "noisy")
        except (li.Usage, li.UnsafeFile) as error:
            assert "noisy" in str(error)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    for path in (tmp_path, tmp_path / "empty.png", tmp_path / "nowhere.png", "/dev/zero"):
        with pytest.raises(li.Usage):
            files.read_image(path)


# --- sounds -----------------------------------------------------------------------------------------------------------


def wav(whole: np.ndarray, width: int, rate: int = 8000) -> bytes:
    """Samples [samples, channels] as WAV."""
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(whole.shape[1])
        sound.setsampwidth(width)
        sound.setframerate(rate)
        shifted = whole + 128 if width == 1 else whole
        sound.writeframes(b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in shifted.reshape(-1)))
    return target.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_every_width_go_from_minus_one_to_one(width, channels):
    most = 1 << (8 * width - 1)
    whole = np.array([[-most, most - 1], [0, 1], [-1, most // 2], [3, -most // 4]], np.int64)[:, :channels]
    rate, found = files.read_wav(wav(whole, width, 44100))
    assert rate == 44100 and found.dtype == np.float32
    np.testing.assert_array_equal(found, (whole / most).astype(np.float32))


def test_a_broken_sound_is_a_sentence():
    data = wav(np.arange(100).reshape(-1, 1), 2)
    for cut in (0, 3, 12, 30, 44, 60, len(data) - 1):
        with pytest.raises(li.Usage, match="voice"):
            files.read_wav(data[:cut], "voice")
    floating = bytearray(data)
    floating[20] = 3  # WAVE_FORMAT_IEEE_FLOAT
    with pytest.raises(li.Usage, match="16-bit"):
        files.read_wav(bytes(floating), "voice")


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_with_and_without_names(tmp_path, mark):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffa,b\n1,2.5\n\n-3,nan\n".replace(",", mark).encode())
    assert list(files.csv_rows(path)) == [{"a": "1", "b": "2.5"}, {"a": "-3", "b": "nan"}]
    path.write_text(f"1{mark}2\n3{mark}4")
    assert list(files.csv_rows(path)) == [{"0": "1", "1": "2"}, {"0": "3", "1": "4"}]


def test_a_csv_row_of_another_length_does_not_slip_into_other_columns(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1\n1,2,3\n")
    assert list(files.csv_rows(tmp_path / "a.csv")) == [{"a": "1"}, {"a": "1", "b": "2", "extra 0": "3"}]


def test_what_is_no_csv_is_said(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(li.Usage, match="no text"):
        list(files.csv_rows(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_text("a,a\n1,2\n")
    with pytest.raises(li.Usage, match="one name"):
        list(files.csv_rows(tmp_path / "a.csv"))
    monkeypatch.setattr(tables, "MOST_LINE", 100)
    (tmp_path / "a.csv").write_text("1," * 200)
    with pytest.raises(li.UnsafeFile, match="line of more"):
        list(files.csv_rows(tmp_path / "a.csv"))


def test_parquet_rows_and_columns(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(
        pyarrow.table({"a": [1.5, None, 3.0], "b": [1, 2, 3], "c": [[1, 2], [3, 4], [5, 6]]}), path, row_group_size=2
    )
    assert list(files.parquet_rows(path, ["c", "a"])) == [
        {"c": [1, 2], "a": 1.5},
        {"c": [3, 4], "a": None},
        {"c": [5, 6], "a": 3.0},
    ]
    assert files.parquet_count(path) == 3
    with pytest.raises(li.Usage, match="no column 'd'"):
        list(files.parquet_rows(path, ["d"]))
    data = path.read_bytes()
    for broken in (data[:-5], data[:50], b"PAR1" + b"\0" * 60 + b"PAR1"):
        path.write_bytes(broken)
        with pytest.raises(li.Usage, match="damaged"):
            list(files.parquet_rows(path))
        assert files.parquet_count(path) is None


def test_every_format_that_is_read_is_one_of_pillows():
    """One that is not would be a KeyError for every file that is no picture."""
    Image.init()
    assert set(images.FORMATS) <= set(Image.OPEN)
    assert {suffix for suffix, kind in Image.registered_extensions().items() if kind in images.FORMATS} >= images.SUFFIXES - {".jpe"}
