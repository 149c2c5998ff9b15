"""D12 at MIC: whatever becomes active leaves a way in, by apply, by preparing, by rolling back; the plan says it beforehand."""

from typing import Any

import msgspec
import pytest

from coordinator import names
from coordinator.config import model, pair
from coordinator.propagation import messages
from coordinator.tiers import mic, requests
from tests import builders, micworld

pytestmark = pytest.mark.anyio
Verb = requests.Verb


def document(*, port: int = 8443, second: bool = False, override: bool = False) -> model.Document:
    """The document of `init`, with a second ws or another port."""
    plain = builders.written(msgspec.to_builtins(micworld.basic()))
    plain["roles"]["ws1"]["params"] = {"port": port}
    if second:
        plain["roles"]["ws2"] = {"type": "ws", "params": {"port": 9443}}
        plain["structure"]["central"]["c1"].append("ws2")
    if override:
        plain["overrides"] = {"D12": {"reason": "r", "author": "ann", "expires": "2023-12-01"}}
    return builders.document(**plain)


async def apply_by(
    world: micworld.World, served: mic.Mic, wanted: model.Document, entry: pair.Entry
) -> tuple[str, Any]:
    asked = requests.Apply(source=requests.Source(files=(micworld.file(wanted),)))
    call = requests.Call(
        world.token.text, "10.9.9.9", entry.through.role if entry.through else "", msgspec.json.encode(asked)
    )
    code, data = await served.answered(Verb.APPLY, messages.ChildKind.WS, msgspec.msgpack.encode(call), entry)
    return code, msgspec.json.decode(data)


def by(role: str) -> pair.Entry:
    return pair.Entry(pair.Through(micworld.C1, names.RoleName(role)))


async def test_the_port_of_the_only_ws_is_not_changed_in_one_step() -> None:
    world = micworld.World()
    served, _ = await world.open()
    source = requests.Source(files=(micworld.file(document(port=9443)),))
    _, planned = await world.ask(served, Verb.PLAN, requests.Plan(source))
    assert planned["verdict"] == "refused"
    assert "refused D12" in planned["text"]
    for verb in (Verb.APPLY, Verb.PREPARE):
        code, answer = await world.ask(served, verb, requests.Apply(source=source))
        assert code == "refused"
        assert answer["detail"].startswith("refused by D12: every way in that answers now would go")
        assert "place a second ws beside it" in answer["hint"]


async def test_in_two_steps_it_is() -> None:
    world = micworld.World()
    served, _ = await world.open()
    for wanted in (document(second=True), document(port=9999, second=True)):
        code, answer = await world.apply(served, wanted)
        assert code == "", answer


async def test_a_rollback_takes_no_way_in_away_either() -> None:
    world = micworld.World()
    served, _ = await world.open()
    for wanted in (
        document(second=True),
        document(port=9999, second=True),
        document(port=9999, override=True),
    ):
        assert (await world.apply(served, wanted))[0] == ""
    code, answer = await world.ask(served, Verb.ROLLBACK, requests.Rollback(to=1))
    assert code == "refused"
    assert "D12" in answer["detail"]


async def test_what_a_request_came_through_is_not_taken_away_by_it() -> None:
    world = micworld.World()
    served, _ = await world.open()
    assert (await world.apply(served, document(second=True)))[0] == ""
    wanted = document(port=9999, second=True)
    code, answer = await apply_by(world, served, wanted, by("ws1"))
    assert code == "refused"
    assert "this request came through ws1" in answer["detail"]
    assert "--server https://10.1.0.11:9443" in answer["hint"]
    assert (await apply_by(world, served, wanted, by("ws2")))[0] == ""


async def test_an_override_lets_it_pass_and_is_told_of() -> None:
    world = micworld.World()
    served, _ = await world.open()
    code, answer = await world.apply(served, document(port=9443, override=True))
    assert code == "", answer
    assert any(one.startswith("D12: ") and "overridden by ann" in one for one in answer["warnings"])
