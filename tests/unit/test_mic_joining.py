"""Join lines at MIC: one key each, the same identity however often it asks, and a clear word for everything else."""

from typing import Any

import anyio
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator import errors, names
from coordinator.propagation import joining, messages, mirror, objects
from coordinator.store import commands
from coordinator.tiers import asking, inspection, joins, mic, permissions, requests, requests_joining
from coordinator.trust import certificates, joinlines, signing
from tests import builders, micworld

Verb = requests.Verb
State = objects.AdmissionState


class Machine:
    """Without an identity: a key, and a line that somebody gave it."""

    def __init__(self, line: str, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.line = joinlines.parse(line)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.public = joinlines.public_der(self.key.public_key())

    def request(self, **changes: Any) -> bytes:
        csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(self.key, hashes.SHA256())
        wall = changes.pop("wall", 0.0)
        proof = joinlines.request_proof(self.line, micworld.CLUSTER, self.public, wall)
        der = csr.public_bytes(serialization.Encoding.DER)
        plain = joining.Request(self.line.id, der, wall, proof)
        return joining.encode(msgspec.structs.replace(plain, **changes))

    async def ask(self, served: mic.Mic, **changes: Any) -> tuple[str, Any]:
        """(code, grant or problem)."""
        carried = joining.encode(joining.Carried("10.9.9.9", self.request(**changes)))
        code, data = await served.answered(joining.JOIN, permissions.DOOR, carried)
        if code:
            return code, msgspec.json.decode(data, type=requests.Problem)
        sealed = msgspec.json.decode(data, type=joining.Sealed)
        expected = joinlines.grant_proof(self.line, micworld.CLUSTER, self.public, sealed.grant)
        assert joinlines.same(expected, sealed.proof)
        return "", joining.grant(sealed.grant)

    def leave(self, server_id: names.ServerId, *, rehearse: bool = False) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        pem = self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        public, signature = joinlines.signed_leave(pem, micworld.CLUSTER, server_id)
        body = joining.encode(joining.Leave(server_id, public, signature, rehearse))
        return joining.encode(joining.Carried("n1", body))


async def line_of(world: micworld.World, served: mic.Mic, server: str = "", ttl_s: float = 3600.0) -> str:
    asked = requests_joining.CreateLine(server=server, ttl_s=ttl_s)
    code, made = await world.ask(served, Verb.LINE_CREATE, asked)
    assert code == "", made
    return str(made["line"])


async def joined(world: micworld.World, served: mic.Mic, server: str = "") -> tuple[Machine, joining.Grant]:
    machine = Machine(await line_of(world, served, server))
    code, grant = await machine.ask(served)
    assert code == "", grant
    return machine, grant


def test_a_line_makes_a_server_that_everything_verifies() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine, grant = await joined(world, served, "n1")
        assert (grant.name, grant.state, grant.parents) == ("n1", "parked", (("10.1.0.11", 7401),))
        form = serialization.PrivateFormat.PKCS8
        pem = machine.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        named = certificates.belonging(pem, grant.certificate_pem, grant.ca_pem)
        assert named == (micworld.CLUSTER, grant.server_id)
        keyring = signing.Keyring.trusting(grant.trust, micworld.CLUSTER)
        signed = mirror.verify(grant.admission, keyring)
        assert isinstance(signed, mirror.SignedAdmission)
        assert signed.content.key_digest == joinlines.key_digest(machine.public)
        assert joinlines.pin(grant.ca_pem) == machine.line.pin

    anyio.run(main)


def test_the_same_key_may_ask_again_and_is_the_same_server_even_after_the_line_expired() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine, first = await joined(world, served, "n1")
        world.clock.now += 7200.0
        code, again = await machine.ask(served)
        assert (code, again.server_id, again.admission) == ("", first.server_id, first.admission)
        assert len(served.at.past.content.admissions) == 2

    anyio.run(main)


def test_another_key_is_told_who_used_the_line_and_changes_nothing() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine, grant = await joined(world, served, "n1")
        thief = Machine(machine.line.text)
        before = served.at.past.content
        code, problem = await thief.ask(served)
        assert code == "not_allowed"
        assert "used by another key" in problem.detail
        assert grant.server_id in problem.detail
        assert f"server expel {grant.server_id}" in problem.hint
        assert served.at.past.content == before

    anyio.run(main)


@pytest.mark.parametrize("spoiled", ["proof", "line", "csr", "wall", "secret"])
def test_whoever_does_not_know_the_secret_learns_nothing(spoiled: str) -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine, _ = await joined(world, served, "n1")
        spoilt: dict[str, dict[str, Any]] = {
            "proof": {"proof": b"x" * 32},
            "line": {"line": "0" * 12},
            "csr": {"csr": _csr_of_another()},
            "wall": {
                "wall": 0.0,
                "proof": joinlines.request_proof(machine.line, micworld.CLUSTER, machine.public, 1.0),
            },
            "secret": {},
        }
        asks = machine
        if spoiled == "secret":
            wrong = msgspec.structs.replace(machine.line, secret="0" * 64)
            asks = Machine(wrong.text, machine.key)
        code, problem = await asks.ask(served, **spoilt[spoiled])
        assert (code, problem.detail) == ("unauthenticated", "the secret of this join line does not fit")

    anyio.run(main)


def _csr_of_another() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.DER)


