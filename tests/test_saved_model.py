"""SavedModels of TensorFlow through their signatures: names, several signatures, TensorFlow as the judge, hostile folders."""

import shutil
import sys

import keras
import numpy as np
import onnx
import pytest

import leaky_interop as li
from leaky_interop import files
from leaky_interop.cli import main
from leaky_interop.errors import Mismatch, MissingFramework, Refused, RuntimeFailure, UnsafeFile, Unsupported, Usage
from leaky_interop.files.saved_model_allowed import OPERATORS
from tests.real import real

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

SLOPE = 0.15
X = np.float32([[-1.5, 2, -0.0, 4], [1, -2, 3, 0.25]])
Y = np.float32([[-9, 1], [2, -4]])


class Net(tf.Module):
    """Two outputs of two inputs whose names are in no order; a constant and a weight; state that inference leaves alone."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(np.random.default_rng(0).standard_normal((4, 2)).astype("f"))
        self.steps = tf.Variable(0.0)
        self.scale = tf.constant([0.5, 2.0])

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None, 2], tf.float32)])
    def both(self, wide, narrow):
        leaky = tf.nn.leaky_relu(wide @ self.w + narrow, SLOPE)
        return {"zeta": leaky * self.scale, "alpha": tf.reduce_sum(wide, 1)}

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
    def branching(self, x):
        return {"y": x * 2 if tf.reduce_sum(x) > 0 else x - 1}

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
    def counting(self, x):
        self.steps.assign_add(1.0)
        return {"y": x * self.steps}

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
    def special(self, x):
        return {"y": tf.math.betainc(x, x, x)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def reading(self, path):
        return {"y": tf.io.decode_raw(tf.io.read_file(path), tf.uint8)}

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
    def calling(self, x):
        return {"y": tf.numpy_function(lambda a: a, [x], tf.float32)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with every signature."""
    path = tmp_path_factory.mktemp("saved") / "net"
    net = Net()
    names = ("branching", "counting", "special", "reading", "calling")
    tf.saved_model.save(net, str(path), {"serving_default": net.both} | {name: getattr(net, name) for name in names})
    return path


@pytest.fixture
def copied(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved, tmp_path / "net")


def expected(path, signature, **arrays):
    """What TensorFlow's own loader makes of the folder, in the order of the outputs' names."""
    found = tf.saved_model.load(str(path)).signatures[signature](**{k: tf.constant(a) for k, a in arrays.items()})
    return [found[name].numpy() for name in sorted(found)]


