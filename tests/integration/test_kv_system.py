"""The users' keys, etcd's API and the local watch on real processes: MIC killed under them, every parent away."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from bench.demo import observe, place, sweeping, world
from coordinator import errors, limits
from coordinator.cli import client, https
from coordinator.host import contexts
from tests.integration import town as towns

pytestmark = [pytest.mark.integration, pytest.mark.etcd]

C1, N1 = place.Place("c1", "central", "127.0.62.1"), place.Place("n1", "north", "127.0.62.2")
ETCD_PORT = 2379
FOLLOWS = pathlib.Path(__file__).parents[2] / "examples" / "local_watch.py"
DOCUMENT = f"""
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}, branch: {{fqdn: branch.acme.example}}}}
sites:
  central: {{type: master_communication, domains: [acme]}}
  north: {{type: communication, domains: [branch]}}
servers:
  c1: {{interfaces: {{lan: "{C1.address}"}}}}
  n1: {{interfaces: {{lan: "{N1.address}"}}}}
roles:
  mic1: {{type: mic, order: 1, params: {{etcd_port: {ETCD_PORT}}}}}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  icc1: {{type: ic, order: 1}}
  icn1: {{type: ic, order: 1}}
  follow: {{type: process, params: {{command: ["{sys.executable}", "{FOLLOWS}"]}}}}
structure:
  central: {{c1: [mic1, dc1, ws1, icc1]}}
  north: {{n1: [icn1, follow]}}
