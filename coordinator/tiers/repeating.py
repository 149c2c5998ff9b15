"""A change that is sent again: by its request id and a digest of all that it asks for, so that it is done once.

Law: the same person, id and content get the answer of the first time; the same id with other content is refused.
"""

import hashlib

import msgspec

from coordinator import errors, names
from coordinator.store import commands
from coordinator.tiers import desk, entries, history, keys

PREPARATIONS_KEPT = 16


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


def activation(at: desk.Desk, caller: desk.Caller, request: str) -> entries.Rollout | None:
    """What the same request of the same person made active before. Raises `ReusedKeyError` where it is another one."""
    for rollout in at.past.rollouts.values():
        if not caller.request or (rollout.request, rollout.author) != (caller.request, caller.name):
            continue
        if rollout.request_digest not in {"", request}:
            raise reused(f"it made {rollout.version}")
        return rollout
    return None


def preparation(at: desk.Desk, caller: desk.Caller, request: str) -> entries.Preparation | None:
    """What it prepared, or took back, before. Raises as `activation` does."""
    for made in at.past.preparations:
        if not caller.request or (made.request, made.author) != (caller.request, caller.name):
            continue
        if made.request_digest != request:
            raise reused(f"it prepared {made.version}, or took that back")
        return made
    return None


def remembered(
    past: history.Past, caller: desk.Caller, request: str, version: names.Version, digest: names.Digest
) -> tuple[tuple[commands.Operation, ...], history.Past]:
    """So that `preparation` finds it; the last `PREPARATIONS_KEPT` stay. `past` still has the base."""
    if not request:
        return (), past
    made = entries.Preparation(caller.request, caller.name, request, version, digest, past.version)
    kept = (*past.preparations, made)[-PREPARATIONS_KEPT:]
    put = commands.put(keys.PREPARATIONS, msgspec.msgpack.encode(kept))
    return (put,), msgspec.structs.replace(past, preparations=kept)
