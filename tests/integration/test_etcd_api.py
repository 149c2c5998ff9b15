"""etcdctl, as Debian has it, against our listener: real TLS, a MIC over the memory store, and whoever must be refused."""

import json
import os
import pathlib
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from aetcd.rpc import rpc_pb2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import ports
from coordinator import names
from coordinator.api.etcd import listener, refusals, spans
from coordinator.domains import people
from coordinator.host import clock
from coordinator.store import commands
from coordinator.tiers import desk, keys, mic, permissions, requests, revoking
from coordinator.trust import authority, certificates, tokens
from tests import micworld

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.etcd]
WAIT_S = 60.0
TODAY = clock.SystemClock().wall() - micworld.Clock(0.0).wall()  # etcdctl looks at the dates of certificates


class Shop:
    """A MIC with its listener, and a machine with an identity that runs etcdctl."""

    def __init__(self, world: micworld.World, served: mic.Mic, directory: pathlib.Path, port: int) -> None:
        self.world = world
        self.mic = served
        self.directory = directory
        self.port = port
        self.server = ""
        self.user = f"admin:{world.token.text}"

    def command(self, *words: str, user: str | None = None) -> tuple[list[str], dict[str, str]]:
        flags = [
            f"--endpoints=127.0.0.1:{self.port}",
            f"--cacert={self.directory / 'ca.pem'}",
            f"--cert={self.directory / 'cert.pem'}",
            f"--key={self.directory / 'key.pem'}",
            "--command-timeout=30s",
        ]
        who = self.user if user is None else user
        environment = {**os.environ, "ETCDCTL_API": "3", **({"ETCDCTL_USER": who} if who else {})}
        return ["etcdctl", *flags, *words], environment

    async def etcdctl(self, *words: str, stdin: str = "", user: str | None = None) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        command, environment = self.command(*words, user=user)

        def run() -> Any:
            return subprocess.run(
                command,
                input=stdin,
                env=environment,
                capture_output=True,
                text=True,
                timeout=WAIT_S,
                check=False,
            )

        done = await anyio.to_thread.run_sync(run)
        return done.returncode, done.stdout, done.stderr

    async def good(self, *words: str, stdin: str = "") -> str:
        code, out, error = await self.etcdctl(*words, stdin=stdin)
        assert code == 0, (words, out, error)
        return out

    async def json(self, *words: str) -> Any:
        return json.loads(await self.good(*words, "-w", "json"))


