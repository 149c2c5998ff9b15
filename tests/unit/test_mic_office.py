"""MIC's lease: one is active, the others know it, and whoever cannot renew in time has stopped by then."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from coordinator import errors, limits, names
from coordinator.propagation import events, messages, objects
from coordinator.store import commands, port
from coordinator.tiers import keys, office, standby
from tests import builders, micworld

HERE, THERE = names.ServerId("id-c1"), names.ServerId("id-c2")
KEY = b"/kv/a"


class Three(micworld.Store):
    """As one of three members shows itself."""

    def __init__(self, clock: micworld.Clock) -> None:
        super().__init__(clock)
        self.away = False
        self.renewed: list[int] = []

    async def status(self) -> port.StoreStatus:
        members = tuple(port.MemberStatus(name) for name in ("m1", "m2", "m3"))
        return port.StoreStatus("memory", members, "m1", 0, 0, 0, 0)

    async def keep_alive(self, lease: int, guard: commands.Guard = ()) -> None:
        if self.away:
            raise errors.NoQuorumError("no majority")
        self.renewed.append(lease)
        await super().keep_alive(lease)


class World:
    def __init__(self) -> None:
        self.clock = micworld.Clock()
        self.random = micworld.Random()
        self.three = Three(self.clock)
        self.alone = micworld.Store(self.clock)

    async def take(self, store: port.Store, server: names.ServerId = HERE) -> office.Office:
        return await office.Office.take(store, office.Means(server, self.clock, self.random))


def world_of(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        anyio.run(test, World())

    del run.__wrapped__  # pytest would take its parameter for a fixture
    return run


async def put(held: office.Office) -> int:
    return await held.commit((commands.put(KEY, b""),))


@world_of
async def test_while_one_holds_the_office_no_other_server_takes_it(world: World) -> None:
    first = await world.take(world.three)
    assert await office.holder(world.three, THERE) == HERE
    with pytest.raises(office.HeldError):
        await world.take(world.three, THERE)
    world.clock.now += limits.LEASE_TTL_S - 0.1
    await first.renew()
    world.clock.now += limits.LEASE_TTL_S - 0.1
    assert await office.holder(world.three, THERE) == HERE


@world_of
async def test_when_its_lease_has_ended_another_takes_over_and_the_first_commits_nothing(
    world: World,
) -> None:
    first = await world.take(world.three)
    world.clock.now += limits.LEASE_TTL_S
    second = await world.take(world.three, THERE)
    assert second.term == first.term + 1
    with pytest.raises(office.DeposedError):
        await first.renew()
    with pytest.raises(office.DeposedError):
        await put(first)
    assert await world.three.get(KEY) is None
    await put(second)


@world_of
async def test_whoever_cannot_renew_stops_before_another_could_have_the_lease(world: World) -> None:
    first = await world.take(world.three)
    world.clock.now += limits.LEASE_TTL_S * 2 / 3
    assert first.left_s == 0
    assert await office.holder(world.three, THERE) == HERE  # nobody else yet
    with pytest.raises(office.DeposedError):
        await put(first)
    assert await world.three.get(KEY) is None


@world_of
async def test_the_same_server_takes_its_own_office_at_once(world: World) -> None:
    await world.take(world.three)
    again = await world.take(world.three)
    assert again.term == 2
    await put(again)


@world_of
async def test_an_office_that_is_released_is_free_at_once(world: World) -> None:
    first = await world.take(world.three)
    await first.release()
    assert await office.holder(world.three, THERE) is None
    with pytest.raises(office.DeposedError):
        await put(first)


@world_of
async def test_with_one_member_being_late_costs_nothing(world: World) -> None:
    held = await world.take(world.alone)
    world.clock.now += 10 * limits.LEASE_TTL_S
    await put(held)
    assert await world.alone.get(keys.LEASE) is None
    await held.renew()
    assert await office.holder(world.alone, THERE) == HERE
    await put(held)


@world_of
async def test_another_ones_term_stops_a_commit_whose_lease_still_counts_here(world: World) -> None:
    first = await world.take(world.three)
    taken = commands.Txn((), (commands.put(keys.TERM, b"another"),))
    await world.three.commit(taken)
    with pytest.raises(office.DeposedError):
        await put(first)
    assert await world.three.get(KEY) is None


@pytest.mark.parametrize(
    "later", [errors.NoSpaceError("full"), errors.DamagedError("torn"), errors.NoQuorumError("alone")]
)
def test_after_a_first_doubt_no_error_says_that_nothing_was_done(
    later: errors.TiercastError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office, "RETRY_S", 0.0)

    async def main() -> None:
        world = World()
        held = await world.take(world.alone)
        problems: list[errors.TiercastError] = [errors.UnknownOutcomeError("lost")]

        def lose(_txn: commands.Txn) -> None:
            raise problems.pop() if problems else later

        world.alone.after = lose
        with pytest.raises(errors.UnknownOutcomeError):
            await put(held)
        world.alone.after = lambda _txn: None
        assert held.over
        assert await world.alone.get(KEY) is not None
        with pytest.raises(office.DeposedError):
            await put(held)

    anyio.run(main)


@world_of
async def test_an_error_before_any_doubt_is_told_as_it_is(world: World) -> None:
    held = await world.take(world.alone)

    def full(_txn: commands.Txn) -> None:
        world.alone.before = lambda _txn: None
        raise errors.NoSpaceError("full")

    world.alone.before = full
    with pytest.raises(errors.NoSpaceError):
        await put(held)
    await put(held)


def test_a_mic_that_cannot_renew_closes_its_links_and_issues_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "RENEW_S", 0.01)
    monkeypatch.setattr(office, "RETRY_S", 0.01)

    async def main() -> None:
        world = micworld.World()
        store = world.store = Three(world.clock)
        served, tree = await world.open()
        tree.connect(micworld.FIRST)

        ended: list[errors.TiercastError] = []

        async def run() -> None:
            try:
                await served.run()
            except office.DeposedError as problem:
                ended.append(problem)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await micworld.until(lambda: len(store.renewed) > 1)
            store.away = True
            world.clock.now += limits.LEASE_TTL_S
        assert len(ended) == 1
        byes = [one for one in tree.sent if isinstance(one.frame, messages.Bye)]
        assert [one.links for one in byes] == [(tree.links[micworld.FIRST],)]
        code, _answer = await world.apply(served, builders.document())
        assert code == "no_coordinator"
        assert served.at.past.version == names.Version(1, 1)

    anyio.run(main)


def test_a_standby_says_bye_to_whoever_speaks() -> None:
    machine = standby.Standby()
    link = names.LinkId(1)
    assert machine.handle(events.Arrived(link, names.ServerId("x")), 1.0) == ()
    hello = messages.Heartbeat(b"", objects.Numbers(), 0)
    sent, closed = machine.handle(events.Heard(link, hello), 1.0)
    assert isinstance(sent, events.Send)
    assert isinstance(sent.frame, messages.Bye)
    assert sent.frame.retry_after_s > 0
    assert isinstance(closed, events.Close)
    assert machine.deadline > 1.0
