"""The state machine that every member applies the log to, with etcd's semantics.

Pure and deterministic: no clock, no randomness, no I/O; a `State` never changes, so keeping one is a snapshot.
Laws: `apply` is total (`Applied` or `Rejected`, never an exception) and a function of (state, command) alone; a
rejected command changes nothing; the revision rises by one with a command that changes a key and by none otherwise;
snapshot + tail of the log == the whole log.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from coordinator import limits
from coordinator.store import commands, port, tree


class Lease(msgspec.Struct, frozen=True, array_like=True):
    ttl_s: float
    keepalives: int = 0


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a request."""

    number: int
    succeeded: bool
    revision: int


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Of request ids; `used` orders sessions by last use."""

    used: int
    settled: int = 0
    outcomes: tuple[Outcome, ...] = ()


class State(msgspec.Struct, frozen=True):
    """Everything the log has made so far."""

    revision: int = 0
    compacted: int = 0
    level: int = 1
    sealed: tuple[str, ...] = ()
    counter: int = 0
    """Source of lease and session ids and of the order of their use; rises, never falls."""
    size_bytes: int = 0
    keys: tree.Tree[port.KeyValue] = tree.Tree()
    leases: tree.Tree[Lease] = tree.Tree()
    attached: tree.Tree[bytes] = tree.Tree()
    """Lease id then key -> key."""
    sessions: tree.Tree[Session] = tree.Tree()


class Applied(msgspec.Struct, frozen=True):
    """Done; `answer` is a TxnResult for a Txn and the new id (else 0) for the rest."""

    answer: port.TxnResult | int = 0
    events: tuple[port.Event, ...] = ()


class Rejected(msgspec.Struct, frozen=True):
    """Nothing was changed; `code` is a constant word, `detail` for people."""

    code: str
    detail: str = ""


Result = Applied | Rejected

_ID_MASK: Final = 2**63 - 1
MALFORMED: Final = Rejected("malformed", "the log holds bytes that are no command")


def apply(state: State, command: commands.Command | None) -> tuple[State, Result]:
    """The next state and what came of it; None is a command nobody can read."""
    if command is None:
        return state, MALFORMED
    if state.sealed:
        return state, Rejected("sealed", "this group has ended")
    return _STEPS[type(command)](state, command)


def id_key(number: int) -> bytes:
    """A lease or session id as a key; any integer gives one, so that no command can make `apply` fail."""
    return (number & _ID_MASK).to_bytes(8, "big")


def select(
    keys: tree.Tree[port.KeyValue], start: bytes, end: bytes, limit: int
) -> tuple[tuple[port.KeyValue, ...], bool]:
    """The key, or those in [start, end), and whether `limit` cut some off."""
    if not end:
        item = keys.get(start)
        return ((item,) if item is not None else (), False)
    found: list[port.KeyValue] = []
    for _key, item in keys.pairs(start, end):
        if limit and len(found) == limit:
            return tuple(found), True
        found.append(item)
    return tuple(found), False


class _Draft:
    """One command's work on the keys: everything it changes carries the same new revision."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.revision = state.revision + 1
        self.keys = state.keys
        self.attached = state.attached
        self.size_bytes = state.size_bytes
        self.events: list[port.Event] = []

    def put(self, key: bytes, value: bytes, lease: int) -> None:
        old = self.keys.get(key)
        create, version = (self.revision, 1) if old is None else (old.create_revision, old.version + 1)
        item = port.KeyValue(key, value, create, self.revision, version, lease)
        self.keys = self.keys.put(key, item)
        self._attach(key, 0 if old is None else old.lease, lease)
        self.size_bytes += len(value) + len(key) if old is None else len(value) - len(old.value)
        self.events.append(port.Event(item))

    def delete(self, item: port.KeyValue) -> None:
        self.keys = self.keys.remove(item.key)
        self._attach(item.key, item.lease, 0)
        self.size_bytes -= len(item.key) + len(item.value)
        gone = port.KeyValue(item.key, b"", 0, self.revision, 0)
        self.events.append(port.Event(gone, deleted=True))

    def perform(self, operation: commands.Operation) -> port.Response:
        match operation:
            case commands.Put(key, value, lease):
                self.put(key, value, lease)
                return port.PutDone()
            case commands.Delete(key, end):
                items, _more = select(self.keys, key, end, 0)
                for item in items:
                    self.delete(item)
                return port.Deleted(len(items))
            case commands.Range(key, end, limit):
                return port.Ranged(*select(self.keys, key, end, limit))

    def finish(self) -> State:
        return msgspec.structs.replace(
            self.state,
            revision=self.revision if self.events else self.state.revision,
            keys=self.keys,
            attached=self.attached,
            size_bytes=self.size_bytes,
        )

    def _attach(self, key: bytes, old: int, new: int) -> None:
        if old == new:
            return
        if old:
            self.attached = self.attached.remove(id_key(old) + key)
        if new:
            self.attached = self.attached.put(id_key(new) + key, key)


