"""`python -m tests.keras_scores`: every call of Keras' own unit tests, as a network, to ONNX, to PyTorch and back.

The cases are those of tests/keras_cases.json, at most 6 of each layer and operation, evenly spread over those recorded
(--every runs all). Each becomes a functional model of that one layer or operation, with seeded weights (variances
positive) and inputs in the range that Keras' test drew from, at batch 1 and 3 where the layer has a batch; operands
that the tests made in numpy's default float64 are float32 (docs/keras-dtypes-torch.md and -tensorflow.md are about
dtypes). One case of each layer runs once more under each other dtype policy, and with every size open but the batch's and the
channels'. A case passes where every output of the converted network agrees with the Keras model's own, in shape,
dtype and numbers: float32 within rtol 1e-4 and an atol of 1e-5 of the largest magnitude (or 5e-7), float64 within
1e-9 (that of Keras' numbers in float32 as float32), float16 within 2e-2 and an atol of 1e-2, bfloat16 within 5e-2 and 5e-2. What Keras itself does not run on a backend is
not counted there; whatever is refused counts as failed. Writes docs/keras-scores.md.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tests import keras_page, scoring

CASES = Path(__file__).with_name("keras_cases.json")
BACKENDS = ("tensorflow", "torch")
TARGETS = ("keras", "onnx", "torch", "back")  # "keras": whether Keras itself builds and runs the case
BATCHES = (1, 3)
SORTED = ("digitize", "searchsorted")  # operations that are defined for sequences in order alone
VARIANTS = ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16", "open")
MOST = 6  # cases of one layer or operation in the whole table
FIRST = 3  # cases of each layer that a variant runs
RTOL = {"float16": 2e-2, "bfloat16": 5e-2, "float64": 1e-9}
ATOL = {"float16": 1e-2, "bfloat16": 5e-2, "float64": 1e-10}  # of the largest magnitude
FLOOR = {"float32": 5e-7}  # four units in the last place of 1: what a sigmoid or tanh of any number may differ by


@functools.cache
def cases() -> list[dict[str, Any]]:
    """All recorded calls, in one order."""
    found: list[dict[str, Any]] = json.loads(CASES.read_text())
    return found


def chosen(only: Sequence[str], variant: str | None = None) -> list[dict[str, Any]]:
    """The calls of the named layers and operations, all where none is named; of a variant, each layer's first ones."""
    found = [single(case) for case in cases() if not only or title(case) in only]
    if variant is None:
        return found
    plain: dict[str, list[dict[str, Any]]] = {}
    for case in found:
        if "layer" in case and any(is_float(spec) for spec in tensors(case)) and under(case, "bfloat16") != case:
            changed = {**case, "open": True} if variant == "open" else under(case, variant)
            plain.setdefault(title(case), []).append({**changed, "variant": variant})
    return [case for several in plain.values() for case in several[:FIRST]]


def sampled() -> list[dict[str, Any]]:
    """At most `MOST` of the calls of each name, evenly spread over them, and one of each layer under each variant."""
    named: dict[str, list[dict[str, Any]]] = {}
    for case in chosen([]):
        named.setdefault(title(case), []).append(case)
    found = []
    for several in named.values():
        places = np.unique(np.linspace(0, len(several) - 1, min(MOST, len(several))).round().astype(int))
        found += [several[i] for i in places]
    for variant in VARIANTS:
        firsts = {title(case): case for case in reversed(chosen([], variant))}
        found += reversed(firsts.values())
    return found


def single(case: dict[str, Any]) -> dict[str, Any]:
    """An operation's call with float32 where Keras' test took numpy's default of float64."""
    if "layer" in case or not any(spec["dtype"] == "float64" for spec in tensors(case)):
        return case
    case = copy.deepcopy(case)
    for spec in tensors(case):
        spec["dtype"] = "float32" if spec["dtype"] == "float64" else spec["dtype"]
    return case


