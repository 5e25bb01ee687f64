"""Names that survive a round trip: one injective, reversible codec per framework.

A canonical name is text whose parts are joined by dots: "encoder.0.conv1". Any text is one; a dot that belongs to a
part is written by `join` and read back by `split`.

What a framework accepts, measured (keras 3.15, torch 2.13), is narrower than it looks:

* keras refuses "/", and "." on the torch backend; under tf.function TensorFlow takes ASCII letters, digits and
  "_ - . >" alone, so "a b" builds and then fails in `predict`.
* torch refuses "", "." inside a part and the names of nn.Module's own attributes. torch.fx pastes a name into source
  code: quotes and backslashes there are a way to run code, keywords and identifiers that Python respells ("ﬁ" is "fi")
  break it, and a program that torch.export saved does not load with one of , ; ( ) [ ] in a name.
* onnx takes any text.

Each codec is a bijection between all names and the legal ones of its framework: `decode(encode(name)) == name`, and
`encode(decode(native)) == native` wherever `native` is legal. Escapes are `_u00e9_` for a character, `_empty_` for a
part without any, `__` for the dot in keras, one more `_` behind a reserved word in torch. A legal native name that no
name would be written as ("_u00e9", "a____b") is read as it stands; `_Codec` makes room for it.
"""

from __future__ import annotations

import builtins
import dataclasses
import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable


def encode(framework: str, name: str) -> str:
    """The native name that stands for a canonical one: "encoder.0.conv1" is "encoder__0__conv1" in keras."""
    return _codec(framework).encode(name)


def decode(framework: str, native: str) -> str:
    """The canonical name that a native one stands for.

    A native name that `encode` would never write, because not every backend takes it, is read as it stands; it can meet
    the name of another layer there ("a.b" and "a__b" in one keras model), which `Unique` tells apart.
    """
    return _codec(framework).decode(native)


def join(*parts: str) -> str:
    """One canonical name of several parts, whatever they hold: a dot in a part becomes "%2E"."""
    return ".".join(_DOT.sub(r"%25\g<1>2E", part).replace(".", "%2E") for part in parts)


def split(name: str) -> tuple[str, ...]:
    """The parts that `join` was given."""
    return tuple(_DOT.sub(lambda m: f"%{m[1][2:]}2E" if m[1] else ".", part) for part in name.split("."))


_DOT = re.compile("%((?:25)*)2E")


def identifier(name: str) -> str:
    """A Python identifier that reads like the name; different names may give the same one, see `Unique`."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
    if word[0].isdigit():
        return f"_{word}"
    return f"{word}_" if keyword.iskeyword(word) or word in _BUILTINS else word


_BUILTINS = {*dir(builtins), "self", "torch"}


class Unique:
    """Hands out every name once: the second "a" becomes "a_1"."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        given, count = name, self._next.get(name, 1)
        while given in self._taken:
            given, count = f"{name}_{count}", count + 1
        self._taken.add(given)
        self._next[name] = count
        return given


# --- the bijection ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Codec:
    """A bijection between all texts and the legal native names, made of an escape that need only be injective.

    Let some legal names be no escape of anything ("a____b"). Each is read as itself and written as itself; so its own
    escape, which is legal too, is free now, is read as itself in turn, and so on: the names of these chains stand for
    themselves and all others for what their escape says (the construction of Cantor and Bernstein). An escape is longer
    than what it stands for or equal to it, so that walking a chain back ends.
    """

    escape: Callable[[str], str]  # any text -> a legal native name; injective
    unescape: Callable[[str], str]  # undoes `escape`, and gives some text for every other native name
    legal: Callable[[str], bool]

    def encode(self, name: str) -> str:
        return name if self._itself(name) else self.escape(name)

    def decode(self, native: str) -> str:
        return native if self._itself(native) or not self.legal(native) else self.unescape(native)

    def _itself(self, native: str) -> bool:
        while self.legal(native):
            name = self.unescape(native)
            if self.escape(name) != native:
                return True
            if name == native:
                return False
            native = name
        return False


def _codec(framework: str) -> _Codec:
    if framework not in _CODECS:
        raise ValueError(f"no codec for names; expected one of {', '.join(_CODECS)}; received {framework!r}")
    return _CODECS[framework]


_TOKEN = re.compile("_(?:u([0-9a-f]{4,6})|empty)_")
# Not plain ASCII, or an underscore that would begin a token once its surroundings are escaped.
_STRANGE = re.compile("[^A-Za-z0-9_-]|_(?=(?:u[0-9a-f]{4,6}|empty)(?![A-Za-z0-9-]))")
# In keras, where "__" is the dot, an underscore is plain only before a plain character: "a._b" is "a___b".
_STRANGE_IN_KERAS = re.compile(_STRANGE.pattern + "|_(?![A-Za-z0-9-])")


