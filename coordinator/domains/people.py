"""People and their tokens over the store's port: who asks, and how much they may.

For now one administrator, whose token `server init` makes; people of several domains come with their own commands.
Law: of a token only the hash is kept, and a caller without a valid one is nobody.
"""

import enum

import msgspec

from coordinator import errors
from coordinator.domains import scopes
from coordinator.store import port
from coordinator.trust import tokens

TOKENS = b"/domains/tokens/"
FIRST_NAME = "admin"

Scopes = tuple[scopes.Scope, ...]


class Rank(enum.IntEnum):
    """What a person may do; each includes the one before."""

    VIEWER = 1
    OPERATOR = 2
    ADMINISTRATOR = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Person(msgspec.Struct, frozen=True):
    """Somebody known, by the token they showed."""

    name: str
    """Within the domain."""
    rank: Rank
    token: str
    """Its public id."""
    domain: str = ""
    scopes: Scopes = ()
    """What the token was narrowed to; none: all that the rank allows."""

    def called(self, master: str) -> str:
        """The name that nobody else has: those of the master domain go without it."""
        return self.name if self.domain in {master, ""} else f"{self.name}@{self.domain}"


NOBODY = Person("", Rank.VIEWER, "")
"""For what MIC does by itself."""


class TokenRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one token."""

    id: str
    digest: str
    name: str
    rank: Rank
    made: float
    """Wall seconds."""
    domain: str = ""

    @property
    def key(self) -> bytes:
        return TOKENS + self.id.encode()


_RECORD = msgspec.msgpack.Decoder(TokenRecord)


def first_administrator(token: tokens.Token, wall: float, master: str) -> TokenRecord:
    """The one that `server init` makes, of the master domain."""
    return TokenRecord(token.id, tokens.digest(token.text), FIRST_NAME, Rank.ADMINISTRATOR, wall, master)


async def whose(store: port.Store, text: str, fallback: TokenRecord | None = None) -> Person:
    """Who holds this token; `fallback` counts where the store knows no such token. Raises `UnauthenticatedError`."""
    identifier = tokens.identifier(text)
    if identifier is None:
        raise errors.UnauthenticatedError("no token, or none of ours", hint="log in, or name a context")
    item = await store.get(TOKENS + identifier.encode())
    record = fallback if item is None else _RECORD.decode(item.value)
    if record is None or record.id != identifier or not tokens.matches(text, record.digest):
        raise errors.UnauthenticatedError(
            "this token is not known", hint="make a new one on the master's machine"
        )
    return Person(record.name, record.rank, record.id, record.domain)
