"""What is not imported: the package and its command line are light, and no framework loads another."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import leaky_interop

HEAVY = {"torch", "keras", "tensorflow", "jax", "onnxruntime", "onnx", "onnx_ir", "jinja2"}
OPS = Path(leaky_interop.__file__).parent / "ops"
OPS_MAY_IMPORT = {"op", "deferring", "numeric", "errors", "sizes"}  # of this package, besides each other


def loaded(code: str, folder: Path | None = None, **environment: str) -> set[str]:
    """Top-level modules that are loaded after `code` has run in a fresh interpreter."""
    root = str(Path(leaky_interop.__file__).parents[1])
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]), **environment}
    program = f"{code}\nimport sys\nprint('LOADED', *sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=280, env=variables, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


def test_importing_the_package_imports_nothing_but_numpy():
    beyond = loaded("import leaky_interop") - loaded("pass") - sys.stdlib_module_names
    assert beyond <= {"leaky_interop", "numpy"}


def test_the_verbs_import_no_framework_before_they_are_called():
    code = "import leaky_interop as li; [getattr(li, name) for name in li.__all__]; str(li.support())"
    assert not loaded(code) & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["--version"], ["support"], ["slopes"]], ids=" ".join)
def test_the_command_line_imports_no_framework_to_talk_about_itself(arguments):
    code = f"from leaky_interop.cli import main\ntry: main({arguments})\nexcept SystemExit as end: assert end.code == 0"
    assert not loaded(code) & HEAVY


ONNX = """
import numpy as np, leaky_interop as li
from onnx import TensorProto, helper
x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy")
graph = helper.make_graph([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.2)], "net", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
assert li.inspect(model).slopes
assert li.run(model, np.ones((2, 3), np.float32))[0].shape == (2, 3)
assert li.verify(model, model).passed
assert li.convert(model, "net.onnx").passed
"""


def test_onnx_alone_needs_neither_torch_nor_keras(tmp_path):
    modules = loaded(ONNX, tmp_path)
    assert {"onnx", "onnxruntime"} <= modules
    assert not modules & {"torch", "keras", "tensorflow", "jax"}


TORCH = """
import torch, leaky_interop as li
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LeakyReLU(0.2))
assert li.convert(model, "net.onnx", example=(torch.zeros(2, 3),)).passed
"""


def test_torch_to_onnx_needs_no_keras(tmp_path):
    assert not loaded(TORCH, tmp_path) & {"keras", "tensorflow"}


KERAS = """
import keras, leaky_interop as li
layers = [keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 2, name="conv"), keras.layers.LeakyReLU(name="act")]
model = keras.Sequential(layers)
assert li.convert(model, "net.keras").passed
assert li.convert("net.keras", "net.onnx").passed
assert li.convert("net.keras", to="torch") is not None
assert li.convert("net.onnx", to="keras") is not None
assert li.inspect(model).slopes
assert li.verify("net.keras", "net.onnx").passed
assert li.load(li.convert(model, to="keras", cut_outputs=["conv"])).nodes
"""


def test_keras_on_the_torch_backend_never_imports_tensorflow(tmp_path):
    modules = loaded(KERAS, tmp_path, KERAS_BACKEND="torch")
    assert {"keras", "torch"} <= modules
    assert "tensorflow" not in modules


def imported(path: Path) -> set[str]:
    """What a file imports: top-level modules by name, modules of this package as ".op"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            dots, module = "." * node.level, node.module or ""
            names = {alias.name for alias in node.names} if not module else {module}
            found |= {dots + name if dots else name.partition(".")[0] for name in names}
    return found


@pytest.mark.parametrize("path", sorted(OPS.glob("*.py")), ids=lambda p: p.stem)
def test_an_operator_file_imports_numpy_and_the_operator_tools_alone(path):
    allowed = {"numpy", *sys.stdlib_module_names}
    allowed |= {f"..{name}" for name in OPS_MAY_IMPORT} | {f".{sibling.stem}" for sibling in OPS.glob("*.py")}
    assert imported(path) <= allowed


def test_the_policy_sees_every_way_to_import(tmp_path):
    lines = (
        "import torch.nn", "def f():", " from ..graph import Graph", " from .. import layout", " from .shape import x",
    )  # fmt: skip
    source = "\n".join(lines)
    (tmp_path / "bad.py").write_text(source)
    assert imported(tmp_path / "bad.py") == {"torch", "..graph", "..layout", ".shape"}
