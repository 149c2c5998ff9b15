"""What etcd says instead of an answer, and what that means: which error, and whether the request may have been done.

Pure. etcd's texts are its contract (they stand in its client library as constants); codes alone do not tell them apart.
Law: `UNKNOWN` unless it is certain that nothing was done.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from coordinator import errors
from coordinator.store.backends.etcd import messages


class Fate(enum.Enum):
    """What became of a request that was refused."""

    REFUSED = "refused"
    """Nothing was done, and it would be refused again."""
    NOT_NOW = "not now"
    """Nothing was done; another member, or the same one later, may do it."""
    LOGIN = "login"
    """Nothing was done; it may be done under a fresh token."""
    UNKNOWN = "unknown"
    """It may have been done, or may be still."""


class Refused(msgspec.Struct, frozen=True):
    fate: Fate
    kind: type[errors.TiercastError]
    hint: str = ""


_F = Fate
_TEXTS: Final[Mapping[str, Refused]] = {
    "etcdserver: no leader": Refused(_F.NOT_NOW, errors.NoQuorumError),
    "etcdserver: not leader": Refused(_F.NOT_NOW, errors.NoQuorumError),
    "etcdserver: too many requests": Refused(_F.NOT_NOW, errors.NoQuorumError),
    "etcdserver: unhealthy cluster": Refused(_F.NOT_NOW, errors.NoQuorumError),
    "etcdserver: rpc not supported for learner": Refused(_F.NOT_NOW, errors.NoQuorumError),
    "etcdserver: invalid auth token": Refused(_F.LOGIN, errors.UnauthenticatedError),
    "etcdserver: revision of auth store is old": Refused(_F.LOGIN, errors.UnauthenticatedError),
    "etcdserver: user name is empty": Refused(
        _F.REFUSED, errors.UnauthenticatedError, "etcd asks for a user: name a file with --store-user-file"
    ),
    "etcdserver: user name not found": Refused(
        _F.REFUSED, errors.UnauthenticatedError, "see `etcdctl user list`"
    ),
    "etcdserver: authentication failed, invalid user ID or password": Refused(
        _F.REFUSED, errors.UnauthenticatedError, "correct the user file, or `etcdctl user passwd`"
    ),
    "etcdserver: authentication is not enabled": Refused(
        _F.REFUSED,
        errors.NotAllowedError,
        "this etcd lets everybody in: `etcdctl auth enable`, or leave the user file away",
    ),
    "etcdserver: permission denied": Refused(
        _F.REFUSED, errors.NotAllowedError, "the user needs readwrite on the whole prefix"
    ),
    "etcdserver: mvcc: database space exceeded": Refused(
        _F.REFUSED, errors.NoSpaceError, "compact and defragment etcd, then `etcdctl alarm disarm`"
    ),
    "etcdserver: corrupt cluster": Refused(
        _F.REFUSED, errors.DamagedError, "etcd found its members' data different; see its own log"
    ),
    "etcdserver: request is too large": Refused(_F.REFUSED, errors.TooLargeError),
    "etcdserver: too many operations in txn request": Refused(_F.REFUSED, errors.TooLargeError),
    "etcdserver: duplicate key given in txn request": Refused(_F.REFUSED, errors.UsageError),
    "etcdserver: key is not provided": Refused(_F.REFUSED, errors.UsageError),
    "etcdserver: requested lease not found": Refused(_F.REFUSED, errors.NotFoundError),
    "etcdserver: lease already exists": Refused(_F.REFUSED, errors.InUseError),
    "etcdserver: mvcc: required revision has been compacted": Refused(_F.REFUSED, errors.ConflictError),
    "etcdserver: mvcc: required revision is a future revision": Refused(_F.REFUSED, errors.ConflictError),
    "etcdserver: key not found": Refused(_F.REFUSED, errors.ConflictError),
}
_CODES: Final[Mapping[int, Refused]] = {
    7: Refused(_F.REFUSED, errors.NotAllowedError),
    12: Refused(
        _F.REFUSED, errors.RefusedError, "is there a proxy before etcd, or its gateway switched off?"
    ),
    16: Refused(_F.LOGIN, errors.UnauthenticatedError),
}
_OTHER: Final = Refused(_F.UNKNOWN, errors.NoQuorumError)


def judge(refusal: messages.Refusal) -> Refused:
    text = (refusal.message or refusal.error).strip()
    return _TEXTS.get(text) or _CODES.get(refusal.code) or _OTHER


def error(refusal: messages.Refusal, endpoint: str) -> errors.TiercastError:
    """As a caller sees it."""
    found = judge(refusal)
    text = (refusal.message or refusal.error).strip().removeprefix("etcdserver: ").removeprefix("mvcc: ")
    return found.kind(f"etcd at {endpoint} refuses: {text[:300]}", hint=found.hint)
