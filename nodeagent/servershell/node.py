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
        self.restarts = 0

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
