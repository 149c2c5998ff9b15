"""Who may ask a ServerShell what: the table verb x asker, deny by default. Pure."""

import enum

from coordinator.propagation import asks, joining
from nodeagent.servershell import events


class Asker(enum.Enum):
    """Over which kind of link a request came."""

    PARENT = "parent"
    PEER = "peer"
    """A server that follows this one because it has nobody else."""
    LOCAL = "local"
    """A program of this machine."""
    OTHER = "other"
    """A node of this server, or a link that has gone."""


class Fate(enum.Enum):
    """What becomes of a request."""

    STATUS = "status"
    RAISE_BOOT = "raise boot"
    LOOK = "look"
    UPWARDS = "upwards"
    """MIC answers."""
    ACT = "act"
    """The nodes are told, see `LOCAL`."""
    RENEW = "renew"
    REFUSE = "refuse"


DOWNWARD = frozenset({"status"})
"""What a parent may ask as well: read-only."""
LOCAL: dict[str, events.NodeInput] = {
    "stop": events.StopNodes(),
    "rest": events.Rest(),
    asks.RETRY: events.Retry(),
}
"""What a local program may have done to the nodes."""

_TABLE: dict[Asker, dict[str, Fate]] = {
    Asker.PARENT: {
        **dict.fromkeys(DOWNWARD, Fate.STATUS),
        asks.RAISE_BOOT: Fate.RAISE_BOOT,
        asks.CHECK: Fate.LOOK,
    },
    Asker.PEER: {joining.LEAVE: Fate.UPWARDS},
    Asker.LOCAL: {
        "renew": Fate.RENEW,
        **dict.fromkeys(LOCAL, Fate.ACT),
        **dict.fromkeys(asks.UPWARD_VERBS, Fate.UPWARDS),
        **dict.fromkeys(DOWNWARD, Fate.STATUS),
    },
}


def judge(asked: asks.Asked, asker: Asker) -> Fate:
    """The row of the table."""
    return _TABLE.get(asker, {}).get(asked.verb, Fate.REFUSE)
