"""Recordings of Chainer networks: a zip of `chainer.json` and arrays, written by `frameworks/chainer/recorder.py`.

The description is held to its form before anything is made of it: every index leads to something that is there, a
function reads only what stands before it, sizes are whole numbers, and a setting is plain data.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from leaky_interop.errors import UnsafeFile, Usage

from .archive import Archive, archive
from .arrays import read_npy

DESCRIPTION = "chainer.json"
FORMAT = "leaky_interop chainer 1"
LONGEST = 1000  # characters of a name

Dim = int | dict[str, int]  # {"batch": 2}: twice the batch


@dataclasses.dataclass(frozen=True)
class Port:
    """A value of the network: its name where the network's code has one, its sizes and its dtype."""

    name: str
    shape: tuple[Dim, ...]
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class Weight:
    """A parameter or another saved array under its link's path, "/conv1/W"; a constant has no name."""

    name: str
    trainable: bool
    array: np.ndarray


@dataclasses.dataclass(frozen=True)
class Function:
    """One call. Inputs are ("value" or "weight", index); an output that nothing reads is None."""

    function: str
    name: str
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[int | None, ...]
    attributes: dict[str, Any]
    defaults: frozenset[str]  # settings that are what Chainer has where they are left out


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """A Chainer network as it computed: its graph, its weights, and every value of each run by index."""

    network: str
    chainer: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    structure: Any
    values: tuple[Port, ...]
    weights: tuple[Weight, ...]
    functions: tuple[Function, ...]
    runs: tuple[dict[int, np.ndarray], ...]
    note: str


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """The recording in a file. Raises UnsafeFile or Usage where it is not what the recorder writes."""
    path = Path(path)
    with archive(path) as members:
        described = members.read_json(DESCRIPTION)
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise Usage(f"{path.name} is a recording of another version", hint="Record the network again")
        try:
            return _Reader(members, described).read()
        except RecursionError:
            raise UnsafeFile(f"{DESCRIPTION} of {path.name} is nested too deeply") from None


