"""Faults that somebody could make in an adapter, each with the tests that must turn red: `python -m tests.mutants`."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Fault:
    """A text of one module that is replaced, and tests of which at least one must fail then.

    module: a file without its .py, or a package whose files hold the text in exactly one place.
    """

    what: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...]

    def file(self, root: Path) -> Path:
        """The file below `root` that holds the text once; `LookupError` where it is not exactly one."""
        folder = root / "leaky_interop" / self.module
        files = [path for path in (folder.with_suffix(".py"), *sorted(folder.rglob("*.py"))) if path.is_file()]
        counts = {path: path.read_text(encoding="utf-8").count(self.old) for path in files}
        if sum(counts.values()) != 1:
            raise LookupError(f"{self.what}: {self.old!r} stands {sum(counts.values())} times in {self.module}")
        return next(path for path, count in counts.items() if count)

    def plant(self, root: Path) -> tuple[Path, str]:
        """Replace the text; the file and what it held before."""
        path = self.file(root)
        before = path.read_text(encoding="utf-8")
        path.write_text(before.replace(self.old, self.new), encoding="utf-8")
        return path, before


def relu(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/test_ops_relu.py::{name}" for name in names)


def idioms(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/test_passes_idioms.py::{name}" for name in names)


def spellings(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/test_spellings.py::{name}" for name in names)


def texts(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/test_spellings_texts.py::{name}" for name in names)


def files(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/test_spellings_files.py::{name}" for name in names)


R1_KERAS, R1_TORCH, R1_ONNX = (
    f"test_R1_{name}" for name in
    ("keras_layer_has_any_slope_that_is_not_negative", "torch_leaky_relu_has_any_slope", "onnx_leaky_relu_has_any_slope")
)  # fmt: skip
R2 = "test_R2_a_slope_that_is_left_out_is_the_sources_own_default"
R8 = "test_R8_a_float64_slope_keeps_its_64_bits_in_onnx"
LEFT_OUT = "test_a_slope_that_is_left_out_is_the_systems_own_default"
LIVE = "test_the_default_is_the_one_in_the_frameworks_own_signature"
BACK = "test_what_is_written_is_read_back"

FAULTS = (
    # Keras
    Fault("Keras, read: the slope is dropped for the default", "ops/activation",
          "LeakyRelu(negative_slope=float(layer.negative_slope))", "LeakyRelu(negative_slope=0.3)", relu(R1_KERAS)),
    Fault("Keras, written: the slope is dropped", "ops/activation",
          "keras.layers.LeakyReLU(negative_slope=op.negative_slope)", "keras.layers.LeakyReLU()", relu(R1_TORCH)),
    Fault("Keras, written: a negative slope loses its sign", "ops/activation",
          "keras.ops.leaky_relu(x, op.negative_slope)", "keras.ops.leaky_relu(x, abs(op.negative_slope))",
          relu("test_R1_a_negative_slope_becomes_a_function_in_keras")),
    Fault("Keras, read: ReLU's slope and threshold are swapped", "ops/relu",
          "CappedLeakyRelu(negative_slope=slope, threshold=threshold, max_value=cap)(x)",
          "CappedLeakyRelu(negative_slope=threshold, threshold=slope, max_value=cap)(x)",
          relu("test_R9_keras_relu_with_all_its_settings")),
    Fault("Keras, read: ReLU's threshold counts for nothing", "ops/relu", "if threshold == 0 and cap is None:",
          "if cap is None:", relu("test_R9_keras_relu_with_all_its_settings")),
    Fault("Keras 2 files: another default", "files/keras_legacy", "0.3 if alpha is None else",
          "0.2 if alpha is None else", ("tests/test_files_keras.py::test_keras_2_leaky_relu_keeps_its_slope",)),
    # PyTorch
    Fault("PyTorch, read: the slope is dropped for the default", "ops/activation",
          "LeakyRelu(negative_slope=float(negative_slope))", "LeakyRelu(negative_slope=0.01)", relu(R1_TORCH)),
    Fault("PyTorch, read: RReLU has its lower bound", "ops/activation", "(float(lower) + float(upper)) / 2",
          "float(lower)", relu("test_R11_rrelu_in_evaluation_is_its_mean_slope")),
    Fault("PyTorch, read: RReLU's bounds are subtracted", "ops/activation", "float(lower) + float(upper)",
          "float(upper) - float(lower)", relu("test_R11_rrelu_in_evaluation_is_its_mean_slope")),
    Fault("PyTorch, written: the slope is dropped", "ops/activation", "torch.nn.LeakyReLU(op.negative_slope)",
          "torch.nn.LeakyReLU()", relu(R1_ONNX)),
    Fault("PyTorch, written: a slope of 32 bits in float64", "ops/activation", "torch.nn.LeakyReLU(op.negative_slope)",
          "torch.nn.LeakyReLU(float(np.float32(op.negative_slope)))", relu("test_R8_every_float_goes_through_every_framework")),
    # ONNX
    Fault("ONNX, read: 32 bits are taken for the number that was meant", "ops/activation",
          "node.alpha if x.dtype == np.float64 else shortest(node.alpha)", "node.alpha", relu(R2)),
    Fault("ONNX, read: float64 has the number that was meant", "ops/activation",
          "node.alpha if x.dtype == np.float64 else shortest(node.alpha)", "shortest(node.alpha)",
          files("test_a_float64_leaky_relu_of_onnx_has_the_number_that_32_bits_hold")),
    Fault("ONNX, written: alpha is dropped", "ops/activation", "onnx.LeakyRelu(x, alpha=op.negative_slope)",
          "onnx.LeakyRelu(x)", relu(R1_TORCH)),
    Fault("ONNX, written: max(x, a*x) for slopes above 1", "ops/activation",
          "onnx.Where(onnx.Less(x, 0.0), onnx.Mul(x, op.negative_slope), x)", "onnx.Max(x, onnx.Mul(x, op.negative_slope))",
          relu(R8)),
    Fault("ONNX, written: a slope of 32 bits in float64", "ops/activation", "onnx.Mul(x, op.negative_slope)",
          "onnx.Mul(x, float(np.float32(op.negative_slope)))", relu(R8)),
    Fault("ONNX, read: an old PRelu's slope lies along the last axis", "ops/activation",
          "slope.shape == (1,) or x.rank < 3", "slope.shape == (1,) or x.rank < 9",
          relu("test_R10_before_opset_7_a_slope_belongs_to_a_channel")),
    # the definition, and what is recognised as it
    Fault("The definition is max(x, a*x)", "ops/activation", "np.where(x >= 0, x, low)", "np.maximum(x, low)", relu(R1_TORCH)),
    Fault("Idioms: the branches are swapped", "passes/idioms", "low, high = (first, second) if", "high, low = (first, second) if",
          idioms("test_a_spelling_that_is_leaky_relu_is_recognised")),
    Fault("Idioms: 0 > x is taken for x <= 0", "passes/idioms", "MIRRORED = {Less: Greater, Greater: Less,",
          "MIRRORED = {Less: Greater, Greater: LessOrEqual,", idioms("test_a_spelling_that_is_leaky_relu_is_recognised")),
    Fault("Idioms: max(x, a*x) for slopes above 1", "passes/idioms", "if (larger and slope > 1) or (not larger and slope < 1):",
          "if not larger and slope < 1:", idioms("test_a_spelling_that_is_not_stays_and_would_have_changed_a_number")),
    Fault("Idioms: max(x, 0*x), which is NaN at infinity", "passes/idioms", "same = slope > 0", "same = slope >= 0",
          idioms("test_a_spelling_that_is_not_stays_and_would_have_changed_a_number")),
    Fault("Idioms: where(x > 0, x, a*x) for slopes below 0", "passes/idioms",
          "same = kind in ZERO_IS_ABOVE or math.copysign(1, value) > 0", "same = True",
          idioms("test_a_spelling_that_is_not_stays_and_would_have_changed_a_number")),
    # Chainer
    Fault("Chainer, read: the slope is dropped for the default", "ops/activation",
          "LeakyRelu(negative_slope=float(call.slope))", "LeakyRelu(negative_slope=0.2)",
          ("tests/test_chainer.py::test_slopes_are_those_of_chainer_to_the_last_bit",)),
    # spellings
    Fault("Spellings: Keras' function has the layer's default", "spellings/python_rows",
          'system="Keras 3", default=0.2, held="tensor", formula=ABOVE,\n        source="keras/src/ops/nn.py',
          'system="Keras 3", default=0.3, held="tensor", formula=ABOVE,\n        source="keras/src/ops/nn.py',
          spellings(LEFT_OUT, LIVE)),
    Fault("Spellings: the slope is the first argument", "spellings/python_source", "position: int = 1", "position: int = 0",
          texts("test_python_source_is_read_without_running_it")),
    Fault("Spellings: a name that is bound twice is believed", "spellings/python_source", "if bound[name] == 1}",
          "if bound[name] >= 1}", texts("test_python_source_is_read_without_running_it")),
    Fault("Spellings: 32 bits are held in 64", "spellings/spelling", 'if self.held == "float32" else', 'if self.held == "" else',
          spellings(BACK)),
    Fault("Spellings: a slope beyond 32 bits is taken", "spellings/spelling", "if math.isinf(held) and math.isfinite(slope):",
          "if False:", spellings("test_refusals_say_why")),
    Fault("Spellings: a negative slope is taken where it is refused", "spellings/spelling", '"negative": lambda a: a < 0',
          '"negative": lambda a: a < -1e300', spellings("test_refusals_say_why")),
    Fault("Spellings: Darknet has TensorFlow's slope", "spellings/darknet", "only=0.1", "only=0.2",
          texts("test_darknet_lists_every_leaky_layer")),
    Fault("Spellings: Caffe's slope is dropped", "spellings/caffe", 'parameter.get("negative_slope", [])',
          'parameter.get("slope", [])', texts("test_caffe_reads_old_and_new_layers")),
    Fault("Spellings: MXNet has ONNX' default", "spellings/mxnet", "default=0.25", "default=0.01", spellings(LEFT_OUT)),
    Fault("Spellings: MXNet's exponent is turned round", "spellings/mxnet", "value / scale if small else value * scale",
          "value * scale if small else value / scale", texts("test_mxnet_reads_numbers_as_its_own_code_does")),
    Fault("Spellings: ncnn's slope is parameter 1", "spellings/ncnn", 'settings.get("0"), ""', 'settings.get("1"), ""',
          texts("test_ncnn_reads_numbers_as_its_own_code_does")),
    Fault("Spellings: an alpha of 0 is left out of a .tflite", "spellings/tflite", "builder.ForceDefaults(True)",
          "builder.ForceDefaults(False)", spellings(BACK)),
    Fault("Spellings: OpenVINO's slope is the first operand", "spellings/openvino", 'net.inputs.get((key, "1"), "")',
          'net.inputs.get((key, "0"), "")', texts("test_openvino_reads_constants_of_every_type")),
    Fault("Spellings: Core ML's leaky ReLU has ReLU's number", "spellings/coreml", '"leakyReLU": (15,', '"leakyReLU": (10,',
          texts("test_core_ml_of_apples_own_tools")),
    Fault("Spellings: TensorFlow's alpha is another field", "spellings/tensorflow", '"f": (4, "float")', '"f": (3, "float")',
          files("test_tensorflow_computes_what_is_written")),
    Fault("Spellings: max(x, a*x) for slopes above 1", "spellings/spelling", "lambda x, a: np.where(x > 0, x, a * x)",
          "lambda x, a: np.maximum(x, a * x)", spellings("test_formulas_agree_where_they_should_and_nowhere_else")),
)  # fmt: skip
