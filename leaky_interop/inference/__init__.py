"""Inference: a network run by onnxruntime over arrays, pictures, sounds and tables, from one to millions.

`Session` runs a network; `Preprocessing` says how a picture becomes numbers and travels inside the ONNX file; a `Job` is
all that decides a row, and `run_job` its direct engine.
"""

from .job import Job, Record, Results
from .postprocessing import Postprocessing, labels
from .preprocessing import Preprocessing
from .recipes import recipe
from .session import Session
from .sound import Sound

__all__ = ["Job", "Postprocessing", "Preprocessing", "Record", "Results", "Session", "Sound", "labels", "recipe"]