@pytest.mark.one_backend
@pytest.mark.parametrize("target", ["net.onnx", "net.keras", "net.pt2"])
def test_a_signature_becomes_a_file_under_its_own_names(saved, tmp_path, target):
    report = li.convert(saved, tmp_path / target)
    assert report.passed
    assert {o.name for o in report.outputs} == {"alpha", "zeta"}
    assert {o.batch for o in report.outputs} == {1, 2, 3}
    assert any("through tf2onnx" in n and "signature serving_default" in n and "branching" in n for n in report.notes)
    assert [s.value for s in report.slopes] == [SLOPE]
    for one, other in zip(
        li.run(tmp_path / target, [Y, X]), expected(saved, "serving_default", wide=X, narrow=Y), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.one_backend
def test_ports_of_the_onnx_model_are_the_signatures(saved):
    model = li.convert(saved, "onnx")
    assert [i.name for i in model.graph.input] == ["narrow", "wide"]
    assert [o.name for o in model.graph.output] == ["alpha", "zeta"]
    assert [d.dim_value for d in model.graph.input[1].type.tensor_type.shape.dim] == [0, 4]
    assert "LeakyRelu" in [n.op_type for n in model.graph.node]


@pytest.mark.one_backend
def test_running_is_tensorflows_own(saved):
    outputs = expected(saved, "serving_default", wide=X, narrow=Y)
    for arrays in ([Y, X], {"wide": X, "narrow": Y}):
        for one, other in zip(li.run(saved, arrays), outputs, strict=True):
            np.testing.assert_array_equal(one, other)
    for wrong in ([X, Y], [Y], {"wide": X}, {"wide": X, "narrow": Y, "other": Y}, [Y, X.astype(np.float64)]):
        with pytest.raises(Usage, match="does not take"):
            li.run(saved, wrong)


@pytest.mark.one_backend
def test_another_signature_by_its_name(saved, tmp_path):
    assert li.convert(saved, tmp_path / "net.onnx", signature="branching").passed
    for x in (np.float32([1, 2, 3]), np.float32([-1, 0.5, 0])):
        (y,) = li.run(tmp_path / "net.onnx", [x])
        np.testing.assert_array_equal(y, expected(saved, "branching", x=x)[0])
    found = li.inspect(saved, signature="branching")
    assert [p.name for p in found.inputs] == ["x"]
    assert found.framework == "tensorflow"
    with pytest.raises(Usage, match=r"lacks the signature 'foo'.*it has branching, calling.*--signature"):
        li.load(saved, signature="foo")


@pytest.mark.one_backend
def test_a_folder_of_several_signatures_and_no_usual_one_asks_for_a_name(tmp_path):
    net = Net()
    tf.saved_model.save(net, str(tmp_path / "net"), {"a": net.both, "b": net.branching})
    with pytest.raises(Usage, match="needs a signature: it has a, b"):
        li.load(tmp_path / "net")
    tf.saved_model.save(net, str(tmp_path / "one"), {"a": net.both})
    assert files.read_saved_model(tmp_path / "one").signature == "a"
    tf.saved_model.save(net, str(tmp_path / "none"), {})
    with pytest.raises(Usage, match="none needs a signature: it has none"):
        li.load(tmp_path / "none")


@pytest.mark.one_backend
def test_tensorflow_and_no_copy_of_it_is_the_judge(saved, monkeypatch, tmp_path):
    """A slope that went wrong inside of tf2onnx: every node agrees with the ONNX model, and the outputs do not."""
    import tf2onnx.convert

    honest = tf2onnx.convert.from_function

    def wrong(*given, **how):
        model, other = honest(*given, **how)
        (node,) = (n for n in model.graph.node if n.op_type == "LeakyRelu")
        node.attribute[0].f = 0.3
        return model, other

    monkeypatch.setattr(tf2onnx.convert, "from_function", wrong)
    with pytest.raises(Mismatch, match="zeta"):
        li.convert(saved, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.one_backend
def test_verify_says_whether_a_file_computes_what_the_folder_does(saved, tmp_path):
    model = li.convert(saved, "onnx")
    onnx.save(model, tmp_path / "net.onnx")
    assert li.verify(saved, tmp_path / "net.onnx").passed
    assert li.verify(tmp_path / "net.onnx", saved).passed
    (node,) = (n for n in model.graph.node if n.op_type == "LeakyRelu")
    node.attribute[0].f = 0.16
    report = li.verify(saved, model)
    assert not report.passed
    assert "LeakyRelu" in report.first_difference.op


@pytest.mark.one_backend
def test_the_command_line(saved, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["convert", "--no-sandbox", str(saved), str(tmp_path / "net.onnx"), "--signature", "branching"])
    assert end.value.code == 0
    assert "signature branching" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["inspect", "--no-sandbox", str(saved / "saved_model.pb")])
    assert end.value.code == 2
    assert "Name its folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["inspect", "--no-sandbox", str(saved), "--signature", "foo"])
    assert end.value.code == 2


@pytest.mark.one_backend
def test_the_error_without_tf2onnx_names_the_extra(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingFramework, match=r"tf2onnx is not installed.*leaky_interop\[savedmodel\]"):
        li.convert(saved, "onnx")


@pytest.mark.one_backend
def test_an_operator_that_tf2onnx_leaves_is_named(saved):
    with pytest.raises(Unsupported, match="Betainc"):
        li.convert(saved, "onnx", signature="special")


# Hostile folders


@pytest.mark.one_backend
def test_the_allowed_operators_are_tensorflows_and_only_known_ones_keep_state():
    from tensorflow.python.framework import op_def_registry

    stateful = {name for name in OPERATORS if op_def_registry.get(name).is_stateful}
    arrays = {f"TensorArray{verb}V3" for verb in ("", "Gather", "Read", "Scatter", "Size", "Write")}
    reading = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VarHandleOp", "VariableShape", "VariableV2"}
    random = {"RandomStandardNormal", "RandomUniform", "RandomUniformInt"}
    assert stateful == arrays | reading | random | {"Assert", "CheckNumerics", "If", "While", "StatefulPartitionedCall"}


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("reading", r"DecodeRaw, ReadFile \(it reads a file\)"),
        ("calling", r"PyFunc \(it calls Python\)"),
        ("counting", "changes a weight"),
    ],
)
def test_operators_that_do_more_than_compute_never_reach_tensorflow(saved, monkeypatch, signature, words):
    monkeypatch.setattr(tf.graph_util, "import_graph_def", None)
    with pytest.raises(UnsafeFile, match=f"(?s){words}.*--trust"):
        li.load(saved, signature=signature)