def under(value: Any, policy: str) -> Any:
    """A case whose float32 layers, those inside it too, follow another policy; for float64 its inputs do too."""
    if isinstance(value, list):
        return [under(v, policy) for v in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return {**value, "dtype": policy} if policy == "float64" and is_float(value) else value
    named = {"dtype": policy} if '"float32"' in json.dumps(value.get("dtype")) else {}
    return {k: under(v, policy) for k, v in value.items()} | named


def stateful(case: Mapping[str, Any]) -> bool:
    """Whether a layer, or one inside it, remembers earlier calls."""
    return '"stateful": true' in json.dumps(case.get("config"))


def is_float(spec: Mapping[str, Any]) -> bool:
    """Whether a recorded tensor holds floats."""
    return str(spec["dtype"]).startswith(("float", "bfloat"))


def title(case: dict[str, Any]) -> str:
    """The layer or operation of a case."""
    return case.get("layer") or f"ops.{case['operation']}"


class Call:
    """A case as a Keras model."""

    def __init__(self, case: dict[str, Any]):
        import keras

        self.case = case
        self.random = np.random.default_rng(0)
        self.specs: list[dict[str, Any]] = []  # of the tensors that are inputs of the network
        shapes = [spec["tensor"] for spec in tensors(case)]
        firsts = {shape[0] for shape in shapes if shape}
        free = "layer" in case and not stateful(case)
        self.batched = free and len(firsts) == 1 and all(shapes) and not of_one_image(case)
        self.inputs: list[Any] = []
        args, kwargs = self.built(case["args"]), self.built(case["kwargs"])
        kwargs.pop("training", None)
        call = layer(case) if "layer" in case else function(case["operation"])
        outputs = [o for o in keras.tree.flatten(call(*args, **kwargs)) if isinstance(o, keras.KerasTensor)]
        if not self.inputs or not outputs:
            raise TypeError("no tensor goes in, or none comes out")
        self.model = keras.Model(self.inputs, outputs)
        for weight in self.model.weights:
            if weight.name == "g_idx":  # which group of a quantized kernel each row belongs to
                continue
            if weight.dtype.startswith(("float", "bfloat")):
                numbers = self.random.normal(size=weight.shape) * 0.5
                positive = any(word in weight.path for word in ("variance", "gamma", "scale"))
                weight.assign(np.abs(numbers) + 0.1 if positive else numbers)
            elif weight.dtype in ("int8", "uint8"):
                whole = np.iinfo(weight.dtype)
                weight.assign(self.random.integers(whole.min, whole.max, weight.shape, endpoint=True).astype(weight.dtype))

    def built(self, value: Any) -> Any:
        """Recorded arguments as Python has them; each tensor of floats, and of a batch, is an input of the network."""
        import keras

        if isinstance(value, list):
            return [self.built(v) for v in value]
        if not isinstance(value, dict):
            return value
        if "tensor" in value:
            whole = value["dtype"] == "bool" or value["dtype"].startswith(("int", "uint"))
            if whole and "operation" in self.case:
                return array(value, self.random)
            shape = [4 if d is None else d for d in value["tensor"]]
            made = keras.Input(batch_shape=self.declared(shape), dtype=value["dtype"])
            self.inputs.append(made)
            self.specs.append({**value, "tensor": shape})
            return made
        ((kind, content),) = value.items()
        if kind in ("tuple", "list"):
            return (tuple if kind == "tuple" else list)(self.built(v) for v in content)
        if kind == "dict":
            return {k: self.built(v) for k, v in content.items()}
        if kind == "slice":
            return slice(*(self.built(v) for v in content))
        return Ellipsis if kind == "ellipsis" else float(content)

    def declared(self, shape: Sequence[int]) -> tuple[int | None, ...]:
        """The shape that an input is made with: its batch open where there is one, its places open where the case says so."""
        sizes: list[int | None] = [None, *shape[1:]] if self.batched else list(shape)
        if self.case.get("open"):
            first = self.case["config"].get("data_format") == "channels_first"
            for axis in range(2, len(sizes)) if first else range(1, len(sizes) - 1):
                sizes[axis] = None
        return tuple(sizes)

    def arrays(self, batch: int) -> list[np.ndarray]:
        """One array for each input."""
        found = [array(spec, self.random) for spec in self.specs]
        if self.case.get("operation") in SORTED:
            found = [np.sort(numbers) for numbers in found]
        return [np.resize(a, (batch, *a.shape[1:])) for a in found] if self.batched else found

    def forgotten(self) -> list[np.ndarray]:
        """What stateful layers remember before the first call: further inputs of what is made of them."""
        import leaky_interop as li

        if not stateful(self.case):
            return []
        return [np.zeros(v.shape, v.dtype) for v in li.load(self.model).inputs[len(self.inputs) :]]

    def stated(self, results: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Results in the float dtypes that Keras states; a backend may compute wider (TensorFlow's mean of integers)."""
        dtypes = [o.dtype for o in self.model.outputs]
        return [r.astype(d) if "float" in d and r.dtype.name == "float64" else r for r, d in zip(results, dtypes, strict=True)]


def layer(case: dict[str, Any]) -> Any:
    """The layer of a case."""
    return kind(case).from_config(copy.deepcopy(case["config"]))


def kind(case: dict[str, Any]) -> Any:
    """The class of a case's layer; Keras calls some classes otherwise than it exports them."""
    import keras

    return {cls.__name__: cls for cls in vars(keras.layers).values() if isinstance(cls, type)}[case["layer"]]


def of_one_image(case: dict[str, Any]) -> bool:
    """Whether a layer of images is called with one alone, which has no axis for a batch."""
    from keras.src.layers.preprocessing.image_preprocessing.base_image_preprocessing_layer import (
        BaseImagePreprocessingLayer,
    )

    return issubclass(kind(case), BaseImagePreprocessingLayer) and any(len(s["tensor"]) == 3 for s in tensors(case["args"]))


def function(name: str) -> Any:
    """A function of keras.ops; those on images have a room of their own there."""
    import keras

    return getattr(keras.ops, name, None) or getattr(keras.ops.image, name)


def tensors(value: Any) -> Iterator[dict[str, Any]]:
    """Every tensor among recorded arguments."""
    if isinstance(value, dict) and "tensor" in value:
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part)


def array(spec: dict[str, Any], random: np.random.Generator) -> np.ndarray:
    """Numbers like those of the recorded tensor."""
    from leaky_interop.numeric import dtype

    shape = tuple(4 if d is None else d for d in spec["tensor"])
    if "values" in spec:
        return np.asarray(spec["values"], spec["dtype"]).reshape(shape)
    low, high = spec.get("range", [-1, 1])
    if spec["dtype"].startswith(("int", "uint")):
        return random.integers(int(low), int(high) + 1, shape).astype(spec["dtype"])
    if spec["dtype"] == "bool":
        return random.random(shape) < 0.5
    return random.uniform(low, high if high > low else low + 1, shape).astype(dtype(spec["dtype"]))


def judge(backend: str, case: dict[str, Any]) -> list[str]:
    """The reasons of a case on all routes of a backend: the one that runs now."""
    return reasons(case)


def reasons(case: dict[str, Any], targets: Sequence[str] = TARGETS) -> list[str]:
    """For each target: empty where the case passes, otherwise the reason."""
    import leaky_interop as li

    try:
        call = Call(case)
        drawn = [call.arrays(batch) for batch in (BATCHES if call.batched else BATCHES[:1])]
        wanted = [call.stated(li.run(call.model, arrays)) for arrays in drawn]
    except Exception as error:  # Keras, and the recorded call, may refuse in any way
        return [scoring.reason(error)] * len(targets)

    @functools.cache
    def converted(target: str) -> Any:
        if target == "back":
            example = (*drawn[-1], *call.forgotten())
            return li.convert(converted("torch"), to="keras", example=example, static_batch=not call.batched)
        return li.convert(call.model, to=target)

    def judged(target: str) -> str:
        if target == "keras":
            return ""
        for arrays, expected in zip(drawn, wanted, strict=True):
            results = li.run(converted(target), [*arrays, *call.forgotten()])[: len(expected)]
            if text := difference(expected, call.stated(results)):
                return f"batch {len(arrays[0])}: {text}" if call.batched else text
        return ""

    return [scoring.attempted(lambda target=target: judged(target)) for target in targets]


def difference(expected: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> str:
    """What differs first; empty where nothing does."""
    if len(expected) != len(received):
        return f"{len(received)} outputs, expected {len(expected)}"
    for e, r in zip(expected, received, strict=True):
        if (e.shape, e.dtype) != (r.shape, r.dtype):
            return f"{r.dtype}{list(r.shape)}, expected {e.dtype}{list(e.shape)}"
        real = e.dtype.kind not in "iub"
        wide = [a.astype(np.complex128 if e.dtype.kind == "c" else np.float64 if real else np.int64) for a in (r, e)]
        narrow = e.dtype == np.float64 and np.array_equal(e, e.astype(np.float32), equal_nan=True)
        name = "float32" if narrow else e.dtype.name  # Keras on PyTorch computes much of float64 in float32
        rtol, atol = (RTOL.get(name, 1e-4), ATOL.get(name, 1e-5)) if real else (0, 0)
        largest = np.abs(wide[1][np.isfinite(wide[1])]).max(initial=0)
        if not np.allclose(*wide, rtol=rtol, atol=max(atol * largest, FLOOR.get(name, 0)), equal_nan=True):
            return f"values differ by {np.nanmax(np.abs(wide[0] - wide[1])):.3g}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.keras_scores", description=__doc__)
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="only on this one. The page is printed.")
    parser.add_argument("--only", action="append", help="a layer (Dense) or operation (ops.add); repeatable", default=[])
    parser.add_argument("--variant", choices=VARIANTS, help="each layer's first cases under this policy. The page is printed.")
    parser.add_argument("--work", choices=BACKENDS, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--every", action="store_true", help="all recorded cases. The page is printed.")
    options = parser.parse_args()
    whole = not (options.only or options.variant or options.every)
    judged = sampled() if whole else chosen(options.only, options.variant)
    if options.work:
        warnings.simplefilter("ignore")
        scoring.work(judge, options.work, judged, options.start)
        return
    command = [word for name in options.only for word in ("--only", name)]
    command += ["--variant", options.variant] if options.variant else ["--every"] if options.every else []
    backends = options.backend or BACKENDS
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda b: scoring.judged("tests.keras_scores", b, b, len(judged), command=command), backends)
        texts = [[row if isinstance(row, list) else ["", row, row, row] for row in lines] for lines in found]
    titles = [title(case) for case in judged]
    results = {b: keras_page.Results(judged, titles, rows) for b, rows in zip(backends, texts, strict=True)}
    about = " ".join((__doc__ or "").split("\n\n")[1].split())
    if whole and not options.backend:
        (scoring.REPOSITORY / "docs/keras-scores.md").write_text(keras_page.page(about, results))
    else:
        print(keras_page.page(about, results))


if __name__ == "__main__":
    main()
