"""What MIC keeps in its store beside the signed objects, as values with one encoding each.

New fields come last with a default: these stand in stores for years.
"""

from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.propagation import convergence


class Rollout(msgspec.Struct, frozen=True, array_like=True):
    """One activation: what was made active, by whose request, and how it ended if it has."""

    id: names.RolloutId
    version: names.Version
    digest: names.Digest
    started: float
    """Wall seconds."""
    roles: int
    sites: int
    asked: int
    author: str
    request: str = ""
    """By which a repeated request is known."""
    state: str = convergence.RolloutState.RUNNING
    ready: int = 0
    reachable: int = 0
    converged_ms: float | None = None
    """From its activation to the last ack; None while somebody is missing."""
    request_digest: str = ""
    """Of all that the request asked for; another request under its id is refused."""
    overtaken: str = ""
    """The state in which the next one found it, where it is superseded."""


class Draft(msgspec.Struct, frozen=True, array_like=True):
    """The head of a draft; its text stands in pieces beside it."""

    id: names.DraftId
    digest: names.Digest
    size_bytes: int
    valid: bool
    author: str
    message: str
    saved: float
    request: str = ""
    """By which a repeated request is known."""
    request_digest: str = ""
    """Of all that the request asked for; another request under its id is refused."""


class Preparation(msgspec.Struct, frozen=True, array_like=True):
    """What one request prepared or took back."""

    request: str
    author: str
    request_digest: str
    """Of the verb and of all that the request asked for."""
    version: names.Version
    digest: str
    base: names.Version
    """Active then."""


class Tried(msgspec.Struct, frozen=True, array_like=True):
    """How often passwords were tried: as `domains.tries.Kept`."""

    wall: float
    """Seconds, when it was so."""
    spent: tuple[tuple[tuple[str, ...], float], ...] = ()
    entered: tuple[tuple[str, ...], ...] = ()


class Text(msgspec.Struct, frozen=True, array_like=True):
    """One file as it was uploaded."""

    name: str
    text: str


class SiteSeen(msgspec.Struct, frozen=True, array_like=True):
    """What was last known of the servers of a site."""

    servers: Mapping[names.ServerId, convergence.Seen]
    left_out: int = 0
    """Servers beside these, for which there is no room in one value."""


class AuditEntry(msgspec.Struct, frozen=True, array_like=True):
    """Who did, or was refused, what."""

    wall: float
    who: str
    source: str
    verb: str
    request: str
    outcome: str
    """`ok`, or the code of the refusal."""
    detail: str
    version: names.Version
    """Active at that moment."""
    digest: str = ""
    """sha256 of the request; empty where a secret was in it."""


class Term(msgspec.Struct, frozen=True, array_like=True):
    """MIC's office: whoever raised it last holds it."""

    term: int
    server: names.ServerId
    nonce: str
    """Tells two holders of one number apart, should there ever be two."""


class UserLease(msgspec.Struct, frozen=True, array_like=True):
    """A lease of users; its id stands in the key."""

    ttl_s: float
    holder: str
    scopes: tuple[str, ...] = ()
    """Of the token that asked for it: its keys may lie where no other token of the same person reaches."""


def encode(entry: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(entry)


ROLLOUT = msgspec.msgpack.Decoder(Rollout)
DRAFT = msgspec.msgpack.Decoder(Draft)
TEXTS = msgspec.msgpack.Decoder(tuple[Text, ...])
PREPARATIONS = msgspec.msgpack.Decoder(tuple[Preparation, ...])
TRIED = msgspec.msgpack.Decoder(Tried)
SITE_SEEN = msgspec.msgpack.Decoder(SiteSeen)
AUDIT_ENTRY = msgspec.msgpack.Decoder(AuditEntry)
USER_LEASE = msgspec.msgpack.Decoder(UserLease)
TERM = msgspec.msgpack.Decoder(Term)
