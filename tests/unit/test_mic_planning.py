"""What servers may have when a change is planned: more than what they have acked last."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from coordinator import names
from coordinator.config import model, outline
from coordinator.propagation import events, messages
from coordinator.tiers import mic, planning
from tests import builders, micworld

N1 = names.ServerName("n1")
CENTRAL, NORTH = ("central", "c1"), ("north", "n1")


def world_of(test: Callable[[micworld.World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a coroutine test with a fresh world."""

    @functools.wraps(test)
    def run() -> None:
        anyio.run(test, micworld.World())

    del run.__wrapped__  # pytest would take its parameter for a fixture
    return run


def system(place: tuple[str, str] | None = None, greeting: str = "") -> model.Document:
    """The plain system, with a role that keeps state at a place."""

    def change(plain: Any) -> None:
        if greeting:
            plain["roles"]["web1"]["params"]["environment"] = {"GREETING": greeting}
        if place is not None:
            site, server = place
            plain["roles"]["db"] = {"type": "process", "params": {"command": ["/bin/db"], "stateful": True}}
            plain["structure"][site][server].append("db")

    return builders.bent(change)


def without_north() -> model.Document:
    def change(plain: Any) -> None:
        for part in ("sites", "structure"):
            del plain[part]["north"]
        del plain["servers"]["n1"], plain["roles"]["web1"], plain["roles"]["icn1"]
        plain["sites"]["central"]["domains"] += ["branch"]

    return builders.bent(change)


async def open_mic(world: micworld.World) -> tuple[mic.Mic, micworld.Tree]:
    """Its own server is there."""
    served, tree = await world.open()
    tree.connect(micworld.FIRST)
    tree.ack(micworld.FIRST)
    return served, tree


async def refused_by(
    world: micworld.World, served: mic.Mic, tree: micworld.Tree, document: model.Document
) -> str:
    """The rules that forbid it; empty where it is applied, and taken by MIC's own server."""
    code, answer = await world.apply(served, document)
    if micworld.FIRST in tree.links:
        tree.ack(micworld.FIRST)
    return answer["detail"].partition(":")[0] if code else ""


@world_of
async def test_a_server_that_is_away_may_have_taken_every_revision_since_its_last_ack(
    world: micworld.World,
) -> None:
    served, tree = await open_mic(world)
    server = await world.enroll(served, "n1")
    await world.apply(served, system())
    tree.connect(server)
    tree.ack(server)
    tree.leave(server)
    for document in (system(NORTH), system()):
        assert await refused_by(world, served, tree, document) == ""
    assert sorted(await planning.held(served.at)) == [2, 3, 4]
    assert await refused_by(world, served, tree, system(CENTRAL)) == "refused by D4, D10"
    tree.connect(server)
    tree.ack(server)
    assert sorted(await planning.held(served.at)) == [4]
    assert await refused_by(world, served, tree, system(CENTRAL)) == ""


@pytest.mark.parametrize("again", [False, True])
def test_a_server_never_heard_of_may_have_whatever_was_issued_since_it_was_placed(again: bool) -> None:
    async def main() -> None:
        world = micworld.World()
        async with world.running() as (served, tree):
            await world.apply(served, system())
            server = await world.enroll(served, "n1")
            for document in (system(NORTH), system()):
                assert await refused_by(world, served, tree, document) == ""
            await micworld.until(
                lambda: "north" in served.at.past.seen and server in served.at.past.seen["north"].servers
            )
        if again:
            served, tree = await world.open()
        assert planning.ranges(served.at)[2] == {N1}
        assert await refused_by(world, served, tree, system(CENTRAL)) == "refused by D4, D10"

    anyio.run(main)


@world_of
async def test_a_server_that_is_not_enrolled_has_nothing_and_is_told_as_such(world: micworld.World) -> None:
    served, tree = await open_mic(world)
    _, told = await world.apply(served, system(NORTH), dry_run=True)
    assert "absent n1: not enrolled yet" in told["plan_text"]
    for document in (system(NORTH), system(), system(CENTRAL)):
        assert await refused_by(world, served, tree, document) == ""


@world_of
async def test_a_server_that_refuses_one_revision_after_another_has_the_last_it_accepted(
    world: micworld.World,
) -> None:
    served, tree = await open_mic(world)
    server = await world.enroll(served, "n1")
    await world.apply(served, system(NORTH))
    tree.connect(server)
    tree.ack(server)
    for document in (system(), system(greeting="a")):
        assert await refused_by(world, served, tree, document) == ""
        tree.ack(server, messages.Level.NONE, messages.Outcome.REFUSED)
    assert planning.ranges(served.at)[2] == {N1}
    assert await refused_by(world, served, tree, system(CENTRAL)) == "refused by D4, D10"


@world_of
async def test_a_server_that_released_and_was_placed_again_has_nothing_of_before(
    world: micworld.World,
) -> None:
    async with world.running() as (served, tree):
        tree.connect(micworld.FIRST)
        server = await world.enroll(served, "n1")
        assert await refused_by(world, served, tree, system(NORTH)) == ""
        tree.connect(server)
        tree.ack(server)
        assert await refused_by(world, served, tree, without_north()) == ""
        tree.ack(server, messages.Level.RELEASED)
        await micworld.until(lambda: server not in served.at.master.convergence.asked)
        tree.leave(server)
        tree.feed(events.Tick())
        assert await refused_by(world, served, tree, system()) == ""
        assert {start: N1 in servers for start, servers in planning.ranges(served.at).items()} == {4: True}
        assert await refused_by(world, served, tree, system(CENTRAL)) == ""


@world_of
async def test_of_revisions_that_differ_in_parameters_one_is_planned_against_and_kept(
    world: micworld.World,
) -> None:
    served, tree = await open_mic(world)
    server = await world.enroll(served, "n1")
    await world.apply(served, system(NORTH))
    tree.connect(server)
    tree.ack(server)
    tree.leave(server)
    for number in range(5):
        assert await refused_by(world, served, tree, system(greeting=str(number))) == ""
    assert sorted(await planning.held(served.at)) == [2, 3, 7]
    live = await planning.live(served.at, served.at.past.document)
    assert [(str(one.version), N1 in one.servers) for one in live] == [("r7", True), ("r2", True)]


def test_the_outline_of_a_document_is_all_but_parameters_that_no_rule_looks_at() -> None:
    plain = outline.outline(system(NORTH))
    assert outline.outline(system(NORTH, "other")) == plain
    assert outline.outline(system(CENTRAL)) != plain
    changed = builders.bent(lambda document: document["roles"]["db"]["params"].update(port=1), system(NORTH))
    assert outline.outline(changed) != plain
