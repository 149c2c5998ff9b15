"""A MIC that is not the active one, as its children meet it: it says `bye` and nothing else.

Pure. A child that hears it goes on to the next MIC of its document, and comes back to this one if there is no other.
Law: no link to it lasts, and nothing of the configuration leaves it.
"""

from coordinator import names
from coordinator.propagation import events, messages

AGAIN_S = 1.0  # a take-over takes some seconds; whoever knows this MIC alone asks so often
_IDLE_S = 3600.0


class Standby:
    """A machine for the driver of a hop."""

    def __init__(self) -> None:
        self._deadline = 0.0

    @property
    def deadline(self) -> float:
        """It has nothing to do by itself; a driver wants to hear a number all the same."""
        return self._deadline

    def handle(self, event: events.Input, now: float) -> tuple[object, ...]:
        """Whatever a link says first is its last word."""
        self._deadline = now + _IDLE_S
        if not isinstance(event, events.Heard):
            return ()
        bye = messages.Bye("this MIC stands by", AGAIN_S)
        return (events.Send((event.link,), bye), events.Close(event.link, "stands by"))

    def drained(self, _link: names.LinkId, _now: float) -> tuple[object, ...]:
        """Nothing here waits for that."""
        return ()
