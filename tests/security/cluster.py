"""A small signed system for attacks on it: its machines, children of every kind, and frames as a peer would send them.

Two sites: `central` with c1 (mic, dc, ws, ic) and c2, `north` with n1 (ic, ws, dc) and n2. Beside them p1 (parked), x1
(expelled), r1 (placed, and revoked by `trust`) and u1, whom nobody has ever admitted.
"""

import functools
from collections.abc import Iterable

import msgspec
from cryptography.hazmat.primitives import serialization

from coordinator import names
from coordinator.config import expansion, model
from coordinator.propagation import (
    bodies,
    convergence,
    events,
    gates,
    master,
    messages,
    mirror,
    objects,
    relay,
    subscriber,
)
from coordinator.trust import authority, certificates, signing
from nodeagent.servershell import core
from nodeagent.servershell import events as shell_events
from tests import builders

CLUSTER = names.ClusterId("attacked")
WALL = 1_700_000_000.0
KINDS = messages.ChildKind
STATE = objects.AdmissionState
NODE = names.NodeName("web1@10.2.0.11")
ROLES = {
    ("ic", "c1"): "icc1",
    ("ws", "c1"): "ws1",
    ("dc", "c1"): "dc1",
    ("ic", "n1"): "icn1",
    ("ws", "n1"): "ws2",
    ("dc", "n1"): "dc2",
}
SEATS = {
    "c1": (STATE.PLACED, "central"),
    "c2": (STATE.PLACED, "central"),
    "n1": (STATE.PLACED, "north"),
    "n2": (STATE.PLACED, "north"),
    "p1": (STATE.PARKED, ""),
    "x1": (STATE.EXPELLED, "north"),
    "r1": (STATE.PLACED, "north"),
}


def sid(name: str) -> names.ServerId:
    return names.ServerId(f"id-{name}")


@functools.cache
def private(name: str) -> bytes:
    """Of a server; the same in every cluster of this process."""
    return certificates.new_key()


@functools.cache
def key(name: str) -> str:
    """Digest of its public key, as its admission names it."""
    public = serialization.load_pem_public_key(certificates.public_pem(private(name)))
    return certificates.key_digest(public)


def proof(peer: str, *, expired: bool = False) -> events.Proof:
    """What a handshake shows of a server that is who it says it is."""
    return events.Proof(key(peer.removeprefix("id-")), expired)


def document() -> model.Document:
    plain = builders.written(builders.document())
    plain["servers"] |= {
        "c2": {"interfaces": {"lan": "10.1.0.12"}},
        "n2": {"interfaces": {"lan": "10.2.0.12"}},
    }
    plain["roles"] |= {"ws2": {"type": "ws"}, "dc2": {"type": "dc"}}
    plain["structure"]["central"]["c2"] = []
    plain["structure"]["north"]["n1"] += ["ws2", "dc2"]
    plain["structure"]["north"]["n2"] = []
    return msgspec.convert(plain, model.Document)


