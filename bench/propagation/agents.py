"""Many agents of a bench in one process, each with a connection of its own: the product's subscriber, intake and hop.

In the mode *propagation* an agent acks `ready` on receipt and digest, and takes every signature for good
(`Believing`): that is the work the peers' clients do. In the mode *full* it verifies every signature and acks only what
stands durably in a ledger of its own, as a ServerShell does. Neither starts a process.
"""

import pathlib
import sys

from bench.propagation import ground, program, roster
from coordinator import names
from coordinator.hop import driver, ledger
from coordinator.host import disk
from coordinator.propagation import bodies, events, intake, messages, mirror, subscriber
from coordinator.trust import signing


class Believing(signing.Keyring):
    """Every signature is good; kind and cluster are still looked at."""

    def proved(self, envelope: signing.Envelope, kind: str, cluster: names.ClusterId | None = None) -> bytes:
        self._check_place(envelope, kind, cluster)
        return envelope.payload


class Receipts:
    """What came to the agents of this process."""

    def __init__(self) -> None:
        self.linked = 0
        self.ups: list[float] = []
        self._digest = ""
        self._count = 0
        self._last = 0.0

    def note(self, digest: str) -> None:
        """Another agent has this one, its digest checked."""
        if digest != self._digest:
            self._digest, self._count = digest, 0
        self._count += 1
        self._last = ground.CLOCK.monotonic()

    def told(self, digest: str) -> dict[str, object]:
        """How many have this one, and when the last of them got it."""
        return {"received": self._count if digest == self._digest else 0, "last": self._last}


class Agent:
    """A subscriber that acks what it accepts."""

    def __init__(self, told: roster.Roster, number: int, receipts: Receipts, mode: str) -> None:
        me = subscriber.Me(told.cluster, messages.ChildKind.SHELL, "", told.agent(number))
        kind = signing.Keyring if mode == roster.FULL else Believing
        keyring = kind.trusting(told.seed.trust, told.cluster)
        content = mirror.Content(mirror.SignedTrust(told.seed.trust, keyring.body))
        taking = intake.Intake(content, bodies.Shelf(), told.cluster, lambda _body: None)
        taking.keyring = keyring
        self.subscriber = subscriber.Subscriber(me, taking, boot=1)
        self._receipts = receipts
        self._seq = 0

    @property
    def deadline(self) -> float:
        return self.subscriber.deadline

    def handle(self, event: events.Input, now: float) -> tuple[object, ...]:
        outputs: tuple[object, ...] = ()
        for one in self.subscriber.handle(event, now):
            match one:
                case events.Accepted(version, digest):
                    self._receipts.note(digest)
                    self._seq += 1
                    outputs += self.subscriber.tell(_ready(version, digest, self._seq))
                case intake.Changed():
                    pass
                case subscriber.TellAgain() if self.subscriber.ack is not None:
                    outputs += self.subscriber.send(messages.Ack(self.subscriber.ack))
                case _:
                    outputs += (one,)
        return outputs

    def drained(self, link: names.LinkId, now: float) -> tuple[object, ...]:  # noqa: ARG002 it serves nobody
        return ()

    def perform(self, output: object) -> None:
        """What is not of the hop."""
        match output:
            case subscriber.Up():
                self._receipts.linked += 1
                self._receipts.ups.append(ground.CLOCK.monotonic())
            case subscriber.Down():
                self._receipts.linked -= 1
            case _:
                pass


def _ready(version: names.Version, digest: names.Digest, seq: int) -> messages.AckState:
    return messages.AckState(version, digest, messages.Level.READY, messages.Outcome.OK, names.Epoch(1, seq))


async def work(line: program.Line) -> None:
    """Arguments: directory, first, last (not included), ports of the ICs, mode.

    Questions: `settle`, `linked`, `returned`, `report` (a digest).
    """
    directory, first, last = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    ports, mode = [int(port) for port in sys.argv[4].split(",")], sys.argv[5]
    told = roster.load(directory / roster.FILE)
    receipts, drivers = Receipts(), []
    for number in range(first, last):
        agent = Agent(told, number, receipts, mode)
        book = (
            ledger.Ledger(disk.DirectoryDisk(directory / f"agent{number}")) if mode == roster.FULL else None
        )
        driven = ground.driven(agent, told, told.agent(number), agent.perform, book)
        driven.start()
        site = number % told.sites
        parent = events.Parent(names.ServerName(f"relay{site}"), roster.ADDRESS, ports[site])
        driven.act(agent.subscriber.follow((parent,), ground.CLOCK.monotonic()))
        drivers.append(driven)
    line.say(agents=len(drivers))
    while (question := await line.next()) is not None:
        if "settle" in question:
            program.settle()
            line.say(linked=receipts.linked)
        elif "linked" in question:
            line.say(linked=receipts.linked)
        elif "returned" in question:
            line.say(ups=receipts.ups)
            receipts.ups = []
        else:
            line.say(**receipts.told(question["report"]), traffic=_sum(drivers))
    for driven in drivers:
        await driven.close("the bench is over")


def _sum(drivers: list[driver.Driver]) -> dict[str, int]:
    parts = [ground.traffic(one.traffic) for one in drivers]
    return {key: sum(part[key] for part in parts) for key in parts[0]} if parts else {}


if __name__ == "__main__":
    program.run(work)
