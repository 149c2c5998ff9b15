"""Whatever a peer says within the form of the protocol, no machine of the tree fails over it, grows without bound, or says
what could not be sent. A machine that raises ends its tier, so one server could end its parents.
"""

import random
from collections.abc import Callable

import pytest

from coordinator import limits, names
from coordinator.propagation import asks, events, messages, objects, relay, wire
from nodeagent.servershell import core
from nodeagent.servershell import events as shell_events
from tests.security import cluster, frames

STEPS = 1500
KINDS = cluster.KINDS


@pytest.fixture(scope="module")
def made() -> cluster.Cluster:
    return cluster.Cluster()


class Attack:
    """Children of every kind, a parent, and strangers, all of them speaking at random."""

    def __init__(self, made: cluster.Cluster, machine: cluster.Machine, seed: int) -> None:
        self.made = made
        self.machine = machine
        self.rng = random.Random(seed)
        self.writer = frames.Writer(made, self.rng)
        self.now = 10.0
        self.links = 0
        self.largest = 0
        self.dials: list[int] = []
        self.raised: list[int] = []

    def perform(self, outputs: tuple[object, ...]) -> None:
        for output in outputs:
            match output:
                case events.Send(_, frame):
                    self.largest = max(self.largest, len(wire.encode(frame)))
                case events.Store(ticket):
                    self.perform(self.machine.handle(events.Stored(ticket), self.now))
                case events.Dial(dial):
                    self.dials.append(dial)
                case shell_events.RaiseBoot(known):
                    self.raised.append(known)
                    assert isinstance(self.machine, core.Shell)
                    self.perform(self.machine.booted(known + 1))
                case asks.Asked(link, number):
                    self.perform(self.machine.answer(link, number, "not_allowed", b"", self.now))
                case _:
                    pass

    def feed(self, event: events.Input) -> None:
        self.perform(self.machine.handle(event, self.now))

    def come(self) -> None:
        rng = self.rng
        self.links += 1
        link = names.LinkId(self.links)
        kind, name, server = rng.choice(
            [
                (KINDS.SHELL, "", "n1"),
                (KINDS.SHELL, "", "n2"),
                (KINDS.SHELL, "", "p1"),
                (KINDS.IC, "icn1", "n1"),
                (KINDS.WS, "ws2", "n1"),
            ]
        )
        peer = cluster.sid(server)
        if isinstance(self.machine, core.Shell) and rng.random() < 0.5:
            peer, kind, name = (
                names.ServerId("process 7"),
                rng.choice([KINDS.NODE, KINDS.LOCAL]),
                cluster.NODE,
            )
        self.feed(events.Arrived(link, peer, cluster.proof(peer)))
        honest = self.made.hello(kind, name, server, ack=rng.choice([None, self.writer.ack()]))
        self.feed(events.Heard(link, rng.choice([honest, honest, self.writer.frame()])))

    def step(self) -> None:
        rng, act = self.rng, self.rng.random()
        self.now += rng.choice([0.0, 0.0, 0.001, 0.3])
        if act < 0.08 or not self.links:
            self.come()
        elif act < 0.12:
            self.feed(events.Gone(names.LinkId(rng.randint(1, self.links)), "gone"))
        elif act < 0.16:
            self.feed(events.Tick())
        elif act < 0.2 and self.dials:
            self.links += 1
            self.feed(
                events.Opened(
                    self.dials.pop(), names.LinkId(self.links), cluster.sid("c1"), cluster.proof("c1")
                )
            )
            raw = self.made.admissions[cluster.sid("c1")].raw
            boot = rng.choice(frames.INTEGERS)
            welcome = messages.Welcome(1, cluster.CLUSTER, boot, objects.Numbers(), raw)
            self.feed(events.Heard(names.LinkId(self.links), welcome))
        else:
            link = names.LinkId(rng.randint(max(1, self.links - 12), self.links))
            frame = wire.decode(wire.encode(self.writer.frame())[wire.HEADER_BYTES :])
            self.feed(events.Heard(link, frame))


@pytest.mark.parametrize("kind", ["mic", "ic", "shell"])
@pytest.mark.parametrize("number", range(3))
def test_no_frame_ends_a_tier(made: cluster.Cluster, kind: str, number: int, seed: int) -> None:
    makers: dict[str, Callable[[], cluster.Machine]] = {"mic": made.mic, "ic": made.ic, "shell": made.shell}
    machine = makers[kind]()
    attack = Attack(made, machine, seed + number)
    if not isinstance(machine, core.Shell) and isinstance(machine, relay.Relay):
        cluster.linked_upwards(machine, made)
    for _ in range(STEPS):
        attack.step()
        assert isinstance(machine.deadline, float)
    assert attack.largest <= limits.FRAME_BYTES
    assert all(known < limits.BOOTS for known in attack.raised)
    known = set(made.admissions)
    sides = [machine.peers, machine.below] if isinstance(machine, core.Shell) else [machine.publisher]
    for side in sides:
        assert set(side._epochs) <= known
        assert all(epoch.boot <= limits.BOOTS for epoch in side._epochs.values())
    if not isinstance(machine, core.Shell | relay.Relay):
        assert set(machine.convergence.facts) <= known
    else:
        assert machine.content.digest == made.digest, "nothing but what MIC signed, and whole"
