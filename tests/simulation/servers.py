"""A server: its disk, its ServerShell, and the worker nodes that outlive a ServerShell that crashes."""

from collections.abc import Callable

from coordinator import effects, limits, names
from coordinator.config import topology
from coordinator.hop import ledger
from coordinator.propagation import asks, messages, mirror, subscriber
from coordinator.propagation import events as hop
from nodeagent.basedrole import events as roles
from nodeagent.basedrole import follower
from nodeagent.servershell import core, events
from nodeagent.supervision import machine
from tests.simulation import copies, disk, nodes, office, process
from tests.simulation import roles as hosting

BOOTS_PER_START = 1 << 20

Services = Callable[["Server", nodes.NodeProcess, roles.WantedRole], hosting.Service | None]


class ShellProcess(process.Process):
    """ServerShell, joined to its server as `nodeagent.servershell.shell` does it."""

    machine: core.Shell

    def __init__(
        self, ground: process.Ground, server: "Server", made: core.Shell, book: ledger.Ledger
    ) -> None:
        super().__init__(ground, server.name, server.id, made, book)
        self._server = server
        self._ledger = book
        self._listens = ""

    def handle(self, event: hop.Input) -> tuple[object, ...]:
        outputs = self.machine.handle(event, self.now)
        if isinstance(event, hop.Stored):
            self.ground.checks.accepted(f"shell {self._server.name}", self._ledger.load().accepted)
            self.listen()
        return outputs

    def _do(self, output: object) -> None:
        """What it says of itself is judged the moment it is said."""
        match output:
            case hop.Send(frame=messages.Ack(state)):
                self.ground.checks.says(self._server.id, state)
            case hop.Send(frame=messages.Hello(ack=ack)) if ack is not None:
                self.ground.checks.says(self._server.id, ack)
            case _:
                pass
        super()._do(output)

    def listen(self) -> None:
        """At the address that the accepted document gives this server."""
        own, expanded = self.machine.admission, self.machine.expanded
        placed = (
            topology.place(expanded.document, own.name) if own is not None and expanded is not None else None
        )
        address = "" if placed is None else placed.control_address
        if address == self._listens:
            return
        self._listens = address
        self.ground.network.deaf(self)
        self.ground.network.listen(self._server.socket, 0, self)
        if address:
            self.ground.network.listen(address, limits.PORT_SHELL, self)

    def perform(self, output: object) -> None:
        match output:
            case events.SpawnNode(name, given_up, trust):
                self._server.spawn(name, given_up, trust)
            case events.SignalNode(name, target, signal):
                self._server.signal(name, target, signal)
            case events.NodeGone(name):
                self._server.memory.pop(name, None)
            case events.RaiseBoot(known):
                self._raise_boot(known + 1)
            case events.AllStopped() | asks.Asked() | asks.Answered():
                pass
            case _:
                super().perform(output)

    def _raise_boot(self, least: int) -> None:
        try:
            boot = self._ledger.raise_boot(least)
        except disk.PowerCutError:
            self.ground.power_cut(self.host)
            return
        self.act(self.machine.booted(boot))


