"""The one place where an error's code or a rollout's state becomes an exit code of the command line."""

import enum


class Exit(enum.IntEnum):
    """What a script may rely on."""

    OK = 0
    UNEXPECTED = 1
    CHANGES = 2
    """Only with `--detailed-exitcode`."""
    INVALID = 3
    CONFLICT = 4
    """The base moved, or a rule refuses."""
    FAILED = 5
    TIMED_OUT = 6
    """Still running."""
    ABSENT = 7
    """All reachable are done, some are absent."""
    NO_COORDINATOR = 8
    NOT_ALLOWED = 9
    DAMAGED = 10
    """Local data, or the directory is in use."""
    USAGE = 64
    INTERRUPTED = 130
    NOBODY_READS = 141
    """As of a program that a closed pipe ends: `| head` had enough."""


BY_CODE: dict[str, Exit] = {
    "usage": Exit.USAGE,
    "syntax": Exit.USAGE,
    "method": Exit.UNEXPECTED,
    "media_type": Exit.UNEXPECTED,
    "invalid": Exit.INVALID,
    "too_large": Exit.INVALID,
    "conflict": Exit.CONFLICT,
    "precondition": Exit.CONFLICT,
    "refused": Exit.CONFLICT,
    "reused_key": Exit.CONFLICT,
    "not_found": Exit.UNEXPECTED,
    "not_allowed": Exit.NOT_ALLOWED,
    "unauthenticated": Exit.NOT_ALLOWED,
    "identity": Exit.NOT_ALLOWED,
    "signature": Exit.NOT_ALLOWED,
    "clock_skew": Exit.CONFLICT,
    "no_quorum": Exit.NO_COORDINATOR,
    "no_coordinator": Exit.NO_COORDINATOR,
    "needs_recovery": Exit.NO_COORDINATOR,
    "unreachable": Exit.NO_COORDINATOR,
    "busy": Exit.NO_COORDINATOR,
    "slow": Exit.NO_COORDINATOR,
    "lost": Exit.NO_COORDINATOR,
    "timed_out": Exit.TIMED_OUT,
    "unknown_outcome": Exit.TIMED_OUT,
    "no_space": Exit.UNEXPECTED,
    "protocol": Exit.UNEXPECTED,
    "internal": Exit.UNEXPECTED,
    "damaged": Exit.DAMAGED,
    "in_use": Exit.DAMAGED,
}
_BY_STATE = {
    "converged": Exit.OK,
    "reached": Exit.ABSENT,
    "running": Exit.TIMED_OUT,
    "failed": Exit.FAILED,
    "aborted": Exit.FAILED,
    "superseded": Exit.CONFLICT,
}


def of_code(code: str) -> Exit:
    """Of an error."""
    return BY_CODE.get(code, Exit.UNEXPECTED)


def of_state(state: str, *, absent_matter: bool) -> Exit:
    """Of a rollout that is not waited for any longer."""
    if state == "reached" and not absent_matter:
        return Exit.OK
    return _BY_STATE.get(state, Exit.UNEXPECTED)
