"""Keras' networks as JSON: `model.to_json()` of any version, and TensorFlow.js' model.json."""

from __future__ import annotations

import json
from typing import Any

from ..errors import Usage
from .python_rows import KERAS_2_LAYER, KERAS_LAYER, KERAS_STRING
from .spelling import Found, text_of


def read(source: Any) -> list[Found]:
    """Every LeakyReLU layer or activation, and every activation by the name "leaky_relu", in order.

    Keras 2 calls the slope alpha and may write it as a serialised array; Keras 3 calls it negative_slope.
    """
    text = text_of(source, "a network")
    try:
        waiting: list[tuple[Any, str]] = [(json.loads(text), "")]
    except (ValueError, RecursionError) as error:
        raise Usage("the JSON does not parse", why=str(error)) from None
    found = []
    while waiting:
        item, name = waiting.pop()
        if isinstance(item, list):
            waiting += [(inner, name) for inner in reversed(item)]
        elif isinstance(item, dict):
            config = item.get("config")
            settings = config if isinstance(config, dict) else {}
            if item.get("class_name") == "LeakyReLU":
                key = next((k for k in ("negative_slope", "alpha") if k in settings), "")
                spelling = KERAS_2_LAYER if key == "alpha" else KERAS_LAYER
                slope = _number(settings[key]) if key else None
                called = str(settings.get("name", name))
                found.append(spelling.judge(bool(key), slope, name=called, place=f"layer {called!r}"))
            elif settings.get("activation") == "leaky_relu":
                called = str(settings.get("name", name))
                found.append(KERAS_STRING.judge(False, None, name=called, place=f"layer {called!r}"))
            waiting += [(inner, str(settings.get("name", name))) for inner in reversed(item.values())]
    return found


def _number(stated: Any) -> float | None:
    """A number, or the serialised array that some releases of Keras 2 wrote instead of it."""
    if isinstance(stated, dict) and stated.get("type") == "ndarray":
        stated = stated.get("value")
    return float(stated) if isinstance(stated, int | float) and not isinstance(stated, bool) else None
