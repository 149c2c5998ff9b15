"""The run itself: rounds in which every system stands alone, once, in an order that turns; results as they come.

Every system publishes the same documents in the same order. The first revisions of each stand are not counted: whoever
comes anew has no base for a delta and no code in its caches.
"""

import asyncio
import contextlib
import pathlib
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import msgspec

from bench.propagation import load, ours, programs, results, stand, workload
from coordinator import errors

WARM_UP = 2
PAUSE_S = 0.1  # between revisions, so that what follows one is not counted to the next
ROUNDS = 2
_HINT = 200  # characters of what a peer said last


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to know."""

    sites: int
    agents: int
    document_bytes: int
    changes: tuple[str, ...]
    revisions: int
    mode: str
    tls: bool
    processes: int
    directory: pathlib.Path | None
    rounds_most: int = ROUNDS

    @property
    def rounds(self) -> int:
        return min(self.rounds_most, self.revisions)

    def counted(self, turn: int) -> int:
        """Revisions of one round."""
        return self.revisions // self.rounds + (turn < self.revisions % self.rounds)


Tell = Callable[[str], None]
Series = Mapping[str, Sequence[Sequence[workload.Published]]]
"""By change: the documents of each round."""


async def run(
    wish: Wish, systems: Sequence[stand.System], tell: Tell
) -> AsyncGenerator[results.Result | results.Missing, None]:
    """Results as they come. A peer that fails is left out from then on, and said; ours raises `FailedError`.

    Whatever ends it, nothing is left.
    """
    failed: set[str] = set()
    present = [one for one in systems if not one.missing()]
    for one in systems:
        if one.missing():
            yield results.Missing(system=one.name, missing=one.missing())
    with tempfile.TemporaryDirectory(prefix="tiercast-bench-", dir=wish.directory) as path:
        root = pathlib.Path(path)
        tell("making documents")
        series = await asyncio.to_thread(_series, wish, root)
        for turn in range(wish.rounds):
            for at in range(len(present)):
                one = present[(at + turn) % len(present)]
                if one.name in failed:
                    continue
                try:
                    async with contextlib.aclosing(_stood(wish, one, turn, series, tell)) as found:
                        async for result in found:
                            yield result
                except programs.FailedError as problem:
                    if one.name == ours.Tiercast.name:
                        raise
                    failed.add(one.name)
                    said = f"failed in round {turn + 1}: {problem.message} {problem.hint[-_HINT:]}"
                    yield results.Missing(system=one.name, missing=" ".join(said.split()))


def _series(wish: Wish, root: pathlib.Path) -> Series:
    shape = workload.Shape(wish.document_bytes, wish.sites, wish.agents)
    made: dict[str, list[Sequence[workload.Published]]] = {}
    for change in wish.changes:
        endless = workload.bodies(shape, change)
        made[change] = [
            workload.write(endless, WARM_UP + wish.counted(turn), root) for turn in range(wish.rounds)
        ]
    return made


async def _stood(
    wish: Wish, system: stand.System, turn: int, series: Series, tell: Tell
) -> AsyncGenerator[results.Result, None]:
    """One system, stood up, measured and ended."""
    made = stand.Stand()
    with tempfile.TemporaryDirectory(
        prefix=f"{system.name}-", dir=next(iter(series.values()))[0][0].path.parent
    ) as path:
        order = stand.Order(wish.sites, wish.agents, wish.tls, wish.mode, wish.processes, pathlib.Path(path))
        try:
            tell(f"round {turn + 1} of {wish.rounds}: starting {system.name}")
            await system.start(order, made)
            await made.settle()
            for change in wish.changes:
                async for result in _measured(
                    wish, system.name, made, (change, turn, series[change][turn]), tell
                ):
                    yield result
        finally:
            await asyncio.shield(made.end())


async def _measured(
    wish: Wish, name: str, made: stand.Stand, part: tuple[str, int, Sequence[workload.Published]], tell: Tell
) -> AsyncGenerator[results.Result, None]:
    change, turn, documents = part
    watch = load.Watch().begin(made)
    found: list[tuple[int, stand.Measured]] = []
    for number, one in enumerate(documents):
        tell(
            f"round {turn + 1} of {wish.rounds}: {name}, {change}, revision {number + 1} of {len(documents)}"
        )
        measured = await made.measure(one, wish.agents)
        if number >= WARM_UP:
            found.append((number - WARM_UP + 1, measured))
        await asyncio.sleep(PAUSE_S)
    foreign = watch.foreign(made)
    for revision, measured in found:
        yield _result(wish, name, made, (change, turn + 1, revision, foreign), measured)


def _result(
    wish: Wish, name: str, made: stand.Stand, at: tuple[str, int, int, float], measured: stand.Measured
) -> results.Result:
    change, turn, revision, foreign = at
    clients = (
        {stand.AGENTS}
        if name == ours.Tiercast.name or "relay" in made.programs
        else {stand.AGENTS, stand.PUBLISHER}
    )
    return results.Result(
        system=name,
        mode=wish.mode,
        change=change,
        revision=revision,
        round=turn,
        sites=wish.sites,
        agents=wish.agents,
        acks=measured.acks,
        document_bytes=wish.document_bytes,
        transport="tls" if wish.tls and name == ours.Tiercast.name else "plain",
        loop=made.loop,
        publish_ms=measured.publish_ms,
        payload_ms=measured.payload_ms,
        convergence_ms=measured.convergence_ms,
        server_cpu_s=round(sum(one.cpu_s for one in measured.processes if one.role not in clients), 6),
        processes=measured.processes,
        hops=measured.hops,
        foreign=round(foreign, 3),
        loaded=foreign > results.LOADED,
        commits=measured.commits,
        after_cpu_s=measured.after_cpu_s,
    )


def systems_of(peers: str, known: Mapping[str, stand.System]) -> Sequence[stand.System]:
    """Ours, and those asked for: `none`, `all`, or names. Raises `UsageError`."""
    if peers == "none":
        return (ours.Tiercast(),)
    wanted = list(known) if peers == "all" else [name.strip() for name in peers.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise errors.UsageError(f"there is no peer {unknown[0]!r} (have none, all, {', '.join(known)})")
    return (ours.Tiercast(), *(known[name] for name in wanted))
