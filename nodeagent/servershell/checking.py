"""What of a prepared configuration cannot work on this machine, found before anything of it runs: ports, addresses,
parameters, and whatever a role type looks for itself (commands, directories).

Run in a thread: it looks at files and binds ports for a moment, and starts nothing. Law: whatever this server runs now
is never held against what is to come; only what is new or other is looked at.
"""

import socket
from collections.abc import Iterator

import msgspec

from coordinator import names, role
from coordinator.config import expansion
from coordinator.propagation import bodies, gates, holding

FINDINGS = 50  # of one server; nobody reads more
SENTENCE = 400  # characters of what a role type says


Trouble = holding.Trouble
"""Codes: `unknown_type`, `invalid_params`, `address`, `port` or `local`."""


def look(
    server: names.ServerName, body: bytes, now: expansion.Expanded | None, catalogue: role.Catalogue
) -> tuple[Trouble, ...]:
    """As `troubles`, of a document that is held: it has been read here, and may not be as large as that again."""
    new = gates.Reader().read(bodies.digest_of(body), body)
    assert new is not None
    return troubles(server, new, now, catalogue)


def troubles(
    server: names.ServerName,
    new: expansion.Expanded,
    now: expansion.Expanded | None,
    catalogue: role.Catalogue,
) -> tuple[Trouble, ...]:
    """Of every role that `new` runs on this server; `now` is what is accepted."""
    before = {} if now is None else {one.name: one for one in now.by_server.get(server, ()) if one.running}
    taken = {place for one in before.values() for place in _places(one, catalogue)}
    found: list[Trouble] = []
    for one in new.by_server.get(server, ()):
        if one.running and one != before.get(one.name):
            found += _of_role(one, taken, catalogue)
    return tuple(found[:FINDINGS])


def _of_role(
    one: expansion.PlacedRole, taken: set[tuple[str, int]], catalogue: role.Catalogue
) -> Iterator[Trouble]:
    known = catalogue.get(one.type)
    if known is None:
        yield Trouble(one.name, "unknown_type", f"nothing on this server provides the role type {one.type!r}")
        return
    try:
        params = msgspec.convert(one.params, known.params)
    except msgspec.ValidationError as wrong:
        yield Trouble(one.name, "invalid_params", str(wrong))
        return
    if (why := _unbindable(one.address, 0)) is not None:
        yield Trouble(one.name, "address", f"the address {one.address} is not one of this machine ({why})")
        return
    try:
        ports, sentences = known.ports(params), known.check(params)
    except Exception as wrong:  # noqa: BLE001 code of a role type, whose faults must not end the root process of a server
        yield Trouble(
            one.name, "local", f"the role type {one.type!r} cannot check it ({wrong!r:.{SENTENCE}})"
        )
        return
    for port in ports:
        if (one.address, port) not in taken and (why := _unbindable(one.address, port)) is not None:
            yield Trouble(one.name, "port", f"{one.address}:{port} cannot be listened at ({why})")
    for sentence in sentences:
        yield Trouble(one.name, "local", sentence[:SENTENCE])


def _places(one: expansion.PlacedRole, catalogue: role.Catalogue) -> list[tuple[str, int]]:
    known = catalogue.get(one.type)
    if known is None:
        return []
    try:
        return [(one.address, port) for port in known.ports(msgspec.convert(one.params, known.params))]
    except Exception:  # noqa: BLE001 as above
        return []


def _unbindable(address: str, port: int) -> str | None:
    """Why nobody could listen there now; the port is free again at once."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            probe.listen(1)
    except OSError as problem:
        return problem.strerror or str(problem)
    except (OverflowError, TypeError) as problem:
        return str(problem)
    return None