@pytest.mark.one_backend
def test_trusted_operators_run(saved, tmp_path):
    (tmp_path / "three").write_bytes(bytes([1, 2, 3]))
    path = np.array(str(tmp_path / "three").encode(), object)
    np.testing.assert_array_equal(li.run(saved, [path], signature="reading", trust=True)[0], [1, 2, 3])


def edit(path, change):
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    change(model.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(model.SerializeToString())


@pytest.mark.one_backend
@pytest.mark.parametrize("entry", ["variables", "variables/variables.index", "assets/x", "saved_model.pb"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_links_are_refused(copied, tmp_path, entry, kind):
    path = copied / entry
    outside = tmp_path / "outside"
    if path.exists():
        shutil.move(path, outside)
    else:
        outside.write_bytes(b"secret")
    if kind == "hard":
        if outside.is_dir():
            pytest.skip("a folder has no hard links")
        path.hardlink_to(outside)
    else:
        path.symlink_to(outside)
    with pytest.raises(UnsafeFile, match="is a link"):
        li.load(copied)


def called_by_itself(meta):
    (f,) = (f for f in meta.graph_def.library.function if f.signature.name.startswith("__inference_both"))
    node = f.node_def.add(name="again", op="PartitionedCall")
    node.attr["f"].func.name = f.signature.name


def called_thousandfold(meta):
    """Thirty functions, each of which calls the next one four times."""
    (last,) = (f for f in meta.graph_def.library.function if f.signature.name.startswith("__inference_both"))
    for depth in range(30):
        other = meta.graph_def.library.function.add()
        other.signature.name = f"laugh_{depth}"
        for i in range(4):
            other.node_def.add(name=f"again{i}", op=f"laugh_{depth + 1}" if depth < 29 else "NoOp")
    last.node_def.add(name="more", op="laugh_0")


@pytest.mark.one_backend
@pytest.mark.parametrize("change", [called_by_itself, called_thousandfold])
def test_functions_that_would_exhaust_memory_are_refused(copied, change):
    edit(copied, change)
    with pytest.raises(UnsafeFile, match="functions call one another"):
        li.load(copied)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ""])
def test_an_asset_outside_of_the_folder_is_refused(copied, name):
    edit(copied, lambda meta: meta.asset_file_def.add(filename=name))
    with pytest.raises(UnsafeFile, match="asset outside"):
        li.load(copied)


def without_rank(meta):
    meta.signature_def["serving_default"].inputs["wide"].tensor_shape.unknown_rank = True


def sparse(meta):
    info = meta.signature_def["serving_default"].inputs["wide"]
    info.coo_sparse.values_tensor_name = "x"


def lost_node(meta):
    meta.signature_def["serving_default"].outputs["zeta"].name = "nowhere:0"


def other_node(meta):
    meta.signature_def["serving_default"].outputs["zeta"].name += "77"


def lost_variable(meta):
    for node in meta.object_graph_def.nodes[0].children:
        node.local_name = f"other_{node.local_name}"


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (without_rank, Refused, "number of axes is open"),
        (sparse, Refused, "sparse or composite"),
        (lost_node, Usage, "no node 'nowhere'"),
        (other_node, RuntimeFailure, "Invalid return output"),
        (lost_variable, Usage, "its checkpoint has no"),
    ],
)
def test_a_graph_that_is_not_whole_is_a_clear_error(copied, change, kind, words):
    edit(copied, change)
    with pytest.raises(kind, match=words):
        li.load(copied)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("entry", "size"),
    [("saved_model.pb", 1000), ("variables/variables.index", 30), ("variables/variables.data-00000-of-00001", 10)],
)
def test_cut_files_are_damaged_ones(copied, entry, size):
    (copied / entry).write_bytes((copied / entry).read_bytes()[:size])
    with pytest.raises(Usage, match=r"damaged|larger than the whole checkpoint") as found:
        li.load(copied)
    assert str(copied.parent) not in str(found.value)


