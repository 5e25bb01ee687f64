"""Configurations that Keras 1 wrote, said in Keras 2's words, without changing a number.

What differs: names of layers (Convolution2D) and fields (nb_filter, border_mode, dim_ordering, output_dim), penalties as
tables without a class, Merge layers of several modes, and a Sequential that begins with branches, which becomes a
functional model. Initial values are left out: the weights are in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from leaky_interop.errors import Refused

Config = dict[str, Any]
CLASSES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D", "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D", "Deconvolution2D": "Conv2DTranspose", "SeparableConvolution2D": "SeparableConv2D",
}  # fmt: skip
FIELDS = {
    "output_dim": "units", "nb_filter": "filters", "bias": "use_bias", "p": "rate", "sigma": "stddev", "border_mode": "padding",
    "subsample": "strides", "subsample_length": "strides", "stride": "strides", "filter_length": "kernel_size",
    "pool_length": "pool_size", "length": "size", "atrous_rate": "dilation_rate", "dim_ordering": "data_format",
    "inner_activation": "recurrent_activation", "dropout_W": "dropout", "dropout_U": "recurrent_dropout",
    "W_regularizer": "kernel_regularizer", "U_regularizer": "recurrent_regularizer", "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint", "U_constraint": "recurrent_constraint", "b_constraint": "bias_constraint",
}  # fmt: skip
LEFT_OUT = {
    "init", "inner_init", "forget_bias_init", "beta_init", "gamma_init", "weights", "consume_less", "input_dim", "input_length",
    "input_dtype",
}  # fmt: skip
ORDERS = {"th": "channels_first", "tf": "channels_last"}
SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
GONE = {
    name: "Keras 3 has no such layer"
    for name in "MaxoutDense Highway SReLU ParametricSoftplus LocallyConnected1D LocallyConnected2D TimeDistributedDense".split()
}
MERGES = {
    "sum": ("Add", ()), "mul": ("Multiply", ()), "ave": ("Average", ()), "max": ("Maximum", ()),
    "concat": ("Concatenate", (("concat_axis", "axis"),)), "dot": ("Dot", (("dot_axes", "axes"),)),
}  # fmt: skip
SILENT = {f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for n in (2, 3)}  # leave out the order
WRAPPERS = {"TimeDistributed", "Bidirectional"}


def is_first(config: Any) -> bool:
    """Whether a configuration that does not say its version speaks Keras 1."""
    if isinstance(config, list):
        return any(map(is_first, config))
    if not isinstance(config, dict):
        return False
    return bool({"init", "nb_filter", "border_mode", "dim_ordering"} & set(config)) or any(
        map(is_first, config.values())
    )


def renamed(given: Any) -> Any:
    """A model or layer, as {class_name, config, ...}, in Keras 2's words. Raises Refused for what is no longer there."""
    stated = {row["dim_ordering"] for row in configs(given) if "dim_ordering" in row}
    return _Renaming(stated.pop() if len(stated) == 1 else None).layer(given)


class _Renaming:
    """The words of one file. `order`: the order of dimensions that all its layers state, which some have and do not."""

    def __init__(self, order: str | None):
        self.order = order

    def layer(self, given: Any) -> Any:
        name, config = given["class_name"], given["config"]
        if name in GONE:
            raise _refused(name, config, GONE[name])
        if name == "Sequential":
            rows = config if isinstance(config, list) else config["layers"]
            if rows and rows[0]["class_name"] == "Merge":
                return self.branches(rows)
            return {**given, "config": [self.layer(row) for row in rows]}
        if name == "Model":
            return {**given, "config": {**config, "layers": [self.layer(row) for row in config["layers"]]}}
        if name == "Merge":
            return {**given, **_merge(config)}
        if name in WRAPPERS:
            inner = {k: v for k, v in config.items() if k not in LEFT_OUT}
            return {**given, "config": {**inner, "layer": self.layer(config["layer"])}}
        if name in SILENT and "dim_ordering" not in config:
            if self.order is None:
                raise _refused(
                    name,
                    config,
                    "its file does not say the order of its dimensions, and other layers state two or none",
                )
            config = {**config, "dim_ordering": self.order}
        return {**given, "class_name": CLASSES.get(name, name), "config": _fields(name, config)}

    def branches(self, rows: list[Config]) -> Config:
        """A Sequential that begins by merging others, as a functional model."""
        made: list[Config] = []
        inputs: list[str] = []

        def chain(rows: list[Config]) -> str:
            """Lay a Sequential's layers one behind the other; the name of the last."""
            first = rows[0]["config"]
            if rows[0]["class_name"] == "Merge":
                last = call(_merge(first), [chain(_rows(branch)) for branch in first["layers"]])
            else:
                last = f"{first['name']}_input"
                shape = {
                    "batch_input_shape": first["batch_input_shape"],
                    "dtype": first.get("input_dtype", "float32"),
                    "name": last,
                }
                made.append({"class_name": "InputLayer", "config": shape, "name": last, "inbound_nodes": []})
                inputs.append(last)
                last = call(self.layer(rows[0]), [last])
            for row in rows[1:]:
                last = call(self.layer(row), [last])
            return last

        def call(layer: Config, names: list[str]) -> str:
            name = layer["config"]["name"]
            made.append({**layer, "name": name, "inbound_nodes": [[[name, 0, 0] for name in names]]})
            return name

        ends = [[chain(rows), 0, 0]]
        config = {"name": "model", "layers": made, "input_layers": [[n, 0, 0] for n in inputs], "output_layers": ends}
        return {"class_name": "Model", "config": config}


