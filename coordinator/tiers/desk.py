"""What the verbs of MIC work at: the history in hand, the tree, and the one way by which both change together.

Law: the store first, then the mark outside it, then memory, then the tree; whoever is answered `done` finds it in all.
One change at a time: `turn` is held from the look at the base to the commit.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from coordinator import effects, errors, limits, names, role
from coordinator.config import expansion, model, pair
from coordinator.domains import gate, people
from coordinator.propagation import asks, bodies, master, objects
from coordinator.store import commands, port
from coordinator.tiers import asking, entries, history, journal, keys, kv_space, looks, office, standing
from coordinator.trust import authority, passwords, signing

_DETAIL_BYTES = 480  # with every other field at its longest an entry stays below limits.AUDIT_ENTRY_BYTES
ASK_S = 10.0  # whoever waits for the answer gives up after 30 s
BODIES_SERVED = 4  # bases of deltas: the active one and those before it


class Means(msgspec.Struct, frozen=True):
    """What MIC is given of its process."""

    cluster: names.ClusterId
    server_id: names.ServerId
    server: names.ServerName
    authority: authority.Authority
    catalogues: Callable[[], role.Catalogue]
    """Importable by name: a child process calls it too."""
    clock: effects.Clock
    random: effects.Random
    password_cost: passwords.Cost = passwords.Cost()


class Caller(msgspec.Struct, frozen=True):
    """On whose behalf something is done."""

    name: str
    source: str
    verb: str
    request: str
    person: people.Person = people.NOBODY
    """By whose rank, domain and scopes a verb may decide further than the table of permissions does."""
    digest: str = ""
    """sha256 of the request, for the audit; empty where a secret is in it."""
    entry: pair.Entry = pair.Entry()
    """How it came in, which a change must not take away."""


class Change(msgspec.Struct, frozen=True):
    """One transaction, and the history after it."""

    operations: tuple[commands.Operation, ...]
    past: history.Past
    compare: tuple[commands.Compare, ...] = ()
    caller: Caller | None = None
    """Who is audited; None for what MIC does by itself."""
    detail: str = ""
    publish: bool = False
    """What children see, or of whom it is asked, is different."""


class News:
    """Wakes everyone who waits for the picture to change."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Until the next `tell`."""
        await self._event.wait()


