"""Every conversion script does what it says, on the digits network."""

from pathlib import Path

import numpy as np
import pytest

from conversion_scripts import (
    check_slopes,
    keras_to_onnx,
    keras_to_torch,
    onnx_to_keras,
    onnx_to_torch,
    run_onnx,
    torch_to_keras,
    torch_to_onnx,
)

DIGITS = str(Path(__file__).parents[1] / "models" / "digits.keras")
FACTORY = "models.digits:torch_model"
SCRIPTS = Path(__file__).parents[1] / "conversion_scripts"


@pytest.mark.parametrize("script", [*sorted(p.name for p in SCRIPTS.glob("*_*_*.py")), "check_slopes.py", "run_onnx.py"])
def test_scripts_stay_thin(script):
    assert len((SCRIPTS / script).read_text(encoding="utf-8").splitlines()) <= 40


def test_from_keras(tmp_path, capsys):
    assert keras_to_onnx.main(DIGITS, str(tmp_path / "net.onnx")) == 0
    assert keras_to_torch.main(DIGITS, str(tmp_path / "net.safetensors")) == 0
    assert "Passed" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {"net.onnx", "net.safetensors", "net.py"}


def test_from_torch(tmp_path):
    assert torch_to_keras.main(FACTORY, str(tmp_path / "net.keras"), "1", "8", "8") == 0
    assert torch_to_onnx.main(FACTORY, str(tmp_path / "net.onnx"), "1", "8", "8") == 0


def test_from_onnx(tmp_path):
    source = str(tmp_path / "net.onnx")
    keras_to_onnx.main(DIGITS, source)
    assert onnx_to_keras.main(source, str(tmp_path / "net.keras")) == 0
    assert onnx_to_torch.main(source, str(tmp_path / "net.pt2")) == 0


def test_run_onnx(tmp_path, capsys):
    source = str(tmp_path / "net.onnx")
    keras_to_onnx.main(DIGITS, source)
    import leaky_interop as li

    (port,) = li.inspect(source).inputs
    np.savez(tmp_path / "in.npz", **{port.name: np.ones((3, 8, 8, 1), np.float32)})
    assert run_onnx.main(source, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")) == 0
    (name,) = np.load(tmp_path / "out.npz").files
    assert np.load(tmp_path / "out.npz")[name].shape == (3, 10)


def test_check_slopes(capsys):
    assert check_slopes.main(DIGITS) == 0
    printed = capsys.readouterr().out
    assert ("0.3" in printed and "stated" in printed) or "default" in printed


def test_the_readmes_tables_are_up_to_date():
    from conversion_scripts import write_tables

    assert write_tables.main(check=True) == 0, "run `make docs`"
