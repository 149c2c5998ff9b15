"""What etcd's API may cost and how long a right lasts in it: streams outlive no right, and no answer is larger than a client takes."""

import pathlib
import subprocess

import anyio
import anyio.to_thread
import msgspec
import pytest

from bench import ports
from coordinator import limits, names
from coordinator.api.etcd import listener, service, watches
from coordinator.domains import people, scopes
from coordinator.store import commands, port
from coordinator.trust import authority, certificates, tokens
from tests.integration import test_etcd_api as shops

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.etcd]


def known(shop: shops.Shop, name: str, rank: people.Rank, *narrowed: str) -> tuple[str, people.TokenRecord]:
    """`name:token` of somebody new."""
    made = tokens.new_token(shop.world.random)
    record = people.TokenRecord(
        made.id, tokens.digest(made.text), name, rank, 0.0, "acme", scopes=tuple(map(scopes.parse, narrowed))
    )
    _store(shop, commands.put(record.key, msgspec.msgpack.encode(record)))
    return f"{name}:{made.text}", record


def _store(shop: shops.Shop, operation: commands.Operation) -> None:
    shop.world.store._apply(commands.Txn(success=(operation,)))


async def _putting(shop: shops.Shop) -> None:
    """Again and again: nobody says when a watch has begun."""
    while True:
        await shop.good("put", "app/seen", "1")


async def ended(watch: "subprocess.Popen[str]") -> tuple[str, str]:
    return await anyio.to_thread.run_sync(lambda: watch.communicate(timeout=shops.WAIT_S))


async def test_a_watch_ends_with_the_right_to_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "AGAIN_S", 0.05)
    async with shops.opened(tmp_path) as shop:
        user, record = known(shop, "vic", people.Rank.VIEWER)
        words, environment = shop.command("watch", "app/", "--prefix", user=user)
        watch = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert watch.stdout is not None
            first = watch.stdout.readline
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_putting, shop)
                assert await anyio.to_thread.run_sync(first) == "PUT\n"
                tasks.cancel_scope.cancel()
            _store(shop, commands.delete(record.key))
            _out, error = await ended(watch)
            assert (
                "watch is canceled by the server" in error
                or "permission denied" in error
                or "auth token" in error
            )
        finally:
            watch.kill()
            await anyio.to_thread.run_sync(watch.wait)


async def test_what_would_answer_too_much_is_not_begun(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was done first and then refused, so that whoever asked could not know."""
    monkeypatch.setattr(limits, "KV_ETCD_ANSWER_BYTES", 1000)
    async with shops.opened(tmp_path) as shop:
        for number in range(3):
            await shop.good("put", f"big{number}", "x" * 400)
        code, _out, error = await shop.etcdctl("del", "big", "--prefix", "--prev-kv")
        assert (code, "too large" in error) == (1, True)
        text = "\n\nput done 1\nget big --prefix\n\n\n"
        code, _out, error = await shop.etcdctl("txn", stdin=text)
        assert (code, "too large" in error) == (1, True)
        assert await shop.good("get", "", "--prefix", "--keys-only", "--limit=1") == "big0\n\n"
        assert await shop.good("get", "done") == ""
        assert await shop.good("del", "big", "--prefix") == "3\n"


async def test_a_token_that_reaches_some_keys_does_not_forget_the_history_of_all(
    tmp_path: pathlib.Path,
) -> None:
    async with shops.opened(tmp_path) as shop:
        await shop.good("put", "a", "1")
        revision = (await shop.json("put", "a", "2"))["header"]["revision"]
        user, _ = known(shop, "ann", people.Rank.ADMINISTRATOR, "kv:/kv/app/:rw")
        code, _out, error = await shop.etcdctl("compact", str(revision), user=user)
        assert (code, "permission denied" in error) == (1, True)
        assert "compacted revision" in await shop.good("compact", str(revision))


def event(revision: int, size: int) -> port.Event:
    return port.Event(port.KeyValue(b"/kv/a", b"x" * size, revision, revision, 1, 0))


def test_events_are_told_in_parts_of_whole_transactions() -> None:
    big = watches.PART_BYTES // 2
    events = [event(1, big), event(1, big), event(2, 10), event(3, big), event(3, big), event(4, 1)]
    parts = [[one.item.mod_revision for one in part] for part in watches._parts(events)]
    assert parts == [[1, 1], [2, 3, 3], [4]]
    assert [one for part in watches._parts(events) for one in part] == events
    assert list(watches._parts([])) == []


async def test_roots_that_are_trusted_later_are_believed_without_a_restart(tmp_path: pathlib.Path) -> None:
    """After a rotation of the CA every machine had a certificate that the listener did not know."""
    async with shops.opened(tmp_path) as shop:
        world = shop.world
        stranger = authority.create_authority(names.ClusterId("other"), world.clock.wall())
        key = certificates.new_key()
        cert = authority.issue_https(
            world.authority, certificates.public_pem(key), ["127.0.0.1"], ["localhost"], world.clock.wall()
        )
        trusted = [stranger.ca_pem]
        made = listener.Listener(shop.mic)
        shop.port = await made.listen(
            "127.0.0.1", ports.free(), lambda: listener.Tls(cert, key, b"".join(trusted))
        )
        try:
            assert (await shop.etcdctl("put", "a", "1"))[0] != 0
            trusted.append(world.authority.ca_pem)
            assert await shop.good("put", "a", "1") == "OK\n"
        finally:
            await made.close()
