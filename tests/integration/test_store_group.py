"""Three members over mutual TLS on loopback: leaders come and go, and what was acknowledged stays."""

import asyncio
import contextlib
import pathlib
import ssl
import struct
from collections.abc import AsyncIterator

import pytest
import trustme

from coordinator import errors, limits
from coordinator.store import commands, port
from coordinator.store.backends.raft import member, transport
from tests import pace, storegroup

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

TRIES = 5
"""A machine that stops for longer than an election takes changes the leader by itself; not so often in a row."""
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a peer or a disk is ever unpickled."""

    def refuse(*_args: object) -> None:
        raise AssertionError("pickle was used")

    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("pickle.load", refuse)


@pytest.fixture
async def group(tmp_path: pathlib.Path) -> AsyncIterator[storegroup.Group]:
    made = storegroup.Group(tmp_path)
    await made.make()
    await made.open()
    yield made
    await made.close()
    assert made.stops == []


async def test_any_member_takes_writes_and_every_member_reads_them_at_once(group: storegroup.Group) -> None:
    await group.leader()
    for number, name in enumerate(group.members):
        await group.put(name, f"/k/{number}")
        for reader in group.members:
            assert await group.stores[reader].get(b"/k/%d" % number) is not None
    status = await group.stores[await group.leader()].status()
    assert sorted(m.member for m in status.members) == ["m1", "m2", "m3"]
    assert [m.matched for m in status.members if m.matched is not None] == [status.applied] * 2


async def test_when_the_leader_goes_another_takes_over_and_nothing_is_lost(group: storegroup.Group) -> None:
    for round_ in range(3):
        leader = await group.leader()
        other = next(name for name in group.members if name != leader)
        await group.put(other, f"/before/{round_}")
        await group.close(leader)
        with pace.within(5.0):
            await group.put(other, f"/after/{round_}")
        await group.open(leader)
    store = group.stores[await group.leader()]
    assert len((await store.scan(b"/")).items) == 6


async def test_a_leader_that_is_closed_has_let_another_lead_before_it_is_gone(
    group: storegroup.Group,
) -> None:
    tries = []
    for _ in range(TRIES):
        leader = await group.leader()
        await group.put(leader, "/k")
        term = (await group.stores[leader].status()).term
        await group.close(leader)
        told = [await store.status() for store in group.stores.values()]
        led = [one for one in told if one.leader in group.stores]
        if led and led[0].term == term + 1:
            return
        tries.append((term, told))
        await group.open(leader)
    pytest.fail(f"not one election, in which nobody is asked twice: term and then {tries}")


async def test_a_group_rises_to_a_level_once_all_its_members_are_there(
    group: storegroup.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = commands.LEVEL + 1
    await group.close()
    monkeypatch.setattr(commands, "LEVEL", level)
    await group.open("m1", "m2")
    await group.put("m1", "/k")
    assert all(store._state.level < level for store in group.stores.values())
    monkeypatch.setattr(commands, "level", lambda _command: level)
    with pytest.raises(errors.RefusedError):
        await group.put("m1", "/new")
    monkeypatch.undo()
    monkeypatch.setattr(commands, "LEVEL", level)
    await group.open("m3")

    async def risen() -> bool:
        return {store._state.level for store in group.stores.values()} == {level}

    await storegroup.until(risen)
    await group.close()


async def test_without_a_majority_reads_and_writes_say_so_within_two_seconds(group: storegroup.Group) -> None:
    leader = await group.leader()
    others = [name for name in group.members if name != leader]
    await group.put(leader, "/k")
    await group.close(*others)
    await storegroup.until(lambda: _leaderless(group, leader))
    for act in (group.stores[leader].get(b"/k"), group.put(leader, "/more")):
        with pace.within(2.5), pytest.raises(errors.NoQuorumError):
            await act
    await group.open(*others)
    await group.put(leader, "/again")


async def _leaderless(group: storegroup.Group, name: str) -> bool:
    return (await group.stores[name].status()).leader is None


async def test_a_member_that_missed_much_is_given_a_snapshot_in_pieces(
    group: storegroup.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "KEEP_ENTRIES", 5)
    leader = await group.leader()
    away = next(name for name in group.members if name != leader)
    await group.close(away)
    for number in range(30):
        await group.put(leader, f"/k/{number}", bytes(50_000))
    await group.stores[leader].take_snapshot()
    watchless = await group.stores[leader].scan(b"/k/")
    await group.open(away)
    watch = group.stores[away].watch(b"/k/", 1)
    seen: dict[bytes, port.KeyValue] = {}
    while len(seen) < 30:
        batch = await asyncio.wait_for(watch.next(), WAIT_S)
        if batch.reset is not None:
            seen = {item.key: item for item in batch.reset.items}
        seen.update({event.item.key: event.item for event in batch.events})
    assert tuple(seen[key] for key in sorted(seen)) == watchless.items
    await group.close(away)
    await group.open(away)
    assert len((await group.stores[away].scan(b"/k/")).items) == 30


async def test_a_document_of_many_megabytes_replicates_without_a_change_of_leader(
    group: storegroup.Group,
) -> None:
    chunks = tuple(commands.put(b"/body/%03d" % at, bytes([at]) * 262144) for at in range(96))
    terms = []
    for _ in range(TRIES):
        leader = await group.leader()
        term = (await group.stores[leader].status()).term
        follower = next(name for name in group.members if name != leader)
        await group.stores[follower].commit(commands.Txn(success=chunks))
        for name in group.members:
            assert len((await group.stores[name].scan(b"/body/")).items) == 96
        terms.append((term, (await group.stores[leader].status()).term))
        if terms[-1][0] == terms[-1][1]:
            return
    pytest.fail(f"another leader each time: terms before and after {terms}")


async def test_concurrent_swaps_through_all_members_have_one_winner_each(group: storegroup.Group) -> None:
    await group.leader()

    async def swap(name: str, number: int) -> bool:
        txn = commands.Txn(
            (commands.absent(b"/l/%d" % number),), (commands.put(b"/l/%d" % number, name.encode()),)
        )
        return (await group.stores[name].commit(txn)).succeeded

    for number in range(10):
        won = await asyncio.gather(*(swap(name, number) for name in group.members for _ in range(5)))
        assert sum(won) == 1


async def test_an_answer_to_what_was_asked_in_another_life_is_nobodys(group: storegroup.Group) -> None:
    leader = await group.leader()
    other = next(name for name in group.members if name != leader)
    await group.put(other, "/first")
    (_links, route) = group.stores[other]._links or (None, None)
    assert route is not None
    before = route._tickets
    await group.close(other)
    await group.open(other)
    (_links, route) = group.stores[other]._links or (None, None)
    assert route is not None
    assert abs(route._tickets - before) > 1000, "numbers do not begin anew"


async def test_a_lease_outlives_its_leader_and_ends_under_the_next(group: storegroup.Group) -> None:
    leader = await group.leader()
    other = next(name for name in group.members if name != leader)
    lease = await group.stores[other].grant(2.0)
    txn = commands.Txn(success=(commands.put(b"/leased", b"", lease=lease),))
    await group.stores[other].commit(txn)
    await group.close(leader)
    await group.stores[other].keep_alive(lease)
    assert await group.stores[other].get(b"/leased") is not None

    async def gone() -> bool:
        return await group.stores[other].get(b"/leased") is None

    await storegroup.until(gone)


async def test_a_sealed_group_hands_over_to_a_new_one_of_one_member(
    group: storegroup.Group, tmp_path: pathlib.Path
) -> None:
    leader = await group.leader()
    await group.put(leader, "/k", b"kept")
    assert group.stores[leader].sealed == ()
    await group.stores[leader].seal(("single",))
    assert group.stores[leader].sealed == ("single",)
    with pytest.raises(errors.RefusedError):
        await group.put(leader, "/more")
    await group.stores[leader].snapshot(tmp_path / "handed-over")
    successor = storegroup.Group(tmp_path / "next", ("n1", "n2", "n3"))
    await successor.make(tmp_path / "handed-over")
    await successor.open()
    item = await successor.stores["n2"].get(b"/k")
    assert item is not None
    assert item.value == b"kept"
    await successor.put("n3", "/more")
    await successor.close()


# Strangers.


async def connect(
    group: storegroup.Group, context: ssl.SSLContext, to: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, number = group.addresses[to]
    return await asyncio.open_connection(host, number, ssl=context, server_hostname="")


async def closed(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(OSError):
        return await asyncio.wait_for(reader.read(), WAIT_S) == b""
    return True


def frame(data: bytes, flags: int = 1) -> bytes:
    return struct.pack("<IB", len(data), flags) + data


async def test_strangers_and_impostors_are_cut_off_and_the_group_goes_on(group: storegroup.Group) -> None:
    leader = await group.leader()
    _server, foreign = storegroup.contexts(trustme.CA(), "m1")
    foreign.check_hostname, foreign.verify_mode = False, ssl.CERT_NONE
    _server, outsider = storegroup.contexts(group.authority, "nobody")
    _server, peer = storegroup.contexts(group.authority, "m1")
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    encode = transport._ENCODER.encode
    other_cluster = encode(transport.Hello(1, "c2", "m1"))  # type: ignore[arg-type]
    other_member = encode(transport.Hello(1, storegroup.CLUSTER, "m2"))
    good = encode(transport.Hello(1, storegroup.CLUSTER, "m1"))
    for context, sent in (
        (foreign, frame(good)),
        (bare, frame(good)),
        (outsider, frame(encode(transport.Hello(1, storegroup.CLUSTER, "nobody")))),
        (peer, frame(other_cluster)),
        (peer, frame(other_member)),
        (peer, struct.pack("<IB", 2**31, 1)),
        (peer, frame(b"\xc1garbage")),
        (peer, frame(good) + struct.pack("<IB", 2**31, 1)),
        (peer, frame(good) + frame(b"\xc1garbage")),
    ):
        target = next(name for name in group.members if name != "m1")
        with contextlib.suppress(OSError):
            reader, writer = await connect(group, context, target)
            writer.write(sent)
            assert await closed(reader)
            writer.close()
    await group.put(leader, "/still-here")


async def test_whoever_says_nothing_is_cut_off(
    group: storegroup.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HELLO_S", 0.3)
    _server, peer = storegroup.contexts(group.authority, "m1")
    with contextlib.suppress(OSError):  # on a slow machine while it still shakes hands
        reader, writer = await connect(group, peer, "m2")
        assert await closed(reader)
        writer.close()
