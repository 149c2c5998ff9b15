"""The shell around a machine: whatever becomes of what it wants done, the machine hears of it."""

import errno
import hashlib
import ssl
import threading

import anyio
import anyio.lowlevel
import pytest

from coordinator import names
from coordinator.hop import driver, ledger
from coordinator.host import clock
from coordinator.propagation import events
from coordinator.trust import peers
from tests.simulation import disk


class Machine:
    """Dials once, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.answered = anyio.Event()

    @property
    def deadline(self) -> float:
        return clock.SystemClock().monotonic() + 60.0

    def handle(self, event: object, _now: float) -> tuple[object, ...]:
        if isinstance(event, events.Tick):
            parent = events.Parent(names.ServerName("s1"), "127.0.0.1", 1)
            return (events.Dial(7, parent, 0.0),)
        self.heard.append(event)
        self.answered.set()
        return ()

    def drained(self, _link: names.LinkId, _now: float) -> tuple[object, ...]:
        return ()


class Own:
    """An identity that has been damaged meanwhile."""

    @property
    def server(self) -> ssl.SSLContext:
        raise ValueError("damaged")

    @property
    def client(self) -> ssl.SSLContext:
        raise ValueError("damaged")

    def peer(self, _transport: object) -> peers.PeerIdentity:
        raise ValueError("damaged")

    def counts(self, _peer: peers.PeerIdentity) -> bool:
        return True

    def watch(self, told: object) -> None: ...

    def unwatch(self, told: object) -> None: ...


def test_a_dial_that_breaks_in_an_unforeseen_way_has_failed() -> None:
    async def dial() -> list[object]:
        machine = Machine()
        ground = driver.Ground(clock.SystemClock(), clock.SystemRandom(), Own())
        one = driver.Driver(machine, ground, lambda _output: None)
        one.start()
        with anyio.fail_after(5.0):
            await machine.answered.wait()
        await one.close("the test ends")
        return machine.heard

    assert anyio.run(dial) == [events.DialFailed(7, "ValueError('damaged')")]


BODY = b"0123456789" * 10


class FullDisk(disk.MemoryDisk):
    """Refuses whatever is written."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, name: str, data: bytes) -> None:
        raise OSError(self._number, "no space left")


def driven(machine: Machine, book: ledger.Ledger | None = None) -> driver.Driver:
    return driver.Driver(
        machine, driver.Ground(clock.SystemClock(), clock.SystemRandom(), Own()), lambda _output: None, book
    )


def test_a_body_is_judged_while_the_loop_goes_on() -> None:
    async def judge() -> list[object]:
        machine, waits = Machine(), threading.Event()

        def check(_body: bytes) -> events.Refusal | None:
            assert waits.wait(10.0), "the loop stood still"
            return events.Refusal("invalid_document", "not here")

        one = driven(machine)
        one.act((events.Judge(names.Digest("d"), BODY, check),))
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        waits.set()  # only a loop that has its turns comes here
        with anyio.fail_after(10.0):
            await machine.answered.wait()
        await one.close("the test ends")
        return machine.heard

    refusal = events.Refusal("invalid_document", "not here")
    assert anyio.run(judge) == [events.Judged(names.Digest("d"), refusal)]


def test_a_check_that_breaks_ends_the_tier() -> None:
    async def judge() -> Exception:
        def check(_body: bytes) -> events.Refusal | None:
            raise ValueError("broken")

        one = driven(Machine())
        one.act((events.Judge(names.Digest("d"), BODY, check),))
        with anyio.fail_after(10.0):
            problem = await one.failed
        await one.close("the test ends")
        return problem

    assert str(anyio.run(judge)) == "broken"


@pytest.mark.parametrize(
    ("number", "spare", "heard", "failed"),
    [
        (errno.ENOSPC, True, [events.Stored(1, "no space left")], False),
        (errno.EDQUOT, True, [events.Stored(1, "no space left")], False),
        (errno.EIO, True, [], True),
        (errno.ENOSPC, False, [], True),
    ],
)
def test_only_what_is_not_to_run_yet_may_find_a_full_disk(
    number: int, spare: bool, heard: list[object], failed: bool
) -> None:
    async def store() -> tuple[list[object], bool]:
        machine = Machine()
        one = driven(machine, ledger.Ledger(FullDisk(number)))
        body = (names.Digest(hashlib.sha256(BODY).hexdigest()), BODY)
        one.act((events.Store(1, {}, body, (), spare=spare),))
        told = list(machine.heard), one.failed.done()
        await one.close("the test ends")
        return told

    assert anyio.run(store) == (heard, failed)


def test_nothing_follows_what_failed_within_another_output() -> None:
    """Such as an ack of what was to be durable first."""

    async def act() -> tuple[list[object], bool]:
        performed: list[object] = []

        def perform(output: object) -> None:
            performed.append(output)
            one.act((events.Store(1, {}, None, ()),))

        ground = driver.Ground(clock.SystemClock(), clock.SystemRandom(), Own())
        one = driver.Driver(Machine(), ground, perform, ledger.Ledger(FullDisk(errno.EIO)))
        one.act(("first", "second"))
        told = performed, one.failed.done()
        await one.close("the test ends")
        return told

    assert anyio.run(act) == (["first"], True)
