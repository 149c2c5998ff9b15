"""Bugs planted on purpose, one at a time: a world that does not find them proves nothing.

Some were real once; the sentence of each says what goes wrong.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from coordinator import names
from coordinator.hop import ledger
from coordinator.propagation import (
    acks,
    coming,
    convergence,
    intake,
    master,
    messages,
    publisher,
    relay,
    subscriber,
)
from nodeagent.servershell import acks as server_acks
from nodeagent.servershell import reconcile

Plant = Callable[[pytest.MonkeyPatch], None]


def ack_early(patch: pytest.MonkeyPatch) -> None:
    """A server says ready as soon as its nodes are planned."""
    patch.setattr(server_acks, "_level", lambda _version, _wanted, **_rest: messages.Level.READY)


def accept_older(patch: pytest.MonkeyPatch) -> None:
    """Whatever target comes is taken, and the frames of two links overtake each other."""

    def consider(self: intake.Intake, link: names.LinkId, signed: Any) -> list[Any]:
        self._wanted = coming.Wanted(link, signed)
        return []

    patch.setattr(intake.Intake, "_consider_target", consider)


def no_resend_on_reconnect(patch: pytest.MonkeyPatch) -> None:
    """An IC with a new link to MIC tells only what changes from now on."""
    patch.setattr(acks.Table, "tell_all", lambda _self, _now: None)


def relay_acks_its_own_version(patch: pytest.MonkeyPatch) -> None:
    """An IC says of its servers that they are where it is itself."""
    honest = relay.Relay._child_ack

    def child_ack(self: relay.Relay, child: publisher.Child, state: messages.AckState, now: float) -> None:
        own = msgspec.structs.replace(state, version=self.content.version, digest=self.content.digest)
        honest(self, child, own, now)

    patch.setattr(relay.Relay, "_child_ack", child_ack)


def absent_servers_stay_ready(patch: pytest.MonkeyPatch) -> None:
    """An IC does not say that a link is gone."""
    patch.setattr(acks.Table, "unlinked", lambda _self, _server, _now: None)


def heartbeats_heal_nothing(patch: pytest.MonkeyPatch) -> None:
    """What a heartbeat shows to be missing is not sent again."""
    patch.setattr(publisher.Publisher, "_beaten", lambda _self, _child, _beat: ())
    patch.setattr(subscriber.Subscriber, "_beaten", lambda _self, _attempt, _frame, _now: ())


def ledger_only_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Stored is said before anything is on the disk."""
    patch.setattr(ledger, "HEAD", "lost")
    honest = ledger.Ledger._read

    def read(self: ledger.Ledger, name: str, kind: Any) -> Any:
        return None if name == "lost" else honest(self, name, kind)

    patch.setattr(ledger.Ledger, "_read", read)


def start_before_stop(patch: pytest.MonkeyPatch) -> None:
    """Nodes start while those that they replace still run."""
    honest = reconcile.reconcile

    def eager(wanted: Any, observed: Any) -> reconcile.Actions:
        actions = honest(wanted, observed)
        missing = tuple(n for n in sorted(wanted) if str(observed.get(n, "stopped")) == "stopped")
        return msgspec.structs.replace(actions, start=missing, settled=True)

    patch.setattr(reconcile, "reconcile", eager)


def any_version_counts(patch: pytest.MonkeyPatch) -> None:
    """An old success counts for the new revision."""
    honest = convergence.Convergence._reached

    def reached(self: convergence.Convergence, ack: Any, *, leaving: bool) -> convergence.Sync:
        if ack is not None:
            ack = msgspec.structs.replace(ack, version=self.version, digest=self.digest)
        return honest(self, ack, leaving=leaving)

    patch.setattr(convergence.Convergence, "_reached", reached)


def used_up_numbers(patch: pytest.MonkeyPatch) -> None:
    """Nobody notices that a server speaks under numbers that it has used before."""
    patch.setattr(master.Master, "_mind", lambda *_args, **_rest: None)
    patch.setattr(publisher.Publisher, "_known_boot", lambda _self, _peer, _hello: 0)


BUGS: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        ack_early,
        accept_older,
        no_resend_on_reconnect,
        relay_acks_its_own_version,
        absent_servers_stay_ready,
        heartbeats_heal_nothing,
        ledger_only_in_memory,
        start_before_stop,
        any_version_counts,
        used_up_numbers,
    )
}
