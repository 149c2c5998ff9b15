"""`tiercast server rollback --local` at MIC: a rollback for whoever is on the machine of the active one.

It is the rollback that administrators ask for by HTTP, with two differences: nobody shows a token, and D12 (a way in must
stay) only warns, since this is one. Law: it is audited as `local root`, and so is every refusal of it.
"""

import msgspec

from coordinator import errors
from coordinator.config import pair
from coordinator.tiers import applying, desk, requests, rolling, views

NAME = "local root"
VERB = "server.rollback"


class Undone(msgspec.Struct, frozen=True):
    """What became of it, or would."""

    applied: requests.Applied
    to: int
    """The revision that the new one equals."""


async def rollback(at: desk.Desk, asked: requests.Rollback) -> Undone:
    """Raises what `applying.rollback` raises."""
    caller = desk.Caller(NAME, f"{at.means.server}, this machine", VERB, "", entry=pair.Entry(local=True))
    meant = msgspec.structs.replace(asked, to=asked.to or rolling.back(at))
    try:
        return Undone(await applying.rollback(at, caller, meant), meant.to)
    except errors.TiercastError as refused:
        if not asked.dry_run and at.fallen is None and not at.recovery:
            await at.audit_refusal(caller, refused.code, refused.message)
        raise


async def rollout(at: desk.Desk, asked: requests.WaitRollout) -> requests.RolloutView:
    """How far it is. Raises `NotFoundError`."""
    return await views.rollout(at, desk.Caller(NAME, "", VERB, ""), asked)
