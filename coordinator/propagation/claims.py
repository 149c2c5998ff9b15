"""What a child claims of itself or of others, cut to the bounds of this system where it comes in. Pure.

Whoever relays, rolls up or commits it later may then rely on its size: one server that says too much costs nobody else.
Law: what is within the bounds passes unchanged; `fitting(fitting(x)) == fitting(x)`.
"""

import msgspec

from coordinator import limits, names
from coordinator.propagation import messages

CODE_CHARACTERS = 64  # the longest code of ours has 20
DIGEST_CHARACTERS = 64
LARGEST = 2**63 - 1  # of a number that every machine can raise by one and write again


def fitting(state: messages.AckState) -> messages.AckState | None:
    """The ack of a server; None where its number is beyond what any server reaches (`limits.BOOTS`)."""
    if not 0 <= state.epoch.boot <= limits.BOOTS or not 0 <= state.epoch.seq <= LARGEST:
        return None
    says_little = not (state.code or state.detail or state.roles)  # as most, when all is well
    if says_little and len(state.digest) <= DIGEST_CHARACTERS and len(state.issuer) <= CODE_CHARACTERS:
        return state
    return _cut(state, limits.ACK_ROLES)


def fitting_of_node(state: messages.AckState) -> messages.AckState:
    """The ack of a node, which names all its roles."""
    return _cut(state, limits.ROLES)


def fitting_rows(rows: tuple[messages.Row, ...]) -> tuple[messages.Row, ...]:
    """Of a roll-up; an ack that is none is as if it had not been told."""
    return tuple([_fitting_row(row) for row in rows[: limits.SERVERS]])


def _fitting_row(row: messages.Row) -> messages.Row:
    told = row.ack
    ack = None if told is None else fitting(told)
    if ack is told and len(row.remark) <= limits.DETAIL_CHARACTERS:
        return row
    return msgspec.structs.replace(row, ack=ack, remark=row.remark[: limits.DETAIL_CHARACTERS])


def _cut(state: messages.AckState, roles: int) -> messages.AckState:
    if (
        len(state.digest) <= DIGEST_CHARACTERS
        and len(state.code) <= CODE_CHARACTERS
        and len(state.detail) <= limits.DETAIL_CHARACTERS
        and len(state.roles) <= roles
        and len(state.issuer) <= CODE_CHARACTERS
        and (not state.roles or all(_fits(one) for one in state.roles))
    ):
        return state
    return msgspec.structs.replace(
        state,
        digest=names.Digest(state.digest[:DIGEST_CHARACTERS]),
        code=state.code[:CODE_CHARACTERS],
        detail=state.detail[: limits.DETAIL_CHARACTERS],
        roles=tuple(_cut_role(one) for one in state.roles[:roles]),
        issuer=state.issuer[:CODE_CHARACTERS],
    )


def _fits(one: messages.RoleAck) -> bool:
    return (
        len(one.role) <= limits.NAME_CHARACTERS
        and len(one.code) <= CODE_CHARACTERS
        and len(one.detail) <= limits.DETAIL_CHARACTERS
        and len(one.health) <= CODE_CHARACTERS
    )


def _cut_role(one: messages.RoleAck) -> messages.RoleAck:
    return messages.RoleAck(
        names.RoleName(one.role[: limits.NAME_CHARACTERS]),
        one.level,
        one.outcome,
        one.code[:CODE_CHARACTERS],
        one.detail[: limits.DETAIL_CHARACTERS],
        one.health[:CODE_CHARACTERS],
    )
