"""The one tree of exceptions: the world going wrong, never bad input (that is findings) and never a bug (assert).

Every class has a stable `code`. HTTP status and exit code are chosen from it in `api` and `cli`, one place each.
Messages: lower case, what happened, `(got X, have Y)`, no full stop.
"""

from typing import ClassVar


class TiercastError(Exception):
    """Base; carries a sentence for people and a `hint` that says what to do."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TiercastError):
    """The call's words are off."""

    code = "usage"


class ConflictError(TiercastError):
    """The base moved: somebody else's change came first."""

    code = "conflict"


class ReusedKeyError(TiercastError):
    """A request id comes again with another request."""

    code = "reused_key"


class RefusedError(TiercastError):
    """A rule of change forbids it; the steps by hand stand in the hint."""

    code = "refused"


class NotFoundError(TiercastError):
    """No such revision, draft, rollout, server or verb."""

    code = "not_found"


class NotAllowedError(TiercastError):
    """Known, but may not do that."""

    code = "not_allowed"


class UnauthenticatedError(TiercastError):
    """No identity, or one nobody knows."""

    code = "unauthenticated"


class TooLargeError(TiercastError):
    """Over a bound of `limits`."""

    code = "too_large"


class NoSpaceError(TiercastError):
    """A disk or a quota is full; nothing was done, and it works again once there is room."""

    code = "no_space"


class NoQuorumError(TiercastError):
    """The store cannot confirm a majority now."""

    code = "no_quorum"


class NoCoordinatorError(TiercastError):
    """No MIC answers."""

    code = "no_coordinator"


class NeedsRecoveryError(TiercastError):
    """The store is older than what was issued; nothing is issued from it until `store recover`."""

    code = "needs_recovery"


class UnknownOutcomeError(TiercastError):
    """It may or may not have been done; ask again under the same request id."""

    code = "unknown_outcome"


class TimedOutError(TiercastError):
    """Still running when the time was over."""

    code = "timed_out"


class DamagedError(TiercastError):
    """Local data fails its check; it is set aside, never run."""

    code = "damaged"


class InUseError(TiercastError):
    """Another process holds this directory, or it is not empty."""

    code = "in_use"


class UnreachableError(TiercastError):
    """The peer does not answer."""

    code = "unreachable"


class ProtocolError(TiercastError):
    """A peer broke the rules of the wire; the link is closed."""

    code = "protocol"


class SignatureError(TiercastError):
    """A signed object is altered, foreign or signed by a key nobody vouches for."""

    code = "signature"


class IdentityError(TiercastError):
    """The peer is not who it must be."""

    code = "identity"


class ClockSkewError(TiercastError):
    """Two clocks are so far apart that what either says of time would mislead."""

    code = "clock_skew"
