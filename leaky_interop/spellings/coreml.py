"""Core ML .mlmodel: ActivationLeakyReLU of a neural network, and leaky_relu of an ML program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .messages import lazily, parse
from .spelling import Found, Spelling, single

FLOAT16, FLOAT32 = 10, 11  # MIL's data types
PACKED = "repeated float"  # protobuf reads these packed or not

# mlmodel/format: Model.proto, NeuralNetwork.proto, MIL.proto
declared = lazily(
    "leaky_interop.coreml",
    {
        "ArrayFeatureType": {"shape": (1, "repeated int64"), "dataType": (2, "int32")},
        "FeatureType": {"multiArrayType": (5, "ArrayFeatureType")},
        "FeatureDescription": {"name": (1, "string"), "type": (3, "FeatureType")},
        "ModelDescription": {"input": (1, "repeated FeatureDescription"), "output": (10, "repeated FeatureDescription")},
        "ActivationLeakyReLU": {"alpha": (1, "float")},
        "ActivationParams": {"leakyReLU": (15, "ActivationLeakyReLU")},
        "Branch": {"ifBranch": (1, "NeuralNetwork"), "elseBranch": (2, "NeuralNetwork")},
        "Loop": {"conditionNetwork": (3, "NeuralNetwork"), "bodyNetwork": (4, "NeuralNetwork")},
        "Layer": {
            "name": (1, "string"), "input": (2, "repeated string"), "output": (3, "repeated string"),
            "activation": (130, "ActivationParams"), "branch": (605, "Branch"), "loop": (615, "Loop"),
        },
        "NeuralNetwork": {"layers": (1, "repeated Layer")},
        "TensorType": {"dataType": (1, "int32"), "rank": (2, "int64"), "dimensions": (3, "repeated Dimension")},
        "Dimension": {"constant": (1, "ConstantDimension")},
        "ConstantDimension": {"size": (1, "uint64")},
        "ValueType": {"tensorType": (1, "TensorType")},
        "Floats": {"values": (1, PACKED)},
        "Bytes": {"values": (1, "bytes")},
        "TensorValue": {"floats": (1, "Floats"), "bytes": (7, "Bytes")},
        "Immediate": {"tensor": (1, "TensorValue")},
        "Value": {"type": (2, "ValueType"), "immediateValue": (3, "Immediate")},
        "NamedValueType": {"name": (1, "string"), "type": (2, "ValueType")},
        "Binding": {"name": (1, "string"), "value": (2, "Value")},
        "Argument": {"arguments": (1, "repeated Binding")},
        "InputEntry": {"key": (1, "string"), "value": (2, "Argument")},
        "AttributeEntry": {"key": (1, "string"), "value": (2, "Value")},
        "Operation": {
            "type": (1, "string"), "inputs": (2, "repeated InputEntry"), "outputs": (3, "repeated NamedValueType"),
            "blocks": (4, "repeated Block"), "attributes": (5, "repeated AttributeEntry"),
        },
        "Block": {"outputs": (2, "repeated string"), "operations": (3, "repeated Operation")},
        "BlockEntry": {"key": (1, "string"), "value": (2, "Block")},
        "Function": {
            "inputs": (1, "repeated NamedValueType"), "opset": (2, "string"), "blocks": (3, "repeated BlockEntry"),
        },
        "FunctionEntry": {"key": (1, "string"), "value": (2, "Function")},
        "Program": {"version": (1, "int64"), "functions": (2, "repeated FunctionEntry")},
        "Pipeline": {"models": (1, "repeated Model")},
        "OuterPipeline": {"pipeline": (1, "Pipeline")},
        "Model": {
            "specificationVersion": (1, "int32"), "description": (2, "ModelDescription"),
            "pipelineClassifier": (200, "OuterPipeline"), "pipelineRegressor": (201, "OuterPipeline"),
            "pipeline": (202, "Pipeline"), "regressor": (303, "NeuralNetwork"), "classifier": (403, "NeuralNetwork"),
            "neuralNetwork": (500, "NeuralNetwork"), "mlProgram": (502, "Program"),
        },
    },
)  # fmt: skip


def model_of(source: Any) -> Any:
    """The message, of bytes or of coremltools' own object."""
    content = source.SerializeToString() if hasattr(source, "SerializeToString") else source
    return parse(declared()["Model"], content, "Core ML model")


def _models(model: Any) -> Iterator[Any]:
    """The model and those of its pipelines."""
    yield model
    pipelines = (model.pipeline, model.pipelineClassifier.pipeline, model.pipelineRegressor.pipeline)
    for inner in (inner for pipeline in pipelines for inner in pipeline.models):
        yield from _models(inner)  # no deeper than protobuf reads


