"""The worker nodes of a server, all together: what the document wants of them against what runs, moved step by step. Pure.

It knows neither links nor documents; `core` tells it what is planned and passes on what it hears.
Law: a node is told to stop only where it is not planned or the server stops; nothing is started while what is not wanted
still runs.
"""

from collections.abc import Iterable

import msgspec

from coordinator import limits, names
from coordinator.config import topology
from nodeagent.servershell import events, node, reconcile
from nodeagent.supervision import machine

Output = events.SpawnNode | events.SignalNode | events.NodeGone | events.AllStopped


class Steered(msgspec.Struct, frozen=True):
    """What one step wants done; `settled`: nothing unwanted runs, what is wanted may have its configuration."""

    outputs: tuple[Output, ...]
    settled: bool


class Crew:
    """See the module."""

    def __init__(self) -> None:
        self.nodes: dict[names.NodeName, node.Node] = {}
        self.began = False
        self.trust = b""
        """The signed `trust` that a node begins with."""
        self._stopping = False
        self._resting = False
        self._looked = 0.0

    @property
    def deadlines(self) -> list[float]:
        """When nodes are due to be looked at."""
        return [one.deadline for one in self.nodes.values() if one.deadline is not None]

    def plan(self, planned: Iterable[topology.Node]) -> None:
        """What the accepted document wants of this server."""
        by_name = {one.name: one for one in planned}
        for name, known in self.nodes.items():
            if known.planned != by_name.get(name):
                known.configured()
            known.planned = by_name.get(name)
        for name, one in by_name.items():
            if name not in self.nodes:
                self.nodes[name] = node.Node(name)
                self.nodes[name].planned = one

    def heard(
        self,
        event: events.NodeAdopted | events.NodeStarted | events.NodeNotStarted | events.NodeExited,
        now: float,
    ) -> list[Output]:
        """What became of a node's process."""
        match event:
            case events.NodeAdopted(name, process):
                one = self.nodes.setdefault(name, node.Node(name))
                return self._supervise(name, one.process.handle(machine.Adopted(process), now))
            case events.NodeStarted(name, process):
                return self._told(name, machine.Started(process), now)
            case events.NodeNotStarted(name, detail):
                return self._told(name, machine.SpawnFailed(detail), now)
            case events.NodeExited(name, ended):
                return self._told(name, machine.Exited(ended), now)

    def stop(self) -> None:
        """Every node, and then the ServerShell."""
        self._stopping = True

    def rest(self, *, on: bool) -> None:
        """Every node stops and stays stopped, and the ServerShell goes on, until it is taken back."""
        self._resting = on

    def look(self, now: float) -> list[Output]:
        """At every node; whoever was not heard while this process itself stood still is not to blame."""
        past, self._looked = now - self._looked, now
        outputs: list[Output] = []
        for name, one in list(self.nodes.items()):
            for event in one.look(now, past if past > limits.SILENT_S else 0.0):
                outputs += self._supervise(name, one.process.handle(event, now))
        return outputs

    def _told(self, name: names.NodeName, event: machine.Input, now: float) -> list[Output]:
        one = self.nodes.get(name)
        return [] if one is None else self._supervise(name, one.process.handle(event, now))

    def _supervise(self, name: names.NodeName, made: tuple[machine.Output, ...]) -> list[Output]:
        one = self.nodes[name]
        outputs: list[Output] = []
        for act in one.heard(made):
            match act:
                case machine.Spawn():
                    outputs.append(events.SpawnNode(name, one.given_up, self.trust))
                case machine.Signal(process, signal, group):
                    outputs.append(events.SignalNode(name, process, signal, group))
                case _:
                    pass
        return outputs

    def steer(self, now: float) -> Steered:
        """Move what is observed towards what is wanted, one step."""
        if not self.began:
            return Steered((), settled=False)
        idle = self._stopping or self._resting
        wanted = frozenset(n for n, one in self.nodes.items() if one.planned is not None and not idle)
        actions = reconcile.reconcile(wanted, {n: one.process.state for n, one in self.nodes.items()})
        outputs: list[Output] = []
        for name in actions.stop:
            stop = machine.Want(machine.Wanted.STOPPED)
            outputs += self._supervise(name, self.nodes[name].process.handle(stop, now))
        for name in actions.start:
            run = machine.Want(machine.Wanted.RUNNING)
            outputs += self._supervise(name, self.nodes[name].process.handle(run, now))
        for name in sorted(self.nodes):
            if self.nodes[name].renewed:
                self.nodes[name].renewed = False
                outputs += self._supervise(name, self.nodes[name].process.handle(machine.Renewed(), now))
        if not actions.settled:
            return Steered(tuple(outputs), settled=False)
        return self._settled(outputs, wanted)

    def _settled(self, outputs: list[Output], wanted: frozenset[names.NodeName]) -> Steered:
        """Nothing unwanted runs."""
        if self._stopping:
            self._stopping = False
            self.began = False
            return Steered((*outputs, events.AllStopped()), settled=False)
        gone = [name for name in self.nodes if name not in wanted and not self._resting]
        for name in gone:
            del self.nodes[name]
        return Steered((*outputs, *(events.NodeGone(name) for name in gone)), settled=True)
