"""What it costs: memory of the processes, and how fast the command starts."""

from bench.demo import editions, observe, place, story
from coordinator import limits

STARTS = 5


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
        at.show.seen(f"`tiercast version`: {starts[len(starts) // 2] * 1000:.0f} ms (median of {STARTS})")
