"""The operators of onnxruntime's own domain: each read, and computed as onnxruntime does, in every framework."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused
from leaky_interop.frameworks.onnx.run import compute

DRAW = np.random.default_rng(0)


def floats(*shape, low=-3.0, high=3.0):
    return DRAW.uniform(low, high, shape).astype(np.float32)


def model_of(kind, inputs, weights=None, *, outputs=1, domain="com.microsoft", **attributes):
    """One node; inputs and weights are name -> array in the order of its operands, None for one that is left out."""
    operands = {**inputs, **(weights or {})}
    names = ["" if array is None else name for name, array in operands.items()]
    results = [f"y{i}" if i in (0, outputs - 1) else "" for i in range(outputs)]
    node = helper.make_node(kind, names, results, domain=domain, **attributes)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()]
    stored = [numpy_helper.from_array(a, n) for n, a in (weights or {}).items() if a is not None]
    ends = [onnx.ValueInfoProto(name=r) for r in results if r]
    graph = helper.make_graph([node], "g", infos, ends, stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return model


def check(model, arrays, targets=("torch", "keras", "onnx"), exact=False):
    expected = compute(model, arrays, optimise=False)
    for info, array in zip(model.graph.output, expected, strict=True):
        info.CopyFrom(helper.make_tensor_value_info(info.name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
    graph = li.load(model)
    found = {"reference": graph.run(*arrays)}
    found |= {target: li.run(transfer_graph(graph, target).model, arrays) for target in targets}
    for name, results in found.items():
        for e, r in zip(expected, results, strict=True):
            assert (e.dtype, e.shape) == (r.dtype, r.shape), name
            if exact or e.dtype.kind in "iu":
                np.testing.assert_array_equal(e, r, err_msg=name)
            else:
                np.testing.assert_allclose(e, r, rtol=2e-5, atol=2e-6 * max(1, np.abs(e).max(initial=0)), err_msg=name)


@pytest.mark.parametrize("kind", ["Gelu", "FastGelu", "QuickGelu"])
def test_smooth_functions(kind):
    check(model_of(kind, {"x": floats(2, 3, 5)}, **({"alpha": 1.1} if kind == "QuickGelu" else {})), [floats(2, 3, 5)])


def test_quick_gelu_without_its_alpha():
    check(model_of("QuickGelu", {"x": floats(2, 3)}), [floats(2, 3)])


@pytest.mark.parametrize("kind", ["BiasGelu", "FastGelu"])
def test_biased_functions(kind):
    check(model_of(kind, {"x": floats(2, 3, 5)}, {"b": floats(5)}), [floats(2, 3, 5)])


@pytest.mark.parametrize(("first", "last"), list(itertools.product(itertools.product((0, 1), repeat=2), repeat=2)))
def test_fused_products(first, last):
    def shape(rows, columns, batch_first, turned):
        rows, columns = (columns, rows) if turned else (rows, columns)
        return (rows, 2, 3, columns) if batch_first else (2, 3, rows, columns)

    a, b = floats(*shape(4, 5, first[0], last[0])), floats(*shape(5, 6, first[1], last[1]))
    flags = {"transBatchA": first[0], "transBatchB": first[1], "transA": last[0], "transB": last[1], "alpha": 0.3}
    check(model_of("FusedMatMul", {"a": a, "b": b}, **flags), [a, b])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_norms_of_sums(kind, bias):
    x, skip = floats(2, 3, 8), floats(2, 3, 8)
    shift = {"shift": floats(8)} if kind == "SkipLayerNormalization" else {}
    weights = {"scale": floats(8), **shift, "bias": floats(8) if bias else None}
    check(model_of(kind, {"x": x, "skip": skip}, weights, outputs=4, epsilon=0.03), [x, skip])


@pytest.mark.parametrize("kind", ["LayerNormalization", "SimplifiedLayerNormalization"])
def test_norms_in_operator_sets_that_do_not_have_them(kind):
    x = floats(2, 3, 8)
    model = model_of(kind, {"x": x}, {"scale": floats(8)}, domain="", epsilon=0.03)
    model.opset_import[0].version = 13
    check(model, [x])


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("bits", "count"), [(4, 64), (4, 50), (8, 48)])
def test_products_with_blocks_of_codes(bits, count, zeros):
    size, columns = 16, 5
    blocks = -(-count // size)
    weights = {
        "codes": DRAW.integers(0, 256, (columns, blocks, size * bits // 8), dtype=np.uint8),
        "scales": floats(columns, blocks, low=0.01, high=0.1),
    }
    if zeros:
        weights["zeros"] = DRAW.integers(0, 256, (columns, -(-blocks * bits // 8)), dtype=np.uint8)
    a = floats(2, 3, count)
    check(model_of("MatMulNBits", {"a": a}, weights, K=count, N=columns, bits=bits, block_size=size), [a])


# --- codes ------------------------------------------------------------------------------------------------------------

KINDS = ["uint8", "int8"]


def codes(dtype, *shape):
    info = np.iinfo(dtype)
    return DRAW.integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.fixture(autouse=True)
def same_numbers_whatever_ran_before():
    DRAW.bit_generator.state = np.random.default_rng(0).bit_generator.state


def scale(*shape):
    return np.asarray(DRAW.uniform(0.01, 0.1, shape), np.float32)


def pairs(dtype):
    """Every pair of codes."""
    info = np.iinfo(dtype)
    every = np.arange(info.min, info.max + 1).astype(dtype)
    return np.repeat(every, every.size), np.tile(every, every.size)


@pytest.mark.parametrize("unit", [0.0137, 0.1, 1 / 3])  # multiples of one unit: many sums stand between two codes
@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("kind", ["QLinearAdd", "QLinearMul"])
def test_pairs_of_codes(kind, dtype, unit):
    a, b = pairs(dtype)
    scales = [np.asarray(unit * n, np.float32) for n in DRAW.integers(1, 9, 3)]
    zeros = [codes(dtype) for _ in range(3)]
    weights = {"as": scales[0], "az": zeros[0], "b": b, "bs": scales[1], "bz": zeros[1], "s": scales[2], "z": zeros[2]}
    check(model_of(kind, {"a": a}, weights), [a])


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("kind", ["QLinearSigmoid", "QLinearSoftmax"])
def test_functions_of_codes(kind, dtype):
    x, low = codes(dtype, 4, 10), np.asarray(np.iinfo(dtype).min, dtype)
    attributes = {"axis": -1, "opset": 13} if kind == "QLinearSoftmax" else {}
    weights = {"xs": scale(), "xz": codes(dtype), "s": np.asarray(1 / 256, np.float32), "z": low}
    check(model_of(kind, {"x": x}, weights, **attributes), [x])


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("dtype", KINDS)
def test_global_averages_of_codes(dtype, last):
    x = codes(dtype, 2, 3, 4, 5)
    weights = {"xs": scale(), "xz": codes(dtype), "s": scale(), "z": codes(dtype)}
    check(model_of("QLinearGlobalAveragePool", {"x": x}, weights, channels_last=last), [x])


@pytest.mark.parametrize("dtype", KINDS)
def test_parts_of_codes(dtype):
    a, b = codes(dtype, 2, 3), codes(dtype, 2, 5)
    node = {"s": scale(), "z": codes(dtype), "a": a, "as": scale(), "az": codes(dtype), "b": b, "bs": scale(), "bz": codes(dtype)}
    model = model_of("QLinearConcat", {"a": a, "b": b}, {k: v for k, v in node.items() if k not in "ab"}, axis=1)
    model.graph.node[0].input[:] = list(node)
    check(model, [a, b])


@pytest.mark.parametrize("dtype", KINDS)
def test_choices_of_codes(dtype):
    condition, a, b = DRAW.random((4, 5)) < 0.5, codes(dtype, 4, 5), codes(dtype, 4, 5)
    weights = {"as": scale(), "az": codes(dtype), "bs": scale(), "bz": codes(dtype), "s": scale(), "z": codes(dtype)}
    model = model_of("QLinearWhere", {"c": condition, "a": a, "b": b}, weights)
    model.graph.node[0].input[:] = ["c", "a", "as", "az", "b", "bs", "bz", "s", "z"]
    check(model, [condition, a, b])


@pytest.mark.parametrize("result", [False, True])
@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("each", [False, True])
def test_products_of_codes(result, turned, each):
    a = codes("uint8", 6, 7)
    b = codes("int8", *((5, 7) if turned else (7, 5)))
    size = (5,) if each else ()
    weights = {"as": scale(), "az": codes("uint8"), "b": b, "bs": scale(*size), "bz": codes("int8", *size)}
    weights["c"] = DRAW.integers(-2000, 2000, 5).astype(np.int32)
    if result:
        weights |= {"s": np.asarray(0.3, np.float32), "z": codes("uint8")}
    check(model_of("QGemm", {"a": a}, weights, alpha=0.5, transB=turned), [a])


@pytest.mark.parametrize("bias", [False, True])
def test_products_of_codes_as_floats(bias):
    a, b = codes("uint8", 2, 6, 7), codes("int8", 7, 5)
    weights = {"b": b, "as": scale(), "bs": scale(5), "az": codes("uint8"), "bz": codes("int8", 5)}
    check(model_of("MatMulIntegerToFloat", {"a": a}, weights | ({"c": floats(5)} if bias else {})), [a])


@pytest.mark.parametrize("bias", [False, True])
def test_products_of_floats_that_become_codes(bias):
    a = floats(2, 6, 7)
    weights = {"b": codes("int8", 7, 5), "bs": scale(), "bz": codes("int8")} | ({"c": floats(5)} if bias else {})
    check(model_of("DynamicQuantizeMatMul", {"a": a}, weights), [a])


@pytest.mark.parametrize("last", [0, 1])
def test_convolutions_of_codes(last):
    x, kernel = codes("uint8", 2, 3, 6, 7), codes("int8", 4, 3, 3, 2)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
    weights = {"xs": scale(), "xz": codes("uint8"), "w": kernel, "ws": scale(4), "wz": np.zeros(4, np.int8)}
    weights |= {"s": np.asarray(0.9, np.float32), "z": codes("uint8"), "c": DRAW.integers(-2000, 2000, 4).astype(np.int32)}
    check(model_of("QLinearConv", {"x": x}, weights, channels_last=last, pads=[1, 0, 2, 1], strides=[1, 2]), [x])


# --- transformers -----------------------------------------------------------------------------------------------------


MASKS = {
    "none": None, "keys": np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], np.int32), "lengths": np.array([3, 5], np.int32),
    "nothing": np.zeros((2, 5), np.int32),
}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [0, 1])
def test_attention_by_one_matrix(mask, causal):
    arrays = {"x": floats(2, 5, 8), "mask": MASKS[mask]}
    weights = {"weights": floats(8, 24), "bias": floats(24)}
    inputs = {k: a for k, a in arrays.items() if a is not None}
    model = model_of("Attention", {"x": inputs["x"]}, weights, num_heads=2, unidirectional=causal)
    if mask != "none":
        model.graph.node[0].input.append("mask")
        model.graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.INT32, inputs["mask"].shape))
    check(model, list(inputs.values()))


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_by_one_matrix_behind_a_cache(causal):
    inputs, weights = {"x": floats(2, 3, 8)}, {"weights": floats(8, 24), "bias": floats(24)}
    model = model_of("Attention", inputs, weights, outputs=2, num_heads=2, unidirectional=causal, scale=0.5)
    model.graph.node[0].input.extend(["", "past"])
    model.graph.input.append(helper.make_tensor_value_info("past", onnx.TensorProto.FLOAT, (2, 2, 2, 4, 4)))
    check(model, [inputs["x"], floats(2, 2, 2, 4, 4)])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("bias", [False, True])
def test_attention_of_heads(mask, bias):
    inputs = {"q": floats(2, 3, 8), "k": floats(2, 5, 8), "v": floats(2, 5, 8), "bias": floats(24) if bias else None, "mask": MASKS[mask]}
    given = {k: a for k, a in inputs.items() if a is not None}
    model = model_of("MultiHeadAttention", given, num_heads=4)
    del model.graph.node[0].input[:]
    model.graph.node[0].input.extend(k if k in given else "" for k in inputs)
    check(model, list(given.values()))


@pytest.mark.parametrize("segments", [False, True])
def test_sums_of_embeddings(segments):
    ids, kinds = np.array([[1, 4, 0], [2, 2, 3]], np.int32), np.array([[0, 1, 1], [1, 0, 0]], np.int32)
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
    weights = {"words": floats(5, 8), "places": floats(4, 8), "kinds": floats(2, 8) if segments else None, "scale": floats(8), "shift": floats(8)}
    model = model_of("EmbedLayerNormalization", {"ids": ids, "segments": kinds} if segments else {"ids": ids}, weights, outputs=2, epsilon=1e-6)
    if not segments:
        model.graph.node[0].input.insert(1, "")
    model.graph.node[0].input.append("mask")
    model.graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.INT32, (2, 3)))
    check(model, [ids, kinds, mask] if segments else [ids, mask])


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("positions", [[1], [[0, 3, 2], [4, 4, 1]]], ids=str)
def test_rotary_embeddings(interleaved, positions):
    inputs = {"x": floats(2, 2, 3, 8), "positions": np.array(positions, np.int64)}
    model = model_of("RotaryEmbedding", inputs, {"cosines": floats(6, 4), "sines": floats(6, 4)}, interleaved=interleaved)
    check(model, list(inputs.values()))


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
def test_distances(metric):
    inputs = {"a": floats(4, 3), "b": floats(2, 3)}
    check(model_of("CDist", inputs, metric=metric), list(inputs.values()))


def test_inverses():
    x = floats(2, 3, 3) + 5 * np.eye(3, dtype=np.float32)
    check(model_of("Inverse", {"x": x}), [x])


@pytest.mark.parametrize("kind", ["GroupQueryAttention", "QAttention", "NhwcFusedConv", "BeamSearch"])
def test_what_one_runtime_alone_has_is_refused_by_name(kind):
    model = model_of(kind, {"x": floats(2, 3)})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, (2, 3)))
    with pytest.raises(Refused, match=rf"{kind}, .*before it was optimised"):
        li.load(model)
