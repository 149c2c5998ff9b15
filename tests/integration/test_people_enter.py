"""People at a real system: the first login, tokens, a lost password, and that no secret is written anywhere."""

import json
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from bench.demo import place, world
from tests.integration import town as towns

pytestmark = pytest.mark.integration

C1 = place.Place("c1", "central", "127.0.52.1")
WORDS, OTHER = "correct horse battery", "staple apple orchard"


class House:
    """One server of a system of its own."""

    def __init__(self, running: world.World) -> None:
        self.world = running
        self.directory = running.directory("c1")
        words = ("--name", "c1", "--address", C1.address, "--site", "central", "--master-domain", "acme")
        assert running.run("server", "init", *words, "--dir", str(self.directory)).code == 0
        running.start("c1")
        towns.until(lambda: running.run("status").code == 0, "the API answers")

    def typed(self, *words: str, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [world.command(), *words],
            input=stdin,
            env={**self.world._environment, **variables},
            cwd=self.world.root,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def token(self) -> str:
        held = json.loads(self.world.context_file.read_text())
        return str(held["contexts"][held["current"]].get("token", ""))

    def written(self) -> Iterator[tuple[pathlib.Path, bytes]]:
        for path in self.world.root.rglob("*"):
            if path.is_file() and path != self.world.context_file:
                yield path, path.read_bytes()


@pytest.fixture
def house() -> Iterator[House]:
    with world.World({"c1": C1}) as running:
        yield House(running)


def with_mic_away(house: House) -> None:
    """Nobody is let back in, and the domain centre still knows the domains."""
    copies = house.directory / "state"
    towns.until(lambda: list(copies.glob("*/roster.json")), "the domain centre has its copy")
    assert [one.stat().st_mode & 0o777 for one in copies.glob("*/roster.json")] == [0o600]
    house.world.run("server", "stop", "--dir", str(house.directory))
    house.world.shells.pop("c1").wait(60)
    words = ("server", "reset-admin", "--password-stdin", "--dir", str(house.directory))
    refused = house.typed(*words, stdin=f"{OTHER}\n")
    assert (refused.returncode, "no MIC runs on this machine" in refused.stderr) == (8, True)
    local = house.world.run("domains", "list", "--local", "--dir", str(house.directory))
    assert (local.code, "acme (master)" in local.out) == (0, True), local
    assert "as of" in local.talk


def test_the_first_login_tokens_a_lost_password_and_no_secret_anywhere(house: House) -> None:
    secret = house.token()
    assert "one-time secret" in house.world.run("whoami").talk
    entered = house.typed("login", "ada", "--password-stdin", stdin=f"{WORDS}\n")
    assert entered.returncode == 0, entered.stderr
    assert house.token() not in {"", secret}
    assert "ada, administrator of acme" in house.world.run("whoami").out
    over = house.typed("whoami", TIERCAST_TOKEN=secret)
    assert (over.returncode, "not known, or was revoked" in over.stderr) == (9, True)

    made = house.typed("admin", "add", "ci", "--no-password", "--role", "operator")
    assert made.returncode == 0, made.stderr
    made = house.typed("admin", "token", "create", "ci", "--scope", "cfg:r", "--ttl", "1h")
    narrow = made.stdout.strip()
    assert house.typed("status", TIERCAST_TOKEN=narrow).returncode == 0
    refused = house.typed("admin", "list", TIERCAST_TOKEN=narrow)
    assert (refused.returncode, "do not reach people.list" in refused.stderr) == (9, True)
    wrong = house.typed("login", "ada", "--password-stdin", stdin=f"{OTHER}\n")
    assert (wrong.returncode, "wrong name or password" in wrong.stderr) == (9, True)

    mine = house.token()
    words = ("server", "reset-admin", "--name", "ada", "--password-stdin", "--dir", str(house.directory))
    reset = house.typed(*words, stdin=f"{OTHER}\n")
    assert reset.returncode == 0, reset.stderr
    assert "ada of acme is an administrator with a new password" in reset.stdout
    assert house.typed("whoami", TIERCAST_TOKEN=mine).returncode == 9
    entered = house.typed("login", "ada", "--password-stdin", stdin=f"{OTHER}\n")
    assert entered.returncode == 0, entered.stderr

    audit = house.world.run("audit", "-o", "json")
    kept = json.loads(audit.out)["entries"]
    assert [(one["who"], one["verb"], one["outcome"]) for one in kept if one["who"]] == [
        ("ada", "people.login", "ok"),
        ("root", "server.reset-admin", "ok"),
        ("ci", "people.list", "not_allowed"),
        ("ada", "people.token-create", "ok"),
        ("ada", "people.add", "ok"),
        ("ada", "people.claim", "ok"),
    ]
    assert [one["detail"] for one in kept if not one["who"] and one["verb"] == "people.login"] == [
        "wrong name or password (for 'ada@acme')"
    ]
    assert house.world.run("logout").code == 0
    assert house.world.run("status").code == 9
    with_mic_away(house)
    secrets = [one.rpartition("_")[2].encode() for one in (secret, narrow, mine)]
    leaks = [
        str(path)
        for path, data in house.written()
        for one in (*secrets, WORDS.encode(), OTHER.encode())
        if one in data
    ]
    assert leaks == []