async def identity(world: micworld.World, served: mic.Mic, directory: pathlib.Path, name: str) -> str:
    """Enrolls a machine and writes what etcdctl needs; answers the server's id."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    asked = requests.Enroll(name, csr.public_bytes(serialization.Encoding.PEM).decode())
    code, answer = await world.ask(served, requests.Verb.ENROLL, asked)
    assert code == "", answer
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (directory / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    (directory / "cert.pem").write_text(answer["certificate_pem"])
    (directory / "ca.pem").write_text(answer["ca_pem"])
    return str(answer["server_id"])


@asynccontextmanager
async def opened(directory: pathlib.Path) -> AsyncIterator[Shop]:
    world = micworld.World(TODAY)
    async with world.running() as (served, _tree):
        server = await identity(world, served, directory, "p1")
        key = certificates.new_key()
        cert = authority.issue_https(
            world.authority, certificates.public_pem(key), ["127.0.0.1"], ["localhost"], world.clock.wall()
        )
        made = listener.Listener(served)
        roots = b"".join(served.at.past.content.trust.content.roots)
        port = await made.listen("127.0.0.1", ports.free(), lambda: listener.Tls(cert, key, roots))
        try:
            shop = Shop(world, served, directory, port)
            shop.server = server
            yield shop
        finally:
            await made.close()


async def test_put_get_by_prefix_and_by_revision_and_delete(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        assert await shop.good("put", "app/a", "1") == "OK\n"
        older = (await shop.json("put", "app/b", "2"))["header"]["revision"]
        assert await shop.good("put", "app/b", "3", "--prev-kv") == "OK\napp/b\n2\n"
        assert await shop.good("get", "app/", "--prefix") == "app/a\n1\napp/b\n3\n"
        assert await shop.good("get", "app/b", f"--rev={older}") == "app/b\n2\n"
        assert await shop.good("get", "app/a", "app/b") == "app/a\n1\n"
        assert await shop.good("get", "app/b", "--from-key", "--keys-only") == "app/b\n\n"
        descending = await shop.good("get", "", "--prefix", "--order=DESCEND", "--sort-by=KEY", "--limit=1")
        assert descending == "app/b\n3\n"
        counted = await shop.json("get", "app/", "--prefix", "--limit=1")
        assert (counted["count"], counted.get("more")) == (2, True)
        assert await shop.good("del", "app/", "--prefix", "--prev-kv") == "2\napp/a\n1\napp/b\n3\n"
        assert await shop.good("get", "app/", "--prefix") == ""
        stored = await shop.world.store.get(b"/kv/app/a")
        assert stored is None


async def test_a_transaction_takes_one_branch(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        text = 'version("lock") = "0"\n\nput lock mine\n\nget lock\n\n'
        assert await shop.good("txn", stdin=text) == "SUCCESS\n\nOK\n"
        assert await shop.good("txn", stdin=text) == "FAILURE\n\nlock\nmine\n"
        swap = 'value("lock") = "mine"\n\ndel lock\nput other 1\n\nput lost 1\n\n'
        assert await shop.good("txn", stdin=swap) == "SUCCESS\n\n1\n\nOK\n"


async def watched(shop: Shop, words: Sequence[str], changes: Sequence[Sequence[str]], until: str) -> str:
    command, environment = shop.command("watch", *words)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []

    def read() -> None:
        for line in process.stdout or ():
            lines.append(line)
            if until in line:
                return

    try:
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(WAIT_S):
                tasks.start_soon(anyio.to_thread.run_sync, read)
                for change in changes:
                    await shop.good(*change)
    finally:
        process.kill()
        await anyio.to_thread.run_sync(process.wait)
        process.stdout.close()
    return "".join(lines)


async def test_a_watch_from_a_revision_tells_what_was_and_what_comes(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        first = (await shop.json("put", "w/a", "1"))["header"]["revision"]
        out = await watched(
            shop,
            ["w/", "--prefix", f"--rev={first}"],
            [["put", "x", "foreign"], ["del", "w/a"], ["put", "w/b", "end"]],
            "end",
        )
        assert out == "PUT\nw/a\n1\nDELETE\nw/a\n\nPUT\nw/b\nend\n"


async def test_a_forgotten_revision_ends_a_watch_and_a_read_with_etcds_own_words(
    tmp_path: pathlib.Path,
) -> None:
    async with opened(tmp_path) as shop:
        await shop.good("put", "a", "1")
        revision = (await shop.json("put", "a", "2"))["header"]["revision"]
        assert await shop.good("compaction", str(revision)) == f"compacted revision {revision}\n"
        code, _out, error = await shop.etcdctl("get", "a", "--rev=1")
        assert (code, refusals.COMPACTED in error) == (1, True)
        code, _out, error = await shop.etcdctl("watch", "a", "--rev=1")
        assert "compacted" in error
        code, _out, error = await shop.etcdctl("get", "a", "--rev=999999")
        assert refusals.FUTURE in error


async def test_leases_are_granted_kept_looked_at_and_revoked(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        granted = await shop.good("lease", "grant", "60")
        number = granted.split()[1]
        await shop.good("put", "eph", "1", f"--lease={number}")
        told = await shop.good("lease", "timetolive", number, "--keys")
        assert "granted with TTL(60s)" in told
        assert "attached keys([eph])" in told
        assert f"lease {number} keepalived with TTL(60)" in await shop.good(
            "lease", "keep-alive", "--once", number
        )
        assert number in await shop.good("lease", "list")
        assert await shop.good("lease", "revoke", number) == f"lease {number} revoked\n"
        assert await shop.good("get", "eph") == ""
        code, _out, error = await shop.etcdctl("lease", "revoke", number)
        assert (code, refusals.NO_LEASE in error) == (1, True)


async def test_health_and_status_are_answered(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        assert "is healthy" in "".join((await shop.etcdctl("endpoint", "health"))[1:])
        (status,) = await shop.json("endpoint", "status")
        assert status["Status"]["version"] == "3.4.0"
        assert status["Status"]["header"]["member_id"] == status["Status"]["leader"]


async def test_nobody_does_anything_without_a_token_or_beyond_its_rights(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        code, _out, error = await shop.etcdctl("put", "a", "1", user="")
        assert (code, "invalid auth token" in error) == (1, True)
        code, _out, error = await shop.etcdctl("put", "a", "1", user="admin:wrong")
        assert code != 0
        viewer = tokens.new_token(shop.world.random)
        record = people.TokenRecord(
            viewer.id, tokens.digest(viewer.text), "vic", people.Rank.VIEWER, 0.0, "acme"
        )
        shop.world.store._apply(
            commands.Txn(success=(commands.put(record.key, msgspec.msgpack.encode(record)),))
        )
        code, out, _error = await shop.etcdctl("get", "a", user=f"vic:{viewer.text}")
        assert (code, out) == (0, "")
        code, _out, error = await shop.etcdctl("put", "a", "1", user=f"vic:{viewer.text}")
        assert (code, "permission denied" in error) == (1, True)
        code, _out, error = await shop.etcdctl("get", "a", user=f"admin:{viewer.text}")
        assert code != 0
        assert (await shop.world.store.scan(keys.KV)).items == ()


async def test_a_machine_of_another_cluster_is_not_even_heard(tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with opened(tmp_path) as shop:
        foreign = micworld.World(TODAY)
        async with foreign.running() as (served, _tree):
            await identity(foreign, served, other, "p1")
        (other / "ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
        shop.directory = other
        code, _out, _error = await shop.etcdctl("get", "a")
        assert code != 0


async def test_a_machine_that_was_revoked_is_refused_at_its_next_request(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        await shop.good("put", "a", "1")
        server = names.ServerId(shop.server)
        caller = desk.Caller("admin", "", "servers.expel", "")
        await revoking.revoke(shop.mic.at, caller, server)
        code, _out, error = await shop.etcdctl("get", "a")
        assert (code != 0, "permission denied" in error) == (True, True)


async def test_what_is_not_understood_is_refused_and_not_passed_over(tmp_path: pathlib.Path) -> None:
    async with opened(tmp_path) as shop:
        await shop.good("put", "a", "1")
        for words in (("put", "a", "--ignore-value"), ("watch", "a", "--prev-kv")):
            code, out, error = await shop.etcdctl(*words)
            assert "not supported" in out + error, (words, code, out, error)
        code, _out, error = await shop.etcdctl("member", "add", "x", "--peer-urls=http://127.0.0.1:1")
        assert code != 0
        code, _out, error = await shop.etcdctl("put", "")
        assert code != 0


def test_every_method_has_a_right_that_stands_in_the_table() -> None:
    for row in listener.ROWS:
        assert (row.verb is None) == (row.method == "Authenticate")
        if row.verb is not None:
            assert permissions.ROWS[row.verb].master is False
            assert row.verb.startswith("kv.")


@pytest.mark.parametrize(
    ("key", "end", "within", "has", "lacks"),
    [
        (b"a", b"", b"/kv/a", [b"/kv/a"], [b"/kv/ab", b"/kv/b"]),
        (b"a", b"b", b"/kv/a", [b"/kv/a", b"/kv/az"], [b"/kv/b"]),
        (b"a/", b"a0", b"/kv/a/", [b"/kv/a/x"], [b"/kv/a0"]),
        (b"\0", b"\0", b"/kv/", [b"/kv/a", b"/kv/zz"], [b"/kw", b"/config/target"]),
        (b"b", b"\0", b"/kv/", [b"/kv/b", b"/kv/z"], [b"/kv/a", b"/kw"]),
        (b"ab", b"ad", b"/kv/a", [b"/kv/ab", b"/kv/acz"], [b"/kv/ad", b"/kv/aa"]),
        (b"b", b"a", b"/kv/b", [], [b"/kv/a", b"/kv/b"]),
    ],
)
def test_a_range_never_reaches_out_of_kv(
    key: bytes, end: bytes, within: bytes, has: list[bytes], lacks: list[bytes]
) -> None:
    span = spans.span(key, end)
    assert span.within == within
    assert [one for one in has if not span.has(one)] == []
    assert [one for one in lacks if span.has(one)] == []
    assert within.startswith(keys.KV)


def test_messages_of_the_stubs_are_what_the_listener_speaks() -> None:
    assert rpc_pb2.RangeRequest.FromString(rpc_pb2.RangeRequest(key=b"a").SerializeToString()).key == b"a"
