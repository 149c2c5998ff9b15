"""What every backend of the store answers, whichever it is; the table of backends is `backends`."""

import asyncio
import pathlib
import time
from collections.abc import AsyncIterator

import pytest

from coordinator import errors, limits
from coordinator.store import commands, port
from tests.contracts import backends

pytestmark = pytest.mark.anyio
WAIT_S = 60.0


@pytest.fixture(params=[backend.param(name) for name, backend in backends.BACKENDS.items()])
async def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> AsyncIterator[port.Store]:
    backend: backends.Backend = request.param
    reason = backend.lacks.get(request.function.__name__)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    async with backend.opening(tmp_path / "store") as opened:
        yield opened


async def begun(store: port.Store) -> int:
    """The revision it has by itself: an engine that keeps its own records among the keys begins above 0."""
    return (await store.scan(b"")).revision


def txn(*operations: commands.Operation, when: tuple[commands.Compare, ...] = ()) -> commands.Txn:
    return commands.Txn(when, operations)


async def said_again_while_in_doubt(store: port.Store, request: commands.Txn) -> port.TxnResult:
    """As a caller does: 4 MiB may take three members on a busy disk longer than they wait for an answer."""
    assert request.request is not None
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return await store.commit(request)
        except errors.UnknownOutcomeError:
            assert time.monotonic() < deadline


async def test_what_was_committed_is_read(store: port.Store) -> None:
    after = await begun(store) + 1
    result = await store.commit(txn(commands.put(b"/a", b"1"), commands.put(b"/b", b"2")))
    assert result == port.TxnResult(True, after, (port.PutDone(), port.PutDone()))
    assert await store.get(b"/a") == port.KeyValue(b"/a", b"1", after, after, 1)
    assert await store.get(b"/none") is None
    assert [item.key for item in (await store.scan(b"/")).items] == [b"/a", b"/b"]


async def test_a_compare_that_fails_is_an_answer_and_no_error(store: port.Store) -> None:
    put = await store.commit(txn(commands.put(b"/a", b"1")))
    result = await store.commit(txn(commands.put(b"/a", b"2"), when=(commands.compare_mod(b"/a", 10**9),)))
    assert not result.succeeded
    assert result.revision == put.revision


async def test_of_many_who_swap_from_one_state_exactly_one_wins(store: port.Store) -> None:
    results = await asyncio.gather(
        *(
            store.commit(txn(commands.put(b"/lock", b"%d" % at), when=(commands.absent(b"/lock"),)))
            for at in range(50)
        )
    )
    assert sum(result.succeeded for result in results) == 1


async def test_a_scan_has_limits_and_goes_back_to_older_revisions(store: port.Store) -> None:
    base = await begun(store)
    for at in range(4):
        await store.commit(txn(commands.put(b"/k/%d" % at, b"")))
    limited = await store.scan(b"/k/", limit=3)
    assert (len(limited.items), limited.more) == (3, True)
    older = await store.scan(b"/k/", revision=base + 2)
    assert ([item.key for item in older.items], older.revision) == ([b"/k/0", b"/k/1"], base + 2)
    await store.compact(base + 3)
    for revision in (base + 2, base + 9):
        with pytest.raises(errors.ConflictError):
            await store.scan(b"/k/", revision=revision)


async def test_a_scan_goes_on_after_the_key_where_the_last_one_stopped(store: port.Store) -> None:
    await store.commit(txn(*(commands.put(b"/p/%d" % at, b"") for at in range(5)), commands.put(b"/q", b"")))
    found: list[bytes] = []
    more = True
    while more:
        page = await store.scan(b"/p/", limit=2, after=found[-1] if found else b"")
        found += [item.key for item in page.items]
        more = page.more
    assert found == [b"/p/%d" % at for at in range(5)]


async def test_a_watch_begins_with_what_is_there_and_goes_on_with_changes(store: port.Store) -> None:
    await store.commit(txn(commands.put(b"/w/a", b"1")))
    watch = store.watch(b"/w/")
    first = await watch.next()
    assert first.reset is not None
    assert [item.key for item in first.reset.items] == [b"/w/a"]
    await store.commit(txn(commands.put(b"/foreign", b"")))
    await store.commit(txn(commands.put(b"/w/b", b"2"), commands.delete(b"/w/a")))
    batch = await asyncio.wait_for(watch.next(), WAIT_S)
    assert [(e.item.key, e.deleted) for e in batch.events] == [(b"/w/b", False), (b"/w/a", True)]
    assert batch.revision == watch.revision == first.revision + 2
    watch.close()
    with pytest.raises(errors.NoQuorumError):
        await watch.next()


async def test_a_watch_from_a_revision_misses_nothing_and_wakes_for_no_foreign_key(store: port.Store) -> None:
    base = await begun(store)
    for at in range(3):
        await store.commit(txn(commands.put(b"/w/%d" % at, b"")))
    watch = store.watch(b"/w/", base + 2)
    assert [e.item.key for e in (await watch.next()).events] == [b"/w/1", b"/w/2"]
    waiting = asyncio.ensure_future(watch.next())
    await store.commit(txn(commands.put(b"/x", b"")))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert base + 3 <= watch.revision <= base + 4  # the foreign key may raise it
    await store.commit(txn(commands.put(b"/w/9", b"")))
    assert len((await waiting).events) == 1
    watch.close()


