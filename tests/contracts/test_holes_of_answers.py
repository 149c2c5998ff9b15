"""What an answer is worth: it comes, once, to the one who asked, and is true when it is given."""

import asyncio
import pathlib

import pytest

from coordinator import errors
from coordinator.store.backends.raft import calls
from tests.contracts import groups, holes, stores

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # the library's own
]

READS = 200  # stock answers two of five stale where the machine is quiet, and fewer where it is busy


async def test_a_command_that_nobody_can_do_stops_nothing(side: str, tmp_path: pathlib.Path) -> None:
    one = stores.SIDES[side]
    async with await one.opening(tmp_path / "store") as store:
        await stores.put(store, b"/before")
        await one.poison(store)
        with holes.decisive():
            assert await one.acknowledges(store, b"/after")
    async with await one.opening(tmp_path / "store") as store:
        await stores.put(store, b"/after a restart")
        assert len((await store.scan(b"/")).items) == 3


async def test_a_caller_that_fails_on_its_answer_has_its_command_done_once(
    side: str, tmp_path: pathlib.Path
) -> None:
    one = stores.SIDES[side]
    async with await one.opening(tmp_path / "store") as store:
        await one.put_and_fail(store, b"/k")
        await stores.put(store, b"/after")
        item = await store.get(b"/k")
        assert item is not None
        with holes.decisive():
            assert item.version == 1


async def test_what_one_member_acknowledged_every_other_reads_at_once(
    side: str, tmp_path: pathlib.Path
) -> None:
    async with groups.TRIOS[side](tmp_path) as trio:
        leader = await trio.leader()
        for number in range(READS):
            value = b"%d" % number
            await stores.put(trio.stores[leader], b"/k", value)
            read = await asyncio.gather(*(groups.read(store, b"/k") for store in trio.stores.values()))
            with holes.decisive():
                assert read == [value] * 3


async def test_a_leader_that_was_cut_off_does_not_answer_with_what_is_over(
    side: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with groups.TRIOS[side](tmp_path) as trio:
        old = await trio.leader()
        await stores.put(trio.stores[old], b"/k", b"over")
        trio.cut_off(old)
        new = await trio.leader(old)
        await stores.put(trio.stores[new], b"/k", b"new")
        monkeypatch.setattr(calls, "QUORUM_S", 0.5)
        read = await groups.read(trio.stores[old], b"/k")
        with holes.decisive():
            assert read in (None, b"new")


async def test_an_error_that_says_that_nothing_was_done_is_true(
    side: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "DOUBT_S", 0.5)
    async with groups.TRIOS[side](tmp_path) as trio:
        leader = await trio.leader()
        asked = next(name for name in trio.stores if name != leader)
        await stores.put(trio.stores[asked], b"/before")
        trio.deafen(asked)
        with pytest.raises((errors.NoQuorumError, errors.UnknownOutcomeError)) as told:
            await stores.put(trio.stores[asked], b"/k")
        assert await groups.read(trio.stores[leader], b"/k") is not None, (
            "it was done, and only the answer was lost"
        )
        with holes.decisive():
            assert isinstance(told.value, errors.UnknownOutcomeError)


async def test_a_value_of_any_size_reaches_every_member_in_one_piece(
    side: str, tmp_path: pathlib.Path
) -> None:
    async with groups.TRIOS[side](tmp_path) as trio:
        leader = await trio.leader()
        for number, count in enumerate((4, 240, 260, 1200)):
            value = bytes(range(256)) * count
            await stores.put(trio.stores[leader], b"/%d" % number, value)
            with holes.decisive():
                assert trio.failures() == []
