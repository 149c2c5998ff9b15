"""MIC of a bench in a process of its own: the product's, over its own store, publishing documents made beforehand.

The clock starts with a valid document in memory (reading, judging and planning are other benches' questions), and stops
when the convergence machine has the last ack.
"""

import asyncio
import pathlib
import sys

import anyio
import msgspec

from bench.propagation import ground, program, roster
from coordinator import errors, names
from coordinator.config import expansion, model
from coordinator.hop import driver
from coordinator.host import catalogue, disk
from coordinator.propagation import events, master, mirror, objects
from coordinator.store import commands
from coordinator.store.backends.raft import store as raft
from coordinator.tiers import desk, entries, history, keys, mic, pieces, seats, standing, taking

CONVERGED_S = 60.0
RESTED_S = 10.0
LOOK_S = 0.005
_SEATS_AT_ONCE = 1000  # well inside a transaction
_CALLER = desk.Caller("bench", "127.0.0.1", "cfg.apply", "")


class Desk(desk.Desk):
    """MIC's desk; of whom it asks what says the roster."""

    def __init__(self, at: desk.Desk, told: roster.Roster) -> None:
        self._expanded, self._everyone = told.expanded(), dict(told.asked())
        super().__init__(at.means, at.store, at.office, at.past, "")
        self.mark = at.mark

    def served(self) -> master.Served:
        return master.Served(self.past.content, self._expanded, self.past.rollout, self._everyone)


class Watched:
    """MIC's machine; notes when the last ack came, after it was handled."""

    def __init__(self, machine: driver.Machine, at: desk.Desk) -> None:
        self._machine = machine
        self._at = at
        self.converged = asyncio.Event()
        self.converged_at = 0.0
        self._wanted = at.past.version

    @property
    def deadline(self) -> float:
        return self._machine.deadline

    def handle(self, event: events.Input, now: float) -> tuple[object, ...]:
        outputs = self._machine.handle(event, now)
        judged = self._at.master.convergence
        if judged.converged_at is not None and judged.version == self._wanted and not self.converged.is_set():
            self.converged_at = ground.CLOCK.monotonic()
            self.converged.set()
        return outputs

    def drained(self, link: names.LinkId, now: float) -> tuple[object, ...]:
        return self._machine.drained(link, now)

    def want(self, version: names.Version) -> None:
        """The next to be waited for."""
        self._wanted = version
        self.converged.clear()

    async def until(self) -> None:
        """Converged. Raises `TimedOutError`."""
        try:
            async with asyncio.timeout(CONVERGED_S):
                await self.converged.wait()
        except TimeoutError:
            summary = self._at.master.convergence.summary
            raise errors.TimedOutError(
                f"no convergence within {CONVERGED_S:.0f} s (ready {summary.ready} of reachable {summary.reachable}"
                f" of asked {summary.asked})"
            ) from None


async def opened(told: roster.Roster, directory: pathlib.Path) -> Desk:
    """In office over a new store, everybody admitted."""
    means = desk.Means(
        told.cluster, roster.MIC_ID, roster.MIC, told.authority, catalogue.load, ground.CLOCK, ground.RANDOM
    )
    held = await raft.open_store(
        directory / "store", cluster=told.cluster, clock=ground.CLOCK, random=ground.RANDOM, create=True
    )
    memory = taking.Memory(standing.HighWater(disk.DirectoryDisk(directory / "mark")), told.seed, None)
    at = Desk((await taking.open_mic(means, held, memory)).at, told)
    admissions = told.admissions()
    for start in range(0, len(admissions), _SEATS_AT_ONCE):
        async with at.turn:
            await at.commit(seats.change(at, admissions[start : start + _SEATS_AT_ONCE]))
    return at


