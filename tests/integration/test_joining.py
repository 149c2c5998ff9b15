"""Machines that join, wait, are named, are removed, leave and are expelled: real processes, the real command line.

The tests go through the life of one system in this order.
"""

import contextlib
import pathlib
import re
import threading
from collections.abc import Iterator

import msgspec
import pytest

from bench.demo import world
from coordinator import limits
from tests.integration import joinworld, town

PLACES = joinworld.PLACES
IC_NORTH = f"{PLACES['n1'].address}:{limits.PORT_IC}"
SHELL_C2 = f"{PLACES['c2'].address}:{limits.PORT_SHELL}"


@pytest.fixture(scope="module")
def system() -> Iterator[joinworld.System]:
    with world.World(PLACES) as running:
        made = joinworld.System(running)
        made.begin()
        yield made
        for name in reversed(list(running.shells)):
            running.run("server", "stop", "--dir", made.dir(name))
        running.ends()


def test_a_machine_joins_by_one_line_and_waits_parked(system: joinworld.System) -> None:
    ran = system.joined("c2")
    assert re.fullmatch(r"joined  c2  id [0-9a-f]{16}  parked", ran.last)
    print(f"joined after {ran.took_s * 1000:.0f} ms")
    town.until(lambda: system.known("c2").get("linked"), lambda: f"c2 is linked: {system.known('c2')}")
    assert system.known("c2")["sync"] == "parked"
    assert system.known("c2")["id"] == ran.last.split()[3]
    said = system.own("c2")
    assert (said["state"], said["nodes"], said["accepted"]) == ("parked", [], "g0.r0")


def test_who_is_parked_may_not_read_the_document(system: joinworld.System) -> None:
    below = system.world.directory("c2")
    assert not [one for one in below.rglob("*") if b"master_domain" in content(one)]
    assert list(below.glob("ledger/bodies/*")) == []


