"""Leases whose commands are bound to conditions: etcd's own know none, so a transaction says it first.

Law: what a transaction under those conditions has not done is done by nothing that comes later. A renewal may come late
and lets a lease live longer, which promises nothing; a lease is ended by deleting what stands under it, and what etcd is
asked to end afterwards is empty but for what was put under it in that very moment: it goes with the lease, as it would have
with one that ran out.
"""

from typing import Final, Protocol

from coordinator import errors
from coordinator.store import commands, port
from coordinator.store.backends.etcd import gateway, keys, messages

AT_ONCE: Final = 64  # keys deleted in one transaction, each compared; etcd takes 96 compares of ours
TRIES: Final = 8  # of keys that are put elsewhere all the time


class Store(Protocol):
    """The part of a store that is needed here."""

    async def commit(self, txn: commands.Txn) -> port.TxnResult: ...


async def check(store: Store, guard: commands.Guard) -> None:
    """Raises `ConflictError` where it does not hold."""
    if guard and not (await store.commit(commands.Txn(guard, (commands.read(guard[0].key),)))).succeeded:
        raise errors.ConflictError("the conditions of this command do not hold any more")


async def empty(
    store: Store, through: gateway.Gateway, root: keys.Root, lease: int, guard: commands.Guard
) -> None:
    """Delete what stands under the lease, while `guard` holds. Raises `NotFoundError`, `ConflictError`, what a commit raises."""
    for _ in range(TRIES):
        await check(store, guard)
        held = await _under(through, root, lease)
        for at in range(0, len(held), AT_ONCE):
            some = held[at : at + AT_ONCE]
            still = (
                commands.Compare(key, commands.Target.LEASE, commands.Relation.EQUAL, lease) for key in some
            )
            txn = commands.Txn((*guard, *still), tuple(map(commands.delete, some)))
            if not (await store.commit(txn)).succeeded:
                break  # the conditions, or a key that has left the lease: look again
        else:
            return
    raise errors.ConflictError("the keys of this lease keep changing", hint="try again")


async def _under(through: gateway.Gateway, root: keys.Root, lease: int) -> list[bytes]:
    found = await through.call(messages.LEASED, {"ID": lease, "keys": True}, messages.Leased)
    if found.TTL < 0:
        raise errors.NotFoundError("there is no such lease")
    data = root.data(b"")
    return [root.key(one) for one in found.keys if one.startswith(data)]
