"""Which feature level a group may rise to: the lowest that the programs of all its members understand.

Pure. Law: a level is proposed only while every member has said, on the link it has now, that it understands it; a member
that is away holds it back.
"""

from collections.abc import Iterable

from coordinator.store import commands


class Levels:
    """What the members of one group said."""

    def __init__(self, others: Iterable[str]) -> None:
        self._others = tuple(others)
        self._said: dict[str, int] = {}

    def understands(self, member: str, level: int | None) -> None:
        """None: nobody knows any more."""
        if level is None:
            self._said.pop(member, None)
        else:
            self._said[member] = level

    def due(self, present: int) -> commands.RaiseLevel | None:
        """What a leader whose group is at `present` is to propose, if anything."""
        if any(other not in self._said for other in self._others):
            return None
        lowest = min((commands.LEVEL, *self._said.values()))
        return commands.RaiseLevel(lowest) if lowest > present else None
