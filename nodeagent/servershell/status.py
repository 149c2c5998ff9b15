"""What a ServerShell says of itself when asked (`status`), as JSON; read-only, for MIC and for the local command."""

import msgspec

from coordinator import names, role
from coordinator.propagation import messages
from nodeagent.servershell import node
from nodeagent.supervision import machine


class RoleStatus(msgspec.Struct, frozen=True):
    role: str
    type: str
    health: str
    level: str
    revision: str
    code: str
    detail: str


class NodeStatus(msgspec.Struct, frozen=True):
    node: str
    state: str
    pid: int
    restarts: int
    roles: tuple[RoleStatus, ...]


class Papers(msgspec.Struct, frozen=True):
    """The certificate in use."""

    issuer: str = ""
    """Which CA it is of (`signing.root_id`)."""
    public_key: str = ""
    """PEM."""
    until: float = 0.0
    """Wall second at which it runs out."""
    expired: bool = False
    ahead_minutes: int = 0
    """Of this machine's clock before MIC's, in steps of five; 0 where it is near enough."""


class Status(msgspec.Struct, frozen=True):
    server: str
    site: str
    state: str
    """`placed`, `parked` or `leaving`."""
    accepted: str
    digest: str
    level: str
    outcome: str
    detail: str
    boot: int
    parent: str
    turned_away: str
    """Where there is none: what the last one that was asked said."""
    stale_since_s: float | None
    """Seconds ago of MIC's last sign of life where that is too long; None if all is well."""
    nodes: tuple[NodeStatus, ...]
    certificate_until: float = 0.0
    """Seconds since 1970; 0 where that is not known."""
    certificate_expired: bool = False
    public_key: str = ""


_HEALTH = {
    machine.State.STOPPED: "stopped",
    machine.State.STARTING: "progressing",
    machine.State.STOPPING: "progressing",
    machine.State.KILLING: "progressing",
    machine.State.BACKOFF: "failed",
}


def _health(ack: messages.RoleAck) -> str:
    """What does not work as wanted is failed, whatever it says of itself, except that it still works somewhat."""
    if ack.outcome is not messages.Outcome.OK and ack.health != role.Health.DEGRADED:
        return role.Health.FAILED.value
    return ack.health or role.Health.PROGRESSING.value


def of_node(one: node.Node) -> NodeStatus:
    """A node and its roles, as its last ack says."""
    told = {} if one.ack is None else {ack.role: ack for ack in one.ack.roles}
    revision = "" if one.ack is None else str(one.ack.version)
    planned = () if one.planned is None else one.planned.roles
    roles = []
    for known in planned:
        ack = told.get(known.name)
        health = _HEALTH.get(one.process.state, "progressing")
        if ack is not None and one.process.state is machine.State.RUNNING:
            health = _health(ack)
        level = "none" if ack is None else ack.level.word
        code, detail = ("", one.trouble) if ack is None else (ack.code, ack.detail)
        roles.append(RoleStatus(known.name, known.type, health, level, revision, code, detail))
    pid = 0 if one.process.process is None else one.process.process.pid
    return NodeStatus(names.NodeName(one.name), one.process.state.value, pid, one.restarts, tuple(roles))
