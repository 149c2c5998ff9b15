"""What MIC does about certificates, CAs, signing keys and identities that count no more."""

from typing import Any

import msgspec
import pytest

from coordinator import errors, names
from coordinator.propagation import asks, children, convergence, events, joining, messages, mirror, objects
from coordinator.tiers import desk, keys, mic, requests, revoking, rotating
from coordinator.trust import authority, certificates, renewals, sealing, signing
from tests import micworld

pytestmark = pytest.mark.anyio
CALLER = desk.Caller("root", "here", "rotate", "")
KEY = certificates.new_key()


def public_digest(pem: bytes) -> str:
    return certificates.key_digest(certificates.private_key(pem).public_key())


async def enrolled(world: micworld.World, served: mic.Mic, name: str = "n1") -> names.ServerId:
    pem = certificates.signing_request(KEY, name).decode()
    return await world.enroll(served, name, pem)


async def renewed(served: mic.Mic, request: bytes, over: str = messages.ChildKind.IC) -> tuple[str, Any]:
    body = joining.encode(joining.Carried("", request))
    code, data = await served.answered(asks.RENEW, over, body)
    return code, msgspec.json.decode(data, type=renewals.Renewed) if not code else msgspec.json.decode(data)


def admission(served: mic.Mic, server: names.ServerId) -> objects.Admission:
    return served.at.past.content.admissions[server].content


# --- certificates -------------------------------------------------------------------------------------------------------


async def test_the_same_key_gets_another_certificate_and_nothing_is_written() -> None:
    world = micworld.World()
    async with world.running() as (served, _tree):
        server = await enrolled(world, served)
        world.clock.now += 200 * 86_400
        before = len(world.store.commits)
        asked = renewals.request(micworld.CLUSTER, server, KEY, KEY, uses=True)
        await renewed(served, asked)
        code, answer = await renewed(served, asked)
        assert code == "", answer
        written = [
            c
            for c in world.store.commits[before:]
            if any(b"admission" in getattr(o, "key", b"") for o in c.success)
        ]
        assert written == []
        made = authority.Identity(server, micworld.CLUSTER, KEY, answer.certificate_pem, answer.ca_pem)
        assert certificates.belonging(KEY, made.cert_pem, made.ca_pem) == (micworld.CLUSTER, server)
        assert certificates.validity(made.cert_pem)[1] > world.clock.wall() + 364 * 86_400


async def test_a_new_key_counts_beside_the_old_one_until_the_server_says_that_it_uses_it() -> None:
    world, new = micworld.World(), certificates.new_key()
    async with world.running() as (served, tree):
        server = await enrolled(world, served)
        tree.connect(server)
        asked = renewals.request(micworld.CLUSTER, server, KEY, new, uses=False)
        await renewed(served, asked)  # the answer is lost
        code, answer = await renewed(served, asked)
        assert code == "", answer
        held = admission(served, server)
        assert (held.key_digest, held.former) == (public_digest(new), public_digest(KEY))
        assert tree.links[server] in served.at.master.publisher.children  # the link of the old key stands
        shown = mirror.verify(answer.admission, signing.Keyring.trusting(answer.trust, micworld.CLUSTER))
        assert isinstance(shown, mirror.SignedAdmission)
        assert shown.content == held
        code, answer = await renewed(served, renewals.request(micworld.CLUSTER, server, new, new, uses=True))
        assert code == "", answer
        assert admission(served, server).former == ""
        assert tree.links[server] not in served.at.master.publisher.children  # and now it has ended
        code, _ = await renewed(served, renewals.request(micworld.CLUSTER, server, KEY, KEY, uses=True))
        assert code == "unauthenticated"


