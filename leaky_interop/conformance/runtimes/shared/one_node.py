"""Not a runtime: the ONNX model of a job, for the runtimes that read ONNX. Needs the package onnx in their environment."""

import numpy as np
from onnx import helper, numpy_helper


def onnx_model(job, arrays, opset=16):
    """LeakyRelu or PRelu (input "x", output "y") in the placement of `job`, its shapes and its constants fixed.

    A slope that is left out is no attribute. Opset 16 is the first whose LeakyRelu has the type bfloat16.
    """
    x, placement = arrays["x"], job["placement"]
    constants, nodes = {}, []

    def add(kind, *constant_inputs, **attributes):
        """One more node, which reads what the last one computed, then constants."""
        constants.update({name: arrays[name] for name in constant_inputs})
        source = nodes[-1].output[0] if nodes else "x"
        name = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, [source, *constant_inputs], [name], name=name, **attributes))

    if placement == "conv":
        add("Conv", "w", kernel_shape=list(arrays["w"].shape[2:]))
    if placement == "quantised":
        add("QuantizeLinear", "x_scale", "x_zero_point")
        add("DequantizeLinear", "x_scale", "x_zero_point")
    if job["operator"] == "prelu":
        add("PRelu", "slope")
    else:
        add("LeakyRelu", **({} if job["slope"] is None else {"alpha": job["slope"]}))
    if placement == "max_pool":
        add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    if placement == "quantised":
        add("QuantizeLinear", "y_scale", "y_zero_point")
        add("DequantizeLinear", "y_scale", "y_zero_point")
    nodes[-1].output[0] = "y"

    batch, _, height, width = x.shape if placement != "alone" else (0, 0, 0, 0)
    shape = {
        "alone": x.shape,
        "quantised": x.shape,
        "conv": (batch, len(arrays.get("w", ())), height, width),
        "max_pool": (batch, 1, height // 2, width // 2),
    }[placement]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes,
        "job",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
