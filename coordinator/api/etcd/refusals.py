"""Errors as etcd's clients know them: status code of gRPC and the sentence by which they tell them apart.

The sentences are etcd's own (`api/v3rpc/rpctypes/error.go`); clients compare them.
"""

from typing import Final

import grpc

from coordinator import errors

_CODE = grpc.StatusCode


class EtcdError(errors.UsageError):
    """Said in etcd's words."""

    status = _CODE.INVALID_ARGUMENT


def refused(status: grpc.StatusCode, message: str) -> EtcdError:
    """An error that a client knows by this status and sentence."""
    made = EtcdError(message)
    made.status = status
    return made


def unsupported(what: str) -> EtcdError:
    """Of a field that would change the meaning and is not understood here; never passed over in silence."""
    return refused(_CODE.UNIMPLEMENTED, f"tiercast: {what} is not supported here")


KEY_MISSING: Final = "etcdserver: key is not provided"
DUPLICATE: Final = "etcdserver: duplicate key given in txn request"
COMPACTED: Final = "etcdserver: mvcc: required revision has been compacted"
FUTURE: Final = "etcdserver: mvcc: required revision is a future revision"
NO_LEASE: Final = "etcdserver: requested lease not found"

_BY_CODE: Final = {
    "unauthenticated": (_CODE.UNAUTHENTICATED, "etcdserver: invalid auth token"),
    "not_allowed": (_CODE.PERMISSION_DENIED, "etcdserver: permission denied"),
    "too_large": (_CODE.INVALID_ARGUMENT, "etcdserver: request is too large"),
    "no_space": (_CODE.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
    "busy": (_CODE.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
    "no_quorum": (_CODE.UNAVAILABLE, "etcdserver: no leader"),
    "no_coordinator": (_CODE.UNAVAILABLE, "etcdserver: leader changed"),
    "needs_recovery": (_CODE.UNAVAILABLE, "etcdserver: no leader"),
    "unknown_outcome": (_CODE.UNAVAILABLE, "etcdserver: request timed out"),
    "timed_out": (_CODE.UNAVAILABLE, "etcdserver: request timed out"),
    "conflict": (_CODE.OUT_OF_RANGE, COMPACTED),
    "not_found": (_CODE.NOT_FOUND, NO_LEASE),
}


def said(error: errors.TiercastError) -> tuple[grpc.StatusCode, str]:
    """Status and sentence; our own sentence follows etcd's, for people."""
    if isinstance(error, EtcdError):
        return error.status, error.message
    status, sentence = _BY_CODE.get(error.code, (_CODE.INVALID_ARGUMENT, ""))
    return status, sentence or f"tiercast: {error.message}"
