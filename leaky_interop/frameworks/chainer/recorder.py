"""Runs a Chainer network and writes down what it computes. Stands alone: it runs in an interpreter that has Chainer.

    python recorder.py job.json

The job names the network's code, an example and the file to write; all of it is the user's own. The network runs as at
inference, and its computational graph is walked back from the outputs. A recording is a zip of `chainer.json` (functions
in order, what they read, their settings) and arrays: weights under their link's path, and every value of every run.

It runs twice on different numbers, at two batch sizes where it can: sizes that grew with the batch are written as
multiples of it, and what a network computes outside of Chainer's functions (numpy on `.array`) shows by its change.
"""

import importlib
import importlib.util
import inspect
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np

FORMAT = "leaky_interop chainer 1"
MACHINERY = frozenset("chainerx_device inputs lazy_grad_sum outputs rank stack".split())  # of every FunctionNode


class Refusal(Exception):
    """What cannot be recorded, why, and what to do instead."""


class Differs(Exception):
    """Two runs of one network that do not fit together."""


def main(job):
    """Record the network of a job and write the file."""
    import chainer

    model = network(job["source"], job["paths"])
    if job["weights"]:
        chainer.serializers.load_npz(job["weights"], model)
    with np.load(job["example"], allow_pickle=False) as members:
        example = [members[f"arr_{i}"] for i in range(len(members.files))]
    described, runs, weights = record(model, example)
    described |= {"format": FORMAT, "chainer": chainer.__version__, "network": type(model).__name__}
    with zipfile.ZipFile(job["target"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chainer.json", json.dumps(described, indent=1))
        for index, array in enumerate(weights):
            write(archive, f"weight/{index}.npy", array)
        for number, values in enumerate(runs):
            for index, array in values.items():
                write(archive, f"run{number}/{index}.npy", array)


def network(source, paths):
    """What `package.module:factory` or `folder/file.py:factory` returns."""
    sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent] + paths
    place, _, attribute = source.rpartition(":")
    if place.endswith(".py"):
        sys.path.insert(0, str(Path(place).resolve().parent))
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        found = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = found
        spec.loader.exec_module(found)
    else:
        found = importlib.import_module(place)
    for part in attribute.split("."):
        found = getattr(found, part)
    model = found()
    if not callable(model):
        raise Refusal(
            f"{source} returned a {type(model).__name__}", "a factory must return a network that can be called", ""
        )
    return model


def record(model, example):
    """The description, the values of each run and the weights."""
    first = Trace(model, example)
    batches = {a.shape[0] for a in example if a.ndim}
    described, note = None, ""
    if len(batches) == 1 and all(a.ndim for a in example):
        batch = batches.pop()
        try:
            second = Trace(model, [another(a, batch + 1) for a in example])
            described = merged(first.described, second.described, batch, batch + 1)
            unchanged(first, second)
        except Exception as error:  # whatever the user's code raises at another batch size
            described, note = None, f"the batch is static, as in the example: {error or type(error).__name__}"
    if described is None:
        second = Trace(model, [another(a) for a in example])
        try:
            described = merged(first.described, second.described, 0, 0)
            unchanged(first, second)
        except Differs as error:
            hint = "Write it with chainer.functions, so that it is part of the computational graph"
            raise Refusal(
                f"{type(model).__name__} depends on its inputs in a way that its graph does not show", str(error), hint
            ) from None
    described["note"] = " ".join(note.split())
    return described, [first.arrays, second.arrays], first.weights


def another(array, batch=None):
    """Other numbers of the same kind, of the same shape but for the batch."""
    rng = np.random.default_rng(7)
    shape = array.shape if batch is None else (batch, *array.shape[1:])
    if array.dtype.kind == "f":
        return (10 * np.resize(array[::-1] if array.ndim else array, shape) + rng.standard_normal(shape)).astype(
            array.dtype
        )
    if array.dtype.kind in "iu" and array.size:
        return rng.integers(array.min(), array.max() + 1, shape).astype(array.dtype)
    return np.resize(array, shape)


def merged(one, two, batch, other):
    """The description that holds for both runs; a size that follows the batch is {"batch": how many times}."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return {key: merged(one[key], two[key], batch, other) for key in one}
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [merged(a, b, batch, other) for a, b in zip(one, two, strict=True)]
    if one == two or (one != one and two != two):
        return one
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (one, two))
    if whole and batch and one % batch == 0 and two % other == 0 and one // batch == two // other:
        return {"batch": one // batch}
    raise Differs(f"one run has {one!r} where the other has {two!r}")


def unchanged(first, second):
    """Raise Differs where a constant of the graph is not the same in both runs."""
    for row, a, b in zip(first.described["weights"], first.weights, second.weights, strict=True):
        if a.shape != b.shape or a.tobytes() != b.tobytes():
            raise Differs(
                f"{row['name'] or 'an array of shape ' + str(a.shape)} read by {row['by']} is not the same in two runs"
            )


class Trace:
    """One run: its graph as plain data, every value that a function read, and the weights."""

    def __init__(self, model, example):
        import chainer

        self.described = {"inputs": [], "values": [], "functions": [], "weights": [], "outputs": [], "structure": None}
        self.arrays, self.weights = {}, []
        self.places = {}  # by id of a variable's node: where it is, ["value", 3] or ["weight", 0]
        self.names = {}
        given = [chainer.Variable(a) for a in example]
        self.seen = seen = {}

        class Hook(chainer.FunctionHook):
            name = "leaky_interop"

            def forward_postprocess(self, function, in_data):
                seen[id(function)] = (function, in_data, [a.copy() for a in in_data])

        settings = {"train": False, "enable_backprop": True, "use_ideep": "never"}
        with contexts(chainer, settings), Hook():
            result = model(*given)
        self.kept = kept_arrays(model)
        for name, variable in zip(input_names(model, len(given)), given, strict=True):
            index = self.value(variable.node, name)
            self.arrays[index] = variable.array
            self.described["inputs"].append(index)
        outputs = []
        self.described["structure"] = nesting(result, chainer, outputs)
        for variable in outputs:
            self.walk(variable.node)
            kind, index = self.places.get(id(variable.node), ("weight", 0))
            if kind != "value":
                raise Refusal("an output that no function of Chainer computes", "its variable has no creator",
                              "Return what chainer.functions computed, not its .array")  # fmt: skip
            self.arrays[index] = variable.array
            self.described["outputs"].append(index)

    def value(self, node, name=""):
        """A new value of the graph; its index."""
        index = len(self.described["values"])
        self.described["values"].append({"name": name, "shape": list(node.shape), "dtype": node.dtype.name})
        self.places[id(node)] = ["value", index]
        return index

    def walk(self, node):
        """Describe everything that a variable is computed from, and then its function: inputs in order before users."""
        waiting = [node]
        while waiting:
            function = waiting[-1].creator_node
            if function is None or id(waiting[-1]) in self.places:
                waiting.pop()
                continue
            before = [n for n in function.inputs if n.creator_node is not None and id(n) not in self.places]
            if before:
                waiting += reversed(before)
            else:
                self.function(function)

    def function(self, function):
        _, in_data, copies = self.seen[id(function)]
        reads = []
        name, label = "", native(function)
        for node, array, copy in zip(function.inputs, in_data, copies, strict=True):
            if id(node) not in self.places:
                path, trainable = self.kept.get(place(array), ("", False))
                self.places[id(node)] = self.weight(path, trainable, copy, label)
            kind, index = found = self.places[id(node)]
            if kind == "value":
                self.arrays.setdefault(index, copy)
            else:
                name = name or self.described["weights"][index]["name"].rpartition("/")[0]
            reads.append(found)
        writes = []
        for reference in function.outputs:
            node = reference()  # gone where nothing reads it
            writes.append(None if node is None else self.value(node))
        self.described["functions"].append(
            {"function": label, "name": self.unique(name.strip("/").replace("/", ".") or snake(label)), "inputs": reads,
             "outputs": writes, "attributes": (settings := settings_of(function)), "defaults": defaults(function, settings)}
        )  # fmt: skip

    def weight(self, path, trainable, array, reader):
        """A weight or constant, one entry for each; where it is."""
        rows = self.described["weights"]
        known = next((i for i, row in enumerate(rows) if path and row["name"] == path), None)
        if known is None:
            rows.append({"name": path, "trainable": trainable, "by": reader})
            self.weights.append(array)
        return ["weight", len(rows) - 1 if known is None else known]

    def unique(self, name):
        """The second "relu" is "relu_1"."""
        count = self.names[name] = self.names.get(name, -1) + 1
        return self.unique(f"{name}_{count}") if count else name


def contexts(chainer, settings):
    """Chainer's configuration for the time of a run."""
    import contextlib

    stack = contextlib.ExitStack()
    for name, setting in settings.items():
        stack.enter_context(chainer.using_config(name, setting))
    return stack


def kept_arrays(model):
    """By place in memory, the path and trainability of every parameter and every other array that a link saves."""
    found = {}
    for path, link in getattr(model, "namedlinks", lambda: ())():
        base = path if path != "/" else ""
        for name in sorted(link._persistent):
            array = link.__dict__[name]
            if isinstance(array, np.ndarray):
                found.setdefault(place(array), (f"{base}/{name}", False))
    for path, parameter in getattr(model, "namedparams", lambda: ())():
        if parameter.array is not None:
            found.setdefault(place(parameter.array), (path, bool(parameter.requires_grad)))
    return found


def place(array):
    """What two arrays over the same numbers have in common."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def input_names(model, count):
    """What the network's own code calls its inputs."""
    function = getattr(model, "forward", None) or model
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] if len(names) >= count else [f"x{i}" if count > 1 else "x" for i in range(count)]