def _txn(state: State, txn: commands.Txn) -> tuple[State, Result]:
    known = _known(state, txn.request)
    if known is not None:
        return state, known
    succeeded = all(holds(state.keys.get(compare.key), compare) for compare in txn.compare)
    operations = txn.success if succeeded else txn.failure
    refusal = _refusal(state, operations)
    if refusal is not None:
        return state, refusal
    draft = _Draft(state)
    responses = tuple([draft.perform(operation) for operation in operations])
    after = draft.finish()
    result = port.TxnResult(succeeded, after.revision, responses)
    return _remember(after, txn.request, result), Applied(result, tuple(draft.events))


def _known(state: State, request: commands.RequestId | None) -> Result | None:
    """What came of this request before, or why that cannot be told; None for a new one."""
    if request is None:
        return None
    session = state.sessions.get(id_key(request.session))
    if session is None:
        return Rejected("session_unknown", "the session was forgotten")
    at = _place(session.outcomes, request.number)
    if at < len(session.outcomes) and session.outcomes[at].number == request.number:
        outcome = session.outcomes[at]
        return Applied(port.TxnResult(outcome.succeeded, outcome.revision, repeated=True))
    if request.number < max(session.settled, request.settled) or _overtaken(session, request.number):
        return Rejected("request_forgotten", "the outcome of this request was forgotten")
    return None


def _place(outcomes: tuple[Outcome, ...], number: int) -> int:
    """Where the number stands, or would stand, among outcomes in order."""
    return bisect.bisect_left(outcomes, number, key=lambda outcome: outcome.number)


def _overtaken(session: Session, number: int) -> bool:
    return len(session.outcomes) >= limits.STORE_REQUESTS and number < session.outcomes[0].number


def _remember(state: State, request: commands.RequestId | None, result: port.TxnResult) -> State:
    if request is None:
        return state
    key = id_key(request.session)
    session = state.sessions.get(key)
    assert session is not None, "checked before the command was performed"
    settled = max(session.settled, request.settled)
    outcomes = session.outcomes[_place(session.outcomes, settled) :]
    at = _place(outcomes, request.number)
    outcome = Outcome(request.number, result.succeeded, result.revision)
    outcomes = (*outcomes[:at], outcome, *outcomes[at:])
    if len(outcomes) > limits.STORE_REQUESTS:
        settled = max(settled, outcomes[-limits.STORE_REQUESTS].number)
    counter = state.counter + 1
    kept = Session(counter, settled, outcomes[-limits.STORE_REQUESTS :])
    return msgspec.structs.replace(state, counter=counter, sessions=state.sessions.put(key, kept))


_RELATIONS: Final[dict[commands.Relation, Callable[[int], bool]]] = {
    commands.Relation.EQUAL: lambda sign: sign == 0,
    commands.Relation.NOT_EQUAL: lambda sign: sign != 0,
    commands.Relation.LESS: lambda sign: sign < 0,
    commands.Relation.GREATER: lambda sign: sign > 0,
}


def holds(item: port.KeyValue | None, compare: commands.Compare) -> bool:
    """Whether the condition is true of its key as it stands; None: the key is absent."""
    operand = compare.operand
    if compare.target is commands.Target.VALUE:
        if item is None or not isinstance(operand, bytes):
            return False
        sign = (item.value > operand) - (item.value < operand)
    elif isinstance(operand, bytes):
        return False
    else:
        actual = 0 if item is None else _number(item, compare.target)
        sign = (actual > operand) - (actual < operand)
    return _RELATIONS[compare.relation](sign)


def _number(item: port.KeyValue, target: commands.Target) -> int:
    match target:
        case commands.Target.CREATE:
            return item.create_revision
        case commands.Target.MOD:
            return item.mod_revision
        case commands.Target.VERSION:
            return item.version
        case commands.Target.LEASE | commands.Target.VALUE:
            return item.lease


