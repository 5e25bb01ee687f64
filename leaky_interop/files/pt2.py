"""Exported PyTorch programs (`.pt2`). Their own loader runs what the file says, so the file is judged here first.

Measured in torch 2.13, `torch.export.load` and the module it makes evaluate as Python: the shape expressions (through
sympy), the guards, the names of arguments, parameters and dictionary keys (pasted into generated source), the pickles
of weights, constants and sample inputs, the imports named in a tree specification, any attribute of `torch` given as an
operator, and compiled libraries. Each of them is held to a narrow grammar; then a copy made of nothing but the judged
entries is loaded.
"""

from __future__ import annotations

import ast
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leaky_interop.errors import RuntimeFailure, UnsafeFile

from .archive import Archive, archive, parse_json
from .source import BLOCK, damaged, private_folder
from .torch import check_weights_only, safe_torch

PASTED = "a name would be pasted into source code"
HINT = "Load it where you trust it and convert the live program"
# Entries that are copied, below the archive's one top folder; the rest (logs, extra files) is left behind.
WANTED = re.compile(
    r"archive_format|archive_version|byteorder|\.data/version|\.data/serialization_id|models/\w+\.json"
    r"|data/(weights|constants|sample_inputs)/[\w.\-]+"
)
COMPILED = re.compile(r"data/aotinductor/|data/executorch/|.*\.(so|dll|dylib|cubin|ptx|hsaco)$")
NAMESPACES = r"(aten|prims|prim|quantized|quantized_decomposed|torchvision)"
CALLS = r"(cond|while_loop|scan|associative_scan|map_impl|wrap_with_set_grad_enabled|wrap_with_autocast)"
SYMBOLIC = r"sym_(max|min|not|int|float|ite|sqrt|sum|fresh_size)|_sym_sqrt|_check|_check_is_size|_constrain_as_size"
OPERATORS = (
    r"add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|invert|lshift|rshift|getitem"
)
TARGET = re.compile(
    rf"torch\.ops\.{NAMESPACES}\.\w+\.[A-Za-z]\w*|torch\.ops\.higher_order\.{CALLS}"
    rf"|torch\.({SYMBOLIC})|_operator\.({OPERATORS})|math\.(trunc|floor|ceil|sqrt)"
)
IDENTIFIER = re.compile(r"[A-Za-z_]\w{0,999}|")
QUOTABLE = re.compile(r"[^\"'\\\x00-\x1f\x7f\u2028\u2029#]{0,1000}")  # nothing that ends a quoted string or a line
IDENTIFIERS = {"name", "as_name", "forward_arg_names", "user_input_name", "as_operator"}
EXPRESSIONS = {"expr_str", "guards_code"}
TREE_TYPES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
INERT = {"as_string", "as_strings", "torch_version"}  # passed on as values, never as source
FUNCTIONS = (
    "Symbol Integer Float Rational Add Mul Pow Max Min max min Mod PythonMod FloorDiv CeilDiv CleanDiv ModularIndexing "
    "Where IntTrueDiv FloatTrueDiv TruncToInt TruncToFloat RoundToInt RoundDecimal CeilToInt FloorToInt ToFloat "
    "Identity PowByNatural FloatPow LShift RShift Eq Ne Lt Le Gt Ge And Or Not Equality Unequality StrictLessThan "
    "LessThan StrictGreaterThan GreaterThan floor ceiling trunc sqrt size stride storage_offset dim item"
).split()
WORDS = {"L", "true", "false", "int_oo", "oo", "math", "positive", "integer", "nonnegative", "real", "nonzero", "zero"}
POWERS = {"Pow", "PowByNatural", "FloatPow", "LShift"}
EXPRESSION_NODES = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Subscript, ast.Call,
    ast.keyword, ast.Attribute, ast.Load, ast.boolop, ast.operator, ast.unaryop, ast.cmpop, ast.IfExp,
)  # fmt: skip


def open_pt2(path: str | os.PathLike[str]) -> Any:
    """The `torch.export.ExportedProgram` in the file."""
    path = Path(path)
    torch = safe_torch()
    with archive(path) as members, private_folder() as folder:
        copied = folder / "program.pt2"
        copy_judged(torch, members, copied)
        try:
            return torch.export.load(str(copied))
        except Exception as error:  # the loader raises whatever it meets
            why = str(error).partition("\n")[0] or type(error).__name__
            raise RuntimeFailure(f"torch {torch.__version__} cannot load {path.name}", why=why) from error


def copy_judged(torch: Any, members: Archive, target: Path) -> None:
    """A new archive of the judged entries alone."""
    tops = {name.partition("/")[0] for name in members.entries}
    if len(tops) != 1 or not any(name.endswith("/archive_format") for name in members.entries):
        raise damaged(members.name, "it is not laid out as torch.export.save of torch 2.8 or newer does it")
    top = tops.pop()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name in members.entries:
            inner = name.removeprefix(f"{top}/")
            if COMPILED.match(inner):
                raise _unsafe(members, "it holds compiled code", inner)
            if not WANTED.fullmatch(inner):
                continue
            _judge_entry(torch, members, name, inner)
            with members.open(name) as stream, out.open(f"program/{inner}", "w", force_zip64=True) as written:
                while block := stream.read(BLOCK):
                    written.write(block)


