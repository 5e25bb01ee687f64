"""Errors: exit codes, the order of a message, what Python users expect of them, and that they survive a process."""

import pickle
import subprocess
import sys

import pytest

from leaky_interop import errors
from leaky_interop.report.record import Error, NodeResult, OutputResult, Report


def _node(**changes):
    error = Error(absolute=0.5, ulp=4e6, limit=0.0, ratio=9e9)
    fields = {
        "name": "act1",
        "op": "LeakyRelu(negative_slope=0.3)",
        "source": "keras LeakyReLU 'act1'",
        "adapter": "leaky_interop/ops/activation.py:57",
        "shape": (1, 4),
        "dtype": "float32",
        "rule": "exact",
        "own": error,
        "accumulated": None,
        "passed": False,
    }
    return NodeResult(**{**fields, **changes})


def _report(*nodes, outputs=()):
    return Report(source="keras 'digits'", target="onnx 'digits'", nodes=nodes, outputs=outputs, draws=("normal",))


EVERY = [
    (errors.Usage("the input has 3 axes", why="the model takes 4"), 2, ValueError),
    (errors.MissingFile("net.onnx is not there"), 2, FileNotFoundError),
    (errors.MissingFramework("keras is not installed"), 2, ImportError),
    (errors.Unsupported([("keras", "imports", "Foo", "layer 'foo'")]), 3, NotImplementedError),
    (errors.Refused("padding 'wrap'", where="layer 'pad'"), 3, NotImplementedError),
    (errors.Mismatch(_report(_node())), 1, AssertionError),
    (errors.UnsafeFile("a.onnx reads outside its folder"), 4, ValueError),
    (errors.RuntimeFailure("onnxruntime failed"), 5, RuntimeError),
]


@pytest.mark.parametrize(("error", "code", "also"), EVERY, ids=[type(row[0]).__name__ for row in EVERY])
def test_each_error_has_its_exit_code_and_is_what_python_expects(error, code, also):
    assert error.exit_code == code
    assert isinstance(error, also)
    assert isinstance(error, errors.LeakyInteropError)


@pytest.mark.parametrize("error", [row[0] for row in EVERY], ids=[type(row[0]).__name__ for row in EVERY])
def test_errors_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__.keys() == error.__dict__.keys()
    assert again.what == error.what


def test_a_message_says_what_where_why_and_what_next():
    error = errors.Refused("padding 'wrap'", where="layer 'pad1'", why="torch has none.", hint="Crop instead.")
    assert str(error) == "padding 'wrap' at layer 'pad1': torch has none. Crop instead."
    assert str(errors.MissingFile("net.onnx is not there")) == "net.onnx is not there."


def test_unsupported_lists_all_at_once_with_the_decorator():
    error = errors.Unsupported(
        [
            ("keras", "imports", "Foo", "layer 'a'"),
            ("keras", "imports", "Foo", "layer 'b'", "made of tf.* calls"),
            errors.MissingAdapter("torch", "exports", "Bar", "node 'c'"),
        ]
    )
    assert str(error) == (
        "2 operators have no adapter:\n"
        "  Foo at layer 'a', layer 'b': write @imports(\"keras\", \"Foo\") (made of tf.* calls)\n"
        "  Bar at node 'c': write @exports(\"torch\", Bar)\n"
        "Write adapters in leaky_interop/ops/<family>.py, or in your own code with leaky_interop.imports."
    )
    assert [row.where for row in error.missing] == ["layer 'a'", "layer 'b'", "node 'c'"]
    assert "1 operator has no adapter" in str(errors.Unsupported([("onnx", "imports", "Foo")]))


def test_mismatch_names_the_first_bad_node_its_source_and_its_adapter():
    text = str(errors.Mismatch(_report(_node(name="good", passed=True), _node())))
    assert "act1 (keras LeakyReLU 'act1')" in text
    assert "differs by 0.5 (4e+06 ULP), allowed 0" in text
    assert "leaky_interop/ops/activation.py:57" in text
    assert "good" not in text


def test_mismatch_of_an_output_alone():
    output = OutputResult(
        name="logits",
        runtime="onnxruntime",
        batch=1,
        shape=(1, 2),
        dtype="float32",
        error=None,
        passed=False,
        problem="the shape is (1, 3)",
    )
    assert "at logits: the shape is (1, 3)." in str(errors.Mismatch(_report(_node(passed=True), outputs=(output,))))


def test_require_imports_what_is_there():
    assert errors.require("json.decoder") is sys.modules["json.decoder"]


@pytest.mark.parametrize("name", ["keras", "torch", "tensorflow", "h5py"])
def test_require_says_which_extra_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)  # Python's own way to say: not there
    with pytest.raises(errors.MissingFramework, match=rf"{name} is not installed.*\[{errors.EXTRAS[name]}\]"):
        errors.require(name)


class _Finder:
    """An import hook under which importing `name` raises `error`."""

    def __init__(self, name, error):
        self.name, self.error = name, error

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise self.error


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("keras", ModuleNotFoundError("no", name="tensorflow"), "tensorflow backend.*KERAS_BACKEND"),
        ("fakework", ModuleNotFoundError("no", name="protobuf"), "fakework is installed but needs protobuf"),
        ("fakework", ImportError("libgomp.so.1 is missing"), "does not import: libgomp.so.1 is missing"),
    ],
)
def test_require_explains_a_broken_installation(name, error, words, monkeypatch):
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Finder(name, error), *sys.meta_path])
    with pytest.raises(errors.MissingFramework, match=words):
        errors.require(name)


def test_importing_errors_imports_no_framework():
    code = (
        "import sys, leaky_interop.errors; print({'torch', 'keras', 'tensorflow', 'onnx', 'h5py'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