class Server:
    """See the module."""

    def __init__(
        self,
        ground: process.Ground,
        admission: mirror.SignedAdmission,
        address: str,
        trust: bytes,
        services: Services,
    ) -> None:
        self.name = admission.content.name
        self.id = admission.content.server_id
        self.address = address
        self.socket = f"unix {self.name}"
        self.up = True
        self.disk = disk.MemoryDisk()
        self.states: dict[names.RoleName, disk.MemoryDisk] = {}
        self.memory: dict[names.NodeName, dict[names.RoleName, roles.WantedRole]] = {}
        self.nodes: dict[int, nodes.NodeProcess] = {}
        self.shell: ShellProcess | None = None
        self.spawns_fail = 0
        self._ground = ground
        self._admission = admission
        self._trust = trust
        self._joined = admission.content.parents
        self._services = services
        self._pids = 0
        self._spawned = 0

    # --- ServerShell ----------------------------------------------------------------------------------------------

    def start(self, seed: mirror.Content | None = None, body: bytes = b"") -> None:
        """ServerShell comes up, finds its disk, and adopts what runs; `seed` is what `init` leaves on the first server."""
        if not self.up or (self.shell is not None and self.shell.alive):
            return
        try:
            self._start(ledger.Ledger(self.disk), seed, body)
        except disk.PowerCutError:
            self._ground.power_cut(self.name)

    def _start(self, book: ledger.Ledger, seed: mirror.Content | None, body: bytes) -> None:
        if not book.load().objects:
            book.store({mirror.ledger_key(self._admission): self._admission.raw})
        if seed is not None and not book.load().bodies:
            book.store(mirror.to_ledger(seed), (seed.digest, body))
        self._boot(book)

    def _boot(self, book: ledger.Ledger) -> None:
        content, shelf, floor = copies.load(self._trust, book)
        self._ground.checks.accepted(f"shell {self.name}", content.version)
        me = subscriber.Me(office.CLUSTER, messages.ChildKind.SHELL, "", self.id)
        boot = book.next_boot()
        joined = tuple(hop.Parent(p.server, p.address, p.port) for p in self._joined)
        made = core.Shell(me, content, shelf, boot, joined, floor)
        self.shell = ShellProcess(self._ground, self, made, book)
        self._spawned = boot * BOOTS_PER_START
        self._ground.network.listen(self.socket, 0, self.shell)
        for pid, node in self.nodes.items():
            self.shell.call(_NodeInput(events.NodeAdopted(node.spec.identity.node, self._process(pid)), made))
        self.shell.feed(hop.Tick())
        self.shell.call(_NodeInput(events.Begin(), made))
        self.shell.listen()

    def _tell(self, event: events.NodeInput) -> None:
        shell = self.shell
        if shell is not None:
            shell.call(_NodeInput(event, shell.machine))

    # --- nodes ----------------------------------------------------------------------------------------------------

    def _process(self, pid: int) -> effects.ProcessId:
        return effects.ProcessId(pid, pid, self.name)

    def spawn(self, name: names.NodeName, given_up: str, trust: bytes) -> None:
        """Start a worker node; it needs a moment to come up."""
        assert self.shell is not None
        if self.spawns_fail > 0:
            self.spawns_fail -= 1
            self._tell(events.NodeNotStarted(name, "no more processes"))
            return
        self._pids += 1
        self._spawned += 1
        identity = follower.NodeIdentity(
            office.CLUSTER, self.name, name, self._spawned, trust or self._trust, self.socket
        )
        spec = nodes.Spec(identity, self.shell.machine.content.version, given_up, self._pids)
        memory = self.memory.setdefault(name, {})
        node = nodes.NodeProcess(
            self._ground, spec, memory, lambda one, wanted: self._services(self, one, wanted), self._ended
        )
        self.nodes[self._pids] = node
        self._ground.engine.after(self._ground.engine.rng.uniform(0.05, 0.5), node.begin)
        self._tell(events.NodeStarted(name, self._process(self._pids)))

    def signal(self, name: names.NodeName, target: effects.ProcessId, signal: int) -> None:
        node = self.nodes.get(target.pid)
        if node is None or target.boot_id != self.name:
            return
        if signal == machine.SIGTERM:
            self._ground.checks.expect(not self._wants(name), "I8", f"{name} is stopped, and is wanted")
            node.terminate()
        else:
            self._ended(node, -signal)

    def _wants(self, name: names.NodeName) -> bool:
        assert self.shell is not None
        expanded = self.shell.machine.expanded
        if expanded is None or topology.place(expanded.document, self.name) is None:
            return False
        return any(one.name == name for one in topology.nodes(expanded, self.name))

    def _ended(self, node: nodes.NodeProcess, status: int) -> None:
        """A node's process is gone; ServerShell, if there is one, hears of it in a moment."""
        pid = node.spec.pid
        if self.nodes.pop(pid, None) is None:
            return
        node.die()
        ended = events.NodeExited(node.spec.identity.node, effects.Exit(self._process(pid), status))
        self._ground.engine.after(self._ground.engine.rng.uniform(0.0, 0.05), lambda: self._tell(ended))

    # --- faults ---------------------------------------------------------------------------------------------------

    def kill_node(self, pid: int) -> None:
        node = self.nodes.get(pid)
        if node is not None:
            self._ended(node, -9)

    def crash_shell(self, back_after_s: float) -> None:
        if self.shell is not None:
            self.shell.die()
            self._ground.engine.after(back_after_s, self.start)

    def power_off(self) -> None:
        """Everything at once; the disk stays."""
        self.up = False
        for one in (self.disk, *self.states.values()):
            one.cut_in = None
        if self.shell is not None:
            self.shell.die(silently=True)
        for node in list(self.nodes.values()):
            node.die(silently=True)
        self.nodes.clear()

    def power_on(self) -> None:
        self.up = True
        self.start()

    def lose_disk(self) -> None:
        """Only what is stored; the identity is kept apart."""
        self.disk.files.clear()
        self._ground.checks.disk_lost(f"shell {self.name}")


class _NodeInput:
    """An input of nodes for a ServerShell's machine, callable as the process wants it."""

    def __init__(self, event: events.NodeInput, made: core.Shell) -> None:
        self._event = event
        self._made = made

    def __call__(self, now: float) -> tuple[object, ...]:
        return self._made.handle(self._event, now)