class _Reader:
    def __init__(self, members: Archive, described: dict[str, Any]):
        self.members, self.described = members, described

    def read(self) -> Recording:
        values = tuple(self.port(row) for row in self.rows("values", dict))
        rows = self.rows("weights", dict)
        weights = tuple(
            Weight(self.text(row, "name"), row.get("trainable") is True, self.array(f"weight/{index}.npy"))
            for index, row in enumerate(rows)
        )
        inputs, outputs = (self.indices(self.rows(name, int), len(values), name) for name in ("inputs", "outputs"))
        functions = tuple(self.functions(inputs, len(values), len(weights)))
        made = {*inputs, *(index for f in functions for index in f.outputs)}
        if not outputs or not inputs or not set(outputs) <= made:
            raise self.unsafe("its inputs and outputs do not hang together")
        if sorted(_leaves(self.described.get("structure"))) != list(range(len(outputs))):
            raise self.unsafe("its structure does not name every output once")
        runs = tuple(self.runs(values, inputs, outputs))
        texts = (self.text(self.described, name) for name in ("network", "chainer"))
        return Recording(
            *texts, inputs, outputs, self.described.get("structure"), values, weights, functions, runs,
            note=self.text(self.described, "note"),
        )  # fmt: skip

    def functions(self, inputs: tuple[int, ...], values: int, weights: int) -> Iterator[Function]:
        known = set(inputs)
        if len(known) != len(inputs):
            raise self.unsafe("an input stands twice")
        for row in self.rows("functions", dict):
            name, kind, attributes = self.text(row, "name"), self.text(row, "function"), row.get("attributes")
            if not isinstance(attributes, dict):
                raise self.unsafe(f"{name!r} has no settings")
            reads = []
            for place in self.rows("inputs", list, row):
                if len(place) != 2 or place[0] not in ("value", "weight"):
                    raise self.unsafe(f"{name!r} reads {place!r}")
                self.indices(place[1:], weights if place[0] == "weight" else values, name)
                if place[0] == "value" and place[1] not in known:
                    raise self.unsafe(f"{name!r} reads a value that is not computed before it")
                reads.append((place[0], place[1]))
            results = row.get("outputs")
            if not isinstance(results, list):
                raise self.unsafe(f"{name!r} has no list of outputs")
            made = self.indices([index for index in results if index is not None], values, name)
            if not reads or not made or known & set(made) or len(set(made)) != len(made):
                raise self.unsafe(f"{name!r} does not compute values of its own")
            known |= set(made)
            defaults = row.get("defaults") or []
            if not isinstance(defaults, list) or not all(setting in attributes for setting in map(str, defaults)):
                raise self.unsafe(f"{name!r} leaves out settings that it has not")
            yield Function(kind, name, tuple(reads), tuple(results), attributes, frozenset(defaults))

    def runs(
        self, values: tuple[Port, ...], inputs: tuple[int, ...], outputs: tuple[int, ...]
    ) -> Iterator[dict[int, np.ndarray]]:
        number = 0
        while any(name.startswith(f"run{number}/") for name in self.members.entries):
            names = ((i, f"run{number}/{i}.npy") for i in range(len(values)))
            run = {index: self.array(name) for index, name in names if name in self.members.entries}
            if not {*inputs, *outputs} <= run.keys():
                raise self.unsafe(f"run {number} lacks an input or output")
            batches = {a.shape[0] for i in inputs if (a := run[i]).ndim}
            for index, array in run.items():
                port = values[index]
                if array.dtype != port.dtype or not any(_sizes(port.shape, n) == array.shape for n in batches | {0}):
                    raise self.unsafe(f"value {index} of run {number} is {array.dtype}{list(array.shape)}")
            yield run
            number += 1
        if not number:
            raise self.unsafe("it holds no run")

    def array(self, name: str) -> np.ndarray:
        with self.members.open(name) as stream:
            return read_npy(stream, self.members.entries[name].file_size, f"{name} of {self.members.name}")

    def port(self, row: dict[str, Any]) -> Port:
        shape, dtype = row.get("shape"), row.get("dtype")
        if not isinstance(shape, list) or not all(_is_size(d) for d in shape) or len(shape) > 32:
            raise self.unsafe(f"a value has the shape {shape!r}")
        if dtype not in ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"):
            raise Usage(f"{self.members.name} has values of type {dtype!r}, which are not read")
        return Port(self.text(row, "name"), tuple(shape), np.dtype(dtype))

    def rows(self, name: str, kind: type, within: dict[str, Any] | None = None) -> list[Any]:
        found = (self.described if within is None else within).get(name)
        if not isinstance(found, list) or not all(type(row) is kind for row in found):
            raise self.unsafe(f"it has no list of {name}")
        return found

    def indices(self, found: list[Any], count: int, where: str) -> tuple[int, ...]:
        if not all(type(i) is int and 0 <= i < count for i in found):
            raise self.unsafe(f"{where!r} names what is not there")
        return tuple(found)

    def text(self, row: dict[str, Any], name: str) -> str:
        found = row.get(name)
        if not isinstance(found, str) or len(found) > LONGEST:
            raise self.unsafe(f"it has no {name}")
        return found

    def unsafe(self, why: str) -> UnsafeFile:
        return UnsafeFile(f"{self.members.name} is no sound recording", why=why, hint="Record the network again")


def _is_size(dim: Any) -> bool:
    if isinstance(dim, dict):
        return list(dim) == ["batch"] and _is_size(dim["batch"])
    return type(dim) is int and 0 <= dim < 2**40


def _sizes(shape: tuple[Dim, ...], batch: int) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else d["batch"] * batch for d in shape)


def _leaves(structure: Any) -> list[int]:
    """The numbers in a nesting of lists and tables."""
    if isinstance(structure, dict | list):
        parts = structure.values() if isinstance(structure, dict) else structure
        return [leaf for part in parts for leaf in _leaves(part)]
    return [structure if type(structure) is int else -1]