class Desk:
    """See the module."""

    def __init__(
        self, means: Means, store: port.Store, held: office.Office | None, past: history.Past, recovery: str
    ) -> None:
        """`held` is None exactly where `recovery` says why nothing may be issued."""
        self.means = means
        self.store = store
        self.office = held
        self.past = past
        self.recovery = recovery
        self.turn = anyio.Lock()
        self.news = News()
        self.book = journal.Book()
        self.laid_out: tuple[expansion.Expanded, Any] | None = None
        """The active document as `layout` has worked it out."""
        self.gate = gate.Gate(means.password_cost, means.random)
        self.begun: dict[names.RolloutId, float] = {}
        """Monotonic second at which this process activated a rollout."""
        self.outlines: dict[names.Digest, names.Digest] = {}
        """Of documents, by their digest: what the rules of change see of them."""
        self.shelf = bodies.Shelf()
        if past.body:
            self.shelf.add(past.content.digest, past.body)
        self.master = master.Master(means.cluster, means.server_id, self.served(), self.shelf)
        self.act: Callable[[Iterable[object]], None] = _nowhere
        self.settled = False
        """Whoever was linked to the MIC before this one has had the time to come here; until then nobody is absent."""
        self.fallen: errors.TiercastError | None = None
        """Why this MIC must end."""
        self.owed = False
        """What children see has changed, and is published once whoever asked for it has been answered."""
        self.fallback: people.TokenRecord | None = None
        """The first administrator's token, where the store has lost it."""
        self.mark: standing.HighWater | None = None
        self.keep: Callable[[authority.Authority], None] = _forgotten
        """Makes a newer authority durable on this machine."""
        self.kv = None if held is None else kv_space.Keyspace(store, held, means.clock, self.turn)
        """The users' own keys; only with an office."""
        self.looks = looks.Looks()
        """What servers said about the prepared revision."""
        self._numbers = 0
        self._answers: dict[int, Callable[[str, bytes], None]] = {}

    # --- what is known --------------------------------------------------------------------------------------------

    @property
    def clock(self) -> effects.Clock:
        return self.means.clock

    @property
    def master_domain(self) -> str:
        """The one whose administrators configure the system; where no document is in force, that of `init`."""
        named = self.past.document.general.master_domain
        return named or ("" if self.fallback is None else self.fallback.domain)

    @functools.cached_property
    def catalogue(self) -> role.Catalogue:
        return self.means.catalogues()

    @functools.cached_property
    def signer(self) -> signing.Signer:
        return self.means.authority.signer()

    def rekey(self, held: authority.Authority) -> None:
        """From now on this is the authority; durable before anything is signed with it."""
        self.keep(held)
        self.means = msgspec.structs.replace(self.means, authority=held)
        self.__dict__.pop("signer", None)

    def sign(self, kind: objects.Kind, content: msgspec.Struct) -> bytes:
        return self.signer.sign(kind, objects.encode(content))

    def served(self) -> master.Served:
        past = self.past
        asked = asking.asked(past.content, past.expanded) if past.content.target is not None else {}
        return master.Served(past.content, past.expanded, past.rollout, asked)

    async def document(self, revision: int) -> model.Document | None:
        """Of a revision that is kept; None where it is not."""
        found = await self.body(revision)
        return None if found is None else model.decode(found)

    async def body(self, revision: int) -> bytes | None:
        record = self.past.records.get(revision)
        if record is None:
            return None
        shelved = self.shelf.get(record.digest)
        return shelved if shelved is not None else await history.body(self.store, record.digest)

    # --- what is changed ------------------------------------------------------------------------------------------

    def may_change(self) -> office.Office:
        """Raises `NeedsRecoveryError`, `NoCoordinatorError`."""
        if self.recovery or self.office is None:
            raise standing.refuse(self.recovery)
        if self.fallen is not None:
            raise errors.NoCoordinatorError(f"this MIC is ending: {self.fallen.message}", hint="try again")
        return self.office

    async def commit(self, change: Change) -> None:
        """Do it in the store, then everywhere; `turn` must be held. Raises what `Office.commit` raises.

        After an `UnknownOutcomeError` this MIC ends.
        """
        held = self.may_change()
        operations = change.operations
        past = change.past
        if change.caller is not None:
            operations += self._audited(change.caller, "ok", change.detail)
            past = msgspec.structs.replace(past, audit_next=self.past.audit_next + 1)
        with anyio.CancelScope(shield=True):
            try:
                revision = await held.commit(operations, change.compare)
            except (office.DeposedError, errors.UnknownOutcomeError) as problem:
                self.fall(problem)
                raise
            self.past = await self._issued(past, revision)
            if change.publish:
                self.publish()
            elif change.caller is not None:
                self.news.tell()  # whoever follows the audit

    async def audit_refusal(self, caller: Caller, code: str, detail: str) -> None:
        """A refused change is remembered as well."""
        async with self.turn:
            operations = self._audited(caller, code, detail)
            past = msgspec.structs.replace(self.past, audit_next=self.past.audit_next + 1)
            await self.commit(Change(operations, past))

    def _audited(self, caller: Caller, outcome: str, detail: str) -> tuple[commands.Operation, ...]:
        number = self.past.audit_next
        entry = entries.AuditEntry(
            self.clock.wall(), caller.name[: 2 * limits.NAME_CHARACTERS], caller.source[: limits.SOURCE_CHARACTERS],
            caller.verb, caller.request[:128], outcome, _cut(detail), self.past.version, caller.digest,
        )  # fmt: skip
        operations: list[commands.Operation] = [
            commands.put(keys.audit(number), entries.encode(entry)),
            commands.put(keys.AUDIT_NEXT, b"%d" % (number + 1)),
        ]
        if number >= limits.AUDIT_ENTRIES:
            operations.append(commands.delete(keys.audit(number - limits.AUDIT_ENTRIES)))
        return tuple(operations)

    async def _issued(self, past: history.Past, revision: int) -> history.Past:
        """What follows from a commit. Where that fails, memory is behind the store and only a MIC that reads it is right."""
        if past.content.target == self.past.content.target:
            return past
        try:
            if self.mark is not None:
                await anyio.to_thread.run_sync(self.mark.raise_to, standing.mark_of(past.content))
        except Exception as wrong:
            problem = errors.UnknownOutcomeError(
                f"it is in the store, and MIC could not note that outside it: {wrong}",
                hint="look with `tiercast history` before trying again",
            )
            self.fall(problem)
            raise problem from wrong
        return msgspec.structs.replace(past, target_mod=revision)

    def publish(self) -> None:
        """Let the tree have what the history says."""
        past, now = self.past, self.clock.monotonic()
        if past.body and past.content.digest not in self.shelf:
            self.shelf.add(past.content.digest, past.body)
            newest = sorted(past.records)[-BODIES_SERVED:]
            self.shelf.keep(frozenset([past.content.digest, *(past.records[n].digest for n in newest)]))
        if past.prepared is not None:
            self.shelf.add(past.prepared.record.digest, past.prepared.body)
        self.act(self.master.serve(self.served(), now))
        self.news.tell()

    def publish_owed(self) -> None:
        """Whoever takes its own place away is answered first: its link ends by the publication."""
        if self.owed:
            self.owed = False
            self.publish()

    def fall(self, problem: errors.TiercastError) -> None:
        """Step down: nothing is changed from here on, and whoever runs this MIC ends it."""
        if self.fallen is None:
            self.fallen = problem
        self.news.tell()

    # --- what is asked of servers -----------------------------------------------------------------------------------

    async def ask(self, server: names.ServerId, verb: str) -> tuple[str, bytes]:
        """(code, data) of a server's answer; the code is empty if it is good."""
        return await self._asked(
            lambda number, now: self.master.ask(number, server, verb, b"", now),
        )

    async def ask_relay(self, link: names.LinkId, verb: str) -> tuple[str, bytes]:
        """As `ask`, of an IC itself."""
        return await self._asked(lambda number, now: self.master.ask_relay(number, link, verb, now))

    async def _asked(self, send: Callable[[int, float], Iterable[object]]) -> tuple[str, bytes]:
        self._numbers += 1
        number, done = self._numbers, anyio.Event()
        found: list[tuple[str, bytes]] = []

        def answered(code: str, data: bytes) -> None:
            found.append((code, data))
            done.set()

        self._answers[number] = answered
        try:
            self.act(send(number, self.clock.monotonic()))
            with anyio.move_on_after(ASK_S):
                await done.wait()
        finally:
            self._answers.pop(number, None)
        return found[0] if found else (asks.TIMED_OUT, b"")

    def answered(self, number: int, code: str, data: bytes) -> None:
        """The tree's answer to an `ask`."""
        taken = self._answers.pop(number, None)
        if taken is not None:
            taken(code, data)


def _cut(detail: str) -> str:
    return detail.encode(errors="replace")[:_DETAIL_BYTES].decode(errors="ignore")


def _nowhere(outputs: Iterable[object]) -> None:
    """Before the tree is attached there is nobody to tell."""
    assert not tuple(outputs)


def _forgotten(_held: authority.Authority) -> None:
    """Where nobody says where to: it stands in the store, sealed."""
