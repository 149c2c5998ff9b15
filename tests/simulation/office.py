"""MIC's store and its office as the world has them: issues signed objects by the rules, and remembers for ever.

It does what the tier of MIC does with the replicated store, in one step and without a disk: a revision gets the next
number, the target the next seq, servers are admitted, placed, left to leave and parked again.
"""

from collections.abc import Mapping

import msgspec

from coordinator import limits, names
from coordinator.config import expansion, model, topology
from coordinator.propagation import bodies, convergence, master, mirror, objects
from coordinator.trust import signing
from tests.simulation import checkers

CLUSTER = names.ClusterId("simulated")
ISSUED_AT = 1_700_000_000.0


class Office:
    """See the module."""

    def __init__(self, checks: checkers.Checks, mic: objects.ParentAddress) -> None:
        self.shelf = bodies.Shelf()
        self.term = 0
        self.seen: Mapping[names.ServerId, convergence.Seen] = {}
        self._checks = checks
        self._mic = mic
        self._signers = [signing.Signer(CLUSTER, bytes([7]) * 32)]
        self._keys: tuple[signing.SigningKey, ...] = (self._signers[0].unendorsed(),)
        self._retired: tuple[names.KeyId, ...] = ()
        self._revision = 0
        self._target_seq = 0
        self._admission_seq = 0
        self._count = 0
        self._asked: dict[names.ServerId, convergence.Asked] = {}
        body = signing.TrustBody(1, 1, self._keys, ())
        self.content = mirror.Content(mirror.SignedTrust(self._sign(objects.Kind.TRUST, body), body))
        self._expanded: expansion.Expanded | None = None
        self._prepared: tuple[model.Document, objects.Pointer] | None = None

    def _sign(self, kind: objects.Kind, content: msgspec.Struct) -> bytes:
        return self._signers[-1].sign(kind, objects.encode(content))

    # --- trust and admissions -------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Another signing key, endorsed by the present one; what is signed from now on is signed by it."""
        number = len(self._signers) + 7
        new = signing.Signer(CLUSTER, bytes([number]) * 32)
        self._keys = (*self._keys, self._signers[-1].endorse(new.public))
        serial = self.content.trust.content.seq + 1
        body = signing.TrustBody(1, serial, self._keys, (), retired=self._retired)
        raw = self._sign(objects.Kind.TRUST, body)
        self._signers.append(new)
        self.content = self.content.take(mirror.SignedTrust(raw, body))

    def sign_anew(self) -> None:
        """Everything that counts, under the next numbers and by the newest key."""
        for one in list(self.content.admissions.values()):
            self._admit(one.content.server_id, one.content.name, one.content.state, one.content.site)
        target, record = self.content.target, self.content.record
        if target is not None and record is not None:
            self._target(target.content.active, record.content, target.content.rollout)

    def retire(self) -> None:
        """All keys but the newest sign nothing any more."""
        body = self.content.trust.content
        gone = tuple(key.id for key in self._keys[:-1])
        alone = msgspec.structs.replace(body, seq=body.seq + 1, keys=self._keys, retired=gone)
        self._retired = gone
        self.content = self.content.take(mirror.SignedTrust(self._sign(objects.Kind.TRUST, alone), alone))

    def needed(self) -> list[str]:
        """Servers that have not said that they hold all of it as it is now; nothing is retired while there are any."""
        numbers, missing = self.content.numbers, []
        for server, one in self.content.admissions.items():
            seen = self.seen.get(server)
            ack = None if seen is None else seen.ack
            held = objects.Numbers() if ack is None else ack.holds
            late = held.target < numbers.target and one.content.state is objects.AdmissionState.PLACED
            if late or held.trust < numbers.trust or held.admission < one.content.serial:
                missing.append(one.content.name)
        return sorted(missing)

    def enroll(self, name: names.ServerName) -> mirror.SignedAdmission:
        """A server that no revision names yet."""
        server = names.ServerId(f"id-{name}")
        self._checks.names[server] = name
        return self._admit(server, name, objects.AdmissionState.PARKED, names.SiteName(""))

    def _admit(
        self,
        server: names.ServerId,
        name: names.ServerName,
        state: objects.AdmissionState,
        site: names.SiteName,
    ) -> mirror.SignedAdmission:
        self._admission_seq += 1
        made = objects.Admission(1, self._admission_seq, server, "", state, name, site, (self._mic,))
        signed = mirror.SignedAdmission(self._sign(objects.Kind.ADMISSION, made), made)
        self.content = self.content.take(signed)
        return signed

    # --- revisions ------------------------------------------------------------------------------------------------

    def issue(self, document: model.Document) -> names.Version:
        """One commit: record, body, target, and the admissions of whom it places."""
        body = model.canonical(document)
        digest = model.digest(body)
        self._revision += 1
        version = names.Version(1, self._revision)
        self._checks.issue(version, body)
        self.shelf.add(digest, body)
        record = objects.Record(
            1, self._revision, self.content.digest, digest, len(body), "admin", "", ISSUED_AT
        )
        self._expanded = expansion.expand(document)
        self._prepared = None
        self._place(document)
        self._target(objects.Pointer(self._revision, digest), record)
        self._ask()
        return version

    def prepare(self, document: model.Document) -> names.Version:
        """One commit: record, body, and a target that names it beside the active one."""
        target, active = self.content.target, self.content.record
        assert target is not None
        assert active is not None
        body = model.canonical(document)
        digest = model.digest(body)
        self._revision += 1
        self._checks.issue(names.Version(1, self._revision), body)
        self.shelf.add(digest, body)
        self._prepared = (document, objects.Pointer(self._revision, digest, len(body)))
        self._target(target.content.active, active.content, target.content.rollout)
        return names.Version(1, self._revision)

    @property
    def prepared(self) -> names.Version | None:
        return None if self._prepared is None else names.Version(1, self._prepared[1].revision)

    def activate(self) -> names.Version:
        """What is prepared becomes active under the number that it has."""
        assert self._prepared is not None
        (document, pointer), self._prepared = self._prepared, None
        parent, rollout = self.content.digest, names.RolloutId(f"ro-{pointer.revision}")
        record = objects.Record(
            1, pointer.revision, parent, pointer.digest, pointer.size_bytes, "admin", "", ISSUED_AT
        )
        self._expanded = expansion.expand(document)
        self._place(document)
        self._target(objects.Pointer(pointer.revision, pointer.digest), record, rollout)
        self._ask()
        return names.Version(1, pointer.revision)

    def _target(
        self, active: objects.Pointer, record: objects.Record, rollout: names.RolloutId | None = None
    ) -> None:
        self._target_seq += 1
        rollout = rollout or names.RolloutId(f"ro-{self._revision}")
        prepared = None if self._prepared is None else self._prepared[1]
        target = objects.Target(1, self._target_seq, active, prepared, rollout, max(self.term, 1))
        signed = mirror.SignedTarget(self._sign(objects.Kind.TARGET, target), target)
        recorded = mirror.SignedRecord(self._sign(objects.Kind.RECORD, record), record)
        self.content = self.content.take_all((recorded, signed))

    def _place(self, document: model.Document) -> None:
        sites = topology.places(document)
        for admission in list(self.content.admissions.values()):
            one = admission.content
            site = sites.get(one.name)
            placed = one.state is objects.AdmissionState.PLACED
            if site is not None and (not placed or one.site != site):
                self._admit(one.server_id, one.name, objects.AdmissionState.PLACED, site)

    def _ask(self) -> None:
        """Every server of the document, and every other one of which something may still run."""
        assert self._expanded is not None
        sites = topology.places(self._expanded.document)
        self._asked = {
            server: convergence.Asked(one.content.name, one.content.site, one.content.name not in sites)
            for server, one in self.content.admissions.items()
            if one.content.state is objects.AdmissionState.PLACED
        }

    def released(self, server: names.ServerId) -> bool:
        """Nothing runs there any more; whether that was news."""
        asked = self._asked.get(server)
        if asked is None or not asked.leaving:
            return False
        self._admit(server, asked.name, objects.AdmissionState.PARKED, names.SiteName(""))
        self._ask()
        return True

    def served(self) -> master.Served:
        """For the master."""
        assert self._expanded is not None
        rollout = names.RolloutId(f"ro-{self._revision}")
        return master.Served(self.content, self._expanded, rollout, dict(self._asked))

    def take_office(self) -> None:
        """Another MIC, or the same one again."""
        self.term += 1
        self._count = 0

    def fresh(self) -> bytes:
        """The next sign of life."""
        self._count += 1
        numbers = self.content.numbers
        sign = objects.Fresh(1, self.term, self._count, numbers.target, numbers.trust)
        return self._sign(objects.Kind.FRESH, sign)


FRESH_S = limits.FRESH_S
