"""What a worker node says upwards of a configuration.

Pure. Law: the node's level is the lowest of its roles' levels, its outcome the worst of theirs.
"""

from collections.abc import Iterable

import msgspec

from coordinator import limits, names
from coordinator.propagation import messages

OUTCOMES = (messages.Outcome.OK, messages.Outcome.REFUSED, messages.Outcome.FAILED)
"""In worsening order."""


class NodeAck(msgspec.Struct, frozen=True):
    """The whole truth about one node and one version; replaces every earlier one."""

    version: names.Version
    digest: names.Digest
    level: messages.Level
    outcome: messages.Outcome = messages.Outcome.OK
    code: str = ""
    detail: str = ""
    roles: tuple[messages.RoleAck, ...] = ()
    """Of every role, by name."""


def roll_up(version: names.Version, digest: names.Digest, roles: Iterable[messages.RoleAck]) -> NodeAck:
    """A node without roles is ready: nothing is missing."""
    ordered = tuple(sorted(roles, key=lambda ack: ack.role))
    level = min((ack.level for ack in ordered), default=messages.Level.READY)
    worst = max(ordered, key=lambda ack: OUTCOMES.index(ack.outcome), default=None)
    if worst is None or worst.outcome is messages.Outcome.OK:
        return NodeAck(version, digest, level, roles=ordered)
    detail = f"{worst.role}: {worst.detail}"[: limits.DETAIL_CHARACTERS]
    return NodeAck(version, digest, level, worst.outcome, worst.code, detail, ordered)
