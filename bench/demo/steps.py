"""What the demo does, step by step. Each raises `UnseenError` at the first thing that was not as it must be."""

import json
import subprocess
import time
from typing import Any

from bench.demo import editions, engine, fates, observe, place, story, sweeping
from bench.demo.observe import UnseenError
from coordinator import limits

OTHERS = [name for name in place.PLACES if name != place.FIRST.name]
NORTH = [server.name for server in place.of_site(story.NORTH)]


def begin(at: story.Story) -> None:
    """The first server, from nothing."""
    first = place.FIRST
    told = engine.words(at.engine)
    with at.show.step(
        f"one server, {first.name}: `server init{''.join(f' {one}' for one in told)}`, `server run`"
    ):
        engine.start(at.world, at.engine)
        at.until(lambda: engine.leads(at.engine), "etcd has a leader")
        words = ["--name", first.name, "--address", first.address, "--site", first.site]
        words += ["--master-domain", "acme", "--dir", str(at.world.directory(first.name))]
        at.run("server", "init", *words, *told)
        at.world.start(first.name)
        at.until(lambda: _status(at), "the API answers")
        at.hold(place.MIC)
        at.show.seen(
            f"revision {editions.BASIC} is the basic document of init: mic, dc and ws on {first.name}",
            f"MIC is pid {at.fixed[place.MIC].pid}, WS is pid {observe.holder(place.WS).pid}",
        )


def join(at: story.Story) -> None:
    """The others: each by a line of its own, parked at MIC."""
    with at.show.step(f"five more, {' '.join(OTHERS)}: `token create`, `server join`, `server run`"):
        asking = [(name, _joining(at, name)) for name in OTHERS]
        for name, (running, words, begun) in asking:
            story.good(at.world.ended(running, words, begun))
            at.world.start(name)
        at.until(lambda: _parked(at) == OTHERS, "all five are parked")
        at.show.seen("no revision names them: all five wait at MIC, parked")


def _joining(at: story.Story, name: str) -> "tuple[subprocess.Popen[str], tuple[str, ...], float]":
    """A machine that asks; five of them at once."""
    line = at.run("token", "create", "--server", name, "-o", "name").last
    where = ["--at", f"{place.MIC[0]}:{place.MIC[1]}", "--dir", str(at.world.directory(name))]
    local = ["--local-address", place.PLACES[name].address]
    begun = time.monotonic()
    running = at.world.begin("server", "join", line, *where, *local)
    return running, ("server", "join"), begun


def _status(at: story.Story) -> dict[str, Any]:
    """Empty where the API does not answer."""
    ran = at.world.run("status", "-o", "json")
    told: dict[str, Any] = {} if ran.code else json.loads(ran.out)
    return told


def _parked(at: story.Story) -> list[str]:
    return sorted(one["server"] for one in _status(at).get("parked", []) if one["linked"])


def example(at: story.Story) -> None:
    """From the basic document to two sites."""
    edition = editions.EXAMPLE
    with at.show.step("`tiercast apply examples/two-sites.yaml --wait all`: two sites, six servers"):
        with observe.Watch(lambda: observe.holders([place.WS]).get(place.WS)) as web:
            ran = at.world.run(*at.apply_words(edition, "all"))
            closing = story.converged(ran)
        at.see(edition)
        at.held()
        pids = [process.pid for process in web.seen if isinstance(process, observe.Process)]
        if len(pids) != 2:
            raise UnseenError(f"WS was to restart once (got pids {pids})")
        # A client that was held up for as long as WS was away has nothing to tell of it.
        client = "reconnected and went on waiting" if "retrying" in ran.talk else "waited and noticed nothing"
        at.hold(place.WS, *((server.address, limits.PORT_SHELL) for server in place.PLACES.values()))
        at.show.seen(
            closing,
            f"MIC did not restart, still pid {at.fixed[place.MIC].pid}",
            f"WS restarted once, pid {pids[0]} -> {pids[1]}; the client {client}",
            *_told(edition),
        )


def _told(edition: editions.Edition) -> list[str]:
    return [
        f"{role} on {program.server}, port {program.port}, says {program.answer(role, edition.revision)!r}"
        for role, program in edition.programs.items()
    ]