def test_what_a_request_calls_itself_counts_for_nothing() -> None:
    """A certificate request for another's name, by whoever has a line of its own."""

    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine = Machine(await line_of(world, served, "n1"))
        for called in ("c1", micworld.FIRST):
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, called)])
            csr = x509.CertificateSigningRequestBuilder(name).sign(machine.key, hashes.SHA256())
            code, grant = await machine.ask(served, csr=csr.public_bytes(serialization.Encoding.DER))
            assert (code, grant.name) == ("", "n1")
            leaf = x509.load_pem_x509_certificate(grant.certificate_pem)
            assert certificates.named(leaf) == (micworld.CLUSTER, grant.server_id)
            assert grant.server_id != micworld.FIRST

    anyio.run(main)


def test_of_two_keys_that_come_at_once_one_is_a_server() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        line = await line_of(world, served, "n1")
        codes: list[str] = []

        async def come(machine: Machine) -> None:
            codes.append((await machine.ask(served))[0])

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(come, Machine(line))
        assert sorted(codes) == ["", *["not_allowed"] * 4]
        assert len(served.at.past.content.admissions) == 2

    anyio.run(main)


def test_the_next_mic_knows_the_line_and_gives_the_same_server() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine, grant = await joined(world, served, "n1")
        unused = Machine(await line_of(world, served, "n2"))
        successor, _ = await world.open()
        code, again = await machine.ask(successor)
        assert (code, again.server_id) == ("", grant.server_id)
        assert (await unused.ask(successor))[0] == ""

    anyio.run(main)


def test_a_mic_that_needs_recovery_issues_nothing_and_uses_no_line_up() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine = Machine(await line_of(world, served, "n1"))
        served.at.recovery = "the store is older than what was issued"
        code, _ = await machine.ask(served)
        assert code == "needs_recovery"
        served.at.recovery = ""
        assert (await machine.ask(served))[0] == ""

    anyio.run(main)


def test_an_expired_a_revoked_and_a_forgotten_line_each_say_so() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        old = Machine(await line_of(world, served, "n1", 60.0))
        taken_back = Machine(await line_of(world, served, "n2"))
        code, view = await world.ask(
            served, Verb.LINE_REVOKE, requests_joining.RevokeLine(taken_back.line.id)
        )
        assert (code, view["state"]) == ("", "revoked")
        world.clock.now += 61.0
        for machine, word in ((old, "expired 1.0 s ago"), (taken_back, "was revoked")):
            code, problem = await machine.ask(served)
            assert code == "not_allowed"
            assert word in problem.detail
        await world.store.commit(commands.Txn((), (commands.delete(joins.PREFIX + old.line.id.encode()),)))
        code, problem = await old.ask(served)
        assert (code, problem.detail) == ("not_allowed", "this join line is not known here any more")

    anyio.run(main)


def test_clocks_that_are_too_far_apart_are_both_named_and_the_line_stays_good() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine = Machine(await line_of(world, served, "n1"))
        for theirs in (world.clock.wall() - 86400.0, world.clock.wall() + 301.0, float("nan"), 1e300):
            code, problem = await machine.ask(served, wall=theirs)
            assert code == "clock_skew"
        code, problem = await machine.ask(served, wall=world.clock.wall() - 86400.0)
        assert "got 2023-11-13 22:30:00Z, have 2023-11-14 22:30:00Z" in problem.detail
        assert (await machine.ask(served, wall=world.clock.wall() + 299.0))[0] == ""

    anyio.run(main)


