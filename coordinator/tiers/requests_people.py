"""What is asked of MIC about people, their tokens, domains and the audit, as values.

A struct that carries a secret does not show it when it is printed. Times are seconds since 1970.
"""

import msgspec

from coordinator import limits, names

ROSTER = "dc.roster"
"""Asked by a domain centre over its own link, for no person; the answer is a `Roster`."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Asked by whoever has no token."""

    name: str
    domain: str = ""
    """Empty: the master domain."""
    password: str
    ttl_s: float = limits.LOGIN_TTL_S

    def __repr__(self) -> str:
        return f"Login({self.name!r})"


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The one-time secret of `server init` becomes this person."""

    name: str = "admin"
    password: str
    ttl_s: float = limits.LOGIN_TTL_S

    def __repr__(self) -> str:
        return f"Claim({self.name!r})"


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; its text is shown here and nowhere again."""

    token: str
    id: str
    name: str
    domain: str
    role: str
    expires: float
    scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Issued({self.id!r})"


class Logout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the token that asks."""


class Done(msgspec.Struct, frozen=True):
    """What was done, in a sentence; `unchanged`: it was so already."""

    detail: str
    unchanged: bool = False


class ListPeople(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    domain: str = ""
    """Empty: every domain that the caller sees."""


class PersonView(msgspec.Struct, frozen=True):
    name: str
    domain: str
    role: str
    password: bool
    """They may log in by one."""
    tokens: int
    note: str
    made: float
    by: str


class PeopleView(msgspec.Struct, frozen=True):
    people: tuple[PersonView, ...]


class AddPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    domain: str = ""
    """Empty: the caller's own."""
    role: str = "viewer"
    password: str = ""
    """Empty: tokens alone let them in."""
    note: str = ""

    def __repr__(self) -> str:
        return f"AddPerson({self.name!r})"


class RemovePerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    domain: str = ""


class SetRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str = ""
    """By HTTP it stands in the path, and so does the domain."""
    domain: str = ""
    role: str


class SetPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of oneself with the present one, or of another by an administrator."""

    name: str = ""
    """Empty: oneself."""
    domain: str = ""
    password: str
    present: str = ""

    def __repr__(self) -> str:
        return f"SetPassword({self.name!r})"


class CreateToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str = ""
    """Empty: oneself."""
    domain: str = ""
    ttl_s: float = limits.TOKEN_TTL_S
    role: str = ""
    """At most this; empty: the person's own."""
    scopes: tuple[str, ...] = ()
    note: str = ""


class ListTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    domain: str = ""
    name: str = ""


class TokenView(msgspec.Struct, frozen=True):
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


class TokensView(msgspec.Struct, frozen=True):
    tokens: tuple[TokenView, ...]


class RevokeToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str
    """Its public id."""


class ListDomains(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every domain that the caller sees."""


class EntityView(msgspec.Struct, frozen=True):
    """Something of a domain that lives in a role; `server` is where that role runs, empty where it does not."""

    name: str
    role: str
    server: str
    note: str
    made: float
    by: str


class DomainView(msgspec.Struct, frozen=True):
    domain: str
    fqdn: str
    master: bool
    sites: tuple[str, ...]
    """That serve it."""
    people: int
    administrators: int
    entities: tuple[EntityView, ...]
    configured: bool = True
    """False: the document in force does not name it any more; nobody of it is let in."""


class DomainsView(msgspec.Struct, frozen=True):
    domains: tuple[DomainView, ...]


class Roster(msgspec.Struct, frozen=True):
    """The domains and who is in them, as a domain centre keeps them; nothing in it lets anybody in."""

    at: float
    version: names.Version
    """Active at that moment."""
    domains: tuple[DomainView, ...]
    people: tuple[PersonView, ...]


class Attach(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Say that something of a domain lives in a role; said of another role, it has moved there."""

    name: str
    domain: str = ""
    role: str
    note: str = ""


class Detach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    domain: str = ""


class ExportDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    domain: str = ""


class CarriedPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    role: str
    password: str = ""
    """Its hash."""
    note: str = ""

    def __repr__(self) -> str:
        return f"CarriedPerson({self.name!r})"


class CarriedEntity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    role: str
    note: str = ""


class Carried(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """People and entities of one domain as a file: password hashes, no tokens; `digest` is of all the rest."""

    format: str
    domain: str
    cluster: str
    exported: float
    people: tuple[CarriedPerson, ...]
    entities: tuple[CarriedEntity, ...]
    digest: str


class ImportDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    file: Carried
    domain: str = ""
    """Empty: the one that the file names."""
    replace: bool = False
    """Who is here already and different there is replaced; else that is a conflict."""
    dry_run: bool = False


class Imported(msgspec.Struct, frozen=True):
    """`conflicts` names who is here already and different there: nothing is imported then, unless they are replaced."""

    domain: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: int
    conflicts: tuple[str, ...] = ()
    dry_run: bool = False


class ListAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Newest first and below `before`, or oldest first and above `after`; the rest are filters."""

    oldest_first: bool = False
    before: int = 0
    """0: from the newest."""
    after: int = -1
    limit: int = 100
    since: float = 0.0
    who: str = ""
    verb: str = ""
    outcome: str = ""
    """`ok`, `refused` (whatever is not), or a code."""
    wait_s: float = 0.0
    """Oldest first: wait so long for something to come."""


class AuditView(msgspec.Struct, frozen=True):
    """One line of the audit."""

    number: int
    at: float
    who: str
    source: str
    verb: str
    outcome: str
    detail: str
    request: str
    digest: str
    """sha256 of the request; empty where a secret was in it."""
    version: names.Version
    """Active at that moment."""


class AuditPage(msgspec.Struct, frozen=True):
    entries: tuple[AuditView, ...]
    first: int
    """The oldest that is kept; those before it were cut."""
    last: int
    """The newest; below `first`: there is none."""
    next: int
    """Ask on from here, by `before` or `after` as asked."""
    more: bool
    """There are more now."""
