"""Stock pysyncobj 0.3.17 as a store: our state machine as its one replicated method, everything else as it ships.

For the tests alone: the second backend of the contract suite, and what the tests of holes show each hole on. It adds
nothing that the library lacks; above all, `get` reads the member's own copy, for there is no barrier to wait behind.
Ticked by hand from the loop of its caller (`autoTick` off), so that no thread outlives a test.
"""

import asyncio  # noqa: TID251 the backends are asyncio's
import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Self

import pysyncobj
import pysyncobj.node
import pysyncobj.transport

from bench import ports
from coordinator import effects, errors
from coordinator.store import commands, image, leases, mvcc, port, watch
from coordinator.store.backends import replica
from tests import storegroup, storewriter

TICK_S: Final = 0.002
LEADER: Final = 2  # of getStatus()["state"]
OPENED_S: Final = 20.0

PRIVATE: Final[Mapping[type, Sequence[str]]] = {
    pysyncobj.transport.Transport: ("_onMessageReceived", "_onNodeConnected", "_onNodeDisconnected"),
}
"""Names of the library's inside that these tests use."""

QUICK: Final[Mapping[str, object]] = {
    "appendEntriesPeriod": 0.02,
    "raftMinTimeout": 0.15,
    "raftMaxTimeout": 0.3,
    "appendEntriesUseBatch": False,
    "useFork": False,
}
"""What makes it faster, and spares the tests' own process a fork for each dump; everything else is as it ships."""

LONE: Final[Mapping[str, object]] = {
    **QUICK,
    "appendEntriesPeriod": 0.005,
    "raftMinTimeout": 0.02,
    "raftMaxTimeout": 0.03,
}
"""As QUICK, for a member that waits for nobody."""

logging.getLogger("pysyncobj").addHandler(logging.NullHandler())


def verify(private: Mapping[type, Sequence[str]] = PRIVATE) -> None:
    """Raise LookupError that names what this version of the library no longer has."""
    missing = [
        f"{cls.__name__}.{name}" for cls, names in private.items() for name in names if not hasattr(cls, name)
    ]
    if missing:
        raise LookupError(f"pysyncobj has changed inside (missing {', '.join(missing)})")


verify()


class Machine:
    """Our state machine, pickled as the chunks of our own snapshots."""

    def __init__(self, state: mvcc.State) -> None:
        self.replica = replica.Replica(state)
        self.heard: Callable[[commands.Command | None, mvcc.Result], None] = lambda _command, _result: None

    def apply(self, data: bytes) -> mvcc.Result:
        command = commands.decode(data)
        result = self.replica.apply(command)
        self.heard(command, result)
        return result

    def __reduce__(self) -> tuple[Callable[[tuple[bytes, ...]], "Machine"], tuple[tuple[bytes, ...]]]:
        return restored, (tuple(image.encode(self.replica.state)),)


def restored(chunks: tuple[bytes, ...]) -> Machine:
    return Machine(image.decode(chunks))


class Node(pysyncobj.SyncObj):  # type: ignore[misc] # the library has no types
    """A member with one replicated method."""

    def __init__(
        self,
        own: object,
        others: Iterable[object],
        settings: Mapping[str, object],
        transport: pysyncobj.transport.Transport | None = None,
    ) -> None:
        given = {} if transport is None else {"transport": transport}
        super().__init__(own, list(others), pysyncobj.SyncObjConf(autoTick=False, **settings), **given)
        # Behind super().__init__, or the library leaves it out of its dumps.
        self.machine = Machine(mvcc.State())

    @pysyncobj.replicated  # type: ignore[untyped-decorator]
    def apply(self, data: bytes) -> mvcc.Result:
        return self.machine.apply(data)

    def leading(self) -> bool:
        return bool(self.getStatus()["state"] == LEADER)


class LaterNode(Node):
    """The same in a later program, which has one more replicated method."""

    @pysyncobj.replicated  # type: ignore[untyped-decorator]
    def adopt(self, data: bytes) -> None:
        """Of no use yet."""


_NOTHING_DONE: Final = {
    pysyncobj.FAIL_REASON.QUEUE_FULL,
    pysyncobj.FAIL_REASON.MISSING_LEADER,
    pysyncobj.FAIL_REASON.DISCARDED,
    pysyncobj.FAIL_REASON.NOT_LEADER,
    pysyncobj.FAIL_REASON.REQUEST_DENIED,
    pysyncobj.FAIL_REASON.LEADER_CHANGED,
}
"""By the library's own words for them."""


