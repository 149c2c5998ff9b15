"""The roles of ONE worker node: what each is to run, what it runs, and how truly that may be said upwards.

Pure: no I/O, no clock, no role is called here; `events` states the contract of inputs and outputs, `slot` holds the
table of one role.

Law: `applied r` only after every role runs r; `ready` only while every role reports healthy on r; a level is lowered
in the step in which it stops being true, and said before anything is begun. What did not change is not touched, its
ack moves to the new version. Refused or failed parameters leave the last good ones running and are named in the ack.
"""

from collections.abc import Iterable

from coordinator import names, role
from nodeagent.basedrole import acks, events, slot


class Machine:
    """The roles of a node, by name."""

    def __init__(self) -> None:
        self.slots: dict[names.RoleName, slot.Slot] = {}
        self._view: role.View | None = None
        self._recalled: dict[names.RoleName, events.WantedRole] = {}
        self._said: acks.NodeAck | None = None
        self._ending = False

    @property
    def deadline(self) -> float | None:
        """When `Tick` is worth sending."""
        times = (one.deadline for one in self.slots.values())
        return min((time for time in times if time is not None), default=None)

    def handle(self, event: events.Input, now: float) -> tuple[events.Output, ...]:
        """Take one input; the outputs are to be performed in order."""
        outputs = tuple(self._take(event, now))
        self.slots = {name: one for name, one in self.slots.items() if not one.gone}
        if self._ending:
            return outputs if self.slots else (*outputs, events.AllStopped())
        return (*self._say(), *outputs)

    def _take(self, event: events.Input, now: float) -> Iterable[events.Output]:
        match event:
            case events.Configured():
                return self._configure(event, now)
            case events.Recalled(roles=roles):
                self._recalled = {good.name: good for good in roles}
                return ()
            case events.Retry():
                return [act for one in self.slots.values() for act in one.retry(now)]
            case events.StopAll():
                self._ending = True
                return [act for one in self.slots.values() for act in one.want(None, None, now)]
            case events.Tick():
                return [act for one in self.slots.values() for act in one.tick(now)]
            case _:
                one = self.slots.get(event.name)
                return () if one is None else one.handle(event, now)

    def _configure(self, event: events.Configured, now: float) -> Iterable[events.Output]:
        if self._ending:
            return ()
        self._view = event.view
        wanted = {one.name: one for one in event.roles}
        for name in wanted.keys() - self.slots.keys():
            self.slots[name] = slot.Slot(name, self._recalled.get(name))
        outputs: list[events.Output] = []
        for name, one in sorted(self.slots.items()):
            outputs += one.want(wanted.get(name), event.given_up, now)
            if one.phase in (slot.Phase.STARTING, slot.Phase.UP, slot.Phase.APPLYING):
                outputs.append(events.Tell(name, event.view))
        return outputs

    def _say(self) -> tuple[events.Acked, ...]:
        if self._view is None:
            return ()
        wanted = (one for one in self.slots.values() if one.wanted is not None)
        ack = acks.roll_up(self._view.version, self._view.digest, (one.ack() for one in wanted))
        if ack == self._said:
            return ()
        self._said = ack
        return (events.Acked(ack),)
