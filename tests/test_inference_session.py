"""`Session`: what comes out is what the source computes, whatever the batch, the number of threads or the kind of model."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.inference import cache, session
from tests.inference_samples import classifier, encoded, network, photo, same, saved


def images(count: int, size: int = 8, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, size, size)).astype(dtype)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("batch", [None, 1, 2, 3, 7, 100])
def test_a_dynamic_batch_gives_the_same_rows_in_any_pieces(count, batch):
    x = images(count)
    with li.Session(classifier()) as made:
        np.testing.assert_allclose(made.predict(x, batch=batch), li.run(classifier(), x)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_fixed_batch_is_run_in_pieces_whose_filling_is_dropped(count):
    x = images(count)
    with li.Session(classifier(batch=3)) as made:
        assert made.batch == 3
        np.testing.assert_allclose(made.predict(x), li.run(classifier(), x)[0], rtol=1e-6, atol=1e-6)
        with pytest.raises(li.Usage, match="fixed to 3 rows"):
            made.predict(x, batch=2)


def test_what_fills_up_is_a_real_row():
    """A division by the sum over the row: a filling of zeros would be NaN, and a warning or a trap."""
    seen = []
    with li.Session(same([4, 3])) as made:
        inner = made._runtime

        class Spy:
            def run(self, names, feeds):
                seen.append(feeds["x"].copy())
                return inner.run(names, feeds)

            get_inputs, get_outputs = inner.get_inputs, inner.get_outputs

        made._runtime = Spy()
        x = np.arange(15, dtype=np.float32).reshape(5, 3)
        np.testing.assert_array_equal(made.predict(x), x)
    np.testing.assert_array_equal(seen[1], x[[4, 4, 4, 4]])


def test_no_rows_are_no_rows_and_not_an_invention():
    with li.Session(same(["batch", 3])) as made:
        assert made.predict(np.zeros((0, 3), np.float32)).shape == (0, 3)
    with li.Session(same([4, 3])) as made, pytest.raises(li.Usage, match="no rows"):
        made.predict(np.zeros((0, 3), np.float32))


def test_an_output_without_rows_is_not_glued_together():
    total = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)
    with li.Session(network([total], ["batch", 3])) as made:
        assert made.predict(np.ones((4, 3), np.float32)).item() == 12
        with pytest.raises(li.Usage, match="does not run in pieces"):
            made.predict(np.ones((4, 3), np.float32), batch=2)


def two_inputs() -> onnx.ModelProto:
    nodes = [helper.make_node("Sub", ["a", "b"], ["d"]), helper.make_node("Mul", ["a", "b"], ["p"])]
    return network(nodes, ["batch", 2], inputs=("a", "b"), outputs=("d", "p"))


def test_several_inputs_and_outputs_come_by_order_and_by_name():
    a, b = np.float32([[3, 4], [5, 6], [7, 8]]), np.float32([[1, 2], [3, 4], [9, 9]])
    with li.Session(two_inputs()) as made:
        for given in ((a, b), [a, b], {"b": b, "a": a}):
            difference, product = made.predict(given, batch=2)
            np.testing.assert_array_equal(difference, a - b)
            np.testing.assert_array_equal(product, a * b)
        for wrong in ({"a": a}, {"a": a, "c": b}, [a], a):
            with pytest.raises(li.Usage, match="takes"):
                made.predict(wrong)
        with pytest.raises(li.Usage, match="same number of rows"):
            made.predict([a, b[:2]], batch=1)
        with pytest.raises(li.Usage, match="several inputs"):
            made.predict([photo()])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_fractions_take_the_networks_width(dtype):
    kind = {
        "float16": TensorProto.FLOAT16,
        "float32": TensorProto.FLOAT,
        "float64": TensorProto.DOUBLE,
        "bfloat16": TensorProto.BFLOAT16,
    }
    x = np.array([[0.1, -0.0, np.nan, np.inf]])
    with li.Session(same(["batch", 4], kind[dtype])) as made:
        y = made.predict(x)
        assert y.dtype.name == dtype
        np.testing.assert_array_equal(y.astype(np.float64), x.astype(y.dtype).astype(np.float64))
        assert np.signbit(y.astype(np.float32)[0, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
def test_whole_numbers_are_not_taken_for_fractions(dtype):
    with li.Session(same(["batch", 4])) as made, pytest.raises(li.Usage, match="takes float32"):
        made.predict(np.ones((1, 4), dtype))


@pytest.mark.parametrize(
    "kind,dtype", [(TensorProto.UINT8, np.uint8), (TensorProto.INT64, np.int64), (TensorProto.BOOL, np.bool_)]
)
def test_whole_numbers_go_where_they_are_wanted(kind, dtype):
    x = np.array([[0, 1, 1]], dtype)
    with li.Session(same(["batch", 3], kind)) as made:
        np.testing.assert_array_equal(made.predict(x), x, strict=True)
        with pytest.raises(li.Usage, match="takes"):
            made.predict(x.astype(np.float32))


def test_arrays_are_read_in_place_and_left_alone():
    x = images(2)
    kept = x.copy()
    port = session.Port("x", (None, 3, 8, 8), np.dtype(np.float32))
    assert session._fitting(x, port) is x
    strided = images(4)[::2, :, ::-1]
    with li.Session(same(["batch", 3, 8, 8])) as made:
        np.testing.assert_array_equal(made.predict(strided), strided)
        made.predict(x)
        x.flags.writeable = False
        made.predict(x)
    np.testing.assert_array_equal(x, kept)


def test_shapes_that_do_not_fit_are_the_users_mistake():
    with li.Session(classifier()) as made:
        for wrong in (np.zeros((1, 3, 9, 9), np.float32), np.zeros((3, 8, 8), np.float32), np.float32(1)):
            with pytest.raises(li.Usage):
                made.predict(wrong)
        with pytest.raises(li.Usage, match="one row or more"):
            made.predict(images(1), batch=0)


def test_a_closed_session_says_so():
    with li.Session(classifier()) as made:
        pass
    with pytest.raises(li.Usage, match="closed"):
        made.predict(images(1))
    made.close()


def test_threads_share_a_session():
    x = [images(n % 5 + 1, 16) for n in range(24)]
    wrong = []
    with li.Session(classifier(size=16), threads=1) as made:
        alone = [made.predict(one) for one in x]

        def work(start: int) -> None:
            for index in range(start, len(x), 4):
                for batch in (None, 2):
                    if not np.allclose(made.predict(x[index], batch=batch), alone[index], rtol=1e-6, atol=1e-6):
                        wrong.append(index)

        workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not wrong


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_providers_reach_onnxruntime(threads):
    with li.Session(classifier(), ["CPUExecutionProvider"], threads) as made:
        assert made._runtime.get_session_options().intra_op_num_threads == threads
        assert made._runtime.get_providers() == ["CPUExecutionProvider"]


def test_what_is_not_there_is_said():
    with pytest.raises(li.Usage, match="no provider FastExecutionProvider"):
        li.Session(classifier(), ["FastExecutionProvider"])
    with pytest.raises(li.Usage, match="threads=0"):
        li.Session(classifier(), threads=0)
    with pytest.raises(FileNotFoundError):
        li.Session("nowhere.onnx")
    with pytest.raises(li.Usage, match="no model"):
        li.Session(object())


# --- Keras and PyTorch ------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keras_net(slope: float = 0.3):
    import keras

    keras.utils.set_random_seed(1)
    parts = [
        keras.layers.Conv2D(3, 3),
        keras.layers.LeakyReLU(slope),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4),
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), *parts])


def test_a_keras_file_is_converted_once_and_takes_its_own_layout(kept, tmp_path, monkeypatch):
    model, path = keras_net(), tmp_path / "net.keras"
    model.save(path)
    x = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    expected = li.run(model, x)[0]
    with li.Session(path) as made:
        assert made.inputs[0].shape == (None, 8, 8, 3)
        np.testing.assert_allclose(made.predict(x), expected, rtol=1e-5, atol=1e-6)
    (entry,) = kept.iterdir()
    monkeypatch.setattr("leaky_interop.converting.convert", None)  # the next ones take the entry
    with li.Session(path) as made:
        np.testing.assert_allclose(made.predict(x), expected, rtol=1e-5, atol=1e-6)
    assert list(kept.iterdir()) == [entry]


def test_a_damaged_entry_is_made_again(kept, tmp_path):
    keras_net().save(tmp_path / "net.keras")
    li.Session(tmp_path / "net.keras").close()
    (entry,) = kept.iterdir()
    good = entry.read_bytes()
    for damage in (good[:100], good[:-4] + b"\0\0\0\0", b""):
        entry.write_bytes(damage)
        with li.Session(tmp_path / "net.keras") as made:
            assert made.predict(np.zeros((1, 8, 8, 3), np.float32)).shape == (1, 4)
        assert [e.read_bytes() for e in kept.iterdir()] == [good]


def test_two_that_make_the_same_entry_at_once_both_have_it(kept):
    together = threading.Barrier(2)
    found = []

    def make(path):
        path.write_bytes(b"network")
        path.with_name(f"{path.name}.data").write_bytes(b"weights")
        together.wait(10)

    workers = [threading.Thread(target=lambda: found.append(cache.entry("k", make))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 2 and len(set(found)) == 1
    assert {path.name for path in kept.iterdir()} == {found[0].name, "k.onnx.data"}
    (kept / "k.onnx.data").write_bytes(b"damaged")
    remade = cache.entry("k", lambda path: (path.write_bytes(b"network"), path.with_name("k.onnx.data").write_bytes(b"weights")))
    assert remade == found[0] and (kept / "k.onnx.data").read_bytes() == b"weights"
    assert cache.entry("k", None) == remade


def test_another_content_or_option_is_another_entry(kept, tmp_path):
    for slope in (0.3, 0.1):
        keras_net(slope).save(tmp_path / "net.keras")
        li.Session(tmp_path / "net.keras").close()
    li.Session(tmp_path / "net.keras", input_shapes=[(2, 8, 8, 3)]).close()
    assert len(list(kept.iterdir())) == 3
    first = cache.key([tmp_path / "net.keras"], ("a",))
    assert first != cache.key([tmp_path / "net.keras"], ("b",))


def test_the_cache_is_where_the_platform_keeps_such_things(monkeypatch, tmp_path):
    monkeypatch.delenv("LEAKY_INTEROP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache.folder() == tmp_path / "leaky_interop"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache.folder() == tmp_path / "home" / "Library" / "Caches" / "leaky_interop"


def test_living_models_are_converted_and_verified():
    import torch

    x = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    with li.Session(keras_net()) as made:
        np.testing.assert_allclose(made.predict(x), li.run(keras_net(), x)[0], rtol=1e-5, atol=1e-6)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.LeakyReLU(0.2)).eval()
    image = torch.rand(2, 3, 8, 8)
    with li.Session(module, example=(image,)) as made:
        np.testing.assert_allclose(made.predict(image), module(image).detach().numpy(), rtol=1e-5, atol=1e-6)
        assert len(made.predict(images(7))) == 7


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_come_as_paths_bytes_or_objects(tmp_path):
    image = photo(8, 8)
    image.save(tmp_path / "a.png")
    with li.Session(same(["batch", 3, 8, 8]), preprocess="gan") as made:
        expected = (np.asarray(image, np.float32) / np.float32(127.5) - 1).transpose(2, 0, 1)[None]
        for given in (image, tmp_path / "a.png", str(tmp_path / "a.png"), encoded(image), [image]):
            np.testing.assert_array_equal(made.predict(given), expected)
        assert made.predict([image, encoded(image), tmp_path / "a.png"], batch=2).shape == (3, 3, 8, 8)


def test_one_batch_holds_one_size():
    with li.Session(same(["batch", 3, "h", "w"]), preprocess="gan") as made:
        assert made.predict([photo(8, 6), photo(8, 6)]).shape == (2, 3, 6, 8)
        with pytest.raises(li.Usage, match="different sizes"):
            made.predict([photo(8, 6), photo(6, 8)])


def test_nothing_is_guessed_about_pictures():
    with li.Session(classifier()) as made, pytest.raises(li.Usage, match="--preprocess"):
        made.predict(photo())
    with pytest.raises(li.Usage, match="no pictures"):
        li.Session(same(["batch", 4]), preprocess="imagenet")


def test_a_model_file_goes_through_the_door(tmp_path):
    model = classifier()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    with pytest.raises(li.UnsafeFile):
        li.Session(saved(model, tmp_path / "evil.onnx"))
