"""What the command line reads of the answers about people, tokens, domains and the audit.

Unknown fields are passed over. What holds a token does not show it when it is printed.
"""

import msgspec

from coordinator import names


class Issued(msgspec.Struct, frozen=True):
    token: str
    id: str
    name: str
    domain: str
    role: str
    expires: float
    scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Issued({self.id!r})"


class Done(msgspec.Struct, frozen=True):
    detail: str
    unchanged: bool = False


class Person(msgspec.Struct, frozen=True):
    name: str
    domain: str
    role: str
    password: bool
    tokens: int
    note: str
    made: float
    by: str


class People(msgspec.Struct, frozen=True):
    people: tuple[Person, ...]


class Token(msgspec.Struct, frozen=True):
    id: str
    name: str
    domain: str
    role: str
    kind: str
    scopes: tuple[str, ...]
    note: str
    made: float
    by: str
    expires: float
    expired: bool


class Tokens(msgspec.Struct, frozen=True):
    tokens: tuple[Token, ...]


class Entity(msgspec.Struct, frozen=True):
    name: str
    role: str
    server: str
    note: str = ""


class Domain(msgspec.Struct, frozen=True):
    domain: str
    fqdn: str
    master: bool
    sites: tuple[str, ...]
    people: int
    administrators: int
    entities: tuple[Entity, ...]
    configured: bool = True


class Domains(msgspec.Struct, frozen=True):
    domains: tuple[Domain, ...]


class Kept(msgspec.Struct, frozen=True):
    """Of a domain centre's copy: as of when it is."""

    at: float


class Carried(msgspec.Struct, frozen=True):
    """Of an export only what is told about it; the file is written as it came."""

    domain: str
    people: tuple[msgspec.Raw, ...]
    entities: tuple[msgspec.Raw, ...]
    digest: str


class Imported(msgspec.Struct, frozen=True):
    domain: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: int
    conflicts: tuple[str, ...] = ()
    dry_run: bool = False


class Audited(msgspec.Struct, frozen=True):
    number: int
    at: float
    who: str
    source: str
    verb: str
    outcome: str
    detail: str
    request: str
    digest: str
    version: names.Version


class Audit(msgspec.Struct, frozen=True):
    entries: tuple[Audited, ...]
    first: int
    last: int
    next: int
    more: bool
