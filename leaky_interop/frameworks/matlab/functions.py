"""MATLAB's layer functions: their arguments in order, the defaults, and what the table of a layer array says of each.

Facts from the reference pages of the Deep Learning Toolbox, one page a function. Defaults differ from other frameworks'
in places: a pooling layer's stride is 1, not the size of its window, and an average counts padded zeros.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .layers import Layer

Check = Callable[[Any], Any]  # the value as it is kept; raises ValueError with what it should be


# --- checks -----------------------------------------------------------------------------------------------------------


def numbers(value: Any) -> np.ndarray:
    """Numbers in MATLAB's order, column by column."""
    if isinstance(value, str) or not isinstance(value, float | np.ndarray):
        raise ValueError("numbers")
    return np.asarray(value, float).reshape(-1, order="F")


def number(value: Any) -> float:
    found = numbers(value)
    if found.size != 1:
        raise ValueError("one number")
    return float(found[0])


def _whole(value: Any, least: int) -> tuple[int, ...]:
    found = numbers(value)
    if not all(math.isfinite(n) and n == int(n) and least <= n < 2**31 for n in found):
        raise ValueError(f"whole numbers, {least} or more")
    return tuple(int(n) for n in found)


def count(value: Any) -> int:
    found = _whole(value, 1)
    if len(found) != 1:
        raise ValueError("one whole number")
    return found[0]


def pair(value: Any) -> tuple[int, int]:
    """[h w], or one number for both."""
    found = _whole(value, 1)
    if len(found) not in (1, 2):
        raise ValueError("one or two whole numbers")
    return found[0], found[-1]


def sides(value: Any) -> Any:
    """'same', or top, bottom, left and right: as one number, as [vertical horizontal], or all four."""
    if isinstance(value, str):
        return one_of("same")(value)
    found = _whole(value, 0)
    if len(found) not in (1, 2, 4):
        raise ValueError("'same', or one, two or four whole numbers")
    return found if len(found) == 4 else (found[0], found[0], found[-1], found[-1])


def image_size(value: Any) -> tuple[int, ...]:
    found = _whole(value, 1)
    if len(found) not in (2, 3):
        raise ValueError("[height width channels]")
    return found if len(found) == 3 else (*found, 1)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def one_of(*words: str) -> Check:
    def check(value: Any) -> str:
        found = next((w for w in words if isinstance(value, str) and w == value.lower()), None)
        if found is None:
            raise ValueError(" or ".join(map(repr, words)))
        return found

    return check


def either(*checks: Check) -> Check:
    """What the first check that takes it makes of a value."""

    def check(value: Any) -> Any:
        expected = []
        for one in checks:
            try:
                return one(value)
            except ValueError as error:
                expected.append(str(error))
        raise ValueError(", or ".join(expected))

    return check


def array(value: Any) -> np.ndarray | None:
    """A learnable's numbers; [] is none."""
    if not isinstance(value, float | np.ndarray):
        raise ValueError("numbers")
    made = np.atleast_2d(np.asarray(value))
    return made if made.size else None


def anything(value: Any) -> Any:
    return value


def switch(value: Any) -> bool:
    return bool(number(value))


# --- descriptions -----------------------------------------------------------------------------------------------------


def num2str(x: float) -> str:
    """A number as MATLAB's num2str has it: at least five significant digits, four of them behind the point."""
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else ("Inf" if x > 0 else "-Inf")
    if x == int(x):
        return str(int(x))
    digits = min(max(math.floor(math.log10(abs(x))) + 5, 5), 16)
    return f"{x:.{digits}g}"


def _by(*sizes: int) -> str:
    return "x".join(map(str, sizes))


def _vector(found: Any) -> str:
    return f"'{found}'" if isinstance(found, str) else f"[{'  '.join(map(str, found))}]"


def _window(layer: Layer) -> str:
    dilation = layer.settings.get("DilationFactor", (1, 1))
    middle = "" if dilation == (1, 1) else f", dilation factor {_vector(dilation)},"
    return f"with stride {_vector(layer.settings['Stride'])}{middle} and padding {_vector(layer.settings['Padding'])}"


