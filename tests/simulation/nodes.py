"""A worker node as a process: the follower and the machine of its roles, joined as `nodeagent.main.node` joins them."""

from collections.abc import Callable, Iterable

import msgspec

from coordinator import names, role
from coordinator.propagation import events as hop
from nodeagent.basedrole import events, follower, lifecycle
from tests.simulation import process, roles

NO_VIEW = role.View(names.NO_VERSION, names.Digest(""), b"")


class Spec(msgspec.Struct, frozen=True):
    """What ServerShell starts a node with."""

    identity: follower.NodeIdentity
    version: names.Version
    given_up: str
    pid: int


class NodeProcess(process.Process):
    """See the module."""

    machine: follower.Follower

    def __init__(
        self,
        ground: process.Ground,
        spec: Spec,
        memory: dict[names.RoleName, events.WantedRole],
        services: Callable[["NodeProcess", events.WantedRole], roles.Service | None],
        ended: Callable[["NodeProcess", int], None],
    ) -> None:
        """`memory` is the node's directory, which outlives it."""
        made = follower.Follower(spec.identity)
        super().__init__(ground, spec.identity.server, names.ServerId(f"process {spec.pid}"), made, None)
        self.spec = spec
        self.server = spec.identity.server
        self.view = NO_VIEW
        self.hosted: dict[names.RoleName, roles.Hosted] = {}
        self._roles = lifecycle.Machine()
        self._memory = memory
        self._services = services
        self._ended = ended

    def begin(self) -> None:
        """The process has come up."""
        recalled = events.Recalled(tuple(self._memory[name] for name in sorted(self._memory)))
        self.call(lambda now: self._roles.handle(recalled, now))
        self.call(self.machine.begin)

    @property
    def deadline(self) -> float:
        own = self._roles.deadline
        return self.machine.deadline if own is None else min(own, self.machine.deadline)

    def handle(self, event: hop.Input) -> Iterable[object]:
        if isinstance(event, hop.Tick):
            return (*self.machine.handle(event, self.now), *self._roles.handle(events.Tick(), self.now))
        return self.machine.handle(event, self.now)

    def perform(self, output: object) -> None:
        match output:
            case follower.Configure(view, wanted):
                self._configure(view, wanted)
            case follower.Retry():
                self.act(self._roles.handle(events.Retry(), self.now))
            case events.Acked(ack):
                self.act(self.machine.tell(ack, self.now))
            case events.Start() | events.Apply() | events.Stop() | events.Tell():
                if output.name not in self.hosted:
                    self.hosted[output.name] = roles.Hosted(self.ground, self, output.name)
                self.hosted[output.name].perform(output)
            case events.Remember(name, good):
                self._memory[name] = good
            case events.AllStopped():
                self._ended(self, 0)
            case _:
                super().perform(output)

    def _configure(self, view: role.View, wanted: tuple[events.WantedRole, ...]) -> None:
        self.ground.checks.configured(f"{self.spec.identity.node}", view.version, view.digest)
        self.ground.checks.accepted(f"node {self.spec.pid} of {self.server}", view.version)
        self.view = view
        fallen = self.spec.given_up and view.version == self.spec.version
        given_up = events.GivenUp("node_crash", self.spec.given_up) if fallen else None
        self.act(self._roles.handle(events.Configured(view, wanted, given_up), self.now))

    # --- for its roles --------------------------------------------------------------------------------------------

    def answer(self, event: events.RoleInput) -> None:
        self.call(lambda now: self._roles.handle(event, now))

    def crash(self, status: int) -> None:
        if self.alive:
            self._ended(self, status)

    def service(self, wanted: events.WantedRole) -> roles.Service | None:
        return self._services(self, wanted)

    # --- for its server -------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """SIGTERM."""
        self.call(lambda now: self._roles.handle(events.StopAll(), now))

    def die(self, *, silently: bool = False) -> None:
        if not self.alive:
            return
        super().die(silently=silently)
        for hosted in self.hosted.values():
            hosted.die(silently=silently)
