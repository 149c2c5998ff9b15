"""What must be true at every moment (RELIABILITY, I1 to I8), checked where the world sees it happen.

A violation raises `ViolationError` at the event that shows it, so that the run ends there.
"""

import collections

import msgspec

from coordinator import names
from coordinator.config import expansion, model
from coordinator.propagation import convergence, events, messages

READY_AGE_S = 12.0
"""For so long `ready` may be shown of what has ended: every hop is silent for 5 s, and looks every second."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


Print = tuple[str, ...]
"""What distinguishes one way to run a role from another."""


def print_of(kind: str, address: str, params: object) -> Print:
    return (kind, address, msgspec.json.encode(params, order="sorted").decode())


def _brief(ack: messages.AckState) -> messages.AckState:
    """As a hello shows it where the whole would be too long."""
    return msgspec.structs.replace(ack, detail="", roles=())


def _short(ack: messages.AckState) -> str:
    return f"{ack.version} {ack.level.word} {ack.outcome} {ack.code} at {ack.epoch.boot}.{ack.epoch.seq}"


class Checks:
    """See the module."""

    def __init__(self) -> None:
        self.issued: dict[names.Version, names.Digest] = {}
        self.documents: dict[names.Digest, expansion.Expanded] = {}
        self.notes: collections.Counter[str] = collections.Counter()
        self.names: dict[names.ServerId, names.ServerName] = {}
        self._accepted: dict[str, names.Version] = {}
        self._said: dict[tuple[names.ServerId, names.Epoch], list[messages.AckState]] = {}
        self._lost: dict[str, None] = {}
        self.running: dict[tuple[names.ServerName, names.RoleName], Print] = {}
        self._ran: dict[tuple[names.ServerName, names.RoleName], dict[Print, float | None]] = {}
        """When each way to run a role ended; None while it runs."""

    def expect(self, good: bool, invariant: str, what: str) -> None:
        if not good:
            raise ViolationError(f"{invariant}: {what}")

    def noted(self, host: str, note: events.Note) -> None:
        """A tier logged something; honest tiers never refuse each other's objects."""
        self.notes[note.phrase] += 1

    # --- I1, I2, I3 -----------------------------------------------------------------------------------------------

    def issue(self, version: names.Version, body: bytes) -> None:
        self.expect(version > max(self.issued, default=names.NO_VERSION), "I1", f"{version} issued again")
        digest = model.digest(body)
        self.issued[version] = digest
        self.documents[digest] = expansion.expand(model.decode(body))

    def configured(self, who: str, version: names.Version, digest: names.Digest) -> None:
        """A leaf begins to act on this."""
        self.expect(
            self.issued.get(version) == digest, "I2", f"{who} runs {version} {digest} that nobody issued"
        )

    def accepted(self, tier: str, version: names.Version) -> None:
        """This tier's disk says so, or its machine."""
        before = self._accepted.get(tier, names.NO_VERSION)
        self.expect(version >= before, "I3", f"{tier} went from {before} to {version}")
        self._accepted[tier] = version

    def disk_lost(self, tier: str) -> None:
        """It comes back with less than it had: what it said then and says now may carry one number."""
        self._accepted.pop(tier, None)
        self._lost[tier] = None

    # --- what really runs -----------------------------------------------------------------------------------------

    def starts(self, server: names.ServerName, role: names.RoleName, how: Print) -> None:
        key = (server, role)
        self.expect(key not in self.running, "twice", f"{role} runs twice on {server}")
        self.runs(server, role, how)

    def runs(self, server: names.ServerName, role: names.RoleName, how: Print) -> None:
        """It runs so from now on."""
        self.running[server, role] = how
        self._ran.setdefault((server, role), {})[how] = None

    def ends(self, server: names.ServerName, role: names.RoleName, now: float) -> None:
        """It runs so no more."""
        how = self.running.pop((server, role), None)
        if how is not None:
            self._ran[server, role][how] = now

    def wanted(self, digest: names.Digest, server: names.ServerName) -> dict[names.RoleName, Print]:
        """What a revision asks of a server."""
        expanded = self.documents[digest]
        return {
            role.name: print_of(role.type, role.address, role.params)
            for role in expanded.by_server.get(server, ())
            if role.enabled
        }

    # --- I5 -------------------------------------------------------------------------------------------------------

    def says(self, server: names.ServerId, ack: messages.AckState) -> None:
        """A ServerShell said this of itself."""
        said = self._said.setdefault((server, ack.epoch), [])
        if ack in said:
            return
        name = self.names[server]
        new = not said or f"shell {name}" in self._lost or ack in map(_brief, said)
        self.expect(new, "I5", f"{name} says two things: {_short(said[0]) if said else ''}, {_short(ack)}")
        said.append(ack)
        if ack.level is messages.Level.RELEASED:
            left = [role for where, role in self.running if where == self.names[server]]
            self.expect(not left, "I5", f"{self.names[server]} says released and runs {left}")
        elif ack.level >= messages.Level.APPLIED:
            self._check_applied(server, ack)

    def _check_applied(self, server: names.ServerId, ack: messages.AckState) -> None:
        name = self.names[server]
        for role, how in self.wanted(ack.digest, name).items():
            ran = how in self._ran.get((name, role), {})
            self.expect(ran, "I5", f"{name} says {ack.level.word} {ack.version}, and {role} never ran {how}")

    def holds(self, tier: str, server: names.ServerId, ack: messages.AckState) -> None:
        """Somebody holds, or passes on, an ack of that server: it must be one that it said."""
        said = self._said.get((server, ack.epoch), [])
        name = self.names.get(server, server)
        self.expect(ack in said, "I5", f"{tier} holds what {name} never said: {_short(ack)}")

    def believes(self, picture: convergence.Convergence, now: float, *, steady: bool) -> None:
        """MIC counts as ready only what runs now, or, while nobody stands still, ran until a moment ago."""
        for server, facts in picture.facts.items():
            if facts.ack is not None:
                self.holds("mic", server, facts.ack)
            if facts.sync is not convergence.Sync.CONVERGED:
                continue
            name = self.names[server]
            self.expect(bool(facts.links), "I5", f"{name} counts as ready without a link")
            if picture.asked[server].leaving or not steady:
                continue
            for role, how in self.wanted(picture.digest, name).items():
                ended = self._ran.get((name, role), {}).get(how, 0.0)
                fresh = ended is None or now - ended <= READY_AGE_S
                self.expect(
                    fresh, "I5", f"{role} of {name} counts as ready, and ended {now - (ended or 0):.1f} s ago"
                )

    def counts(self, picture: convergence.Convergence) -> None:
        """The counts kept row by row are those of a recount, and in their order."""
        summary = picture.summary
        ready = reachable = 0
        for server, asked in picture.asked.items():
            facts = picture.facts[server]
            wanted = messages.Level.RELEASED if asked.leaving else messages.Level.READY
            ack = facts.ack
            there = (
                bool(facts.links)
                and ack is not None
                and ack.epoch in facts.links.values()
                and (ack.version, ack.digest, ack.level) == (picture.version, picture.digest, wanted)
                and ack.outcome is messages.Outcome.OK
            )
            ready += there
            reachable += bool(facts.links) or (facts.latched and not facts.done)
        found = (summary.ready, summary.reachable, summary.asked)
        self.expect(
            found == (ready, reachable, len(picture.asked)),
            "counts",
            f"{found}, recounted {ready}, {reachable}",
        )
        self.expect(ready <= reachable <= summary.asked, "counts", f"out of order: {found}")
