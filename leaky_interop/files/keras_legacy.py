"""Configurations that Keras 2 wrote, said in Keras 3's words, without changing a number.

What differs: names of fields (`alpha` of LeakyReLU, `batch_input_shape`), a Sequential without an InputLayer, fields
that are gone (`time_major`, `groups` of a depthwise convolution), layers that are gone (ThresholdedReLU), arrays
written as tables, how calls are written (positions in lists; a nested model's calls counted from 1; a recurrent layer's
states among its inputs), and one function that kept its name and changed its meaning: hard_sigmoid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from leaky_interop.errors import LeakyInteropError, Refused, UnsafeFile, Usage, require
from leaky_interop.names import decode, encode

from . import keras_first

Config = dict[str, Any]
RENAMED = {
    "Policy": "DTypePolicy",
    "PolicyV1": "DTypePolicy",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "SyncBatchNormalization": "BatchNormalization",  # the same outside training
}
GONE = {
    "RandomCrop": "Keras 2 resizes to the crop's size outside training, Keras 3 leaves pictures as they are",
    **dict.fromkeys(("RandomHeight", "RandomWidth", "ConvRNN2D"), "Keras 3 has no such layer"),
}
# Layers that computed something else before a version, unless a field has one of these values.
EARLY: tuple[tuple[str, tuple[int, ...], str, tuple[Any, ...], str], ...] = (
    ("SeparableConv2D", (2, 0, 9), "dilation_rate", (1, [1, 1]), "ignored the dilation"),
    ("UpSampling2D", (2, 4), "interpolation", ("nearest",), "placed the points by their corners, not by their centres"),
)
AGAIN = "Train the network again with a later version, or write the layer with keras.ops"
# TensorFlow operations that Keras 2 wrapped in layers: Keras 3 has nothing that holds them.
TENSORFLOW = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty"}
RECURRENT = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
SLOPED, SLOPES = ("LeakyReLU", "ReLU"), ("negative_slope", "alpha")
MODELS = {"Functional", "Model", "Sequential"}


def hard_sigmoid_keras2(x: Any) -> Any:
    """Keras 2's hard_sigmoid: clip(0.2 x + 0.5, 0, 1). Keras 3's is clip(x / 6 + 0.5, 0, 1)."""
    return require("keras").ops.clip(x * 0.2 + 0.5, 0.0, 1.0)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"hard_sigmoid_keras2": hard_sigmoid_keras2}


def legal(name: str) -> str:
    """A layer's name as Keras 3 takes it on every backend: no "/" (DenseNet has them) and no "."; it is read back as it was."""
    return encode("keras", decode("keras", name)) if {"/", "."} & set(name) else name


def version(text: str | None) -> tuple[int, ...]:
    """(2, 3, 1) of "2.3.1"; a file that does not say was written by Keras 2 or earlier."""
    return tuple(int(number) for number in re.findall(r"\d+", (text or "2").partition("-")[0])) or (2,)


def upgraded(config: Config, written_by: tuple[int, ...]) -> Config:
    """The configuration in Keras 3's words. Raises Usage where it is not laid out as Keras does it."""
    try:
        if written_by < (2,):
            config = keras_first.renamed(config)
        _judge_early(config, written_by)
        return dict(_with_numbers(config) if written_by >= (3,) else _upgraded(config))
    except RecursionError:
        raise UnsafeFile("a configuration is nested too deeply") from None
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, LeakyInteropError):
            raise
        why = f"{type(error).__name__}: {error}"[:200]
        raise Usage("a configuration is not laid out as Keras 1 and 2 do it", why=why, hint="Save the model again") from None


def _upgraded(config: Config) -> Config:
    wrapped = sorted({str(name) for kind, name in _named(config) if isinstance(kind, str) and kind in TENSORFLOW})
    if wrapped:
        raise Refused(
            "TensorFlow calls inside a Keras 2 model",
            where=", ".join(wrapped),
            why="Keras 3 has no layer that holds them",
            hint="Convert the model with the TensorFlow that made it, or write the calls with keras.ops",
        )
    return dict(_value(_with_legal_names(config), ""))


