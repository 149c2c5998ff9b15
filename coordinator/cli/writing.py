"""A document as text again: sections and keys in their usual order, names in that of whoever wrote them.

Law: what is written reads back as the same canonical bytes.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml

from coordinator.config import model

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*", re.ASCII)
_MEANS_MORE = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_INLINE_CHARACTERS = 100


class _Dumper(yaml.SafeDumper):
    """Quotes every text that is not plainly a word, so that no reader of any YAML takes it for something else."""

    def ignore_aliases(self, _data: Any) -> bool:  # noqa: ANN401 PyYAML's own signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 PyYAML's own signature
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _MEANS_MORE
    lines = text.split("\n")
    block = len(lines) > 1 and all(line.isprintable() for line in lines)
    style = None if plain else "|" if block else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: yaml.SafeDumper, items: Sequence[Any]) -> yaml.Node:
    short = sum(len(str(item)) + 2 for item in items) <= _INLINE_CHARACTERS
    inline = short and not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=inline)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
_Dumper.add_representer(tuple, _list)


def yaml_text(document: model.Document) -> str:
    """Block style, short lists in one line."""
    text: str = yaml.dump(
        _ordered(document),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=4096,
    )
    return text


def json_text(document: model.Document) -> str:
    return msgspec.json.format(msgspec.json.encode(_ordered(document)), indent=2).decode() + "\n"


def _ordered(document: model.Document) -> dict[str, Any]:
    """Defaults are left out; `Document` declares its sections, and they their keys, in the usual order."""
    plain: dict[str, Any] = msgspec.to_builtins(document)
    return plain