def _refusal(state: State, operations: Iterable[commands.Operation]) -> Rejected | None:
    """Why these operations cannot be done together: a key may change once only, as in etcd."""
    puts: set[bytes] = set()
    deletes: list[commands.Delete] = []
    for operation in operations:
        if isinstance(operation, commands.Put):
            if operation.key in puts:
                return Rejected("duplicate_key", "one transaction changes a key twice")
            puts.add(operation.key)
            if operation.lease and state.leases.get(id_key(operation.lease)) is None:
                return Rejected("lease_gone", "there is no such lease")
        elif isinstance(operation, commands.Delete):
            deletes.append(operation)
    for delete in deletes:
        if not delete.end and delete.key in puts:
            return Rejected("duplicate_key", "one transaction changes a key twice")
        if delete.end and any(delete.key <= key < delete.end for key in puts):
            return Rejected("duplicate_key", "one transaction changes a key twice")
    return None


OVERRULED: Final = Rejected("overruled", "the conditions of this command do not hold any more")


def _overruled(state: State, guard: Iterable[commands.Compare]) -> bool:
    return not all(holds(state.keys.get(one.key), one) for one in guard)


def _grant(state: State, command: commands.LeaseGrant) -> tuple[State, Result]:
    if _overruled(state, command.guard):
        return state, OVERRULED
    if not 0 < command.ttl_s < float("inf"):
        return state, Rejected("malformed", "a lease needs a time to live")
    number = state.counter + 1
    leases = state.leases.put(id_key(number), Lease(command.ttl_s))
    return msgspec.structs.replace(state, counter=number, leases=leases), Applied(number)


def _keep_alive(state: State, command: commands.LeaseKeepalive) -> tuple[State, Result]:
    if _overruled(state, command.guard):
        return state, OVERRULED
    key = id_key(command.lease)
    lease = state.leases.get(key)
    if lease is None:
        return state, Rejected("lease_gone", "there is no such lease")
    leases = state.leases.put(key, Lease(lease.ttl_s, lease.keepalives + 1))
    return msgspec.structs.replace(state, leases=leases), Applied()


def _revoke(state: State, command: commands.LeaseRevoke) -> tuple[State, Result]:
    if _overruled(state, command.guard):
        return state, OVERRULED
    return _end_lease(state, command)


def _end_lease(state: State, command: commands.LeaseExpire | commands.LeaseRevoke) -> tuple[State, Result]:
    key = id_key(command.lease)
    lease = state.leases.get(key)
    if lease is None:
        return state, Rejected("lease_gone", "there is no such lease")
    if isinstance(command, commands.LeaseExpire) and command.keepalives != lease.keepalives:
        return state, Rejected("lease_alive", "the lease was kept alive meanwhile")
    draft = _Draft(state)
    for _place, name in state.attached.pairs(key, commands.prefix_end(key)):
        item = state.keys.get(name)
        assert item is not None, "a key leaves its lease when it is deleted"
        draft.delete(item)
    after = msgspec.structs.replace(draft.finish(), leases=state.leases.remove(key))
    return after, Applied(events=tuple(draft.events))


def _compact(state: State, command: commands.Compact) -> tuple[State, Result]:
    if not state.compacted < command.revision <= state.revision:
        return state, Rejected("compacted", f"compaction goes to ({state.compacted}, {state.revision}]")
    return msgspec.structs.replace(state, compacted=command.revision), Applied()


def _open_session(state: State, _command: commands.SessionOpen) -> tuple[State, Result]:
    number = state.counter + 1
    sessions = state.sessions
    if len(sessions) >= limits.STORE_SESSIONS:
        oldest, _session = min(sessions.pairs(), key=lambda pair: pair[1].used)
        sessions = sessions.remove(oldest)
    sessions = sessions.put(id_key(number), Session(number))
    return msgspec.structs.replace(state, counter=number, sessions=sessions), Applied(number)


def _raise_level(state: State, command: commands.RaiseLevel) -> tuple[State, Result]:
    if command.level <= state.level:
        return state, Rejected("level", f"the feature level is {state.level} already")
    return msgspec.structs.replace(state, level=command.level), Applied()


def _seal(state: State, command: commands.Seal) -> tuple[State, Result]:
    if not command.members:
        return state, Rejected("malformed", "a group needs members")
    return msgspec.structs.replace(state, sealed=command.members), Applied(state.revision)


_STEPS: Final[Mapping[type[commands.Command], Callable[[State, Any], tuple[State, Result]]]] = {
    commands.Txn: _txn,
    commands.LeaseGrant: _grant,
    commands.LeaseKeepalive: _keep_alive,
    commands.LeaseExpire: _end_lease,
    commands.LeaseRevoke: _revoke,
    commands.Compact: _compact,
    commands.SessionOpen: _open_session,
    commands.RaiseLevel: _raise_level,
    commands.Seal: _seal,
}
