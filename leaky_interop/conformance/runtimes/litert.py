"""LiteRT (TensorFlow Lite): a flatbuffer written here, run by its reference kernels, its own, and XNNPACK."""

import importlib.metadata

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

ENVIRONMENT = {"python": "3.11", "packages": ["ai-edge-litert==2.3.0", "flatbuffers==25.12.19", "numpy==2.4.6"]}
KERNELS = {
    "reference": OpResolverType.BUILTIN_REF,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.BUILTIN,
}
TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
}
VERSIONS = {"QUANTIZE": 2, "DEQUANTIZE": 2, "LEAKY_RELU": 2, "PRELU": 1}  # of the operators, the lowest with int8


def describe():
    return {
        "name": "litert",
        "version": importlib.metadata.version("ai-edge-litert"),
        "variants": list(KERNELS),
        "dtypes": ["float32"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised", "quantised uint8", "quantised int16"],
        "default": 0.0,  # of the flatbuffer's field
        "held": {"float32": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    placement, x = job["placement"], arrays["x"]
    last = placement in ("conv", "max_pool")  # its convolution and pooling want channels last
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
    steps = _steps(job, arrays, x)
    interpreter = Interpreter(
        model_content=_flatbuffer(x.shape, steps),
        experimental_op_resolver_type=KERNELS[job["variant"]],
        num_threads=1,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return {"y": y.transpose(0, 3, 1, 2) if last else y}


def _steps(job, arrays, x):
    """One tuple an operator: name, options, constants, shape and grid of the result.

    A constant is an array and its grid; a grid is a scale and a zero point of its integer type, or None for float32.
    """
    placement, slope = job["placement"], job["slope"]
    grids = {
        side: (arrays[f"{side}_scale"], arrays[f"{side}_zero_point"]) for side in "xy" if f"{side}_scale" in arrays
    }
    if job["operator"] == "prelu":
        value, grid = arrays["slope"].reshape((1,) * max(x.ndim - 1, 1)), None
        if grids:  # a code 127 from zero stands for the slope
            integer = arrays["x_zero_point"].dtype
            grid = (abs(value.item()) / 127 or 1.0, np.array(128 if integer == np.uint8 else 0, integer))
            value = (np.rint(value / grid[0]) + grid[1]).astype(integer)
        leaky = ("PRELU", None, [(value, grid)])
    else:
        leaky = ("LEAKY_RELU", schema.LeakyReluOptionsT(0.0 if slope is None else slope), [])
    if placement == "conv":
        w = np.ascontiguousarray(arrays["w"].transpose(0, 2, 3, 1))
        options = schema.Conv2DOptionsT(padding=schema.Padding.VALID, strideW=1, strideH=1)
        shape = (*x.shape[:3], len(w))
        return [
            ("CONV_2D", options, [(w, None), (np.zeros(len(w), np.float32), None)], shape, None),
            (*leaky, shape, None),
        ]
    if placement == "max_pool":
        options = schema.Pool2DOptionsT(schema.Padding.VALID, 2, 2, 2, 2)
        pooled = (x.shape[0], x.shape[1] // 2, x.shape[2] // 2, x.shape[3])
        return [(*leaky, x.shape, None), ("MAX_POOL_2D", options, [], pooled, None)]
    if grids:
        quantise, dequantise = ("QUANTIZE", None, [], x.shape), ("DEQUANTIZE", None, [], x.shape, None)
        return [(*quantise, grids["x"]), (*leaky, x.shape, grids["y"]), dequantise]
    return [(*leaky, x.shape, None)]


def _flatbuffer(shape, steps):
    """A model of operators one after the other."""
    model, graph = schema.ModelT(version=3), schema.SubGraphT(name=b"job")
    model.subgraphs, model.buffers, model.operatorCodes = [graph], [schema.BufferT()], []
    graph.tensors, graph.operators = [], []

    def tensor(shape, grid=None, constant=None):
        quantisation = schema.QuantizationParametersT(scale=[grid[0]], zeroPoint=[grid[1]]) if grid else None
        buffer = 0
        if constant is not None:
            model.buffers.append(schema.BufferT(data=np.frombuffer(constant.tobytes(), np.uint8)))
            buffer = len(model.buffers) - 1
        kind = TYPES[grid[1].dtype.name if grid else "float32"]
        name = b"t%d" % len(graph.tensors)
        made = schema.TensorT(shape=list(shape), type=kind, buffer=buffer, name=name, quantization=quantisation)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    current = tensor(shape)
    graph.inputs = [current]
    for name, options, constants, shape, grid in steps:
        code = getattr(schema.BuiltinOperator, name)
        model.operatorCodes.append(
            schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=VERSIONS.get(name, 1))
        )
        inputs = [current, *(tensor(c.shape, g, c) for c, g in constants)]
        current = tensor(shape, grid)
        kind = type(options).__name__.removesuffix("T") if options else "NONE"
        graph.operators.append(
            schema.OperatorT(
                opcodeIndex=len(model.operatorCodes) - 1,
                inputs=inputs,
                outputs=[current],
                builtinOptionsType=getattr(schema.BuiltinOptions, kind),
                builtinOptions=options,
            )
        )
    graph.outputs = [current]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
