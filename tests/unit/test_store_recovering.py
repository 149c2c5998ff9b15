"""What recovery adopts of what was found: the highest, under a new generation, with every revocation."""

import msgspec

from coordinator import names
from coordinator.propagation import mirror
from coordinator.runtime import recovering
from coordinator.store import mvcc
from coordinator.store.backends.raft import log
from coordinator.tiers import seed
from coordinator.trust import signing
from tests import micworld

A, B = names.ServerId("id-a"), names.ServerId("id-b")


def found(world: micworld.World, *revoked: tuple[names.ServerId, ...]) -> recovering.Found:
    assert world.seed is not None
    content = seed.content(world.seed, micworld.CLUSTER)
    trusts = [
        mirror.SignedTrust(
            b"raw", msgspec.structs.replace(content.trust.content, seq=1 + number, revoked=one)
        )
        for number, one in enumerate(revoked)
    ]
    sources = tuple(
        recovering.Source(f"s{number}", msgspec.structs.replace(content, trust=trust), world.seed.body)
        for number, trust in enumerate(trusts)
    )
    together = tuple(sorted({server for one in revoked for server in one}))
    return recovering.Found(sources[-1], trusts[-1], together, {}, sources, (), mvcc.State(), "", log.NOTHING)


def test_revocations_of_all_are_kept_whoever_has_the_newest_trust() -> None:
    world = micworld.World()
    told = found(world, (A,), (B,))
    raw = recovering._trust(told, world.authority.signer(), told.version)
    keyring = signing.Keyring.trusting(raw, micworld.CLUSTER)
    assert keyring.revoked == {A, B}
    assert keyring.body.serial == names.Serial(2, 1)


def test_trust_that_says_it_all_stays_as_it_was_signed() -> None:
    world = micworld.World()
    told = found(world, (A,), (A, B))
    assert recovering._trust(told, world.authority.signer(), told.version) == b"raw"


def test_the_new_generation_is_above_every_one_that_was_seen() -> None:
    world = micworld.World()
    told = found(world, ())
    assert told.version == names.Version(2, 1)
    assert told.missing == ("c1",)
    lines = "\n".join(recovering.told(told))
    assert "adopt     r1 of s0, as g2.r1" in lines
    assert "enroll them again" in lines
