"""Changes of a valid file: of its parts where it has a known form, and of its bytes."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

MOST = 1 << 20  # bytes of an input: larger ones only cost time
INTEGERS = (0, 1, 2, 7, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**64 - 1)
TEXTS = (
    "", ".", "..", "../secret.bin", "/etc/hostname", "link.bin", "hard.bin", "w.bin", "a/../../secret.bin", "\0", "x\0y",
    "__class__", "__import__('os').system('true')", "os", "subprocess", "Lambda", "function", "get_file", "keras.src.ops.numpy",
    "StringLookup", "http://127.0.0.1:1/x", "builtins.eval", "é\u2028", "9" * 400, "-1", "1e309", "nan", "s0", "object", "|O", "<f4",
    "int64", "If", "Loop", "F", "leaky_relu", "LeakyReLU", "alpha", "%s%n", "(" * 60, "[" * 60, "{" * 60, "-" * 60,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e308, float("nan"), float("inf"), [], {}, [[]], [0], *TEXTS,
)  # fmt: skip


def mutated(data: bytes, form: str, random: Random, pool: list[bytes]) -> bytes:
    """A changed copy; `pool` holds other inputs, parts of which may be taken over."""
    change = FORMS.get(form, of_bytes)
    for _ in range(1 + int(random.expovariate(1.2))):
        try:
            data = change(data, random) if random.random() < 0.8 else of_bytes(data, random)
        except Exception:  # what no longer has its form is changed byte by byte
            data = of_bytes(data, random)
        if pool and random.random() < 0.03:
            other = random.choice(pool)
            data = data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]
    return data[:MOST]


def of_bytes(data: bytes, random: Random) -> bytes:
    text = bytearray(data or b"\0")
    size = random.choice((1, 1, 2, 4, 8, 16, 64))
    # the beginning holds what decides: half of the changes go there
    place = random.randrange(min(len(text), random.choice((64, 512, 4096, len(text)))))
    kind = random.randrange(9)
    if kind == 0:
        text[place] ^= 1 << random.randrange(8)
    elif kind == 1:
        text[place : place + size] = random.randbytes(size)
    elif kind == 2:
        number, width = random.choice(INTEGERS), random.choice((1, 2, 4, 8))
        text[place : place + width] = (number % 256**width).to_bytes(width, random.choice(("little", "big")))
    elif kind == 3:
        del text[place : place + size]
    elif kind == 4:
        text[place:place] = random.randbytes(size)
    elif kind == 5:
        other = random.randrange(len(text))
        text[place : place + size] = text[other : other + size]
    elif kind == 6:
        text[place:place] = text[place : place + size] * random.choice((2, 20))
    elif kind == 7:
        del text[place:]
    else:
        text[place : place + size] = random.choice(TEXTS).encode()
    return bytes(text)


def of_text(data: bytes, random: Random) -> bytes:
    """Lines and words doubled, dropped, exchanged or replaced."""
    mark = random.choice((b"\n", b" ", b",", b"(", b"'", b"="))
    parts = data.split(mark)
    index, other = random.randrange(len(parts)), random.randrange(len(parts))
    kind = random.randrange(6)
    if kind == 0:
        del parts[index]
    elif kind == 1:
        parts[index:index] = parts[index : index + random.choice((1, 3))] * random.choice((1, 2, 50))
    elif kind == 2:
        parts[index], parts[other] = parts[other], parts[index]
    elif kind == 3:
        parts[index] = random.choice(TEXTS).encode()
    elif kind == 4:
        parts[index] = str(random.choice((*INTEGERS, -1, 0.5, 1e300, "nan"))).encode()
    else:
        parts[index] = parts[index] + random.choice(
            (b"(", b")", b"[", b"]", b"{", b"}", b"'", b'"', b"%", b"...", b"\\")
        )
    return mark.join(parts)


def of_json(data: bytes, random: Random) -> bytes:
    return json.dumps(of_tree(json.loads(data), random)).encode()


def of_tree(tree: Any, random: Random) -> Any:
    """The tree with one place replaced, dropped, doubled, renamed, exchanged for another, or nested deeply."""
    tree = copy.deepcopy(tree)
    places: list[tuple[Any, Any]] = []
    stack = [tree]
    while stack:
        value = stack.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        places += [(value, key) for key in keys]
        stack += [value[key] for key in keys]
    if not places:
        return random.choice(VALUES)
    (owner, key), (other, name) = random.choice(places), random.choice(places)
    kind = random.randrange(7)
    if kind == 0:
        del owner[key]
    elif kind == 1:
        owner[key] = copy.deepcopy(other[name])
    elif kind == 2 and isinstance(owner, dict):
        owner[random.choice((*TEXTS, str(name)))] = owner.pop(key)
    elif kind == 3 and isinstance(owner, list):
        owner += [copy.deepcopy(owner[key])] * random.choice((1, 2, 40))
    elif kind == 4:
        for _ in range(random.choice((1, 3, 200))):
            owner[key] = [owner[key]] if random.random() < 0.5 else {"a": owner[key]}
    elif kind == 5 and isinstance(owner[key], int | float):
        owner[key] = owner[key] * random.choice((-1, 2, 0.5, 1000)) + random.choice((-1, 0, 1))
    else:
        owner[key] = random.choice(VALUES)
    return tree


def of_zip(data: bytes, random: Random) -> bytes:
    """An entry's content changed by its own form, or entries renamed, dropped, doubled, mislabelled."""
    with zipfile.ZipFile(io.BytesIO(data)) as given:
        entries = [(copy.copy(entry), given.read(entry)) for entry in given.infolist()]
    index = random.randrange(len(entries))
    entry, content = entries[index]
    kind = random.randrange(12)
    if kind == 0:
        del entries[index]
    elif kind == 1:
        entries.append((copy.copy(entry), content))
    elif kind == 2:
        entry.filename = random.choice((*(e.filename for e, _ in entries), *TEXTS)) or "x"
    elif kind == 3:
        entry.external_attr = random.choice((0o120777, 0o020666, 0o040755, 0)) << 16
    elif kind == 4:
        entries.append((zipfile.ZipInfo(random.choice(TEXTS) or "x"), random.randbytes(20)))
    else:
        form = FORM_OF.get(entry.filename.rpartition(".")[2], "bytes")
        entries[index] = entry, FORMS.get(form, of_bytes)(content, random)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for entry, content in entries:
            clean = zipfile.ZipInfo(entry.filename)
            clean.external_attr = entry.external_attr
            clean.compress_type = random.choice((0, 0, 0, 0, 0, zipfile.ZIP_DEFLATED))
            target.writestr(clean, content)
    return out.getvalue()


