"""What may be asked about prepared revisions, and the answers; a revision is prepared by the same request as an apply."""

from collections.abc import Mapping
from typing import Final

import msgspec

from coordinator import names

STATES: Final = ("refused", "silent", "coming", "absent", "held")
"""Of a server, worst first: it cannot work there, does not answer, is on its way, no link, durable and checked there."""


class Prepared(msgspec.Struct, frozen=True):
    """`unchanged`: it was prepared already, or is the active document (or it was a dry run); nothing was done."""

    version: names.Version
    digest: str
    base: names.Version
    """Active now."""
    unchanged: bool
    plan_text: str = ""


class Withdraw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing more is said: there is one at most."""


class Withdrawn(msgspec.Struct, frozen=True):
    revision: int


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing more is said."""


class Trouble(msgspec.Struct, frozen=True):
    """What of one role cannot work on that machine."""

    role: str
    code: str
    message: str


class Checked(msgspec.Struct, frozen=True):
    """One server; `state` is one of `STATES`."""

    server: str
    site: str
    state: str
    troubles: tuple[Trouble, ...] = ()
    reason: str = ""


class PreparedView(msgspec.Struct, frozen=True):
    """How far the prepared revision has come; the servers worst first."""

    version: names.Version
    digest: str
    base: names.Version
    counts: Mapping[str, int]
    servers: tuple[Checked, ...]
    left_out: int = 0
