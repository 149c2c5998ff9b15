"""Typed ids and the two orders of the system.

Law: a configuration is ordered by `Version` (generation, revision) alone, a server's ack by `Epoch` (boot, seq)
alone, a signed object by `Serial` (generation, seq) among its kind; clocks order nothing.
"""

from typing import NewType

import msgspec

ClusterId = NewType("ClusterId", str)
"""Random, made by `server init`; names one system."""
ServerId = NewType("ServerId", str)
"""Random, stands in the certificate; a name is derived from the signed admission."""
SiteName = NewType("SiteName", str)
ServerName = NewType("ServerName", str)
RoleName = NewType("RoleName", str)
NodeName = NewType("NodeName", str)
RoleTypeName = NewType("RoleTypeName", str)
Digest = NewType("Digest", str)
"""sha256 of the canonical bytes, 64 lower-case hexadecimal digits."""
KeyId = NewType("KeyId", str)
"""First 16 hexadecimal digits of the sha256 of a raw Ed25519 public key."""
RolloutId = NewType("RolloutId", str)
DraftId = NewType("DraftId", str)
LinkId = NewType("LinkId", int)
"""Of one connection within one process; never reused there."""


class Version(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """What may run, in order: the incarnation of the history, then the revision in it."""

    generation: int
    revision: int

    def __str__(self) -> str:
        return f"r{self.revision}" if self.generation == 1 else f"g{self.generation}.r{self.revision}"


class Serial(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """Of a signed object among its kind."""

    generation: int
    seq: int


class Epoch(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """Of a server's ack: its durable boot counter, then a number that rises with every change."""

    boot: int
    seq: int


NO_VERSION = Version(0, 0)
NO_SERIAL = Serial(0, 0)
