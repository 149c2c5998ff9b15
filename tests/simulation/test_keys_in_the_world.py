"""Signing keys change while a site is without power: it comes back by itself, and everybody survives a restart afterwards."""

import pytest

from tests.simulation import documents, world

AWAY_S = 120.0
WITHIN_S = 90.0
SEEDS = range(2)


def made(seed: int) -> world.World:
    design = documents.Design({"central": ["c1", "c2"], "north": ["n1", "n2"]}, {}, {})
    for server in ("c1", "c2", "n1", "n2"):
        design.add_role(server)
    running = world.World(seed, design)
    for name in ("c2", "n1", "n2"):
        running.enroll(name)
        running.servers[name].start()
    running.run(30.0)
    assert running.apply() is not None
    running.settle(WITHIN_S)
    return running


def changed(running: world.World, number: int) -> None:
    running.design.turn(number)
    assert running.apply() is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_site_without_power_comes_back_over_rotations_and_old_keys_go_when_it_has_said_so(
    seed: int,
) -> None:
    running = made(seed)
    office = running.office
    for name in ("n1", "n2"):
        running.servers[name].power_off()
    for number in range(1, 4):
        office.rotate()
        running.serve()
        office.sign_anew()
        running.serve()
        changed(running, number)
        running.run(AWAY_S)
        assert office.needed() == ["n1", "n2"]
    for name in ("n1", "n2"):
        running.servers[name].power_on()
    running.settle(WITHIN_S)
    assert running.engine.run(running.engine.now + 30.0, lambda: not office.needed()), office.needed()
    office.retire()
    running.serve()
    running.run(30.0)
    for server in running.servers.values():
        server.power_off()
    running.run(10.0)
    for server in running.servers.values():
        server.power_on()
    running.run(30.0)
    running.settle(WITHIN_S)
    running.rest(60.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rotation_without_anybody_away_is_over_within_seconds_and_restarts_nothing(seed: int) -> None:
    running = made(seed)
    before = {name: sorted(server.nodes) for name, server in running.servers.items()}
    for _ in range(2):
        running.office.rotate()
        running.office.sign_anew()
        running.serve()
        assert running.engine.run(running.engine.now + 10.0, lambda: not running.office.needed())
        running.office.retire()
        running.serve()
        running.run(10.0)
    assert {name: sorted(server.nodes) for name, server in running.servers.items()} == before
    running.rest(60.0)