def _judge_early(config: Any, written_by: tuple[int, ...]) -> None:
    """Refuse settings by which early versions computed something else than later ones."""
    for name, corrected, field, plain, why in EARLY:
        for row in keras_first.configs(config, name) if written_by < corrected else ():
            if row.get(field, plain[0]) not in plain:
                before = f"Keras before {'.'.join(map(str, corrected))}"
                raise Refused(f"{name} with {field}={row[field]!r}", f"layer {row.get('name')!r}", f"{before} {why}", AGAIN)


def _with_legal_names(value: Any) -> Any:
    """The configuration with its layers' names, and the references to them, as Keras 3 takes them."""
    if isinstance(value, list):
        told = len(value) >= 3 and isinstance(value[0], str) and all(type(number) is int for number in value[1:3])
        rest = [_with_legal_names(child) for child in value]
        return [legal(value[0]), *rest[1:]] if told else rest
    if not isinstance(value, dict):
        return value
    return {k: legal(v) if k == "name" and isinstance(v, str) else _with_legal_names(v) for k, v in value.items()}


def _with_numbers(value: Any) -> Any:
    """The configuration with every slope a number: Keras 3 saves one of an array as that, and then cannot load it."""
    if isinstance(value, list):
        return [_with_numbers(child) for child in value]
    if not isinstance(value, dict):
        return value
    sloped = value.get("class_name") in SLOPED
    inner = {k: _with_numbers(v) for k, v in value.items()}
    if sloped and isinstance(inner.get("config"), dict):
        inner["config"] = {k: _number(v) if k in SLOPES else v for k, v in inner["config"].items()}
    return inner


