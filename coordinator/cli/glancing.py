"""`status` on one screen, whatever the size of the system: sites that are not there yet, who holds them up, for how long and why.

What is as it should be is counted, what is merely away is one quiet line, and what is left out is counted too.
Law: rows and sentences of an answer; asks nothing, prints nothing.
"""

from collections.abc import Iterator, Sequence

from coordinator.cli import answers, printing
from coordinator.host import durations

SITES_SHOWN = 20  # with more of them, those that have converged become one line
NAMED = 10  # servers by name below the sites
AWAY_NAMED = 5
SITE_HEAD = ("SITE", "SYNC", "READY", "OTHERS")
SERVER_HEAD = ("SERVER", "SITE", "SYNC", "FOR", "REASON")
_AWAY = frozenset({"pending", "unknown"})
_WORST_FIRST = (
    "stranded", "lost", "failed", "stale", "unknown", "pending", "held", "leaving", "applying", "converged",
)  # fmt: skip


def away(site: answers.SiteView) -> bool:
    """None of its servers has a link."""
    return bool(site.counts) and set(site.counts) <= _AWAY


def site_rows(view: answers.StatusView, *, every: bool) -> list[tuple[str, str, str, str]]:
    """Worst first; of many sites without those that have converged, unless `every` is wanted."""
    shown = [site for site in view.sites if not away(site)]
    if len(view.sites) > SITES_SHOWN and not every:
        shown = [site for site in shown if site.sync != "converged"]
    return [_site_row(site) for site in sorted(shown, key=_badness)]


def _badness(site: answers.SiteView) -> int:
    return _WORST_FIRST.index(site.sync) if site.sync in _WORST_FIRST else 0


def _site_row(site: answers.SiteView) -> tuple[str, str, str, str]:
    others = ", ".join(f"{number} {sync}" for sync, number in site.counts.items() if sync != "converged")
    ready, total = site.counts.get("converged", 0), sum(site.counts.values())
    return site.site, site.sync, f"{ready} of {total}", others


def server_rows(view: answers.StatusView) -> list[tuple[str, str, str, str, str]]:
    """Who can be reached and is not ready, who is absent from a site that is there, who runs it with a remark."""
    late = [
        (one.server, one.site, one.sync, durations.written(one.since_s), one.reason)
        for one in _waited(view)[:NAMED]
    ]
    odd = view.remarked[: NAMED - len(late)]
    return late + [(one.server, one.site, one.sync, _span(one), one.reason) for one in odd]


def _waited(view: answers.StatusView) -> list[answers.Blocking]:
    if view.rollout is None:
        return []
    gone = {site.site for site in view.sites if away(site)}
    return [*view.rollout.blocking, *(one for one in view.rollout.absent if one.site not in gone)]


def _span(one: answers.ServerView) -> str:
    return "" if one.since_s is None else durations.written(one.since_s)


def remarks(view: answers.StatusView, *, every: bool) -> Iterator[str]:
    """One quiet line for each thing that is left to be said."""
    settled = [site for site in view.sites if site.sync == "converged"]
    if len(view.sites) > SITES_SHOWN and settled and not every:
        count = sum(sum(site.counts.values()) for site in settled)
        yield f"converged: {printing.count(len(settled), 'site')}, {printing.count(count, 'server')}"
    if gone := [site for site in view.sites if away(site)]:
        yield f"away: {_few([_gone(view, site) for site in gone])}"
    if view.left_out:
        yield f"and {printing.count(view.left_out, 'server')} more by name: tiercast servers"
    if view.parked:
        yield f"parked: {_few([one.server for one in view.parked])}"
    if view.expelled_count:
        more = view.expelled_count - len(view.expelled)
        told = ", ".join(one.server for one in view.expelled) + (f" and {more} before" if more else "")
        yield f"expelled: {told}"


def unnamed(view: answers.StatusView) -> str:
    """How many more are not as they should be than are named or away with their site."""
    late = 0 if view.rollout is None else view.rollout.asked - view.rollout.ready
    gone = sum(sum(site.counts.values()) for site in view.sites if away(site)) if late else 0
    more = late - gone + view.remarked_count - len(server_rows(view))
    return f"and {more} more: tiercast status --not-converged" if more > 0 else ""


def _gone(view: answers.StatusView, site: answers.SiteView) -> str:
    """`north (3 servers, since 4 m, not enrolled)`: as far as all of its servers are named."""
    total = sum(site.counts.values())
    told = [printing.count(total, "server")]
    named = [one for one in (view.rollout.absent if view.rollout else ()) if one.site == site.site]
    if len(named) == total:
        told.append(printing.since(min(one.since_s for one in named)))
        reasons = {one.reason for one in named}
        told += reasons if len(reasons) == 1 else ()
    return f"{site.site} ({', '.join(part for part in told if part)})"


def _few(told: Sequence[str]) -> str:
    more = f", and {len(told) - AWAY_NAMED} more" if len(told) > AWAY_NAMED else ""
    return ", ".join(told[:AWAY_NAMED]) + more
