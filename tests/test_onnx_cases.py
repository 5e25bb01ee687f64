"""The cases that the onnx package brings for every operator: each is read, computed and converted as it says, or refused.

Their expected results come from the specification's own reference, not from a runtime. A case runs as it is, all of its
inputs inputs; where numbers among them decide sizes or axes, or it is refused, it also runs with all but its data known.
"""

import functools
import re
import warnings

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.deferring import Deferred
from leaky_interop.errors import Refused, Unsupported
from leaky_interop.frameworks.base import DTYPES, NARROW
from leaky_interop.numeric import is_float

TARGETS = ("keras", "torch", "onnx")
REFUSED = (  # every reason that a case may be refused for
    "onnxruntime's CPU provider has no kernel", "takes a shape that the network computes", "a scale that the network computes", "numbers that the network computes",
    "a number that the network computes", "the element type",
    "Attention with (past keys|lengths|softcap)", "(left_window_size|right_window_size|qk_matmul_output_mode)=", "saturate=0",
    "stays active at inference",
    "is no tensor", "with sequence lengths", "is read without this result", "a running statistic|statistics that",
    "of a size that is known only at run time", "peephole", "no operator takes",
    "decodes an image file", "classical machine learning", "draws random numbers", "mel filters that the network computes",
    "has no shape", "the result's size would depend", "sizes must follow from", "only its result converts",
    "of classical machine learning", "branches differ in rank",
)  # fmt: skip
NOT_COMPUTED = {  # what a target does not compute as the case says, and why
    "test_reduce_max_empty_set": (TARGETS, "numpy, torch and Keras know no largest of nothing"),
    "test_reduce_min_empty_set": (TARGETS, "numpy, torch and Keras know no smallest of nothing"),
    "test_reduce_max_empty_set_bool": (("onnx", "keras"), "onnxruntime reduces no empty axis of booleans; as above"),
    "test_resize_downsample_scales_linear_align_corners": (TARGETS, "read as onnxruntime and the older text have it: sizes align"),
    "test_resize_downsample_scales_cubic_align_corners": (TARGETS, "as above"),
    **dict.fromkeys(
        (f"test_reduce_{kind}_empty_set{more}" for more in ("", "_expanded", "_non_reduced_axis_zero", "_bool")
         for kind in ("sum", "prod", "l1", "l2", "log_sum", "log_sum_exp", "sum_square")),
        (("keras",), "nothing is taken out of data without elements"),
    ),
    "test_reshape_allowzero_reordered": (("keras",), "as above"),
    **dict.fromkeys(
        (f"test_strnormalizer_export_monday_{what}" for what in (
            "casesensintive_lower", "casesensintive_upper", "empty_output", "insensintive_upper_twodim")),
        (("onnx",), "onnxruntime wants the system to have the locale en_US"),
    ),
    "test_top_k_uint64": (("onnx",), "onnxruntime has no kernel"),
    "test_pow_types_float32_uint64": (("keras",), "torch, which computes, takes no uint64"),
    **dict.fromkeys(
        (f"test_bitshift_{way}_int{bits}_{what}" for way in ("left", "right") for bits in (8, 32, 64)
         for what in ("shift_ge_width", "negative_shift")),
        (("keras",), "TensorFlow does not say what such a shift gives"),
    ),
    **dict.fromkeys(
        ("test_top_k_same_values", "test_top_k_same_values_largest", "test_top_k_same_values_2d"),
        (("keras", "torch"), "which of equal entries comes first is not said there"),
    ),
}
UNREADABLE = {  # a size of 0 in an ONNX file is read as one that is open, which older exporters mean by it
    "test_reshape_allowzero_reordered", "test_split_zero_size_splits_opset13", "test_split_zero_size_splits_opset18",
}  # fmt: skip
REFUSED += (  # by name: see ops/refused.py; and numbers that only a run tells
    "which draws random numbers", "which decodes an image file", "of classical machine learning", "mel filters that the network",
)  # fmt: skip
NOT_COMPUTED |= dict.fromkeys(
    (*(f"test_dft{kind}{opset}" for kind in ("", "_axis", "_inverse", "_rfft", "_irfft") for opset in ("", "_opset19")),
     "test_stft", "test_stft_with_window"),
    (("onnx",), "onnxruntime's transform of a length that is no power of 2 errs where the case has an exact 0"),
)  # fmt: skip


