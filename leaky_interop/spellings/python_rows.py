"""The frameworks that are called from Python: what each calls the slope, and what it means when left out.

Defaults and precisions were measured with the versions that `source` names; where a framework is installed, a test
compares the default with the one in its own signature.
"""

from __future__ import annotations

from .python_source import Call, python
from .spelling import Spelling

KERAS_3 = ("keras", "keras.api", "tensorflow.keras", "tf.keras")
KERAS_2 = ("tf_keras", "keras.layers.advanced_activations", "tensorflow.python.keras")
ABOVE, BELOW = "x > 0 ? x : a*x", "x < 0 ? a*x : x"
SIDED = "a <= 1 ? max(x, a*x) : min(x, a*x)"


def under(prefixes: tuple[str, ...], *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for prefix in prefixes for name in names)


PYTHON: tuple[Spelling, ...] = (
    python(
        Call(under(KERAS_3, "layers.LeakyReLU"), ("negative_slope", "alpha"), position=0, function=False),
        system="Keras 3", default=0.3, held="tensor", formula=ABOVE, refused=("negative",),
        instead="keras.ops.leaky_relu takes it", source="keras/src/layers/activations/leaky_relu.py, 3.15.1",
    ),
    python(
        Call(under(KERAS_3, "ops.leaky_relu", "activations.leaky_relu", "ops.nn.leaky_relu"), ("negative_slope",)),
        system="Keras 3", default=0.2, held="tensor", formula=ABOVE,
        source="keras/src/ops/nn.py, keras/src/activations/activations.py, 3.15.1",
    ),
    python(
        Call(under((*KERAS_3, "tf_keras"), ""), ("activation",), string="leaky_relu"),
        system="Keras 3", api='activation="leaky_relu"', parameter="(none)", line='keras.layers.Activation("leaky_relu")',
        default=0.2, held="tensor", formula=ABOVE, only=0.2,
        instead="keras.layers.LeakyReLU takes any that is not negative", source="keras/src/activations, 3.15.1",
    ),
    python(
        Call((*under(KERAS_2, "layers.LeakyReLU"), "keras.layers.advanced_activations.LeakyReLU"), ("alpha",), position=0,
             function=False),
        system="Keras 2", default=0.3, held="float32", formula=ABOVE,
        source="tf_keras/src/layers/activation/leaky_relu.py, 2.21",
    ),
    python(
        Call(("tf.nn.leaky_relu", *under(("tensorflow", "tensorflow.compat.v1", "tf.compat.v1"), "nn.leaky_relu")),
             ("alpha",)),
        system="TensorFlow", default=0.2, held="float32", formula=ABOVE,
        source="tensorflow/python/ops/nn_ops.py, 2.21",
    ),
    python(
        Call(("torch.nn.LeakyReLU",), ("negative_slope",), position=0, function=False),
        system="PyTorch", default=0.01, held="tensor", formula=ABOVE, source="torch/nn/modules/activation.py, 2.13",
    ),
    python(
        Call(("torch.nn.functional.leaky_relu", "torch.nn.functional.leaky_relu_", "torch.ops.aten.leaky_relu"),
             ("negative_slope",)),
        system="PyTorch", default=0.01, held="tensor", formula=ABOVE, source="torch/nn/functional.py, 2.13",
    ),
    python(
        Call(("jax.nn.leaky_relu",), ("negative_slope",)),
        system="JAX", default=0.01, held="tensor", formula=BELOW, source="jax/_src/nn/functions.py, 0.10.2",
    ),
    python(
        Call(("flax.linen.leaky_relu", "flax.nnx.leaky_relu", "flax.linen.activation.leaky_relu"), ("negative_slope",)),
        system="Flax", default=0.01, held="tensor", formula=BELOW, source="is jax.nn.leaky_relu, 0.12.8",
    ),
    python(
        Call(("paddle.nn.LeakyReLU",), ("negative_slope",), position=0, function=False),
        system="PaddlePaddle", default=0.01, held="tensor", formula=SIDED,
        source="python/paddle/nn/layer/activation.py, 3.3.1",
    ),
    python(
        Call(("paddle.nn.functional.leaky_relu",), ("negative_slope",)),
        system="PaddlePaddle", default=0.01, held="tensor", formula=SIDED,
        source="python/paddle/nn/functional/activation.py, 3.3.1",
    ),
    python(
        Call(("chainer.functions.leaky_relu",), ("slope",)),
        system="Chainer", default=0.2, held="tensor", formula=ABOVE,
        source="chainer/functions/activation/leaky_relu.py, 7.8.1",
    ),
    python(
        Call(("mindspore.nn.LeakyReLU",), ("alpha", "negative_slope"), position=0, function=False),
        system="MindSpore", default=0.2, held="float32", formula=SIDED, source="measured, 2.10",
    ),
    python(
        Call(("mindspore.ops.leaky_relu",), ("alpha", "negative_slope")),
        system="MindSpore", default=0.2, held="float32", formula=SIDED, source="measured, 2.10",
    ),
    python(
        Call(("tinygrad.Tensor.leaky_relu",), ("neg_slope",), method="leaky_relu"),
        system="tinygrad", default=0.01, held="tensor", formula=BELOW, source="tinygrad/mixin/elementwise.py, 0.14",
    ),
    python(
        Call(("mlx.nn.LeakyReLU",), ("negative_slope",), position=0, function=False),
        system="MLX", default=0.01, held="tensor", formula="max(x, a*x)", source="mlx/nn/layers/activations.py, 0.32.4",
    ),
    python(
        Call(("mlx.nn.leaky_relu",), ("negative_slope",)),
        system="MLX", default=0.01, held="tensor", formula="max(x, a*x)", source="mlx/nn/layers/activations.py, 0.32.4",
    ),
    python(
        Call(("oneflow.nn.LeakyReLU",), ("negative_slope",), position=0, function=False),
        system="OneFlow", default=0.01, held="float32", formula=ABOVE, source="measured, 0.8",
    ),
    python(
        Call(("nnabla.functions.leaky_relu",), ("alpha",)),
        system="NNabla", default=0.1, held="float32", formula=ABOVE, source="measured, 1.39",
    ),
    python(
        Call(("tvm.relax.op.nn.leakyrelu",), ("alpha",)),
        system="TVM", default=0.01, held="tensor", formula=ABOVE, source="tvm/relax/op/nn, 0.27",
    ),
    python(
        Call(("lasagne.nonlinearities.LeakyRectify",), ("leakiness",), position=0, function=False),
        system="Lasagne", default=0.01, held="float32", formula="(1+a)/2*x + (1-a)/2*|x|",
        source="lasagne/nonlinearities.py, 0.1",
    ),
    python(
        Call(("lasagne.nonlinearities.leaky_rectify",)),
        system="Lasagne", default=0.01, held="float32", formula="(1+a)/2*x + (1-a)/2*|x|", only=0.01,
        instead="lasagne.nonlinearities.LeakyRectify takes any", source="lasagne/nonlinearities.py, 0.1",
    ),
    python(
        Call(("lasagne.nonlinearities.very_leaky_rectify",)),
        system="Lasagne", default=1 / 3, held="float32", formula="(1+a)/2*x + (1-a)/2*|x|", only=1 / 3,
        instead="lasagne.nonlinearities.LeakyRectify takes any", source="lasagne/nonlinearities.py, 0.1",
    ),
    python(
        Call(("cntk.leaky_relu", "cntk.ops.leaky_relu"), ("alpha",)),
        system="CNTK", default=0.01, held="tensor", formula=BELOW, not_run="its last wheel needs an MPI library that is gone",
        source="cntk/ops/__init__.py, 2.7",
    ),
    python(
        Call(("mxnet.gluon.nn.LeakyReLU",), ("alpha",), position=0, function=False),
        system="MXNet", default=None, held="float32", formula=ABOVE, refused=("negative",),
        instead="mxnet.sym.LeakyReLU takes it", source="mxnet/gluon/nn/activations.py, 1.9.1",
    ),
)  # fmt: skip

KERAS_LAYER, _, KERAS_STRING, KERAS_2_LAYER = PYTHON[:4]
