"""Random graphs through onnxruntime, this package's references, PyTorch, Keras and ONNX again: no difference beyond the limits.

`make random-graphs` runs 10,000 of them, other ones every time; the suite a few, always the same.
"""

import os

import hypothesis
import onnx
import onnxruntime
import random_graphs
from family_checks import check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented

from leaky_interop.errors import Refused, Unsupported

COUNT = int(os.environ.get("GRAPHS", "0"))


@settings(
    max_examples=COUNT or 60, derandomize=not COUNT, deadline=None, database=None,
    suppress_health_check=list(HealthCheck), print_blob=True,
)  # fmt: skip
@given(random_graphs.graphs(), st.sampled_from((1, 2, 7)), st.integers(0, 99))
def test_every_runtime_computes_the_same(drawn, batch, seed):
    model, inputs = drawn
    hypothesis.note(onnx.printer.to_text(model))
    try:
        onnxruntime.InferenceSession(model.SerializeToString())
    except NotImplemented:  # it has no kernel of this type
        hypothesis.reject()
    try:
        check(model, *random_graphs.arrays(inputs, batch, seed))
    except (Refused, Unsupported) as refusal:
        hypothesis.event(str(refusal)[:80])