def activation(at: desk.Desk, body: bytes, document: expansion.Expanded) -> desk.Change:
    """The transaction of an apply: record, target, body, rollout and audit, compared on the target."""
    past, digest = at.past, model.digest(body)
    before = past.content.target
    assert before is not None
    version = names.Version(past.version.generation, past.version.revision + 1)
    rollout_id = names.RolloutId(f"r{version.revision}")
    record = objects.Record(
        version.generation,
        version.revision,
        past.content.digest,
        digest,
        len(body),
        "bench",
        "",
        at.clock.wall(),
    )
    pointer = objects.Pointer(version.revision, digest)
    target = objects.Target(
        version.generation, before.content.seq + 1, pointer, None, rollout_id, at.may_change().term
    )
    content = past.content.take_all(
        (
            mirror.SignedRecord(at.sign(objects.Kind.RECORD, record), record),
            mirror.SignedTarget(at.sign(objects.Kind.TARGET, target), target),
        )
    )
    rollout = entries.Rollout(
        rollout_id,
        version,
        digest,
        at.clock.wall(),
        roles=0,
        sites=0,
        asked=len(at.served().asked),
        author="bench",
    )
    after = msgspec.structs.replace(
        past,
        content=content,
        body=body,
        expanded=document,
        records={**past.records, version.revision: record},
        rollouts={**past.rollouts, rollout_id: rollout},
    )
    pruned, after = history.prune(after, frozenset())
    at.begun[rollout_id] = at.clock.monotonic()
    operations = (
        *pieces.split(keys.body(digest), body),
        commands.put(keys.record(version.revision), _raw(content.record)),
        commands.put(keys.TARGET, _raw(content.target)),
        commands.put(keys.rollout(rollout_id), entries.encode(rollout)),
        *pruned,
    )
    guard = commands.compare_mod(keys.TARGET, past.target_mod)
    return desk.Change(operations, after, compare=(guard,), caller=_CALLER, publish=True)


def _raw(signed: mirror.SignedRecord | mirror.SignedTarget | None) -> bytes:
    assert signed is not None
    return signed.raw


Prepared = tuple[bytes, expansion.Expanded]


def prepared(path: str) -> Prepared:
    """A document in memory, understood."""
    body = pathlib.Path(path).read_bytes()
    return body, expansion.expand(model.decode(body))


async def publish(at: Desk, watched: Watched, ready: Prepared) -> dict[str, object]:
    """One revision, from the document in memory to the last ack."""
    body, document = ready
    watched.want(names.Version(at.past.version.generation, at.past.version.revision + 1))
    began = ground.CLOCK.monotonic()
    async with at.turn:
        await at.commit(activation(at, body, document))
    published = ground.CLOCK.monotonic()
    await watched.until()
    return {
        "began": began,
        "publish_ms": (published - began) * 1000,
        "convergence_ms": (watched.converged_at - began) * 1000,
        "acks": at.master.convergence.summary.ready,
    }


async def rested(at: Desk) -> int:
    """Commits so far, the one that remembers how the last rollout ended among them. Raises `TimeoutError`."""
    async with asyncio.timeout(RESTED_S):
        while (last := at.past.rollouts.get(at.past.rollout)) is not None and last.converged_ms is None:  # noqa: ASYNC110 nobody tells of that commit
            await asyncio.sleep(LOOK_S)
    return (await at.store.status()).revision


async def work(line: program.Line) -> None:
    """Questions: `prepare` and `publish` (a path), `converged`, `rested`, `report`."""
    directory = pathlib.Path(sys.argv[1])
    told = roster.load(directory / roster.FILE)
    at = await opened(told, directory / "mic")
    served = mic.Mic(at)
    watched = Watched(served.machine, at)
    driven = ground.driven(watched, told, roster.MIC_ID, served.perform)
    served.attach(driven.act)
    server = await driven.listen(roster.ADDRESS, 0)
    driven.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(served.run)
        line.say(port=server.port, loop=type(asyncio.get_running_loop()).__module__)
        ready: Prepared = b"", told.expanded()
        while (question := await line.next()) is not None:
            if "prepare" in question:
                ready = prepared(question["prepare"])
                line.say(bytes=len(ready[0]))
            elif "publish" in question:
                line.say(**await publish(at, watched, ready))
            elif "converged" in question:
                await watched.until()
                line.say(acks=at.master.convergence.summary.ready)
            elif "rested" in question:
                line.say(commits=await rested(at))
            else:
                line.say(traffic=ground.traffic(driven.traffic))
        tasks.cancel_scope.cancel()
    await driven.close("the bench is over")


if __name__ == "__main__":
    program.run(work)