@pytest.mark.parametrize(
    "whose", ["nobody's", "another key's", "the key before's, for a third key", "expelled"]
)
async def test_a_certificate_is_issued_to_nobody_else(whose: str) -> None:
    world, new, third = micworld.World(), certificates.new_key(), certificates.new_key()
    async with world.running() as (served, _tree):
        server = await enrolled(world, served)
        asked = renewals.request(micworld.CLUSTER, server, KEY, KEY, uses=True)
        match whose:
            case "nobody's":
                asked = renewals.request(micworld.CLUSTER, names.ServerId("id-x"), KEY, KEY, uses=True)
            case "another key's":
                asked = renewals.request(micworld.CLUSTER, server, new, new, uses=True)
            case "expelled":
                await revoking.revoke(served.at, CALLER, server)
            case _:
                await renewed(served, renewals.request(micworld.CLUSTER, server, KEY, new, uses=False))
                asked = renewals.request(micworld.CLUSTER, server, KEY, third, uses=False)
        before = served.at.past.content
        code, answer = await renewed(served, asked)
        assert code == "unauthenticated", answer
        assert served.at.past.content == before


@pytest.mark.parametrize("over", [messages.ChildKind.WS, messages.ChildKind.DC, "", "door"])
async def test_certificates_are_renewed_over_the_links_of_servers_alone(over: str) -> None:
    world = micworld.World()
    async with world.running() as (served, _tree):
        server = await enrolled(world, served)
        asked = renewals.request(micworld.CLUSTER, server, KEY, KEY, uses=True)
        assert (await renewed(served, asked, over))[0] == "not_allowed"


# --- revoked ------------------------------------------------------------------------------------------------------------


async def test_a_revoked_server_is_out_for_ever_and_its_name_is_free() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        server = await enrolled(world, served)
        tree.connect(server)
        await revoking.revoke(served.at, CALLER, server)
        await revoking.revoke(served.at, CALLER, server)
        content = served.at.past.content
        assert content.trust.content.revoked == (server,)
        assert admission(served, server).state is objects.AdmissionState.EXPELLED
        assert tree.links[server] not in served.at.master.publisher.children
        other = certificates.signing_request(certificates.new_key(), "n1").decode()
        again = await world.enroll(served, "n1", other)
        assert again != server
    async with world.running() as (served, _tree):
        assert served.at.past.content.trust.content.revoked == (server,)


# --- rotation -----------------------------------------------------------------------------------------------------------


def says(served: mic.Mic, tree: micworld.Tree, server: names.ServerId, epoch: int) -> None:
    """Its ServerShell holds everything, and a certificate of the newest CA."""
    content = served.at.past.content
    holds = objects.Numbers(
        content.numbers.target, content.trust.content.serial, content.admissions[server].content.serial
    )
    state = messages.AckState(
        content.version, content.digest, messages.Level.READY, messages.Outcome.OK, names.Epoch(1, epoch),
        holds=holds, issuer=signing.root_id(served.at.means.authority.ca_pem),
    )  # fmt: skip
    tree.say(server, state)


OWN = certificates.new_key()
PUBLICS = {micworld.FIRST: certificates.public_pem(OWN)}


async def test_old_keys_are_trusted_until_everybody_has_said_that_it_can_do_without() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        at = served.at
        server, first = await enrolled(world, served), at.means.authority
        for one in (micworld.FIRST, server):
            tree.connect(one)
        await rotating.rotate_ca(at, PUBLICS, CALLER)
        await rotating.rotate_keys(at, PUBLICS, CALLER)
        body = at.past.content.trust.content
        assert body.roots == (first.ca_pem, at.means.authority.ca_pem)
        assert [key.id for key in body.keys] == [first.signer().key_id, at.signer.key_id]
        raws = [one.raw for one in at.past.content.admissions.values()]
        assert at.past.content.target is not None
        raws += [at.past.content.target.raw, *(i.value for i in (await at.store.scan(keys.RECORDS)).items)]
        assert {signing.opened(raw).key for raw in raws} == {at.signer.key_id}
        assert rotating.progress(at).waiting == 2
        says(served, tree, micworld.FIRST, 1)
        assert [one.name for one in rotating.progress(at).waits_for] == ["n1"]
        assert not await rotating.retire(at)
        says(served, tree, server, 1)
        assert await rotating.retire(at)
        body = at.past.content.trust.content
        assert body.roots == (at.means.authority.ca_pem,)
        assert body.retired == (first.signer().key_id,)
        assert not await rotating.retire(at)
        ring = signing.Keyring.trusting(first.first_trust(), micworld.CLUSTER)
        assert ring.renewed(at.past.content.trust.raw).body == body


