"""What is published: a series of documents of one size, each different from the one before as `change` says.

Made from a seed, so that every system carries the same bytes in the same order. `full`: nothing of the content stays;
`small`: one parameter of one role is another. The texts within are random, so that compression wins little (about a
fifth) and what a delta wins is the delta's.
Law: every document has exactly the size asked for, and no two of a series have the same digest.
"""

import base64
import hashlib
import pathlib
import random
from collections.abc import Iterator, Sequence

import msgspec

from bench.propagation import programs
from coordinator import names
from coordinator.config import kinds, model

SERVER_BYTES = 1000  # a server with five roles, as an administrator would write them
ROLES = 5
_TEXT_BYTES = 90
SIZE_BYTES_MIN = 600

CHANGES = ("full", "small")
_CENTRAL = (kinds.MIC, kinds.DC, kinds.WS)


class Published(msgspec.Struct, frozen=True):
    """One revision of a series."""

    path: pathlib.Path
    digest: str


class Shape(msgspec.Struct, frozen=True):
    """Of every document of a run."""

    size_bytes: int
    sites: int
    servers: int
    seed: int = 7


def bodies(shape: Shape, change: str) -> Iterator[bytes]:
    """Endless. Raises `FailedError` where so small a document cannot be made."""
    chance = random.Random(f"{shape.seed}/{change}")
    document, filling = _document(shape, chance), _text(chance, shape.size_bytes)
    while True:
        yield _filled_up(document, filling, shape.size_bytes)
        if change == "full":
            document, filling = _document(shape, chance), _text(chance, shape.size_bytes)
        else:
            document = _small(document, chance)


def write(series: Iterator[bytes], count: int, directory: pathlib.Path) -> Sequence[Published]:
    """The next `count` documents as files."""
    found = []
    for _ in range(count):
        body = next(series)
        digest = hashlib.sha256(body).hexdigest()
        path = directory / f"body-{digest[:16]}"
        path.write_bytes(body)
        found.append(Published(path, digest))
    return found


def system(servers: int, sites: int, seed: int = 7) -> model.Document:
    """A valid document of a whole system: a master site, an IC a site, and on every server five programs of its own."""
    chance = random.Random(f"{seed}/{servers}")
    structure: dict[names.SiteName, dict[names.ServerName, tuple[names.RoleName, ...]]] = {}
    machines: dict[names.ServerName, model.Server] = {}
    roles: dict[names.RoleName, model.Role] = {}
    for number in range(servers):
        site, server = names.SiteName(f"s{number % sites}"), names.ServerName(f"a{number}")
        machines[server] = model.Server(
            interfaces={"lan": f"10.{number >> 14}.{number >> 7 & 127}.{1 + (number & 127)}"}
        )
        own = {names.RoleName(f"r{number}-{place}"): _program(chance) for place in range(ROLES)}
        if number < sites:
            own[names.RoleName(f"ic{number}")] = model.Role(type=kinds.IC, order=1)
        if number == 0:
            own |= {names.RoleName(kind): model.Role(type=kind, order=1) for kind in _CENTRAL}
        roles |= own
        structure.setdefault(site, {})[server] = tuple(own)
    return model.Document(
        schema=model.SCHEMA,
        general=model.General(master_domain="bench"),
        domains={"bench": model.Domain(fqdn="bench.invalid")},
        sites={site: _site(site) for site in structure},
        servers=machines,
        roles=roles,
        structure=structure,
    )


def _site(name: names.SiteName) -> model.Site:
    master = name == "s0"
    return model.Site(
        type="master_communication" if master else "communication", domains=("bench",) if master else ()
    )


def _program(chance: random.Random) -> model.Role:
    params = {"command": ["/usr/bin/env", "--", _text(chance, _TEXT_BYTES)]}
    return model.Role(type=names.RoleTypeName("process"), params=params)


def touched(document: model.Document, seed: int = 7) -> model.Document:
    """One parameter of one program changed."""
    chance = random.Random(f"{seed}/touched")
    name = chance.choice(sorted(name for name, one in document.roles.items() if one.type == "process"))
    return msgspec.structs.replace(document, roles={**document.roles, name: _program(chance)})


def _document(shape: Shape, chance: random.Random) -> model.Document:
    room = shape.size_bytes - SIZE_BYTES_MIN
    count = max(1, min(shape.servers, room // SERVER_BYTES))
    structure: dict[names.SiteName, dict[names.ServerName, tuple[names.RoleName, ...]]] = {}
    servers: dict[names.ServerName, model.Server] = {}
    roles: dict[names.RoleName, model.Role] = {}
    for number in range(count):
        site, server = names.SiteName(f"s{number % shape.sites}"), names.ServerName(f"a{number}")
        servers[server] = model.Server(
            interfaces={"lan": f"10.{number >> 14}.{number >> 7 & 127}.{number & 127}"}
        )
        placed = tuple(names.RoleName(f"r{number}-{place}") for place in range(ROLES if room > 0 else 1))
        roles |= {name: _role(chance) for name in placed}
        structure.setdefault(site, {})[server] = placed
    return model.Document(
        schema=model.SCHEMA,
        general=model.General(master_domain="bench"),
        sites={site: model.Site(type="communication") for site in structure},
        servers=servers,
        roles=roles,
        structure=structure,
    )


def _role(chance: random.Random) -> model.Role:
    return model.Role(type=names.RoleTypeName("process"), params={"text": _text(chance, _TEXT_BYTES)})


def _small(document: model.Document, chance: random.Random) -> model.Document:
    """One parameter of one role changed."""
    name = chance.choice(sorted(document.roles))
    return msgspec.structs.replace(document, roles={**document.roles, name: _role(chance)})


def _filled_up(document: model.Document, filling: str, size_bytes: int) -> bytes:
    """Its canonical bytes, as much of `filling` in them as is missing to the size."""
    missing = size_bytes - len(_with_filling(document, ""))
    if missing < 0:
        least = size_bytes - missing
        raise programs.FailedError(
            f"a document cannot be as small as that (got {size_bytes}, need {least} bytes)"
        )
    return _with_filling(document, filling[:missing])


def _with_filling(document: model.Document, text: str) -> bytes:
    return model.canonical(msgspec.structs.replace(document, aliases=model.Aliases(paths={"filling": text})))


def _text(chance: random.Random, size: int) -> str:
    """Printable, as random as printable text can be, and free of what JSON would escape."""
    return base64.b85encode(chance.randbytes(size)).decode()[:size]
