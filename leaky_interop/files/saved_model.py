"""SavedModels of TensorFlow: one signature of the folder, as a graph of judged operators and plain arrays.

TensorFlow's own loader rebuilds every object of the folder and runs what its graphs say: initialisers, functions that
restore, whatever they read. It is not used. The graph is cut down to what a signature computes, every operator in it
and in the functions that it calls is looked up in a list, and the weights are read from the checkpoint as arrays.
Source: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto, saved_object_graph.proto.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from leaky_interop.errors import Refused, UnsafeFile, Usage, require

from .saved_model_allowed import OPERATORS, REASONS
from .source import MIB, beside, copy, damaged, opened, private_folder, size_of

USUAL = "serving_default"
INITIALISER = "__saved_model_init_op"  # listed among the signatures, and none
MOST_GRAPH = 2048 * MIB  # of saved_model.pb: more is no protobuf message
MOST_WEIGHTS = 1536 * MIB  # what is converted has to be one protobuf message with all numbers inside
MOST_ENTRIES = 10_000
MOST_DEPTH = 100  # of functions that call functions
MOST_NODES = 5_000_000  # with every call written out
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CHECKPOINT = re.compile(r"variables\.(index|data-\d{5}-of-\d{5})")
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
TRUST = "If you trust whoever made it, pass --trust, in Python trust=True: TensorFlow then runs it"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the graph that a signature names; a size that is open is None, as is the shape of any number of axes."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: Any


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What one signature of a SavedModel computes."""

    name: str  # of the folder
    signature: str
    others: tuple[str, ...]  # the signatures that were not chosen
    inputs: dict[str, Tensor]  # by the signature's names
    outputs: dict[str, Tensor]
    graph: Any  # a GraphDef of nothing but what the outputs need
    variables: dict[str, np.ndarray]  # by the node that holds the variable
    references: frozenset[str]  # which of those nodes hand over the numbers themselves, as TensorFlow 1 has it


def read_saved_model(path: str | os.PathLike[str], signature: str | None = None, *, trust: bool = False) -> SavedModel:
    """One signature of the SavedModel in a folder: "serving_default" where nothing is said, or the only one.

    trust: operators that are in no list are taken, too. Raises UnsafeFile for links, operators that do more than compute
    and graphs that would exhaust memory, Usage for what is damaged or lacks the signature, Refused for tensors of other
    kinds than arrays.
    """
    require("tensorflow")
    folder = Path(path)
    name = folder.resolve().name
    _judge_folder(folder)
    meta = _meta_graph(folder, name)
    chosen, others = _choose(meta, signature, name)
    graph = _Graph(meta, name)
    wanted = meta.signature_def[chosen]
    inputs = {key: _tensor(info, key, name) for key, info in sorted(wanted.inputs.items())}
    outputs = {key: _tensor(info, key, name) for key, info in sorted(wanted.outputs.items())}
    for key, port in inputs.items():
        if port.shape is None:
            hint = "Export it with an input_signature that says how many axes there are"
            raise Refused(f"{key!r} of {name}", why="its number of axes is open", hint=hint)
    if not outputs:
        raise Usage(f"signature {chosen!r} of {name} has no outputs")
    made = graph.cut([t.name for t in inputs.values()], [t.name for t in outputs.values()], trust=trust)
    variables, references = _variables(folder, meta, made, name)
    for node in made.node:
        if node.name in references:  # whoever runs the graph puts the numbers there; a variable would be one more
            node.op = "Placeholder"
            for attribute in set(node.attr) - {"dtype", "shape"}:
                del node.attr[attribute]
    return SavedModel(name, chosen, others, inputs, outputs, made, variables, references)


def _judge_folder(folder: Path) -> None:
    count = 0
    for place, folders, names in os.walk(folder):
        for entry in (*folders, *names):
            count += 1
            if count > MOST_ENTRIES:
                raise UnsafeFile(
                    f"{folder.name} holds more than {MOST_ENTRIES:,} files", why="a SavedModel holds a few"
                )
            beside(Path(place) / entry)


