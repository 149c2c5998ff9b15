"""Waiting for news of the picture: one index for all views, and an end to every wait.

Law: the index rises with every change that a view could show, also over a change of MIC; whoever waits is answered
within `WAIT_S`, changed or not.
"""

import anyio

from coordinator.tiers import desk

WAIT_S = 25.0  # below the 30 s after which an ask over a link is given up
TERM_STEP = 10**9  # more changes of the picture than one term will see


def index(at: desk.Desk) -> int:
    """Of the picture now."""
    term = 0 if at.office is None else at.office.term
    return term * TERM_STEP + at.master.convergence.index + at.settled


async def until_above(at: desk.Desk, given: int, wait_s: float) -> None:
    """Return once the index is above `given`, after `wait_s`, or when this MIC ends."""
    with anyio.move_on_after(min(max(wait_s, 0.0), WAIT_S)):
        while at.fallen is None and index(at) <= given:
            await at.news.wait()
