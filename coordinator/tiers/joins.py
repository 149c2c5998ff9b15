"""Join lines as MIC keeps them: who made one, for whom, until when, and which key has used it.

Nothing here helps whoever steals a copy of the store: the secret of a line is derived from the authority's key, which is not
in it. Law: a line is used by one key; whatever else is asked of it says why not.
"""

import msgspec

from coordinator import errors, names
from coordinator.store import commands, port

PREFIX = b"/private/joins/"
KEPT = 1000  # lines, whatever became of them; the oldest that cannot be used any more make room
KEPT_S = 30 * 86400.0  # for so long it can still be said what became of one


class Join(msgspec.Struct, frozen=True, array_like=True):
    """One line. New fields come last with a default."""

    id: str
    server: names.ServerName
    """The name it is bound to; empty if none."""
    author: str
    made: float
    expires: float
    key_digest: str = ""
    """Of the key that used it."""
    server_id: names.ServerId = names.ServerId("")
    used: float = 0.0
    revoked: bool = False

    @property
    def key(self) -> bytes:
        return PREFIX + self.id.encode()

    def state(self, wall: float) -> str:
        """In one word."""
        if self.key_digest:
            return "used"
        if self.revoked:
            return "revoked"
        return "expired" if wall >= self.expires else "open"


ENTRY = msgspec.msgpack.Decoder(Join)


def put(join: Join) -> commands.Put:
    return commands.put(join.key, msgspec.msgpack.encode(join))


async def read(store: port.Store, line_id: str) -> Join | None:
    item = await store.get(PREFIX + line_id.encode())
    return None if item is None else ENTRY.decode(item.value)


async def scan(store: port.Store) -> list[Join]:
    """All, newest first."""
    found = [ENTRY.decode(item.value) for item in (await store.scan(PREFIX)).items]
    return sorted(found, key=lambda one: (-one.made, one.id))


def pruned(every: list[Join], wall: float) -> tuple[commands.Operation, ...]:
    """Forget what nobody will ask about, so that one more has room. Raises `NoSpaceError` where all may still be used."""
    over = [one for one in every if one.state(wall) != "open"]
    gone = [one for one in over if wall - max(one.expires, one.used) > KEPT_S]
    missing = len(every) - len(gone) - KEPT + 1
    if missing > 0:
        gone += [one for one in reversed(over) if one not in gone][:missing]
    if len(every) - len(gone) >= KEPT:
        raise errors.NoSpaceError(
            f"there are too many join lines that can still be used (got {KEPT})",
            hint="revoke some: `tiercast token list`, `tiercast token revoke ID`",
        )
    return tuple(commands.delete(one.key) for one in gone)
