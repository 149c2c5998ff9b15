"""Verb x person x kind of child: who may ask MIC what, and over which link. Deny by default.

A person may where rank, domain and the scopes of the token agree. A verb that is open to other domains answers them what
concerns their domain and nothing else; that is the verb's own to see to, by `desk.Caller.person`, and so are the keys
that a scope names. A test fails on a verb of `requests.Verb` without a row.
"""

from collections.abc import Mapping

import msgspec

from coordinator import errors
from coordinator.domains import people, scopes
from coordinator.propagation import messages
from coordinator.tiers import requests, requests_joining

_WEB = frozenset({messages.ChildKind.WS})
_FROM_SERVERS = frozenset({messages.ChildKind.WS, messages.ChildKind.IC, messages.ChildKind.SHELL})


class Row(msgspec.Struct, frozen=True):
    """Of one verb."""

    least: people.Rank | None
    """None: whoever comes, without a token."""
    over: frozenset[messages.ChildKind] = _WEB
    mutates: bool = False
    """It is audited, and refused while the store needs recovery."""
    busy: bool = False
    """Asked so often that of its refusals only those for want of a right are audited."""
    master: bool = True
    """Only people of the master domain may."""
    narrow: bool = False
    """With whatever scopes the token has."""
    secret: bool = False
    """A secret is in the request: no digest of it is kept either, for it could be guessed from that."""

    @property
    def word(self) -> str:
        """The least role, as the API names it."""
        return "anyone" if self.least is None else self.least.word


_V, _R = requests.Verb, people.Rank

ROWS: Mapping[requests.Verb, Row] = {
    _V.UPLOAD: Row(_R.OPERATOR, mutates=True),
    _V.VALIDATE: Row(_R.OPERATOR),
    _V.PLAN: Row(_R.OPERATOR),
    _V.APPLY: Row(_R.ADMINISTRATOR, mutates=True),
    _V.ROLLBACK: Row(_R.ADMINISTRATOR, mutates=True),
    _V.PREPARE: Row(_R.ADMINISTRATOR, mutates=True),
    _V.WITHDRAW: Row(_R.ADMINISTRATOR, mutates=True),
    _V.PREPARED: Row(_R.VIEWER),
    _V.ROLLOUT: Row(_R.VIEWER),
    _V.STATUS: Row(_R.VIEWER, master=False),
    _V.DESCRIBE: Row(_R.VIEWER, master=False),
    _V.HISTORY: Row(_R.VIEWER),
    _V.SHOW: Row(_R.VIEWER),
    _V.KV_GET: Row(_R.VIEWER, master=False),
    _V.KV_WATCH: Row(_R.VIEWER, master=False),
    _V.KV_USAGE: Row(_R.VIEWER, master=False),
    _V.KV_LEASES: Row(_R.VIEWER, master=False),
    _V.KV_PUT: Row(_R.OPERATOR, mutates=True, master=False, busy=True),
    _V.KV_DELETE: Row(_R.OPERATOR, mutates=True, master=False, busy=True),
    _V.KV_TXN: Row(_R.OPERATOR, mutates=True, master=False, busy=True),
    _V.KV_GRANT: Row(_R.OPERATOR, mutates=True, master=False, busy=True),
    _V.KV_KEEPALIVE: Row(_R.OPERATOR, mutates=True, master=False, busy=True),
    _V.KV_REVOKE: Row(_R.OPERATOR, mutates=True, master=False, busy=True),
    _V.ENROLL: Row(_R.ADMINISTRATOR, over=_FROM_SERVERS, mutates=True),
    _V.LINE_CREATE: Row(_R.ADMINISTRATOR, mutates=True),
    _V.LINES: Row(_R.OPERATOR),
    _V.LINE_REVOKE: Row(_R.ADMINISTRATOR, mutates=True),
    _V.ACCEPT: Row(_R.ADMINISTRATOR, mutates=True),
    _V.EXPEL: Row(_R.ADMINISTRATOR, mutates=True),
    _V.DRAFTS: Row(_R.VIEWER),
    _V.SERVERS: Row(_R.VIEWER, master=False),
    _V.NODES: Row(_R.VIEWER, master=False),
    _V.ROLES: Row(_R.VIEWER, master=False),
    _V.DIFF: Row(_R.OPERATOR),
    _V.EVENTS: Row(_R.VIEWER),
    _V.STATE: Row(_R.VIEWER),
    _V.WHOAMI: Row(_R.VIEWER, master=False, narrow=True),
    _V.LOGIN: Row(None, mutates=True, master=False, narrow=True, secret=True),
    _V.CLAIM: Row(_R.ADMINISTRATOR, mutates=True, secret=True),
    _V.LOGOUT: Row(_R.VIEWER, mutates=True, master=False, narrow=True),
    _V.PEOPLE: Row(_R.VIEWER, master=False),
    _V.PERSON_ADD: Row(_R.ADMINISTRATOR, mutates=True, master=False, secret=True),
    _V.PERSON_REMOVE: Row(_R.ADMINISTRATOR, mutates=True, master=False),
    _V.PERSON_ROLE: Row(_R.ADMINISTRATOR, mutates=True, master=False),
    _V.PERSON_PASSWORD: Row(_R.VIEWER, mutates=True, master=False, secret=True),
    _V.TOKENS: Row(_R.ADMINISTRATOR, master=False),
    _V.TOKEN_CREATE: Row(_R.ADMINISTRATOR, mutates=True, master=False),
    _V.TOKEN_REVOKE: Row(_R.ADMINISTRATOR, mutates=True, master=False),
    _V.DOMAINS: Row(_R.VIEWER, master=False),
    _V.ATTACH: Row(_R.ADMINISTRATOR, mutates=True, master=False),
    _V.DETACH: Row(_R.ADMINISTRATOR, mutates=True, master=False),
    _V.DOMAIN_EXPORT: Row(_R.ADMINISTRATOR, mutates=True, master=False),
    _V.DOMAIN_IMPORT: Row(_R.ADMINISTRATOR, mutates=True, master=False, secret=True),
    _V.AUDIT: Row(_R.ADMINISTRATOR),
}


