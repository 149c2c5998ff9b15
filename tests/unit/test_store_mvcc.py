"""The state machine's words, one by one, as etcd has them."""

import msgspec
import pytest

from coordinator import errors, limits
from coordinator.store import commands, image, leases, mvcc, port


class Machine:
    """A state that is moved by commands."""

    def __init__(self) -> None:
        self.state = mvcc.State()

    def apply(self, command: commands.Command) -> mvcc.Result:
        self.state, result = mvcc.apply(self.state, commands.decode(commands.encode(command)))
        return result

    def txn(self, *success: commands.Operation, when: tuple[commands.Compare, ...] = ()) -> port.TxnResult:
        result = self.apply(commands.Txn(when, success))
        assert isinstance(result, mvcc.Applied)
        assert isinstance(result.answer, port.TxnResult)
        return result.answer

    def new(self, command: commands.Command) -> int:
        result = self.apply(command)
        assert isinstance(result, mvcc.Applied)
        assert isinstance(result.answer, int)
        return result.answer

    def get(self, key: bytes) -> port.KeyValue | None:
        return self.state.keys.get(key)


def test_a_put_counts_versions_and_keeps_the_revision_of_creation() -> None:
    machine = Machine()
    machine.txn(commands.put(b"a", b"1"))
    machine.txn(commands.put(b"b", b"1"))
    machine.txn(commands.put(b"a", b"2"))
    assert machine.get(b"a") == port.KeyValue(b"a", b"2", 1, 3, 2)


def test_a_key_that_was_deleted_begins_anew() -> None:
    machine = Machine()
    machine.txn(commands.put(b"a", b"1"))
    assert machine.txn(commands.delete(b"a")).responses == (port.Deleted(1),)
    assert machine.txn(commands.delete(b"a")) == port.TxnResult(True, 2, (port.Deleted(0),))
    machine.txn(commands.put(b"a", b"2"))
    assert machine.get(b"a") == port.KeyValue(b"a", b"2", 3, 3, 1)


def test_all_of_a_transaction_happens_at_one_revision_and_later_operations_see_earlier_ones() -> None:
    machine = Machine()
    result = machine.txn(commands.put(b"a", b"1"), commands.put(b"b", b"2"), commands.read_prefix(b""))
    assert result.revision == 1
    ranged = result.responses[2]
    assert isinstance(ranged, port.Ranged)
    assert [(i.key, i.mod_revision) for i in ranged.items] == [(b"a", 1), (b"b", 1)]


def test_a_range_stops_at_its_limit_and_says_so() -> None:
    machine = Machine()
    machine.txn(*(commands.put(b"k%d" % at, b"") for at in range(3)))
    result = machine.txn(commands.read_prefix(b"k", limit=2), commands.read_prefix(b"k", limit=3))
    assert result.responses[0] == port.Ranged(tuple(i for _k, i in machine.state.keys.pairs())[:2], more=True)
    last = result.responses[1]
    assert isinstance(last, port.Ranged)
    assert not last.more


COMPARES = [
    (commands.Target.CREATE, 1, 0),
    (commands.Target.MOD, 2, 0),
    (commands.Target.VERSION, 2, 0),
    (commands.Target.LEASE, 0, 0),
]


@pytest.mark.parametrize(("target", "present", "absent"), COMPARES)
def test_every_number_compares_in_every_relation(target: commands.Target, present: int, absent: int) -> None:
    machine = Machine()
    machine.txn(commands.put(b"a", b"1"))
    machine.txn(commands.put(b"a", b"2"))
    for key, number in ((b"a", present), (b"none", absent)):
        for relation, good in (
            (commands.Relation.EQUAL, (0,)),
            (commands.Relation.NOT_EQUAL, (-1, 1)),
            (commands.Relation.LESS, (1,)),
            (commands.Relation.GREATER, (-1,)),
        ):
            for offset in (-1, 0, 1):
                compare = commands.Compare(key, target, relation, number + offset)
                assert machine.txn(when=(compare,)).succeeded == (offset in good)


def test_values_compare_as_bytes_and_an_absent_key_has_none() -> None:
    machine = Machine()
    machine.txn(commands.put(b"a", b"m"))
    less = commands.Compare(b"a", commands.Target.VALUE, commands.Relation.LESS, b"n")
    assert machine.txn(when=(less, commands.compare_value(b"a", b"m"))).succeeded
    assert not machine.txn(
        when=(commands.Compare(b"x", commands.Target.VALUE, commands.Relation.NOT_EQUAL, b""),)
    ).succeeded


