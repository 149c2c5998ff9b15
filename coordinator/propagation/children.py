"""Who is linked below a tier, and what a tier is told of them. Pure values; `publisher` makes and moves them.

Law: a child's rights are those of its `Admit`, and of nothing that it says itself.
"""

from collections.abc import Callable

import msgspec

from coordinator import limits, names
from coordinator.propagation import events, messages, objects, scopes

EXPIRED = "certificate expired: it may only receive, ack and renew"
TWINS = "two machines with one identity"


class Admit(msgspec.Struct, frozen=True):
    """The gate lets it in."""

    scope: scopes.Scope
    server: names.ServerName
    """Name of the server it speaks for."""
    expired: bool = False
    """Its certificate has run out: of what its scope allows it may only receive, ack and renew."""


class Refuse(msgspec.Struct, frozen=True):
    """The gate does not."""

    reason: str
    retry_after_s: float = limits.BACKOFF_CLAMP_MIN_S


Gate = Callable[[names.ServerId, messages.Hello, events.Proof], Admit | Refuse]


class Child(msgspec.Struct):
    """One linked child."""

    link: names.LinkId
    peer: names.ServerId
    hello: messages.Hello
    admit: Admit
    sent: objects.Numbers
    heard: float
    ack: messages.AckState | None
    rollup_seq: int = 0
    missing: int = 0
    """Heartbeats in a row that showed a gap."""
    holds: str = ""
    """Digest of the body it has accepted."""
    pulled: str = ""
    """Of the body it asked for last: what is prepared is here before it is active, and need not travel with the offer."""
    proof: events.Proof = events.NO_PROOF
    doubled: bool = False
    """Another machine with the same identity took this link's place, or gave way to it, lately."""

    @property
    def remark(self) -> str:
        """What is to be told of this link upwards."""
        found = [EXPIRED] if self.admit.expired else []
        return "; ".join([*found, TWINS] if self.doubled else found)


class ChildUp(msgspec.Struct, frozen=True):
    """Output: a child is linked (its hello may have carried an ack)."""

    link: names.LinkId


class ChildRemarked(msgspec.Struct, frozen=True):
    """Output: what is to be remarked of a linked child is something else now."""

    link: names.LinkId


class ChildDown(msgspec.Struct, frozen=True):
    """Output: a linked child is gone; the last that was known of it comes along."""

    child: Child
    reason: str


class ChildAck(msgspec.Struct, frozen=True):
    """Output: a child's own ack has changed."""

    link: names.LinkId
    state: messages.AckState


class ChildRollup(msgspec.Struct, frozen=True):
    """Output: an IC told of its servers."""

    link: names.LinkId
    rollup: messages.Rollup


class UpwardOffer(msgspec.Struct, frozen=True):
    """Output: a child is ahead of us and offers newer objects."""

    link: names.LinkId
    offer: messages.Offer


class UpwardChunk(msgspec.Struct, frozen=True):
    """Output: a piece of a body that a child is giving us."""

    link: names.LinkId
    chunk: messages.Chunk
