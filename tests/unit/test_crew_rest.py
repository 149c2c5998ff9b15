"""A server that is about to leave: its nodes stop, its ServerShell goes on and says so, and it can be taken back."""

from coordinator import effects, names
from coordinator.config import expansion, topology
from coordinator.propagation import messages
from nodeagent.servershell import acks, crew, events
from nodeagent.supervision import machine
from tests import builders

NAME = names.ServerName("n1")
RUNS = effects.ProcessId(7, 1, "boot")


def running() -> crew.Crew:
    """All nodes of n1 run."""
    made = crew.Crew()
    made.began = True
    made.plan(topology.nodes(expansion.expand(builders.document()), NAME))
    started = made.steer(1.0).outputs
    assert started
    for one in started:
        assert isinstance(one, events.SpawnNode)
        made.heard(events.NodeStarted(one.name, RUNS), 1.0)
    return made


def end(made: crew.Crew) -> None:
    for name in made.nodes:
        made.heard(events.NodeExited(name, effects.Exit(RUNS, 0)), 2.0)


def test_at_rest_every_node_stops_and_the_server_goes_on() -> None:
    made = running()
    made.rest(on=True)
    signalled = [one for one in made.steer(2.0).outputs if isinstance(one, events.SignalNode)]
    assert len(signalled) == len(made.nodes)
    end(made)
    quiet = made.steer(3.0)
    assert quiet.outputs == ()
    assert {one.process.state for one in made.nodes.values()} == {machine.State.STOPPED}


def test_at_rest_it_does_not_say_that_it_runs_what_it_should() -> None:
    made = running()
    made.rest(on=True)
    made.steer(2.0)
    end(made)
    made.steer(3.0)
    verdict = acks.roll_up(names.Version(1, 1), names.Digest("d"), made.nodes, placed=True)
    assert verdict.level is messages.Level.ACCEPTED


def test_taken_back_it_starts_everything_again() -> None:
    made = running()
    made.rest(on=True)
    made.steer(2.0)
    end(made)
    made.rest(on=False)
    assert {type(one) for one in made.steer(3.0).outputs} == {events.SpawnNode}
