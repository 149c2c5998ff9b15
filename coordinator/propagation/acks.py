"""What an IC tells MIC of its servers: state, not events.

`Table` holds a row per server whose link the IC holds or held, with the greatest ack by (boot, seq). It is memory: after
a restart it fills again from the children, whose hellos carry their acks, and a new parent is told the whole table.
Law: the parent's copy, built from any prefix of the roll-ups since the last full one, never holds an ack that the table
did not hold; once `flush` has nothing to say it equals the table.
"""

from coordinator import limits, names
from coordinator.propagation import messages

_ROW_BYTES = 4 * limits.DETAIL_CHARACTERS + 256  # UTF-8 takes up to four bytes a character
_FULL_ROW_BYTES = (limits.ACK_ROLES + 1) * _ROW_BYTES


class Table:
    """See the module."""

    def __init__(self) -> None:
        self.rows: dict[names.ServerId, messages.Row] = {}
        self.seq = 0
        self._changed: dict[names.ServerId, None] = {}
        self.deadline: float | None = None
        """When `flush` is due at the latest."""
        self._full = True

    def linked(
        self, server: names.ServerId, ack: messages.AckState | None, now: float, remark: str = ""
    ) -> None:
        """The server's link is open; its hello carried `ack`, and what it said before is not what it says now."""
        self._put(messages.Row(server, True, ack, remark), now)

    def remarked(self, server: names.ServerId, remark: str, now: float) -> None:
        """Something else is to be noted of its link."""
        held = self.rows.get(server)
        if held is not None and held.linked:
            self._put(messages.Row(server, True, held.ack, remark), now)

    def unlinked(self, server: names.ServerId, now: float) -> None:
        """The server's link is gone; what it said last stays, as of then."""
        held = self.rows.get(server)
        if held is not None:
            self._put(messages.Row(server, False, held.ack), now)

    def acked(self, server: names.ServerId, ack: messages.AckState, now: float) -> None:
        """The server said something newer."""
        held = self.rows.get(server)
        if held is None:
            self._replace(messages.Row(server, True, ack), now)
        elif held.ack is None or ack.epoch > held.ack.epoch:
            self._replace(messages.Row(server, True, ack, held.remark), now)
        elif not held.linked:
            self._replace(messages.Row(server, True, held.ack, held.remark), now)

    def _put(self, row: messages.Row, now: float) -> None:
        if self.rows.get(row.server) != row:
            self._replace(row, now)

    def _replace(self, row: messages.Row, now: float) -> None:
        self.rows[row.server] = row
        self._changed[row.server] = None
        if self.deadline is None:
            self.deadline = now + limits.ROLLUP_FLUSH_S

    def tell_all(self, now: float) -> None:
        """A new parent, or one that missed something: the next flush is the whole table."""
        self._full = True
        self.deadline = now

    def wait(self) -> None:
        """Nobody to tell now; the next parent is told the whole table anyway."""
        self.deadline = None

    def is_due(self, now: float, *, answered: bool) -> bool:
        """Whether `flush` has something to say; at once where every live child has answered."""
        return self.deadline is not None and (answered or now >= self.deadline)

    def flush(self, now: float, *, answered: bool) -> tuple[messages.Rollup, ...]:
        """Roll-ups that are due."""
        if not self.is_due(now, answered=answered):
            return ()
        servers = list(self.rows) if self._full else list(self._changed)
        rollups = []
        for number, piece in enumerate(_pieces([self.rows[s] for s in servers if s in self.rows])):
            self.seq += 1
            rollups.append(messages.Rollup(self.seq, self._full and number == 0, piece))
        self._changed.clear()
        self._full, self.deadline = False, None
        return tuple(rollups)


def _pieces(rows: list[messages.Row]) -> list[tuple[messages.Row, ...]]:
    """In order, each well inside a frame even where every ack carries its longest details; at least one."""
    pieces: list[list[messages.Row]] = [[]]
    size = 0
    for row in rows:
        size += _ROW_BYTES if row.ack is None or not row.ack.roles else _FULL_ROW_BYTES
        if pieces[-1] and size > limits.FRAME_BYTES // 2:
            pieces.append([])
            size = 0
        pieces[-1].append(row)
    return [tuple(piece) for piece in pieces]
