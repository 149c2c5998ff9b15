"""Whether the demo can stand here: asked before anything starts, everything that is in the way named at once."""

import pathlib
import socket

from bench.demo import editions, engine, observe, place
from coordinator import errors, limits


def check(kind: engine.Kind = engine.Kind.RAFT) -> None:
    """Raises `InUseError` where an address or port that the demo needs cannot be had, `NotFoundError` without the engine."""
    engine.check(kind)
    endpoints = sorted(needed() | engine.endpoints(kind))
    refused = {endpoint: reason for endpoint in endpoints if (reason := _refusal(endpoint))}
    if not refused:
        return
    held = observe.holders(refused)
    told = [
        f"{address}:{port} ({reason}{_whose(held.get((address, port)))})"
        for (address, port), reason in refused.items()
    ]
    more = f", and {len(told) - 5} more" if len(told) > 5 else ""
    raise errors.InUseError(f"the demo needs {', '.join(told[:5])}{more}", hint=_hint(held))


def needed() -> set[observe.Endpoint]:
    """Every address and port that anything in the demo will listen on."""
    wanted = {(server.address, limits.PORT_SHELL) for server in place.PLACES.values()}
    wanted |= {place.MIC, place.WS, (place.FIRST.address, limits.PORT_RAFT), *place.ICS}
    for edition in (editions.EXAMPLE, editions.CHANGE, editions.WITHOUT_NORTH, editions.CORRECTED):
        wanted |= {observe.endpoint(program) for program in edition.programs.values()}
    return wanted


def _refusal(endpoint: observe.Endpoint) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(endpoint)
        except OSError as wrong:
            return (wrong.strerror or str(wrong)).lower()
    return ""


def _whose(process: observe.Process | None) -> str:
    if process is None:
        return ""
    try:
        words = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    return f": pid {process.pid}, {b' '.join(words).decode(errors='replace').strip()[:100]}"


def _hint(held: dict[observe.Endpoint, observe.Process]) -> str:
    if not held:
        return "see who holds them with `ss -lntp`"
    pids = " ".join(str(pid) for pid in sorted({process.pid for process in held.values()}))
    return f"is another demo running? if one was killed, its processes are left: kill -9 {pids}"