def _meta_graph(folder: Path, name: str) -> Any:
    """The graph for inference of those that saved_model.pb holds."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    found = saved_model_pb2.SavedModel()
    with opened(folder / "saved_model.pb") as handle:
        if size_of(handle) > MOST_GRAPH:
            raise UnsafeFile(f"saved_model.pb of {name} is larger than {MOST_GRAPH // MIB:,} MiB")
        try:
            found.ParseFromString(handle.read())
        except DecodeError as error:
            raise damaged(f"saved_model.pb of {name}", str(error)) from None
    metas = list(found.meta_graphs)
    serving = [m for m in metas if list(m.meta_info_def.tags) == ["serve"]] or metas[: len(metas) == 1]
    if len(serving) != 1:
        tags = ", ".join(repr(" ".join(m.meta_info_def.tags)) for m in metas) or "none"
        raise Usage(f"{name} has no graph for inference", why=f"of its graphs one has the tag 'serve'; there is {tags}")
    meta = serving[0]
    for asset in meta.asset_file_def:
        if asset.filename != Path(asset.filename).name or asset.filename in ("", ".", ".."):
            raise UnsafeFile(f"{name} names an asset outside of its folder", where=repr(asset.filename)[:200])
    return meta


def _choose(meta: Any, signature: str | None, name: str) -> tuple[str, tuple[str, ...]]:
    names = sorted(key for key in meta.signature_def if key != INITIALISER)
    if signature is None:
        signature = USUAL if USUAL in names else names[0] if len(names) == 1 else None
    if signature not in names:
        what = "a signature" if signature is None else f"the signature {signature!r}"
        why = f"it has {', '.join(names)}" if names else "it has none"
        hint = (
            "Name one: --signature, in Python signature="
            if names
            else "Export it with signatures, as Model.export does"
        )
        raise Usage(f"{name} needs {what}" if signature is None else f"{name} lacks {what}", why=why, hint=hint)
    return signature, tuple(n for n in names if n != signature)


def _tensor(info: Any, key: str, name: str) -> Tensor:
    import tensorflow as tf

    if info.WhichOneof("encoding") != "name":
        raise Refused(f"{key!r} of {name}", why="it is no array but a sparse or composite tensor")
    dtype = tf.dtypes.as_dtype(info.dtype)
    if dtype in (tf.resource, tf.variant):
        raise Refused(f"{key!r} of {name}", why=f"it is no array but a {dtype.name}")
    axes = None if info.tensor_shape.unknown_rank else info.tensor_shape.dim
    shape = None if axes is None else tuple(None if d.size < 0 else d.size for d in axes)
    return Tensor(info.name, shape, np.dtype(object) if dtype == tf.string else np.dtype(dtype.as_numpy_dtype))


class _Graph:
    """The graph and functions of a SavedModel."""

    def __init__(self, meta: Any, name: str) -> None:
        self.name = name
        self.nodes = {node.name: node for node in meta.graph_def.node}
        self.functions = {f.signature.name: f for f in meta.graph_def.library.function}
        self.versions = meta.graph_def.versions

    def cut(self, inputs: Collection[str], outputs: Collection[str], *, trust: bool) -> Any:
        """What the outputs need of the graph: the inputs' nodes end it. Every operator is judged."""
        from tensorflow.core.framework import graph_pb2

        ends = {node_of(tensor) for tensor in inputs}
        wanted, waiting = set(), [node_of(tensor) for tensor in (*outputs, *inputs)]
        while waiting:
            name = waiting.pop()
            if name in wanted:
                continue
            if name not in self.nodes:
                raise damaged(self.name, f"there is no node {name!r}")
            wanted.add(name)
            waiting += [] if name in ends else map(node_of, self.nodes[name].input)
        kept = [node for name, node in self.nodes.items() if name in wanted]
        called: dict[str, int] = {}
        total = sum(self._size(node, called, 1) for node in kept)
        if total > MOST_NODES:
            raise self._unsafe("its functions call one another too often", f"{total:,} nodes come of it")
        self._judge([*kept, *(n for f in called for n in self.functions[f].node_def)], trust)
        graph = graph_pb2.GraphDef(versions=self.versions)
        for node in kept:
            made = graph.node.add()
            made.CopyFrom(node)
            if node.name in ends:
                del made.input[:]
        graph.library.function.extend(self.functions[name] for name in called)
        for node in (*graph.node, *(n for f in graph.library.function for n in f.node_def)):
            node.device = ""
            node.attr.pop("_output_shapes", None)  # as seen when it was traced: TensorFlow infers them anew
        return graph

    def _size(self, node: Any, called: dict[str, int], depth: int) -> int:
        """Nodes that a node stands for once every call is written out; `called` collects the functions."""
        if depth > MOST_DEPTH:
            raise self._unsafe("its functions call one another without end", f"{MOST_DEPTH} deep")
        total = 1
        for name in called_by(node):
            if name in self.functions:
                if name not in called:
                    inner = sum(self._size(n, called, depth + 1) for n in self.functions[name].node_def)
                    called[name] = inner
                total += called[name]
        return total

    def _judge(self, nodes: Collection[Any], trust: bool) -> None:
        strange = {} if trust else {n.op: n for n in nodes if n.op not in OPERATORS and n.op not in self.functions}
        if strange:
            listed = ", ".join(f"{op} ({REASONS[op]})" if op in REASONS else op for op in sorted(strange))
            why = "only operators that are known to compute and do nothing else are given to TensorFlow"
            raise UnsafeFile(f"{self.name} has the operators {listed}"[:2000], why=why, hint=TRUST)

    def _unsafe(self, what: str, why: str) -> UnsafeFile:
        return UnsafeFile(f"{self.name} has an unsafe graph", where=what, why=why)


def node_of(tensor: str) -> str:
    """The node that an input of a graph's node comes from: "x", "x:1" and the control input "^x" come from x."""
    return tensor.removeprefix("^").partition(":")[0]


