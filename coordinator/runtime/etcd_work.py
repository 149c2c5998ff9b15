"""What the commands of `tiercast store` do where the store is in etcd. Blocking.

Law: nothing here overwrites a history; one that takes another's place leaves it where it was.
"""

import pathlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import anyio

from coordinator import errors, names
from coordinator.host import clock, disk, settings
from coordinator.runtime import engine, handover, home, store_files, store_socket, store_work
from coordinator.store import commands, membership, mvcc
from coordinator.store.backends.etcd import access, keeping
from coordinator.store.backends.etcd import store as etcd
from coordinator.tiers import inspection, keys

R = TypeVar("R")


class EtcdAt(store_work.StoreAt, frozen=True):
    """The store of one server's MIC, in etcd."""

    used: access.Access

    def status(self) -> Iterator[str]:
        """Lines; of the running MIC, else of etcd itself."""
        answer = self._asked(store_socket.Ask("status"))
        if answer is not None and answer.status is not None:
            yield f"asked     the running MIC ({answer.mic})"
            found = answer.status
        else:
            yield "asked     etcd itself: no MIC runs here"
            found = self._done(lambda store: store.status())
            if not found.members:
                raise errors.NoQuorumError(found.alarms[0])
        yield f"etcd      {self.used.address}" + ("  (TLS)" if self.used.ca_pem else "")
        yield from store_work.told(found, "")

    def check(self) -> Iterator[str]:
        """Lines, where all is well. Raises `DamagedError` naming what is not, and what etcd refuses."""
        found = self._done(lambda store: store.scan(b""))
        yield f"keys      {len(found.items)} at revision {found.revision} of etcd, every large value is whole"
        yield from store_work.inspected(inspection.inspect(found.items, self.cluster))

    def snapshot(self, file: pathlib.Path) -> str:
        """A sentence. Raises `InUseError` where the file exists."""
        if file.exists():
            raise errors.InUseError(f"{file} exists already", hint="name another file")
        revision = self._done(lambda store: store.snapshot(file))
        file.chmod(0o600)
        return f"revision {revision} of etcd is in {file}"

    def restore(self, file: pathlib.Path) -> Iterator[str]:
        """Lines. Raises `DamagedError`, `IdentityError`, `InUseError` where a store stands below the prefix."""
        loaded = store_files.load_snapshot(file)
        if loaded.header.cluster != self.cluster:
            raise errors.IdentityError(
                f"the snapshot is of another cluster (got {loaded.header.cluster}, have {self.cluster})"
            )
        items = tuple(item for _key, item in loaded.state.keys.pairs())
        found = inspection.inspect(items, self.cluster)
        if found.findings:
            raise errors.DamagedError(f"the snapshot cannot be used: {found.findings[0]}")

        async def act(store: etcd.EtcdStore) -> None:
            if await keeping.find(store.gateway, self.used.address.prefix, self.cluster) is not None:
                raise errors.InUseError(
                    f"there is a store below {self.used.address.prefix} already",
                    hint="`tiercast store recover --snapshot FILE` lets another one take its place",
                )
            await store.take_place(items)

        self._done(act)
        yield f"restored  {found.version}, {found.keys} keys, to {self.used.address}"
        yield from self._older_than_issued(found.version)

    def _done(self, act: Callable[[etcd.EtcdStore], Awaitable[R]]) -> R:
        return done(self.used, self.cluster, act)


def find(layout: settings.Layout) -> store_work.StoreAt:
    """Whichever engine it has. Raises `NotFoundError` where no server lives there, `DamagedError`."""
    own = store_work.find(layout)
    used = engine.load(disk.DirectoryDisk(layout.root))
    return own if used is None else EtcdAt(own.layout, own.identity, used)


def done(used: access.Access, cluster: names.ClusterId, act: Callable[[etcd.EtcdStore], Awaitable[R]]) -> R:
    """One act on the store in etcd; nothing is begun there. Raises what it raises."""

    async def main() -> R:
        async with etcd.EtcdStore(
            used, cluster, clock.SystemClock(), clock.SystemRandom(), create=False
        ) as store:
            return await act(store)

    return anyio.run(main)


# --- beginnings -------------------------------------------------------------------------------------------------------


def check_ours(used: access.Access, cluster: names.ClusterId) -> None:
    """That etcd can be used, and nobody else has keys below the prefix. Raises what it refuses."""

    async def act(store: etcd.EtcdStore) -> None:
        await keeping.find(store.gateway, used.address.prefix, cluster)

    done(used, cluster, act)


def begin(used: access.Access, cluster: names.ClusterId, state: mvcc.State) -> str:
    """Let this state take the place of what is below the prefix; a word on where that is."""
    items = tuple(item for _key, item in state.keys.pairs())
    before = done(used, cluster, lambda store: store.take_place(items))
    return f"the old keys are in {used.address.prefix}/{before}/ of etcd; " if before else ""


def stored(used: access.Access, cluster: names.ClusterId) -> tuple[mvcc.State, str]:
    """The state as our own machine has it; an empty one and why where it cannot be read."""
    try:
        return keeping.state(done(used, cluster, lambda store: store.scan(b""))), ""
    except errors.TiercastError as problem:
        return mvcc.State(), problem.message


# --- several MICs -----------------------------------------------------------------------------------------------------


def share(
    at: handover.Ground, used: access.Access, wanted: dict[names.ServerName, str], output: pathlib.Path | None
) -> Iterator[str]:
    """Let exactly these servers run MIC, and write what the others need for it. MIC may run meanwhile.

    Lines. Raises `NotFoundError` where one is not enrolled, `UsageError`, `InUseError`, and what etcd refuses.
    """
    here = home.at(at.layout, at.clock)
    if len(wanted) > 1 and output is None:
        raise errors.UsageError("the other servers need a file", hint="name one with -o")
    if output is not None and output.exists():
        raise errors.InUseError(f"{output} exists already", hint="name another file")

    async def act(store: etcd.EtcdStore) -> dict[names.ServerName, names.ServerId]:
        servers = await handover.servers_of(store, here, wanted)
        puts = [commands.put(keys.member(server), b"") for server in servers.values()]
        held = (await store.scan(keys.MEMBERS)).items
        gone = [commands.delete(one.key) for one in held if one.key not in {put.key for put in puts}]
        await store.commit(commands.Txn(success=(*puts, *gone)))
        return servers

    servers = done(used, here.identity.cluster, act)
    seats = [
        membership.Seat(at.random.token(membership.TOKEN_BYTES), servers[name], address)
        for name, address in wanted.items()
    ]
    if output is not None:
        handover.write(here, output, tuple(one.member for one in seats), b"", used)
        yield f"written   {output}: private keys are in it; take it to the other servers over a way you trust"
    for name in wanted:
        yield f"member    {name}"
