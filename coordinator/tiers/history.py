"""What the store holds, read whole when MIC takes office and kept in step with every commit since.

Law: after a commit the value in memory is what reading the store anew would give.
"""

from collections.abc import Mapping, Sequence

import msgspec

from coordinator import errors, limits, names
from coordinator.config import expansion, model
from coordinator.propagation import mirror, objects
from coordinator.store import commands, port
from coordinator.tiers import entries, keys, pieces
from coordinator.trust import signing


class Prepared(msgspec.Struct, frozen=True):
    """A revision that is shipped and not active."""

    record: objects.Record
    body: bytes


class Past(msgspec.Struct, frozen=True):
    """The history, and what is in force."""

    content: mirror.Content
    target_mod: int
    """Modification revision of `/config/target`: what an apply is compared with."""
    body: bytes
    """Of the active revision."""
    expanded: expansion.Expanded
    """The active document."""
    records: Mapping[int, objects.Record]
    rollouts: Mapping[names.RolloutId, entries.Rollout]
    drafts: Mapping[str, entries.Draft]
    seen: Mapping[str, entries.SiteSeen]
    """By key of the site."""
    audit_next: int
    prepared: Prepared | None = None
    preparations: tuple[entries.Preparation, ...] = ()
    """The last, newest last, of requests that named themselves."""

    @property
    def version(self) -> names.Version:
        return self.content.version

    @property
    def rollout(self) -> names.RolloutId:
        """Of the active revision."""
        target = self.content.target
        return names.RolloutId("") if target is None else target.content.rollout

    @property
    def document(self) -> model.Document:
        return self.expanded.document


NOBODY = expansion.Expanded(
    model.Document(schema=model.SCHEMA, general=model.General(master_domain="")), {}, {}, {}
)
"""In force where there is no configuration at all."""


async def load(store: port.Store, cluster: names.ClusterId) -> Past | None:
    """Everything; None where nothing was ever issued from this store.

    Raises `SignatureError` and `DamagedError` where it holds what MIC cannot have written.
    """
    target, trust = await store.get(keys.TARGET), await store.get(keys.TRUST)
    if target is None:
        return None
    if trust is None:
        raise errors.DamagedError("the store has a target and no trust")
    keyring = signing.Keyring.trusting(trust.value, cluster)
    raws = [item.value for item in (await store.scan(keys.ADMISSIONS)).items]
    signed = [mirror.verify(raw, keyring) for raw in (target.value, *raws)]
    records = await _records(store, keyring)
    content = mirror.Content(mirror.SignedTrust(trust.value, keyring.body)).take_all(tuple(signed))
    raw_record = await store.get(keys.record(content.version.revision))
    if raw_record is None:
        raise errors.DamagedError(f"the store has no record of {content.version}")
    content = content.take(mirror.verify(raw_record.value, keyring))
    found = await body(store, content.digest)
    if found is None:
        raise errors.DamagedError(f"the store has no document of {content.version}")
    numbered = await store.get(keys.AUDIT_NEXT)
    return Past(
        content=content,
        target_mod=target.mod_revision,
        body=found,
        expanded=expansion.expand(model.decode(found)),
        records=records,
        rollouts=await _rollouts(store),
        drafts=await _drafts(store),
        seen=await _seen(store),
        audit_next=0 if numbered is None else int(numbered.value),
        prepared=await _prepared(store, content, keyring),
        preparations=await _preparations(store),
    )


async def _prepared(store: port.Store, content: mirror.Content, keyring: signing.Keyring) -> Prepared | None:
    pointer = None if content.target is None else content.target.content.prepared
    if pointer is None:
        return None
    raw, found = await store.get(keys.record(pointer.revision)), await body(store, pointer.digest)
    if raw is None or found is None:
        raise errors.DamagedError(f"the store has no document of the prepared revision {pointer.revision}")
    signed = mirror.verify(raw.value, keyring)
    if not isinstance(signed, mirror.SignedRecord):
        raise errors.DamagedError(f"the record of revision {pointer.revision} is none")
    return Prepared(signed.content, found)


