"""`tiercast store`: a real server, its MIC running and stopped, its store looked at, saved, damaged and put back."""

import pathlib
import shutil
from collections.abc import Iterator

import pytest

from bench.demo import observe, place, world
from tests.integration import town as towns

pytestmark = pytest.mark.integration

C1 = place.Place("c1", "central", "127.0.51.1")

DOCUMENT = f"""
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}}}
sites: {{central: {{type: master, domains: [acme]}}}}
servers: {{c1: {{interfaces: {{lan: "{C1.address}"}}}}}}
roles:
  mic1: {{type: mic, order: 1}}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  greet: {{type: greeter, params: {{port: 9000, greeting: good day}}}}
structure: {{central: {{c1: [mic1, dc1, ws1, greet]}}}}
"""


class House:
    """One server of a system of its own."""

    def __init__(self, running: world.World) -> None:
        self.world = running
        self.directory = running.directory("c1")
        words = ("--name", "c1", "--address", C1.address, "--site", "central", "--master-domain", "acme")
        made = running.run("server", "init", *words, "--dir", str(self.directory))
        assert made.code == 0, made

    def up(self) -> None:
        self.world.start("c1")
        towns.until(lambda: self.world.run("status").code == 0, "the API answers")

    def down(self) -> None:
        assert self.world.run("server", "stop", "--dir", str(self.directory)).code == 0
        assert self.world.shells.pop("c1").wait(60) == 0

    def store(self, *words: str) -> world.Ran:
        return self.world.run("store", *words, "--dir", str(self.directory))

    def coordinator(self) -> str:
        ran = self.world.run("status")
        return ran.out + ran.talk


@pytest.fixture
def house() -> Iterator[House]:
    with world.World({"c1": C1}) as running:
        yield House(running)


def journals(house: House) -> list[pathlib.Path]:
    return sorted((house.directory / "store").glob("journal-*"))


def test_a_store_is_looked_at_saved_and_put_back(house: House) -> None:
    house.up()
    shown = house.store("status")
    assert shown.code == 0, shown
    assert "the running MIC (active)" in shown.out
    assert "(this, leader)" in shown.out
    refused = house.store("check")
    assert refused.code == 10, refused
    assert "another process holds the store" in refused.talk
    saved = house.world.root / "saved"
    shown = house.store("snapshot", "-o", str(saved))
    assert shown.code == 0, shown
    assert "written by the running MIC" in shown.out
    assert saved.stat().st_mode & 0o777 == 0o600
    assert house.store("snapshot", "-o", str(saved)).code == 10  # never overwritten

    house.down()
    shown = house.store("status")
    assert shown.code == 0, shown
    assert "from the files" in shown.out
    shown = house.store("check")
    assert shown.code == 0, shown
    assert "every checksum is right" in shown.out
    assert "active    r1" in shown.out
    again = house.world.root / "again"
    assert "read from the files" in house.store("snapshot", "-o", str(again)).out

    refused = house.store("restore", str(again))
    assert refused.code == 10, refused
    shutil.rmtree(house.directory / "store")
    damaged = house.world.root / "damaged"
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert house.store("restore", str(damaged)).code == 10
    assert house.store("restore", str(again)).code == 0
    assert house.store("check").code == 0
    house.up()
    assert "needs recovery" not in house.coordinator()


def test_a_snapshot_older_than_what_was_issued_is_served_read_only(house: House) -> None:
    house.up()
    old = house.world.root / "old"
    assert house.store("snapshot", "-o", str(old)).code == 0
    document = house.world.root / "next.yaml"
    document.write_text(DOCUMENT)
    applied = house.world.run("apply", str(document), "--yes", "--wait", "none")
    assert applied.code == 0, applied
    towns.until(lambda: observe.answers((C1.address, 9000)), "the server has taken what was issued")
    house.down()
    shutil.rmtree(house.directory / "store")
    restored = house.store("restore", str(old))
    assert restored.code == 0, restored
    assert "MIC will say `needs recovery`" in restored.out
    house.up()
    assert "needs recovery" in house.coordinator()


def test_damage_is_found_and_named(house: House) -> None:
    house.up()
    house.down()
    (journal,) = journals(house)
    data = bytearray(journal.read_bytes())
    data[300] ^= 1
    journal.write_bytes(data)
    shown = house.store("check")
    assert shown.code == 10, shown
    assert "is damaged" in shown.talk


def test_where_there_is_no_store_a_command_says_so_and_makes_none(house: House) -> None:
    for words in (("status",), ("check",)):
        shown = house.store(*words)
        assert shown.code == 1, shown
        assert "there is no store" in shown.talk
    assert not (house.directory / "store").exists()