def test_a_name_is_taken_once_when_the_line_is_made_and_again_when_it_is_used() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        code, problem = await world.ask(served, Verb.LINE_CREATE, requests_joining.CreateLine(server="c1"))
        assert (code, problem["detail"]) == ("conflict", "there is a server c1 already")
        two = [Machine(await line_of(world, served, "n1")) for _ in range(2)]
        assert (await two[0].ask(served))[0] == ""
        code, problem = await two[1].ask(served)
        assert (code, problem.detail) == ("conflict", "there is a server n1 already")

    anyio.run(main)


def test_a_server_without_a_name_waits_until_it_is_given_one() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        await world.apply(served, builders.document())
        _, grant = await joined(world, served)
        _, other = await joined(world, served)
        assert grant.state == other.state == "parked"
        asked = requests_joining.Accept(grant.server_id[:6] + "x", "n1")
        assert (await world.ask(served, Verb.ACCEPT, asked))[0] == "not_found"
        asked = requests_joining.Accept(grant.server_id, "n1")
        code, seat = await world.ask(served, Verb.ACCEPT, asked)
        assert (code, seat["server"], seat["state"], seat["site"]) == ("", "n1", "placed", "north")
        assert (await world.ask(served, Verb.ACCEPT, asked))[0] == ""
        assert micworld.state_of(served, "n1") is State.PLACED
        again = requests_joining.Accept(grant.server_id, "n9")
        assert (await world.ask(served, Verb.ACCEPT, again))[0] == "conflict"
        taken = requests_joining.Accept(other.server_id, "n1")
        assert (await world.ask(served, Verb.ACCEPT, taken))[0] == "conflict"
        bad = requests_joining.Accept(other.server_id, "unnamed:x")
        assert (await world.ask(served, Verb.ACCEPT, bad))[0] == "usage"

    anyio.run(main)


def test_two_servers_without_a_name_both_hear_where_mic_is() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        grants = [(await joined(world, served))[1] for _ in range(2)]
        names_ = {served.at.past.content.admissions[one.server_id].content.name for one in grants}
        assert len(names_) == 2
        assert all(asking.is_unnamed(name) for name in names_)
        await world.apply(served, builders.document())
        assert {micworld.state_of(served, name) for name in names_} == {State.PARKED}

    anyio.run(main)


def test_lines_are_listed_without_their_secret_and_what_is_stored_holds_none() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        line = joinlines.parse(await line_of(world, served, "n1"))
        machine, _ = await joined(world, served, "n2")
        _, open_ = await world.ask(served, Verb.LINES, requests_joining.ListLines())
        _, every = await world.ask(served, Verb.LINES, requests_joining.ListLines(every=True))
        assert [(one["id"], one["state"], one["server"]) for one in open_["lines"]] == [
            (line.id, "open", "n1")
        ]
        assert {one["state"] for one in every["lines"]} == {"open", "used"}
        held = b"".join(item.key + item.value for item in (await world.store.scan(b"")).items)
        for secret in (line.secret, machine.line.secret):
            assert secret not in msgspec.json.encode(every).decode()
            assert secret.encode() not in held
            assert bytes.fromhex(secret) not in held
        assert repr(line).count(line.secret) == 0

    anyio.run(main)


def test_a_look_at_the_store_reads_its_lines_and_names_one_that_is_spoiled() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine, _ = await joined(world, served, "n1")
        items = (await world.store.scan(b"")).items
        assert inspection.inspect(items, micworld.CLUSTER).findings == ()
        key = joins.PREFIX + machine.line.id.encode()
        spoiled = [msgspec.structs.replace(one, value=b"!") if one.key == key else one for one in items]
        (finding,) = inspection.inspect(spoiled, micworld.CLUSTER).findings
        assert finding.startswith(key.decode())

    anyio.run(main)


def test_a_line_that_was_used_is_not_revoked_but_its_server_expelled() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        machine, _ = await joined(world, served, "n1")
        code, problem = await world.ask(
            served, Verb.LINE_REVOKE, requests_joining.RevokeLine(machine.line.id)
        )
        assert (code, problem["hint"]) == ("conflict", "tiercast server expel n1")
        code, _ = await world.ask(served, Verb.LINE_REVOKE, requests_joining.RevokeLine("nobody"))
        assert code == "not_found"

    anyio.run(main)


