"""The one place where an error's code becomes an HTTP status, its constant title and what the client may do next.

Law: every code of `coordinator.errors` has a row; a code without one is our fault and shows as 500.
"""

import msgspec

RETRY_AFTER_S = 2  # a MIC that restarts is back within seconds


class Row(msgspec.Struct, frozen=True):
    """Of one code."""

    status: int
    title: str
    retry: bool = False
    """The same request may succeed later, unchanged: the answer carries Retry-After."""


BY_CODE: dict[str, Row] = {
    # the request itself
    "syntax": Row(400, "The request cannot be read"),
    "usage": Row(400, "The request's words are off"),
    "unauthenticated": Row(401, "Not authenticated"),
    "not_allowed": Row(403, "Not allowed"),
    "not_found": Row(404, "Not found"),
    "method": Row(405, "No such method here"),
    "slow": Row(408, "The request did not arrive in time"),
    "conflict": Row(409, "The base has moved"),
    "refused": Row(409, "A rule of change forbids it"),
    "in_use": Row(409, "In use"),
    "clock_skew": Row(409, "The clocks are too far apart"),
    "precondition": Row(412, "The active revision is another one"),
    "too_large": Row(413, "Too large"),
    "media_type": Row(415, "Media type not known here"),
    "reused_key": Row(422, "The Idempotency-Key was used for something else"),
    "invalid": Row(422, "The document is invalid"),
    "busy": Row(429, "Too much at once", retry=True),
    # the system
    "internal": Row(500, "Our fault"),
    "damaged": Row(500, "Local data is damaged"),
    "protocol": Row(502, "The coordinator's answer cannot be used"),
    "signature": Row(502, "A signature does not hold"),
    "identity": Row(502, "The coordinator is not who it must be"),
    "no_quorum": Row(503, "No quorum", retry=True),
    "no_coordinator": Row(503, "No coordinator", retry=True),
    "needs_recovery": Row(503, "The coordinator needs recovery"),
    "unreachable": Row(503, "Not reachable", retry=True),
    "lost": Row(503, "No answer", retry=True),
    "timed_out": Row(504, "No answer in time", retry=True),
    "unknown_outcome": Row(504, "It may or may not have been done", retry=True),
    "no_space": Row(507, "No space left"),
}
OF_STATUS = {404: "not_found", 405: "method", 408: "slow", 413: "too_large", 415: "media_type"}
"""Codes of what the HTTP library itself refuses; other statuses below 500 are `syntax`."""


def row(code: str) -> Row:
    """Of this code, or of `internal`."""
    return BY_CODE.get(code, BY_CODE["internal"])


def code_of(status: int) -> str:
    """Of a status that the HTTP library chose."""
    return OF_STATUS.get(status, "syntax" if status < 500 else "internal")