def _channels(layer: Layer, axis: int) -> str:
    """The channels of a filter, where the layer itself knows them."""
    known = layer.settings.get("NumChannels", "auto")
    weights = layer.settings["Weights"]
    if weights is not None:
        known = weights.shape[axis] if axis < weights.ndim else 1
    return "" if known == "auto" else f"x{known}"


def _convolution(layer: Layer) -> str:
    return f"{layer.NumFilters} {_by(*layer.FilterSize)}{_channels(layer, 2)} convolutions {_window(layer)}"


def _grouped(layer: Layer) -> str:
    size, each, groups = _by(*layer.FilterSize), layer.NumFiltersPerGroup, layer.NumGroups
    if groups == "channel-wise":
        return f"channel-wise {each} {size} convolutions {_window(layer)}"
    return f"{groups} groups of {each} {size}{_channels(layer, 2)} convolutions {_window(layer)}"


def _transposed(layer: Layer) -> str:
    size = f"{_by(*layer.FilterSize)}{_channels(layer, 3)}"
    cropping = f"stride {_vector(layer.Stride)} and cropping {_vector(layer.Cropping)}"
    return f"{layer.NumFilters} {size} transposed convolutions with {cropping}"


def _pooling(kind: str) -> Callable[[Layer], str]:
    return lambda layer: f"{_by(*layer.PoolSize)} {kind} pooling {_window(layer)}"


def _norm(kind: str) -> Callable[[Layer], str]:
    def describe(layer: Layer) -> str:
        known = next((layer.settings[r].size for r in ("Offset", "Scale") if layer.settings[r] is not None), None)
        return f"{kind} normalization" + (f" with {known} channels" if known else "")

    return describe


def _images(layer: Layer) -> str:
    return f"{_by(*layer.InputSize)} images{_normalised(layer)}"


def _features(layer: Layer) -> str:
    return f"{layer.InputSize} features{_normalised(layer)}"


def _normalised(layer: Layer) -> str:
    return "" if layer.Normalization == "none" else f" with '{layer.Normalization}' normalization"


# --- the table --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Function:
    """One layer function."""

    title: str  # the type that MATLAB's table names
    stem: str  # what MATLAB calls a layer that has no name
    describe: Callable[[Layer], str]
    required: Mapping[str, Check] = dataclasses.field(default_factory=dict)  # positional
    optional: Mapping[str, tuple[Any, Check]] = dataclasses.field(default_factory=dict)  # positional, or by name
    named: Mapping[str, tuple[Any, Check]] = dataclasses.field(default_factory=dict)  # by name only: default and check
    learnables: tuple[str, ...] = ()
    inputs: bool = False  # it takes as many inputs as its first argument says
    images: bool = False  # it takes nothing but images
    computes: bool = True

    @property
    def checks(self) -> dict[str, Check]:
        """The check of every argument."""
        others = {**self.optional, **self.named}
        return {**self.required, **{name: check for name, (_, check) in others.items()}}

    @property
    def defaults(self) -> dict[str, Any]:
        return {name: default for name, (default, _) in {**self.optional, **self.named}.items()}


def _learnable(*roles: str, training: tuple[str, ...] = ()) -> dict[str, tuple[Any, Check]]:
    """The arguments of learnables: their numbers, and those that only training reads."""
    found: dict[str, tuple[Any, Check]] = {role: (None, array) for role in roles}
    for role in training:
        found |= {f"{role}{what}": (None, anything) for what in ("LearnRateFactor", "L2Factor")}
    return found