def unloaded(content: mirror.Content, found: bytes | None) -> Past:
    """A past of nothing but what somebody else holds: served while the store needs recovery, never written."""
    expanded = NOBODY if found is None else expansion.expand(model.decode(found))
    record = content.record
    records = {} if record is None else {record.content.revision: record.content}
    return Past(content, 0, found or b"", expanded, records, {}, {}, {}, 0)


async def body(store: port.Store, digest: names.Digest) -> bytes | None:
    """A document's bytes. Raises `DamagedError` where they are not what the digest says."""
    found = await pieces.read(store, keys.body(digest))
    if found is not None and model.digest(found) != digest:
        raise errors.DamagedError(f"a stored document has another digest than its name (got {digest})")
    return found


async def _records(store: port.Store, keyring: signing.Keyring) -> dict[int, objects.Record]:
    items = (await store.scan(keys.RECORDS)).items
    signed = [mirror.verify(item.value, keyring) for item in items]
    return {one.content.revision: one.content for one in signed if isinstance(one, mirror.SignedRecord)}


async def _rollouts(store: port.Store) -> dict[names.RolloutId, entries.Rollout]:
    found = [entries.ROLLOUT.decode(item.value) for item in (await store.scan(keys.ROLLOUTS)).items]
    return {one.id: one for one in found}


async def _drafts(store: port.Store) -> dict[str, entries.Draft]:
    found = [entries.DRAFT.decode(item.value) for item in (await store.scan(keys.DRAFTS)).items]
    return {one.id: one for one in found}


async def _preparations(store: port.Store) -> tuple[entries.Preparation, ...]:
    found = await store.get(keys.PREPARATIONS)
    return () if found is None else entries.PREPARATIONS.decode(found.value)


async def _seen(store: port.Store) -> dict[str, entries.SiteSeen]:
    items = (await store.scan(keys.SEEN)).items
    return {item.key.removeprefix(keys.SEEN).decode(): entries.SITE_SEEN.decode(item.value) for item in items}


def prune(past: Past, held: frozenset[int]) -> tuple[tuple[commands.Operation, ...], Past]:
    """Forget all but the last `REVISIONS_KEPT` revisions and those in `held`, which some server still has."""
    newest = sorted(past.records)[-limits.REVISIONS_KEPT :]
    kept = held.union(newest)
    return _without(past, [revision for revision in past.records if revision not in kept])


def forget_unused(after: Past, active: int, new: int) -> tuple[tuple[commands.Operation, ...], Past]:
    """Forget what was prepared upon `active` and never became active itself, now that `new`, a greater number, is given.

    It is no document that any server may have, and since it was the greatest until now, its number is not used again.
    """
    return _without(after, [revision for revision in after.records if revision > active and revision != new])


def _without(past: Past, gone: Sequence[int]) -> tuple[tuple[commands.Operation, ...], Past]:
    if not gone:
        return (), past
    kept = past.records.keys() - set(gone)
    records = {revision: record for revision, record in past.records.items() if revision in kept}
    digests = {record.digest for record in records.values()}
    operations: list[commands.Operation] = []
    for revision in gone:
        operations += [
            commands.delete(keys.record(revision)),
            commands.delete_prefix(keys.document(revision)),
        ]
        if past.records[revision].digest not in digests:
            operations.append(commands.delete_prefix(keys.body(past.records[revision].digest)))
    ended = [one.id for one in past.rollouts.values() if one.version.revision in gone]
    operations += [commands.delete(keys.rollout(rollout)) for rollout in ended]
    rollouts = {key: one for key, one in past.rollouts.items() if key not in ended}
    return tuple(operations), msgspec.structs.replace(past, records=records, rollouts=rollouts)
