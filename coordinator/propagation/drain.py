"""Stopping without leaving anyone behind: a tier about to stop serves on until its children have what it has."""

from collections.abc import Iterable

from coordinator import limits, names
from coordinator.propagation import messages, publisher


class Drain:
    """Law: ends at the latest `limits.DRAIN_S` after `start`."""

    def __init__(self) -> None:
        self.deadline: float | None = None

    def start(self, now: float) -> None:
        """From here on `over` may become true."""
        if self.deadline is None:
            self.deadline = now + limits.DRAIN_S

    def over(self, children: Iterable[publisher.Child], version: names.Version, now: float) -> bool:
        """Whether the tier may stop now; true once."""
        if self.deadline is None:
            return False
        if now < self.deadline and not all(_taken(child, version) for child in children):
            return False
        self.deadline = None
        return True


def _taken(child: publisher.Child, version: names.Version) -> bool:
    if child.admit.scope is not publisher.Scope.SERVER:
        return True
    ack = child.ack
    return ack is not None and (ack.version >= version or ack.outcome is messages.Outcome.REFUSED)