def nesting(result, chainer, outputs):
    """The result with every variable replaced by its number among `outputs`."""
    if isinstance(result, chainer.Variable):
        outputs.append(result)
        return len(outputs) - 1
    if isinstance(result, dict):
        return {str(key): nesting(part, chainer, outputs) for key, part in sorted(result.items())}  # the order of Keras
    if isinstance(result, (list, tuple)):
        return [nesting(part, chainer, outputs) for part in result]
    raise Refusal(f"the network returns a {type(result).__name__}", "only variables have a computational graph",
                  "Return what chainer.functions computed, not its .array")  # fmt: skip


def native(function):
    """The name of a function's class; with its module where it is not one of Chainer's own."""
    kind = type(getattr(function, "function", None) or function)
    return kind.__name__ if kind.__module__.startswith("chainer.") else f"{kind.__module__}.{kind.__name__}"


def settings_of(function):
    """What a function was made with, as far as it is plain data."""
    found = {}
    for name, setting in vars(getattr(function, "function", None) or function).items():
        if not name.startswith("_") and name not in MACHINERY:
            try:
                found[name] = plain(setting)
            except TypeError:
                continue
    return found


def defaults(function, settings):
    """The settings that are what the function's own signature has where they are left out."""
    try:
        parameters = inspect.signature(type(getattr(function, "function", None) or function).__init__).parameters
    except (TypeError, ValueError):
        return []
    return [name for name, setting in settings.items() if name in parameters and parameters[name].default == setting]


def plain(setting):
    """A setting as JSON has it. Raises TypeError for what it has not: arrays, functions, devices."""
    if setting is None or isinstance(setting, (bool, int, float, str)):
        return setting
    if isinstance(setting, np.generic):
        return plain(setting.item())
    if isinstance(setting, (list, tuple)):
        return [plain(part) for part in setting]
    if isinstance(setting, slice):
        return {"slice": [plain(part) for part in (setting.start, setting.stop, setting.step)]}
    if setting is Ellipsis:
        return {"ellipsis": True}
    raise TypeError


def snake(name):
    """LeakyReLU -> leaky_relu, AveragePooling2D -> average_pooling_2d, LinearFunction -> linear."""
    words = re.sub("(?<=[a-z])ReLU", "_relu", name.rpartition(".")[2]).replace("ReLU", "relu")
    return re.sub("(?<=[a-z])(?=[A-Z0-9])", "_", words.replace("Function", "")).lower()


def write(archive, name, array):
    """One array in numpy's format."""
    with archive.open(name, "w") as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Refusal as refusal:
        print(json.dumps(refusal.args))
        sys.exit(3)
