"""Parked servers as ICs tell of them: over which link they can be asked, and what they say that they hold. Pure.

A parked server is of no site, so no IC is believed about it as about its own ones. What is told here never enters the
picture of a rollout, is not kept beyond this process, and is never weighed against what MIC heard from the server itself.
Law: nothing is shown as linked whose IC is not, or does not tell so any more.
"""

from collections.abc import Iterable

from coordinator import names
from coordinator.propagation import messages


class Sightings:
    """See the module."""

    def __init__(self) -> None:
        self._rows: dict[names.ServerId, dict[names.LinkId, messages.Row]] = {}
        self._said: dict[names.ServerId, messages.AckState] = {}

    def rows(self, link: names.LinkId, rows: Iterable[messages.Row], *, full: bool) -> None:
        """Of the IC behind `link`, parked servers only; a full table replaces what it told."""
        if full:
            self.link_down(link)
        for row in rows:
            told = self._rows.setdefault(row.server, {})
            told.pop(link, None)
            if row.linked:
                told[link] = row  # the last one to tell is asked
            if row.ack is not None:
                self._said[row.server] = row.ack

    def link_down(self, link: names.LinkId) -> None:
        """An IC is gone; what its servers said last stays said."""
        for told in self._rows.values():
            told.pop(link, None)

    def way(self, server: names.ServerId) -> names.LinkId | None:
        """Of the IC that holds its link now."""
        return next(reversed(self._rows.get(server, {})), None)

    def ack(self, server: names.ServerId) -> messages.AckState | None:
        """What it said last, to whichever IC."""
        return self._said.get(server)

    def remark(self, server: names.ServerId) -> str:
        """What its IC notes about its link, while there is one."""
        way = self.way(server)
        return "" if way is None else self._rows[server][way].remark

    def keep(self, parked: Iterable[names.ServerId]) -> None:
        """Nothing is remembered of anybody who is not parked."""
        wanted = set(parked)
        for server in [*self._rows, *self._said]:
            if server not in wanted:
                self._rows.pop(server, None)
                self._said.pop(server, None)
