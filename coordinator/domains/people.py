"""People, programs and their tokens as they stand in the store: who asks, and how much they may.

Below `/domains/people/<domain>/<name>` stands who there is, below `/domains/tokens/<id>` what lets somebody in.
Laws: of a token only the hash is kept, and a caller without a valid one is nobody; a token never allows more than its
person may now: whoever changes or removes a person changes or removes their tokens in the same transaction, so that one
read tells who somebody is.
"""

import enum

import msgspec

from coordinator import errors, limits
from coordinator.domains import scopes
from coordinator.store import port
from coordinator.trust import tokens

TOKENS = b"/domains/tokens/"
PEOPLE = b"/domains/people/"
ENTITIES = b"/domains/entities/"
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


def rank(word: str) -> Rank:
    """Raises `UsageError`."""
    for one in Rank:
        if one.word == word:
            return one
    have = ", ".join(one.word for one in Rank)
    raise errors.UsageError(f"there is no such role of a person (got {word[:40]!r}, have {have})")


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
    first: bool = False
    """Known by the one-time secret of `server init`, and nobody in particular yet."""
    expires: float = 0.0
    """Of the token, wall seconds; 0: never."""

    def called(self, master: str) -> str:
        """The name that nobody else has: those of the master domain go without it."""
        return called(self.name, self.domain, master)


NOBODY = Person("", Rank.VIEWER, "")
"""For what MIC does by itself, and for strangers."""


def called(name: str, domain: str, master: str) -> str:
    """A name, with the domain where it is not the master domain."""
    return name if domain in {master, ""} else f"{name}@{domain}"


class PersonRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a person or a program."""

    domain: str
    name: str
    rank: Rank
    password: str = ""
    """As `trust.passwords` makes it; empty: tokens alone let them in."""
    note: str = ""
    made: float = 0.0
    """Wall seconds."""
    by: str = ""
    request: str = ""
    """By which a repeated request is known."""

    @property
    def key(self) -> bytes:
        return person_key(self.domain, self.name)


class Kind(enum.StrEnum):
    """What a token was made for."""

    FIRST = "first"
    """By `server init`: an administrator's until the first login."""
    LOGIN = "login"
    API = "api"


class TokenRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one token."""

    id: str
    digest: str
    name: str
    rank: Rank
    """What it allows now."""
    made: float
    """Wall seconds."""
    domain: str = ""
    kind: Kind = Kind.FIRST
    expires: float = 0.0
    """Wall seconds; 0: never."""
    scopes: Scopes = ()
    note: str = ""
    by: str = ""
    request: str = ""
    cap: Rank = Rank.ADMINISTRATOR
    """It never allows more than this, whatever becomes of its person."""

    @property
    def key(self) -> bytes:
        return token_key(self.id)

    def of(self, rank: Rank) -> "TokenRecord":
        """As it is once its person has this rank."""
        return msgspec.structs.replace(self, rank=min(self.cap, rank))

    def expired(self, wall: float) -> bool:
        return bool(self.expires) and wall >= self.expires


class EntityRecord(msgspec.Struct, frozen=True, array_like=True):
    """Something of a domain that lives in a role: its users, its printers; the role may not move away from under it."""

    domain: str
    name: str
    role: str
    note: str = ""
    made: float = 0.0
    by: str = ""

    @property
    def key(self) -> bytes:
        return entities_of(self.domain) + self.name.encode()


def people_of(domain: str) -> bytes:
    """Prefix of the people of a domain."""
    return PEOPLE + domain.encode() + b"/"


def entities_of(domain: str) -> bytes:
    """Prefix of the entities of a domain."""
    return ENTITIES + domain.encode() + b"/"


def person_key(domain: str, name: str) -> bytes:
    return people_of(domain) + name.encode()


def token_key(identifier: str) -> bytes:
    return TOKENS + identifier.encode()


PERSON = msgspec.msgpack.Decoder(PersonRecord)
TOKEN = msgspec.msgpack.Decoder(TokenRecord)
ENTITY = msgspec.msgpack.Decoder(EntityRecord)


def first_administrator(token: tokens.Token, wall: float, master: str) -> TokenRecord:
    """The one that `server init` makes, of the master domain."""
    return TokenRecord(token.id, tokens.digest(token.text), FIRST_NAME, Rank.ADMINISTRATOR, wall, master)


async def whose(store: port.Store, text: str, wall: float, fallback: TokenRecord | None = None) -> Person:
    """Who holds this token; `fallback` counts where the store knows no token at all. Raises `UnauthenticatedError`."""
    identifier = tokens.identifier(text)
    if identifier is None:
        raise errors.UnauthenticatedError(
            "no token, or none of ours", hint="tiercast login, or name a context"
        )
    record = await _token(store, identifier, fallback)
    if record is None or record.id != identifier or not tokens.matches(text, record.digest):
        raise errors.UnauthenticatedError(
            "this token is not known, or was revoked",
            hint="tiercast login, or ask an administrator for a new one",
        )
    if record.expired(wall):
        raise errors.UnauthenticatedError(
            "this token has expired", hint="tiercast login, or ask an administrator for a new one"
        )
    first = record.kind is Kind.FIRST
    return Person(record.name, record.rank, record.id, record.domain, record.scopes, first, record.expires)


async def _token(store: port.Store, identifier: str, fallback: TokenRecord | None) -> TokenRecord | None:
    item = await store.get(token_key(identifier))
    if item is not None:
        return TOKEN.decode(item.value)
    if fallback is None or (await store.scan(TOKENS, limit=1)).items:
        return None
    return fallback


async def find(store: port.Store, domain: str, name: str) -> PersonRecord | None:
    """Somebody by name."""
    if len(domain) + len(name) > 2 * limits.NAME_CHARACTERS:
        return None
    item = await store.get(person_key(domain, name))
    return None if item is None else PERSON.decode(item.value)


async def known(store: port.Store, domain: str = "") -> tuple[PersonRecord, ...]:
    """Everybody of a domain, or of all; bounded by `limits.PEOPLE_PER_DOMAIN`."""
    found = await store.scan(people_of(domain) if domain else PEOPLE)
    return tuple(PERSON.decode(item.value) for item in found.items)


async def tokens_of(store: port.Store, domain: str = "", name: str = "") -> tuple[TokenRecord, ...]:
    """All tokens of a person, of a domain, or all there are; bounded by `limits.TOKENS`.

    The one-time secret is nobody's in particular, whoever has its name.
    """
    every = (TOKEN.decode(item.value) for item in (await store.scan(TOKENS)).items)
    own = (one for one in every if not name or (one.name == name and one.kind is not Kind.FIRST))
    return tuple(one for one in own if domain in {"", one.domain})


async def entities(store: port.Store, domain: str = "") -> tuple[EntityRecord, ...]:
    """All entities of a domain, or of all; bounded by `limits.ENTITIES_PER_DOMAIN`."""
    found = await store.scan(entities_of(domain) if domain else ENTITIES)
    return tuple(ENTITY.decode(item.value) for item in found.items)