def test_a_compare_that_fails_does_the_other_branch() -> None:
    machine = Machine()
    command = commands.Txn(
        (commands.absent(b"a"),), (commands.put(b"a", b"first"),), (commands.put(b"b", b"second"),)
    )
    machine.apply(command)
    result = machine.apply(command)
    assert isinstance(result, mvcc.Applied)
    assert result.answer == port.TxnResult(False, 2, (port.PutDone(),))
    assert machine.get(b"b") is not None


@pytest.mark.parametrize(
    "operations",
    [
        (commands.put(b"a", b"1"), commands.put(b"a", b"2")),
        (commands.put(b"a", b"1"), commands.delete(b"a")),
        (commands.delete_prefix(b"a"), commands.put(b"ab", b"1")),
    ],
)
def test_a_key_may_change_only_once_in_a_transaction(operations: tuple[commands.Operation, ...]) -> None:
    machine = Machine()
    result = machine.apply(commands.Txn(success=operations))
    assert isinstance(result, mvcc.Rejected)
    assert result.code == "duplicate_key"
    assert machine.state.revision == 0


def test_a_request_is_applied_once_and_its_outcome_is_remembered() -> None:
    machine = Machine()
    session = machine.new(commands.SessionOpen())
    once = commands.Txn(success=(commands.put(b"a", b"1"),), request=commands.RequestId(session, 1))
    first, second = machine.apply(once), machine.apply(once)
    assert isinstance(first, mvcc.Applied)
    assert isinstance(second, mvcc.Applied)
    assert second.answer == port.TxnResult(True, 1, repeated=True)
    assert second.events == ()
    assert machine.state.revision == 1


def test_a_request_whose_outcome_was_forgotten_is_refused_and_never_done_again() -> None:
    machine = Machine()
    session = machine.new(commands.SessionOpen())

    def request(number: int, settled: int = 0) -> mvcc.Result:
        return machine.apply(
            commands.Txn(
                success=(commands.put(b"a", b"1"),), request=commands.RequestId(session, number, settled)
            )
        )

    for number in range(1, limits.STORE_REQUESTS + 2):
        assert isinstance(request(number), mvcc.Applied)
    assert request(1) == mvcc.Rejected("request_forgotten", "the outcome of this request was forgotten")
    request(100, settled=90)
    for number in (50, 89):
        assert isinstance(request(number), mvcc.Rejected)
    assert isinstance(request(95), mvcc.Applied)
    assert machine.state.revision == limits.STORE_REQUESTS + 3


def test_sessions_are_bounded_and_the_one_used_longest_ago_goes() -> None:
    machine = Machine()
    sessions = [machine.new(commands.SessionOpen()) for _ in range(limits.STORE_SESSIONS)]
    request = commands.Txn(success=(commands.put(b"a", b""),), request=commands.RequestId(sessions[0], 1))
    machine.apply(request)
    machine.apply(commands.SessionOpen())
    assert isinstance(machine.apply(request), mvcc.Applied)
    gone = msgspec.structs.replace(request, request=commands.RequestId(sessions[1], 1))
    result = machine.apply(gone)
    assert isinstance(result, mvcc.Rejected)
    assert result.code == "session_unknown"
    assert len(machine.state.sessions) == limits.STORE_SESSIONS


def test_a_lease_takes_its_keys_with_it_and_a_put_elsewhere_frees_a_key() -> None:
    machine = Machine()
    lease = machine.new(commands.LeaseGrant(5))
    machine.txn(*(commands.put(key, b"", lease=lease) for key in (b"a", b"b", b"c")))
    machine.txn(commands.put(b"b", b"free"), commands.delete(b"c"))
    result = machine.apply(commands.LeaseRevoke(lease))
    assert isinstance(result, mvcc.Applied)
    assert [(e.item.key, e.deleted) for e in result.events] == [(b"a", True)]
    assert [key for key, _item in machine.state.keys.pairs()] == [b"b"]
    assert len(machine.state.attached) == 0
    assert isinstance(machine.apply(commands.LeaseKeepalive(lease)), mvcc.Rejected)
    refused = machine.apply(commands.Txn(success=(commands.put(b"x", b"", lease=lease),)))
    assert refused == mvcc.Rejected("lease_gone", "there is no such lease")


