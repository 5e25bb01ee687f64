"""One of Keras' own cases for every layer and operation, through one conversion each; `make keras-scores` runs them all.

Every layer passes, but for those listed; an operation passes or is refused with its reason.
"""

import functools
import random
import warnings

import pytest

from tests import keras_scores

pytest.importorskip("keras")
TARGETS = ("onnx", "torch", "back")
TRIES = 4  # cases of one name that are drawn until Keras itself runs one
HASHED = "FarmHash or SipHash of text, which is no operator of a network"
KNOWN = {  # what does not pass, and why; a row that no longer holds must go
    "HashedCrossing": HASHED,
    "Hashing": HASHED,
    "IntegerLookup": HASHED,
}
ON_TENSORFLOW = {
    "ops.top_k": "the drawn case leaves the order open",
}
UNDEFINED = {"ops.empty_like"}  # whatever stands in memory


@functools.cache
def by_name() -> dict[str, list[dict]]:
    """The recorded cases of every layer and operation."""
    found: dict[str, list[dict]] = {}
    for case in keras_scores.chosen([]):
        found.setdefault(keras_scores.title(case), []).append(case)
    return found


def drawn(name: str) -> tuple[str, dict]:
    """A target and a case that Keras runs on this backend, the same in every run."""
    draw = random.Random(name)
    target = draw.choice(TARGETS)
    for case in draw.sample(by_name()[name], min(TRIES, len(by_name()[name]))):
        if keras_scores.reasons(case, ("keras",)) == [""]:
            return target, case
    pytest.skip("Keras runs none of the drawn cases on this backend")


@pytest.mark.parametrize("name", sorted(by_name().keys() - UNDEFINED))
def test_a_case_of_keras(name):
    import keras

    target, case = drawn(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (reason,) = keras_scores.reasons(case, (target,))
    if name.startswith("ops.") and reason.startswith("Refused: "):
        pytest.xfail(reason[:200])
    known = KNOWN | (ON_TENSORFLOW if keras.backend.backend() == "tensorflow" else {})
    if name in known:
        assert reason, f"{name} passes: take it out of the known ones"
        pytest.xfail(known[name])
    assert not reason, f"{target}: {reason}\n{case}"
