"""Who takes part in a run of our own system: one MIC, an IC per site, and the agents, whatever the document names.

A document of 1 KiB names one server, and 1,000 agents carry it all the same, as the peers' clients do: here the roster
says who is asked. It is made once and read by every process of the run.
"""

import pathlib
from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.config import expansion, first, kinds, model
from coordinator.propagation import convergence, objects
from coordinator.tiers import seed
from coordinator.trust import authority, tokens

FILE = "roster"
PROPAGATION, FULL = "propagation", "full"
MODES = (PROPAGATION, FULL)
ADDRESS = "127.0.0.1"
MIC = names.ServerName("master")
MIC_ID = names.ServerId("id-master")
_CENTRE = names.SiteName("centre")


class Roster(msgspec.Struct, frozen=True):
    """Everything the processes of a run have in common."""

    authority: authority.Authority
    seed: seed.Seed
    sites: int
    agents: int
    tls: bool

    @property
    def cluster(self) -> names.ClusterId:
        return self.authority.cluster

    def site(self, number: int) -> names.SiteName:
        return names.SiteName(f"site{number % self.sites}")

    def agent(self, number: int) -> names.ServerId:
        return names.ServerId(f"id-agent{number}")

    def relay(self, number: int) -> names.ServerId:
        return names.ServerId(f"id-relay{number}")

    def admissions(self) -> tuple[objects.Admission, ...]:
        """Of all but MIC, unsigned; numbered behind the seed's."""
        places = [
            *((self.relay(n), f"relay{n}", self.site(n)) for n in range(self.sites)),
            *((self.agent(n), f"agent{n}", self.site(n)) for n in range(self.agents)),
        ]
        placed = objects.AdmissionState.PLACED
        return tuple(
            objects.Admission(seed.GENERATION, 2 + at, one, "", placed, names.ServerName(name), site, ())
            for at, (one, name, site) in enumerate(places)
        )

    def asked(self) -> Mapping[names.ServerId, convergence.Asked]:
        """All agents."""
        return {
            self.agent(n): convergence.Asked(names.ServerName(f"agent{n}"), self.site(n))
            for n in range(self.agents)
        }

    def expanded(self) -> expansion.Expanded:
        """A document that places the ICs, for MIC's gate."""
        relays = [(self.site(n), names.ServerName(f"relay{n}"), relay_role(n)) for n in range(self.sites)]
        return expansion.expand(
            model.Document(
                schema=model.SCHEMA,
                general=model.General(master_domain="bench"),
                sites={site: model.Site(type="communication") for site, _, _ in relays},
                servers={server: model.Server(interfaces={"lan": ADDRESS}) for _, server, _ in relays},
                roles={role: model.Role(type=kinds.IC, order=1) for _, _, role in relays},
                structure={site: {server: (role,)} for site, server, role in relays},
            )
        )


def relay_role(number: int) -> names.RoleName:
    return names.RoleName(f"ic{number}")


def make(*, sites: int, agents: int, tls: bool, wall: float, token: tokens.Token) -> Roster:
    """A new cluster."""
    keys = authority.create_authority(names.ClusterId("bench"), wall)
    document = first.basic_document(
        server=MIC, address=ADDRESS, site=_CENTRE, master_domain="bench", fqdn="bench.invalid"
    )
    planted = seed.first_objects(keys, seed.First(MIC_ID, MIC), document, token, wall)
    return Roster(keys, planted, sites, agents, tls)


def save(roster: Roster, directory: pathlib.Path) -> pathlib.Path:
    """One file, for this user only: it holds the keys of this one run."""
    path = directory / FILE
    path.touch(mode=0o600)
    path.write_bytes(msgspec.msgpack.encode(roster))
    return path


def load(path: pathlib.Path) -> Roster:
    return msgspec.msgpack.decode(path.read_bytes(), type=Roster)