def _number(value: Any) -> Any:
    """The number of an array of one, in the precision that the array had; anything else as it is."""
    if isinstance(value, dict) and value.get("class_name") == "__numpy__" and isinstance(value.get("config"), dict):
        held, dtype = value["config"].get("value"), value["config"].get("dtype")
        number = _number(held)
        if type(number) is not float or dtype not in ("float16", "float32", "float64"):
            return value
        with np.errstate(over="ignore"):
            return float(np.dtype(dtype).type(number))
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _named(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every class in the configuration with the name of its object."""
    if isinstance(value, dict):
        yield value.get("class_name"), value.get("name")
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _named(child)


def _value(value: Any, key: str) -> Any:
    if isinstance(value, list):
        return [_value(child, key) for child in value]
    if not isinstance(value, dict):
        if value == "hard_sigmoid" and key.endswith("activation"):
            return {"class_name": "function", "config": "hard_sigmoid_keras2", "module": None}
        return value
    if value.get("type") == "ndarray" and "value" in value:
        return value["value"]
    if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
        return _value(value["items"], key)
    if value.get("class_name") == "Sequential":
        value = {**value, "config": _sequential(value.get("config"), value.get("name"))}
    inner = {k: _value(v, k) for k, v in value.items()}
    return _object(inner) if "class_name" in inner else inner


def _object(given: Config) -> Config:
    name = str(given["class_name"])
    config = given.get("config")
    if name == "CuDNNGRU" and isinstance(config, dict):
        config = {**config, "reset_after": True}
    for gone, hint in ((keras_first.GONE, "Write the layer with keras.ops"), (GONE, "Save the model without it")):
        if name in gone:
            stated = given.get("name") or (config.get("name") if isinstance(config, dict) else None)
            raise Refused(name, f"layer {stated!r}", gone[name], hint)
    if name == "Merge" and isinstance(config, dict):  # which Keras 2 still had for a while
        return keras_first.renamed(given)
    name = RENAMED.get(name, name)
    if name == "function" and config == "hard_sigmoid":
        config = "hard_sigmoid_keras2"
    if isinstance(config, dict):
        config = dict(config)
        for rule in (_every_layer, *RULES.get(name, ())):
            rule(config)
        if name == "InputLayer" and "batch_input_shape" in given["config"]:
            config["batch_shape"] = given["config"]["batch_input_shape"]
        if name in MODELS and "input_layers" in config:
            name, config = "Functional", _functional(config)
    name = {"ThresholdedReLU": "ReLU"}.get(name, name)
    kept = {k: v for k, v in given.items() if k != "build_config" or name in MODELS}  # shapes come from the calls
    return {**kept, "class_name": name, "config": config}


def _sequential(config: Any, name: str | None) -> Any:
    """A Sequential begins with its InputLayer, made of what its first layer says about its input."""
    if isinstance(config, list):  # Keras before 2.2.3 wrote the layers alone
        config = {"layers": config}
    layers = config.get("layers") if isinstance(config, dict) else None
    first = layers[0] if layers else None
    inner = first.get("config") if isinstance(first, dict) else None
    if isinstance(config, dict) and layers and "name" not in config:  # nor a name, where none is beside it
        config = {"name": name or f"{_first_name(first)}_model", **config}
    is_input = isinstance(first, dict) and first.get("class_name") == "InputLayer"
    if not isinstance(inner, dict) or is_input or "batch_input_shape" not in inner:
        return config
    dtype = inner.get("dtype")
    plain = dtype if isinstance(dtype, str) and "mixed" not in dtype else "float32"
    batch = {
        "batch_shape": inner["batch_input_shape"],
        "dtype": plain,
        "name": f"{inner.get('name', 'sequential')}_input",
    }
    return {**config, "layers": [{"class_name": "InputLayer", "config": batch}, *(layers or [])]}


def _first_name(layer: Any) -> str:
    """The name of a layer; of a Sequential that has none, which was a list of layers then, that of its first."""
    while isinstance(layer, dict) and isinstance(layer.get("config"), list) and layer["config"]:
        layer = layer["config"][0]
    config = layer.get("config") if isinstance(layer, dict) else None
    return str(config.get("name", "layer")) if isinstance(config, dict) else "layer"


def _functional(config: Config) -> Config:
    """The calls of a functional model as Keras 3 writes them."""
    rows = {row["name"]: row for row in config["layers"]}
    first_call = dict.fromkeys(rows, 0)
    for name, row in rows.items():
        if row["class_name"] in MODELS:  # a nested model's own input counts as its call 0
            first_call[name] = min((node for called, node, _ in _references(config, rows) if called == name), default=0)

    def tensor(reference: list[Any]) -> Config:
        name, node, output = reference[:3]
        history = [name, node - first_call[name], output]
        return {
            "class_name": "__keras_tensor__",
            "config": {"shape": [1], "dtype": "float32", "keras_history": history},  # Keras takes the history alone
        }

    def arguments(value: Any) -> Any:
        if _is_reference(value, rows):
            return tensor(value)
        if isinstance(value, list) and value[:2] == ["_CONSTANT_VALUE", -1]:
            return value[2]
        if isinstance(value, dict):
            return {k: arguments(v) for k, v in value.items()}
        return [arguments(child) for child in value] if isinstance(value, list) else value

    def call(row: Config, node: Any) -> Any:
        if isinstance(node, dict) and "args" in node:
            return node
        keywords = arguments(node[0][3]) if isinstance(node, list) and node and len(node[0]) > 3 else {}
        inputs = arguments(node)
        if row["class_name"] in RECURRENT and isinstance(keywords, dict) and keywords.pop("constants", None) is not None:
            raise Refused("constants", f"layer {row['name']!r}", "no recurrent layer of Keras 3 takes them")
        if isinstance(inputs, list) and len(inputs) > 1 and row["class_name"] in RECURRENT:
            keywords, inputs = {**keywords, "initial_state": inputs[1:]}, inputs[:1]
        single = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs
        return {"args": [single], "kwargs": keywords}

    def output(value: Any) -> Any:
        if _is_reference(value, rows):
            # Keras 3 itself takes one off where the nested model is functional.
            off = first_call[value[0]] - (rows[value[0]]["class_name"] == "Functional")
            return [value[0], value[1] - off, value[2]]
        return {k: output(v) for k, v in value.items()} if isinstance(value, dict) else [output(v) for v in value]

    layers = [
        {**row, "inbound_nodes": [call(row, node) for node in row.get("inbound_nodes", [])]} for row in rows.values()
    ]
    outputs = output(config["output_layers"])
    return {**config, "layers": layers, "input_layers": _one(config["input_layers"]), "output_layers": _one(outputs)}


def _one(references: Any) -> Any:
    """A list of one tensor is that tensor: Keras 2 made no difference, Keras 3 does."""
    return references[0] if isinstance(references, list) and len(references) == 1 else references


def _is_reference(value: Any, rows: Config) -> bool:
    """Whether this is [layer, call, output] and perhaps keyword arguments."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in rows
        and all(isinstance(number, int) for number in value[1:3])
    )


