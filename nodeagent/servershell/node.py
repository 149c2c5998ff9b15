"""One worker node as ServerShell sees it: its process, its last ack, and whether it had to fall back.

Two registers are kept apart: what the document wants of it, and what it runs. An ack dies with its process.
"""

from coordinator import limits, names
from coordinator.config import topology
from coordinator.propagation import messages
from nodeagent.supervision import machine

_POLICY = machine.Policy(stop_timeout_s=limits.NODE_STOP_TIMEOUT_S)


class Node:
    """See the module."""

    def __init__(self, name: names.NodeName) -> None:
        self.name = name
        self.process = machine.Machine(_POLICY)
        self.planned: topology.Node | None = None
        """As the accepted document has it; None once it is not wanted any more."""
        self.ack: messages.AckState | None = None
        self.link: names.LinkId | None = None
        """The newest link of the running process; what an older one still says counts no more."""
        self.given_up = ""
        """Why it is to start with its last good parameters; empty if it need not."""
        self.renewed = False
        """Another configuration has come for it since its process was told of one."""
        self.trouble = ""
        """How its process ended last, while it is down unasked."""
        self.silent = ""
        """Why it was killed as frozen; until it is heard again."""
        self.restarts = 0
        self._unheard_since: float | None = None

    @property
    def deadline(self) -> float | None:
        """When `look` or its process is due."""
        silent = None if self._unheard_since is None else self._unheard_since + limits.READY_TIMEOUT_S
        times = [time for time in (self.process.deadline, silent) if time is not None]
        return min(times, default=None)

    def look(self, now: float, stood_still_s: float) -> tuple[machine.Input, ...]:
        """What its supervision is to be told of this moment; `stood_still_s` ServerShell itself heard nobody."""
        if self.process.state is not machine.State.RUNNING or self.link is not None:
            self._unheard_since = None
        elif self._unheard_since is None:
            self._unheard_since = now
        else:
            self._unheard_since += stood_still_s
            if now - self._unheard_since >= limits.READY_TIMEOUT_S:
                self._unheard_since = now  # and once more, should it not end
                self.silent = f"gave no sign of life for {limits.READY_TIMEOUT_S:g} s and was killed"
                return (machine.Frozen(), machine.Tick())
        return (machine.Tick(),)

    def linked(self, link: names.LinkId, ack: messages.AckState | None) -> None:
        """Its process has greeted."""
        self.link, self.ack, self.silent, self._unheard_since = link, ack, "", None

    @property
    def roles(self) -> tuple[names.RoleName, ...]:
        return () if self.planned is None else tuple(role.name for role in self.planned.roles)

    def heard(self, outputs: tuple[machine.Output, ...]) -> tuple[machine.Output, ...]:
        """Keep in mind what the supervision reports; what is to be done is passed on."""
        for output in outputs:
            match output:
                case machine.ReportUp():
                    self.trouble = ""
                case machine.ReportDown(wanted, detail):
                    self.ack, self.link = None, None
                    self.trouble = "" if wanted else detail
                    self.restarts += not wanted
                case machine.CrashLooping(crashes, detail):
                    self.given_up = f"ended {crashes} times in {limits.CRASH_WINDOW_S:.0f} s, last: {detail}"
                case _:
                    pass
        return tuple(o for o in outputs if isinstance(o, machine.Spawn | machine.Signal))

    def configured(self) -> None:
        """Another configuration: what crashed under the old one gets another chance."""
        self.given_up = ""
        self.renewed = True

    def reached(self, version: names.Version) -> messages.Level:
        """How far it is with `version`, by its own word."""
        if self.ack is None or self.ack.version != version:
            return messages.Level.ACCEPTED
        return self.ack.level
