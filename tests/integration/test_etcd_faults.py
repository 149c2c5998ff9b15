"""Real etcd clusters that are killed, frozen, cut off, emptied, filled and lied about, under our store."""

import asyncio
import contextlib
import pathlib
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from coordinator import errors
from coordinator.store import commands, port
from coordinator.store.backends.etcd import keeping
from coordinator.store.backends.etcd import store as etcd
from tests import etcdcluster, pace

pytestmark = [pytest.mark.integration, pytest.mark.etcd, pytest.mark.anyio]

QUORUM_S = 2.0
"""Within which a store without a majority says so; beside it, what a busy machine needs."""
SLACK_S = 3.0


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[etcdcluster.Cluster]:
    """Three members; whoever breaks them mends them."""
    with etcdcluster.running(tmp_path_factory.mktemp("three") / "c", 3) as cluster:
        yield cluster


@pytest.fixture
async def store(three: etcdcluster.Cluster) -> AsyncIterator[port.Store]:
    async with await three.store(f"/t-{etcdcluster.RANDOM.token(4)}") as opened:
        yield opened


def put(key: bytes, value: bytes = b"") -> commands.Txn:
    return commands.Txn(success=(commands.put(key, value),))


@contextlib.contextmanager
def frozen(cluster: etcdcluster.Cluster, *names: str) -> Iterator[None]:
    cluster.freeze(*names)
    try:
        yield
    finally:
        cluster.thaw(*names)


async def until_written(store: port.Store, key: bytes, value: bytes = b"", limit_s: float = 60.0) -> int:
    """Under one request id, again and again; the revision."""
    session = 0
    async with asyncio.timeout(limit_s):
        while True:
            try:
                session = session or await store.open_session()
                request = commands.RequestId(session, 1, 0)
                return (
                    await store.commit(commands.Txn((), (commands.put(key, value),), (), request))
                ).revision
            except (errors.NoQuorumError, errors.UnknownOutcomeError):
                await asyncio.sleep(0.05)


async def events(watch: port.Watch, wanted: int, limit_s: float = 60.0) -> list[bytes]:
    """Keys of the next changes."""
    found: list[bytes] = []
    async with asyncio.timeout(limit_s):
        while len(found) < wanted:
            batch = await watch.next()
            assert batch.reset is None, "nothing was compacted"
            found += [event.item.key for event in batch.events]
    return found


async def test_the_death_of_any_member_loses_nothing_and_a_watch_goes_on(
    three: etcdcluster.Cluster, store: port.Store
) -> None:
    await store.commit(put(b"/w/0"))
    watch = store.watch(b"/w/")
    assert (await watch.next()).reset is not None
    for number, name in enumerate(three.names, start=1):
        three.kill(name)
        await until_written(store, b"/w/%d" % number)
        assert await events(watch, 1) == [b"/w/%d" % number]
        three.start(name)
        three.ready()
    assert len((await store.scan(b"/w/")).items) == 4
    watch.close()


async def test_a_frozen_member_is_gone_round_and_its_watch_moves(
    three: etcdcluster.Cluster, store: port.Store
) -> None:
    watch = store.watch(b"/w/")
    await watch.next()
    await store.commit(put(b"/w/0"))
    assert await events(watch, 1) == [b"/w/0"]
    with frozen(three, three.names[0]):
        await until_written(store, b"/w/1")
        assert await events(watch, 1) == [b"/w/1"]
    watch.close()


async def test_without_a_majority_it_says_so_in_two_seconds_and_goes_on_when_there_is_one(
    three: etcdcluster.Cluster, store: port.Store
) -> None:
    await store.commit(put(b"/k", b"before"))
    watch = store.watch(b"/k")
    await watch.next()
    with frozen(three, *three.names[1:]):
        with pace.within(2 * QUORUM_S + SLACK_S):
            with pytest.raises(errors.NoQuorumError):
                await store.get(b"/k")
            with pytest.raises(errors.NoQuorumError):  # it is known by now: nothing was done
                await store.commit(put(b"/k", b"never"))
        status = await store.status()
        assert len(status.members) == 3
    with frozen(three, *three.names):
        status = await store.status()
        assert (status.members, status.leader, status.shared) == ((), None, True)
        assert "has not answered" in status.alarms[0]
    await until_written(store, b"/k", b"after")
    assert await events(watch, 1) == [b"/k"]
    item = await store.get(b"/k")
    assert item is not None
    assert (item.value, item.version) == (b"after", 2)
    watch.close()