def test_an_expelled_server_is_out_and_its_name_is_free() -> None:
    async def main() -> None:
        world = micworld.World()
        served, tree = await world.open()
        machine, grant = await joined(world, served, "n1")
        tree.connect(grant.server_id)
        code, seat = await world.ask(served, Verb.EXPEL, requests_joining.Expel(server="n1", reason="stolen"))
        assert (code, seat["state"], seat["server_id"]) == ("", "expelled", grant.server_id)
        content = served.at.past.content
        assert grant.server_id in content.trust.content.revoked
        assert content.admissions[grant.server_id].content.state is State.EXPELLED
        assert not served.at.master.publisher.by_peer(grant.server_id, messages.ChildKind.SHELL)
        again = requests_joining.Expel(server=grant.server_id)
        assert (await world.ask(served, Verb.EXPEL, again))[0] == ""
        assert (await world.ask(served, Verb.EXPEL, requests_joining.Expel(server="n1")))[0] == "not_found"
        code, problem = await machine.ask(served)
        assert code == "not_allowed"
        assert "no longer one of us" in problem.detail
        _, newer = await joined(world, served, "n1")
        assert newer.server_id != grant.server_id

    anyio.run(main)


def test_the_server_that_mic_runs_on_is_neither_expelled_nor_leaves() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        for named in ("c1", micworld.FIRST):
            code, problem = await world.ask(served, Verb.EXPEL, requests_joining.Expel(server=named))
            assert (code, problem["detail"]) == ("refused", "MIC runs on c1")

    anyio.run(main)


def test_a_server_leaves_by_its_own_word_alone() -> None:
    async def main() -> None:
        world = micworld.World()
        served, tree = await world.open()
        machine, grant = await joined(world, served, "n1")
        tree.connect(grant.server_id)
        stranger = Machine(machine.line.text)
        over = messages.ChildKind.SHELL
        code, _ = await served.answered(joining.LEAVE, over, stranger.leave(grant.server_id))
        assert code == "unauthenticated"
        code, data = await served.answered(joining.LEAVE, over, machine.leave(grant.server_id, rehearse=True))
        assert (code, msgspec.json.decode(data)["placed"]) == ("", False)
        assert micworld.state_of(served, "n1") is State.PARKED
        code, _ = await served.answered(joining.LEAVE, over, machine.leave(grant.server_id))
        assert code == ""
        assert served.at.past.content.admissions[grant.server_id].content.state is State.EXPELLED
        assert served.at.master.publisher.by_peer(grant.server_id, over), (
            "it is answered before its link ends"
        )
        served.at.publish_owed()
        assert not served.at.master.publisher.by_peer(grant.server_id, over)
        code, _ = await served.answered(joining.LEAVE, over, machine.leave(grant.server_id))
        assert code == ""

    anyio.run(main)


# --- who may --------------------------------------------------------------------------------------------------------

OVER = {
    joining.JOIN: {"door", "ic", "shell"},
    joining.LEAVE: {"ic", "shell"},
}
"""Written twice on purpose, here and in the product."""


def test_verbs_that_carry_their_own_proof_come_over_the_links_of_the_table_alone() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        assert {str(verb) for verb in permissions.PROVEN} >= set(OVER)
        for verb, links in OVER.items():
            for over in (None, "door", *messages.ChildKind):
                carried = joining.encode(joining.Carried("x", b"\xc1"))
                code, _ = await served.answered(verb, over, carried)
                assert code == ("protocol" if over in links else "not_allowed"), (verb, over)

    anyio.run(main)


def test_a_door_leads_to_no_other_verb() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        for verb in Verb:
            assert (await world.ask(served, verb, over=permissions.DOOR))[0] == "not_allowed"

    anyio.run(main)


def test_lines_that_cannot_be_used_any_more_make_room_and_open_ones_do_not() -> None:
    wall = 1_700_000_000.0

    def line(number: int, **changes: Any) -> joins.Join:
        plain = joins.Join(f"{number:012x}", names.ServerName(""), "admin", wall + number, wall + 3600)
        return msgspec.structs.replace(plain, **changes)

    old = [line(n, expires=wall - 1) for n in range(joins.KEPT)]
    newest_first = list(reversed(old))
    assert [one.key for one in joins.pruned(newest_first, wall)] == [old[0].key]
    assert len(joins.pruned(newest_first, wall + joins.KEPT_S + 1)) == joins.KEPT
    with pytest.raises(errors.NoSpaceError):
        joins.pruned([line(n) for n in range(joins.KEPT)], wall)
