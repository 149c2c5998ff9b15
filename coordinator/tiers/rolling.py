"""One rollout now: as committed, and for the one of the active revision as the tree shows it.

Law: what is committed as converged stays so, whatever this process has seen of it.
"""

import msgspec

from coordinator.propagation import convergence
from coordinator.tiers import desk, entries


def is_active(at: desk.Desk, rollout: entries.Rollout) -> bool:
    return rollout.id == at.past.rollout


def now(at: desk.Desk, rollout: entries.Rollout) -> entries.Rollout:
    """With the counts of this moment, where it is the active one."""
    if not is_active(at, rollout):
        return rollout
    summary = at.master.convergence.summary
    state = summary.state
    if state is convergence.RolloutState.REACHED and not at.settled:
        state = (
            convergence.RolloutState.RUNNING
        )  # children of the MIC before this one are still on their way here
    return msgspec.structs.replace(
        rollout,
        state=state,
        ready=summary.ready,
        reachable=summary.reachable,
        asked=summary.asked,
        converged_ms=converged_ms(at, rollout),
    )


def converged_ms(at: desk.Desk, rollout: entries.Rollout) -> float | None:
    """From its activation to its last ack; by the wall where another process activated it."""
    if rollout.converged_ms is not None:
        return rollout.converged_ms
    reached = at.master.convergence.converged_at
    if reached is None:
        return None
    begun = at.begun.get(rollout.id)
    if begun is not None:
        return (reached - begun) * 1000
    ago = at.clock.monotonic() - reached
    return max(0.0, at.clock.wall() - ago - rollout.started) * 1000


def elapsed_s(at: desk.Desk, rollout: entries.Rollout) -> float:
    """Since its activation, until it converged if it has."""
    ended = converged_ms(at, rollout) if is_active(at, rollout) else rollout.converged_ms
    if ended is not None:
        return ended / 1000
    begun = at.begun.get(rollout.id)
    if begun is not None:
        return at.clock.monotonic() - begun
    return max(0.0, at.clock.wall() - rollout.started)


def ended(at: desk.Desk) -> bool:
    """Whether the active rollout has come to an end that is not committed yet."""
    held = at.past.rollouts.get(at.past.rollout)
    if held is None or held.state != convergence.RolloutState.RUNNING:
        return False
    return now(at, held).state != convergence.RolloutState.RUNNING


# --- the way back ---------------------------------------------------------------------------------------------------

_GOOD = frozenset({convergence.RolloutState.CONVERGED, convergence.RolloutState.REACHED})


def outcome(at: desk.Desk, revision: int) -> str:
    """How the rollout of a revision ended, or stood when the next one overtook it; empty where that is not known."""
    for rollout in at.past.rollouts.values():
        if rollout.version.revision == revision:
            shown = now(at, rollout)
            return str(shown.overtaken or shown.state)
    return ""


def back(at: desk.Desk) -> int:
    """Where a rollback without a number goes; 0 where there is nothing before the active revision.

    The newest older revision with another document whose rollout converged or was reached: what is known to run. Where
    that is said of none, the one before.
    """
    active, records = at.past.version.revision, at.past.records
    older = sorted((revision for revision in records if revision < active), reverse=True)
    other = [revision for revision in older if records[revision].digest != at.past.content.digest]
    return next((revision for revision in other if outcome(at, revision) in _GOOD), next(iter(older), 0))
