"""One of Keras' own cases for every layer, through one conversion each; `make keras-scores` runs them all."""

import functools
import random
import warnings

import pytest

from tests import keras_scores

pytest.importorskip("keras")
ROUTES = ("onnx", "torch", "back")
TRIES = 4  # cases of one name that are drawn until Keras itself runs one
HASHED = "FarmHash or SipHash of text, which is no operator of a network"
KNOWN = {  # what does not pass, and why; a row that no longer holds must go
    "ContrastLimitedAdaptiveHistogramEqualization": "the layer makes an array as long as the batch",
    "HashedCrossing": HASHED,
    "Hashing": HASHED,
    "IntegerLookup": HASHED,
}


@functools.cache
def by_name() -> dict[str, list[dict]]:
    """The recorded cases of every layer."""
    found: dict[str, list[dict]] = {}
    for case in (c for c in keras_scores.cases() if "layer" in c):
        found.setdefault(keras_scores.title(case), []).append(case)
    return found


def drawn(name: str) -> tuple[str, dict]:
    """A route and a case that Keras runs on this backend, the same in every run."""
    import keras

    backend, draw = keras.backend.backend(), random.Random(name)
    target = draw.choice(ROUTES)
    for case in draw.sample(by_name()[name], min(TRIES, len(by_name()[name]))):
        try:
            keras_scores.judge(f"keras ({backend})", case)
        except Exception:  # a backend, or the recorded call itself, may refuse in any way
            continue
        return f"{target} ({backend})", case
    pytest.skip("Keras runs none of the drawn cases on this backend")


@pytest.mark.parametrize("name", sorted(by_name()))
def test_a_case_of_keras(name):
    route, case = drawn(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reason = keras_scores.judge(route, case)
    except Exception as error:  # reported with the case, whatever it is
        reason = f"{type(error).__name__}: {error}"
    if name in KNOWN:
        assert reason, f"{name} passes: take it out of KNOWN"
        pytest.xfail(KNOWN[name])
    assert not reason, f"{route}: {reason}\n{case}"
