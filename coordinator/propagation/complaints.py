"""What was refused over each link that stands, told once per link and reason however often it is offered.

Law: a parent that invents reasons costs no more than `KEPT` of them.
"""

from coordinator import names
from coordinator.propagation import events

KEPT = 8  # of one link


def warning(phrase: str, link: names.LinkId, detail: str) -> events.Note:
    """For the log."""
    return events.Note(events.Severity.WARNING, phrase, {"link": link, "detail": detail})


class Complaints:
    """See the module."""

    def __init__(self) -> None:
        self._told: dict[names.LinkId, dict[str, None]] = {}

    def add(self, phrase: str, link: names.LinkId, detail: str) -> list[events.Note]:
        """What is to be told now: nothing where it was told before."""
        told, why = self._told.setdefault(link, {}), f"{phrase}: {detail}"
        if why in told:
            return []
        if len(told) >= KEPT:
            del told[next(iter(told))]
        told[why] = None
        return [warning(phrase, link, detail)]

    @property
    def last(self) -> str:
        """The newest reason of a link that stands; empty where there is none."""
        return next((why for told in self._told.values() for why in reversed(told)), "")

    def gone(self, link: names.LinkId) -> None:
        """It is remembered as long as the link stands."""
        self._told.pop(link, None)