def of_protobuf(data: bytes, random: Random) -> bytes:
    """One field of a message, or of a message within it, changed."""
    fields = _fields(data)
    if not fields:
        return of_bytes(data, random)
    index = random.randrange(len(fields))
    number, wire, value = fields[index]
    if wire == 2 and len(value) > 2 and random.random() < 0.75:
        try:
            fields[index] = number, wire, of_protobuf(value, random) if _fields(value) else of_bytes(value, random)
        except ValueError:
            fields[index] = number, wire, of_bytes(value, random)
        return _message(fields)
    kind = random.randrange(7)
    if kind == 0:
        del fields[index]
    elif kind == 1:
        fields[index:index] = [fields[index]] * random.choice((1, 2, 30))
    elif kind == 2:
        fields[index] = random.randint(1, 25), wire, value
    elif kind == 3:
        fields[index] = random.choice(fields)
    elif kind == 4 and wire == 2:
        for _ in range(random.choice((1, 3, 120))):
            value = _message([(random.choice((1, 5, 6, 7, number)), 2, value)])
        fields[index] = number, 2, value
    elif wire == 0:
        fields[index] = number, 0, random.choice(INTEGERS)
    elif wire == 2:
        fields[index] = number, 2, random.choice(TEXTS).encode()
    else:
        fields[index] = number, wire, random.randbytes(len(value))
    return _message(fields)


def _fields(data: bytes) -> list[tuple[int, int, Any]]:
    """Number, wire type and content of each field; ValueError for what is no message."""
    found: list[tuple[int, int, Any]] = []
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(data, place)
            found.append((number, wire, value))
            continue
        if wire not in (1, 2, 5) or not number:
            raise ValueError("no message")
        size = 8 if wire == 1 else 4
        if wire == 2:
            size, place = _varint(data, place)
        if place + size > len(data):
            raise ValueError("no message")
        found.append((number, wire, data[place : place + size]))
        place += size
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("no message")
        byte, place = data[place], place + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("no message")


def _message(fields: list[tuple[int, int, Any]]) -> bytes:
    out = bytearray()
    for number, wire, value in fields:
        out += _written(number << 3 | wire)
        if wire == 0:
            out += _written(value)
        else:
            out += _written(len(value)) * (wire == 2) + value
    return bytes(out)


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def of_npy(data: bytes, random: Random) -> bytes:
    """The header's text changed under a length that is right."""
    (length,) = struct.unpack_from("<H", data, 8)
    header = of_text(data[10 : 10 + length], random)[:60000]
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + length :]


def of_safetensors(data: bytes, random: Random) -> bytes:
    (length,) = struct.unpack_from("<Q", data)
    header = of_json(data[8 : 8 + length], random)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def of_labelled(data: bytes, random: Random) -> bytes:
    """One byte that says which of several kinds of file follows: `child.py` knows them by number."""
    form = random.choice((of_text, of_json, of_protobuf, of_bytes))
    return data[:1] + form(data[1:], random) if random.random() < 0.98 else bytes([random.randrange(256)]) + data[1:]


FORMS: dict[str, Callable[[bytes, Random], bytes]] = {
    "bytes": of_bytes, "text": of_text, "json": of_json, "zip": of_zip, "protobuf": of_protobuf, "npy": of_npy,
    "safetensors": of_safetensors, "labelled": of_labelled,
}  # fmt: skip
FORM_OF = {"json": "json", "npy": "npy", "h5": "bytes", "pkl": "bytes"}
