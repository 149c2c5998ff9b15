"""A system that stands: its processes by what they are, and one revision measured on it. The same for every system.

Law: what is reported was counted: a revision counts only if the publisher has every ack and every client has the bytes
of the right digest; else the run ends with an error and without a figure.
"""

import asyncio
import itertools
import pathlib
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from bench.propagation import programs, workload

T = TypeVar("T")
PUBLISHER = "publisher"
AGENTS = "agents"


class Order(msgspec.Struct, frozen=True):
    """What is to stand."""

    sites: int
    agents: int
    tls: bool
    mode: str
    processes: int
    """That the agents are packed into."""
    directory: pathlib.Path
    """Of this stand alone, empty."""
    loop: str = ""
    """Of every program of ours; empty: the best there is."""

    def shares(self) -> Sequence[tuple[int, int]]:
        """First and last agent (not included) of each process."""
        cuts = [self.agents * n // self.processes for n in range(self.processes + 1)]
        return [(first, last) for first, last in itertools.pairwise(cuts) if last > first]


class System(Protocol):
    """One that can be measured."""

    @property
    def name(self) -> str: ...

    @property
    def flat(self) -> bool:
        """Whether one process holds the links of all agents."""
        ...

    @property
    def lacks(self) -> str:
        """What it does not do of what ours does."""
        ...

    def missing(self) -> str:
        """Why it cannot stand here; empty if it can."""
        ...

    async def start(self, order: Order, stand: "Stand") -> None:
        """Start its programs, each added to `stand` at once. Raises `FailedError`."""
        ...


class Process(msgspec.Struct, frozen=True):
    """What one process used for one revision."""

    role: str
    name: str
    cpu_s: float
    rss_bytes: int


class Flow(msgspec.Struct, frozen=True):
    """What went over a hop for one revision, heartbeats of that time included."""

    messages_down: int
    bytes_down: int
    messages_up: int
    bytes_up: int


class Measured(msgspec.Struct, frozen=True):
    """One revision."""

    acks: int
    publish_ms: float
    payload_ms: float
    convergence_ms: float
    processes: tuple[Process, ...]
    hops: Mapping[str, Flow]
    commits: int | None = None
    """Of the publisher's store, until it has remembered how this revision ended."""
    after_cpu_s: float | None = None
    """Of the publisher meanwhile, from the last ack on: `processes` tells of the time before."""


class Stand:
    """See the module."""

    def __init__(self) -> None:
        self.programs: dict[str, list[programs.Program]] = {}
        self.servers: list[programs.Program] = []
        """Those that do not read their stdin."""
        self.hops: dict[str, tuple[str, str]] = {}
        """By name: whose counters tell of it, and which of `in` and `out` is downwards there."""
        self.loop = ""
        self.prepares = False
        """The publisher reads and understands a document beforehand: neither its clock nor its CPU counts that."""

    def add(self, role: str, made: programs.Program) -> programs.Program:
        self.programs.setdefault(role, []).append(made)
        return made

    @property
    def publisher(self) -> programs.Program:
        return self.programs[PUBLISHER][0]

    async def settle(self) -> None:
        """Before anything is measured."""
        for agents in self.programs[AGENTS]:
            await agents.ask({"settle": True})

    async def measure(self, one: workload.Published, agents: int) -> Measured:
        """Publish it and wait for all acks. Raises `FailedError` where anything is missing."""
        if self.prepares:
            await self.publisher.ask({"prepare": str(one.path)})
        commits = await self._rested()
        flows, weights = await self._traffic(), self._weights()
        answer = await self.served(self.publisher.ask({"publish": str(one.path)}))
        used, at_end = self._used(weights), self.publisher.weight().cpu_s
        reports = [await each.ask({"report": one.digest}) for each in self.programs[AGENTS]]
        received = sum(report["received"] for report in reports)
        if answer["acks"] != agents or received != agents:
            raise programs.FailedError(
                f"a revision did not reach everyone (got {answer['acks']} acks and {received} bodies, have {agents})"
            )
        last = max(report["last"] for report in reports)
        moved = self._flows(flows, await self._traffic())
        after = await self._rested()
        return Measured(
            acks=answer["acks"],
            publish_ms=round(answer["publish_ms"], 3),
            payload_ms=round((last - answer["began"]) * 1000, 3),
            convergence_ms=round(answer["convergence_ms"], 3),
            processes=used,
            hops=moved,
            commits=None if commits is None or after is None else after - commits,
            after_cpu_s=None if after is None else round(self.publisher.weight().cpu_s - at_end, 6),
        )

    async def _rested(self) -> int | None:
        """Commits of the publisher so far, where it has a store and says so."""
        if not self.prepares:
            return None
        return int((await self.publisher.ask({"rested": True}))["commits"])

    async def served(self, act: Coroutine[Any, Any, T]) -> T:
        """What it answers. Raises `FailedError` at once where a server has ended, whose port another may have had."""
        work = asyncio.ensure_future(act)
        ends = [asyncio.ensure_future(one.ended()) for one in self.servers]
        try:
            await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
            for server, end in zip(self.servers, ends, strict=True):
                if end.done():
                    raise programs.FailedError(f"{server.name} has ended", hint=server.tail())
            return await work
        finally:
            for one in (work, *ends):
                one.cancel()
            await asyncio.gather(work, *ends, return_exceptions=True)

    async def watched(self, seconds: float) -> tuple[Sequence[Process], Mapping[str, Flow]]:
        """What everything uses while nothing is published."""
        flows, weights = await self._traffic(), self._weights()
        await asyncio.sleep(seconds)
        return self._used(weights), self._flows(flows, await self._traffic())

    async def linked(self) -> int:
        """Agents that have a link to their parent now."""
        answers = [await one.ask({"linked": True}) for one in self.programs[AGENTS]]
        return sum(answer["linked"] for answer in answers)

    async def returned(self) -> Sequence[float]:
        """When each agent that was linked since the last question was so."""
        answers = [await one.ask({"returned": True}) for one in self.programs[AGENTS]]
        return [up for answer in answers for up in answer["ups"]]

    async def end(self) -> None:
        """All of it, clients first."""
        order = (AGENTS, *(role for role in self.programs if role != AGENTS))
        for one in self.servers:
            one.stop()
        for role in order:
            await asyncio.gather(*(one.end() for one in self.programs.get(role, [])))

    def _weights(self) -> list[tuple[str, programs.Program, programs.Weight]]:
        return [(role, one, one.weight()) for role, some in self.programs.items() for one in some]

    def _used(self, before: list[tuple[str, programs.Program, programs.Weight]]) -> tuple[Process, ...]:
        now = [one.weight() for _, one, _ in before]
        return tuple(
            Process(role, one.name, round(after.cpu_s - was.cpu_s, 6), after.rss_bytes)
            for (role, one, was), after in zip(before, now, strict=True)
        )

    async def _traffic(self) -> Mapping[str, Sequence[Mapping[str, int]]]:
        found: dict[str, list[Mapping[str, int]]] = {}
        for role in dict.fromkeys(role for role, _ in self.hops.values()):
            answers: list[dict[str, Any]] = [await one.ask({"report": ""}) for one in self.programs[role]]
            found[role] = [answer["traffic"] for answer in answers]
        return found

    def _flows(
        self,
        before: Mapping[str, Sequence[Mapping[str, int]]],
        after: Mapping[str, Sequence[Mapping[str, int]]],
    ) -> Mapping[str, Flow]:
        flows = {}
        for hop, (role, down) in self.hops.items():
            up = "out" if down == "in" else "in"
            keys = (f"messages_{down}", f"bytes_{down}", f"messages_{up}", f"bytes_{up}")
            values = [_sum(after[role], key) - _sum(before[role], key) for key in keys]
            flows[hop] = Flow(*values)
        return flows


def _sum(parts: Sequence[Mapping[str, int]], key: str) -> int:
    return sum(part[key] for part in parts)
