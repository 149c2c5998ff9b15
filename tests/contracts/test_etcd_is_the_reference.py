"""Our state machine and our etcd backend answer as etcd does: generated histories, and leases by scripted cases.

What etcd's own client is told (in a process of its own, see `tests/etcdreference.py`) is told to `mvcc` and to the backend
too; results, revisions, versions and refusals must be the same. The differences that are kept stand in docs/store.md.
"""

import base64
import json
import os
import pathlib
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from coordinator import errors
from coordinator.store import commands, mvcc, port
from tests import etcdcluster

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]

HISTORIES, STEPS = 40, 30
KEYS = (b"a", b"a/b", b"a/c", b"b", b"\xff", b"k")
VALUES = (b"", b"1", b"2", b"\x00\xff", b"\x00\xffR", b"three")
ENDS = (b"", b"a0", b"b", b"c", b"\xff\xff")

Step = list[Any]


class Reference:
    """The other process."""

    def __init__(self, port_number: int) -> None:
        program = pathlib.Path(__file__).parents[1] / "etcdreference.py"
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(port_number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        )

    def answers(self, steps: Sequence[Step]) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"prefix": f"/r-{etcdcluster.RANDOM.token(4)}/", "steps": steps}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        found: list[Any] = json.loads(self._process.stdout.readline())
        return found

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._process.stdout.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[etcdcluster.Cluster]:
    """Nothing else writes to it, so that revisions can be counted."""
    with etcdcluster.running(tmp_path_factory.mktemp("reference") / "c") as made:
        yield made


@pytest.fixture(scope="module")
def reference(cluster: etcdcluster.Cluster) -> Iterator[Reference]:
    made = Reference(cluster.client_ports["e0"])
    yield made
    made.end()


# --- a history ----------------------------------------------------------------------------------------------------------


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


