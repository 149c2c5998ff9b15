"""From the acks of the nodes to the ack of the server: the lowest of them, with the roles in trouble by name.

Law: `applied` and `ready` only if every wanted node says so of this very version and nothing unwanted runs; `released`
only if nothing runs at all; the first trouble, in the order of names, gives code and detail.
"""

from collections.abc import Iterable, Mapping

import msgspec

from coordinator import limits, names
from coordinator.propagation import intake, messages, objects
from nodeagent.servershell import node, status
from nodeagent.supervision import machine


class Verdict(msgspec.Struct, frozen=True):
    """An ack without its epoch."""

    version: names.Version
    digest: names.Digest
    level: messages.Level
    outcome: messages.Outcome
    code: str = ""
    detail: str = ""
    roles: tuple[messages.RoleAck, ...] = ()
    holds: objects.Numbers = objects.Numbers()
    issuer: str = ""

    def state(self, epoch: names.Epoch) -> messages.AckState:
        """The ack as it travels."""
        return messages.AckState(
            self.version,
            self.digest,
            self.level,
            self.outcome,
            epoch,
            self.code,
            self.detail,
            self.roles,
            self.holds,
            self.issuer,
        )


def refused(version: names.Version, digest: names.Digest, refusal: intake.Refusal) -> Verdict:
    """The server does not take this version; it runs on what it has."""
    detail = refusal.detail[: limits.DETAIL_CHARACTERS]
    return Verdict(version, digest, messages.Level.NONE, messages.Outcome.REFUSED, refusal.code, detail)


WAITS = Verdict(names.NO_VERSION, names.Digest(""), messages.Level.NONE, messages.Outcome.OK)
"""Of a server that waits for a place and has never had one: nothing runs."""


def roll_up(
    version: names.Version, digest: names.Digest, nodes: Mapping[names.NodeName, node.Node], *, placed: bool
) -> Verdict:
    """Of a server that has accepted this version."""
    wanted = [nodes[name] for name in sorted(nodes) if nodes[name].planned is not None]
    leftover = any(n.planned is None and n.process.state is not machine.State.STOPPED for n in nodes.values())
    level = _level(version, wanted, leftover=leftover, placed=placed)
    troubles = tuple(_troubles(version, wanted))
    if not troubles:
        return Verdict(version, digest, level, messages.Outcome.OK)
    first = troubles[0]
    detail = f"{first.role}: {first.detail}"[: limits.DETAIL_CHARACTERS]
    named = troubles[: limits.ACK_ROLES]
    return Verdict(version, digest, level, messages.Outcome.FAILED, first.code, detail, named)


def _level(
    version: names.Version, wanted: list[node.Node], *, leftover: bool, placed: bool
) -> messages.Level:
    if leftover:
        return messages.Level.ACCEPTED
    if not placed:
        return messages.Level.RELEASED
    return min((one.reached(version) for one in wanted), default=messages.Level.READY)


def _troubles(version: names.Version, wanted: list[node.Node]) -> Iterable[messages.RoleAck]:
    """The roles that do not run as they should; whoever is merely on the way is not named."""
    for one in wanted:
        if one.ack is not None and one.ack.version == version:
            yield from (ack for ack in one.ack.roles if ack.outcome is not messages.Outcome.OK)
        elif why := one.silent or one.given_up or one.trouble:
            code = "node_silent" if one.silent else "node_crash"
            detail = f"node {one.name} {why}"[: limits.DETAIL_CHARACTERS]
            for role in one.roles:
                yield messages.RoleAck(role, messages.Level.ACCEPTED, messages.Outcome.FAILED, code, detail)


def remark(distrust: str, papers: status.Papers, *, stale: bool) -> tuple[str, str]:
    """What is to be said beside how far a server is, where that is in order: code and sentence."""
    if papers.expired:
        return messages.EXPIRED, "its certificate has run out and is not renewed yet"
    if distrust:
        return messages.REFUSES, f"its parent shows what does not verify: {distrust}"
    if stale:
        return messages.STALE, "no sign of life of MIC, or not what it speaks of"
    if minutes := papers.ahead_minutes:
        word = "ahead of" if minutes > 0 else "behind"
        return messages.CLOCK, f"its clock is about {_about(abs(minutes))} {word} MIC's"
    return "", ""


def _about(minutes: int) -> str:
    """As people say it."""
    if minutes < 120:
        return f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"
