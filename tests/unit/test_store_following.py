"""What a member that follows tells its own callers: whoever waits is told something, whatever is lost on the way."""

import asyncio  # noqa: TID251 the backends are asyncio's
from typing import cast

import pytest

from coordinator import limits, names
from coordinator.store import commands, mvcc
from coordinator.store.backends.raft import (
    calls,
    files,
    forwarding,
    journal,
    log,
    member,
    messages,
    pending,
    recovery,
    snapshot,
    transport,
)
from tests import storedisk, storewriter

pytestmark = pytest.mark.anyio
CLUSTER = names.ClusterId("c1")
MEMBERS = ("m", "a", "b")
PUT = commands.Txn(success=(commands.put(b"/k", b"v"),))


class Links:
    """Every frame arrives, or none does."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, messages.Frame]] = []

    def send(self, to: str, frame: messages.Frame) -> None:
        self.sent.append((to, frame))

    def reaches(self, _other: str) -> bool:
        return True


class Following:
    """A member that follows `a`, which is not there: its part is played by the test."""

    def __init__(self) -> None:
        self.disk = storedisk.FakeFiles()
        recovery.begin(self.disk, journal.Identity(CLUSTER, "m", MEMBERS), storedisk.SeededRandom(1))
        opened = recovery.resume(cast("files.Files", self.disk), CLUSTER, storedisk.SeededRandom(2))
        self.stops: list[BaseException] = []
        self.clock = storewriter.RealClock()
        self.member = member.Member(opened, self.clock, storedisk.SeededRandom(3), self.stops.append)
        self.links = Links()
        self.route = forwarding.Forwarding(self.member, storedisk.SeededRandom(4))
        self.route.attach(cast("transport.Transport", self.links))

    def said(self, frame: messages.Frame) -> None:
        self.route.received("a", frame)

    def heartbeat(self) -> None:
        self.said(messages.Append(1, log.NOTHING, (), 0, 0))

    async def led(self) -> None:
        async with asyncio.timeout(50):
            while self.member.core.leader != "a":
                self.heartbeat()
                await asyncio.sleep(0.005)

    async def asked(self, kind: type[messages.Frame]) -> messages.Frame:
        """The first frame of that kind that it sends."""
        async with asyncio.timeout(50):
            while True:
                self.heartbeat()
                found = [frame for _to, frame in self.links.sent if isinstance(frame, kind)]
                if found:
                    return found[0]
                await asyncio.sleep(0.005)

    async def doubts(self, waiting: "asyncio.Future[mvcc.Result]") -> None:
        """It is told so, while the leader stays what it is."""
        async with asyncio.timeout(50):
            while not waiting.done():
                self.heartbeat()
                await asyncio.sleep(0.005)
        with pytest.raises(pending.InDoubtError):
            waiting.result()
        assert self.member.core.leader == "a"

    async def close(self) -> None:
        await self.route.close()
        await self.member.close()


def a_snapshot(index: int) -> bytes:
    header = snapshot.Header(snapshot.FORMAT, CLUSTER, log.Position(index, 1), MEMBERS)
    return b"".join(snapshot.encode(header, mvcc.State(revision=index)))


async def test_an_answer_that_was_lost_with_its_link_leaves_nobody_waiting() -> None:
    following = Following()
    await following.led()
    waiting = asyncio.ensure_future(following.route.carry(commands.encode(PUT)))
    await following.asked(messages.Forward)
    following.route.understands("a", None)
    await following.doubts(waiting)
    await following.close()


async def test_an_answer_said_while_there_was_no_link_leaves_nobody_waiting() -> None:
    following = Following()
    await following.led()
    waiting = asyncio.ensure_future(following.route.carry(commands.encode(PUT)))
    await following.asked(messages.Forward)
    following.route.understands("b", 1)
    following.route.understands("a", 1)
    await following.doubts(waiting)
    await following.close()


async def test_whoever_waits_for_an_entry_that_a_snapshot_stands_for_is_told_that_it_is_in_doubt() -> None:
    following = Following()
    await following.led()
    waiting = asyncio.ensure_future(following.route.carry(commands.encode(PUT)))
    asked = await following.asked(messages.Forward)
    assert isinstance(asked, messages.Forward)
    following.said(messages.Forwarded(asked.ticket, log.Position(5, 1)))
    following.said(messages.Install(1, log.Position(9, 1), 0, a_snapshot(9), last=True))
    await following.doubts(waiting)
    assert following.member.applied == 9
    await following.close()


async def test_a_disk_too_full_for_a_snapshot_stops_nobody_and_the_snapshot_comes_again() -> None:
    following = Following()
    await following.led()
    data, end = a_snapshot(9), log.Position(9, 1)
    half = len(data) // 2
    following.said(messages.Install(1, end, 0, data[:half], last=False))
    assert await following.asked(messages.Installed) == messages.Installed(1, end, half)
    following.links.sent.clear()
    following.disk.full = True
    following.said(messages.Install(1, end, half, data[half:], last=True))
    async with asyncio.timeout(50):
        while any(name.startswith("incoming") for name in following.disk.names()):  # noqa: ASYNC110 as below
            await asyncio.sleep(0.005)
    following.disk.full = False
    following.said(messages.Install(1, end, half, data[half:], last=True))
    assert await following.asked(messages.Installed) == messages.Installed(1, end, 0)
    following.said(messages.Install(1, end, 0, data, last=True))
    async with asyncio.timeout(50):
        while following.member.applied < 9:  # noqa: ASYNC110 a member tells nobody
            await asyncio.sleep(0.005)
    answers = [frame for _to, frame in following.links.sent if isinstance(frame, messages.Installed)]
    assert len(answers) == 1, "a leader that is told of no room sends it all again at once"
    assert following.stops == []
    await following.close()


def test_a_large_entry_said_again_while_it_is_on_its_way_does_not_cut_a_slow_link() -> None:
    outgoing = transport.Outgoing()
    outgoing.open()
    entry = bytes(limits.STORE_TXN_BYTES)
    for _ in range(5):
        outgoing.put(entry, bulk=True, again=True)
    assert outgoing.linked
    outgoing.put(b"a heartbeat", bulk=False)
    for _ in range(2):
        outgoing.put(entry, bulk=True)
    assert not outgoing.linked, "what is said once is not lost in silence"


class Route:
    """What `calls` asks; sessions are forgotten at will, and answers wait for the test."""

    def __init__(self) -> None:
        self.sessions = 0
        self.forgotten: set[int] = set()
        self.asked: list[commands.RequestId] = []
        self.answered: set[int] = set()
        """Sessions whose requests are."""

    async def carry(self, data: bytes) -> mvcc.Result:
        command = commands.decode(data)
        if isinstance(command, commands.SessionOpen):
            self.sessions += 1
            return mvcc.Applied(self.sessions)
        assert isinstance(command, commands.Txn)
        assert command.request is not None
        self.asked.append(command.request)
        if command.request.session in self.forgotten:
            return mvcc.Rejected("session_unknown")
        while command.request.session not in self.answered:  # noqa: ASYNC110 no time passes
            await asyncio.sleep(0)
        return mvcc.Applied()


async def test_what_is_under_way_in_a_session_is_not_settled_by_one_of_an_older_session() -> None:
    route = Route()
    through = calls.GroupCalls(cast("forwarding.Forwarding", route), storewriter.RealClock())
    first = asyncio.ensure_future(through.carry(PUT))
    while not route.asked:  # noqa: ASYNC110 no time passes
        await asyncio.sleep(0)
    route.forgotten.add(1)
    others = [asyncio.ensure_future(through.carry(PUT)) for _ in range(2)]
    while len([one for one in route.asked if one.session == 2]) < 2:  # noqa: ASYNC110 no time passes
        await asyncio.sleep(0)
    route.answered.add(1)
    await first
    others.append(asyncio.ensure_future(through.carry(PUT)))
    while route.asked[-1].number < 3:  # noqa: ASYNC110 no time passes
        await asyncio.sleep(0)
    assert route.asked[-1] == commands.RequestId(2, 3, 1), "the first of this session has not been answered"
    route.answered.add(2)
    await asyncio.gather(*others)


async def test_a_seal_in_doubt_is_made_good_with_the_revision_that_it_has() -> None:
    class Doubting(Route):
        async def carry(self, data: bytes) -> mvcc.Result:
            if not self.asked:
                self.asked.append(commands.RequestId(0, 0))
                raise pending.InDoubtError
            return mvcc.Rejected("sealed")

    through = calls.GroupCalls(cast("forwarding.Forwarding", Doubting()), storewriter.RealClock())
    result = await through.carry(commands.Seal(("x",)))
    assert isinstance(result, mvcc.Applied)
