"""What those who look may ask beside the roll-up: servers, nodes and roles by page, deviations, differences, events.

Same rules as `coordinator.tiers.requests`. Every list is a page: `next` is what to ask on with, empty where that was all.
"""

from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.tiers import requests

Counts = Mapping[str, int]


class Drafts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that are kept, newest first; there are never many."""


class DraftsView(msgspec.Struct, frozen=True):
    drafts: tuple[requests.DraftView, ...]


class Servers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By site and name, the parked ones last."""

    site: str = ""
    not_converged: bool = False
    after: str = ""
    limit: int = 500


class ServersView(msgspec.Struct, frozen=True):
    version: names.Version
    servers: tuple[requests.ServerView, ...]
    next: str


class Nodes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Worker nodes as the active document has them, by site, server and name."""

    site: str = ""
    server: str = ""
    after: str = ""
    limit: int = 500


class NodeRow(msgspec.Struct, frozen=True):
    """One worker node; `state` is the worst of its roles."""

    node: str
    server: str
    site: str
    state: str
    roles: tuple[str, ...]


class NodesView(msgspec.Struct, frozen=True):
    """`counts` are of all that was asked for, whatever the page holds."""

    version: names.Version
    total: int
    counts: Counts
    nodes: tuple[NodeRow, ...]
    next: str


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Roles that are to run, by site, server and name."""

    site: str = ""
    server: str = ""
    type: str = ""
    after: str = ""
    limit: int = 500


class RoleRow(msgspec.Struct, frozen=True):
    """`state` is `ready`, what the role itself complains of, or how far its server is."""

    role: str
    type: str
    node: str
    server: str
    site: str
    state: str
    reason: str = ""


class RolesView(msgspec.Struct, frozen=True):
    """`counts` by type and state are of all that was asked for, whatever the page holds."""

    version: names.Version
    total: int
    counts: Mapping[str, Counts]
    roles: tuple[RoleRow, ...]
    next: str


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is not as it should be."""

    after: str = ""
    limit: int = 500


class Deviation(msgspec.Struct, frozen=True):
    """`role` is empty where the server as a whole is concerned; `since_s` seconds ago."""

    site: str
    server: str
    role: str
    state: str
    reason: str
    since_s: float


class StateView(msgspec.Struct, frozen=True):
    """No deviation: healthy. `total` counts servers; those in trouble show their roles in trouble too."""

    version: names.Version
    coordinator: str
    total: int
    deviations: tuple[Deviation, ...]
    next: str


class Diff(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What differs from `old` to `new`; nothing in a source is the active revision."""

    old: requests.Source | None = None
    new: requests.Source | None = None
    full: bool = False


class Differs(msgspec.Struct, frozen=True):
    """`text` is the difference as people read it; `difference` the same as data."""

    old: str
    new: str
    old_digest: str
    new_digest: str
    same: bool
    text: str
    difference: msgspec.Raw


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What has happened after the event of that id; empty: from now on."""

    after: str = ""
    wait_s: float = 0.0


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that has changed since the event before; what was in between may be left out."""

    id: str
    kind: str
    """`revision`, `rollout`, `server`, or `site` where so many servers changed at once that they are counted."""
    wall: float
    """Seconds since 1970."""
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
    counts: Counts = {}
    author: str = ""
    message: str = ""


class EventsView(msgspec.Struct, frozen=True):
    """`state` where one begins, or what was asked for is not kept any more (`reset`)."""

    last: str
    reset: bool
    events: tuple[Event, ...]
    state: requests.StatusView | None = None