def read_network(spelling: Spelling, source: Any) -> list[Found]:
    """Every ActivationLeakyReLU. coremltools leaves an alpha of 0 out, as protobuf does."""
    found = []
    networks = [n for m in _models(model_of(source)) for n in (m.neuralNetwork, m.classifier, m.regressor)]
    while networks:
        network = networks.pop(0)
        for index, layer in enumerate(network.layers):
            networks += [layer.branch.ifBranch, layer.branch.elseBranch] if layer.HasField("branch") else []
            networks += [layer.loop.conditionNetwork, layer.loop.bodyNetwork] if layer.HasField("loop") else []
            if layer.activation.HasField("leakyReLU"):
                leaky = layer.activation.leakyReLU
                there = leaky.HasField("alpha")
                slope = leaky.alpha if there else None
                found.append(spelling.judge(there, slope, name=layer.name, place=f"layer {index}"))
    return found


def read_program(spelling: Spelling, source: Any) -> list[Found]:
    """Every leaky_relu of an ML program; its alpha is a constant inside of the model, in 16 or 32 bits."""
    found = []
    programs = [m.mlProgram for m in _models(model_of(source))]
    blocks = [b.value for program in programs for f in program.functions for b in f.value.blocks]
    while blocks:
        block = blocks.pop(0)
        constants = {o.outputs[0].name: o for o in block.operations if o.type == "const" and o.outputs}
        for index, operation in enumerate(block.operations):
            blocks += operation.blocks
            if operation.type == "leaky_relu":
                alphas = [i.value for i in operation.inputs if i.key == "alpha"]
                slope = _number(alphas[0], constants) if alphas else None
                name = operation.outputs[0].name if operation.outputs else ""
                found.append(spelling.judge(bool(alphas), slope, name=name, place=f"operation {index}"))
    return found


def _number(argument: Any, constants: dict[str, Any]) -> float | None:
    """A scalar argument: a value, or the name of a constant."""
    if not argument.arguments:
        return None
    binding = argument.arguments[0]
    value = binding.value
    if binding.HasField("name"):
        made = constants.get(binding.name)
        value = next((a.value for a in made.attributes if a.key == "val"), None) if made is not None else None
    if value is None:
        return None
    tensor = value.immediateValue.tensor
    if len(tensor.floats.values) == 1:
        return float(tensor.floats.values[0])
    if value.type.tensorType.dataType == FLOAT16 and len(tensor.bytes.values) == 2:
        return float(np.frombuffer(tensor.bytes.values, "<f2")[0])
    return None


def _new(version: int, name: str, shape: tuple[int, ...] = (1,)) -> Any:
    """A model of one array in and one out."""
    model = declared()["Model"](specificationVersion=version)
    for features, called in ((model.description.input, "x"), (model.description.output, name)):
        array = features.add(name=called).type.multiArrayType
        array.shape.extend(shape)
        array.dataType = 65568  # FLOAT32
    return model


def write_network(spelling: Spelling, slope: float, name: str) -> bytes:
    model = _new(1, name)
    layer = model.neuralNetwork.layers.add(name=name, input=["x"], output=[name])
    layer.activation.leakyReLU.alpha = slope
    return model.SerializeToString()


def write_program(spelling: Spelling, slope: float, name: str) -> bytes:
    opset = "CoreML5"
    model = _new(6, name)
    model.mlProgram.version = 1
    function = model.mlProgram.functions.add(key="main").value
    function.opset = opset
    block = function.blocks.add(key=opset).value
    block.outputs.append(name)
    _array(function.inputs.add(name="x").type)
    constant = block.operations.add(type="const")
    constant.outputs.add(name=f"{name}_alpha").type.tensorType.dataType = FLOAT32
    value = constant.attributes.add(key="val").value
    value.type.tensorType.dataType = FLOAT32
    value.immediateValue.tensor.floats.values.append(slope)
    operation = block.operations.add(type="leaky_relu")
    for key, bound in (("alpha", f"{name}_alpha"), ("x", "x")):
        operation.inputs.add(key=key).value.arguments.add(name=bound)
    _array(operation.outputs.add(name=name).type)
    return model.SerializeToString()


def _array(kind: Any) -> None:
    kind.tensorType.dataType, kind.tensorType.rank = FLOAT32, 1
    kind.tensorType.dimensions.add().constant.size = 1


NETWORK = Spelling(
    system="Core ML",
    api="ActivationLeakyReLU",
    parameter="alpha",
    default=0.0,
    held="float32",
    formula="x < 0 ? a*x : x",
    line="leakyReLU { alpha: {slope} }",
    number=single,
    source="mlmodel/format/NeuralNetwork.proto; coremltools 9 leaves an alpha of 0 out",
    not_run="runs on macOS only",
    reader=read_network,
    writer=write_network,
)
PROGRAM = Spelling(
    system="Core ML",
    api="MIL leaky_relu",
    parameter="alpha",
    default=None,
    held="float32",
    formula="x < 0 ? a*x : x",
    line="leaky_relu(alpha = {slope}, x = x)",
    number=single,
    source="coremltools/converters/mil/mil/ops/defs/iOS15/activation.py, 9.0; in 16 bits where the program is",
    not_run="runs on macOS only",
    reader=read_program,
    writer=write_program,
)
