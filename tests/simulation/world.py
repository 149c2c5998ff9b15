"""The whole tree in one process: the production machines of all four hops under virtual time.

The world composes and observes; what goes wrong is decided by `faults` or by a story.
"""

import collections

import msgspec

from coordinator import limits, names
from coordinator.config import kinds, model
from coordinator.propagation import convergence, messages, objects
from nodeagent.basedrole import events as role_events
from tests.simulation import (
    checkers,
    disk,
    documents,
    engine,
    network,
    nodes,
    office,
    process,
    roles,
    servers,
    tiers,
)

LOOK_S = 0.5
QUIET = frozenset({"Heartbeat"})


class Figures(msgspec.Struct):
    """What a run took."""

    seconds: float = 0.0
    frames: int = 0
    frame_bytes: int = 0
    events: int = 0
    applies: int = 0
    faults: int = 0
    converged_in_s: float = 0.0


class World:
    """See the module."""

    def __init__(self, seed: int, design: documents.Design, weather: network.Weather | None = None) -> None:
        self.engine = engine.Engine(seed)
        self.checks = checkers.Checks()
        self.network = network.Network(self.engine)
        self.ground = process.Ground(self.engine, self.network, self.checks)
        self.ground.power_cut = self._power_cut
        self.network.watch = self._watched
        if weather is not None:
            self.network.weather = weather
        self.design = design
        self.applies = 0
        self.faults = 0
        self._frames: collections.Counter[str] = collections.Counter()
        mic = objects.ParentAddress(
            names.ServerName(documents.MASTER), documents.MIC_ADDRESS, limits.PORT_MIC
        )
        self.office = office.Office(self.checks, mic)
        self.servers: dict[str, servers.Server] = {}
        self.master: tiers.MasterProcess | None = None
        self.relays: dict[str, tiers.RelayProcess] = {}
        self._found()

    def _found(self) -> None:
        """`server init` on the first server; the others are enrolled."""
        self.enroll(documents.MASTER)
        first = documents.Design({documents.MASTER_SITE: [documents.MASTER]}, {}, {}).document()
        self.office.issue(first)
        seed = self.office.content
        own = {self.servers[documents.MASTER].id: seed.admissions[self.servers[documents.MASTER].id]}
        self.servers[documents.MASTER].start(
            msgspec.structs.replace(seed, admissions=own), model.canonical(first)
        )
        self.engine.after(LOOK_S, self._look)

    def enroll(self, name: str) -> None:
        """A server with an identity; it is parked until a document names it."""
        admission = self.office.enroll(names.ServerName(name))
        made = servers.Server(
            self.ground, admission, documents.address(name), self.office.content.trust.raw, self._service
        )
        self.servers[name] = made
        self.serve()

    def _service(
        self, server: servers.Server, node: nodes.NodeProcess, wanted: role_events.WantedRole
    ) -> roles.Service | None:
        if wanted.type == kinds.MIC:
            self.master = tiers.MasterProcess(self.ground, node, wanted, self.office)
            return self.master
        if wanted.type == kinds.IC:
            state = server.states.setdefault(wanted.name, disk.MemoryDisk())
            made = tiers.RelayProcess(self.ground, node, wanted, server.id, state)
            self.relays[wanted.name] = made
            made.configured(node.view)
            return made
        return None

    # --- acts -----------------------------------------------------------------------------------------------------

    @property
    def mic(self) -> tiers.MasterProcess | None:
        """The one in office, if there is one now."""
        return self.master if self.master is not None and self.master.alive else None

    def serve(self) -> None:
        """What the office has issued goes out, if MIC is there; else it goes out when MIC takes office."""
        if self.mic is not None:
            self.mic.serve()

    def apply(self) -> names.Version | None:
        """The design as it stands becomes a revision; None without MIC."""
        if self.mic is None:
            return None
        version = self.office.issue(self.design.document())
        self.applies += 1
        self.serve()
        return version

    def prepare(self) -> names.Version | None:
        """The design as it stands is shipped and not to run yet; None without MIC."""
        if self.mic is None:
            return None
        version = self.office.prepare(self.design.document())
        self.applies += 1
        self.serve()
        return version

    def activate(self) -> names.Version | None:
        """What was prepared becomes active; None without MIC."""
        if self.mic is None:
            return None
        version = self.office.activate()
        self.serve()
        return version

    def parked(self) -> list[str]:
        """Enrolled servers without a place."""
        return [name for name in self.servers if name not in self.design.everyone()]

    def run(self, duration_s: float) -> None:
        self.engine.run(self.engine.now + duration_s)

    def settle(self, within_s: float) -> float:
        """Seconds until everyone converged. Raises `ViolationError` if that takes longer."""
        began = self.engine.now
        done = self.engine.run(began + within_s, self.converged)
        self.checks.expect(
            done, "I6", f"not converged {within_s:.0f} s after the last fault: {self.complaints()}"
        )
        return self.engine.now - began

    def rest(self, duration_s: float) -> None:
        """With nothing left to do, nothing but signs of life crosses any hop, and every mirror is complete."""
        self.engine.run(self.engine.now + duration_s)
        self._frames.clear()
        self.engine.run(self.engine.now + duration_s)
        busy = {kind: count for kind, count in self._frames.items() if kind not in QUIET}
        self.checks.expect(not busy, "quiet", f"in {duration_s:.0f} s of rest there were {busy}")
        theirs = {server: one.raw for server, one in self.office.content.admissions.items()}
        for relay in self.relays.values():
            if relay.alive:
                mine = {server: one.raw for server, one in relay.machine.content.admissions.items()}
                self.checks.expect(mine == theirs, "mirror", f"{relay.tier} has other admissions than MIC")

    # --- the picture ----------------------------------------------------------------------------------------------

    @property
    def picture(self) -> convergence.Convergence | None:
        return None if self.mic is None else self.mic.machine.convergence

    def converged(self) -> bool:
        """MIC says so, and it is so."""
        picture = self.picture
        if picture is None or picture.version != self.office.content.version:
            return False
        summary = picture.summary
        if summary.state is not convergence.RolloutState.CONVERGED:
            return False
        for server in self.design.everyone():
            name = names.ServerName(server)
            for role, how in self.checks.wanted(picture.digest, name).items():
                if self.checks.running.get((name, role)) != how:
                    return False
        return True

    def complaints(self) -> str:
        """Who has not converged, and why."""
        picture = self.picture
        if picture is None:
            return "no MIC"
        parts = [
            f"{asked.name} {picture.facts[server].sync} ({picture.reason(server)})"
            for server, asked in picture.asked.items()
            if picture.facts[server].sync is not convergence.Sync.CONVERGED
        ]
        return f"{self.office.content.version}, {picture.summary}: {', '.join(parts)}"

    def figures(self) -> Figures:
        return Figures(
            self.engine.now,
            self.network.frames,
            self.network.frame_bytes,
            self.engine.events,
            self.applies,
            self.faults,
        )

    # --- looking on -----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        picture = self.picture
        if picture is not None:
            self.checks.counts(picture)
            steady = self.engine.now >= self.ground.steady_from
            self.checks.believes(picture, self.engine.now, steady=steady)
        if self.mic is not None:
            late = [n for n, since in self.mic.asked.items() if self.engine.now - since > 45.0]
            self.checks.expect(not late, "asks", f"asks {late} have no end")
        for relay in self.relays.values():
            if relay.alive:
                for row in relay.machine.table.rows.values():
                    if row.ack is not None:
                        self.checks.holds(relay.tier, row.server, row.ack)
        self.engine.after(LOOK_S, self._look)

    def _watched(self, process_: network.Peer, frame: messages.AnyFrame) -> None:
        self._frames[type(frame).__name__] += 1
        if isinstance(frame, messages.Rollup):
            for row in frame.rows:
                if row.ack is not None:
                    self.checks.holds(f"a roll-up to {process_.host}", row.server, row.ack)

    def _power_cut(self, host: str) -> None:
        server = self.servers[host]
        server.power_off()
        self.engine.after(self.engine.rng.uniform(0.5, 10.0), server.power_on)