def test_an_expiry_proposed_before_a_renewal_is_void() -> None:
    machine = Machine()
    lease = machine.new(commands.LeaseGrant(5))
    machine.apply(commands.LeaseKeepalive(lease))
    assert isinstance(machine.apply(commands.LeaseExpire(lease, 0)), mvcc.Rejected)
    assert isinstance(machine.apply(commands.LeaseExpire(lease, 1)), mvcc.Applied)


def test_the_clock_of_leases_waits_a_full_time_to_live_after_each_renewal() -> None:
    machine = Machine()
    clock = leases.LeaseClock(machine.state, 0.0)

    def apply(command: commands.Command, now: float) -> mvcc.Result:
        result = machine.apply(command)
        clock.applied(command, result, machine.state, now)
        return result

    assert clock.deadline is None
    apply(commands.LeaseGrant(5), 10.0)
    lease = machine.state.counter
    assert clock.due(14.9) == ()
    apply(commands.LeaseKeepalive(lease), 14.0)
    assert clock.due(18.9) == ()
    assert clock.due(19.0) == (commands.LeaseExpire(lease, 1),)
    assert clock.due(19.1) == ()
    assert clock.due(19.0 + leases.RETRY_S) == (commands.LeaseExpire(lease, 1),)
    fresh = leases.LeaseClock(machine.state, 100.0)
    assert fresh.due(104.9) == ()
    apply(commands.LeaseExpire(lease, 1), 20.0)
    assert clock.deadline is None


def test_the_clock_tells_the_ends_of_many_leases_in_order_and_keeps_none_that_are_no_more() -> None:
    machine = Machine()
    held = [machine.new(commands.LeaseGrant(5 + at)) for at in range(20)]
    clock = leases.LeaseClock(machine.state, 0.0)
    for second in range(1000):
        renewal = commands.LeaseKeepalive(held[second % 10])
        clock.applied(renewal, machine.apply(renewal), machine.state, float(second))
    assert clock.deadline == 15.0
    assert len(clock._order) <= 2 * len(held) + leases.SPARE
    told = [{held.index(one.lease) for one in clock.due(float(second))} for second in (14, 15, 16, 990, 2000)]
    assert told == [set(), {10}, {10, 11}, set(range(10, 20)), set(range(20))]


def test_compaction_goes_forward_only_and_not_beyond_the_present() -> None:
    machine = Machine()
    machine.txn(commands.put(b"a", b""))
    machine.txn(commands.put(b"a", b""))
    assert isinstance(machine.apply(commands.Compact(3)), mvcc.Rejected)
    assert isinstance(machine.apply(commands.Compact(2)), mvcc.Applied)
    assert isinstance(machine.apply(commands.Compact(2)), mvcc.Rejected)


def test_a_sealed_group_takes_nothing_more() -> None:
    machine = Machine()
    assert machine.new(commands.Seal(("m1", "m2", "m3"))) == 0
    assert machine.apply(commands.SessionOpen()) == mvcc.Rejected("sealed", "this group has ended")
    assert image.decode(list(image.encode(machine.state))).sealed == ("m1", "m2", "m3")


def test_a_command_above_the_own_level_halts_and_is_never_skipped() -> None:
    data = bytearray(commands.encode(commands.SessionOpen()))
    data[1] = commands.LEVEL + 1
    with pytest.raises(commands.AboveLevelError):
        commands.decode(bytes(data))


def test_bounds_are_checked_before_anything_is_proposed() -> None:
    for operations in (
        (commands.put(b"a", bytes(limits.STORE_VALUE_BYTES + 1)),),
        (commands.put(b"a" * (limits.STORE_KEY_BYTES + 1), b""),),
        (commands.put(b"", b""),),
        tuple(commands.put(b"%d" % at, b"") for at in range(limits.STORE_TXN_OPERATIONS + 1)),
        tuple(
            commands.put(b"%d" % at, bytes(limits.STORE_VALUE_BYTES))
            for at in range(limits.STORE_TXN_BYTES // limits.STORE_VALUE_BYTES + 1)
        ),
    ):
        with pytest.raises(errors.TooLargeError):
            commands.check(commands.Txn(success=operations))


def test_every_command_has_a_step() -> None:
    assert set(mvcc._STEPS) == set(commands.Command.__args__)