class Cluster:
    """Keys, and everything that MIC has signed."""

    def __init__(self) -> None:
        self.authority = authority.create_authority(CLUSTER, WALL)
        self.signer = self.authority.signer()
        self.body = model.canonical(document())
        self.digest = model.digest(self.body)
        self.shelf_bodies = {self.digest: self.body}
        trust = signing.TrustBody(1, 2, (self.signer.unendorsed(),), (self.authority.ca_pem,), (sid("r1"),))
        self.trust = mirror.SignedTrust(self.signer.sign("trust", objects.encode(trust)), trust)
        self.admissions = {
            sid(name): self.admission(name, number, *seat)
            for number, (name, seat) in enumerate(SEATS.items(), 1)
        }
        self.content = self.issued(1)

    def identity(self, name: str, wall_s: float) -> authority.Identity:
        """What that server shows over TLS, issued at `wall_s`."""
        pem = private(name)
        issued = authority.issue(self.authority, sid(name), certificates.public_pem(pem), wall_s)
        return authority.Identity(sid(name), CLUSTER, pem, issued, self.authority.ca_pem)

    def sign(self, kind: objects.Kind, content: msgspec.Struct) -> bytes:
        return self.signer.sign(kind, objects.encode(content))

    def admission(self, name: str, seq: int, state: STATE, site: str) -> mirror.SignedAdmission:
        content = objects.Admission(
            1, seq, sid(name), key(name), state, names.ServerName(name), names.SiteName(site), ()
        )
        return mirror.SignedAdmission(self.sign(objects.Kind.ADMISSION, content), content)

    def pair(
        self, revision: int, digest: names.Digest, size: int
    ) -> tuple[mirror.SignedRecord, mirror.SignedTarget]:
        """Record and target of a revision, as MIC would sign them."""
        record = objects.Record(1, revision, "", digest, size, "admin", "", WALL)
        target = objects.Target(
            1, revision, objects.Pointer(revision, digest), None, names.RolloutId(f"r{revision}"), 1
        )
        return (
            mirror.SignedRecord(self.sign(objects.Kind.RECORD, record), record),
            mirror.SignedTarget(self.sign(objects.Kind.TARGET, target), target),
        )

    def issued(self, revision: int) -> mirror.Content:
        record, target = self.pair(revision, self.digest, len(self.body))
        return mirror.Content(self.trust, target, record, dict(self.admissions))

    def shelf(self) -> bodies.Shelf:
        made = bodies.Shelf()
        for digest, body in self.shelf_bodies.items():
            made.add(digest, body)
        return made

    def own(self, name: str) -> mirror.Content:
        """What a server holds: its own admission and nobody else's."""
        return msgspec.structs.replace(self.content, admissions={sid(name): self.admissions[sid(name)]})

    # --- machines -------------------------------------------------------------------------------------------------

    def served(self) -> master.Served:
        expanded = expansion.expand(document())
        asked = {
            sid(name): convergence.Asked(names.ServerName(name), names.SiteName(site))
            for name, (state, site) in SEATS.items()
            if state is STATE.PLACED and name != "r1"
        }
        return master.Served(self.content, expanded, names.RolloutId("r1"), asked)

    def mic(self) -> master.Master:
        made = master.Master(CLUSTER, sid("c1"), self.served(), self.shelf())
        made.serve(self.served(), 0.0)
        made.handle(events.Tick(), 0.0)
        return made

    def ic(self, content: mirror.Content | None = None) -> relay.Relay:
        me = subscriber.Me(CLUSTER, KINDS.IC, "icn1", sid("n1"))
        made = relay.Relay(me, content or self.content, self.shelf(), lambda _body: None)
        made.handle(events.Tick(), 0.0)
        return made

    def shell(self) -> core.Shell:
        """Of n1, its nodes wanted and running as far as it knows."""
        me = subscriber.Me(CLUSTER, KINDS.SHELL, "", sid("n1"))
        made = core.Shell(me, self.own("n1"), self.shelf(), 1, ())
        made.handle(shell_events.Begin(), 0.0)
        return made

    # --- what a child says ----------------------------------------------------------------------------------------

    def hello(self, kind: KINDS, name: str, server: str = "", **changes: object) -> messages.Hello:
        held = self.admissions.get(sid(server))
        plain = messages.Hello(
            1, CLUSTER, kind, name, 1, objects.Numbers(), "", b"" if held is None else held.raw, None
        )
        return msgspec.structs.replace(plain, **changes)

    def ack(self, **changes: object) -> messages.AckState:
        plain = messages.AckState(
            names.Version(1, 1), self.digest, messages.Level.READY, messages.Outcome.OK, names.Epoch(1, 1)
        )
        return msgspec.structs.replace(plain, **changes)


Machine = master.Master | relay.Relay | core.Shell


def said(outputs: Iterable[object], kind: type[messages.AnyFrame]) -> list[messages.AnyFrame]:
    """The frames of one kind among the outputs."""
    return [one.frame for one in outputs if isinstance(one, events.Send) and isinstance(one.frame, kind)]


def come(
    machine: Machine,
    link: int,
    peer: str,
    hello: messages.AnyFrame,
    now: float = 1.0,
    shown: events.Proof | None = None,
) -> tuple[object, ...]:
    """A child connects and says its first frame."""
    number = names.LinkId(link)
    arrived = events.Arrived(number, names.ServerId(peer), shown or proof(peer))
    before = machine.handle(arrived, now)
    return (*before, *machine.handle(events.Heard(number, hello), now))


def hear(machine: Machine, link: int, frame: messages.AnyFrame, now: float = 2.0) -> tuple[object, ...]:
    return machine.handle(events.Heard(names.LinkId(link), frame), now)


def linked_upwards(machine: relay.Relay | core.Shell, made: Cluster, link: int = 900) -> names.LinkId:
    """Give it a parent that greets it as the active MIC on c1 does."""
    parents = (events.Parent(names.ServerName("c1"), "10.1.0.11", 7401),)
    outputs = machine.subscriber.follow(parents, 1.0)
    dial = next((one.dial for one in outputs if isinstance(one, events.Dial)), 0)
    if not dial:  # it was dialling somebody else
        outputs = machine.subscriber.handle(events.DialFailed(1, "not there"), 1.0)
        dial = next(one.dial for one in outputs if isinstance(one, events.Dial))
    number = names.LinkId(link)
    machine.handle(events.Opened(dial, number, sid("c1"), proof("c1")), 1.0)
    welcome = messages.Welcome(1, CLUSTER, 0, made.content.numbers, made.admissions[sid("c1")].raw)
    machine.handle(events.Heard(number, welcome), 1.0)
    assert machine.subscriber.link == number
    return number


__all__ = [
    "CLUSTER",
    "KINDS",
    "NODE",
    "ROLES",
    "SEATS",
    "STATE",
    "Cluster",
    "come",
    "gates",
    "hear",
    "said",
    "sid",
]