def judge_shapes(config: Any, layers: Config) -> None:
    """Refuse a Deconvolution2D that was told to give another shape than Keras 3 gives it."""
    for row in configs(config, "Deconvolution2D"):
        wanted, layer = row.get("output_shape"), layers.get(row.get("name"))
        if wanted and layer is not None and list(layer.output.shape[1:]) != list(wanted[1:]):
            raise _refused(
                f"Deconvolution2D with output_shape={tuple(wanted)}", row, f"Keras 3 makes {layer.output.shape} of it"
            )


def configs(value: Any, class_name: str | None = None) -> Iterator[Config]:
    """The configurations of all layers, or of those of a class."""
    if (
        isinstance(value, dict)
        and isinstance(value.get("config"), dict)
        and class_name in (None, value.get("class_name"))
    ):
        yield value["config"]
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from configs(child, class_name)


def _fields(name: str, config: Config) -> Config:
    left_out, fields = LEFT_OUT, FIELDS
    if name == "Embedding":  # whose sizes are its own, and whose dropout is training's
        left_out, fields = left_out - {"input_dim"} | {"dropout"}, {"W_regularizer": "embeddings_regularizer"}
        fields["W_constraint"] = "embeddings_constraint"
    if name == "BatchNormalization" and config.get("mode", 0) != 0:
        raise _refused(
            f"BatchNormalization with mode={config['mode']}", config, "Keras 3 only normalises by moving statistics"
        )
    if name == "BatchNormalization":
        left_out = left_out | {"mode"}
    if name == "InputLayer" and "input_dtype" in config:
        config = {**config, "dtype": config["input_dtype"]}
    found = {}
    for key, value in config.items():
        if key in left_out or any(key in size for size in SIZES):
            continue
        value = ORDERS.get(value, value) if key == "dim_ordering" else value
        if key.endswith("_regularizer"):
            value = _penalty(value)
        if key.endswith("_constraint"):
            value = _constraint(value)
        found[fields.get(key, key)] = value
    for size in SIZES:
        if size[0] in config:
            found["kernel_size"] = [config[part] for part in size]
    if name == "Deconvolution2D":
        found.pop("output_shape", None)  # judged when the model is built
    if name == "ZeroPadding2D":
        found["padding"] = _paddings(config["padding"])
    return found


def _paddings(padding: Any) -> Any:
    if isinstance(padding, dict):
        padding = [padding.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    return [padding[:2], padding[2:]] if isinstance(padding, list) and len(padding) == 4 else padding


def _penalty(given: Any) -> Any:
    """{name, l1, l2} as the class of today; a penalty that only training knows is left out."""
    if not isinstance(given, dict) or not {"l1", "l2"} & set(given):
        return None
    return {"class_name": "L1L2", "config": {"l1": given.get("l1", 0.0), "l2": given.get("l2", 0.0)}}


def _constraint(given: Any) -> Any:
    name = given.get("name") if isinstance(given, dict) else None
    if name == "NonNeg":
        return {"class_name": "NonNeg", "config": {}}
    if name == "MaxNorm":
        return {"class_name": "MaxNorm", "config": {"max_value": given["m"], "axis": given["axis"]}}
    return {"class_name": "UnitNorm", "config": {"axis": given["axis"]}} if name == "UnitNorm" else None


def _merge(config: Config) -> Config:
    mode = config.get("mode")
    if config.get("mode_type", "raw") != "raw" or mode not in MERGES:
        what = f"Merge with mode={mode!r}" if isinstance(mode, str) else "Merge by a function"
        raise _refused(what, config, "Keras 3 has no layer that does the same")
    name, fields = MERGES[mode]
    return {"class_name": name, "config": {"name": config["name"], **{new: config[old] for old, new in fields}}}


def _rows(branch: Config) -> list[Config]:
    config = branch["config"]
    if branch["class_name"] != "Sequential":
        raise _refused(f"a Merge of a {branch['class_name']}", config, "only branches that are Sequential are laid out")
    return config if isinstance(config, list) else config["layers"]


def _refused(what: str, config: Any, why: str) -> Refused:
    where = f"layer {config.get('name')!r}" if isinstance(config, dict) else ""
    return Refused(
        f"{what} of Keras 1", where, why, "Write the layer with keras.ops, and give the network's code with the weights"
    )
