"""TorchScript archives (`.pt`). Loading one runs no Python, but it may run TorchScript, which can write files.

Measured in torch 2.13: `torch.jit.load` runs every `__setstate__` that the archive's code defines, `aten::save` and
`aten::from_file` write and map whatever file they are given, and the unpickler, which is C++, takes the sizes of a tensor
without asking whether its storage is as large. So the code is read first, as Python's grammar reads it, and may name only
operators that are asked for; the pickles are run with stand-ins, which measure every tensor; and a copy made of nothing
but the judged entries is loaded.
"""

from __future__ import annotations

import ast
import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from leaky_interop.errors import RuntimeFailure, UnsafeFile

from .archive import Archive, archive
from .source import BLOCK, MIB, damaged, private_folder
from .torch import safe_torch

HINT = "If you trust whoever wrote the file, pass --trust, in Python trust=True"
WANTED = re.compile(
    r"version|byteorder|\.data/(version|serialization_id)|(data|constants)\.pkl|(data|constants)/\d+|code/(\w+/)*\w+\.py"
)
MOST_CODE = 64 * MIB
AT_LOADING = ("__setstate__", "__getstate__")
SPACES = ("prim", "aten")  # of operators
SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8,
}  # fmt: skip


def open_torchscript(path: str | os.PathLike[str], allowed: Callable[[str], bool], *, trust: bool = False) -> Any:
    """The `torch.jit.ScriptModule` in the file, on the CPU.

    allowed: whether an operator of ATen, by its name, may be called. trust: the file is taken as it is.
    """
    path = Path(path)
    torch = safe_torch()
    with archive(path) as members, private_folder() as folder:
        copied = folder / "module.pt"
        if not trust:
            copy_judged(torch, members, copied, allowed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch would rather have no more such files
                return torch.jit.load(str(path if trust else copied), map_location="cpu")
        except Exception as error:  # the loader raises whatever it meets
            lines = [line for line in str(error).splitlines() if line.strip()]
            why = lines[0] if lines else type(error).__name__
            raise RuntimeFailure(f"torch {torch.__version__} cannot load {path.name}", why=why) from error


def copy_judged(torch: Any, members: Archive, target: Path, allowed: Callable[[str], bool]) -> None:
    """A new archive of the judged entries alone."""
    tops = {name.partition("/")[0] for name in members.entries}
    if len(tops) != 1:
        raise damaged(members.name, "it is not laid out as torch.jit.save of torch 1.6 or newer does it")
    top = tops.pop()
    operators = {
        s.name.partition("::")[2] for s in torch._C._jit_get_all_schemas() if s.name.startswith(("aten::", "prim::"))
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name in members.entries:
            inner = name.removeprefix(f"{top}/")
            if not WANTED.fullmatch(inner):
                continue  # places in sources, and files that people have put beside
            if inner.startswith("code/"):
                for why, what in judge_code(members.read(name, MOST_CODE), lambda n: n not in operators or allowed(n)):
                    raise _unsafe(members.name, why, f"{what} in {inner}")
            elif inner.endswith(".pkl"):
                judge_pickle(
                    members.read(name, MOST_CODE),
                    f"{inner} of {members.name}",
                    _storages(members, name.removesuffix(".pkl")),
                )
            with members.open(name) as stream, out.open(f"module/{inner}", "w", force_zip64=True) as written:
                while block := stream.read(BLOCK):
                    written.write(block)


def judge_code(text: bytes, allowed: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Why code in TorchScript is not safe to load, each with what is to blame.

    A name after a dot may call an operator, on whatever it stands: `allowed` judges each.
    """
    try:
        tree = ast.parse(text)
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield "its code is not as torch writes it", "what does not parse"
        return
    below = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    asked = {id(node.func): node.args for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.name in AT_LOADING:
            yield "its code would run while it is loaded", node.name
        if isinstance(node, ast.Attribute):
            yield from _attribute_faults(node, node.attr, allowed)
        if isinstance(node, ast.Name) and node.id == "ops" and id(node) not in below:
            yield "it gives operators other names", node.id
        if isinstance(node, ast.Name) and node.id == "getattr":
            names = asked.get(id(node), [])[1:]
            if len(names) != 1 or not isinstance(names[0], ast.Constant) or not isinstance(names[0].value, str):
                yield "it looks for names that it computes", "getattr"
            else:
                yield from _attribute_faults(node, names[0].value, allowed)


def _attribute_faults(node: ast.expr, name: str, allowed: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    if name == "classes":
        yield "it has objects that are made in C++", name
    owner = node.value if isinstance(node, ast.Attribute) else None
    if isinstance(owner, ast.Name) and owner.id == "ops":
        if name not in SPACES:
            yield "it calls operators beyond ATen", f"ops.{name}"
    elif not allowed(name):
        yield "it calls an operator that does not convert", name


def judge_pickle(content: bytes, name: str, storages: Mapping[str, int]) -> None:
    """Refuse a pickle that names anything but modules of the archive, plain containers and tensors within their storages.

    storages: the bytes of each, by its key.
    """
    try:
        _Judging(io.BytesIO(content), name, storages).load()
    except UnsafeFile:
        raise
    except Exception as error:  # unpickling raises whatever a damaged one leads to
        raise damaged(name, str(error).partition("\n")[0]) from None


class _Object:
    """Stands for an object of a class of the archive."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Judging(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, name: str, storages: Mapping[str, int]) -> None:
        super().__init__(file)
        self.name, self.storages = name, storages

    def find_class(self, module: str, name: str) -> Any:
        inside = module == "__torch__" or module.startswith("__torch__.")
        if inside and not module.startswith("__torch__.torch.classes"):
            return _Object
        if module == "torch" and name in SIZES:
            return name
        found = {
            ("collections", "OrderedDict"): dict,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, tag: value,
            **{("torch.jit._pickle", f"build_{kind}list"): list for kind in ("int", "double", "bool", "tensor")},
        }.get((module, name))
        if found is None:
            raise _unsafe(self.name, "its pickle names something else than modules and tensors", f"{module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> int:
        """A storage: how many elements it has, which its file must hold."""
        kind, storage, key, _, count = pid
        if kind != "storage" or storage not in SIZES or type(count) is not int or count < 0:
            raise _unsafe(self.name, "its pickle has something else than storages beside it", str(pid))
        if SIZES[storage] * count > self.storages.get(key, 0):
            raise _unsafe(self.name, "a tensor is larger than what is stored of it", str(key))
        return count

    def tensor(self, storage: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> None:
        """A tensor: it must lie within its storage."""
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
            raise _unsafe(self.name, "a tensor has sizes that are none", str(numbers))
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 not in size and last >= storage:
            raise _unsafe(self.name, "a tensor reaches beyond its storage", str(numbers))


def _storages(members: Archive, folder: str) -> dict[str, int]:
    return {n.rpartition("/")[2]: e.file_size for n, e in members.entries.items() if n.rpartition("/")[0] == folder}


def _unsafe(name: str, why: str, what: str) -> UnsafeFile:
    return UnsafeFile(f"{name} is not safe to load", where=repr(what[:200]), why=why, hint=HINT)