class StockStore:
    """A `port.Store` over one member."""

    def __init__(self, node: Node, clock: effects.Clock, deliver: Callable[[], None] = lambda: None) -> None:
        """`deliver` hands over what has arrived, where the library does not fetch it itself."""
        self.node = node
        self.failures: list[Exception] = []
        self.ticks = 0
        self._deliver = deliver
        self._clock = clock
        self._machine = node.machine
        self._machine.heard = self._heard
        self._leases: leases.LeaseClock | None = None
        self._closed = False
        self._ticking = asyncio.get_running_loop().create_task(self._tick_on())

    async def get(self, key: bytes) -> port.KeyValue | None:
        return self._replica.state.keys.get(key)

    async def scan(
        self, prefix: bytes, *, limit: int = 0, revision: int = 0, after: bytes = b""
    ) -> port.Scan:
        return self._replica.scan(watch.Wanted(prefix, limit, after), revision)

    async def commit(self, txn: commands.Txn) -> port.TxnResult:
        commands.check(txn)
        answer = await self._done(txn)
        assert isinstance(answer, port.TxnResult)
        return answer

    def watch(self, prefix: bytes, from_revision: int = 0) -> port.Watch:
        return self._replica.open_watch(prefix, from_revision)

    async def open_session(self) -> int:
        return await self._number(commands.SessionOpen())

    async def grant(self, ttl_s: float, guard: commands.Guard = ()) -> int:
        return await self._number(commands.LeaseGrant(ttl_s, guard))

    async def keep_alive(self, lease: int, guard: commands.Guard = ()) -> None:
        await self._done(commands.LeaseKeepalive(lease, guard))

    async def revoke(self, lease: int, guard: commands.Guard = ()) -> None:
        await self._done(commands.LeaseRevoke(lease, guard))

    async def compact(self, revision: int) -> None:
        await self._done(commands.Compact(revision))

    async def status(self) -> port.StoreStatus:
        told = self.node.getStatus()
        state = self._replica.state
        members = sorted(str(one) for one in (self.node.selfNode, *self.node.otherNodes))
        return port.StoreStatus(
            backend="pysyncobj",
            members=tuple(port.MemberStatus(member) for member in members),
            leader=str(told["leader"]) if told["leader"] is not None else None,
            revision=state.revision,
            compacted=state.compacted,
            size_bytes=state.size_bytes,
            keys=len(state.keys),
            term=told["raft_term"],
            committed=told["commit_idx"],
            applied=told["last_applied"],
        )

    async def ready(self) -> None:
        """Return once the library says so and somebody leads."""

        async def told() -> bool:
            return bool(self.node.isReady()) and (await self.status()).leader is not None

        await storegroup.until(told, OPENED_S)

    async def close(self) -> None:
        """Tick no more. The library saves nothing at its end, so that this is what a kill leaves on the disk, too."""
        if not self._closed:
            self._closed = True
            await self._ticking
            self._replica.close()
            self.node.destroy()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def _replica(self) -> replica.Replica:
        return self._machine.replica

    async def _tick_on(self) -> None:
        while not self._closed:
            self._tick()
            self.ticks += 1
            await asyncio.sleep(TICK_S)

    def _tick(self) -> None:
        try:
            self._deliver()
            self.node.doTick(0.0)
        except Exception as error:  # noqa: BLE001 as the library's own thread does: note it and try again
            self.failures.append(error)
        if self.node.machine is not self._machine:  # from a dump
            self._replica.replace(self.node.machine.replica.state)
            self.node.machine.replica = self._replica
            self._machine = self.node.machine
            self._machine.heard = self._heard
        if not self.node.leading():
            self._leases = None
        elif self._leases is None:
            self._leases = leases.LeaseClock(self._replica.state, self._clock.monotonic())
        else:
            for expire in self._leases.due(self._clock.monotonic()):
                self.node.apply(commands.encode(expire))

    def _heard(self, command: commands.Command | None, result: mvcc.Result) -> None:
        if self._leases is not None:
            self._leases.applied(command, result, self._replica.state, self._clock.monotonic())

    async def _number(self, command: commands.Command) -> int:
        answer = await self._done(command)
        assert isinstance(answer, int)
        return answer

    async def _done(self, command: commands.Command) -> port.TxnResult | int:
        answered: asyncio.Future[tuple[mvcc.Result | None, int]] = asyncio.get_running_loop().create_future()

        def answer(result: mvcc.Result | None, reason: int) -> None:
            if not answered.done():
                answered.set_result((result, reason))

        self.node.apply(commands.encode(command), callback=answer)
        result, reason = await answered
        if reason in _NOTHING_DONE:
            raise errors.NoQuorumError(f"the library refused (reason {reason})")
        if result is None:
            raise errors.UnknownOutcomeError(f"the library does not know (reason {reason})")
        if isinstance(result, mvcc.Rejected):
            raise replica.refusal(result)
        return result.answer


async def open_store(directory: pathlib.Path, **settings: object) -> StockStore:
    """A store of one, listening on loopback, with journal and dumps in the directory."""
    address = f"127.0.0.1:{ports.free()}"
    node = Node(address, (), {**LONE, "bindAddress": address, **kept(directory), **settings})
    opened = StockStore(node, storewriter.RealClock())
    try:
        await opened.ready()
    except BaseException:
        await opened.close()
        raise
    return opened


def kept(directory: pathlib.Path) -> dict[str, object]:
    """Settings that keep everything in the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    return {"journalFile": str(directory / "journal"), "fullDumpFile": str(directory / "dump")}
