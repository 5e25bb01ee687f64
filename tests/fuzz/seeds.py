"""Small valid files of every kind, made in code."""

from __future__ import annotations

import io
import json
import struct
import wave
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

SAMPLES = Path(__file__).parents[1]


def of_files(write: Callable[[Path], Any]) -> list[bytes]:
    """The content of what `write` puts into a folder."""
    with TemporaryDirectory() as folder:
        write(Path(folder))
        return [file.read_bytes() for file in sorted(Path(folder).iterdir()) if file.is_file()]


def zipped(entries: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name, content in entries:
            target.writestr(name, content)
    return out.getvalue()


def npy() -> list[bytes]:
    arrays = [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), np.int8)),
        np.array("text"),
        np.float16(3),
    ]
    return [_npy(array) for array in arrays]


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz() -> list[bytes]:
    return [zipped((f"{i}.npy", content) for i, content in enumerate(npy()))]


def safetensors() -> list[bytes]:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [1, 3], "data_offsets": [8, 14]},
    }
    text = json.dumps(header).encode()
    return [struct.pack("<Q", len(text)) + text + bytes(14)]


def onnx() -> list[bytes]:
    """External data in a file beside the model; a sparse weight, a branch, a loop, functions, training."""
    from onnx import TensorProto, helper

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])

    def made(nodes: list[Any], weights: Any = (), functions: Any = ()) -> Any:
        graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], list(weights))
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
        return helper.make_model(graph, functions=list(functions), opset_imports=opsets, ir_version=10)

    external = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", "w.bin"), ("offset", "16"), ("length", "16")):
        external.external_data.add(key=key, value=text)
    plain = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    half = helper.make_tensor("w", TensorProto.FLOAT16, [4], np.float16([1, 2, 3, 4]).tobytes(), raw=True)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    inner = helper.make_graph([helper.make_node("Constant", [], ["z"], value=plain)], "inner", [], [value("z")])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    call = helper.make_node("F", ["x"], ["y"], domain="f")
    body = [helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.2)]
    function = helper.make_function("f", "F", ["x"], ["y"], body, [helper.make_opsetid("", 18)])
    second = helper.make_function("f", "G", ["x"], ["y"], [call], [helper.make_opsetid("f", 1)])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 3])
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0])
    trained = made([add], [external])
    trained.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    trained.training_info.add().algorithm.CopyFrom(inner)
    text = helper.make_tensor("t", TensorProto.STRING, [2], [b"a", b"b"])
    models = [
        made([add], [external]),
        made([add], [half, text]),
        made([branch]),
        made([call], (), [function, second]),
        trained,
    ]
    return [model.SerializeToString() for model in models]


def onnx_networks() -> list[bytes]:
    """Networks that convert: a convolution, a dense layer, shapes, a recurrent layer, slopes in several spellings."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)

    def model(nodes: list[Any], sizes: list[Any], **weights: Any) -> bytes:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        held = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
        graph = helper.make_graph(nodes, "g", [x], [y], held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()

    node, f32 = helper.make_node, lambda *shape: rng.standard_normal(shape).astype(np.float32)
    conv = [
        node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1], strides=[2, 1]),
        node("LeakyRelu", ["a"], ["y"], alpha=0.2),
    ]
    pool = [
        node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2], ceil_mode=1),
        node("BatchNormalization", ["a", "s", "s", "s", "v"], ["b"]),
        node("GlobalAveragePool", ["b"], ["c"]),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "w", "s"], ["y"], transB=1),
    ]
    spelled = [
        node("Mul", ["x", "alpha"], ["a"]), node("Max", ["x", "a"], ["b"]), node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        node("Reshape", ["c", "shape"], ["d"]), node("Softmax", ["d"], ["y"], axis=-1),
    ]  # fmt: skip
    shapes = [
        node("Slice", ["x", "one", "big", "axis"], ["a"]), node("Concat", ["a", "x"], ["b"], axis=1), node("Pad", ["b", "pads"], ["c"]),
        node("ReduceMean", ["c", "axis"], ["d"], keepdims=0), node("Gather", ["d", "one"], ["y"], axis=1),
    ]  # fmt: skip
    lstm = [node("LSTM", ["x", "w", "r", "b"], ["a", "h"], hidden_size=2), node("Squeeze", ["a", "axis"], ["y"])]
    return [
        model(conv, ["n", 2, 5, 4], w=f32(3, 2, 3, 3), b=f32(3)),
        model(pool, ["n", 2, 4, 4], s=f32(2), v=np.float32([1, 2]), w=f32(2, 2)),
        model(spelled, ["n", 2, 3], alpha=np.float32(0.1), shape=np.int64([0, -1])),
        model(
            shapes,
            [2, 3, 4],
            one=np.int64([1]),
            big=np.int64([2**62]),
            axis=np.int64([1]),
            pads=np.int64([0, 1, 0, 0, 0, 2]),
        ),
        model(lstm, [3, "n", 4], w=f32(1, 8, 4), r=f32(1, 8, 2), b=f32(1, 16), axis=np.int64([1])),
    ]


def keras() -> list[bytes]:
    from tests import keras_samples

    return of_files(keras_samples.save_all)


def keras_zip() -> list[bytes]:
    return [content for content in keras() if content.startswith(b"PK")]


def keras_h5() -> list[bytes]:
    """What Keras writes, and a file of h5py's with compression, a user block and small numbers."""
    import h5py

    def write(folder: Path) -> None:
        with h5py.File(folder / "a.h5", "w", userblock_size=512) as file:
            file.create_dataset("g/packed", data=np.arange(40.0), chunks=(8,), compression="gzip", shuffle=True)
            file["h/half"] = np.float16([1, 2])
            file.attrs["layer_names"] = ["g", "h"]
        with h5py.File(folder / "b.h5", "w", libver="latest") as file:
            file["layers/dense/vars/0"] = np.ones((2, 2), np.float32)

    return [content for content in keras() if content.startswith(b"\x89HDF")] + of_files(write)


