"""A rollout in words: the line of progress, and the closing line that people and scripts read."""

from collections.abc import Sequence

from coordinator.cli import answers, printing
from coordinator.host import durations

NAMED = 5  # servers in one line; the rest is a number


def progress(view: answers.RolloutView, elapsed_s: float) -> str:
    """`12.3 s  running: ready 4 of reachable 5 of asked 6; waiting for n2 (north): applying, ...`."""
    line = f"{durations.written(elapsed_s)}  {view.state}: {numbers(view)}"
    waited = view.blocking or view.absent
    if not waited or view.state == "converged":
        return line
    more = f", and {len(waited) - 1} more" if len(waited) > 1 else ""
    told = f"waiting for {blocker(waited[0])}" if view.blocking else f"absent: {absentee(waited[0])}"
    return f"{line}; {told}{more}"


def glance(view: answers.RolloutView, elapsed_s: float) -> str:
    """The same for one line of a terminal: whoever blocks, and why, before it is cut off."""
    line = f"{durations.written(elapsed_s)}  {view.ready} of {view.reachable} ready"
    if not view.blocking:
        gone = view.absent if view.state != "converged" else ()
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        return f"{line}, {view.state}" + (f"; {gone[0].server} ({gone[0].site}){more} absent" if gone else "")
    first = view.blocking[0]
    more = f" (and {len(view.blocking) - 1} more)" if len(view.blocking) > 1 else ""
    return f"{line}; {first.server} ({first.site}){more}: {first.sync}{first.reason and f', {first.reason}'}"


def closing(view: answers.RolloutView) -> str:
    """`converged: revision N, S sites, A servers, K roles, T ms (ready R of reachable L of asked A)`, and who is not there."""
    took_ms = view.elapsed_s * 1000 if view.converged_after_ms is None else view.converged_after_ms
    line = (
        f"{view.state}: revision {view.version.revision}, {printing.count(view.sites, 'site')}, "
        f"{printing.count(view.asked, 'server')}, {printing.count(view.roles, 'role')}, {took_ms:.0f} ms "
        f"({numbers(view)})"
    )
    if view.state in {"failed", "running", "aborted"} and view.blocking:
        line += f"; {_listed([blocker(one) for one in view.blocking])}"
    if view.absent and view.state != "converged":
        line += f"; absent: {_listed([absentee(one) for one in view.absent])}"
    return line


def numbers(view: answers.RolloutView) -> str:
    """The three numbers, wherever one of them is said."""
    return f"ready {view.ready} of reachable {view.reachable} of asked {view.asked}"


def blocker(one: answers.Blocking) -> str:
    """A reachable server that is not ready, and why."""
    told = f"{one.sync}, {one.reason}" if one.reason else one.sync
    return f"{one.server} ({one.site}): {told}, {printing.since(one.since_s)}"


def absentee(one: answers.Blocking) -> str:
    return f"{one.server} ({one.site}, {printing.since(one.since_s)})"


def _listed(told: Sequence[str]) -> str:
    more = f", and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more
