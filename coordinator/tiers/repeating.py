"""A change that is sent again: by its request id and a digest of all that it asks for, so that it is done once.

Law: the same person, id and content get the answer of the first time; the same id with other content is refused.
"""

import hashlib

import msgspec

from coordinator import errors
from coordinator.tiers import desk


def digest(caller: desk.Caller, asked: msgspec.Struct) -> str:
    """Of the verb and everything asked for; empty where the caller names no request."""
    if not caller.request:
        return ""
    return hashlib.sha256(caller.verb.encode() + b"\0" + msgspec.msgpack.encode(asked)).hexdigest()


def reused(what: str) -> errors.ReusedKeyError:
    """`what` the first request did."""
    return errors.ReusedKeyError(
        f"this request id was used before, for something else ({what})",
        hint="choose another Idempotency-Key for another request",
    )
