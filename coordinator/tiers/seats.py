"""Admissions as they are signed, stored and published: the last step of whatever changes who has a place."""

import msgspec

from coordinator.propagation import mirror, objects
from coordinator.store import commands
from coordinator.tiers import desk, keys


def signed(at: desk.Desk, admissions: tuple[objects.Admission, ...]) -> tuple[mirror.SignedAdmission, ...]:
    return tuple(mirror.SignedAdmission(at.sign(objects.Kind.ADMISSION, one), one) for one in admissions)


def puts(seats: tuple[mirror.SignedAdmission, ...]) -> tuple[commands.Put, ...]:
    return tuple(commands.put(keys.admission(one.content.server_id), one.raw) for one in seats)


def change(
    at: desk.Desk,
    admissions: tuple[objects.Admission, ...],
    caller: desk.Caller | None = None,
    detail: str = "",
) -> desk.Change:
    """The change that is nothing but these admissions; `at.turn` must be held until it is committed."""
    seats = signed(at, admissions)
    past = msgspec.structs.replace(at.past, content=at.past.content.take_all(seats))
    return desk.Change(puts(seats), past, caller=caller, detail=detail, publish=True)
