"""Ids of the store's members: random, and with them which server keeps the member and where it listens.

Pure. All three stand in the id, because the id stands in the journal: who is a member, and where, is known from there and
from nowhere else, and changes by a hand-over alone.
Law: `seat(made.member) == made`.
"""

import ipaddress
from collections.abc import Iterable

import msgspec

from coordinator import errors, names

TOKEN_BYTES = 8


class Seat(msgspec.Struct, frozen=True):
    """One member of a group of several."""

    token: str
    server: names.ServerId
    address: str

    @property
    def member(self) -> str:
        """The id."""
        return f"{self.token}/{self.server}/{self.address}"


def seat(member: str) -> Seat | None:
    """What an id says; None for that of a store that was never handed over, whose server is where it lies."""
    parts = member.split("/")
    return Seat(parts[0], names.ServerId(parts[1]), parts[2]) if len(parts) == 3 else None


def seats(members: Iterable[str]) -> tuple[Seat, ...]:
    """Of a group of several. Raises `DamagedError` where an id does not say where its member is."""
    found = {member: seat(member) for member in members}
    dumb = [member for member, one in found.items() if one is None]
    if dumb:
        raise errors.DamagedError(f"a member of the store has an id that says no server (got {dumb[0]})")
    return tuple(one for one in found.values() if one is not None)


def wanted(text: str) -> dict[names.ServerName, str]:
    """Addresses by server, from `c1=10.1.0.11,c2=10.1.0.12,c3=10.1.0.13`. Raises `UsageError`."""
    found: dict[names.ServerName, str] = {}
    for word in text.split(","):
        name, equals, address = word.strip().partition("=")
        if not name or not equals or names.ServerName(name) in found:
            raise errors.UsageError(f"members are NAME=ADDRESS, each once (got {word.strip()[:100]!r})")
        try:
            found[names.ServerName(name)] = str(ipaddress.ip_address(address))
        except ValueError:
            raise errors.UsageError(f"the address of {name} is none (got {address[:100]!r})") from None
    if len(found) not in {1, 3, 5}:
        raise errors.UsageError(f"a store has 1, 3 or 5 members (got {len(found)})")
    return found
