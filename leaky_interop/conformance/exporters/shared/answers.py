"""What every exporter answers: the numbers on both sides, and the form of what it made."""

import re

import numpy as np

STYLE = re.compile("\x1b\\[[0-9;]*m")  # some write errors in colour


class Refused(Exception):
    """Raised with who refuses: the source framework, the exporter, or what runs the result."""


def answer(job, x, source, export, target, form):
    """Make the source, export it, run both. Each step's failure says whose it is."""
    model = step("source", lambda: source.made(job, x.size))
    expected = step("source", lambda: source.run(model, x))
    exported = step("exporter", lambda: export(model))
    result = step("runtime", lambda: target(exported, x))
    return {
        "source": np.asarray(expected),
        "result": np.asarray(result),
        "form": text(step("runtime", lambda: form(exported))),
    }


def step(who, action):
    """The action's result; its failure as one line that begins with who it was."""
    try:
        return action()
    except Exception as error:  # any framework's
        lines = [line.strip() for line in STYLE.sub("", str(error)).splitlines() if line.strip()]
        said = lines[0] if lines else ""
        raise Refused(f"{who}: {type(error).__name__}: {said}") from None


def text(words):
    """A text as an array, which is all that a worker can answer."""
    return np.frombuffer(words.encode(), np.uint8)
