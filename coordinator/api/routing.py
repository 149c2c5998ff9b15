"""What a row of the HTTP table is, and the words that its rows share.

Law: the permission is what a person needs; MIC alone decides, by the token.
"""

import enum
from collections.abc import Callable

import msgspec

from coordinator import limits
from coordinator.api import forms
from coordinator.tiers import requests

SMALL_BODY_BYTES = 64 * 1024  # a certificate request and a message fit many times
VALUES_BODY_BYTES = limits.KV_TXN_BYTES * 2  # as base64, and keys and numbers around it
ADMIN = "/api/admin/v1"
CFG = f"{ADMIN}/cfg"
MONITOR = "/api/monitor/v1"


class Permission(enum.StrEnum):
    """Least role that may; each includes the one before."""

    ANYONE = "anyone"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


class Body(enum.Enum):
    """What a request may carry, and how much of it."""

    NONE = 0
    SMALL = SMALL_BODY_BYTES
    VALUES = VALUES_BODY_BYTES
    DOMAIN = limits.DOMAIN_FILE_BYTES
    DOCUMENT = limits.HTTP_BODY_BYTES


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a method at a path, and the request to MIC that it stands for."""

    method: str
    path: str
    verb: requests.Verb
    build: Callable[[forms.Given], msgspec.Struct | None]
    permission: Permission
    gives: type[msgspec.Struct]
    summary: str
    takes: type[msgspec.Struct] | None = None
    body: Body = Body.NONE
    query: tuple[str, ...] = ()
    success: int = 200
    codes: tuple[str, ...] = ()
    """Besides those that every route may answer with."""
    mutates: bool = False
    """A lost answer leaves the outcome unknown."""
    keeps: bool = False
    """With MIC away the last answer to the same question of the same caller is given again, with its age."""
    streams: bool = False
    """It answers with a stream of events."""


COMMON_CODES = ("syntax", "usage", "unauthenticated", "not_allowed", "busy", "no_quorum", "no_coordinator",
                "needs_recovery", "timed_out", "internal")  # fmt: skip
DOCUMENT_CODES = ("too_large", "media_type", "invalid", "slow")
CHANGE_CODES = (
    "conflict",
    "precondition",
    "refused",
    "reused_key",
    "not_found",
    "unknown_outcome",
    "no_space",
)
