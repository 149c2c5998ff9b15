"""A parent that keeps things back, goes back in time, or wants more to run than MIC has said: noticed, without effect."""

import msgspec
import pytest

from coordinator import limits, names
from coordinator.config import model
from coordinator.propagation import events, intake, messages, objects
from coordinator.tiers import requests
from nodeagent.servershell import core
from tests import micworld
from tests.security import cluster

OTHERS = (
    events.Parent(names.ServerName("c1"), "10.1.0.11", 7401),
    events.Parent(names.ServerName("n1"), "10.2.0.11", 7402),
)


@pytest.fixture
def made() -> cluster.Cluster:
    return cluster.Cluster()


def fresh(made: cluster.Cluster, count: int, seq: int = 1, trust: int = 2, term: int = 1) -> bytes:
    said = objects.Fresh(1, term, count, names.Serial(1, seq), names.Serial(1, trust))
    return made.sign(objects.Kind.FRESH, said)


def beat(made: cluster.Cluster, raw: bytes) -> messages.Heartbeat:
    return messages.Heartbeat(raw, made.content.numbers, 0)


def through(
    shell: core.Shell, made: cluster.Cluster, link: names.LinkId, seconds: int, *, seq: int, renew: bool
) -> list[object]:
    """A parent that shows signs of life of its own for so long; MIC's are new or one and the same."""
    outputs: list[object] = []
    for second in range(2, seconds, 2):
        raw = fresh(made, second if renew else 2, seq)
        outputs += shell.handle(events.Heard(link, beat(made, raw)), float(second))
        outputs += shell.handle(events.Tick(), float(second))
    return outputs


@pytest.mark.parametrize("seq", [1, 7])
def test_who_is_shown_the_sign_of_life_and_not_what_it_speaks_of_is_stale_within_a_minute(
    made: cluster.Cluster, seq: int
) -> None:
    shell = made.shell()
    link = cluster.linked_upwards(shell, made)
    through(shell, made, link, 60, seq=seq, renew=True)
    assert shell.subscriber.stale_since(60.0) is None
    through(shell, made, link, 70, seq=seq, renew=True)
    since = shell.subscriber.stale_since(70.0)
    assert (since is not None) == (seq == 7)
    if since is not None:
        status = shell.status(70.0)
        assert status.stale_since_s is not None
        assert status.stale_since_s > limits.STALE_S
        assert status.detail.startswith(messages.STALE)


def test_who_holds_everything_back_is_left_for_another_parent_once_that_shows_more(
    made: cluster.Cluster,
) -> None:
    shell = made.shell()
    cluster.linked_upwards(shell, made)
    shell.subscriber.follow(OTHERS, 1.0)
    link = shell.subscriber.link
    assert link is not None
    outputs = through(shell, made, link, 140, seq=1, renew=False)
    assert shell.subscriber.stale_since(139.0) is not None
    dialled = {one.parent.server for one in outputs if isinstance(one, events.Dial)}
    assert "n1" in dialled
    assert shell.subscriber.link == link  # it stays until the other one is open: everything runs on


def test_a_sign_of_life_of_last_month_is_none(made: cluster.Cluster) -> None:
    shell = made.shell()
    link = cluster.linked_upwards(shell, made)
    shell.handle(events.Heard(link, beat(made, fresh(made, 500, term=3))), 2.0)
    newest = shell.subscriber.freshness.raw
    for count, term in ((500, 3), (499, 3), (9999, 2)):
        shell.handle(events.Heard(link, beat(made, fresh(made, count, term=term))), 3.0)
        assert shell.subscriber.freshness.raw == newest
        assert shell.subscriber.freshness.at == 2.0


@pytest.mark.parametrize("child", ["ic", "shell"])
def test_what_mic_has_prepared_becomes_active_by_mics_own_word_alone(
    made: cluster.Cluster, child: str
) -> None:
    """A relay may alter the target as it likes; it cannot sign it."""
    one = made.ic() if child == "ic" else made.shell()
    link = cluster.linked_upwards(one, made)
    before = one.content.target
    assert before is not None
    assert made.content.record is not None
    other = objects.Pointer(2, names.Digest("d" * 64))
    prepared = msgspec.structs.replace(before.content, seq=2, prepared=other)
    raw = made.sign(objects.Kind.TARGET, prepared)
    flipped = msgspec.structs.replace(prepared, seq=3, active=other, prepared=None)
    envelope = msgspec.msgpack.decode(raw)
    envelope[3] = objects.encode(flipped)
    forged = msgspec.msgpack.encode(envelope)
    outputs = cluster.hear(one, link, messages.Offer((made.content.record.raw, forged), None))
    assert not [each for each in outputs if isinstance(each, events.Store | events.Accepted | intake.Changed)]
    assert one.content.target is before
    assert "does not hold" in one.intake.distrust


def test_trust_of_last_month_does_not_bring_a_revoked_server_back(made: cluster.Cluster) -> None:
    shell = made.shell()
    link = cluster.linked_upwards(shell, made)
    held = made.trust.content
    older = msgspec.structs.replace(held, seq=held.seq - 1, revoked=())
    raw = made.sign(objects.Kind.TRUST, older)
    cluster.hear(shell, link, messages.Offer((raw,), None))
    assert shell.intake.keyring.revoked == {cluster.sid("r1")}
    assert "older than ours" in shell.intake.distrust


@pytest.mark.anyio
async def test_nothing_private_is_served_to_anybody() -> None:
    """Bodies are asked for by digest: that of a draft is known to whoever uploaded it, and its body is nobody's."""
    world = micworld.World()
    async with world.running() as (served, tree):
        document = micworld.basic()
        changed = msgspec.structs.replace(document, servers={**document.servers})
        code, draft = await world.ask(
            served, requests.Verb.UPLOAD,
            requests.Upload(files=(requests.File("a.json", model.canonical(changed).decode() + "\n"),)),
        )  # fmt: skip
        assert code == "", draft
        tree.connect(micworld.FIRST)
        tree.sent.clear()
        other = names.Digest("0" * 64)
        for digest in (other, names.Digest(draft["draft"])):
            tree.feed(events.Heard(tree.links[micworld.FIRST], messages.Pull(digest, "", 0)))
        assert [one for one in tree.sent if isinstance(one.frame, messages.Chunk)] == []
        for verb in ("/private/term", "kv.get", "store.get", "private", "servers.renew"):
            tree.feed(events.Heard(tree.links[micworld.FIRST], messages.Ask(9, verb, "", True, b"/private/")))
        await micworld.until(lambda: len([s for s in tree.sent if isinstance(s.frame, messages.Answer)]) == 5)
        answers = [one.frame for one in tree.sent if isinstance(one.frame, messages.Answer)]
        assert all(one.code for one in answers)