async def test_a_write_without_an_answer_is_unknown_and_under_a_request_id_it_is_done_once(
    tmp_path: pathlib.Path,
) -> None:
    with etcdcluster.running(tmp_path / "c") as one:
        async with await one.store("/t") as store:
            session = await store.open_session()
            request = commands.RequestId(session, 1, 0)
            txn = commands.Txn((), (commands.put(b"/id", b"1"),), (), request)
            with frozen(one, "e0"):
                for asked in (put(b"/plain"), txn):
                    with pytest.raises((errors.UnknownOutcomeError, errors.NoQuorumError)) as raised:
                        await store.commit(asked)
                    if asked.request is None:
                        assert isinstance(raised.value, errors.UnknownOutcomeError)
            assert (await store.commit(txn)).succeeded
            assert (await store.commit(txn)).repeated
            for key in (b"/id", b"/plain"):
                item = await store.get(key)
                assert item is None or item.version == 1


async def test_compacted_under_a_watch_that_was_cut_off_it_begins_anew(tmp_path: pathlib.Path) -> None:
    with etcdcluster.running(tmp_path / "c") as one:
        async with await one.store("/t") as store, await one.store("/t") as other:
            watch = store.watch(b"/w/")
            first = await watch.next()
            assert first.reset is not None
            assert await _waits(watch)  # its stream is open now
            one.kill("e0")
            assert await _waits(watch)
            one.start("e0")
            one.ready()
            for number in range(3):
                await until_written(other, b"/w/%d" % number)
            await other.compact((await other.scan(b"")).revision)
            late = store.watch(b"/w/", first.revision + 1)
            for one_of in (watch, late):
                found: set[bytes] = set()
                async with asyncio.timeout(60):
                    while len(found) < 3:
                        batch = await one_of.next()
                        items = batch.reset.items if batch.reset else [event.item for event in batch.events]
                        found |= {item.key for item in items}
                assert one_of.revision >= first.revision + 3
            watch.close()
            late.close()


