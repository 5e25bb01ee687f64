"""Pictures of slopes: the curves' numbers, files that are the same every time, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.errors import Usage

matplotlib = pytest.importorskip("matplotlib")


def curves(axes) -> list[tuple[np.ndarray, np.ndarray]]:
    """The data of what is drawn as a curve: no grid, no circles."""
    return [line.get_data() for line in axes.get_lines() if len(line.get_xdata()) > 2]


@pytest.mark.parametrize("slope", [0.01, 0.0, -0.5, 1.0, 2.5, 1e30])
def test_the_curves_are_the_function_and_its_derivative(slope):
    function, derivative = li.plot_slopes(slope).axes
    ((x, y),) = curves(function)
    assert (x[0], x[-1]) == (-2, 2)
    np.testing.assert_array_equal(y, np.where(x < 0, slope * x, x))
    ((x, dy),) = curves(derivative)
    assert math.isnan(dy[x == 0][0])
    np.testing.assert_array_equal(dy[x < 0], slope)
    np.testing.assert_array_equal(dy[x > 0], 1.0)
    circles = [line.get_data() for line in derivative.get_lines() if line.get_marker() == "o"]
    assert [(list(x), list(y)) for x, y in circles] == [([0, 0], [slope, 1.0])]


def test_beside_it_stands_what_a_framework_computes():
    figure = li.plot_slopes(0.1, "keras")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "slope 0.1"
    assert "keras.layers.LeakyReLU" in labels[1] and "a = 0.3" in labels[1] and "x > 0 ? x : a*x" in labels[1]
    assert "a = 0.2" in labels[2]
    drawn = curves(figure.axes[0])
    assert len(drawn) == len(labels) == 3
    for (x, y), slope in zip(drawn, (0.1, 0.3, 0.2), strict=True):
        np.testing.assert_array_equal(y, np.where(x < 0, slope * x, x))
    ((_, _), (_, lasagne), *_) = curves(li.plot_slopes(0.1, "lasagne.nonlinearities.LeakyRectify").axes[1])
    np.testing.assert_allclose(lasagne[:3], 0.01)


def test_the_range_is_the_callers():
    function, derivative = li.plot_slopes(0.5, low=1, high=3).axes
    ((x, y),) = curves(function)
    assert (x[0], x[-1]) == (1, 3) == function.get_xlim()
    np.testing.assert_array_equal(y, x)
    assert not np.isnan(curves(derivative)[0][1]).any()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"slope": math.nan}, "no picture"), ({"slope": math.inf}, "no picture"), ({"low": 1.0, "high": 1.0}, "smaller one first"),
        ({"low": math.nan}, "finite"), ({"framework": "nnef"}, "stated there"), ({"framework": "nothing"}, "Systems"),
        ({"path": "x.txt"}, "no picture"),
    ],
)  # fmt: skip
def test_what_has_no_picture(arguments, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Usage, match=why):
        li.plot_slopes(**arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_same_picture_is_the_same_file(suffix, begins, tmp_path):
    for name in ("a", "b"):
        li.plot_slopes(0.2, "keras", tmp_path / f"{name}{suffix}")
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("a", "b"))
    assert first == second
    assert first.startswith(begins)
    assert b"Date" not in first and b"date>" not in first


def test_the_picture_has_ink_where_the_curve_is(tmp_path):
    from PIL import Image

    li.plot_slopes(0.1, path=tmp_path / "a.png")
    image = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    assert image.shape == (420, 800, 3)
    blue = (image[:, :, 2] - image[:, :, 0] > 100) & (image[:, :, 2] > 120)
    assert blue[:, :400].sum() > 500 and blue[:, 400:].sum() > 300
    top = np.argmax(blue[:, :400].any(1))
    assert blue[top, :400].argmax() > 300  # the highest point of the function is its right end


def test_nothing_global_is_changed():
    """In an interpreter of its own: no pyplot, no backend chosen, no setting changed."""
    code = (
        "import matplotlib, sys\n"
        "kept = lambda: {k: dict.__getitem__(matplotlib.rcParams, k) for k in matplotlib.rcParams}\n"
        "before = kept(); import leaky_interop as li; li.plot_slopes(0.1, 'keras')\n"
        "assert kept() == before and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=280)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("plot", "--slope", "1/3", "--framework", "torch", "--low", "-4", "-o", "leaky.svg") == 0
    assert capsys.readouterr().out == "leaky.svg written\n"
    assert (tmp_path / "leaky.svg").read_text().count("<path") > 10
    assert run("plot", "-o", "leaky.txt") == 2
    assert run("plot", "--slope", "nan", "-o", "leaky.png") == 2
    assert run("plot", "--slope", "x", "-o", "leaky.png") == 2
    assert run("plot") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["leaky.svg"]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Usage, match=r"leaky_interop\[plot\]"):
        li.plot_slopes()