def called_by(node: Any) -> Iterator[str]:
    """Every function that a node may call: an operator of that name, or an attribute that names it."""
    yield node.op
    for value in node.attr.values():
        yield from (f.name for f in ([value.func] if value.HasField("func") else value.list.func))


def _variables(folder: Path, meta: Any, cut: Any, name: str) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """The numbers of every variable of the cut graph, by node; and which nodes are variables of TensorFlow 1."""
    held = [node for node in cut.node if node.op in ("VarHandleOp", "VariableV2")]
    references = frozenset(node.name for node in held if node.op == "VariableV2")
    if not held:
        return {}, references
    with private_folder() as private:
        reader, size = _checkpoint(folder, private, name)
        keys = _keys(meta, cut, reader, name)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        found: dict[str, np.ndarray] = {}
        total = 0
        for node in held:
            key = keys.get(node.name) or node.attr["shared_name"].s.decode("utf-8", "replace") or node.name
            if key not in shapes:
                raise damaged(name, f"its checkpoint has no {key!r}")
            declared = math.prod(shapes[key]) * dtypes[key].size
            total += declared
            if declared > size:
                raise damaged(name, f"{key!r} is larger than the whole checkpoint")
            if total > MOST_WEIGHTS:
                why = f"what reads it holds a network in one message, of at most {MOST_WEIGHTS // MIB:,} MiB of weights"
                raise Refused(f"the SavedModel {name}", why=why, hint="Convert the network from Keras, or part by part")
            found[node.name] = np.asarray(_read(reader, key, name))
    return found, references


def _checkpoint(folder: Path, private: Path, name: str) -> tuple[Any, int]:
    """TensorFlow's reader over a copy of the checkpoint, and the bytes of its numbers.

    A copy: the reader opens files by names that it makes itself, whatever they have become since they were looked at.
    """
    import tensorflow as tf

    place, size = folder / "variables", 0
    for entry in sorted(place.iterdir() if place.is_dir() else ()):
        if CHECKPOINT.fullmatch(entry.name):
            with opened(entry) as handle:
                size += size_of(handle)
                copy(handle, private / entry.name)
    if not (private / "variables.index").is_file():
        raise damaged(name, "it has no variables/variables.index")
    try:
        return tf.train.load_checkpoint(str(private / "variables")), size
    except Exception as error:  # the reader raises whatever it meets
        raise damaged(f"the checkpoint of {name}", _first_line(error, private)) from None


def _read(reader: Any, key: str, name: str) -> Any:
    try:
        return reader.get_tensor(key)
    except Exception as error:  # the reader raises whatever it meets
        raise damaged(f"the checkpoint of {name}", f"{key!r}: {type(error).__name__}") from None


def _first_line(error: Exception, private: Path) -> str:
    return str(error).partition("\n")[0].replace(f"{private}/", "")


def _keys(meta: Any, cut: Any, reader: Any, name: str) -> dict[str, str]:
    """The checkpoint's key of each variable node, which objects and not names tell since TensorFlow 2.

    The calls of the graph hand over the objects that their functions are bound to, behind the arguments.
    """
    if not meta.HasField("object_graph_def"):
        return {}
    objects, functions = meta.object_graph_def.nodes, meta.object_graph_def.concrete_functions
    paths = _checkpointed(objects, reader, name)
    found = {}
    for node in cut.node:
        function = node.attr["f"].func.name if node.op in CALLS else ""
        bound = list(functions[function].bound_inputs) if function in functions else []
        handed = [tensor for tensor in node.input if not tensor.startswith("^")]
        if len(bound) > len(handed):
            raise damaged(name, f"{node.name} lacks what its function is bound to")
        for tensor, place in zip(handed[len(handed) - len(bound) :], bound, strict=True):
            if place in paths:
                found[node_of(tensor)] = paths[place]
    return found


def _checkpointed(objects: Any, reader: Any, name: str) -> dict[int, str]:
    """The checkpoint's key of each object: both are trees of named children, from one root."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    if not reader.has_tensor(OBJECTS):
        return {}
    kept = trackable_object_graph_pb2.TrackableObjectGraph()
    try:
        kept.ParseFromString(_read(reader, OBJECTS, name))
    except (DecodeError, TypeError) as error:
        raise damaged(f"the checkpoint of {name}", str(error)) from None
    found: dict[int, str] = {}
    waiting, seen = [(0, 0)], {0}
    while waiting:
        ours, theirs = waiting.pop()
        if not (0 <= ours < len(objects) and 0 <= theirs < len(kept.nodes)):
            raise damaged(name, "an object refers to one that is not there")
        found.update((ours, a.checkpoint_key) for a in kept.nodes[theirs].attributes if a.name == "VARIABLE_VALUE")
        children = {child.local_name: child.node_id for child in kept.nodes[theirs].children}
        for child in objects[ours].children:
            if child.local_name in children and child.node_id not in seen:
                seen.add(child.node_id)
                waiting.append((child.node_id, children[child.local_name]))
    return found
