"""How the newest keys reach a MIC that stands by on another machine, and the core roles of a server."""

import functools
import pathlib
import ssl

import anyio
import msgspec
import pytest

from coordinator import errors, names
from coordinator.hop import credentials, ledger
from coordinator.host import disk, settings
from coordinator.propagation import mirror, objects
from coordinator.runtime import home, keyholding, mic_store
from coordinator.store import commands, membership, port
from coordinator.store.backends.raft import journal
from coordinator.tiers import desk, keys, rotating
from coordinator.trust import authority, certificates, sealing, signing
from tests import micworld

pytestmark = pytest.mark.anyio
CALLER = desk.Caller("root", "here", "rotate", "")
END = "-----END CERTIFICATE-----\n"
SECOND = names.ServerId("id-c2")


async def test_a_mic_that_stands_by_opens_what_is_sealed_to_its_server_and_keeps_it_for_itself_alone(
    tmp_path: pathlib.Path,
) -> None:
    world = micworld.World()
    wall = world.clock.wall()
    first, second = (authority.enrolled(world.authority, one, wall) for one in (micworld.FIRST, SECOND))
    root = disk.DirectoryDisk(tmp_path)
    world.authority.save(root)
    publics = {one.server_id: certificates.public_pem(one.key_pem) for one in (first, second)}
    async with world.running() as (served, _tree):
        held = authority.Authority.load(root)
        assert await keyholding.newest(world.store, root, second, held) is held
        await rotating.rotate_ca(served.at, publics, CALLER)
        await rotating.rotate_keys(served.at, publics, CALLER)
        newest = served.at.means.authority
        found = await keyholding.newest(world.store, root, second, held)
        assert found == newest == authority.Authority.load(root)
        assert await keyholding.newest(world.store, root, second, found) is found
        other = msgspec.structs.replace(first, server_id=SECOND)
        assert await keyholding.newest(world.store, root, other, held) is held
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "identity/authority").iterdir()}
    assert modes["current"] == 0o600
    assert {"ca.key", "signing.key"}.isdisjoint(modes)


async def test_an_older_authority_never_takes_the_place_of_a_newer_one(tmp_path: pathlib.Path) -> None:
    world = micworld.World()
    own = authority.enrolled(world.authority, micworld.FIRST, world.clock.wall())
    newer = world.authority.with_new_signer().with_new_signer()
    box = sealing.sealed(
        certificates.public_pem(own.key_pem), world.authority.with_new_signer().encode(), own.server_id
    )
    await world.store.commit(commands.Txn((), (commands.put(keys.sealed(own.server_id), box),), (), None))
    root = disk.DirectoryDisk(tmp_path)
    assert await keyholding.newest(world.store, root, own, newer) is newer
    assert root.names() == []


async def test_a_member_of_the_store_must_hold_the_key_that_its_admission_names(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyholding, "PIN_S", 0.01)
    world, layout = micworld.World(), settings.Layout(tmp_path)
    async with world.running() as (served, _tree):
        key = certificates.new_key()
        pem = certificates.signing_request(key, "c2").decode()
        second = await world.enroll(served, "c2", pem)
        root = disk.DirectoryDisk(layout.root)
        authority.enrolled(world.authority, micworld.FIRST, world.clock.wall()).save(root)
        root.write(authority.TRUST_FILE, world.authority.first_trust())
        here = home.at(layout, world.clock)
        members = tuple(
            membership.Seat(f"t{number}", server, f"127.0.0.{number}").member
            for number, server in enumerate((micworld.FIRST, second), 1)
        )
        group = mic_store.group_of(journal.Identity(micworld.CLUSTER, members[0], members), here, world.clock)

        def shown(private: bytes) -> bytes:
            public = certificates.public_pem(private)
            made = authority.issue(world.authority, second, public, world.clock.wall())
            return ssl.PEM_cert_to_DER_cert(made.decode().partition("-----END CERTIFICATE-----")[0] + END)

        monkeypatch.setattr(world.store, "status", functools.partial(_members, members))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keyholding.pin, here, world.store)
            await micworld.until(lambda: second in here.own.pins)
            tasks.cancel_scope.cancel()
        assert group.identify(shown(key)) == members[1]
        with pytest.raises(errors.IdentityError, match="another key"):
            group.identify(shown(certificates.new_key()))
        here.own.trust((), (second,))
        with pytest.raises(errors.IdentityError, match="not a member"):
            group.identify(shown(key))


async def _members(members: tuple[str, ...]) -> port.StoreStatus:
    return port.StoreStatus("raft", tuple(port.MemberStatus(one) for one in members), None, 0, 0, 0, 0)


async def test_core_roles_show_and_trust_what_their_server_has_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyholding, "LOOK_S", 0.01)
    world, layout = micworld.World(), settings.Layout(tmp_path)
    first = world.authority
    root = disk.DirectoryDisk(layout.root)
    authority.enrolled(first, micworld.FIRST, world.clock.wall() - 400 * 86_400).save(root)
    root.write(authority.TRUST_FILE, first.first_trust())
    here = home.at(layout, world.clock)
    told: list[keyholding.Papers] = []
    before = here.own.server
    after = first.with_new_ca(world.clock.wall())
    body = signing.TrustBody(
        1, 2, (first.signer().unendorsed(),), (first.ca_pem, after.ca_pem), (names.ServerId("id-x"),)
    )
    raw = first.signer().sign(objects.Kind.TRUST, objects.encode(body))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(keyholding.follow, here, layout, told.append))
        await micworld.until(lambda: told)
        renewed = authority.enrolled(after, micworld.FIRST, world.clock.wall())
        renewed.replace(root)
        ledger.Ledger(disk.DirectoryDisk(layout.ledger)).store({mirror.TRUST_KEY: raw})
        await micworld.until(lambda: here.own.identity == renewed and here.own.revoked)
        tasks.cancel_scope.cancel()
    assert here.own.server is not before
    assert here.own.revoked == {"id-x"}
    assert told[-1].trust.content == body
    assert [one.returned for one in told].count(True) == 1, (
        "links of the one that had run out are dialled anew"
    )
    assert isinstance(here.own, credentials.Credentials)
    assert (layout.root / authority.CURRENT_FILE).stat().st_mode & 0o077 == 0
