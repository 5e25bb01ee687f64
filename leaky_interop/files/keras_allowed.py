"""What a Keras configuration from a stranger may name: Keras' own classes that only compute, and nothing else.

Keras finds classes and functions by the names in the configuration; some of them run code (Lambda), unpickle
(TorchModuleWrapper), open a path or an address (lookup layers with a vocabulary, TFSMLayer), or are tools never meant
for a network (get_file). So every name is looked up in the lists here, and its module is written anew: no module or
registered name of the file reaches Keras. Classes of later Keras versions are added here once somebody read them.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from leaky_interop.errors import UnsafeFile, require

MOST_DEPTH = 250
MOST_VALUES = 5_000_000
MOST_INTEGER = 2**53

LAYERS = """
Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average
AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D
BatchNormalization Bidirectional CategoryEncoding CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization
Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D
Cropping1D Cropping2D Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense
Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention
HashedCrossing Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LayerNormalization LeakyReLU Masking
MaxNumBoundingBoxes MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp MultiHeadAttention
Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration
RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax Solarization
SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup Subtract
TextVectorization TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D
ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
INITIALIZERS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones
Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling Zeros
"""
QUANTIZERS = "AbsMaxQuantizer Float8QuantizationConfig Int4QuantizationConfig Int8QuantizationConfig"
POLICIES = """
DTypePolicy DTypePolicyMap FloatDTypePolicy Int4DTypePolicy QuantizedDTypePolicy QuantizedFloat8DTypePolicy
"""
# In the order in which a name is looked for where the file does not say which kind it means.
CLASSES: dict[str, frozenset[str]] = {
    "keras.layers": frozenset(LAYERS.split()),
    "keras.models": frozenset(("Model", "Sequential")),
    "keras.src.models.functional": frozenset(("Functional",)),
    "keras.src.applications.convnext": frozenset(("LayerScale", "StochasticDepth")),
    "keras.initializers": frozenset(INITIALIZERS.split()),
    "keras.regularizers": frozenset("L1 L2 L1L2 OrthogonalRegularizer".split()),
    "keras.constraints": frozenset("MaxNorm MinMaxNorm NonNeg UnitNorm".split()),
    "keras.dtype_policies": frozenset(POLICIES.split()),
    "keras.quantizers": frozenset(QUANTIZERS.split()),
}
# The reasons why some of Keras' own classes are not in the lists.
DENIED = {
    "Lambda": "it holds Python code",
    "TorchModuleWrapper": "it holds a pickled module",
    "TFSMLayer": "it opens a SavedModel at a path",
    "JaxLayer": "it holds functions",
    "FlaxLayer": "it holds functions",
    "__lambda__": "it holds Python code",
    "__typespec__": "it names a type to import",
}
CODE = {"Lambda": "keras.layers", "__lambda__": "builtins"}  # taken where the file is trusted
PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
OPERATIONS = re.compile(r"keras\.src\.ops\.(core|einops|image|linalg|math|nn|numpy)")
ACTIVATIONS = """
celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax
squareplus swish tanh tanh_shrink threshold
"""
POINTWISE = "abs absolute arctan ceil cos erf exp expm1 floor log log1p negative rsqrt sign sin sqrt square"
FUNCTIONS: dict[str, frozenset[str]] = {
    "keras.activations": frozenset(ACTIVATIONS.split()),
    "keras.ops": frozenset((ACTIVATIONS + POINTWISE).split()),
}
PATHS = ("vocabulary", "idf_weights", "filepath", "path", "url")  # keys whose text would be opened
TOKENS = ("vocabulary", "idf_weights")  # and whose lists hold what they say
CUSTOM = "If it is yours, pass custom_objects, or load it with keras.saving.load_model and convert it live"
TRUST = "If you trust whoever wrote the file, pass --trust, in Python trust=True: its code then runs"


def allowed(
    config: Any, custom: Mapping[str, Any] | None = None, name: str = "the model", *, trust: bool = False
) -> Any:
    """The configuration with every class and function found in the lists; `custom` holds the user's own by name.

    `trust`: Lambda layers stay, whose code is Python's bytecode.
    """
    checked = _Checker(name, custom or {}, trust)
    result = checked.value(config, "", 0)
    if checked.strangers:
        listed = ", ".join(sorted(checked.strangers))
        raise UnsafeFile(f"{name} names what is not Keras' own", where=listed, hint=CUSTOM)
    return result


class _Checker:
    def __init__(self, name: str, custom: Mapping[str, Any], trust: bool) -> None:
        self.name, self.custom, self.trust = name, custom, trust
        self.strangers: set[str] = set()
        self.values = 0

    def unsafe(self, what: str, why: str) -> UnsafeFile:
        hint = TRUST if what in CODE else CUSTOM
        return UnsafeFile(f"{self.name} has an unsafe configuration", where=what[:300], why=why, hint=hint)

    def value(self, value: Any, key: str, depth: int) -> Any:
        """Any part of the configuration, checked; `key` is what it stands under."""
        self.values += 1
        if depth > MOST_DEPTH or self.values > MOST_VALUES:
            raise self.unsafe("its structure", "it is too large or nested too deeply")
        if isinstance(value, list):
            key = "" if key in TOKENS else key
            return [self.value(child, key, depth + 1) for child in value]
        if isinstance(value, dict):
            inner = {k: self.value(v, k, depth + 1) for k, v in value.items() if k != "compile_config"}
            return self.object(inner, key) if "class_name" in value else inner
        if isinstance(value, str) and key in PATHS and value:
            raise self.unsafe(f"{key} {value!r}", "a file would be opened")
        if isinstance(value, int) and abs(value) > MOST_INTEGER:
            raise self.unsafe(f"{key} {str(value)[:40]}", "no size is that large")
        return value

    def object(self, given: dict[str, Any], key: str) -> dict[str, Any]:
        """A class or function that Keras would look up, with the module that we say."""
        class_name, registered, config = given["class_name"], given.get("registered_name"), given.get("config")
        if not isinstance(class_name, str):
            raise self.unsafe(f"class_name {class_name!r}", "it is not a name")
        if class_name in PLAIN:
            return given
        if self.trust and class_name in CODE:
            return {**given, "module": CODE[class_name], "registered_name": None}
        if class_name in DENIED and class_name not in self.custom:
            raise self.unsafe(class_name, DENIED[class_name])
        name = config if class_name == "function" else class_name
        if not isinstance(name, str):
            raise self.unsafe(f"function {name!r}", "it is not a name")
        if not isinstance(registered, str | None):
            raise self.unsafe(f"registered_name {registered!r}", "it is not a name")
        if registered in self.custom or name in self.custom:
            return given
        if registered not in (None, "", class_name, name):
            self.strangers.add(str(registered))
            return given
        module = self.function(name, given) if class_name == "function" else self.module(name, given, key)
        if module is None:
            self.strangers.add(name)
        return {**given, "module": module, "registered_name": None if class_name != "function" else name}

    def function(self, name: str, given: dict[str, Any]) -> str | None:
        module = str(given.get("module") or "")
        wanted = "keras.ops" if re.match(r"keras\.(src\.)?ops\b", module) else "keras.activations"
        return wanted if name in FUNCTIONS[wanted] else None

    def module(self, name: str, given: dict[str, Any], key: str) -> str | None:
        """The public module of one of Keras' own classes, or nothing."""
        module = str(given.get("module") or "")
        if OPERATIONS.fullmatch(module):
            return module if _is_operation(module, name) else None
        if module and not re.match(r"(tensorflow\.(python\.)?)?(tf_)?keras\b", module):
            return None
        found = [public for public, names in CLASSES.items() if name in names]
        if key.endswith("initializer") and "keras.initializers" in found:
            return "keras.initializers"
        said = [public for public in found if public.rpartition(".")[2] in module.split(".")]
        return next(iter(said or found), None)


def _is_operation(module: str, name: str) -> bool:
    """Whether Keras defines a tensor operation of this name in that very module."""
    found = getattr(importlib.import_module(module), name, None)
    return isinstance(found, type) and issubclass(found, require("keras").Operation) and found.__module__ == module