def _judge_entry(torch: Any, members: Archive, name: str, inner: str) -> None:
    if re.match(r"data/constants/(custom_obj_|opaque_obj_)", inner):
        raise _unsafe(members, "it holds a pickled object", inner)
    if inner.startswith("models/"):
        for why, what in judge_program(members.read_json(name)):
            raise _unsafe(members, why, what)
    elif inner.endswith("_config.json"):
        config = members.read_json(name)
        rows = config.get("config") if isinstance(config, dict) else None
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise damaged(members.name, f"{inner} lists nothing")
        for key, row in rows.items():
            stored = row.get("path_name", "")
            if not QUOTABLE.fullmatch(key) or not re.fullmatch(r"[\w.\-]+", str(stored)):
                raise _unsafe(members, PASTED, key)
            if row.get("use_pickle"):
                entry = f"{name.rpartition('/')[0]}/{stored}"
                check_weights_only(torch, members.read(entry, BLOCK * 1024), f"{stored} of {members.name}")
    elif inner.endswith(".pt"):
        check_weights_only(torch, members.read(name, BLOCK * 1024), f"{inner} of {members.name}")


def judge_program(program: Any) -> Iterator[tuple[str, str]]:
    """Why a serialised program is not safe to load, each with the text that is to blame."""
    stack: list[tuple[str, Any]] = [("", program)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            for name, child in value.items():
                if not QUOTABLE.fullmatch(name):
                    yield PASTED, name
                if name != "metadata":  # stack traces and the like, for people
                    stack.append((name, child))
        elif isinstance(value, list):
            stack.extend((key, child) for child in value)
        elif isinstance(value, str) and (why := _fault(key, value)):
            yield why, value


def _fault(key: str, text: str) -> str:
    """Why this text under this key is not safe, or nothing."""
    if key == "target":
        return "" if TARGET.fullmatch(text) else "it calls something that is no tensor operator"
    if key in EXPRESSIONS:
        return "" if is_plain_expression(text) else "an expression is more than arithmetic on sizes"
    if key in ("in_spec", "out_spec"):
        return _tree_fault(text, arguments=key == "in_spec")
    pattern = IDENTIFIER if key in IDENTIFIERS else QUOTABLE
    return "" if key in INERT or pattern.fullmatch(text) else PASTED


def is_plain_expression(text: str) -> bool:
    """Whether the text is arithmetic and comparison of sizes, and nothing else."""
    if len(text) > 100_000 or any(mark in text for mark in "#\n\r\\"):
        return False
    try:
        return all(_is_plain(node) for node in ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return bool(QUOTABLE.fullmatch(node.value))
        return isinstance(node.value, int | float) and abs(node.value) < 2**63
    if isinstance(node, ast.Name):
        return node.id in WORDS or node.id in FUNCTIONS or _is_symbol(node)
    if isinstance(node, ast.Attribute):
        return node.attr in FUNCTIONS
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in POWERS:
            return len(node.args) == 2 and _is_small_power(*node.args)
        return isinstance(node.func, ast.Attribute) or (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.LShift):
        return _is_small_power(node.left, node.right)
    return isinstance(node, EXPRESSION_NODES)


def _is_symbol(node: ast.AST) -> bool:
    text = node.id if isinstance(node, ast.Name) else node.value if isinstance(node, ast.Constant) else None
    return text == "L" or (isinstance(text, str) and bool(re.fullmatch(r"[a-z]{1,3}\d+", text)))


def _is_small_power(base: ast.expr, exponent: ast.expr) -> bool:
    """A power of a size to a small number: one of plain numbers could take for ever to compute."""
    numbers = [node.value for node in ast.walk(exponent) if isinstance(node, ast.Constant)]
    return any(map(_is_symbol, ast.walk(base))) and all(
        isinstance(n, int | float) and abs(n) <= 64 for n in numbers if not isinstance(n, str)
    )


def _tree_fault(text: str, *, arguments: bool) -> str:
    """Why a tree specification is not safe: only plain containers, whose keys can stand in source code."""
    root = parse_json(text, "a tree specification")
    if not (isinstance(root, list) and len(root) == 2 and isinstance(root[1], dict)):
        return "a tree specification is malformed"
    children = root[1].get("children_spec") or []
    keywords = children[1] if arguments and len(children) == 2 else None  # their names become parameters
    stack = [root[1]]
    while stack:
        node = stack.pop()
        if not isinstance(node, dict) or node.get("type") not in TREE_TYPES:
            return "it packs its arguments in a class of its own"
        pattern = IDENTIFIER if node is keywords else QUOTABLE
        keys = parse_json(node.get("context") or "null", "a tree specification") or []
        if not isinstance(keys, list) or not all(isinstance(k, int) or pattern.fullmatch(str(k)) for k in keys):
            return PASTED
        stack.extend(node.get("children_spec") or [])
    return ""


def _unsafe(members: Archive, why: str, what: str) -> UnsafeFile:
    return UnsafeFile(f"{members.name} is not safe to load", where=repr(what[:200]), why=why, hint=HINT)