def _escape_part(part: str, strange: re.Pattern[str]) -> str:
    return strange.sub(lambda m: f"_u{ord(m[0]):04x}_", part) if part else "_empty_"


def _character(token: re.Match[str]) -> str:
    code = int(token[1] or "0", 16)
    return "" if token[1] is None else chr(code) if code <= 0x10FFFF else token[0]


# --- keras ------------------------------------------------------------------------------------------------------------


def _escape_keras(name: str) -> str:
    return "__".join(_escape_part(part, _STRANGE_IN_KERAS) for part in name.split("."))


def _unescape_keras(native: str) -> str:
    return re.sub(f"{_TOKEN.pattern}|__", lambda m: "." if m[0] == "__" else _character(m), native)


def _legal_in_keras(native: str) -> bool:
    return re.fullmatch("[A-Za-z0-9_>-]+", native) is not None


# --- torch ------------------------------------------------------------------------------------------------------------

# Attributes of every nn.Module (the first comes with torch.compile), and words of Python: no part of a path may be one.
_RESERVED = frozenset(
    """
    ___needs_generation_tag_patch
    T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl _forward_hooks
    _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks _forward_pre_hooks_with_kwargs
    _get_backward_hooks _get_backward_pre_hooks _get_name _is_full_backward_hook _load_from_state_dict
    _load_state_dict_post_hooks _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
    _non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook _register_state_dict_hook
    _replicate_for_data_parallel _save_to_state_dict _slow_forward _state_dict_hooks _state_dict_pre_hooks _version
    _wrapped_call_impl add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches
    eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict
    modules mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook
    register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
    """.split()
) | frozenset(keyword.kwlist)

# What fx.GraphModule adds at the root, and "self", which TorchScript takes for the module there.
_RESERVED_AT_ROOT = _RESERVED | frozenset(
    """
    _boxed_call _code _create_node_hooks _deepcopy_hooks _deepcopy_init _erase_node_hooks _graph _lineno_map
    _prologue_start _recompile_submodules _register_create_node_hook _register_deepcopy_hook _register_erase_node_hook
    _register_replace_node_hook _replace_hooks _set_replace_hook _tracer_cls _tracer_extras
    _unregister_create_node_hook _unregister_deepcopy_hook _unregister_erase_node_hook _unregister_replace_node_hook
    _wrapped_call add_submodule code delete_all_unused_submodules delete_submodule graph meta print_readable recompile
    self shape_env to_folder
    """.split()
)

# Ends a string of source code, splits a list in a saved torch.export program, or hides what the code says.
_UNSAFE_IN_TORCH = re.compile('[\x00-\x1f\x7f-\x9f"\\\\,;()\\[\\]\ud800-\udfff\u202a-\u202e\u2066-\u2069]')


def _reserved(part: str, place: int) -> bool:
    return part in (_RESERVED if place else _RESERVED_AT_ROOT)


def _dunder(part: str) -> bool:
    return part.startswith("__") and part.endswith("__") and len(part) >= 4


def _guarded(part: str, place: int) -> bool:
    """A reserved word, or one with underscores behind it: each of them gets one more."""
    while not _reserved(part, place) and part.endswith("_"):
        part = part[:-1]
    return _reserved(part, place)


def _escape_torch(name: str) -> str:
    parts = [_escape_part(part, _STRANGE) for part in name.split(".")]
    for place, part in enumerate(parts):
        if _dunder(part):
            parts[place] = f"_u005f_{part[1:]}"
        elif _guarded(part, place):
            parts[place] += "_"
    return ".".join(parts)


def _unescape_torch(native: str) -> str:
    parts = native.split(".")
    for place, part in enumerate(parts):
        guarded = part.endswith("_") and _guarded(part[:-1], place)
        parts[place] = part[:-1] if guarded else _TOKEN.sub(_character, part)
    return ".".join(parts)


def _legal_in_torch(native: str) -> bool:
    return all(
        part != ""
        and not _reserved(part, place)
        and not _dunder(part)
        and not _UNSAFE_IN_TORCH.search(part)
        and (not part.isidentifier() or unicodedata.normalize("NFKC", part) == part)
        for place, part in enumerate(native.split("."))
    )


def _same(text: str) -> str:
    return text


_CODECS = {
    "keras": _Codec(_escape_keras, _unescape_keras, _legal_in_keras),
    "torch": _Codec(_escape_torch, _unescape_torch, _legal_in_torch),
    "onnx": _Codec(_same, _same, lambda native: True),
    "chainer": _Codec(_same, _same, lambda native: True),
    "tensorflow": _Codec(_same, _same, lambda native: True),
    "matlab": _Codec(_same, _same, lambda native: True),  # what cannot stand there is changed in writing
}
