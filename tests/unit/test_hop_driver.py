"""The shell around a machine: whatever becomes of a dial, the machine hears of it."""

import ssl

import anyio

from coordinator import names
from coordinator.hop import driver
from coordinator.host import clock
from coordinator.propagation import events
from coordinator.trust import peers


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
