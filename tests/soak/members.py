"""One member to three, to five, and back to one, on servers that run; typed as docs/operations.md has it."""

import pathlib
import time

from bench.demo import place, world
from coordinator import errors
from coordinator.host import settings
from coordinator.runtime import store_socket
from tests import storepage
from tests.integration import town as towns
from tests.soak import rounds

PLACES = {
    name: place.Place(name, "central", f"127.0.91.{number}")
    for number, name in enumerate(("c1", "c2", "c3", "c4", "c5"), 1)
}
MEANINGS = {f"10.1.0.1{number}": at.address for number, at in enumerate(PLACES.values(), 1)}
DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}}}
sites: {{central: {{type: master_communication, domains: [acme]}}}}
servers:
{servers}
roles:
{mics}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  icc1: {{type: ic, order: 1}}
{greeters}
structure:
  central:
{structure}
"""


class Five:
    """Five servers of one site; MIC on some."""

    def __init__(self, running: world.World) -> None:
        self.world = running
        self.operator = storepage.Operator(running, MEANINGS)

    def begin(self) -> None:
        words = ["--name", "c1", "--address", PLACES["c1"].address, "--site", "central"]
        self._run(
            "server", "init", *words, "--master-domain", "acme", "--dir", str(self.world.directory("c1"))
        )
        self.world.start("c1")
        towns.until(self.answers, "the API answers")
        for name in list(PLACES)[1:]:
            identity = self.world.root / f"{name}.identity"
            self._run("server", "enroll", name, "-o", str(identity))
            self.world.start(name, identity)

    def document(self, file: str, mics: int) -> None:
        with_mic = list(PLACES)[:mics]
        rows = {name: [f"greet{name}"] for name in PLACES}
        rows["c1"] += ["dc1", "ws1", "icc1"]
        for name in with_mic:
            rows[name].append(f"mic{name[1]}")
        text = DOCUMENT.format(
            servers="\n".join(f'  {n}: {{interfaces: {{lan: "{at.address}"}}}}' for n, at in PLACES.items()),
            mics="\n".join(f"  mic{n[1]}: {{type: mic, order: {n[1]}}}" for n in with_mic),
            greeters="\n".join(
                f"  greet{n}: {{type: greeter, params: {{port: 9000, greeting: m{mics}}}}}" for n in PLACES
            ),
            structure="\n".join(f"    {n}: [{', '.join(roles)}]" for n, roles in rows.items()),
        )
        (self.world.root / file).write_text(text, encoding="utf-8")
        (self.world.root / "members.file").unlink(missing_ok=True)

    def answers(self) -> bool:
        return self.world.run("status").code in {0, 7}

    def mics(self) -> dict[str, str]:
        found = {}
        for name in PLACES:
            at = settings.Layout(self.world.directory(name)).socket(store_socket.NAME)
            try:
                answer = store_socket.ask(at, store_socket.Ask("status"), timeout_s=1.0)
            except errors.TiercastError as problem:
                found[name] = problem.message
                continue
            if answer is not None:
                found[name] = answer.mic
        return found

    def settled(self, mics: int) -> None:
        """So many MICs, one of them active, and everybody ready."""
        wanted = ["active"] + ["standby"] * (mics - 1)
        towns.until(lambda: sorted(self.mics().values()) == wanted, lambda: f"{mics} MICs: {self.mics()}")
        ready = "converged: ready 5 of reachable 5 of asked 5"
        towns.until(
            lambda: ready in self.world.run("status").out, lambda: f"converged: {self.world.run('status')}"
        )

    def _run(self, *words: str) -> None:
        ran = self.world.run(*words)
        assert ran.code == 0, ran


STEPS = (
    ("three-mics.yaml", 3, "c3$ tiercast store join members.file     # likewise"),
    ("five-mics.yaml", 5, "tiercast apply five-mics.yaml"),
    ("one-mic.yaml", 1, "store members --set c1=10.1.0.11\n"),
)


def play(seed: int, base: pathlib.Path) -> rounds.Round:
    begun = time.monotonic()
    counts: dict[str, float] = {}
    violations: list[str] = []
    with world.World(PLACES) as running:
        five = Five(running)
        try:
            five.begin()
            for file, mics, holding in STEPS:
                five.document(file, mics)
                five.operator.types(
                    storepage.block(holding), lambda: "active" in five.mics().values() and five.answers()
                )
                five.settled(mics)
                counts[f"handed over to {mics}"] = 1
        except (AssertionError, errors.TiercastError, OSError) as wrong:
            violations.append(str(wrong)[:1000])
            (base / "logs").write_text(
                "\n".join(
                    f"--- {log}\n{log.read_text(errors='replace')[-3000:]}" for log in running.telling_logs()
                )
            )
    return rounds.Round(seed, round(time.monotonic() - begun, 1), counts, tuple(violations))


SUITE = rounds.Suite("the store from one member to three, to five and back, on servers that run", play)
