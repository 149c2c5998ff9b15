"""The way back when MIC's store is gone or old: the field gives back what it runs.

Where a machine is gone, what is typed is what docs/operations.md says.
"""

import shutil
from collections.abc import Iterator

import pytest

from bench.demo import observe, place, world
from coordinator import limits
from tests import storepage
from tests.integration import town as towns

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PLACES = {
    "c1": place.Place("c1", "central", "127.0.71.1"),
    "n1": place.Place("n1", "north", "127.0.72.1"),
}
DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}, branch: {{fqdn: branch.acme.example}}}}
sites:
  central: {{type: master_communication, domains: [acme]}}
  north: {{type: communication, domains: [branch]}}
servers:
  c1: {{interfaces: {{lan: "127.0.71.1"}}}}
  n1: {{interfaces: {{lan: "127.0.72.1"}}}}
roles:
  mic1: {{type: mic, order: 1}}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  icc1: {{type: ic, order: 1}}
  icn1: {{type: ic, order: 1}}
  greet: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
structure:
  central: {{c1: [mic1, dc1, ws1, icc1]}}
  north: {{n1: [icn1, greet]}}
"""
GREETER = (PLACES["n1"].address, 9000)


class Pair:
    def __init__(self, running: world.World) -> None:
        self.world = running

    def dir(self, name: str) -> str:
        return str(self.world.directory(name))

    def run(self, *words: str) -> world.Ran:
        ran = self.world.run(*words)
        assert ran.code == 0, f"{words}: {ran}"
        return ran

    def apply(self, word: str) -> None:
        file = self.world.root / f"{word}.yaml"
        file.write_text(DOCUMENT.format(word=word), encoding="utf-8")
        self.run("apply", str(file), "--yes", "--wait", "none")
        towns.until(lambda: f": {READY}" in self.status(), lambda: f"converged: {self.status()}")

    def status(self) -> str:
        return self.world.run("status").out

    def begin(self) -> None:
        words = ["--name", "c1", "--address", PLACES["c1"].address, "--site", "central"]
        self.run("server", "init", *words, "--master-domain", "acme", "--dir", self.dir("c1"))
        self.world.start("c1")
        towns.until(lambda: self.world.run("status").code == 0, "the API answers")
        identity = self.world.root / "n1.identity"
        self.run("server", "enroll", "n1", "-o", str(identity))
        self.world.start("n1", identity)

    def stop(self) -> None:
        self.run("server", "stop", "--dir", self.dir("c1"))
        assert self.world.shells.pop("c1").wait(60) == 0


READY = "ready 2 of reachable 2 of asked 2"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with world.World(PLACES) as running:
        made = Pair(running)
        made.begin()
        yield made
        for log in running.telling_logs():
            print(f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]))


def test_an_old_store_is_brought_up_to_what_the_field_runs_and_nothing_restarts(pair: Pair) -> None:
    pair.apply("first")
    old = pair.world.root / "old"
    pair.run("store", "snapshot", "-o", str(old), "--dir", pair.dir("c1"))
    pair.apply("second")
    greeter = observe.holder(GREETER)
    shell = observe.holder((PLACES["n1"].address, limits.PORT_SHELL))

    # The master's machine comes back with an old copy of everything that it kept.
    pair.stop()
    refused = pair.world.run("store", "recover", "--dir", pair.dir("c1"))
    assert refused.code == 64, refused
    assert "say --yes" in refused.talk
    root = pair.world.directory("c1")
    for lost in ("store", "ledger", "state"):
        shutil.rmtree(root / lost)
    pair.run("store", "restore", str(old), "--dir", pair.dir("c1"))
    shown = pair.run("store", "recover", "--yes", "--dir", pair.dir("c1"))
    assert "server n1" in shown.out
    assert "adopt     r3 of server n1, as g2.r3" in shown.out
    assert "nobody: every other server answered" in shown.out
    pair.run("store", "check", "--dir", pair.dir("c1"))
    pair.world.start("c1")
    towns.until(lambda: READY in pair.status(), lambda: f"converged: {pair.status()}")
    assert "needs recovery" not in pair.status()
    assert observe.holder(GREETER) == greeter
    assert observe.holder((PLACES["n1"].address, limits.PORT_SHELL)) == shell
    assert observe.line(*GREETER) == "second from greet revision 3"
    pair.apply("third")
    assert observe.line(*GREETER) == "third from greet revision 4"


def test_on_a_new_machine_with_nothing_but_the_keys_everything_comes_back_from_the_field(pair: Pair) -> None:
    greeter = observe.holder(GREETER)
    refused = pair.world.run("store", "recover", "--yes", "--dir", pair.dir("c1"))
    assert refused.code == 10, refused
    operator = storepage.Operator(pair.world, {"10.2.0.21": PLACES["n1"].address})
    operator.types(storepage.block("tiercast server export-keys -o c1.keys"))
    pair.world.cut_power(["c1"])
    shutil.rmtree(pair.world.directory("c1"))
    operator.types(storepage.block("c1$ tiercast server import-keys c1.keys"))
    shown = operator.said["store recover"]
    assert "as g3.r4" in shown
    assert "lost      history" in shown
    towns.until(lambda: READY in pair.status(), lambda: f"converged: {pair.status()}")
    assert observe.line(*GREETER) == "third from greet revision 4"
    assert observe.holder(GREETER) == greeter
    pair.apply("fourth")
