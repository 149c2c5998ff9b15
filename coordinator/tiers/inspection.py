"""Is what stands in MIC's store what MIC can have written? Every signature, every digest, every value, one by one.

Pure: it is given all keys and says what is wrong with them; it mends nothing.
Law: a store without findings is one that MIC loads, whichever of its revisions it is asked for.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from coordinator import errors, names
from coordinator.propagation import mirror
from coordinator.store import port
from coordinator.tiers import entries, joins, keys, pieces
from coordinator.trust import signing

BODIES = b"/config/bodies/"
_TEXTS = (b"/private/documents/", b"/private/draft-texts/")
_VALUES: tuple[tuple[bytes, Callable[[bytes], object]], ...] = (
    (keys.ROLLOUTS, entries.ROLLOUT.decode),
    (keys.DRAFTS, entries.DRAFT.decode),
    (keys.PREPARATIONS, entries.PREPARATIONS.decode),
    (keys.TRIES, entries.TRIED.decode),
    (keys.SEEN, entries.SITE_SEEN.decode),
    (keys.AUDIT, entries.AUDIT_ENTRY.decode),
    (keys.TERM, entries.TERM.decode),
    (keys.LEASE, entries.TERM.decode),
    (keys.AUDIT_NEXT, int),
    (joins.PREFIX, joins.ENTRY.decode),
)


class Inspected(msgspec.Struct, frozen=True):
    """What was looked at, and what is wrong with it; `findings` empty is good."""

    keys: int
    signed: int
    bodies: int
    version: names.Version
    """Of the target."""
    findings: tuple[str, ...] = ()


def inspect(items: Sequence[port.KeyValue], cluster: names.ClusterId) -> Inspected:
    """All keys of a store, in order."""
    held = {item.key: item for item in items}
    found: list[str] = []
    signed = _signed(held, cluster, found) if held else ()
    digests = _bodies(items, found)
    records = (one.content for one in signed if isinstance(one, mirror.SignedRecord))
    found += [f"revision {one.revision} has no document" for one in records if one.digest not in digests]
    version = _version(signed, found) if held else names.NO_VERSION
    for start in _TEXTS:
        for prefix, group in _groups(items, start):
            _tried(prefix, found, lambda group=group: pieces.joined(group))  # type: ignore[misc]
    _values(items, found)
    return Inspected(len(items), len(signed), len(digests), version, tuple(found))


def _signed(
    held: dict[bytes, port.KeyValue], cluster: names.ClusterId, found: list[str]
) -> tuple[mirror.AnySigned, ...]:
    """Every signed object that verifies."""
    trust = held.get(keys.TRUST)
    if trust is None:
        found.append("there is no trust in it, so no signature can be verified")
        return ()
    keyring = _tried(keys.TRUST, found, lambda: signing.Keyring.trusting(trust.value, cluster))
    if keyring is None:
        return ()
    wanted = [
        item
        for key, item in held.items()
        if key == keys.TARGET or key.startswith((keys.RECORDS, keys.ADMISSIONS))
    ]
    made = [_tried(item.key, found, lambda item=item: _verified(item, keyring)) for item in wanted]  # type: ignore[misc]
    return tuple(one for one in made if one is not None)


def _verified(item: port.KeyValue, keyring: signing.Keyring) -> mirror.AnySigned:
    """Raises `SignatureError`, also for a good object under another one's key."""
    signed = mirror.verify(item.value, keyring)
    match signed:
        case mirror.SignedTarget():
            place = keys.TARGET
        case mirror.SignedRecord():
            place = keys.record(signed.content.revision)
        case mirror.SignedAdmission():
            place = keys.admission(signed.content.server_id)
        case _:
            place = keys.TRUST
    if place != item.key:
        raise errors.SignatureError(f"it belongs at {place.decode()}")
    return signed


def _version(signed: Iterable[mirror.AnySigned], found: list[str]) -> names.Version:
    records = {one.content.revision: one.content for one in signed if isinstance(one, mirror.SignedRecord)}
    target = next((one.content for one in signed if isinstance(one, mirror.SignedTarget)), None)
    if target is None:
        found.append("there is no target in it")
        return names.NO_VERSION
    record = records.get(target.version.revision)
    if record is None:
        found.append(f"the target names revision {target.version.revision}, which has no record")
    elif record.digest != target.active.digest:
        found.append(f"target and record name different documents (revision {record.revision})")
    prepared = target.prepared
    waiting = None if prepared is None else records.get(prepared.revision)
    if prepared is not None and (waiting is None or waiting.digest != prepared.digest):
        found.append(
            f"the target prepares revision {prepared.revision}, which has no record of that document"
        )
    return target.version


def _bodies(items: Sequence[port.KeyValue], found: list[str]) -> frozenset[str]:
    """Digests of the bodies that are what their name says."""
    good = []
    for prefix, group in _groups(items, BODIES):
        digest = prefix.removeprefix(BODIES).rstrip(b"/").decode(errors="replace")
        body = _tried(prefix, found, lambda group=group: pieces.joined(group))  # type: ignore[misc]
        if body is None:
            continue
        if hashlib.sha256(body).hexdigest() != digest:
            found.append(f"{prefix.decode(errors='replace')}: the document has another digest than its name")
        else:
            good.append(digest)
    return frozenset(good)


def _groups(
    items: Sequence[port.KeyValue], start: bytes
) -> Iterable[tuple[bytes, tuple[port.KeyValue, ...]]]:
    """Keys below `start`, by all but their last step."""
    groups: dict[bytes, list[port.KeyValue]] = {}
    for item in items:
        if item.key.startswith(start):
            groups.setdefault(item.key.rpartition(b"/")[0] + b"/", []).append(item)
    return [(prefix, tuple(group)) for prefix, group in groups.items()]


def _values(items: Sequence[port.KeyValue], found: list[str]) -> None:
    for item in items:
        for prefix, decode in _VALUES:
            if item.key.startswith(prefix):
                _tried(item.key, found, lambda item=item, decode=decode: decode(item.value))  # type: ignore[misc]
                break


def _tried(key: bytes, found: list[str], act: Callable[[], Any]) -> Any:  # noqa: ANN401 whatever the act gives
    """What the act gives, or None and a finding."""
    try:
        return act()
    except errors.TiercastError as problem:
        reason = problem.message
    except (msgspec.MsgspecError, ValueError) as problem:
        reason = f"it cannot be read: {problem}"
    found.append(f"{key.decode(errors='replace')}: {reason}")
    return None