def change(at: story.Story) -> None:
    """Hot, restart, move and start in one revision, and nothing else."""
    edition = editions.CHANGE
    with at.show.step(
        f"revision {edition.revision}: some roles change hot, one restarts, one moves, one is new"
    ):
        at.show.seen(*at.edit(edition))
        plan = at.run("plan", str(at.file(edition))).out.strip().splitlines()
        at.show.seen("the plan:", *(f"  {line}" for line in plan))
        closing = story.converged(at.world.run(*at.apply_words(edition, "all")))
        old = at.programs
        before = at.see(edition)
        told = [
            fates.fate(role, old.get(role), program, before.get(role), at.processes[role])
            for role, program in edition.programs.items()
        ]
        at.held()
        kept = told.count("")
        at.show.seen(
            closing, *filter(None, told), f"{kept} roles, MIC, WS and every ServerShell kept their pids"
        )


def cut(at: story.Story) -> None:
    """One site loses its power."""
    with at.show.step("north loses its power: every process of its servers is killed"):
        killed = at.world.cut_power(NORTH)
        for role, program in at.programs.items():
            if story.is_north(program) and observe.answers(observe.endpoint(program)):
                raise UnseenError(f"{role} still answers")
        for server in place.of_site(story.NORTH):
            del at.fixed[server.address, limits.PORT_SHELL]
        at.show.seen(f"{killed} processes killed; nothing of north answers")


def without_north(at: story.Story) -> None:
    """A revision that the rest takes without it."""
    edition = editions.WITHOUT_NORTH
    with at.show.step(f"revision {edition.revision} while north is away: `apply --wait reachable`"):
        at.show.seen(*at.edit(edition))
        ran = at.run(*at.apply_words(edition, "reachable"))
        if not ran.last.startswith("reached: ") or not all(name in ran.last for name in NORTH):
            raise UnseenError(f"`reached` was to name {', '.join(NORTH)} as absent (got {ran.last!r})")
        before = at.see(edition, central=True)
        at.kept({role: before[role] for role in at.processes})
        at.held()
        at.show.seen(ran.last, "every program of central runs it, none restarted")


def come_back(at: story.Story) -> None:
    """The site returns two revisions behind, and catches up in one step."""
    edition = editions.CORRECTED
    missed = editions.WITHOUT_NORTH.revision
    with at.show.step(
        f"revision {edition.revision}; then the power of north comes back, two revisions behind"
    ):
        at.show.seen(*at.edit(edition))
        begun, words = time.monotonic(), at.apply_words(edition, "all")
        waiting = at.world.begin(*words)
        at.until(lambda: _central_runs(edition), "central runs it")
        at.show.seen("every program of central runs it; `apply --wait all` waits for north")
        back = time.monotonic()
        address, port = observe.endpoint(edition.programs["greetn1"])
        with observe.Watch(lambda: observe.line(address, port)) as watched:
            for name in NORTH:
                at.world.start(name)
            at.closing = story.converged(at.world.ended(waiting, words, begun))
        took_s = time.monotonic() - back
        said = ", then ".join(repr(line) for line in watched.seen)
        if any(f"revision {missed}" in str(line) for line in watched.seen):
            raise UnseenError(f"north was to catch up in one step (greetn1 said {said})")
        before = at.see(edition)
        at.kept({role: process for role, process in before.items() if role in at.processes})
        at.held()
        at.show.seen(
            f"all of north runs revision {edition.revision} {took_s:.1f} s after its power came back",
            f"greetn1 said {said}; nothing ever ran revision {missed} there",
            "nothing of central restarted",
        )


def _central_runs(edition: editions.Edition) -> bool:
    central = {role: program for role, program in edition.programs.items() if not story.is_north(program)}
    try:
        observe.seen(central, edition.revision)
    except UnseenError:
        return False
    return True


def stop(at: story.Story) -> None:
    """Everything ends by itself, in order."""
    with at.show.step("`server stop` on all six: nodes end first, then their ServerShells"):
        asked = [("server", "stop", "--dir", str(at.world.directory(name))) for name in place.PLACES]
        begun = time.monotonic()
        for running, words in [(at.world.begin(*words), words) for words in asked]:
            story.good(at.world.ended(running, words, begun))
        statuses = at.world.ends()
        at.world.end_beside()
        left = sweeping.belonging(at.world.root)
        if left or any(statuses.values()):
            raise UnseenError(f"all was to end in order (got exit statuses {statuses}, left {left})")
        at.show.seen("every ServerShell has ended with status 0, no process is left")


STEPS = (begin, join, example, change, cut, without_north, come_back)
