"""Reads a signature of a SavedModel: tf2onnx makes it ONNX in memory, and the engine of ONNX reads that."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

from ... import frameworks
from ...errors import RuntimeFailure, Unsupported, require
from ...files.saved_model import SavedModel
from ...graph import Graph
from .function import ARGUMENT, Session, function_of, telling
from .run import Program, describe

FRAMEWORK = "tensorflow"
OPSET = 18  # the newest that tf2onnx 1.17 writes
CALL = re.compile(
    r"(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+(?=.)"
)  # before a node's name, for each call written out


def load(
    model: SavedModel,
    *,
    example: Any = None,
    input_shapes: Any = None,
    static_batch: bool = False,
    dynamic_batch: bool = False,
) -> Graph:
    """The graph of a signature, its inputs and outputs under the signature's names.

    Raises MissingFramework without tf2onnx, RuntimeFailure where it fails, Unsupported with TensorFlow's own names for
    operators that it leaves as they are.
    """
    tf2onnx = require("tf2onnx")
    proto = named(_converted(tf2onnx, model), model)
    session = Session(model)
    try:
        graph = frameworks.get("onnx").load(
            proto, example=example, input_shapes=input_shapes, static_batch=static_batch, dynamic_batch=dynamic_batch
        )
    except Unsupported as error:
        if error.partial is not None:
            _told(error.partial, model, session, tf2onnx.__version__)
        raise
    for one in {id(g): g for g in (graph, graph.raw) if g is not None}.values():
        _told(one, model, session, tf2onnx.__version__)
    return graph


def _told(graph: Graph, model: SavedModel, session: Session, version: str) -> None:
    """What a report says of where the graph comes from, and TensorFlow as what runs it."""
    graph.framework, graph.description = FRAMEWORK, describe(model)
    graph.output_names = list(model.outputs)
    graph.program = Program(session, graph.program)
    others = f"; it has {', '.join(model.others)} too" if model.others else ""
    graph.notes.append(f"read through tf2onnx {version} by its signature {model.signature}{others}")


def _converted(tf2onnx: Any, model: SavedModel) -> Any:
    convert, tf = require("tf2onnx.convert"), require("tensorflow")
    with telling(f"tf2onnx {tf2onnx.__version__} cannot convert signature {model.signature!r} of {model.name}"):
        with _quietly(), tf.device("CPU:0"):
            function = function_of(model)
            return convert.from_function(function, function.input_signature, opset=OPSET)[0]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what tf2onnx logs: operators that it leaves as they are come to light when its model is read."""
    logger = logging.getLogger("tf2onnx")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def named(made: Any, model: SavedModel) -> Any:
    """The model with the signature's names for its inputs, and nodes called as they were where they were written."""
    from onnx import helper

    graph = made.graph
    for node in graph.node:
        node.name = CALL.sub("", node.name)
    if strange := {port.name for port in graph.input} - {ARGUMENT.format(i) for i in range(len(model.inputs))}:
        raise RuntimeFailure(f"tf2onnx made inputs of {model.name} that it has not", why=", ".join(sorted(strange)))
    del graph.input[:]  # all of the signature's, those too that nothing reads
    passed = []
    for index, (name, port) in enumerate(model.inputs.items()):
        graph.input.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(port.dtype), port.shape))
        passed.append(helper.make_node("Identity", [name], [ARGUMENT.format(index)]))
    nodes = [*passed, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return made