async def test_whoever_is_expelled_is_not_waited_for() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        server = await enrolled(world, served)
        tree.connect(micworld.FIRST)
        await rotating.rotate_keys(served.at, PUBLICS, CALLER)
        await revoking.revoke(served.at, CALLER, server)
        says(served, tree, micworld.FIRST, 1)
        assert await rotating.retire(served.at)


async def test_the_next_mic_opens_what_was_sealed_to_it_and_goes_on() -> None:
    """The one before it ended right after the commit: nothing of the new keys had reached its disk."""
    world = micworld.World()
    async with world.running() as (served, _tree):
        await enrolled(world, served)
        await rotating.rotate_ca(served.at, PUBLICS, CALLER)
        await rotating.rotate_keys(served.at, PUBLICS, CALLER)
        newest = served.at.means.authority
    item = await world.store.get(keys.sealed(micworld.FIRST))
    assert item is not None
    assert newest.signing_private not in item.value
    opened = authority.Authority.decode(sealing.opened(OWN, item.value, micworld.FIRST))
    assert opened == newest
    world.authority = opened
    async with world.running() as (served, _tree):
        await world.enroll(served, "n2")


async def test_a_mic_without_the_newest_signing_key_is_not_believed_and_says_so() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        tree.connect(micworld.FIRST)
        await rotating.rotate_keys(served.at, PUBLICS, CALLER)
        says(served, tree, micworld.FIRST, 1)
        assert await rotating.retire(served.at)
    with pytest.raises(errors.IdentityError, match="not one that the cluster trusts"):
        await world.open()


async def test_a_member_that_cannot_be_asked_stops_a_rotation_before_it_begins() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        server = await enrolled(world, served)
        before = served.at.past.content
        with pytest.raises(errors.UnreachableError, match="n1"):
            await rotating.publics(served.at, [micworld.FIRST, server], PUBLICS[micworld.FIRST])
        tree.connect(server)
        tree.answers["status"] = (
            "",
            msgspec.json.encode({"public_key": certificates.public_pem(OWN).decode()}),
        )
        with pytest.raises(errors.IdentityError, match="another key"):
            await rotating.publics(served.at, [server], PUBLICS[micworld.FIRST])
        shown = certificates.public_pem(KEY)
        tree.answers["status"] = ("", msgspec.json.encode({"public_key": shown.decode()}))
        found = await rotating.publics(served.at, [server], PUBLICS[micworld.FIRST])
        assert found == {micworld.FIRST: PUBLICS[micworld.FIRST], server: shown}
        assert served.at.past.content == before


async def test_a_rotation_that_was_cut_short_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        tree.connect(micworld.FIRST)

        async def cut(_at: desk.Desk) -> None:
            raise errors.NoQuorumError("away")

        with monkeypatch.context() as patched:
            patched.setattr(rotating, "sign_anew", cut)
            with pytest.raises(errors.NoQuorumError):
                await rotating.rotate_keys(served.at, PUBLICS, CALLER)
        target = served.at.past.content.target
        assert target is not None
        assert signing.opened(target.raw).key != served.at.signer.key_id
        await rotating.retire(served.at)
        target = served.at.past.content.target
        assert target is not None
        assert signing.opened(target.raw).key == served.at.signer.key_id


# --- what is seen of it ---------------------------------------------------------------------------------------------------