DOOR = "door"
"""In place of a kind of child: a machine that has no identity yet, at a port of MIC's own."""

_P = requests_joining.Proven

PROVEN: Mapping[requests_joining.Proven, frozenset[str]] = {
    _P.JOIN: frozenset({DOOR, messages.ChildKind.IC, messages.ChildKind.SHELL}),
    _P.LEAVE: frozenset({messages.ChildKind.IC, messages.ChildKind.SHELL}),
    _P.RENEW: frozenset({messages.ChildKind.IC, messages.ChildKind.SHELL}),
}
"""Over which links a verb comes that carries its own proof, for which no person's token is asked."""


def proven(verb: str, over: str | None) -> requests_joining.Proven | None:
    """The verb, if it is one of these. Raises `NotAllowedError` where it comes over another link."""
    if verb not in PROVEN:
        return None
    known = requests_joining.Proven(verb)
    if over not in PROVEN[known]:
        raise errors.NotAllowedError(f"{known} is not asked over this link (got {over or 'no link'})")
    return known


def row(verb: str, over: str | None) -> tuple[requests.Verb, Row]:
    """The row of a verb as it came in over a child's link. Raises `NotFoundError`, `NotAllowedError`."""
    try:
        known = requests.Verb(verb)
    except ValueError:
        raise errors.NotFoundError(f"no such verb (got {verb[:64]!r})") from None
    found = ROWS[known]
    if over not in found.over:
        raise errors.NotAllowedError(f"{known} is not asked over this link (got {over or 'no link'})")
    return known, found


def area(verb: str) -> str:
    """What a scope of a token names: the part before the dot."""
    return verb.partition(".")[0]


AREAS = scopes.KEYED | {area(verb) for verb in requests.Verb}
"""All that a scope may name."""


def check(person: people.Person, verb: requests.Verb, master: str) -> None:
    """`master` is the name of the master domain. Raises `NotAllowedError`."""
    needed = ROWS[verb]
    if needed.least is None:
        return
    if needed.master and person.domain != master:
        raise errors.NotAllowedError(
            f"{verb} is for the master domain alone (got {person.domain}, have need of {master})",
            hint=f"ask an administrator of {master}",
        )
    if person.rank < needed.least:
        raise errors.NotAllowedError(
            f"{verb} needs another role (got {person.rank.word}, have need of {needed.least.word})",
            hint="ask an administrator of the master domain",
        )
    if not needed.narrow and not scopes.reach(person.scopes, area(verb), writes=needed.mutates):
        held = ", ".join(map(str, person.scopes))
        raise errors.NotAllowedError(
            f"the scopes of this token do not reach {verb} (got {held}, have need of {_scope(verb, needed)})",
            hint="use another token, or make one with that scope",
        )


def _scope(verb: str, needed: Row) -> str:
    return str(scopes.Scope(area(verb), writes=needed.mutates))
