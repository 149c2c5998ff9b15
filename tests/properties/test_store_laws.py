"""Laws of the state machine and of watches, on any commands at all."""

import random
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import limits
from coordinator.store import commands, image, mvcc, port, watch

SMALL = st.integers(-1, 12)
ANY_INT = st.one_of(SMALL, st.integers(-(2**63), 2**64 - 1))
KEYS = st.sampled_from([b"", b"/a", b"/a/1", b"/a/2", b"/b", b"\xff", b"\xff\xff"])
VALUES = st.binary(max_size=4)
OPERATIONS = st.one_of(
    st.builds(commands.Put, KEYS, VALUES, st.one_of(st.just(0), ANY_INT)),
    st.builds(commands.Delete, KEYS, KEYS),
    st.builds(commands.Range, KEYS, KEYS, SMALL),
)
COMPARES = st.builds(
    commands.Compare,
    KEYS,
    st.sampled_from(commands.Target),
    st.sampled_from(commands.Relation),
    st.one_of(ANY_INT, VALUES),
)
REQUESTS = st.builds(commands.RequestId, ANY_INT, ANY_INT, ANY_INT)
TXNS = st.builds(
    commands.Txn,
    st.lists(COMPARES, max_size=2).map(tuple),
    st.lists(OPERATIONS, max_size=3).map(tuple),
    st.lists(OPERATIONS, max_size=2).map(tuple),
    st.one_of(st.none(), REQUESTS),
)
GUARDS = st.one_of(st.just(()), st.lists(COMPARES, min_size=1, max_size=2).map(tuple))
ON_LEASES = st.one_of(
    st.builds(commands.LeaseGrant, st.one_of(st.floats(), st.just(5.0)), GUARDS),
    st.builds(commands.LeaseKeepalive, ANY_INT, GUARDS),
    st.builds(commands.LeaseRevoke, ANY_INT, GUARDS),
)
COMMANDS = st.one_of(
    TXNS,
    TXNS,
    TXNS,
    ON_LEASES,
    st.builds(commands.LeaseExpire, ANY_INT, SMALL),
    st.builds(commands.Compact, ANY_INT),
    st.just(commands.SessionOpen()),
    st.builds(commands.RaiseLevel, SMALL),
    st.none(),
)
LOGS = st.lists(COMMANDS, max_size=25)