async def test_a_watch_ends_when_the_store_closes(store: port.Store) -> None:
    watch = store.watch(b"/w/", await begun(store) + 1)
    batches: list[port.Batch] = []
    first = asyncio.Event()

    async def follow() -> None:
        async for batch in watch:
            batches.append(batch)
            first.set()

    task = asyncio.ensure_future(follow())
    await store.commit(txn(commands.put(b"/w/1", b"")))
    await asyncio.wait_for(first.wait(), WAIT_S)
    await store.close()
    await asyncio.wait_for(task, WAIT_S)
    assert len(batches) == 1


async def test_a_repeated_request_is_done_once(store: port.Store) -> None:
    session = await store.open_session()
    request = commands.Txn(success=(commands.put(b"/a", b""),), request=commands.RequestId(session, 1))
    first, again = await store.commit(request), await store.commit(request)
    assert (first.succeeded, again.succeeded, again.repeated) == (True, True, True)
    item = await store.get(b"/a")
    assert item is not None
    assert (item.version, item.mod_revision) == (1, first.revision)
    assert again.revision == first.revision
    foreign = commands.Txn(success=(commands.put(b"/a", b""),), request=commands.RequestId(session + 99, 1))
    with pytest.raises(errors.UnknownOutcomeError):
        await store.commit(foreign)


async def test_a_lease_ends_with_its_keys_when_nobody_keeps_it_alive(store: port.Store) -> None:
    lease = await store.grant(3.0)
    await store.commit(txn(commands.put(b"/leased", b"", lease=lease)))
    await store.keep_alive(lease)
    assert await store.get(b"/leased") is not None
    deadline = time.monotonic() + WAIT_S
    while await store.get(b"/leased") is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    with pytest.raises(errors.NotFoundError):
        await store.keep_alive(lease)
    with pytest.raises(errors.NotFoundError):
        await store.commit(txn(commands.put(b"/leased", b"", lease=lease)))


async def test_a_revoked_lease_takes_its_keys_at_once(store: port.Store) -> None:
    lease = await store.grant(60)
    await store.commit(txn(commands.put(b"/leased", b"", lease=lease)))
    await store.revoke(lease)
    assert await store.get(b"/leased") is None
    with pytest.raises(errors.NotFoundError):
        await store.revoke(lease)


async def test_a_lease_obeys_nobody_whose_conditions_do_not_hold_any_more(store: port.Store) -> None:
    await store.commit(txn(commands.put(b"/term", b"1")))
    before, after = ((commands.compare_value(b"/term", value),) for value in (b"1", b"2"))
    lease = await store.grant(60, before)
    await store.commit(txn(*(commands.put(b"/leased/%d" % at, b"", lease=lease) for at in range(70))))
    await store.commit(txn(commands.put(b"/leased/0", b"elsewhere")))
    await store.keep_alive(lease, before)
    await store.commit(txn(commands.put(b"/term", b"2")))
    for act in (store.grant(60, before), store.keep_alive(lease, before), store.revoke(lease, before)):
        with pytest.raises(errors.ConflictError):
            await act
    assert len((await store.scan(b"/leased/")).items) == 70
    await store.keep_alive(lease, after)
    await store.revoke(lease, after)
    assert [item.key for item in (await store.scan(b"/leased/")).items] == [b"/leased/0"]
    for act in (store.keep_alive(lease, after), store.revoke(lease, after)):
        with pytest.raises(errors.NotFoundError):
            await act


async def test_bad_transactions_are_refused_and_change_nothing(store: port.Store) -> None:
    base = await begun(store)
    with pytest.raises(errors.UsageError):
        await store.commit(txn(commands.put(b"/a", b"1"), commands.put(b"/a", b"2")))
    with pytest.raises(errors.TooLargeError):
        await store.commit(txn(commands.put(b"/a", bytes(limits.STORE_VALUE_BYTES + 1))))
    assert (await store.scan(b"")).revision == base


async def test_a_whole_document_of_many_chunks_is_one_transaction(store: port.Store) -> None:
    chunks = [commands.put(b"/body/%03d" % at, bytes([at]) * limits.CHUNK_BYTES) for at in range(64)]
    session = await store.open_session()
    whole = commands.Txn(success=tuple(chunks), request=commands.RequestId(session, 1))
    result = await said_again_while_in_doubt(store, whole)
    found = (await store.scan(b"/body/")).items
    assert [(item.key, item.value) for item in found] == [(put.key, put.value) for put in chunks]
    assert {item.mod_revision for item in found} == {result.revision}


async def test_status_tells_size_and_leader(store: port.Store) -> None:
    result = await store.commit(txn(commands.put(b"/a", b"12345")))
    await store.get(b"/a")
    status = await store.status()
    assert (status.revision, status.keys) == (result.revision, 1)
    assert status.size_bytes == 7 or status.backend == "etcd"  # etcd tells the size of its whole database
    assert status.leader in [one.member for one in status.members]


def test_what_a_backend_lacks_is_named_after_a_test_of_this_suite() -> None:
    for backend in backends.BACKENDS.values():
        assert set(backend.lacks) <= set(globals())