def _references(value: Any, rows: Config) -> Iterator[list[Any]]:
    """Every [layer, call, output] in the model's own calls and outputs."""
    if _is_reference(value, rows):
        yield value[:3]
        value = value[3:]
    if isinstance(value, dict):
        if "input_layers" in value:  # the model itself; what nested models say of their insides is their own
            value = [[row.get("inbound_nodes") for row in value["layers"]], value["output_layers"]]
        else:
            value = list(value.values())
    for child in value if isinstance(value, list) else ():
        yield from _references(child, rows)


def _every_layer(config: Config) -> None:
    config.pop("batch_input_shape", None)
    config.pop("implementation", None)  # of recurrent layers: in which order they compute the same
    if config.pop("time_major", False):
        raise Refused(
            "time_major=True",
            where=f"layer {config.get('name')!r}",
            why="Keras 3 has no recurrent layer whose time comes first",
            hint="Save the model with time_major=False and its input transposed",
        )


def _leaky_relu(config: Config) -> None:
    alpha = config.pop("alpha", None)
    if config.get("negative_slope") is None:
        config["negative_slope"] = (
            0.3 if alpha is None else _number(alpha)
        )  # the layer's own default, in Keras 2 as in Keras 3


def _thresholded_relu(config: Config) -> None:
    config["threshold"] = config.pop("theta", 1.0)


def _one_axis(config: Config) -> None:
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]


def _flatten(config: Config) -> None:
    config.setdefault("data_format", "channels_last")  # as it lies, which is what files without the field mean


def _gru(config: Config) -> None:
    config.setdefault("reset_after", False)  # files older than the field mean the form they had


def _ungrouped(config: Config) -> None:
    if config.pop("groups", 1) != 1:
        raise Refused("groups other than 1", where=f"layer {config.get('name')!r}", why="the layer has none in Keras 3")


def _cubic(config: Config) -> None:
    """TensorFlow, on which all of Keras 2 runs, knows other weights than other backends do."""
    backend = require("keras").backend.backend()
    if config.get("interpolation") == "bicubic" and backend != "tensorflow":
        raise Refused(
            "bicubic interpolation of Keras 2",
            where=f"layer {config.get('name')!r}",
            why=f"Keras on {backend} computes it otherwise than TensorFlow, on which Keras 2 ran",
            hint="Set KERAS_BACKEND=tensorflow",
        )


def _known_interpolation(config: Config) -> None:
    if config.get("interpolation") in ("gaussian", "mitchellcubic"):
        raise Refused(f"{config['interpolation']} interpolation", f"layer {config.get('name')!r}", "Keras 3 has none")


def _without(*fields: str) -> Callable[[Config], None]:
    """A rule that drops fields that say nothing in these layers."""

    def rule(config: Config) -> None:
        for field in fields:
            config.pop(field, None)

    return rule


_NO_KERNEL = _without("kernel_initializer", "kernel_regularizer", "kernel_constraint")
RULES: dict[str, tuple[Callable[[Config], None], ...]] = {
    "LeakyReLU": (_leaky_relu,),
    "ThresholdedReLU": (_thresholded_relu,),
    "BatchNormalization": (_one_axis,),
    "Flatten": (_flatten,),
    "GRU": (_gru,),
    "GRUCell": (_gru,),
    "Discretization": (_without("trainable"),),
    "Resizing": (_known_interpolation, _cubic),
    "UpSampling2D": (_known_interpolation, _cubic),
    "MultiHeadAttention": (_without("query_shape", "key_shape", "value_shape", "softmax_robust_masking"),),
    **{f"{kind}Conv{n}D": (_ungrouped, _NO_KERNEL) for n in (1, 2) for kind in ("Depthwise", "Separable")},
    **{f"Conv{n}DTranspose": (_ungrouped,) for n in (1, 2, 3)},
    **{f"SpatialDropout{n}D": (_without("trainable", "noise_shape"),) for n in (1, 2, 3)},
    **{
        f"Random{what}": (_without("rng_type"),)
        for what in "Brightness Contrast Crop Flip Rotation Translation Zoom".split()
    },
}
