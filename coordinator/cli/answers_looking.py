"""Pages, differences and events as the command line reads them; as in `answers`."""

from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.cli import answers


class Page(msgspec.Struct, frozen=True):
    """What every page has."""

    next: str = ""


class Drafts(msgspec.Struct, frozen=True):
    drafts: tuple[answers.DraftView, ...]


class Servers(Page, frozen=True, kw_only=True):
    servers: tuple[answers.ServerView, ...] = ()


class Node(msgspec.Struct, frozen=True):
    node: str
    server: str
    site: str
    state: str
    roles: tuple[str, ...]


class Nodes(Page, frozen=True, kw_only=True):
    total: int
    counts: Mapping[str, int]
    nodes: tuple[Node, ...] = ()


class Role(msgspec.Struct, frozen=True):
    role: str
    type: str
    node: str
    server: str
    site: str
    state: str
    reason: str = ""


class Roles(Page, frozen=True, kw_only=True):
    total: int
    counts: Mapping[str, Mapping[str, int]]
    roles: tuple[Role, ...] = ()


class Differs(msgspec.Struct, frozen=True):
    old: str
    new: str
    same: bool
    text: str


class Event(msgspec.Struct, frozen=True):
    """Of the stream; which fields are filled depends on `kind`."""

    id: str
    kind: str
    wall: float
    version: names.Version
    site: str = ""
    server: str = ""
    before: str = ""
    now: str = ""
    reason: str = ""
    rollout: str = ""
    ready: int = 0
    reachable: int = 0
    asked: int = 0
    counts: Mapping[str, int] = {}
    author: str = ""
    message: str = ""