class Story:
    """Steps as drawn; revisions count from 0."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._leases = 0
        self.revision = 0

    def step(self) -> Step:
        source = self._source
        kind = source.choices(("txn", "scan", "compact", "grant", "keep", "revoke"), (20, 4, 1, 2, 1, 1))[0]
        if kind in {"keep", "revoke"} and not self._leases:
            kind = "txn"
        match kind:
            case "scan":
                return ["scan", text(source.choice(KEYS)), text(source.choice(ENDS[1:])), self._past()]
            case "compact":
                return ["compact", self._past() or 1]
            case "grant":
                self._leases += 1
                return ["grant", self._leases, 600]
            case "keep" | "revoke":
                return [kind, source.randint(1, self._leases)]
            case _:
                return [
                    "txn",
                    self._many(self._compare, 2),
                    self._many(self._operation, 3),
                    self._many(self._operation, 2),
                ]

    def _past(self) -> int:
        return self._source.choice((0, self.revision, max(1, self.revision - 2), self.revision + 3))

    def _many(self, make: Any, most: int) -> list[Step]:
        return [make() for _ in range(self._source.randint(0, most))]

    def _compare(self) -> Step:
        target, relation = self._source.randrange(5), self._source.randrange(4)
        operand: Any = self._source.randint(0, self.revision + 1)
        if target == commands.Target.VALUE:
            operand = text(self._source.choice(VALUES))
        elif target == commands.Target.VERSION:
            operand = self._source.randint(0, 3)
        elif (
            target == commands.Target.LEASE
        ):  # ids are etcd's own affair: only whether they are the same is told
            operand, relation = self._source.randint(0, self._leases), relation % 2
        return [text(self._source.choice(KEYS)), target, relation, operand]

    def _operation(self) -> Step:
        key, kind = text(self._source.choice(KEYS)), self._source.choice(("put", "put", "delete", "range"))
        match kind:
            case "put":
                lease = self._source.randint(0, self._leases + 1) if self._source.random() < 0.3 else 0
                return ["put", key, text(self._source.choice(VALUES)), lease]
            case "delete":
                return ["delete", key, text(self._source.choice(ENDS))]
            case _:
                return ["range", key, text(self._source.choice(ENDS)), self._source.randint(0, 2)]


def histories(seed: int) -> Iterator[list[Step]]:
    for number in range(HISTORIES):
        source = random.Random(seed * 1000 + number)
        story, machine = Story(source), Machine()
        steps: list[Step] = []
        while len(steps) < STEPS:
            step = story.step()
            steps.append(step)
            machine.answer(step)
            story.revision = machine.state.revision
        yield steps


# --- who answers --------------------------------------------------------------------------------------------------------


def command_of(step: Step, leases: dict[int, int], base: int) -> commands.Txn:
    _kind, compare, success, failure = step
    return commands.Txn(
        tuple(compared(one, leases, base) for one in compare),
        tuple(operation(one, leases) for one in success),
        tuple(operation(one, leases) for one in failure),
    )


def compared(step: Step, leases: dict[int, int], base: int) -> commands.Compare:
    key, target, relation, operand = step
    value = base64.b64decode(operand) if isinstance(operand, str) else operand
    if target == commands.Target.LEASE:
        value = leases.get(operand, operand)
    elif target in {commands.Target.CREATE, commands.Target.MOD} and operand > 0:
        value = operand + base
    return commands.Compare(
        base64.b64decode(key), commands.Target(target), commands.Relation(relation), value
    )


def operation(step: Step, leases: dict[int, int]) -> commands.Operation:
    kind, key, *more = step
    name = base64.b64decode(key)
    match kind:
        case "put":
            return commands.put(
                name, base64.b64decode(more[0]), lease=leases.get(more[1], 12345) if more[1] else 0
            )
        case "delete":
            return commands.Delete(name, base64.b64decode(more[0]))
        case _:
            return commands.Range(name, base64.b64decode(more[0]), more[1])


def told(result: port.TxnResult, leases: dict[int, int], base: int) -> Any:
    done: list[Any] = []
    for one in result.responses:
        match one:
            case port.PutDone():
                done.append(["put"])
            case port.Deleted(count):
                done.append(["delete", count])
            case port.Ranged(items, more):
                done.append(items_told(items, leases, base, more=more))
    return ["txn", result.succeeded, result.revision - base, done]


def items_told(
    items: Sequence[port.KeyValue], leases: dict[int, int], base: int, *, more: bool = False
) -> Any:
    names = {real: ours for ours, real in leases.items()}
    return [
        "range",
        [
            [
                text(item.key), text(item.value), item.create_revision - base, item.mod_revision - base,
                item.version, names.get(item.lease, item.lease),
            ]
            for item in items
        ],
        more,
    ]  # fmt: skip


class Machine:
    """Our state machine, asked as a backend asks it."""

    def __init__(self) -> None:
        self.state = mvcc.State()
        self.events: list[port.Event] = []
        self._past: dict[int, mvcc.State] = {0: self.state}
        self._leases: dict[int, int] = {}

    def answer(self, step: Step) -> Any:
        match step:
            case ["txn", *_]:
                txn = command_of(step, self._leases, 0)
                try:
                    commands.check(txn)
                except errors.UsageError:
                    return ["error", "duplicate_key"]
                return self._applied(txn)
            case ["scan", start, end, revision]:
                state = self._past.get(revision or self.state.revision)
                if state is None or (revision or self.state.revision) < self.state.compacted:
                    return ["error", "compacted"]
                names = base64.b64decode(start), base64.b64decode(end)
                return items_told(mvcc.select(state.keys, *names, 0)[0], self._leases, 0)
            case ["compact", revision]:
                return self._applied(commands.Compact(revision))
            case ["grant", number, ttl_s]:
                answer = self._applied(commands.LeaseGrant(ttl_s))
                self._leases[number] = self.state.counter
                return answer
            case ["keep", number]:
                return self._applied(commands.LeaseKeepalive(self._leases[number]))
            case _:
                return self._applied(commands.LeaseRevoke(self._leases[step[1]]))

    def _applied(self, command: commands.Command) -> Any:
        self.state, result = mvcc.apply(self.state, command)
        self._past[self.state.revision] = self.state
        if isinstance(result, mvcc.Rejected):
            return ["error", result.code]
        self.events += result.events
        return told(result.answer, self._leases, 0) if isinstance(result.answer, port.TxnResult) else ["done"]


class Backend:
    """Our store in etcd."""

    def __init__(self, store: port.Store, base: int) -> None:
        self._store = store
        self._base = base
        self._leases: dict[int, int] = {}

    async def answer(self, step: Step) -> Any:
        try:
            return await self._answer(step)
        except errors.UsageError:
            return ["error", "duplicate_key"]
        except errors.NotFoundError:
            return ["error", "lease_gone"]
        except errors.ConflictError:
            return ["error", "compacted"]

    async def _answer(self, step: Step) -> Any:
        match step:
            case ["txn", *_]:
                result = await self._store.commit(command_of(step, self._leases, self._base))
                return told(result, self._leases, self._base)
            case ["scan", start, end, revision]:
                at = revision + self._base if revision else 0
                found = await self._store.scan(b"", revision=at)
                low, high = base64.b64decode(start), base64.b64decode(end)
                return items_told(
                    [one for one in found.items if low <= one.key < high], self._leases, self._base
                )
            case ["compact", revision]:
                await self._store.compact(revision + self._base)
            case ["grant", number, ttl_s]:
                self._leases[number] = await self._store.grant(ttl_s)
            case ["keep", number]:
                await self._store.keep_alive(self._leases[number])
            case _:
                await self._store.revoke(self._leases[step[1]])
        return ["done"]


# --- the comparison -----------------------------------------------------------------------------------------------------


async def test_generated_histories_come_out_as_etcds_own_client_sees_them(
    cluster: etcdcluster.Cluster, reference: Reference, seed: int
) -> None:
    kinds: set[str] = set()
    for steps in histories(seed):
        wanted = reference.answers(steps)
        machine = Machine()
        ours = [machine.answer(step) for step in steps]
        for at, (step, mine, theirs) in enumerate(zip(steps, ours, wanted, strict=True)):
            assert mine == theirs, f"step {at} of {steps[: at + 1]}: {step}"
        async with await cluster.store(f"/h-{etcdcluster.RANDOM.token(4)}") as store:
            base = (await store.scan(b"")).revision
            backend = Backend(store, base)
            for at, (step, theirs) in enumerate(zip(steps, wanted, strict=True)):
                assert await backend.answer(step) == theirs, f"step {at} of {steps[: at + 1]}: {step}"
            if machine.state.compacted == 0 and machine.events:
                await same_events(store, base, machine.events)
        kinds |= {":".join(map(str, one[:2])) if one[0] in {"error", "txn"} else one[0] for one in wanted}
    assert kinds >= {
        "txn:True",
        "txn:False",
        "range",
        "done",
        "error:duplicate_key",
        "error:lease_gone",
        "error:compacted",
    }


async def same_events(store: port.Store, base: int, wanted: list[port.Event]) -> None:
    """A watch from the beginning tells the same changes in the same order."""
    watch = store.watch(b"", base + 1)
    found: list[tuple[bytes, bytes, int, bool]] = []
    while len(found) < len(wanted):
        batch = await watch.next()
        assert batch.reset is None
        found += [shape(event, base) for event in batch.events]
    watch.close()
    assert found == [shape(event, 0) for event in wanted]


def shape(event: port.Event, base: int) -> tuple[bytes, bytes, int, bool]:
    return event.item.key, event.item.value, event.item.mod_revision - base, event.deleted


A, B = text(b"a"), text(b"b")
EVERYTHING: Step = ["scan", text(b"\0"), text(b"\xff\xff"), 0]
LEASES: dict[str, list[Step]] = {
    "a revoked lease takes its keys": [
        ["grant", 1, 60], ["txn", [], [["put", A, A, 1], ["put", B, B, 0]], []], ["revoke", 1], EVERYTHING,
        ["revoke", 1], ["keep", 1], ["txn", [], [["put", A, A, 1]], []],
    ],
    "a key moves from one lease to another": [
        ["grant", 1, 60], ["grant", 2, 60], ["txn", [], [["put", A, A, 1]], []], ["txn", [], [["put", A, B, 2]], []],
        ["revoke", 1], EVERYTHING, ["revoke", 2], EVERYTHING,
    ],
    "a put without a lease frees the key": [
        ["grant", 1, 60], ["txn", [], [["put", A, A, 1]], []], ["txn", [], [["put", A, A, 0]], []], ["revoke", 1], EVERYTHING,
    ],
    "a lease without keys raises no revision": [
        ["grant", 1, 60], ["keep", 1], ["revoke", 1], ["txn", [], [["put", A, A, 0]], []],
    ],
    "all keys of a lease go at one revision": [
        ["grant", 1, 60], ["txn", [], [["put", A, A, 1], ["put", B, B, 1]], []], ["revoke", 1],
        ["txn", [], [["put", A, A, 0]], []], EVERYTHING,
    ],
    "an unknown lease refuses the whole transaction": [
        ["txn", [], [["put", A, A, 0], ["put", B, B, 7]], []], EVERYTHING,
        ["txn", [[A, 0, 0, 1]], [["put", A, A, 7]], [["put", B, B, 0]]], EVERYTHING,
    ],
    "a deleted key is born again, and its lease has let it go": [
        ["grant", 1, 60], ["txn", [], [["put", A, A, 1]], []], ["txn", [], [["delete", A, ""]], []],
        ["txn", [], [["put", A, B, 0]], []], ["revoke", 1], EVERYTHING,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", LEASES)
async def test_leases_come_out_as_etcds_own_client_sees_them(
    cluster: etcdcluster.Cluster, reference: Reference, name: str
) -> None:
    steps = LEASES[name]
    wanted = reference.answers(steps)
    machine = Machine()
    assert [machine.answer(step) for step in steps] == wanted
    async with await cluster.store(f"/l-{etcdcluster.RANDOM.token(4)}") as store:
        backend = Backend(store, (await store.scan(b"")).revision)
        assert [await backend.answer(step) for step in steps] == wanted
