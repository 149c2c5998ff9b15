"""The table of the HTTP API: from it come the router, the authorization matrix and the OpenAPI document.

Law: whatever is reachable by HTTP has a row here; a verb of MIC without a row, or a row without a permission, fails a test.
The permission is what a person needs; MIC alone decides, by the token.
"""

import enum
from collections.abc import Callable

import msgspec

from coordinator import limits
from coordinator.api import forms
from coordinator.tiers import requests

SMALL_BODY_BYTES = 64 * 1024  # a certificate request and a message fit many times
ADMIN = "/api/admin/v1"
CFG = f"{ADMIN}/cfg"


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


COMMON_CODES = ("syntax", "usage", "unauthenticated", "not_allowed", "busy", "no_quorum", "no_coordinator",
                "needs_recovery", "timed_out", "internal")  # fmt: skip
_DOCUMENT_CODES = ("too_large", "media_type", "invalid", "slow")
_CHANGE_CODES = ("conflict", "precondition", "refused", "not_found", "unknown_outcome", "no_space")

_WRITING = (
    Route(
        method="POST",
        path=f"{CFG}/revisions",
        verb=requests.Verb.UPLOAD,
        build=forms.upload,
        takes=requests.Upload,
        gives=requests.Uploaded,
        permission=Permission.OPERATOR,
        summary="Save a document as a draft; nothing becomes active.",
        body=Body.DOCUMENT,
        query=("name", "message"),
        success=201,
        codes=(*_DOCUMENT_CODES, "no_space", "unknown_outcome"),
        mutates=True,
    ),
    Route(
        method="POST",
        path=f"{CFG}/validate",
        verb=requests.Verb.VALIDATE,
        build=forms.validate,
        takes=requests.Validate,
        gives=requests.Validated,
        permission=Permission.OPERATOR,
        summary="All findings of a document; nothing is stored.",
        body=Body.DOCUMENT,
        query=("name",),
        codes=_DOCUMENT_CODES,
    ),
    Route(
        method="POST",
        path=f"{CFG}/plan",
        verb=requests.Verb.PLAN,
        build=forms.plan,
        takes=requests.Plan,
        gives=requests.Planned,
        permission=Permission.OPERATOR,
        summary="What applying a document would do, to whom, and whether it may be done.",
        body=Body.DOCUMENT,
        query=("name",),
        codes=(*_DOCUMENT_CODES, "not_found"),
    ),
    Route(
        method="POST",
        path=f"{CFG}/apply",
        verb=requests.Verb.APPLY,
        build=forms.apply,
        takes=requests.Apply,
        gives=requests.Applied,
        permission=Permission.ADMINISTRATOR,
        summary="Make a document the active revision; 202 with the rollout's location, 200 if nothing changes.",
        body=Body.DOCUMENT,
        query=("name", "message", "dry_run", "if_revision"),
        success=202,
        codes=(*_DOCUMENT_CODES, *_CHANGE_CODES),
        mutates=True,
    ),
    Route(
        method="POST",
        path=f"{CFG}/rollback",
        verb=requests.Verb.ROLLBACK,
        build=forms.rollback,
        takes=requests.Rollback,
        gives=requests.Applied,
        permission=Permission.ADMINISTRATOR,
        summary="A new revision equal to an old one, through the same plan.",
        body=Body.SMALL,
        success=202,
        codes=(*_DOCUMENT_CODES, *_CHANGE_CODES),
        mutates=True,
    ),
    Route(
        method="POST",
        path=f"{ADMIN}/servers",
        verb=requests.Verb.ENROLL,
        build=forms.enroll,
        takes=requests.Enroll,
        gives=requests.Enrolled,
        permission=Permission.ADMINISTRATOR,
        summary="Issue the identity of a server; it is parked until a revision names it.",
        body=Body.SMALL,
        success=201,
        codes=("too_large", "media_type", "slow", "conflict", "unknown_outcome", "no_space"),
        mutates=True,
    ),
)

_READING = (
    Route(
        method="GET",
        path=f"{CFG}/rollouts/{{rollout}}",
        verb=requests.Verb.ROLLOUT,
        build=forms.rollout,
        takes=requests.WaitRollout,
        gives=requests.RolloutView,
        permission=Permission.VIEWER,
        summary="A rollout now, or as soon as its index is above the given one.",
        query=("index", "wait"),
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path=f"{CFG}/status",
        verb=requests.Verb.STATUS,
        build=forms.status,
        takes=requests.Status,
        gives=requests.StatusView,
        permission=Permission.VIEWER,
        summary="The whole system, rolled up by site.",
        query=("site", "not_converged", "details"),
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path=f"{CFG}/servers/{{server}}",
        verb=requests.Verb.DESCRIBE,
        build=forms.describe,
        takes=requests.Describe,
        gives=requests.Described,
        permission=Permission.VIEWER,
        summary="What a server itself says of its nodes and roles.",
        codes=("not_found", "unreachable"),
    ),
    Route(
        method="GET",
        path=f"{CFG}/revisions",
        verb=requests.Verb.HISTORY,
        build=forms.history,
        takes=requests.History,
        gives=requests.HistoryView,
        permission=Permission.VIEWER,
        summary="Revisions, newest first, by page.",
        query=("before", "limit"),
    ),
    Route(
        method="GET",
        path=f"{CFG}/revisions/{{revision}}",
        verb=requests.Verb.SHOW,
        build=forms.show,
        takes=requests.Show,
        gives=requests.Shown,
        permission=Permission.VIEWER,
        summary="One revision (a number, a draft, or active).",
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path=f"{CFG}/revisions/{{revision}}/document",
        verb=requests.Verb.SHOW,
        build=forms.show_document,
        takes=requests.Show,
        gives=requests.Shown,
        permission=Permission.VIEWER,
        summary="Its document as it was uploaded, comments kept.",
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path=f"{ADMIN}/whoami",
        verb=requests.Verb.WHOAMI,
        build=forms.whoami,
        gives=requests.Who,
        permission=Permission.VIEWER,
        summary="Whom the token stands for.",
    ),
)
ROUTES = _WRITING + _READING

OPEN = {
    "/livez": "This process answers.",
    "/readyz": "It has a coordinator to forward to.",
    "/metrics": "Metrics of this process.",
    "/api/openapi.json": "This API, described.",
}
"""Answered by WS itself, to anyone, without a word about the system."""
