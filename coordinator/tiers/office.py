"""MIC's office: its term, and the only way by which MIC writes to the store.

Taking office raises the term in one transaction; the term is compared inside EVERY later one (I7), so that a deposed MIC
changes nothing and learns that it is deposed. With three members the term will hang on a lease besides; one member needs
none, for nobody else can open its store.
Law: `commit` returns only what is in the store for ever; what it could not learn is `UnknownOutcomeError`, after which
this office writes no more (whoever follows reads the store anew).
"""

from collections.abc import Sequence

import anyio

from coordinator import effects, errors, names
from coordinator.store import commands, port
from coordinator.tiers import entries, keys

TRIES = 20
RETRY_S = 0.25  # with the tries: longer than an election
NONCE_BYTES = 8


class DeposedError(errors.NoCoordinatorError):
    """Somebody else has taken the office."""


class Office:
    """One term of one MIC."""

    def __init__(self, store: port.Store, entry: entries.Term, session: int) -> None:
        self.term = entry.term
        self.over = False
        """Nothing may be written under this term any more, or it is not known whether something was."""
        self._store = store
        self._value = entries.encode(entry)
        self._session = session
        self._number = 0
        self._turn = anyio.Lock()

    @classmethod
    async def take(cls, store: port.Store, server: names.ServerId, random: effects.Random) -> "Office":
        """Raise the term. Raises `ConflictError` where others raise it all the time, and what the store raises."""
        for _ in range(TRIES):
            item = await store.get(keys.TERM)
            term = 1 if item is None else entries.TERM.decode(item.value).term + 1
            entry = entries.Term(term, server, random.token(NONCE_BYTES))
            value = entries.encode(entry)
            guard = commands.compare_mod(keys.TERM, 0 if item is None else item.mod_revision)
            txn = commands.Txn((guard,), (commands.put(keys.TERM, value),))
            try:
                taken = (await store.commit(txn)).succeeded
            except errors.UnknownOutcomeError:
                found = await store.get(keys.TERM)
                taken = found is not None and found.value == value
            if taken:
                return cls(store, entry, await store.open_session())
        raise errors.ConflictError("the term of office is raised by others all the time")

    async def commit(
        self, operations: Sequence[commands.Operation], compare: Sequence[commands.Compare] = ()
    ) -> int:
        """Do it if the term is still ours and `compare` holds; the store's revision after it.

        Raises `DeposedError`, `ConflictError` (a compare failed, nothing was done), `UnknownOutcomeError`, and what the
        store raises where nothing was done.
        """
        async with self._turn:
            if self.over:
                raise DeposedError("this MIC has lost its office")
            self._number += 1
            request = commands.RequestId(self._session, self._number, self._number)
            guard = commands.compare_value(keys.TERM, self._value)
            txn = commands.Txn((guard, *compare), tuple(operations), (), request)
            result = await self._outcome(txn)
            if not result.succeeded:
                await self._why()
            return result.revision

    async def _outcome(self, txn: commands.Txn) -> port.TxnResult:
        """Repeated under the same request id until it is known; it is applied once all the same."""
        doubtful = False
        for tried in range(TRIES):
            try:
                return await self._store.commit(txn)
            except errors.UnknownOutcomeError:
                doubtful = True
            except errors.NoQuorumError:
                if not doubtful:
                    raise
            await anyio.sleep(
                RETRY_S * min(tried, 1)
            )  # at once the first time: most often an answer was lost
        self.over = True
        raise errors.UnknownOutcomeError(
            "the store did not say whether it was done",
            hint="look with `tiercast history` before trying again",
        )

    async def _why(self) -> None:
        """A compare failed: the term's, or the caller's."""
        item = await self._store.get(keys.TERM)
        if item is None or item.value != self._value:
            self.over = True
            raise DeposedError("another MIC has taken office", hint="ask again: the other one answers")
        raise errors.ConflictError("the base has moved meanwhile", hint="plan again and apply that")