@pytest.mark.one_backend
def test_a_folder_without_its_checkpoint(copied):
    shutil.rmtree(copied / "variables")
    with pytest.raises(Usage, match=r"no variables/variables.index"):
        li.load(copied)
    assert li.load(copied, signature="branching").nodes


@pytest.mark.one_backend
@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_a_graph_of_tensorflow_1(tmp_path, resource):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        w = v1.get_variable("w", initializer=np.float32([[1, 2], [-3, 4], [5, -6]]), use_resource=resource)
        y = tf.nn.leaky_relu(x @ w, 0.4, name="y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "net"), {"data": x}, {"scores": y})
    report = li.convert(tmp_path / "net", tmp_path / "net.onnx")
    assert report.passed
    assert [i.name for i in onnx.load(tmp_path / "net.onnx").graph.input] == ["data"]


# Keras' own exports


EXPORTS = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Model.export writes a SavedModel on TensorFlow alone"
)


@EXPORTS
def test_a_convolutional_network_of_keras(tmp_path):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.LeakyReLU(0.15)(layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(image)))
    network = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(layers.MaxPooling2D(2)(x))))
    network.export(str(tmp_path / "net"), verbose=False)
    report = li.convert(tmp_path / "net", tmp_path / "net.onnx")
    assert report.passed
    x = np.random.default_rng(0).standard_normal((7, 8, 8, 3)).astype("f")
    np.testing.assert_allclose(li.run(tmp_path / "net.onnx", [x])[0], network(x), atol=1e-6)
    assert li.verify(network, tmp_path / "net").passed  # though a batch norm went into its convolution


@EXPORTS
def test_recurrent_layers_and_named_ports_of_keras(tmp_path):
    keras.utils.set_random_seed(1)
    words, sizes = keras.Input((5,), dtype="int32", name="words"), keras.Input((5, 2), name="sizes")
    x = keras.layers.Concatenate()([keras.layers.Embedding(9, 4)(words), sizes])
    outputs = {"later": keras.layers.Bidirectional(keras.layers.LSTM(3))(x), "early": keras.layers.GRU(3)(x)}
    network = keras.Model({"words": words, "sizes": sizes}, outputs)
    network.export(str(tmp_path / "net"), verbose=False)
    report = li.convert(tmp_path / "net", tmp_path / "net.onnx")
    assert report.passed
    assert {o.name for o in report.outputs} == {"early", "later"}
    made = onnx.load(tmp_path / "net.onnx").graph
    assert {i.name for i in made.input} == {"words", "sizes"}


@pytest.mark.real
@pytest.mark.one_backend
def test_a_trained_network_is_what_its_vendor_made_of_it():
    """Basic Pitch, in TensorFlow and as the vendor's ONNX, whose outputs stand the other way round."""
    folder = real("basic-pitch/nmp")
    model = li.convert(folder, "onnx")
    assert [i.name for i in model.graph.input] == ["input_2"]
    assert [o.name for o in model.graph.output] == ["contour", "note", "onset"]
    x = 0.1 * np.random.default_rng(0).standard_normal((2, 43844, 1)).astype("f")
    ours, tensorflows, vendors = (li.run(m, [x]) for m in (model, folder, folder.parent / "nmp.onnx"))
    for one, other, third in zip(ours, tensorflows, reversed(vendors), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
        np.testing.assert_allclose(one, third, atol=2e-5)