@functools.cache
def cases():
    """Name -> model, inputs, outputs; those of tensors of numbers only."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return {c.name: (c.model, *c.data_sets[0]) for c in found if all(map(_is_tensor, [*c.data_sets[0][0], *c.data_sets[0][1]]))}


def _is_tensor(data):
    return data is not None and not isinstance(data, list | dict) and array(data).dtype.name in DTYPES | NARROW


def array(data):
    return numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else np.asarray(data)


def readings(model, inputs):
    """Graphs and their inputs: as it is, and with all but the first floats as constants where that reads it otherwise.

    Raises Refused where neither is read.
    """
    found, refused = [], None
    try:
        found.append((li.load(model), inputs))
    except Refused as error:
        refused = error
    if len(inputs) > 1 and (refused or any(isinstance(n.op, Deferred) for n in found[0][0].nodes)):
        try:
            found.append(known_but_data(model, inputs))
        except Refused as error:
            refused = error
    if not found:
        raise refused
    return found


def known_but_data(model, inputs):
    """The graph whose only input is the first of floats, and that input."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    kept = next((i for i, a in enumerate(inputs) if a.dtype.kind == "f"), 0)
    for i, info in enumerate(list(fixed.graph.input)):
        if i != kept:
            fixed.graph.initializer.append(numpy_helper.from_array(inputs[i], info.name))
            fixed.graph.input.remove(info)
    return li.load(fixed), [inputs[kept]]


def same(expected, received):
    assert len(received) == len(expected)
    for e, r in zip(expected, received, strict=True):
        assert (r.shape, r.dtype) == (e.shape, e.dtype)
        if is_float(e.dtype) and e.dtype.name not in NARROW:
            loose = e.dtype.itemsize < 4  # the reference rounds in other places
            wide = (a.astype(np.float64) for a in (r, e))
            np.testing.assert_allclose(*wide, rtol=2e-2 if loose else 1e-3, atol=5e-3 if loose else 1e-5)
        else:
            np.testing.assert_array_equal(r.astype(np.float64) if is_float(e.dtype) else r, e.astype(np.float64) if is_float(e.dtype) else e)


@pytest.mark.parametrize("name", cases())
def test_a_case_of_the_specification(name):
    if name in UNREADABLE:
        pytest.skip("see above")
    model, inputs, outputs = cases()[name]
    expected = [array(o) for o in outputs]
    try:
        found = readings(model, [array(i) for i in inputs])
    except Unsupported as error:
        pytest.skip(str(error))
    except Refused as error:
        assert re.search("|".join(REFUSED), str(error)), error
        pytest.skip(str(error))
    lacking, _ = NOT_COMPUTED.get(name, ((), ""))
    for graph, arrays in found:
        if len(lacking) < len(TARGETS):
            same(expected, graph.run(*arrays))
        for target in TARGETS:
            if target not in lacking:
                try:
                    converted = transfer_graph(graph, target)
                except Refused:
                    continue
                same(expected, li.run(converted.model, arrays))


def test_most_cases_are_read_as_they_are():
    """A floor, so that cases do not fall silent."""
    graphs = 0
    for model, _, _ in cases().values():
        try:
            graphs += bool(li.load(model))
        except (Refused, Unsupported, ValueError):
            continue
    assert graphs >= 1250


@pytest.mark.parametrize("kind", ["COMPLEX64", "FLOAT6E2M3", "FLOAT6E3M2"])
def test_element_types_that_nothing_holds_are_refused(kind):
    kind = getattr(onnx.TensorProto, kind)
    ports = [onnx.helper.make_tensor_value_info("x", 1, [2]), onnx.helper.make_tensor_value_info("y", kind, [2])]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Cast", ["x"], ["y"], to=kind)], "g", ports[:1], ports[1:])
    with pytest.raises(Refused, match="element type"):
        li.load(onnx.helper.make_model(graph, ir_version=13))


def test_an_attribute_that_nobody_reads_is_refused_and_not_dropped(monkeypatch):
    from leaky_interop.op import IMPORTERS
    from leaky_interop.ops.relu import Relu

    monkeypatch.setitem(IMPORTERS, ("onnx", "LeakyRelu"), [(1, lambda node, x: Relu()(x))])
    ports = [onnx.helper.make_tensor_value_info(n, 1, [2]) for n in "xy"]
    node = onnx.helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.25)
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:])
    with pytest.raises(Refused, match=r"alpha=0\.25"):
        li.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 16)], ir_version=8))