def content(path: pathlib.Path) -> bytes:
    """Nothing of what is no file, or has been replaced meanwhile: what runs there writes on."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


def test_a_lost_answer_costs_nothing_and_the_same_line_gives_the_same_server(
    system: joinworld.System,
) -> None:
    line = system.line("n1")
    proxy = joinworld.Swallower(PLACES["n1"].address, (PLACES["c1"].address, limits.PORT_MIC))
    serving = threading.Thread(target=proxy.serve_one, daemon=True)
    serving.start()
    try:
        lost = system.world.run(*system.join_words("n1", line, proxy.at, "--timeout", "0s"))
    finally:
        serving.join(30.0)
        proxy.close()
    assert proxy.passed.is_set()
    assert lost.code == 8, lost
    assert "say the same line again" in lost.talk
    used = [one for one in lines(system) if one["server"] == "n1"]
    assert [one["state"] for one in used] == ["used"]
    again = system.run(*system.join_words("n1", line))
    assert again.last == f"joined  n1  id {used[0]['server_id']}  parked"
    once_more = system.run(*system.join_words("n1", line))
    assert once_more.last == again.last
    assert "by this very line already" in once_more.talk
    told = msgspec.json.decode(system.run(*system.join_words("n1", line, "", "-o", "json")).out)
    assert told == {"server_id": used[0]["server_id"], "name": "n1", "state": "parked", "again": True}


def lines(system: joinworld.System) -> list[dict[str, str]]:
    found: list[dict[str, str]] = msgspec.json.decode(
        system.run("token", "list", "--all", "-o", "json").out, type=dict
    )["lines"]
    return found


def test_a_line_is_no_good_to_another_key_or_another_system_and_says_why(system: joinworld.System) -> None:
    line = system.line("c3")
    system.run(*system.join_words("c3", line))
    thief = system.world.run(*system.join_words("n4", line))
    assert thief.code == 9, thief
    assert "was used by another key" in thief.talk
    _, pin, line_id, secret = line.split(".")
    other = system.world.run(*system.join_words("n4", f"tc1.{'0' * 64}.{line_id}.{secret}"))
    assert other.code == 9, other
    assert f"another cluster (got CA {pin}, have {'0' * 64})" in other.talk
    guess = system.world.run(*system.join_words("n4", f"tc1.{pin}.{line_id}.{'0' * 64}"))
    assert guess.code == 9, guess
    assert "does not fit" in guess.talk
    for shown in (thief, other, guess):
        assert secret not in shown.talk + shown.out
    assert not (system.world.directory("n4") / "identity").exists()


def test_who_is_named_starts_fully_and_a_machine_that_joins_through_its_ic_goes_there(
    system: joinworld.System,
) -> None:
    system.world.start("n1")
    system.apply("n2")
    town.until(lambda: system.greets("c2"), "c2 runs what the revision names")
    town.until(lambda: system.own("n1").get("level") == "ready", "the IC of the north runs")
    ran = system.joined("n2", at=IC_NORTH)
    assert ran.last.endswith("  placed")
    print(f"joined through an IC after {ran.took_s * 1000:.0f} ms")
    town.until(lambda: system.greets("n2"), "n2 runs what the revision names")
    for name in ("c2", "n2"):
        server = "n1" if name == "n2" else "c1"
        parent = f"{server} {PLACES[server].address}:{limits.PORT_IC}"
        town.until(lambda: system.own(name).get("parent") == parent, f"{name} is at its site's IC")  # noqa: B023 waited for at once
    town.until(lambda: system.known("n2").get("sync") == "converged", "status says so")


def test_a_machine_joins_through_any_server_and_gets_its_name_later(system: joinworld.System) -> None:
    ran = system.joined("n3", server="", at=SHELL_C2)
    server_id = ran.last.split()[3]
    assert f"tiercast server accept {server_id} NAME" in ran.talk
    town.until(lambda: system.known(f"unnamed:{server_id}"), "it waits without a name")
    told = system.told("server", "accept", server_id, "n3")
    assert "parked until a revision names it" in told.talk
    town.until(lambda: system.own("n3").get("server") == "n3", "it has heard its name")
    system.apply("n2", "n3")
    town.until(lambda: system.greets("n3"), "n3 runs what the revision names")


def test_who_is_removed_stops_everything_and_is_parked_again(system: joinworld.System) -> None:
    system.apply("n3")
    town.until(lambda: system.known("n2").get("sync") == "parked", lambda: f"parked: {system.known('n2')}")
    assert not system.greets("n2")
    town.until(lambda: system.own("n2").get("state") == "parked", "it knows it itself")
    town.until(lambda: system.own("n2").get("nodes") == [], "no node is left")
    system.apply("n2", "n3")
    town.until(lambda: system.greets("n2"), "and back again")


def test_who_is_expelled_is_out_at_once_everywhere_and_its_name_is_free(system: joinworld.System) -> None:
    town.until(lambda: system.own("n2").get("parent"), "it has a parent")
    ran = system.told("server", "expel", "n2", "--yes", "-m", "stolen")
    assert "is expelled" in ran.talk
    town.until(lambda: system.own("n2").get("parent") == "", "its link has ended")
    town.until(lambda: refusers(system) >= {"c1", "c2", "n1"}, lambda: f"all refuse it: {refusers(system)}")
    told = ": this identity is revoked"
    town.until(lambda: system.own("n2").get("turned_away", "").endswith(told), lambda: system.own("n2"))
    assert system.own("n2")["parent"] == ""
    town.until(lambda: system.known("n2").get("reason") == "not enrolled", lambda: system.known("n2"))
    town.until(lambda: system.expelled() == ["n2"], system.expelled)
    assert "expelled: n2" in system.run("status").out
    stopped = system.world.run("server", "stop", "--dir", system.dir("n2"))
    assert stopped.code == 0, stopped
    system.world.shells.pop("n2").wait(town.WAIT_S)
    system.world.directory("n2").rename(system.world.root / "old-n2")
    again = system.joined("n2", at=IC_NORTH)
    assert again.last.endswith("  placed")
    town.until(lambda: system.greets("n2"), "the new machine runs what the old one did")


def refusers(system: joinworld.System) -> set[str]:
    """Servers of which some tier has refused a revoked identity."""
    found = set()
    for name in ("c1", "c2", "n1"):
        logs = [system.world.log(name), *system.world.directory(name).glob("logs/*.log")]
        if any("this identity is revoked" in log.read_text(errors="replace") for log in logs):
            found.add(name)
    return found


def test_a_server_leaves_by_itself_and_its_directory_can_be_used_again(system: joinworld.System) -> None:
    town.until(lambda: system.own("n3").get("parent"), "it has a parent")
    asked = system.world.run("server", "leave", "--dir", system.dir("n3"))
    assert asked.code == 64, asked
    assert "names it: its roles stop" in asked.talk
    assert system.greets("n3")
    ran = system.run("server", "leave", "--dir", system.dir("n3"), "--yes")
    assert ran.last == "left  n3"
    assert not system.greets("n3")
    system.world.shells.pop("n3").wait(town.WAIT_S)
    left = {one.name for one in system.world.directory("n3").iterdir()}
    assert left <= {"lock", "logs", "state"}
    assert "n3" in system.expelled()
    system.joined("n3", at=IC_NORTH)
    town.until(lambda: system.greets("n3"), "the same directory is a server again, of a new identity")


def test_the_server_of_mic_is_neither_expelled_nor_leaves(system: joinworld.System) -> None:
    assert system.world.run("server", "expel", "c1", "--yes").code == 4
    left = system.world.run("server", "leave", "--dir", system.dir("c1"), "--yes")
    assert left.code == 4, left
    assert "MIC runs on c1" in left.talk


def test_without_mic_a_machine_waits_at_an_ic_and_joins_when_mic_is_back(system: joinworld.System) -> None:
    line = system.line("n4")
    system.run("server", "stop", "--dir", system.dir("c1"))
    system.world.shells.pop("c1").wait(town.WAIT_S)
    tries: list[world.Ran] = []

    def nobody() -> bool:
        """Until the IC has noticed."""
        tries.append(system.world.run(*system.join_words("n4", line, IC_NORTH, "--timeout", "1s")))
        return "no coordinator, will retry" in tries[-1].talk

    town.until(nobody, lambda: tries[-1])
    assert {one.code for one in tries} == {8}, tries
    waiting = system.world.begin(*system.join_words("n4", line, IC_NORTH, "--timeout", "60s"))
    system.world.start("c1")
    ran = system.world.ended(waiting, ("server", "join"), 0.0)
    assert ran.code == 0, ran
    assert ran.last.startswith("joined  n4")


def test_the_sealed_copy_of_the_keys_brings_the_system_back_after_its_first_machine_is_gone(
    system: joinworld.System,
) -> None:
    kept, words = system.world.root / "c1.keys", system.world.root / "passphrase"
    words.write_text("four random words here\n", encoding="utf-8")
    passphrase = ["--passphrase-file", str(words)]
    system.run("server", "export-keys", "--dir", system.dir("c1"), "-o", str(kept), *passphrase)
    system.run("server", "stop", "--dir", system.dir("c1"))
    system.world.shells.pop("c1").wait(town.WAIT_S)
    system.world.directory("c1").rename(system.world.root / "gone-c1")
    system.run("server", "import-keys", str(kept), "--dir", system.dir("c1"), *passphrase)
    asked = ["--ask", PLACES["c2"].address, "--ask", PLACES["n1"].address]
    system.run("store", "recover", "--dir", system.dir("c1"), *asked, "--yes")
    system.world.start("c1")
    town.until(lambda: system.known("n2").get("sync") == "converged", "everything is as it was")
    assert system.status()["version"][0] == 2
    assert all(system.greets(name) for name in ("c2", "n2", "n3"))
    assert system.line("n9").startswith("tc1.")


def test_no_directory_holds_what_others_may_read(system: joinworld.System) -> None:
    for name in ("c1", "c2", "n1", "n2", "n3", "n4"):
        for one in (path for path in system.world.directory(name).rglob("*") if not path.is_symlink()):
            with contextlib.suppress(FileNotFoundError):  # what runs there writes on
                assert one.lstat().st_mode & 0o077 == 0, one
