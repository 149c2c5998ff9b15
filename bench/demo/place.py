"""Where the demo's servers stand: six, on loopback addresses of their own, as `examples/two-sites.yaml` has them."""

import pathlib

import msgspec

from coordinator import limits

_HERE = pathlib.Path(__file__).resolve().parent


class Place(msgspec.Struct, frozen=True):
    """One server."""

    name: str
    site: str
    address: str


PLACES = {
    place.name: place
    for place in (
        Place("c1", "central", "127.0.10.1"),
        Place("c2", "central", "127.0.10.2"),
        Place("c3", "central", "127.0.10.3"),
        Place("n1", "north", "127.0.20.1"),
        Place("n2", "north", "127.0.20.2"),
        Place("n3", "north", "127.0.20.3"),
    )
}
FIRST = PLACES["c1"]
"""Where `server init` runs."""

MIC = (FIRST.address, limits.PORT_MIC)
WS = (FIRST.address, limits.PORT_WS)
ICS = ((FIRST.address, limits.PORT_IC), (PLACES["n1"].address, limits.PORT_IC))


def of_site(site: str) -> tuple[Place, ...]:
    """Its servers."""
    return tuple(place for place in PLACES.values() if place.site == site)


def document() -> pathlib.Path:
    """The example: in the wheel it lies beside this file, in a checkout among the examples."""
    packed = _HERE / "two-sites.yaml"
    return packed if packed.exists() else _HERE.parents[1] / "examples" / "two-sites.yaml"