async def _waits(watch: port.Watch) -> bool:
    """Nothing comes for a moment; cancelling the wait loses nothing."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.next(), 0.3)
    return True


async def test_older_data_under_a_store_that_has_seen_newer_is_refused_by_name(
    tmp_path: pathlib.Path,
) -> None:
    with etcdcluster.running(tmp_path / "c") as one:
        async with await one.store("/t") as store:
            await store.commit(put(b"/k", b"old"))
            one.kill("e0")
            shutil.copytree(one.data("e0"), tmp_path / "copy")
            one.start("e0")
            one.ready()
            for _ in range(5):
                await until_written(store, b"/k", b"new")
            watch = store.watch(b"/k")
            await watch.next()
            one.kill("e0")
            shutil.rmtree(one.data("e0"))
            shutil.copytree(tmp_path / "copy", one.data("e0"))
            one.start("e0")
            one.ready()
            with pytest.raises(errors.NeedsRecoveryError, match="older data"):
                await until_answered(store)
            with pytest.raises(errors.NeedsRecoveryError):
                await store.commit(put(b"/k", b"newest"))
            with pytest.raises(errors.NoQuorumError, match="older data"):
                await asyncio.wait_for(watch.next(), 60)


async def until_answered(store: port.Store) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(errors.NoQuorumError):
                await store.get(b"/k")
                return


async def test_an_emptied_cluster_in_the_place_of_the_known_one_is_refused(tmp_path: pathlib.Path) -> None:
    with etcdcluster.running(tmp_path / "c") as one:
        async with await one.store("/t") as store:
            await store.commit(put(b"/k"))
            one.kill("e0")
            shutil.rmtree(one.data("e0"))
            one.flags += ["--initial-cluster-token", "another"]
            one.start("e0")
            one.ready()
            with pytest.raises((errors.IdentityError, errors.NeedsRecoveryError)):
                await until_answered(store)


async def test_out_of_space_is_a_refusal_that_passes(tmp_path: pathlib.Path) -> None:
    with etcdcluster.running(tmp_path / "c", flags=("--quota-backend-bytes", str(2 * 1024 * 1024))) as one:
        async with await one.store("/t") as store:
            await store.commit(put(b"/k", b"kept"))
            with pytest.raises(errors.NoSpaceError):
                await filled(store)
            with pytest.raises(errors.NoSpaceError):
                await store.commit(put(b"/k", b"refused"))
            with pytest.raises(errors.NoSpaceError):
                await store.grant(5)
            item = await store.get(b"/k")
            assert item is not None
            assert item.value == b"kept"
            assert any("NOSPACE" in alarm for alarm in (await store.status()).alarms)
            await store.commit(commands.Txn(success=(commands.delete_prefix(b"/fill/"),)))
            await store.compact((await store.scan(b"")).revision)
            one.ask("e0", "/v3/maintenance/defragment")
            member = one.ask("e0", "/v3/maintenance/status")["header"]["member_id"]
            one.ask("e0", "/v3/maintenance/alarm", action="DEACTIVATE", alarm="NOSPACE", memberID=member)
            await until_written(store, b"/k", b"again")


async def filled(store: port.Store) -> None:
    for number in range(100):
        await store.commit(put(b"/fill/%d" % number, bytes(200_000)))


async def test_a_watcher_that_never_reads_disturbs_nobody(store: port.Store) -> None:
    idle, reading = store.watch(b"/w/"), store.watch(b"/w/")
    await idle.next()
    await reading.next()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(idle.next(), 0.3)  # its stream is open, and nobody reads it from here on
    for number in range(60):
        await store.commit(put(b"/w/%d" % number, bytes(100_000)))
    assert len(await events(reading, 60)) == 60
    assert len(await events(idle, 60)) == 60
    idle.close()
    reading.close()


async def test_a_wait_that_is_given_up_loses_nothing(store: port.Store) -> None:
    watch = store.watch(b"/w/")
    await watch.next()
    for number in range(4):
        await store.commit(
            commands.Txn(
                success=tuple(commands.put(b"/w/%d%d" % (number, n), bytes(400_000)) for n in range(3))
            )
        )
    found: list[bytes] = []
    patience = 0.001
    async with asyncio.timeout(60):
        while len(found) < 12:
            try:
                batch = await asyncio.wait_for(watch.next(), patience)
            except TimeoutError:
                patience *= 1.3
                continue
            assert batch.reset is None
            found += [event.item.key for event in batch.events]
    assert found == [b"/w/%d%d" % (number, n) for number in range(4) for n in range(3)]
    watch.close()


async def test_a_watch_of_a_history_that_was_replaced_ends(three: etcdcluster.Cluster) -> None:
    async with await three.store("/ends") as old, await three.store("/ends") as new:
        watch = old.watch(b"/w/")
        await watch.next()
        await new.take_place([])
        with pytest.raises(errors.NoQuorumError, match="has ended"):
            await asyncio.wait_for(watch.next(), 60)


async def test_values_over_the_bound_travel_in_pieces_and_leave_with_their_keys(
    three: etcdcluster.Cluster, store: port.Store
) -> None:
    whole = tuple(commands.put(b"/v/%02d" % number, bytes([number]) * 600_000) for number in range(8))
    watch = store.watch(b"/v/")
    await watch.next()
    result = await store.commit(commands.Txn(success=(*whole, commands.read_prefix(b"/v/"))))
    read = result.responses[-1]
    assert isinstance(read, port.Ranged)
    assert [item.value for item in read.items] == [one.value for one in whole]
    batch = await asyncio.wait_for(watch.next(), 60)
    assert [event.item.value for event in batch.events] == [one.value for one in whole]
    guarded = commands.Txn((commands.compare_version(b"/v/00", 7),), whole)
    assert not (await store.commit(guarded)).succeeded
    await store.commit(commands.Txn(success=(commands.delete_prefix(b"/v/"),)))
    marks = [b"\x00\xff", b"\x00\xffR looks like a reference", b"\x00"]
    for number, mark in enumerate(marks):
        await store.commit(put(b"/m/%d" % number, mark))
    assert [item.value for item in (await store.scan(b"/m/")).items] == marks
    with pytest.raises(errors.TooLargeError):
        await store.commit(
            commands.Txn(success=tuple(commands.put(b"%01000d" % n, b"") for n in range(3000)))
        )
    watch.close()


async def test_what_nobody_names_any_more_is_swept(three: etcdcluster.Cluster, store: port.Store) -> None:
    assert isinstance(store, etcd.EtcdStore)
    whole = commands.Txn(success=tuple(commands.put(b"/v/%d" % n, bytes([n]) * 500_000) for n in range(4)))
    for _ in range(3):
        await store.commit(whole)
    at = await store.connected()
    large = len(
        three.ask(three.names[0], "/v3/kv/range", key=at.root.all + b"large/", range_end=at.root.all + b"m")[
            "kvs"
        ]
    )
    await keeping.tidy(store.gateway, at.ours)
    left = three.ask(
        three.names[0], "/v3/kv/range", key=at.root.all + b"large/", range_end=at.root.all + b"m"
    )["kvs"]
    assert len(left) * 3 == large
    assert [len(item.value) for item in (await store.scan(b"/v/")).items] == [500_000] * 4


async def test_a_wrong_authority_is_named_and_nothing_is_sent(tmp_path: pathlib.Path) -> None:
    with etcdcluster.running(tmp_path / "c", tls=True) as one:
        async with await one.store("/t") as store:
            await store.commit(put(b"/k"))
        stranger = etcdcluster.Cluster(tmp_path / "other", tls=True)
        one.ca_pem = stranger.ca_pem
        with (
            pace.within(QUORUM_S + SLACK_S),
            pytest.raises(errors.IdentityError, match="not of the authority"),
        ):
            await one.store("/t")


async def test_users_are_let_in_by_password_and_a_lost_token_is_fetched_anew(tmp_path: pathlib.Path) -> None:
    with etcdcluster.running(tmp_path / "c") as one:
        etcdcluster.guard(one, "mic", "s3cret")
        async with await one.store("/mine", user="mic", password="s3cret") as store:
            await store.commit(put(b"/k", b"1"))
            watch = store.watch(b"/k")
            await watch.next()
            one.kill("e0")  # and with it every token
            one.start("e0")
            one.ready()
            await until_written(store, b"/k", b"2")
            assert await events(watch, 1) == [b"/k"]
            await store.keep_alive(await store.grant(10))
            assert (await store.status()).keys == 1
            watch.close()
        for user, password, kind in (
            ("mic", "wrong", errors.UnauthenticatedError),
            ("", "", errors.UnauthenticatedError),
        ):
            with pytest.raises(kind) as raised:
                await one.store("/mine", user=user, password=password)
            assert "wrong" not in str(raised.value)
        with pytest.raises(errors.NotAllowedError):
            await one.store("/others", user="mic", password="s3cret")
    with etcdcluster.running(tmp_path / "open") as free, pytest.raises(errors.NotAllowedError):
        await free.store("/mine", user="mic", password="s3cret")


async def test_two_systems_never_share_a_prefix(three: etcdcluster.Cluster) -> None:
    async with await three.store("/shared", "one") as mine:
        with pytest.raises(errors.IdentityError, match="belong to another cluster"):
            await three.store("/shared", "two")
        async with await three.store("/shared-too", "two") as other:  # a longer word is another prefix
            await other.commit(put(b"/k", b"two"))
        await mine.commit(put(b"/k", b"one"))
        item = await mine.get(b"/k")
        assert item is not None
        assert item.value == b"one"
    three.ask(three.names[0], "/v3/kv/put", key=b"/foreign/key", value=b"x")
    with pytest.raises(errors.InUseError, match="other keys"):
        await three.store("/foreign")


async def test_a_history_takes_the_place_of_another_in_one_moment(three: etcdcluster.Cluster) -> None:
    async with await three.store("/place") as old, await three.store("/place") as new:
        await old.commit(put(b"/k", b"old"))
        lease = await old.grant(60)
        items = [port.KeyValue(b"/%d" % n, bytes(50_000), 1, 1, 1) for n in range(40)]
        assert await new.take_place(items)
        assert (await new.scan(b"")).items[0].key == b"/0"
        with pytest.raises(errors.RefusedError, match="another history"):
            await old.commit(put(b"/k", b"never"))
        with pytest.raises(errors.RefusedError, match="another history"):
            await old.keep_alive(lease)
        assert (await old.status()).sealed
        assert not (await new.status()).sealed