@pytest.fixture(autouse=True, scope="module")
def newest() -> Iterator[None]:
    """A program that understands every level that these logs rise to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "LEVEL", 12)
        yield


def replay(state: mvcc.State, log: list[commands.Command | None]) -> tuple[mvcc.State, list[mvcc.Result]]:
    results = []
    for command in log:
        state, result = mvcc.apply(state, command)
        results.append(result)
    return state, results


def picture(state: mvcc.State) -> list[bytes]:
    return [*image.encode(state), b"%d" % state.size_bytes, repr(list(state.attached.pairs())).encode()]


@given(COMMANDS)
def test_the_encoding_loses_nothing(command: commands.Command | None) -> None:
    if command is not None and command != commands.LeaseGrant(float("nan")):
        read = commands.decode(commands.encode(command))
        assert repr(read) == repr(command)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_command_or_none(data: bytes) -> None:
    try:
        command = commands.decode(b"\x01\x01" + data)
    except commands.AboveLevelError:
        return
    mvcc.apply(mvcc.State(), command)


@settings(max_examples=300)
@given(LOGS)
def test_apply_is_total_and_moves_the_revision_with_changes_only(log: list[commands.Command | None]) -> None:
    state = mvcc.State()
    for command in log:
        before = state
        state, result = mvcc.apply(state, command)
        events = result.events if isinstance(result, mvcc.Applied) else ()
        assert state.revision == before.revision + bool(events)
        assert all(event.item.mod_revision == state.revision for event in events)
        assert len({event.item.key for event in events}) == len(events)
        if isinstance(result, mvcc.Rejected):
            assert state is before


@settings(max_examples=300)
@given(LOGS, ON_LEASES)
def test_a_command_on_a_lease_does_what_it_would_or_nothing_where_its_guard_fails(
    log: list[commands.Command | None],
    command: commands.LeaseGrant | commands.LeaseKeepalive | commands.LeaseRevoke,
) -> None:
    state, _results = replay(mvcc.State(), log)
    after, result = mvcc.apply(state, command)
    asked = mvcc.apply(state, commands.Txn(command.guard))[1]
    assert isinstance(asked, mvcc.Applied)
    assert isinstance(asked.answer, port.TxnResult)
    if asked.answer.succeeded:
        free, wanted = mvcc.apply(state, msgspec.structs.replace(command, guard=()))
        assert (picture(after), result) == (picture(free), wanted)
    else:
        assert after is state
        assert result == mvcc.OVERRULED


@settings(max_examples=300)
@given(LOGS, st.integers(0, 25))
def test_a_snapshot_and_the_tail_equal_the_whole_log(log: list[commands.Command | None], cut: int) -> None:
    whole, whole_results = replay(mvcc.State(), log)
    half, _results = replay(mvcc.State(), log[:cut])
    restored = image.decode(list(image.encode(half)))
    assert picture(restored) == picture(half)
    tail, tail_results = replay(restored, log[cut:])
    assert picture(tail) == picture(whole)
    assert tail_results == whole_results[cut:]


@settings(max_examples=200)
@given(LOGS, st.sampled_from([b"", b"/a", b"/a/", b"/b"]), st.integers(0, 8), st.integers())
def test_a_watcher_that_takes_its_batches_holds_the_prefix(
    log: list[commands.Command | None], prefix: bytes, start: int, seed: int
) -> None:
    source = random.Random(seed)
    state, hub = mvcc.State(), watch.Hub(mvcc.State())
    watcher = None
    copy: dict[bytes, port.KeyValue] = {}
    for at, command in enumerate(log):
        if at == start:
            watcher = hub.open(prefix, 0)
        state, result = mvcc.apply(state, command)
        if isinstance(result, mvcc.Applied):
            told = hub.publish(state, result.events)
            assert (watcher in told) == (
                watcher is not None and any(e.item.key.startswith(prefix) for e in result.events)
            )
        if watcher is not None and source.random() < 0.3:
            consume(watcher.take(state), copy)
            assert copy == held(state, prefix)
    if watcher is not None:
        consume(watcher.take(state), copy)
        assert copy == held(state, prefix)


def consume(batch: port.Batch, copy: dict[bytes, port.KeyValue]) -> None:
    if batch.reset is not None:
        copy.clear()
        copy.update({item.key: item for item in batch.reset.items})
    for event in batch.events:
        if event.deleted:
            copy.pop(event.item.key, None)
        else:
            copy[event.item.key] = event.item


def held(state: mvcc.State, prefix: bytes) -> dict[bytes, port.KeyValue]:
    return {key: item for key, item in state.keys.pairs() if key.startswith(prefix)}


def put(number: int, key: bytes = b"/a/k") -> commands.Txn:
    return commands.Txn(success=(commands.put(key, b"%d" % number),))


def test_a_slow_watcher_is_given_the_last_change_of_each_key() -> None:
    state, hub = mvcc.State(), watch.Hub(mvcc.State())
    watcher = hub.open(b"/a", 1)
    for number in range(limits.STORE_WATCH_EVENTS + 10):
        state, result = mvcc.apply(state, put(number, b"/a/%d" % (number % 3)))
        assert isinstance(result, mvcc.Applied)
        hub.publish(state, result.events)
    batch = watcher.take(state)
    assert batch.reset is None
    assert len(batch.events) < 20
    copy: dict[bytes, port.KeyValue] = {}
    consume(batch, copy)
    assert copy == held(state, b"/a")


def test_a_watcher_too_slow_even_for_that_is_reset_and_its_memory_stays_bounded() -> None:
    state, hub = mvcc.State(), watch.Hub(mvcc.State())
    watcher = hub.open(b"/a", 1)
    for number in range(limits.STORE_WATCH_EVENTS + 10):
        state, result = mvcc.apply(state, put(number, b"/a/%d" % number))
        assert isinstance(result, mvcc.Applied)
        hub.publish(state, result.events)
    batch = watcher.take(state)
    assert batch.reset is not None
    assert len(batch.reset.items) == limits.STORE_WATCH_EVENTS + 10
    assert not watcher.waiting


def test_history_is_bounded_and_a_watch_from_before_it_begins_with_a_reset() -> None:
    state, hub = mvcc.State(), watch.Hub(mvcc.State())
    for number in range(limits.STORE_HISTORY_REVISIONS + 5):
        state, result = mvcc.apply(state, put(number))
        assert isinstance(result, mvcc.Applied)
        hub.publish(state, result.events)
    assert hub.history.floor == 5
    assert hub.open(b"/a", 5).take(state).reset is not None
    assert len(hub.open(b"/a", 6).take(state).events) == limits.STORE_HISTORY_REVISIONS
    assert hub.history.keys_at(4) is None
    keys = hub.history.keys_at(7)
    assert keys is not None
    assert [item.value for _key, item in keys.pairs()] == [b"6"]
    assert hub.history.keys_at(state.revision + 1) is None
