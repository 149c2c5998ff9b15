"""A document that changes: who exists and what runs where, bent by chance or by a story."""

import random
from typing import Any

import msgspec

from coordinator import names
from coordinator.config import model

MASTER_SITE = "central"
MASTER = "c1"
MIC_ADDRESS = "10.1.0.1"
STRANGE = ("restart", "slow", "refuse", "fail", "crash")


class Design(msgspec.Struct):
    """The parts of the document that move."""

    sites: dict[str, list[str]]
    """Servers by site; the first of each site holds its IC."""
    workers: dict[str, str]
    """Server of every role that is not of the system itself."""
    params: dict[str, dict[str, Any]]
    second: dict[str, str] = {}
    """Server of a site's second IC."""
    numbers: int = 0
    """How many roles were ever made."""
    padding: int = 0
    """Bytes that make the document too large to travel inside an offer."""

    def document(self) -> model.Document:
        """As it stands now."""
        plain: dict[str, Any] = {
            "schema": model.SCHEMA,
            "general": {"master_domain": "acme"},
            "domains": {"acme": {"fqdn": "acme.example", "description": noise(self.padding)}},
            "sites": {site: {"type": _type(site)} for site in self.sites},
            "servers": {one: {"interfaces": {"lan": address(one)}} for one in self.everyone()},
            "roles": {kind + "1": {"type": kind, "order": 1} for kind in ("mic", "dc", "ws")},
            "structure": {site: {one: [] for one in servers} for site, servers in self.sites.items()},
        }
        plain["structure"][MASTER_SITE][MASTER] += ["mic1", "dc1", "ws1"]
        for site, servers in self.sites.items():
            self._ics(plain, site, servers)
        for role, server in self.workers.items():
            plain["roles"][role] = {"type": "greeter", "params": self.params[role]}
            plain["structure"][self.site_of(server)][server].append(role)
        return msgspec.convert(plain, model.Document)

    def _ics(self, plain: dict[str, Any], site: str, servers: list[str]) -> None:
        if not servers or (site == MASTER_SITE and len(self.sites) == 1):
            return
        for order, server in enumerate((servers[0], self.second.get(site)), start=1):
            if server is not None:
                role = f"ic{site[0]}{order}"
                plain["roles"][role] = {"type": "ic", "order": order}
                plain["structure"][site][server].append(role)

    def everyone(self) -> list[str]:
        return [one for servers in self.sites.values() for one in servers]

    def site_of(self, server: str) -> str:
        return next(site for site, servers in self.sites.items() if server in servers)

    # --- changes --------------------------------------------------------------------------------------------------

    def add_role(self, server: str, **params: Any) -> str:
        self.numbers += 1
        role = f"r{self.numbers}"
        self.workers[role], self.params[role] = server, {"value": 0, **params}
        return role

    def add_server(self, site: str, server: str) -> None:
        self.sites.setdefault(site, []).append(server)

    def remove_server(self, server: str) -> None:
        site = self.site_of(server)
        self.sites[site].remove(server)
        if self.second.get(site) == server:
            del self.second[site]
        for role in [one for one, where in self.workers.items() if where == server]:
            del self.workers[role], self.params[role]

    def turn(self, number: int) -> None:
        """Every role gets other parameters, so that having run them proves something."""
        for params in self.params.values():
            params["value"] = number

    def well(self) -> None:
        """No role misbehaves any more."""
        for params in self.params.values():
            params["mode"] = "hot"

    def bend(self, rng: random.Random, parked: list[str]) -> None:
        """One more change by chance; `parked` servers may get a place."""
        self.numbers += 1
        self.turn(self.numbers)
        for params in self.params.values():
            strange = rng.random() < 0.25
            params["mode"] = rng.choice(STRANGE) if strange else rng.choice(("hot", "restart"))
        self.padding = rng.choice((0,) * 12 + (100_000, 100_000, 400_000))
        movable = [one for servers in self.sites.values() for one in servers[1:]]
        draw = rng.random()
        if draw < 0.2 and self.workers:
            self.workers[rng.choice(list(self.workers))] = rng.choice(self.everyone())
        elif draw < 0.4:
            self.add_role(rng.choice(self.everyone()))
        elif draw < 0.5 and len(self.workers) > 2:
            gone = rng.choice(list(self.workers))
            del self.workers[gone], self.params[gone]
        elif draw < 0.65 and parked:
            self.add_server(rng.choice(list(self.sites)), rng.choice(parked))
        elif draw < 0.8 and movable:
            self.remove_server(rng.choice(movable))
        elif draw < 0.9:
            self._turn_second(rng)

    def _turn_second(self, rng: random.Random) -> None:
        site = rng.choice(list(self.sites))
        if site in self.second:
            del self.second[site]
        elif len(self.sites[site]) > 1:
            self.second[site] = self.sites[site][1]


def address(server: str) -> str:
    """Made of the name's first letter and its number."""
    return f"10.{ord(server[0]) - ord('a')}.0.{int(server[1:])}" if server != MASTER else MIC_ADDRESS


def noise(size: int) -> str:
    """Text that hardly compresses, always the same."""
    return random.Random(size).randbytes(size // 2).hex()


def _type(site: str) -> str:
    return "communication" if site != MASTER_SITE else "master_communication"


def server_names(design: Design) -> list[names.ServerName]:
    return [names.ServerName(one) for one in design.everyone()]
