"""Keras files (`.keras`, `.h5`, weights alone): a judged private copy, from which Keras rebuilds the model.

What a stranger wrote is read once, judged, and copied into a folder of our own with the configuration written anew;
Keras sees only that copy. Legacy whole-model HDF5 files are rebuilt from their own configuration, Keras 2's included.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from leaky_interop.errors import LeakyInteropError, RuntimeFailure, UnsafeFile, Usage, require

from . import keras_first, keras_legacy, keras_weights
from .archive import archive, parse_json
from .hdf5 import array, datasets, hdf5, text, widen
from .identify import kind
from .keras_allowed import allowed
from .source import copy, opened, private_folder

WEIGHTS = "model.weights.h5"  # the other form, .npz, holds pickles: Keras itself no longer opens it
MEMBERS = re.compile(r"config\.json|metadata\.json|model\.weights\.h5|assets/.*")


@dataclasses.dataclass(frozen=True)
class KerasFile:
    """A judged Keras file: its configuration, None where it holds weights alone, and the folder of the private copy."""

    name: str
    folder: Path
    weights: Path
    config: dict[str, Any] | None
    written_by: tuple[int, ...]  # Keras' version
    legacy: bool  # weights in the order of layers, as Keras 2 wrote them, not by the layers' paths
    backend: str = ""  # that wrote a legacy file

    def arrays(self) -> dict[str, np.ndarray]:
        """Every weight by its path in the file."""
        with hdf5(self.weights, self.name) as file:
            return {place.lstrip("/"): array(dataset) for place, dataset in datasets(file, self.name)}

    def judge_count(self, model: Any) -> None:
        """Refuse a file that holds more weights than the model: Keras would leave them out and say nothing."""
        with hdf5(self.weights, self.name) as file:
            stored = [place for place, _ in datasets(file, self.name) if not place.startswith("/optimizer/")]
        seeds = len(model.variables) - len(model.weights)  # of random layers, which are stored too
        if len(stored) > len(model.weights) + max(seeds, 0):
            why = f"the file has {len(stored)} arrays, {model.name!r} has {len(model.weights)} weights"
            raise Usage(f"the weights of {self.name} do not fit the network", why=why)

    def give(self, model: Any) -> None:
        """The weights into a model: those of Keras 1 and 2 as they meant them, and none may be left over."""
        if self.legacy and self.written_by < (3,):
            keras_weights.load(model, self.weights, self.name, self.written_by, self.backend)
        elif model.weights:
            if not self.legacy:
                self.judge_count(model)
            model.load_weights(str(self.weights))

    def build(self, custom_objects: Mapping[str, Any] | None = None, *, trust: bool = False) -> Any:
        """The Keras model, rebuilt from Keras' own classes and the user's `custom_objects`, with its weights.

        `trust`: the Python code of Lambda layers is taken, too; it runs where the model does.
        """
        if self.config is None:
            raise Usage(
                f"{self.name} holds weights and no network",
                hint="Give the network's code with package.module:factory and this file as --weights",
            )
        custom = {**keras_legacy.FUNCTIONS, **(custom_objects or {})}
        config = allowed(keras_legacy.upgraded(self.config, self.written_by), custom, self.name, trust=trust)
        with _failures(self.name, "rebuild"):
            saving = require("keras").saving
            if self.legacy:
                model = saving.deserialize_keras_object(config, custom_objects=custom, safe_mode=not trust)
                keras_first.judge_shapes(self.config, {layer.name: layer for layer in model._flatten_layers()})
                self.give(model)
                return model
            (self.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
            return saving.load_model(str(self.folder), custom_objects=custom, compile=False, safe_mode=not trust)


def open_keras(
    path: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None, *, trust: bool = False
) -> Any:
    """The Keras model in a `.keras` or whole-model HDF5 file, not compiled. The options: as for `KerasFile.build`."""
    with read_keras(path) as file:
        return file.build(custom_objects, trust=trust)


def load_keras_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """The file's weights into a model that the user already has."""
    with read_keras(path) as file, _failures(file.name, "take the weights of"):
        file.give(model)


@contextmanager
def read_keras(path: str | os.PathLike[str]) -> Iterator[KerasFile]:
    """The file, judged; its private copy is gone when the block ends."""
    path = Path(path)
    found = kind(path)
    if found not in ("keras", "h5"):
        raise Usage(f"{path.name} is not a Keras file", hint="Keras files end in .keras, .h5 or .hdf5")
    with private_folder() as folder:
        yield _from_zip(path, folder) if found == "keras" else _from_hdf5(path, folder)


def _from_zip(path: Path, folder: Path) -> KerasFile:
    with archive(path) as members:
        for name in members.entries:
            if not MEMBERS.fullmatch(name):
                raise UnsafeFile(
                    f"{path.name} has an entry that is not read",
                    where=repr(name),
                    hint="Remove it from the zip file, or save the model again",
                )
        if WEIGHTS not in members.entries:
            raise Usage(f"{path.name} has no weights", hint="Save the model again")
        config = config_of(members.read_json("config.json"), path.name)
        metadata = members.read_json("metadata.json") if "metadata.json" in members.entries else {}
        for name in members.entries:
            if name == WEIGHTS or (name.startswith("assets/") and not name.endswith("/")):
                members.unpack(name, folder / name)
    (folder / "metadata.json").write_text("{}", encoding="utf-8")
    weights = folder / WEIGHTS
    with hdf5(weights, f"{WEIGHTS} of {path.name}"):
        pass
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return KerasFile(path.name, folder, weights, config, keras_legacy.version(text(version) or "3"), legacy=False)


def _from_hdf5(path: Path, folder: Path) -> KerasFile:
    copied = folder / "copy"
    with opened(path) as handle:
        copy(handle, copied)
    with hdf5(copied, path.name) as file:
        config = text(file.attrs.get("model_config"))
        legacy = config is not None or "layer_names" in file.attrs or "layer_names0" in file.attrs
        store = file["model_weights"] if "model_weights" in file else file
        stated = text(file.attrs.get("keras_version")) or text(store.attrs.get("keras_version"))
        backend = keras_weights.backend_of(file, store) if legacy else ""
    weights = copied.rename(folder / ("weights.h5" if legacy else WEIGHTS))
    if legacy:
        widen(weights, path.name)  # Keras cannot read back the bfloat16 that it writes here
    parsed = None if config is None else config_of(parse_json(config, f"the configuration in {path.name}"), path.name)
    written_by = keras_legacy.version(stated or ("1" if keras_first.is_first(parsed) else None))
    return KerasFile(path.name, folder, weights, parsed, written_by, legacy, backend)


def config_of(config: Any, name: str) -> dict[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise Usage(f"{name} has a configuration that describes no model")
    return config


@contextmanager
def _failures(name: str, what: str) -> Iterator[None]:
    """Whatever Keras raises, as one clear error."""
    try:
        yield
    except LeakyInteropError:
        raise
    except Exception as error:
        innermost = str(error).rpartition("Exception encountered: ")[2].strip()  # Keras wraps errors in errors
        first = (innermost or type(error).__name__).partition("\n")[0]
        raise RuntimeFailure(f"Keras cannot {what} {name}", why=first[:500]) from error
