"""TensorFlow.js: JavaScript source."""

from __future__ import annotations

import math
from typing import Any

from .spelling import Found, Spelling, single, text_of
from .tokens import calls, kept, number_of, parts, statement, tokens

JS_NUMBERS = {"NaN": math.nan, "Infinity": math.inf}


def js_number(slope: float) -> str:
    return single(slope).replace("nan", "NaN").replace("inf", "Infinity")


def read_tfjs(spelling: Spelling, source: Any, *, name: str, keyword: str) -> list[Found]:
    """`tf.leakyRelu(x, 0.2)`; for the layer `tf.layers.leakyReLU({alpha: 0.3})`."""
    found = tokens(text_of(source, "JavaScript"), "//")
    slopes = []
    for call in calls(found, (name,)):
        if not call.before or call.before[-1].text != ".":  # a function of the text's own
            continue
        if keyword:
            options = call.arguments[0][1] if call.arguments else ()
            stated = dict(parts(options)).get(keyword)
        else:
            on_data = call.before[-2:-1] and call.before[-2].text != "tf"
            stated = call.at(0 if on_data else 1, "alpha")
        slope = None if stated is None else number_of(stated, names=JS_NUMBERS)
        slopes.append(spelling.judge(stated is not None, slope, line=call.line, name=kept(call)))
    return slopes


def _tfjs(api: str, default: float, line: str, keyword: str, source: str) -> Spelling:
    return Spelling(
        system="TensorFlow.js",
        api=api,
        parameter="alpha",
        default=default,
        held="float32",
        formula="x < 0 ? a*x : x",
        line=line,
        number=js_number,
        source=source,
        reader=lambda spelling, text: read_tfjs(spelling, text, name=api.rpartition(".")[2], keyword=keyword),
        writer=statement,
    )


TFJS = (
    _tfjs("tf.leakyRelu", 0.2, "tf.leakyRelu(x, {slope})", "", "@tensorflow/tfjs-core, 4.22"),
    _tfjs(
        "tf.layers.leakyReLU", 0.3, "tf.layers.leakyReLU({alpha: {slope}})", "alpha",
        "@tensorflow/tfjs-layers, advanced_activations, 4.22",
    ),
)  # fmt: skip
