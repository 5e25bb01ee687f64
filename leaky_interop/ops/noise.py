"""Noise that training adds: at inference each of these is the identity, and is kept as a layer for training.

| meaning        | keras                  | torch                        | onnx    |
|----------------|------------------------|------------------------------|---------|
| Dropout        | Dropout(rate)          | Dropout(p)                   | Dropout (read; nothing is written) |
| ChannelDropout | SpatialDropout1D-3D    | Dropout1d-3d                 | none    |
| AlphaDropout   | AlphaDropout           | AlphaDropout                 | none    |
| GaussianDropout, GaussianNoise | the same | none: Identity keeps its name | none   |
| ActivityRegularization | the same       | none: Identity keeps its name | none   |
| random changes to images | Random... layers, AugMix, CutMix, MixUp ... | - | -      |

A penalty or a change of images that only training has is read as nothing.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Pointwise, Value, case, exports, imports, op, shortest
from .compare import Equal, NotEqual
from .logic import Or
from .promotion import number_of


class _Identity:
    """The reference of all of them."""

    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0]


@op
class Dropout(_Identity, Pointwise):
    """Zeroes a share `rate` of the numbers in training."""

    rate: float


@op
class ChannelDropout(_Identity, Op):
    """Zeroes a share `rate` of whole channels (axis 1) in training."""

    rate: float


@op
class AlphaDropout(_Identity, Pointwise):
    """Dropout that keeps mean and variance, for Selu networks."""

    rate: float


@op
class GaussianDropout(_Identity, Pointwise):
    """Multiplies by normal numbers around 1 in training."""

    rate: float


@op
class GaussianNoise(_Identity, Pointwise):
    """Adds normal numbers of this standard deviation in training."""

    deviation: float


# kind, what its number is called, the Keras layer, the torch module, the torch operators
ROWS: tuple[tuple[Any, ...], ...] = (
    (Dropout, "rate", "Dropout", "Dropout", ("aten.dropout.default", "aten.native_dropout.default")),
    (AlphaDropout, "rate", "AlphaDropout", "AlphaDropout", ("aten.alpha_dropout.default",)),
    (GaussianDropout, "rate", "GaussianDropout", None, ()),
    (GaussianNoise, "stddev", "GaussianNoise", None, ()),
)


def _row(kind: Any, field: str, layer: str, module: str | None, operators: tuple[str, ...]) -> None:
    own = "deviation" if kind is GaussianNoise else "rate"

    def from_keras(native, x):
        if getattr(native, "noise_shape", None) is not None:
            native.graph.notes.append(
                f"{native.name}: the noise_shape of {layer} is left out; it only matters in training"
            )
        return kind(**{own: float(getattr(native, field))})(x)

    def from_torch(call, x, rate, training):
        return _at_inference(kind(**{own: float(rate)}), training)(x)

    def to_keras(op, keras, x):
        return keras.place(getattr(keras.layers, layer)(getattr(op, own)))(x)

    def to_torch(op, torch, x):
        return torch.place(torch.nn.Identity() if module is None else getattr(torch.nn, module)(getattr(op, own)))(x)

    imports("keras", layer)(from_keras)
    imports("torch", *operators)(from_torch)
    exports("keras", kind)(to_keras)
    exports("torch", kind)(to_torch)
    exports("onnx", kind)(nothing_to_onnx)


def nothing_to_onnx(op, onnx, x):
    """An ONNX file is for inference, where this is the identity."""
    return x


def _at_inference(op: Op, training: bool) -> Op:
    if training:
        raise Refused(
            "a dropout that stays active at inference",
            why="its result is random",
            hint="Call eval() before exporting, or take the dropout out of the network",
        )
    return op


for _arguments in ROWS:
    _row(*_arguments)


@imports("matlab", "dropoutLayer")
def dropout_from_matlab(layer, x):
    return Dropout(rate=layer.Probability)(x)


@exports("matlab", Dropout)
def dropout_to_matlab(op, matlab, x):
    return matlab.layer("dropoutLayer", x, Probability=op.rate)


@imports("torch", "aten.feature_dropout.default")
def channel_dropout_from_torch(call, x, rate, training):
    return _at_inference(ChannelDropout(rate=float(rate)), training)(x)


@imports("keras", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", channels_last=True)
def channel_dropout_from_keras(layer, x):
    return ChannelDropout(rate=float(layer.rate))(x)


@exports("torch", ChannelDropout)
def channel_dropout_to_torch(op, torch, x):
    return torch.place(getattr(torch.nn, f"Dropout{torch.inputs[0].rank - 2}d")(op.rate))(x)


@exports("keras", ChannelDropout, channels_last=True)
def channel_dropout_to_keras(op, keras, x):
    return keras.place(getattr(keras.layers, f"SpatialDropout{keras.inputs[0].rank - 2}D")(op.rate))(x)


exports("onnx", ChannelDropout)(nothing_to_onnx)


@imports("torch", "aten.feature_alpha_dropout.default")
def alpha_dropout_of_channels_from_torch(call, x, rate, training):
    _at_inference(AlphaDropout(rate=float(rate)), training)
    return x


@imports("onnx", "Dropout", since=12)
def dropout_from_onnx(node, x, ratio=None, training=None):
    rate = 0.5 if ratio is None else number_of(ratio)
    trains = False if training is None else number_of(training)
    if trains is None:
        raise Refused("Dropout with a computed mode", why="it must be known", hint="Make a constant of it")
    if rate is None and not trains:  # no layer has such a rate, and inference reads none
        return x, _everything(x)
    if rate == 0:
        trains = False
    if rate is None:
        raise Refused("active Dropout with a computed rate", why="it must be known", hint="Make a constant of it")
    return _at_inference(Dropout(rate=rate), bool(trains))(x), _everything(x)


@imports("onnx", "Dropout")
def old_dropout_from_onnx(node, x):
    """Before opset 7 a node said whether it was for testing; at inference it is one either way."""
    return Dropout(rate=shortest(node.ratio))(x), _everything(x)


def _everything(x: Value) -> Value:
    """The mask of a dropout that drops nothing: true everywhere."""
    return Or()(Equal()(x, x), NotEqual()(x, x))


@op
class ActivityRegularization(_Identity, Pointwise):
    """Adds a penalty on the numbers to the loss in training."""

    l1: float
    l2: float


@imports("keras", "ActivityRegularization")
def regularization_from_keras(layer, x):
    return ActivityRegularization(l1=float(layer.l1), l2=float(layer.l2))(x)


@exports("keras", ActivityRegularization)
def regularization_to_keras(op, keras, x):
    return keras.place(keras.layers.ActivityRegularization(l1=op.l1, l2=op.l2))(x)


@exports("torch", ActivityRegularization)
def regularization_to_torch(op, torch, x):
    return torch.place(torch.nn.Identity())(x)


exports("onnx", ActivityRegularization)(nothing_to_onnx)


@imports("keras", "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
         "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip",
         "RandomGaussianBlur", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization",
         "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
         "Solarization")  # fmt: skip
def image_augmentation_from_keras(layer, x):
    """What training does to images at random. Whatever comes in leaves in the dtype that the layer computes in."""
    return x.cast(layer.compute_dtype)


@imports("keras", "RandomGrayscale")
def random_grayscale_from_keras(layer, x):
    return x


@imports("keras", "Identity", "ops.StopGradient")
@imports("onnx", "Identity")
def identity_from_native(native, x):
    return x


_GONE = {"onnx": "nothing"}
for _kind, _field, *_ in ROWS:
    _own = "deviation" if _kind is GaussianNoise else "rate"
    _reasons = _GONE | ({"torch": "nothing"} if _kind in (GaussianDropout, GaussianNoise) else {})
    case(f"noise/{_kind.__name__}", _kind(**{_own: 0.3}), (2, 3, 4), composed=_reasons)
case("noise/ActivityRegularization", ActivityRegularization(l1=0.1, l2=0.2), (2, 3, 4),
     composed={"torch": "nothing", "onnx": "nothing"})  # fmt: skip
for _rank, _shape in ((1, (2, 3, 4)), (2, (2, 3, 4, 5)), (3, (2, 3, 4, 5, 2))):
    case(f"noise/channels_{_rank}d", ChannelDropout(rate=0.3), _shape, composed=_GONE)
