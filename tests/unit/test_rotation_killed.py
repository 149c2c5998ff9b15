"""MIC dies before, or right after, any commit of a rotation: the next one opens the keys that were announced, and ends it."""

import pytest

from coordinator import names
from coordinator.propagation import messages, objects
from coordinator.store import commands
from coordinator.tiers import desk, keys, mic, rotating
from coordinator.trust import authority, certificates, sealing, signing
from tests import micworld

pytestmark = pytest.mark.anyio
CALLER = desk.Caller("root", "here", "rotate", "")
OWN = certificates.new_key()
PUBLICS = {micworld.FIRST: certificates.public_pem(OWN)}


class KilledError(Exception):
    """The process of MIC ends here."""


class Killing:
    """At the n-th of the commits of keys; the tree's own (who was seen) count for nothing."""

    def __init__(self, store: micworld.Store, until: int) -> None:
        self.points = 0
        self.until = until
        store.before = store.after = self.point

    def point(self, txn: commands.Txn) -> None:
        named = [getattr(one, "key", b"") for one in txn.success]
        if not any(one.startswith((b"/config/", keys.sealed(micworld.FIRST))) for one in named):
            return
        self.points += 1
        if self.points == self.until:
            raise KilledError


async def rotated(served: mic.Mic, tree: micworld.Tree, epoch: int) -> None:
    """Both kinds, and the end of them."""
    at = served.at
    tree.connect(micworld.FIRST)
    await rotating.rotate_ca(at, PUBLICS, CALLER)
    await rotating.rotate_keys(at, PUBLICS, CALLER)
    await ended(served, tree, epoch)


async def ended(served: mic.Mic, tree: micworld.Tree, epoch: int) -> None:
    """What MIC does by itself, again and again, with everybody there."""
    await rotating.sign_anew(served.at)
    content = served.at.past.content
    holds = objects.Numbers(
        content.numbers.target,
        content.trust.content.serial,
        content.admissions[micworld.FIRST].content.serial,
    )
    issuer = signing.root_id(served.at.means.authority.ca_pem)
    tree.say(
        micworld.FIRST,
        messages.AckState(
            content.version, content.digest, messages.Level.READY, messages.Outcome.OK, names.Epoch(1, epoch),
            holds=holds, issuer=issuer,
        ),
    )  # fmt: skip
    await rotating.retire(served.at)


async def newest(world: micworld.World) -> authority.Authority:
    """As a MIC that comes into office finds it."""
    item = await world.store.get(keys.sealed(micworld.FIRST))
    if item is None:
        return world.authority
    found = authority.Authority.decode(sealing.opened(OWN, item.value, micworld.FIRST))
    return found if found.number > world.authority.number else world.authority


async def test_a_rotation_that_died_at_any_commit_is_ended_by_the_next_mic() -> None:
    world = micworld.World()
    served, tree = await world.open()
    whole = Killing(world.store, 0)
    await rotated(served, tree, 1)
    assert whole.points >= 8
    for until in range(1, whole.points + 1):
        world = micworld.World()
        served, tree = await world.open()
        Killing(world.store, until)
        with pytest.raises(KilledError):
            await rotated(served, tree, 1)
        world.store.before = world.store.after = lambda _txn: None
        world.authority = await newest(world)
        served, tree = await world.open()
        announced = served.at.past.content.trust.content
        assert world.authority.ca_pem in announced.roots, until
        assert served.at.signer.key_id in {key.id for key in announced.keys}, until
        tree.connect(micworld.FIRST)
        await ended(served, tree, 2)
        body = served.at.past.content.trust.content
        assert body.roots == (world.authority.ca_pem,), until
        assert set(body.retired) == {key.id for key in body.keys} - {served.at.signer.key_id}, until
        raws = [one.raw for one in served.at.past.content.admissions.values()]
        raws += [one.value for one in (await served.at.store.scan(keys.RECORDS)).items]
        assert {signing.opened(raw).key for raw in raws} == {served.at.signer.key_id}, until
        await rotated(served, tree, 3)  # and it can be begun anew
