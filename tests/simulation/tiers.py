"""IC and MIC as the world runs them: each inside the worker node that holds its role, and gone with it."""

from collections.abc import Callable

import msgspec

from coordinator import limits, names, role
from coordinator.config import expansion, model, topology
from coordinator.hop import ledger
from coordinator.propagation import asks, events, holding, master, messages, relay, subscriber
from nodeagent.basedrole import events as roles
from tests.simulation import copies, disk, nodes, office, process

LOOK_S = 1.0  # how often MIC's picture is judged and what it has seen is committed


class RelayProcess(process.Process):
    """An IC. Its address and its node are those of its role."""

    machine: relay.Relay

    def __init__(
        self,
        ground: process.Ground,
        node: nodes.NodeProcess,
        wanted: roles.WantedRole,
        server: names.ServerId,
        state: disk.MemoryDisk,
    ) -> None:
        self.name = wanted.name
        self.tier = f"{wanted.name} on {wanted.server}"
        self._node = node
        self._done: Callable[[], None] | None = None
        book = ledger.Ledger(state)
        content, shelf, _ = copies.load(node.spec.identity.trust, book)
        ground.checks.accepted(self.tier, content.version)
        me = subscriber.Me(office.CLUSTER, messages.ChildKind.IC, wanted.name, server)
        made = relay.Relay(me, content, shelf, lambda _body: None)
        super().__init__(ground, wanted.server, server, made, book)
        port = wanted.params.get("port", limits.PORT_IC)
        assert isinstance(port, int)
        ground.network.listen(wanted.address, port, self)
        self.feed(events.Tick())

    def configured(self, view: role.View) -> None:
        """Where MIC is."""
        expanded = expansion.expand(model.decode(view.body))
        listed = topology.coordinator_parents(expanded)
        parents = tuple(events.Parent(p.server, p.address, p.port) for p in listed)
        self.call(lambda now: self.machine.follow(parents, now))

    def stop(self, done: Callable[[], None]) -> None:
        """Drain first."""
        self._done = done
        self.call(self.machine.drain)

    def perform(self, output: object) -> None:
        match output:
            case events.Accepted(version):
                self.ground.checks.accepted(self.tier, version)
            case relay.Drained():
                self.die()
                if self._done is not None:
                    self._done()
            case asks.Asked(link, number):
                self.call(lambda now: self.machine.answer(link, number, "not_allowed", b"", now))
            case _:
                super().perform(output)


class MasterProcess(process.Process):
    """MIC in office."""

    machine: master.Master

    def __init__(
        self, ground: process.Ground, node: nodes.NodeProcess, wanted: roles.WantedRole, seat: office.Office
    ) -> None:
        self.office = seat
        self._done: Callable[[], None] | None = None
        self._numbers = 0
        self.asked: dict[int, float] = {}
        """Requests without an answer, and when they were made."""
        self.relays: dict[int, str] = {}
        """Of those, the ones to ICs, by role."""
        self.said: dict[str, str] = {}
        """What ICs answered about what is prepared."""
        server = names.ServerId(f"id-{wanted.server}")
        seat.take_office()
        served = seat.served()
        made = master.Master(office.CLUSTER, server, served, seat.shelf)
        super().__init__(ground, wanted.server, server, made, None)
        ground.network.listen(wanted.address, limits.PORT_MIC, self)
        self.call(lambda now: made.serve(served, now))
        made.convergence.seen(seat.seen, self.now, office.ISSUED_AT + self.now)
        self._breathe()
        self._look()

    def configured(self, view: role.View) -> None:
        """It knows better than its own server."""

    def serve(self) -> None:
        """The office has issued something."""
        self.call(lambda now: self.machine.serve(self.office.served(), now))

    def ask(self, server: names.ServerId) -> None:
        self._numbers += 1
        number = self._numbers
        self.asked[number] = self.now
        self.call(lambda now: self.machine.ask(number, server, "status", b"", now))

    def check(self) -> None:
        """Ask every IC how far what is prepared has come there."""
        self.said = {}
        for one in self.machine.relays:
            self._numbers += 1
            self.asked[self._numbers], self.relays[self._numbers] = self.now, one.role
            number, link = self._numbers, one.link
            self.call(lambda now, n=number, to=link: self.machine.ask_relay(n, to, asks.CHECK, now))  # type: ignore[misc]

    def stop(self, done: Callable[[], None]) -> None:
        self._done = done
        self.call(self.machine.drain)

    def _breathe(self) -> None:
        """A sign of life, now and then."""
        if self.alive:
            raw = self.office.fresh()
            self.machine.freshen(raw)
            self.ground.engine.after(limits.FRESH_S, self._breathe)

    def _look(self) -> None:
        """Commit what was seen, as the tier does once a second."""
        if not self.alive:
            return
        wall = office.ISSUED_AT + self.now
        past = dict(self.office.seen)
        for server, facts in self.machine.convergence.facts.items():
            last = wall if facts.links or server not in past else past[server].last
            past[server] = self.machine.convergence.remember(server, facts.ack, last)
        self.office.seen = past
        self.ground.engine.after(LOOK_S, self._look)

    def perform(self, output: object) -> None:
        match output:
            case master.Released(server):
                if self.office.released(server):
                    self.serve()
            case master.NeedsRecovery(version, reason):
                self.ground.checks.expect(False, "recovery", f"{version}: {reason}")
            case master.Drained():
                self.die()
                if self._done is not None:
                    self._done()
            case asks.Answered(number, code, data):
                self.ground.checks.expect(number in self.asked, "asks", f"ask {number} answered twice")
                self.asked.pop(number)
                if number in self.relays:
                    self.said[self.relays.pop(number)] = code or _said(data)
            case asks.Asked(link, number):
                self.call(lambda now: self.machine.answer(link, number, "not_allowed", b"", now))
            case _:
                super().perform(output)


def _said(data: bytes) -> str:
    told = msgspec.json.decode(data, type=holding.Told)
    return " ".join([told.stage, *(f"({one.code}: {one.message})" for one in told.troubles)])