def keras_configs() -> list[bytes]:
    """Configurations of a functional, a sequential and a nested model, and one of Keras 2."""
    import keras

    layers = keras.layers
    given = keras.Input((4, 4, 2))
    y = layers.LeakyReLU(0.2)(layers.Conv2D(2, 2, activation="gelu")(given))
    inner = keras.Sequential([keras.Input((3, 3, 2)), layers.Flatten(), layers.Dense(2, kernel_regularizer="l2")])
    model = keras.Model(given, keras.ops.softmax(inner(y)))
    recurrent = keras.Sequential([keras.Input((None, 3)), layers.Bidirectional(layers.LSTM(2))])
    old = {
        "class_name": "Model",
        "config": {
            "name": "m", "input_layers": [["x", 0, 0]], "output_layers": [["a", 0, 0]],
            "layers": [
                {"class_name": "InputLayer", "name": "x", "config": {"batch_input_shape": [None, 3], "name": "x"}, "inbound_nodes": []},
                {"class_name": "Dense", "name": "d", "config": {"units": 2, "name": "d", "activation": "hard_sigmoid"},
                 "inbound_nodes": [[["x", 0, 0, {}]]]},
                {"class_name": "LeakyReLU", "name": "a", "config": {"alpha": {"class_name": "__numpy__", "config": {"value": 0.1}}},
                 "inbound_nodes": [[["d", 0, 0, {}]]]},
            ],
        },
    }  # fmt: skip
    return [model.to_json().encode(), inner.to_json().encode(), recurrent.to_json().encode(), json.dumps(old).encode()]


def pth() -> list[bytes]:
    import torch

    weights = {"a.weight": torch.ones(2, 2), "b": torch.zeros(3, dtype=torch.bfloat16)}

    def write(folder: Path) -> None:
        torch.save(weights, folder / "a")
        torch.save(weights, folder / "b", _use_new_zipfile_serialization=False)
        torch.save({"epoch": 3, "state_dict": weights, "optimizer": [1.0, "x"]}, folder / "c")

    return of_files(write)


def pt2() -> list[bytes]:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(3, 2)

        def forward(self, x: Any, *, gain: Any) -> Any:
            return {"y": torch.nn.functional.leaky_relu(self.dense(x), 0.2) * gain, "n": x.new_zeros(x.shape[0] * 2)}

    torch.manual_seed(0)
    shapes = {"x": {0: torch.export.Dim.AUTO}, "gain": None}
    program = torch.export.export(Net().eval(), (torch.ones(2, 3),), {"gain": torch.ones(1)}, dynamic_shapes=shapes)
    out = io.BytesIO()
    torch.export.save(program, out)
    with zipfile.ZipFile(out) as given:
        return [zipped((name, given.read(name)) for name in given.namelist())]


def torchscript() -> list[bytes]:
    import torch

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LeakyReLU(0.2)).eval()
        torch.jit.trace(network, torch.ones(2, 3)).save(folder / "a")

    return of_files(write)


def pt2_programs() -> list[bytes]:
    found = []
    for content in pt2():
        with zipfile.ZipFile(io.BytesIO(content)) as given:
            found += [given.read(name) for name in given.namelist() if "/models/" in name and name.endswith(".json")]
    return found


