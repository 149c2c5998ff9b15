"""What it costs: memory of the processes, and how fast the command starts."""

import re

from bench.demo import editions, engine, observe, place, story
from coordinator import limits

STARTS = 5
CHANGES = 5
_GREETING = "{{port: 9002, greeting: {}}}"
_CONVERGED = re.compile(r", (\d+) ms \(")


def show(at: story.Story) -> None:
    """Measure and print. Raises `UnseenError`."""
    greeter = editions.CORRECTED.programs["greetc2"]
    server = place.PLACES[greeter.server]
    processes = {
        f"ServerShell of {server.name}": (server.address, limits.PORT_SHELL),
        f"worker node of {server.name} with one greeter": observe.endpoint(greeter),
        "node with MIC": place.MIC,
        "node with WS, DC and IC": place.WS,
    }
    with at.show.step("what it costs"):
        held = observe.holders(processes.values())
        for name, endpoint in processes.items():
            resident = observe.resident_kib(held[endpoint].pid) / 1024
            at.show.seen(f"{name}: {resident:.1f} MiB in memory")
        starts = sorted(at.run("version").took_s for _ in range(STARTS))
        took = sorted(_converged_ms(at))
        at.show.seen(
            f"apply to convergence, store in {engine.told(at.engine)}: {took[len(took) // 2]} ms "
            f"(median of {CHANGES} hot changes; {took[0]} to {took[-1]} ms)"
        )
        at.show.seen(f"`tiercast version`: {starts[len(starts) // 2] * 1000:.0f} ms (median of {STARTS})")


def _converged_ms(at: story.Story) -> list[int]:
    """As MIC told it, from an activation to the last ack of six servers; one greeting changes each time."""
    found, greeting = [], "how do you do"
    for number in range(CHANGES):
        new = f"how do you do ({number})"
        edit = editions.Edit(_GREETING.format(greeting), _GREETING.format(new))
        edition = editions.Edition(editions.CORRECTED.revision + 1 + number, (edit,), {})
        at.edit(edition)
        closing = story.converged(at.world.run(*at.apply_words(edition, "all")))
        took = _CONVERGED.search(closing)
        if took is None:
            raise observe.UnseenError(f"the closing line was to say how long it took (got {closing!r})")
        found.append(int(took[1]))
        greeting = new
    return found