async def test_two_machines_with_one_identity_stand_in_status() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        tree.connect(micworld.FIRST)
        tree.ack(micworld.FIRST)
        asked = requests.Status(not_converged=True)
        _, calm = await world.ask(served, requests.Verb.STATUS, asked)
        assert [one["servers"] for one in calm["sites"]] == [[]]
        for _ in range(5):  # each of the two takes the other's place
            tree.connect(micworld.FIRST)
            tree.ack(micworld.FIRST)
        _, told = await world.ask(served, requests.Verb.STATUS, asked)
        (server,) = told["sites"][0]["servers"]
        assert (server["sync"], server["reason"]) == ("converged", children.TWINS)
        for _ in range(32):  # one of them was stopped: it clears by itself, within a minute
            world.clock.now += 2.0
            tree.feed(events.Tick())
            beat = messages.Heartbeat(b"", objects.Numbers(), 0)
            tree.feed(events.Heard(tree.links[micworld.FIRST], beat))
        tree.ack(micworld.FIRST)
        _, calm = await world.ask(served, requests.Verb.STATUS, asked)
        assert [one["servers"] for one in calm["sites"]] == [[]]


async def test_two_machines_at_two_ics_are_told_too_and_cleared_when_one_is_gone() -> None:
    """Each IC held one of them, and neither noticed; the one that changes its parent is none of them."""
    picture, server = convergence.Convergence(), names.ServerId("id-n1")
    asked = {server: convergence.Asked(names.ServerName("n1"), names.SiteName("north"))}
    picture.activate(names.RolloutId("r1"), names.Version(1, 1), names.Digest("d"), asked, 0.0)
    ready = messages.AckState(
        names.Version(1, 1), names.Digest("d"), messages.Level.READY, messages.Outcome.OK, names.Epoch(1, 1)
    )
    one, other = names.LinkId(1), names.LinkId(2)
    picture.row(one, messages.Row(server, True, ready), 1.0)
    picture.row(other, messages.Row(server, True, ready), 2.0)
    picture.tick(10.0)
    assert picture.remark(server) == ""
    index = picture.index
    picture.tick(2.0 + convergence.TWOFOLD_S + 1.0)
    assert picture.remark(server) == children.TWINS
    assert picture.remarked() == [server]
    assert picture.index > index, "viewers are told"
    picture.row(other, messages.Row(server, True, ready, children.TWINS), 30.0)
    assert picture.remark(server) == children.TWINS
    picture.link_down(one, 31.0)
    picture.row(other, messages.Row(server, True, ready), 32.0)
    picture.tick(60.0)
    assert picture.remark(server) == ""


async def test_what_a_server_says_of_its_trust_stands_in_status_whatever_it_runs() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        tree.connect(micworld.FIRST)
        content = served.at.past.content
        for seq, (code, version) in enumerate(
            [(messages.EXPIRED, content.version), (messages.STALE, names.Version(1, 0))], 1
        ):
            level, outcome = messages.Level.READY, messages.Outcome.OK
            epoch, detail = names.Epoch(1, seq), f"about {code}"
            tree.say(
                micworld.FIRST,
                messages.AckState(version, content.digest, level, outcome, epoch, code, detail),
            )
            _, told = await world.ask(served, requests.Verb.STATUS, requests.Status(not_converged=True))
            (server,) = told["sites"][0]["servers"]
            assert server["sync"] == ("converged" if code == messages.EXPIRED else "stale")
            assert server["reason"].startswith(f"about {code}")
            _, glance = await world.ask(served, requests.Verb.STATUS, requests.Status())
            named = [(one["server"], one["reason"]) for one in glance["remarked"]]
            assert named == ([("c1", f"about {code}")] if code == messages.EXPIRED else [])
            assert glance["remarked_count"] == len(named)
            assert [one["since_s"] for one in glance["remarked"]] == [None] * len(named), (
                "since when is not known"
            )


async def test_no_more_keys_count_side_by_side_than_a_handshake_can_carry() -> None:
    world = micworld.World()
    async with world.running() as (served, _tree):
        for rotate in (rotating.rotate_ca, rotating.rotate_keys):
            for _ in range(rotating.AT_A_TIME - 1):
                await rotate(served.at, PUBLICS, CALLER)
            with pytest.raises(errors.RefusedError, match="too many"):
                await rotate(served.at, PUBLICS, CALLER)
        assert rotating.progress(served.at).roots == rotating.progress(served.at).keys == rotating.AT_A_TIME