INITIALISERS = one_of("glorot", "he", "narrow-normal", "zeros", "ones")
WEIGHTED = {
    **_learnable("Weights", "Bias", training=("Weight", "Bias")),
    "WeightsInitializer": ("glorot", INITIALISERS),
    "BiasInitializer": ("zeros", one_of("zeros", "narrow-normal", "ones")),
}
SCALED = {
    **_learnable("Offset", "Scale", training=("Offset", "Scale")),
    "OffsetInitializer": ("zeros", one_of("zeros", "ones", "narrow-normal")),
    "ScaleInitializer": ("ones", one_of("ones", "zeros", "narrow-normal")),
    "NumChannels": ("auto", either(one_of("auto"), count)),
    "Epsilon": (1e-5, number),
}
STRIDE: dict[str, tuple[Any, Check]] = {"Stride": ((1, 1), pair)}
SIDES: dict[str, tuple[Any, Check]] = {"Padding": ((0, 0, 0, 0), sides)}
PADDING_MODE = one_of("symmetric-include-edge", "symmetric-exclude-edge", "replicate")
SLIDING = {
    **STRIDE,
    **SIDES,
    "DilationFactor": ((1, 1), pair),
    "NumChannels": ("auto", either(one_of("auto"), count)),
    "PaddingValue": (0.0, either(number, PADDING_MODE)),
    **WEIGHTED,
}
STATISTICS = _learnable("Mean", "StandardDeviation", "Min", "Max")
NORMALIZATIONS = one_of("zerocenter", "zscore", "rescale-symmetric", "rescale-zero-one", "none")
INPUT = {
    **STATISTICS,
    "NormalizationDimension": ("auto", one_of("auto", "channel", "element", "all")),
    "SplitComplexInputs": (False, switch),
}
NORMS = ("Weights", "Bias")


def _activation(title: str, stem: str, described: Any = None, **optional: tuple[Any, Check]) -> Function:
    shown = described if callable(described) else lambda layer: described or title
    return Function(title, stem, shown, optional=optional)


def _several(title: str, stem: str, described: Callable[[Layer], str], **required: Check) -> Function:
    return Function(title, stem, described, required=required, inputs=True)


