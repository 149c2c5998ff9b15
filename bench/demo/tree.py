"""The subscription tree with revision and time at every tier, from what each process wrote into its log.

Times count from the moment that MIC issued the revision; all clocks are those of one machine.
"""

import datetime as dt
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import msgspec

from bench.demo import observe, place, story, world


class Moment(msgspec.Struct, frozen=True):
    """Something that a process wrote down."""

    wall_s: float
    event: str
    level: str


def show(at: story.Story, revision: int) -> None:
    """Print it. Raises `UnseenError` where a tier never said that it runs the revision."""
    issued = _issued(at, revision)
    with at.show.step(f"the tree: revision {revision}, and when each tier had it"):
        at.show.seen(f"MIC {place.FIRST.name:<34} r{revision} issued   {_clock(issued)}")
        for site in dict.fromkeys(server.site for server in place.PLACES.values()):
            at.show.seen(*_site(at.world, site, revision, issued))


def _site(at: world.World, site: str, revision: int, issued: float) -> Iterator[str]:
    servers = place.of_site(site)
    yield _row(f"  IC {site}", revision, "accepted", _ic(at, servers, revision) - issued)
    for server in servers:
        own = _moments([at.log(server.name)], revision)
        accepted = _first(own, "server acks", "accepted") - issued
        ready = _first(own, "server acks", "ready") - issued
        name = f"    ServerShell {server.name}@{server.address}"
        yield _row(name, revision, "accepted", accepted) + f", ready {_span(ready)}"
        for node in sorted(path.name for path in (at.directory(server.name) / "nodes").iterdir()):
            log = at.directory(server.name) / "logs" / f"{node}.log"
            ready = _first(_moments([log], revision), "node acks", "ready") - issued
            yield _row(f"      {node.partition('@')[0]}", revision, "ready", ready)


def _ic(at: world.World, servers: tuple[place.Place, ...], revision: int) -> float:
    """When the site's IC had it: from MIC, or at its start from the copy of its own server."""
    logs = [log for server in servers for log in (at.directory(server.name) / "logs").glob("*ic*@*.log")]
    told = [moment for moment in _moments(logs, revision) if moment.event in ("mirrored", "node acks")]
    if not told:
        raise observe.UnseenError(f"no IC wrote that it has revision {revision}")
    return min(moment.wall_s for moment in told)


def _moments(logs: list[pathlib.Path], revision: int) -> list[Moment]:
    return [moment for log in logs for moment in _of_log(log, f"r{revision}")]


def _of_log(log: pathlib.Path, revision: str) -> Iterator[Moment]:
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            told: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if told.get("revision") == revision:
            wall = dt.datetime.fromisoformat(told["time"]).timestamp()
            yield Moment(wall, told["event"], told.get("reached", ""))


def _first(told: list[Moment], event: str, level: str) -> float:
    """When it was first written."""
    found = [moment.wall_s for moment in told if moment.event == event and level in ("", moment.level)]
    if not found:
        raise observe.UnseenError(f"nobody wrote {event!r} {level}".rstrip())
    return found[0]


def _issued(at: story.Story, revision: int) -> float:
    history = json.loads(at.run("history", "-o", "json").out)
    for one in history["revisions"]:
        if one["version"][1] == revision:
            return float(one["issued"])
    raise observe.UnseenError(f"revision {revision} is not in the history")


def _row(name: str, revision: int, level: str, span_s: float) -> str:
    return f"{name:<38} r{revision} {level:<8} {_span(span_s)}"


def _span(span_s: float) -> str:
    return f"+{span_s * 1000:.0f} ms"


def _clock(wall_s: float) -> str:
    return dt.datetime.fromtimestamp(wall_s, dt.UTC).strftime("%H:%M:%S.%f")[:-3] + "Z"
