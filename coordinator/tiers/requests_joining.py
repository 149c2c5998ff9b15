"""What is asked of MIC about servers that come and go: by people (join lines, accept, expel) and by the machines themselves.

A machine has no person's token; its request carries its own proof (`coordinator.propagation.joining`).
"""

import enum

import msgspec

from coordinator.propagation import asks, joining


class Proven(enum.StrEnum):
    """Verbs that carry their own proof instead of a person's token; their rows stand in `permissions.PROVEN`."""

    JOIN = joining.JOIN
    LEAVE = joining.LEAVE
    RENEW = asks.RENEW


class CreateLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A join line; without a name whoever uses it waits parked for `servers.accept`."""

    server: str = ""
    ttl_s: float = 3600.0


class LineMade(msgspec.Struct, frozen=True):
    """`line` holds the secret and is told this once; `at` are the places to join at, `address:port`."""

    id: str
    line: str
    server: str
    expires: float
    """Seconds since 1970, by MIC's clock."""
    at: tuple[str, ...]


class ListLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    every: bool = False
    """Those that were used, revoked or have expired too."""


class LineView(msgspec.Struct, frozen=True):
    """What is known of a join line; never its secret."""

    id: str
    state: str
    """`open used expired revoked`."""
    server: str
    """The name it is bound to, or that of the server that used it; empty if there is none yet."""
    server_id: str
    author: str
    made: float
    expires: float


class Lines(msgspec.Struct, frozen=True):
    """Newest first."""

    lines: tuple[LineView, ...]


class RevokeLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class Accept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a name to a server that joined without one."""

    server: str
    """Its id, or the beginning of it."""
    name: str


class Expel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    server: str
    """Name, or id."""
    reason: str = ""


class Seat(msgspec.Struct, frozen=True):
    """A server after `accept` or `expel`."""

    server_id: str
    server: str
    state: str
    """`placed parked expelled`."""
    site: str = ""
