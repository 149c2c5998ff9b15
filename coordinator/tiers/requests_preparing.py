"""What may be asked about prepared revisions, and the answers; a revision is prepared by the same request as an apply."""

from collections.abc import Mapping
from typing import Final

import msgspec

from coordinator import names

STATES: Final = ("refused", "blocked", "silent", "coming", "absent", "held")
"""Of a server, worst first: it cannot work there, its IC cannot hold it, does not answer, is on its way, no link, durable and
checked there."""


class Prepared(msgspec.Struct, frozen=True):
    """`unchanged`: it was prepared already, or is the active document; nothing was done. Nor was it in a dry run, whose
    `version` is the active one.
    """

    version: names.Version
    digest: str
    base: names.Version
    """Active now."""
    unchanged: bool
    plan_text: str = ""


class Withdraw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    revision: int = 0
    """Only if this is the one; 0: whichever it is."""


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


class Relayed(msgspec.Struct, frozen=True):
    """An IC without it; `state` is `refused`, `silent` or `coming`. Its servers get it from nobody else."""

    role: str
    server: str
    site: str
    state: str
    reason: str = ""


class PreparedView(msgspec.Struct, frozen=True):
    """How far the prepared revision has come; the servers worst first."""

    version: names.Version
    digest: str
    base: names.Version
    counts: Mapping[str, int]
    servers: tuple[Checked, ...]
    left_out: int = 0
    relays: tuple[Relayed, ...] = ()
    """Those without it, the worst first."""
