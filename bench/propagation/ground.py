"""What the programs of our own system stand on: the product's driver, over mutual TLS or over bare loopback."""

from collections.abc import Callable

from bench.propagation import plain, roster
from coordinator import names
from coordinator.hop import credentials, driver, ledger, link
from coordinator.host import clock as clocks
from coordinator.trust import authority

CLOCK = clocks.SystemClock()
RANDOM = clocks.SystemRandom()


def driven(
    machine: driver.Machine,
    told: roster.Roster,
    server: names.ServerId,
    perform: Callable[[object], None],
    book: ledger.Ledger | None = None,
) -> driver.Driver:
    """A driver of this server."""
    if not told.tls:
        made = plain.PlainDriver(machine, driver.Ground(CLOCK, RANDOM, None), perform, book)
        made.server_id = server
        return made
    identity = authority.enrolled(told.authority, server, CLOCK.wall())
    own = credentials.Credentials(identity, CLOCK)
    return driver.Driver(machine, driver.Ground(CLOCK, RANDOM, own), perform, book)


def traffic(counted: link.Counters) -> dict[str, int]:
    """As it is reported."""
    return {
        "messages_in": counted.frames_in,
        "messages_out": counted.frames_out,
        "bytes_in": counted.bytes_in,
        "bytes_out": counted.bytes_out,
    }