def chainer() -> list[bytes]:
    """A recording of one function, which is small, and one of many functions."""
    described = {
        "format": "leaky_interop chainer 1", "network": "Net", "chainer": "7.8.1", "note": "", "structure": 0,
        "values": [{"name": "x", "shape": [{"batch": 1}, 3], "dtype": "float32"}, {"name": "", "shape": [{"batch": 1}, 3], "dtype": "float32"}],
        "weights": [{"name": "/l/W", "trainable": True}], "inputs": [0], "outputs": [1],
        "functions": [{"function": "LeakyReLU", "name": "a", "inputs": [["value", 0]], "outputs": [1],
                       "attributes": {"slope": 0.2}, "defaults": ["slope"]}],
    }  # fmt: skip
    array = _npy(np.ones((2, 3), np.float32))
    entries = [("chainer.json", json.dumps(described).encode())]
    small = zipped([*entries, ("weight/0.npy", array), ("run0/0.npy", array), ("run0/1.npy", array)])
    return [small, (SAMPLES / "chainer_samples" / "generator.chainer").read_bytes()]


def matlab() -> list[bytes]:
    from tests.matlab_samples import NETWORKS

    return [f"layers = [\n{source}\n];\n".encode() for source in NETWORKS.values()] + [
        b"lg = layerGraph;\nn = 2^3;\nlg = addLayers(lg, [imageInputLayer([8 8 n],'Name','in')\n"
        b"leakyReluLayer(0.1,'Name','a')]);\nlg = addLayers(lg, additionLayer(2,'Name','s'));\n"
        b"lg = connectLayers(lg,'a','s/in1');\nlg = connectLayers(lg,'in','s/in2');\n% done\n"
    ]


def mat() -> list[bytes]:
    import scipy.io

    found = []
    for packed in (False, True):
        out = io.BytesIO()
        content = {
            "x": np.arange(6.0).reshape(2, 3),
            "conv1": {"Weights": np.ones((2, 2, 1, 3), np.float32), "Bias": np.int8([1, 2])},
        }
        scipy.io.savemat(out, content, do_compression=packed, long_field_names=True)
        found.append(out.getvalue())
    return found


def sounds() -> list[bytes]:
    found = []
    for width, channels in ((1, 1), (2, 2), (3, 1), (4, 1)):
        out = io.BytesIO()
        with wave.open(out, "wb") as sound:
            sound.setnchannels(channels)
            sound.setsampwidth(width)
            sound.setframerate(8000)
            sound.writeframes(bytes(range(24)))
        found.append(out.getvalue())
    return found


def csv() -> list[bytes]:
    return [b'a,b,c\n1,2,3\n4,,"x, y"\n', b"1;2;3\n4;5;6\n", "\ufeffé\tb\n1\t2\t3\n".encode()]


def parquet() -> list[bytes]:
    import pyarrow
    from pyarrow import parquet

    found = []
    for packed in ("none", "snappy"):
        out = io.BytesIO()
        rows = {"a": [1.5, None, 3.0], "b": ["x", "y", "x"], "c": [[1, 2], [], [3]]}
        parquet.write_table(pyarrow.table(rows), out, compression=packed)
        found.append(out.getvalue())
    return found


SLOPE_FILES = (
    ".tflite",
    ".pb",
    ".mlmodel",
    ".xml",
    ".json",
    ".prototxt",
    ".cfg",
    ".param",
    ".nnef",
    ".py",
    ".jl",
    ".js",
    ".cpp",
)
SUFFIX_OF = {
    "LiteRT": ".tflite", "TensorFlow": ".pb", "TensorFlow.js": ".js", "Core ML": ".mlmodel", "OpenVINO": ".xml", "MXNet": ".json",
    "Caffe": ".prototxt", "Darknet": ".cfg", "ncnn": ".param", "NNEF": ".nnef", "Flux": ".jl", "TensorRT": ".cpp",
}  # fmt: skip


def slopes() -> list[bytes]:
    """What each system of the table writes, behind the number of its suffix."""
    import leaky_interop as li
    from leaky_interop.ops.activation import LeakyRelu

    found = []
    for row in li.slopes():
        try:
            made = row.write(LeakyRelu(negative_slope=0.2), "act")
        except Exception:  # the system cannot say that slope
            continue
        text = getattr(made, "xml", made)
        if isinstance(text, str | bytes):
            content = text.encode() if isinstance(text, str) else text
            is_code = isinstance(text, str) and row.system in ("TensorFlow", "MXNet") and not text.startswith("{")
            suffix = ".py" if is_code else SUFFIX_OF.get(row.system, ".py")
            found.append(bytes([SLOPE_FILES.index(suffix)]) + content)
    return found


def reports() -> list[bytes]:
    """A report and a conformance record, behind a byte that says which."""
    from leaky_interop.conformance import as_json as conformance_json
    from leaky_interop.report import as_json
    from tests import conformance_sample, report_sample

    return [
        b"\0" + as_json.render(report_sample.digits()).encode(),
        b"\1" + conformance_json.render(conformance_sample.sample()).encode(),
    ]
