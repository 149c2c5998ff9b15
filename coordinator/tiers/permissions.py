"""Verb x person x kind of child: who may ask MIC what, and over which link. Deny by default.

A test fails on a verb of `requests.Verb` without a row.
"""

from collections.abc import Mapping

import msgspec

from coordinator import errors
from coordinator.domains import people
from coordinator.propagation import messages
from coordinator.tiers import requests

_WEB = frozenset({messages.ChildKind.WS})
_FROM_SERVERS = frozenset({messages.ChildKind.WS, messages.ChildKind.IC, messages.ChildKind.SHELL})


class Row(msgspec.Struct, frozen=True):
    """Of one verb."""

    least: people.Rank
    over: frozenset[messages.ChildKind] = _WEB
    mutates: bool = False
    """It is audited, and refused while the store needs recovery."""


_V, _R = requests.Verb, people.Rank

ROWS: Mapping[requests.Verb, Row] = {
    _V.UPLOAD: Row(_R.OPERATOR, mutates=True),
    _V.VALIDATE: Row(_R.OPERATOR),
    _V.PLAN: Row(_R.OPERATOR),
    _V.APPLY: Row(_R.ADMINISTRATOR, mutates=True),
    _V.ROLLBACK: Row(_R.ADMINISTRATOR, mutates=True),
    _V.ROLLOUT: Row(_R.VIEWER),
    _V.STATUS: Row(_R.VIEWER),
    _V.DESCRIBE: Row(_R.VIEWER),
    _V.HISTORY: Row(_R.VIEWER),
    _V.SHOW: Row(_R.VIEWER),
    _V.ENROLL: Row(_R.ADMINISTRATOR, over=_FROM_SERVERS, mutates=True),
    _V.WHOAMI: Row(_R.VIEWER),
}


def row(verb: str, over: messages.ChildKind | None) -> tuple[requests.Verb, Row]:
    """The row of a verb as it came in over a child's link. Raises `NotFoundError`, `NotAllowedError`."""
    try:
        known = requests.Verb(verb)
    except ValueError:
        raise errors.NotFoundError(f"no such verb (got {verb[:64]!r})") from None
    found = ROWS[known]
    if over not in found.over:
        raise errors.NotAllowedError(f"{known} is not asked over this link (got {over or 'no link'})")
    return known, found


def check(person: people.Person, verb: requests.Verb) -> None:
    """Raises `NotAllowedError`."""
    least = ROWS[verb].least
    if person.rank < least:
        raise errors.NotAllowedError(
            f"{verb} needs another role (got {person.rank.word}, have need of {least.word})",
            hint="ask an administrator of the master domain",
        )
