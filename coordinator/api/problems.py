"""RFC 9457 problem documents, made from MIC's `Problem` or from an error of our own; never from a stack trace."""

import msgspec

from coordinator import errors
from coordinator.api import statuses
from coordinator.tiers import requests

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:tiercast:problem:"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What the client reads: the members of the RFC, and ours."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    code: str
    errors: tuple[requests.Fault, ...] = ()
    request_id: str


def document(problem: requests.Problem, request_id: str) -> Document:
    """The problem as the world outside sees it."""
    row = statuses.row(problem.code)
    return Document(
        type=TYPE_PREFIX + problem.code,
        title=row.title,
        status=row.status,
        detail=problem.detail,
        hint=problem.hint,
        code=problem.code,
        errors=problem.findings,
        request_id=request_id,
    )


def of_error(error: errors.TiercastError) -> requests.Problem:
    """An error of our own."""
    return requests.Problem(error.code, error.message, error.hint)


def answered(code: str, data: bytes) -> requests.Problem:
    """MIC's answer with a code: a `Problem` in JSON, or nothing but the code (a relay's own)."""
    try:
        return msgspec.json.decode(data, type=requests.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return requests.Problem(code, *_TOLD.get(code, (f"the coordinator answered with {code!r} alone", "")))


_TOLD = {
    "no_coordinator": ("no coordinator (MIC) answers now", "everything runs on as it is; try again shortly"),
    "unreachable": ("no coordinator (MIC) answers now", "everything runs on as it is; try again shortly"),
    "lost": ("the link to the coordinator (MIC) broke before it answered", "try again shortly"),
    "timed_out": ("the coordinator (MIC) did not answer in time", "try again"),
    "busy": ("too many requests are under way", "try again shortly"),
    "too_large": ("the request is larger than a link carries", "split the document, or shorten it"),
}
