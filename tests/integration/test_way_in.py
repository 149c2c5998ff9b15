"""When nobody gets in: real processes, a change that takes the only ws away, and the way back on the machine of MIC."""

import datetime as dt
import json
from collections.abc import Iterator

import pytest

from bench.demo import observe, place, world
from coordinator import limits
from tests.integration import town as towns

pytestmark = pytest.mark.integration

C1 = place.Place("c1", "central", "127.0.61.1")
DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}}}
sites: {{central: {{type: master, domains: [acme]}}}}
servers: {{c1: {{interfaces: {{lan: "127.0.61.1"}}}}}}
roles:
  mic1: {{type: mic, order: 1}}
  dc1: {{type: dc, order: 1}}
  {ws}
structure: {{central: {{c1: [{placed}]}}}}
{rest}
"""
OVERRIDE = 'overrides: {D12: {reason: "a test", author: ann, expires: %s}}'


@pytest.fixture
def running() -> Iterator[world.World]:
    with world.World({"c1": C1}) as made:
        words = ("--name", "c1", "--address", C1.address, "--site", "central", "--master-domain", "acme")
        assert made.run("server", "init", *words, "--dir", str(made.directory("c1"))).code == 0
        made.start("c1")
        towns.until(lambda: made.run("status").code == 0, "the API answers")
        yield made


def written(running: world.World, name: str, **parts: str) -> str:
    given = {"ws": "ws1: {type: ws}", "placed": "mic1, dc1, ws1", "rest": "", **parts}
    file = running.root / f"{name}.yaml"
    file.write_text(DOCUMENT.format(**given), encoding="utf-8")
    return str(file)


def in_a_week() -> str:
    return str((dt.datetime.now(dt.UTC) + dt.timedelta(days=7)).date())


def test_whoever_has_taken_the_last_way_in_comes_back_on_the_machine_of_mic(running: world.World) -> None:
    refused = running.run(
        "apply", written(running, "moved", ws="ws1: {type: ws, params: {port: 9443}}"), "--yes"
    )
    assert refused.code == 4
    assert "D12" in refused.talk
    assert "place a second ws beside it" in refused.talk

    gone = written(running, "gone", ws="", placed="mic1, dc1", rest=OVERRIDE % in_a_week())
    assert running.run("apply", gone, "--yes", "--wait", "none").code == 0
    towns.until(lambda: not observe.answers((C1.address, limits.PORT_WS)), "nobody gets in any more")

    here = ("server", "rollback", "--local", "--dir", str(running.directory("c1")))
    asked = running.run(*here)
    assert (asked.code, "no terminal to ask on" in asked.talk) == (64, True)
    planned = running.run(*here, "--dry-run")
    assert (planned.code, planned.last) == (0, "dry run: nothing was changed")
    assert "ws1" in planned.talk
    done = running.run(*here, "--yes", "-m", "nobody got in")
    assert done.code == 0, done
    assert done.last == "converged: revision 3 (ready 1 of reachable 1 of asked 1)"
    assert "revision 3 is active, equal to 1" in done.talk

    towns.until(lambda: running.run("status").code == 0, "the API answers again")
    history = json.loads(running.run("history", "-o", "json").out)["revisions"]
    assert (history[0]["author"], history[0]["message"]) == ("local root", "nobody got in")
    audit = running.run("audit", "-o", "json").out
    assert "server.rollback" in audit
    assert "c1, this machine" in audit

    missing = running.run(*here, "--yes", "--to", "77")
    assert missing.code == 1, missing
    assert "Traceback" not in missing.talk
