"""Our transactions in etcd's words, and its answers in ours.

Pure. What makes a transaction ours (the guard's own revision, and that the request was not done before) is compared together
with the caller's own compares. Where one of them fails, the other branch looks which: the same without the caller's holds,
then its own failure branch is done; or the guard moved, the session is unknown, or the request is known and its outcome stands there.
Laws: what is done for a request, its record included, is done at one revision; a compare that fails raises no revision; the
first put of every branch stands outermost, for etcd's quota looks no deeper.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from coordinator import errors
from coordinator.store import commands, port
from coordinator.store.backends.etcd import keys, large, messages

MAX_OPERATIONS: Final = 128  # etcd's own --max-txn-ops; of each branch, less what stands around it
COMPARES: Final = 96
WIDTH: Final = 60  # of the outermost branch; the rest of etcd's number is room for what is nested in it
DONE, NOT_DONE = b"1", b"0"
_INT64: Final = 2**63 - 1
_RELATIONS: Final = {
    commands.Relation.EQUAL: "EQUAL",
    commands.Relation.NOT_EQUAL: "NOT_EQUAL",
    commands.Relation.LESS: "LESS",
    commands.Relation.GREATER: "GREATER",
}
_FIELDS: Final = {
    commands.Target.CREATE: "create_revision",
    commands.Target.MOD: "mod_revision",
    commands.Target.VERSION: "version",
    commands.Target.VALUE: "value",
    commands.Target.LEASE: "lease",
}
_TARGETS: Final = {
    commands.Target.CREATE: "CREATE",
    commands.Target.MOD: "MOD",
    commands.Target.VERSION: "VERSION",
    commands.Target.VALUE: "VALUE",
    commands.Target.LEASE: "LEASE",
}


class Ours(msgspec.Struct, frozen=True):
    """What a transaction must find outside of the caller's own keys."""

    prefix: str
    root: str
    guard_revision: int

    @property
    def keys(self) -> keys.Root:
        return keys.Root(self.prefix, self.root)


# --- asked --------------------------------------------------------------------------------------------------------------


def encoded(parted: large.Parted, ours: Ours) -> messages.Message:
    """The request. Raises `TooLargeError`."""
    txn, root = parted.txn, ours.keys
    if len(txn.compare) > COMPARES:
        raise errors.TooLargeError(
            f"too many compares for etcd (got {len(txn.compare)}, have {COMPARES})",
            hint="make several transactions of it",
        )
    guard = keys.guard(ours.prefix)
    mine = [compared(guard, commands.Target.MOD, commands.Relation.EQUAL, ours.guard_revision)]
    asked = [ranged(guard)]
    before: list[messages.Message] = []
    records: list[list[messages.Message]] = [[], []]
    request = txn.request
    if request is not None:
        session, record = root.session(request.session), root.request(request.session, request.number)
        mine.append(compared(record, commands.Target.CREATE, commands.Relation.EQUAL, 0))
        mine.append(
            compared(session, commands.Target.VALUE, commands.Relation.LESS, settled(request.number + 1))
        )
        asked += [ranged(session), ranged(record)]
        before = [_settling(root, request)]
        records = [[put(record, DONE)], [put(record, NOT_DONE)]]
    compare = [*mine, *(_compare(root, one) for one in txn.compare)]
    room = MAX_OPERATIONS - max(len(compare), WIDTH + 2)
    success = [*before, *outermost(_branch(txn.success, parted, root, records[0]), room)]
    failure = [*before, *nested(_branch(txn.failure, parted, root, records[1]), room - 2)]
    return {
        "compare": compare,
        "success": success,
        "failure": [*asked, {"request_txn": {"compare": mine, "success": failure}}],
    }


def outermost(operations: list[messages.Message], room: int) -> list[messages.Message]:
    """The same operations in the same order; where they are too many, the first and groups of the others."""
    if len(operations) <= WIDTH:
        return operations
    return [operations[0], *_grouped(operations[1:], WIDTH - 1, room)]


