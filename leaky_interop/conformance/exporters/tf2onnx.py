"""tf2onnx on TensorFlow functions: the function, and LeakyReLU written out by hand. onnxruntime runs the result."""

import answers
import in_onnx
import numpy as np
import tensorflow as tf

ENVIRONMENT = {
    "python": "3.11",
    "packages": ["tensorflow==2.21.0", "tf2onnx==1.17.0", "keras==3.15.1", "onnx==1.23.2", "onnxruntime==1.32.0"],
}
SPELLINGS = {  # the function, and slope * x beside x by two ways to choose
    "nn.leaky_relu": lambda x, slope: tf.nn.leaky_relu(x) if slope is None else tf.nn.leaky_relu(x, alpha=slope),
    "maximum": lambda x, slope: tf.maximum(slope * x, x),
    "where": lambda x, slope: tf.where(x > 0, x, slope * x),
}


def describe():
    variants = ["opset 15", "opset 18"]
    return {
        "name": "tf2onnx",
        "version": tf2onnx().__version__,
        "variants": variants,
        "dtypes": ["float32"],
        "spellings": {v: list(SPELLINGS) for v in variants},
        "defaults": {v: {"nn.leaky_relu": 0.2} for v in variants},
    }


def tf2onnx():
    """The package of the same name as this file, which is loaded by its path."""
    import importlib

    return importlib.import_module("tf2onnx")


class Source:
    """TensorFlow as a source."""

    @staticmethod
    def made(job, n):
        if job["slope"] is None and job["spelling"] != "nn.leaky_relu":
            raise TypeError("it has no default")
        return tf.function(
            lambda x: SPELLINGS[job["spelling"]](x, job["slope"]), [tf.TensorSpec((None, n), job["dtype"], "x")]
        )

    @staticmethod
    def run(function, x):
        """Eagerly: with oneDNN, TensorFlow 2.21's graphs take maximum(slope * x, x) for LeakyReLU above 1 too."""
        return np.asarray(function.python_function(tf.constant(x[None])))[0]


def run(job, arrays):
    opset = int(job["variant"].split()[1])

    def export(function):
        return tf2onnx().convert.from_function(function, function.input_signature, opset=opset)[0]

    return answers.answer(job, arrays["x"], Source, export, in_onnx.run, in_onnx.form)
