"""Model files from strangers and to friends: the only place that touches bytes of unknown origin.

Readers judge a file before they believe it and hand over what no longer depends on it: plain arrays, a whole message, a
rebuilt model. A refusal is `UnsafeFile`, says what and why, and names the way round. `atomic` is how files are written.
"""

from .arrays import arrays, write_npz
from .chainer import Recording, read_recording
from .content import content
from .identify import Kind, kind
from .images import plain, read_image
from .keras import KerasFile, load_keras_weights, open_keras, read_keras
from .mat import read_mat, write_mat
from .matlab import open_matlab
from .onnx import read_onnx
from .parts import parts
from .pt2 import open_pt2
from .saved_model import SavedModel, read_saved_model
from .sounds import read_wav
from .source import beside
from .tables import csv_rows, parquet_count, parquet_rows
from .torch import state_dict
from .torchscript import open_torchscript
from .writing import atomic, remove_leftovers

__all__ = [
    "KerasFile",
    "Kind",
    "Recording",
    "SavedModel",
    "arrays",
    "atomic",
    "beside",
    "content",
    "csv_rows",
    "kind",
    "load_keras_weights",
    "open_keras",
    "open_matlab",
    "open_pt2",
    "open_torchscript",
    "parquet_count",
    "parquet_rows",
    "parts",
    "plain",
    "read_image",
    "read_keras",
    "read_mat",
    "read_onnx",
    "read_recording",
    "read_saved_model",
    "read_wav",
    "remove_leftovers",
    "state_dict",
    "write_mat",
    "write_npz",
]
