"""One seed: a world comes up, suffers for a while, and must converge once it is left in peace."""

import random

from tests.simulation import faults, world

START_S = 60.0
TROUBLE_S = 120.0
FAULT_EVERY_S = 4.0
REST_S = 8.0
CONVERGE_S = 90.0
"""Bound of the last phase: a role's restart back-off (30 s), a ready time-out of a role that a node still waits for, and
the way of a change to and fro."""


def run(seed: int, trouble_s: float = TROUBLE_S) -> tuple[world.World, float]:
    """The world after the run, and the seconds it took to converge. Raises `ViolationError`."""
    chance = random.Random(seed)
    stage = world.World(seed, faults.design(chance))
    stage.engine.run(START_S, lambda: stage.mic is not None)
    for name in [*stage.design.everyone()[1:], "x1"]:
        stage.enroll(name)
        stage.servers[name].start()
    stage.run(1.0)
    stage.apply()
    stage.network.weather = faults.weather(chance)
    trouble = faults.Faults(stage)
    until = stage.engine.now + trouble_s
    while stage.engine.now < until:
        stage.run(min(chance.expovariate(1.0 / FAULT_EVERY_S), until - stage.engine.now + 0.001))
        trouble.one()
    trouble.end()
    stage.run(0.5)
    stage.engine.run(stage.engine.now + START_S, lambda: stage.mic is not None)
    stage.design.well()
    stage.design.turn(10_000)
    assert stage.apply() is not None, "no MIC after the last fault"
    took = stage.settle(CONVERGE_S)
    stage.rest(REST_S)
    return stage, took