def nested(operations: list[messages.Message], room: int) -> list[messages.Message]:
    """The same operations in the same order, in transactions within transactions where they are too many for one.

    What a level holds is taken off the room of those below it. Raises `TooLargeError`.
    """
    if len(operations) <= room:
        return operations
    return _grouped(operations, room // 2, room - room // 2)


def _grouped(operations: list[messages.Message], groups: int, room: int) -> list[messages.Message]:
    if groups < 2:
        raise errors.TooLargeError(
            "too many operations for one transaction of etcd", hint="make several transactions of it"
        )
    size = -(-len(operations) // groups)
    return [
        {"request_txn": {"success": nested(operations[at : at + size], room)}}
        for at in range(0, len(operations), size)
    ]


def put(key: bytes, value: bytes, lease: int = 0) -> messages.Message:
    return {"request_put": {"key": key, "value": value, "lease": lease}}


def ranged(key: bytes) -> messages.Message:
    return {"request_range": {"key": key}}


def deleted(key: bytes, end: bytes = b"") -> messages.Message:
    return {"request_delete_range": {"key": key, "range_end": end}}


def compared(
    key: bytes, target: commands.Target, relation: commands.Relation, operand: int | bytes
) -> messages.Message:
    fields = {"key": key, "target": _TARGETS[target], "result": _RELATIONS[relation]}
    return {**fields, _FIELDS[target]: operand}


def settled(number: int) -> bytes:
    """Sorts as the number does."""
    return b"%016x" % number


def _branch(
    operations: Sequence[commands.Operation],
    parted: large.Parted,
    root: keys.Root,
    record: list[messages.Message],
) -> list[messages.Message]:
    """A branch's operations after its record, and what takes the pieces it refers to off their lease."""
    made = [*record, *(_operation(root, one) for one in operations)]
    if not parted.pieces or not any(isinstance(one, commands.Put) for one in operations):
        return made
    held = [
        {"request_put": {"key": root.piece(parted.group, number), "ignore_value": True, "lease": 0}}
        for number in range(len(parted.pieces))
    ]
    names = msgspec.msgpack.encode(parted.holders)
    return [*made, *held, put(root.holders(parted.group), names)]


def _operation(root: keys.Root, operation: commands.Operation) -> messages.Message:
    match operation:
        case commands.Put(key, value, lease):
            return put(root.data(key), value, lease)
        case commands.Delete(key, end):
            return deleted(root.data(key), root.end(end) if end else b"")
        case commands.Range(key, end, limit):
            found = {"key": root.data(key), "range_end": root.end(end) if end else b"", "limit": limit}
            return {"request_range": found}


def _compare(root: keys.Root, compare: commands.Compare) -> messages.Message:
    key, operand = root.data(compare.key), compare.operand
    if isinstance(operand, bytes) != (compare.target is commands.Target.VALUE):  # holds for nothing
        return compared(key, commands.Target.CREATE, commands.Relation.LESS, 0)
    stored = large.sealed(operand) if isinstance(operand, bytes) else max(-_INT64, min(operand, _INT64))
    return compared(key, compare.target, compare.relation, stored)


def _settling(root: keys.Root, request: commands.RequestId) -> messages.Message:
    """Forget what was answered for good."""
    session = root.session(request.session)
    lower = compared(session, commands.Target.VALUE, commands.Relation.LESS, settled(request.settled))
    start = root.requests(request.session)
    gone = deleted(start, root.request(request.session, request.settled))
    return {"request_txn": {"compare": [lower], "success": [put(session, settled(request.settled)), gone]}}


# --- answered -----------------------------------------------------------------------------------------------------------


def outcome(
    answer: messages.Txn, txn: commands.Txn, ours: Ours
) -> tuple[bool, tuple[messages.Done, ...]] | port.TxnResult:
    """Whether the caller's compares held, and what came of each operation of that branch; or what was known before.

    Raises `RefusedError` where the guard has moved, `UnknownOutcomeError`.
    """
    if answer.succeeded:
        return True, _operations(answer, txn, len(txn.success))
    inner = answer.responses[-1].response_txn
    assert inner is not None, "the caller's failure branch stands last"
    if inner.succeeded:
        return False, _operations(inner, txn, len(txn.failure))
    return known(answer, ours)


def known(answer: messages.Txn, ours: Ours) -> port.TxnResult:
    """Why it was not done. Raises `RefusedError`, `UnknownOutcomeError`."""
    found = [one.response_range.kvs for one in answer.responses if one.response_range is not None]
    check_guard(found[0], ours)
    session, record = found[1], found[2]
    if record:
        return port.TxnResult(record[0].value == DONE, record[0].mod_revision, repeated=True)
    if not session:
        raise errors.UnknownOutcomeError("the session was forgotten")
    raise errors.UnknownOutcomeError("the outcome of this request was forgotten")


def check_guard(guard: Sequence[messages.Item], ours: Ours) -> None:
    """Raises `RefusedError` where it is not the one that was found at the opening."""
    if not guard or guard[0].mod_revision != ours.guard_revision:
        raise errors.RefusedError(
            f"the keys below {ours.prefix} belong to another history of the store now",
            hint="it was recovered or begun anew from elsewhere; restart this MIC if it is to follow",
        )


def _operations(answer: messages.Txn, txn: commands.Txn, count: int) -> tuple[messages.Done, ...]:
    """Without what stands before them (what was settled, the record) and behind them (what is held)."""
    own = answer.responses if txn.request is None else answer.responses[1:]
    first = 0 if txn.request is None else 1
    return tuple(_flat(own)[first : first + count])


def _flat(responses: Sequence[messages.Done]) -> list[messages.Done]:
    found: list[messages.Done] = []
    for one in responses:
        found += [one] if one.response_txn is None else _flat(one.response_txn.responses)
    return found


def item(root: keys.Root, found: messages.Item, value: bytes) -> port.KeyValue:
    return port.KeyValue(
        root.key(found.key), value, found.create_revision, found.mod_revision, found.version, found.lease
    )
