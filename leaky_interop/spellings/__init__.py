"""How every system spells LeakyReLU's slope, with its own name, default, precision and formula.

    print(li.slopes())                                       # the table
    li.slopes()["tf.nn.leaky_relu"].read(text)               # the slopes in a text, with their lines
    li.slopes()["ReLU layer"].write(LeakyRelu(negative_slope=0.2), "act")

One file per system or family of systems. A spelling reads what its system writes, and writes what its system reads; what
the system would take for another slope is `Refused`.
"""

from __future__ import annotations

from .caffe import CAFFE
from .coreml import NETWORK, PROGRAM
from .darknet import DARKNET
from .files import read_file
from .flux import FLUX
from .mxnet import MXNET
from .ncnn import NCNN
from .nnef import NNEF
from .onnx import ONNX
from .openvino import OPENVINO
from .python_rows import PYTHON
from .relatives import RELATIVES
from .spelling import FORMULAS, Found, Spelling
from .table import Spellings
from .tensorflow import TENSORFLOW
from .tensorrt import TENSORRT
from .tfjs import TFJS
from .tflite import TFLITE

__all__ = ["FORMULAS", "Found", "Spelling", "Spellings", "read_file", "slopes"]

FIRST = ("Keras 3", "Keras 2", "TensorFlow", "PyTorch", "ONNX")  # the others follow by name


def slopes() -> Spellings:
    """Every system's spelling of the slope."""
    formats = (
        ONNX, TENSORFLOW, TFLITE, *TFJS, OPENVINO, NETWORK, PROGRAM, TENSORRT, MXNET, CAFFE, NCNN, DARKNET, NNEF, FLUX,
    )  # fmt: skip
    place = {name: index for index, name in enumerate(FIRST)}
    rows = sorted(
        (*PYTHON, *formats, *RELATIVES), key=lambda row: (place.get(row.system, len(FIRST)), row.system.lower())
    )
    return Spellings(tuple(rows))
