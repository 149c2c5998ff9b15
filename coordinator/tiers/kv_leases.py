"""Users' leases: keys put under one end with it. Each stands in the store beside its lease, under that very lease.

Laws: only what stands there can be renewed or ended, so that nobody ends a lease of the system; since a lease takes its
keys with it, whoever made it ends it, with the rights it was made with, or somebody who may write all keys.
"""

from coordinator import errors, limits
from coordinator.store import commands, port
from coordinator.tiers import desk, entries, keys, kv, kv_names, kv_space
from coordinator.tiers import requests_kv as asked_of


async def grant(at: desk.Desk, caller: desk.Caller, asked: asked_of.Grant) -> asked_of.Lease:
    """A lease that ends `ttl_s` after its last renewal. Raises `UsageError`, `NoSpaceError`, what a commit raises."""
    access = _writer(at, caller)
    if not limits.KV_LEASE_MIN_S <= asked.ttl_s <= limits.KV_LEASE_MAX_S:
        raise errors.UsageError(
            f"a lease lasts {limits.KV_LEASE_MIN_S:g} to {limits.KV_LEASE_MAX_S:g} s (got {asked.ttl_s:g})"
        )
    held = await access.space.store.scan(keys.KV_LEASES, limit=limits.KV_LEASES)
    if len(held.items) >= limits.KV_LEASES:
        raise errors.NoSpaceError(
            f"there are too many leases (have {limits.KV_LEASES})", hint="end some of them"
        )
    lease = await access.space.grant(asked.ttl_s)
    kept = entries.UserLease(asked.ttl_s, caller.name, _scopes(caller))
    entry = commands.put(keys.kv_lease(lease), entries.encode(kept), lease=lease)
    await access.space.commit(kv_space.Branches(success=(entry,)))
    access.space.renewed[lease] = at.clock.monotonic()
    return asked_of.Lease(lease=lease, ttl_s=asked.ttl_s, left_s=asked.ttl_s, holder=caller.name)


async def keep_alive(at: desk.Desk, caller: desk.Caller, asked: asked_of.LeaseAsked) -> asked_of.Lease:
    """Its time begins anew. Raises `NotFoundError`, what the store raises."""
    access = _writer(at, caller)
    kept = _own(at, caller, await _kept(access.space.store, asked.lease))
    await access.space.keep_alive(asked.lease)
    access.space.renewed[asked.lease] = at.clock.monotonic()
    return asked_of.Lease(lease=asked.lease, ttl_s=kept.ttl_s, left_s=kept.ttl_s, holder=kept.holder)


async def revoke(at: desk.Desk, caller: desk.Caller, asked: asked_of.LeaseAsked) -> asked_of.Ended:
    """It ends now, with its keys. Raises `NotFoundError`, what the store raises."""
    access = _writer(at, caller)
    _own(at, caller, await _kept(access.space.store, asked.lease))
    await access.space.revoke(asked.lease)
    access.space.renewed.pop(asked.lease, None)
    return asked_of.Ended(lease=asked.lease)


async def listed(at: desk.Desk, caller: desk.Caller, _asked: asked_of.Nothing) -> asked_of.Leases:
    """All of them, the oldest first; people of another domain see their own."""
    space = kv.Access(at, caller).space
    now = at.clock.monotonic()
    found = (await space.store.scan(keys.KV_LEASES)).items
    known = {int(item.key[len(keys.KV_LEASES) :]): entries.USER_LEASE.decode(item.value) for item in found}
    for gone in space.renewed.keys() - known.keys():
        del space.renewed[gone]
    return asked_of.Leases(
        leases=tuple(
            asked_of.Lease(
                lease=lease, ttl_s=one.ttl_s, holder=one.holder,
                left_s=max(0.0, one.ttl_s - (now - space.renewed.get(lease, now))),
            )
            for lease, one in known.items()
            if caller.person.domain in {at.master_domain, ""} or one.holder == caller.name
        )
    )  # fmt: skip


def _writer(at: desk.Desk, caller: desk.Caller) -> kv.Access:
    """Raises `NotAllowedError` for whoever may write no key at all."""
    access = kv.Access(at, caller)
    reach = [one.prefix.encode() for one in caller.person.scopes if one.area == kv_names.AREA and one.writes]
    domain = caller.person.domain
    own = keys.KV if domain in {at.master_domain, ""} else kv_names.of_domain(domain)
    access.rights.may_write(next((one for one in reach if one), own))
    return access


def _scopes(caller: desk.Caller) -> tuple[str, ...]:
    return tuple(map(str, caller.person.scopes))


def _own(at: desk.Desk, caller: desk.Caller, kept: entries.UserLease) -> entries.UserLease:
    """Raises `NotAllowedError` where it is somebody else's, and this one may not write everything."""
    if (kept.holder, kept.scopes) != (caller.name, _scopes(caller)):
        try:
            kv_names.Rights(caller.person, at.master_domain).may_write(keys.KV)
        except errors.NotAllowedError:
            raise errors.NotAllowedError(
                f"this lease is of {kept.holder}, and keys that you may not write may end with it",
                hint="use the token that made it, or one that may write all of /kv/",
            ) from None
    return kept


async def _kept(store: port.Store, lease: int) -> entries.UserLease:
    item = await store.get(keys.kv_lease(lease)) if lease > 0 else None
    if item is None:
        raise errors.NotFoundError(f"there is no such lease, or it has ended (got {lease})")
    return entries.USER_LEASE.decode(item.value)