"""
MIC = (C1.address, limits.PORT_MIC)


class Pair:
    """Two servers, and somebody who puts keys."""

    def __init__(self, running: world.World) -> None:
        self.world = running
        self.acked: dict[str, str] = {}

    def good(self, *words: str) -> str:
        ran = self.world.run(*words)
        assert ran.code == 0, ran
        return ran.out

    def put(self, key: str, value: str) -> int:
        """By HTTP, again under its id until somebody says that it is done; its revision."""
        known = contexts.read(self.world.context_file)
        asked = https.HttpsClient(known.contexts[known.current])
        body = msgspec.json.encode({"key": key, "value": value})
        ask = client.post("/api/admin/v1/kv/put", body, f"request-{key}-{value}")
        found: list[int] = []

        def done() -> bool:
            try:
                found.append(json.loads(asked.call(ask).body)["revision"])
            except (errors.UnreachableError, client.ProblemError):
                return False
            return True

        towns.until(done, f"{key} is put")
        self.acked[key] = value
        return found[-1]

    def log(self, role: str) -> str:
        return "\n".join(
            path.read_text(errors="replace") for path in self.world.directory("n1").glob(f"logs/{role}*.log")
        )


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with world.World({"c1": C1, "n1": N1}) as running:
        made = Pair(running)
        words = ("--name", "c1", "--address", C1.address, "--site", "central", "--master-domain", "acme")
        made.good("server", "init", *words, "--dir", str(running.directory("c1")))
        running.start("c1")
        towns.until(lambda: running.run("status").code == 0, "the API answers")
        identity = running.root / "n1.identity"
        made.good("server", "enroll", "n1", "-o", str(identity))
        running.start("n1", identity)
        document = running.root / "system.yaml"
        document.write_text(DOCUMENT, encoding="utf-8")
        applied = running.run("apply", str(document), "--yes", "--wait", "all", "--timeout", "60s")
        assert applied.code == 0, applied
        yield made


class Watching:
    """`tiercast kv watch` beside the test."""

    def __init__(self, pair: Pair, *words: str) -> None:
        self.process = pair.world.begin("kv", "watch", *words, "-o", "json")
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def saw(self, key: str, value: str) -> bool:
        return any((one["item"]["key"], one["item"].get("value")) == (key, value) for one in self.lines)

    def end(self) -> str:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(towns.WAIT_S)
        self._reader.join()
        with self.process:  # which closes its pipes
            assert self.process.stderr is not None
            talk = self.process.stderr.read()
        assert self.process.returncode == 130
        return talk


def test_every_command_of_kv_works_through_ws_and_mic(pair: Pair) -> None:
    pair.good("kv", "put", "app/leader", "n1")
    assert pair.good("kv", "get", "app/leader") == "n1\n"
    lease = pair.good("kv", "lease", "grant", "60s").strip()
    pair.good("kv", "put", "app/alive", "yes", "--lease", lease)
    swap = {
        "compare": [{"key": "app/leader", "target": "value", "value": "n1"}],
        "success": [{"op": "put", "key": "app/leader", "value": "n2"}],
        "failure": [],
    }
    file = pair.world.root / "swap.json"
    for expected in ("success", "failure"):
        file.write_text(json.dumps({**swap, "failure": [{"op": "get", "key": "app/leader"}]}))
        assert pair.good("kv", "txn", str(file)).startswith(expected)
    pair.good("kv", "lease", "revoke", lease)
    assert pair.world.run("kv", "get", "app/alive").code == 1
    assert "1 of 500000 keys" in pair.good("kv", "usage")
    assert pair.good("kv", "del", "app/", "--prefix", "--yes") == "1\n"


def test_a_killed_mic_loses_no_acknowledged_put_and_its_watch_goes_on(pair: Pair) -> None:
    watching = Watching(pair, "run/", "--prefix")
    counted = itertools.count()

    def begun() -> bool:
        pair.put("run/begin", str(next(counted)))
        return bool(watching.lines)

    towns.until(begun, "the watch has begun")
    before = observe.holder(MIC).pid
    for number in range(40):
        if number == 15:
            os.kill(before, signal.SIGKILL)
        pair.put(f"run/{number}", str(number))
    assert observe.holder(MIC).pid != before
    towns.until(lambda: watching.saw("/kv/run/39", "39"), "the watch has gone on")
    talk = watching.end()
    told = {one["item"]["key"]: one["item"]["value"] for one in watching.lines}
    revisions = [one["item"]["mod_revision"] for one in watching.lines]
    assert revisions == sorted(revisions)
    acked = {f"/kv/{key}": value for key, value in pair.acked.items()}
    if "are not kept any more" not in talk:
        assert told == acked
    kept = json.loads(pair.good("kv", "get", "run/", "--prefix", "-o", "json"))["items"]
    assert {one["key"]: one["value"] for one in kept} == acked
    assert all(one["version"] == 1 for one in kept if one["key"] != "/kv/run/begin"), "nothing was done twice"


def test_etcdctl_speaks_with_the_mic_of_the_document(pair: Pair) -> None:
    pair.good("admin", "add", "tool", "--no-password", "--role", "operator")
    token = pair.good("admin", "token", "create", "tool", "--scope", "kv:/kv/tool/:rw", "--ttl", "1h").strip()
    identity = pair.world.directory("n1") / "identity"
    words = [
        "etcdctl", f"--endpoints={C1.address}:{ETCD_PORT}", f"--cacert={identity / 'ca.pem'}",
        f"--cert={identity / 'server.pem'}", f"--key={identity / 'server.key'}", "--command-timeout=30s",
    ]  # fmt: skip

    def etcdctl(*more: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_USER": f"tool:{token}"}
        return subprocess.run(
            [*words, *more], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def puts() -> bool:
        return etcdctl("put", "tool/a", "1").stdout == "OK\n"

    towns.until(puts, lambda: f"it is let in: {etcdctl('put', 'tool/a', '1')}")
    assert pair.good("kv", "get", "tool/a") == "1\n"
    refused = etcdctl("put", "other", "1")
    assert (refused.returncode, "permission denied" in refused.stderr) == (1, True)


def test_programs_see_their_servers_view_with_every_parent_away(pair: Pair) -> None:
    here = ("watch", "--local", "--once", "--dir", str(pair.world.directory("n1")))
    seen = "revision 2: icn1, follow"
    towns.until(lambda: seen in pair.log("follow"), lambda: f"the program has looked: {pair.log('follow')}")
    pair.world.cut_power(["c1"])
    assert pair.good(*here).startswith("revision 2 ")
    told = pair.log("follow").count(seen)
    shell = pair.world.shells.pop("n1")
    shell.kill()
    shell.wait(towns.WAIT_S)
    pair.world.start("n1")
    towns.until(lambda: pair.world.run(*here).code == 0, "the server looks again, alone")
    (program,) = (
        one.pid
        for one in sweeping.belonging(pair.world.directory("n1"))
        if str(FOLLOWS).encode() in _command(pathlib.Path(f"/proc/{one.pid}"))
    )
    os.kill(program, signal.SIGKILL)
    towns.until(lambda: pair.log("follow").count(seen) > told, "the program is back and looks again")
    assert "follow" in pair.good(*here)


def _command(process: pathlib.Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
