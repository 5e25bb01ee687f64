"""Protobuf messages of formats whose packages are large: only the fields that lead to a slope are declared.

protobuf itself reads and writes them, skips every other field, and refuses nesting beyond its limit. Fields are declared
optional, so that one that is left out can be told from one that states 0.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ..errors import Usage

Schema = Mapping[str, Mapping[str, tuple[int, str]]]  # message: field: number, and "[repeated ]type"


def declare(package: str, schema: Schema) -> dict[str, Any]:
    """Message classes by name. A type is one of protobuf's, or another message of the schema."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated, _, word = kind.rpartition(" ")
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if word in schema:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".{package}.{word}"
            else:
                made.type = getattr(kinds, f"TYPE_{word.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in schema}


def parse(kind: Any, content: bytes, what: str) -> Any:
    """A message from bytes, or the error that says what they are not."""
    from google.protobuf.message import DecodeError

    message = kind()
    try:
        message.ParseFromString(bytes(content))
    except DecodeError:
        raise Usage(f"the bytes are no {what}", hint="The file is truncated, damaged, or something else") from None
    return message


def lazily(package: str, schema: Schema) -> Any:
    """`declare` on the first call: importing this package loads no protobuf."""
    return functools.cache(lambda: declare(package, schema))
