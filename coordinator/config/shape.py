"""Whether plain data fits a msgspec type, with every fault named; msgspec itself stops at the first.

The struct definitions stay the one statement of the format. May not judge meaning.
Law: `faults(value, kind)` is empty exactly where `msgspec.convert(value, kind)` succeeds; it is lazy, so that whoever
has heard enough stops.
"""

import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from coordinator.config import findings

_EXPECTED = re.compile(r"Expected `(?P<wanted>[^`]*)`(?P<bound>[^,]*)(?:, got `(?P<got>[^`]*)`)?")
_PATTERN = " matching regex "
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a map",
    "array": "a list",
    "null": "nothing",
    "date": "a date",
}


class Fault(msgspec.Struct, frozen=True):
    """One place where the data does not fit."""

    path: findings.Path
    message: str
    hint: str = ""
    at_key: bool = False
    """The fault is the key, not its value."""
    missing: str = ""
    """The key that should be there and is not."""


def faults(value: Any, kind: Any, path: findings.Path = ()) -> Iterator[Fault]:  # noqa: ANN401 any data, any type
    """Every fault of `value` as a `kind`."""
    kind, origin = _plain(kind), typing.get_origin(_plain(kind))
    if kind is Any:
        return
    if origin in {typing.Union, types.UnionType}:
        yield from _union(value, kind, path)
    elif origin is typing.Literal:
        yield from _literal(value, typing.get_args(kind), path)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag is None:
        yield from _struct(value, kind, path)
    elif origin in {dict, Mapping} and isinstance(value, Mapping):
        for key, item in value.items():
            yield from faults(item, typing.get_args(kind)[1], (*path, key))
    elif origin in {tuple, list} and isinstance(value, list | tuple) and _of_one_kind(kind):
        for index, item in enumerate(value):
            yield from faults(item, typing.get_args(kind)[0], (*path, index))
    else:
        yield from _leaf(value, kind, path)


def _plain(kind: Any) -> Any:  # noqa: ANN401
    while isinstance(kind, typing.NewType):
        kind = kind.__supertype__
    return kind


def _of_one_kind(kind: Any) -> bool:  # noqa: ANN401
    arguments = typing.get_args(kind)
    return typing.get_origin(kind) is list or (len(arguments) == 2 and arguments[1] is Ellipsis)


def _union(value: Any, kind: Any, path: findings.Path) -> Iterator[Fault]:  # noqa: ANN401
    others = [one for one in typing.get_args(kind) if one is not types.NoneType]
    if len(others) == 1 and value is not None:
        yield from faults(value, others[0], path)
    else:
        yield from _leaf(value, kind, path)


def _literal(value: object, known: Collection[str], path: findings.Path) -> Iterator[Fault]:
    if value not in known:
        hint = findings.near(value, known) if isinstance(value, str) else ""
        yield Fault(path, f"must be one of {', '.join(known)} (got {_shown(value)})", hint)


def _struct(value: object, kind: type[msgspec.Struct], path: findings.Path) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield from _leaf(value, kind, path)
        return
    found = list(_fields(value, kind, path))
    yield from found or _leaf(
        value, kind, path
    )  # what only the struct itself can judge, by its __post_init__


def _fields(value: Mapping[Any, Any], kind: type[msgspec.Struct], path: findings.Path) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, item in value.items():
        if key in fields:
            yield from faults(item, fields[key].type, (*path, key))
        elif kind.__struct_config__.forbid_unknown_fields:
            hint = findings.near(key, fields, f"known here: {', '.join(sorted(fields))}" if fields else "")
            yield Fault((*path, key), f"unknown key {key!r}", hint, at_key=True)
    for name, field in fields.items():
        if field.required and name not in value:
            yield Fault(path, f"the key {name!r} is missing", missing=name)


def _leaf(value: Any, kind: Any, path: findings.Path) -> Iterator[Fault]:  # noqa: ANN401
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, below = str(error).partition(" - at `$")
        yield Fault((*path, *steps(below.rstrip("`"))), _sentence(message, value), _hint(message, value))


def steps(dotted: str) -> findings.Path:
    """The path in msgspec's `.ready.tcp[0]`; a step it does not name (`[...]`) ends it."""
    found: list[str | int] = []
    for match in re.finditer(r"\.(\w+)|\[(\d+)\]|(\[\.\.\.\])", dotted):
        if match[3]:
            break
        found.append(match[1] or int(match[2]))
    return tuple(found)


def _sentence(message: str, value: object) -> str:
    if _PATTERN in message:
        return f"must have the form {message.partition(_PATTERN)[2]} (got {_shown(value)})"
    match = _EXPECTED.match(message)
    if match is None:
        return message[:1].lower() + message[1:]
    wanted = " or ".join(_WORDS.get(word, word) for word in match["wanted"].split(" | "))
    return f"must be {wanted}{match['bound']} (got {_shown(value)})"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint(message: str, value: object) -> str:
    if "`str" in message.partition(", got")[0] and isinstance(value, bool | int | float):
        return f'write it in quotes: "{_shown(value)}"'
    if "`array" in message and isinstance(value, str):
        return f"write it as a list: [{value[:60]}]"
    if "`array" in message and value is None:
        return "an empty list is written []"
    if "`object" in message and value is None:
        return "an empty map is written {}"
    return ""