FUNCTIONS: dict[str, Function] = {
    "imageInputLayer": Function(
        "Image Input", "imageinput", _images, required={"InputSize": image_size}, learnables=tuple(STATISTICS),
        named={"Normalization": ("zerocenter", NORMALIZATIONS), "DataAugmentation": ("none", anything), **INPUT},
    ),
    "featureInputLayer": Function(
        "Feature Input", "input", _features, required={"InputSize": count}, learnables=tuple(STATISTICS),
        named={"Normalization": ("none", NORMALIZATIONS), **INPUT},
    ),
    "convolution2dLayer": Function(
        "2-D Convolution", "conv", _convolution, required={"FilterSize": pair, "NumFilters": count}, named=SLIDING,
        learnables=NORMS,
    ),
    "groupedConvolution2dLayer": Function(
        "2-D Grouped Convolution", "groupedconv", _grouped, named=SLIDING, learnables=NORMS,
        required={"FilterSize": pair, "NumFiltersPerGroup": count, "NumGroups": either(one_of("channel-wise"), count)},
    ),
    "transposedConv2dLayer": Function(
        "2-D Transposed Convolution", "transposed-conv", _transposed, learnables=NORMS,
        required={"FilterSize": pair, "NumFilters": count},
        named={**STRIDE, "Cropping": ((0, 0, 0, 0), sides), "NumChannels": SLIDING["NumChannels"], **WEIGHTED},
    ),
    "fullyConnectedLayer": Function(
        "Fully Connected", "fc", lambda layer: f"{layer.OutputSize} fully connected layer",
        required={"OutputSize": count}, named=WEIGHTED, learnables=NORMS,
    ),
    "batchNormalizationLayer": Function(
        "Batch Normalization", "batchnorm", _norm("Batch"), learnables=("Offset", "Scale", "TrainedMean", "TrainedVariance"),
        named={**SCALED, **_learnable("TrainedMean", "TrainedVariance"), "MeanDecay": (0.1, number), "VarianceDecay": (0.1, number)},
    ),
    "layerNormalizationLayer": Function(
        "Layer Normalization", "layernorm", _norm("Layer"), learnables=("Offset", "Scale"),
        named={**SCALED, "OperationDimension": ("auto", one_of("auto", "channel-only", "spatial-channel", "batch-excluded"))},
    ),
    "crossChannelNormalizationLayer": Function(
        "Cross Channel Normalization", "crossnorm",
        lambda layer: f"cross channel normalization with {layer.WindowChannelSize} channels per element",
        required={"WindowChannelSize": count}, named={"Alpha": (1e-4, number), "Beta": (0.75, number), "K": (2.0, number)},
    ),
    "reluLayer": _activation("ReLU", "relu"),
    "leakyReluLayer": _activation(
        "Leaky ReLU", "leakyrelu", lambda layer: f"Leaky ReLU with scale {num2str(layer.Scale)}", Scale=(0.01, number)
    ),
    "clippedReluLayer": Function(
        "Clipped ReLU", "clippedrelu", lambda layer: f"Clipped ReLU with ceiling {num2str(layer.Ceiling)}",
        required={"Ceiling": number},
    ),
    "eluLayer": _activation("ELU", "elu", lambda layer: f"ELU with Alpha {num2str(layer.Alpha)}", Alpha=(1.0, number)),
    "tanhLayer": _activation("Tanh", "tanh", "Hyperbolic tangent"),
    "sigmoidLayer": _activation("Sigmoid", "sigmoid", "sigmoid"),
    "swishLayer": _activation("Swish", "swish"),
    "geluLayer": Function("GELU", "gelu", lambda layer: "GELU", named={"Approximation": ("none", one_of("none", "tanh"))}),
    "softmaxLayer": _activation("Softmax", "softmax", "softmax"),
    "preluLayer": Function(
        "PReLU", "prelu", lambda layer: "PReLU", named=_learnable("Alpha", training=("Alpha",)), learnables=("Alpha",)
    ),
    "maxPooling2dLayer": Function(
        "2-D Max Pooling", "maxpool", _pooling("max"), required={"PoolSize": pair},
        named={**STRIDE, **SIDES, "HasUnpoolingOutputs": (False, switch)},
    ),
    "averagePooling2dLayer": Function(
        "2-D Average Pooling", "avgpool2d", _pooling("average"), required={"PoolSize": pair},
        named={**STRIDE, **SIDES, "PaddingValue": (0.0, either(number, one_of("mean")))},
    ),
    "globalAveragePooling2dLayer": _activation("2-D Global Average Pooling", "gapool", "2-D global average pooling"),
    "globalMaxPooling2dLayer": _activation("2-D Global Max Pooling", "gmpool", "2-D global max pooling"),
    "dropoutLayer": _activation(
        "Dropout", "dropout", lambda layer: f"{num2str(100 * layer.Probability)}% dropout", Probability=(0.5, number)
    ),
    "flattenLayer": _activation("Flatten", "flatten"),
    "additionLayer": _several(
        "Addition", "addition", lambda layer: f"Element-wise addition of {layer.NumInputs} inputs", NumInputs=count
    ),
    "multiplicationLayer": _several(
        "Multiplication", "multiplication", lambda layer: f"Element-wise multiplication of {layer.NumInputs} inputs",
        NumInputs=count,
    ),
    "depthConcatenationLayer": _several(
        "Depth concatenation", "depthcat", lambda layer: f"Depth concatenation of {layer.NumInputs} inputs", NumInputs=count
    ),
    "classificationLayer": Function(
        "Classification Output", "classoutput", lambda layer: "crossentropyex", computes=False,
        named={"Classes": (None, anything), "ClassWeights": (None, anything)},
    ),
    "regressionLayer": Function(
        "Regression Output", "regressionoutput", lambda layer: "mean-squared-error", computes=False,
        named={"ResponseNames": (None, anything)},
    ),
}  # fmt: skip

for _name, _function in FUNCTIONS.items():
    if "2d" in _name or _name in ("crossChannelNormalizationLayer", "depthConcatenationLayer"):
        FUNCTIONS[_name] = dataclasses.replace(_function, images=True)
