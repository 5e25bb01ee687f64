"""The report of one small network, right and wrong, for the tests of its renderings."""

from __future__ import annotations

import dataclasses
import math

from leaky_interop.report.record import Error, NodeResult, OutputResult, Report, Slope


def error(absolute: float, ulp: float, limit: float, **fields) -> Error:
    ratio = absolute / limit if limit else (math.inf if absolute else 0.0)
    return Error(absolute=absolute, ulp=ulp, limit=limit, ratio=ratio, **fields)


EQUAL = error(0, 0, 0)


def node(name, op, rule, own, accumulated, source, line, *, shape=(2, 16, 8, 8), **fields) -> NodeResult:
    passed = all(e is None or e.ratio <= 1 for e in (own, accumulated)) and not fields.get("problem")
    return NodeResult(
        name=name,
        op=op,
        source=f"keras {source} {name!r}",
        adapter=f"leaky_interop/ops/{line}",
        shape=shape,
        dtype="float32",
        rule=rule,
        own=own,
        accumulated=accumulated,
        passed=passed,
        **fields,
    )


def digits(slope: float = 0.3) -> Report:
    """The report of a small trained network; with another slope than 0.3 the one of a wrong conversion."""
    right = slope == 0.3
    act1 = EQUAL if right else error(0.8125, 6815744, 0, index=(1, 3, 0, 5), expected=-0.9765625, received=-0.1640625)
    late = 1.0 if right else 3e4
    nodes = (
        node("conv1", "Conv(strides=(1, 1), pads=((1, 1), (1, 1)), dilations=(1, 1), groups=1)", "sum",
             error(4.77e-7, 3, 6.1e-6), error(4.77e-7, 3, 6.1e-6), "Conv2D", "conv.py:88"),
        node("batch_norm1", "BatchNorm(epsilon=0.001, axis=1)", "rounding",
             error(2.38e-7, 2, 4.77e-7), error(9.5e-7, 5, 7.9e-6), "BatchNormalization", "norm.py:41"),
        node("act1", f"LeakyRelu(negative_slope={slope})", "exact", act1,
             error(9.5e-7 if right else 0.8125, 5 if right else 6815744, 7.9e-6), "LeakyReLU", "activation.py:57"),
        node("pool1", "MaxPool(window=(2, 2), strides=(2, 2), pads=((0, 0), (0, 0)))", "exact",
             EQUAL, error(9.5e-7 * late, 5 * late, 7.9e-6), "MaxPooling2D", "pool.py:30", shape=(2, 16, 4, 4)),
        node("encoder.block.0.depthwise_convolution_with_a_long_name", "Conv(groups=16)", "sum",
             error(1.2e-7, 1, 8e-6), error(1.4e-6 * late, 9 * late, 2.1e-5), "DepthwiseConv2D", "conv.py:88",
             shape=(2, 32, 4, 4), covers=("pad", "depthwise")),
        node("act2", "LeakyRelu(negative_slope=0.1)", "exact", EQUAL, error(1.4e-6 * late, 9 * late, 2.1e-5),
             "LeakyReLU", "activation.py:57", shape=(2, 32, 4, 4)),
        node("flatten", "Reshape(shape=(-1, 512))", "exact", None, error(1.4e-6 * late, 9 * late, 2.1e-5),
             "Flatten", "shape.py:19", shape=(2, 512)),
        node("logits", "Dense()", "sum", error(9.5e-7, 4, 1.3e-5), error(2.9e-6 * late, 12 * late, 6.4e-5),
             "Dense", "dense.py:22", shape=(2, 10)),
        node("probabilities", "Softmax(axes=(1,))", "rounding", error(2.98e-8, 1, 1.19e-7),
             error(4.2e-7 * late, 7 * late, 3e-6), "Softmax", "activation.py:301", shape=(2, 10)),
    )  # fmt: skip
    end = error(4.2e-7, 7, 3e-6) if right else error(0.31, 5200000, 3e-6, index=(1, 4), expected=0.871, received=0.561)
    outputs = tuple(
        OutputResult(
            name="probabilities",
            runtime=f"onnxruntime, optimisations {level}",
            batch=batch,
            shape=(batch, 10),
            dtype="float32",
            error=end,
            passed=right,
        )
        for level in ("off", "default")
        for batch in (1, 7)
    )
    return Report(
        source="keras functional 'digits' (9 layers, 8,234 parameters)",
        target="onnx model 'digits' (opset 21, 9 nodes)",
        nodes=nodes,
        outputs=outputs,
        draws=("normal, seed 0, batch 1", "normal, seed 1, batch 7", "large, seed 2, batch 1"),
        slopes=(
            Slope(node="act1", value=slope, stated=False, origin="keras.layers.LeakyReLU(negative_slope)"),
            Slope(node="act2", value=0.1, stated=True, origin="keras.layers.LeakyReLU(negative_slope)"),
            Slope(node="prelu", value=(0.05, 0.25), stated=True, origin="keras.layers.PReLU(alpha)"),
        ),
        transposes=("input 'image' (2, 8, 8, 1) to channels first, because io='as_source'",),
        static=("height 8 of 'image': fixed by the Input layer",),
        notes=("keras.layers.LeakyReLU() was built without a slope: its default 0.3 is written out.",),
        versions={"leaky_interop": "0.1.0", "keras": "3.15.1", "onnx": "1.23.2", "onnxruntime": "1.32.0"},
        seconds={"convert": 0.0312, "verify": 0.418},
    )


PASSED, FAILED = digits(), digits(slope=0.01)


def replace_text(item, text):
    """The same record with every free text in it replaced."""
    if dataclasses.is_dataclass(item):
        fields = {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if f.name not in ("rule", "dtype")}
        return dataclasses.replace(item, **{name: replace_text(field, text) for name, field in fields.items()})
    if isinstance(item, tuple):
        return tuple(replace_text(each, text) for each in item)
    if isinstance(item, dict):
        return dict.fromkeys([text], replace_text(next(iter(item.values())), text))
    return text if isinstance(item, str) and item else item
