"""keras2onnx on tf.keras models with one activation; the onnxruntime of its time runs the result."""

import answers
import in_onnx
import keras2onnx
import tensorflow as tf

ENVIRONMENT = {
    "python": "3.7",
    "packages": [
        "keras2onnx==1.7.0",
        "tensorflow==2.2.3",
        "onnx==1.8.1",
        "onnxruntime==1.8.1",
        "protobuf==3.20.3",
        "numpy==1.18.5",
        "h5py==2.10.0",
    ],
}
VARIANT = "tf.keras to onnx"
DEFAULTS = {"LeakyReLU": 0.3, "ReLU": 0.0, "ReLU with all": 0.0, "PReLU": 0.0, "function": 0.2}


def describe():
    return {
        "name": "keras2onnx",
        "version": keras2onnx.__version__,
        "variants": [VARIANT],
        "dtypes": ["float32"],
        "spellings": {VARIANT: list(DEFAULTS)},
        "defaults": {VARIANT: DEFAULTS},
    }


class Source:
    """tf.keras as a source; its spellings of Keras 2."""

    @staticmethod
    def made(job, n):
        tf.keras.backend.clear_session()  # layers are counted from the start again, so that messages are alike
        spelling, slope = job["spelling"], job["slope"]
        layers, x = tf.keras.layers, tf.keras.Input((n,), name="x")

        def given(name):
            return {} if slope is None else {name: slope}

        if spelling == "LeakyReLU":
            layer = layers.LeakyReLU(**given("alpha"))
        elif spelling == "ReLU":
            layer = layers.ReLU(**given("negative_slope"))
        elif spelling == "ReLU with all":
            layer = layers.ReLU(max_value=6.0, threshold=1.0, **given("negative_slope"))
        elif spelling == "function":
            layer = layers.Lambda(lambda y: tf.nn.leaky_relu(y, **given("alpha")))
        else:
            layer = layers.PReLU(alpha_initializer=tf.keras.initializers.Constant(slope or 0.0))
        return tf.keras.Model(x, layer(x))

    @staticmethod
    def run(model, x):
        return model(x[None], training=False).numpy()[0]


def export(model):
    return keras2onnx.convert_keras(model, model.name)


def run(job, arrays):
    return answers.answer(job, arrays["x"], Source, export, in_onnx.run, in_onnx.form)
