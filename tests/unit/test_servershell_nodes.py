"""What a ServerShell does with its worker nodes, as short stories told to the pure machine."""

import pathlib

import anyio
import msgspec
import pytest

from coordinator import effects, limits, names
from coordinator.propagation import asks, events, messages
from nodeagent.basedrole import events as role_events
from nodeagent.basedrole import follower
from nodeagent.main import node
from nodeagent.servershell import core
from nodeagent.servershell import events as shell_events
from nodeagent.supervision import machine, spec
from tests.security import cluster

PROCESS = effects.ProcessId(100, 7, "boot")
LINK = names.LinkId(1)


@pytest.fixture(scope="module")
def made() -> cluster.Cluster:
    return cluster.Cluster()


def with_node(made: cluster.Cluster, now: float = 1.0) -> core.Shell:
    """A ServerShell with its node running and linked."""
    shell = made.shell()
    shell.handle(shell_events.NodeStarted(cluster.NODE, PROCESS), now)
    cluster.come(shell, LINK, "process 100", made.hello(cluster.KINDS.NODE, cluster.NODE), now)
    assert shell.nodes[cluster.NODE].link == LINK
    return shell


# --- retry ----------------------------------------------------------------------------------------------------------


def test_retry_is_asked_of_every_node_that_can_be_heard(made: cluster.Cluster) -> None:
    shell = with_node(made)
    cluster.come(shell, 2, "process 8", made.hello(cluster.KINDS.LOCAL, "command"))
    outputs = cluster.hear(shell, 2, messages.Ask(1, "retry", "", True, b""))
    asked = [
        one.links for one in outputs if isinstance(one, events.Send) and isinstance(one.frame, messages.Ask)
    ]
    assert asked == [(LINK,)]
    (ask,) = cluster.said(outputs, messages.Ask)
    assert isinstance(ask, messages.Ask)
    assert ask.verb == asks.RETRY
    answered = cluster.hear(shell, 1, messages.Answer(ask.id, "", True, b""))
    assert [one for one in answered if isinstance(one, asks.Answered)] == [asks.Answered(0, "", b"")]


def linked_follower(made: cluster.Cluster) -> follower.Follower:
    identity = follower.NodeIdentity(
        cluster.CLUSTER, names.ServerName("n1"), cluster.NODE, 1, made.trust.raw, "socket"
    )
    one = follower.Follower(identity)
    one.begin(0.0)
    one.handle(events.Opened(1, LINK, names.ServerId("process 1")), 0.0)
    one.handle(events.Heard(LINK, messages.Welcome(1, cluster.CLUSTER, 0, made.content.numbers, b"")), 0.0)
    assert one.subscriber.link == LINK
    return one


def test_a_node_is_asked_by_its_servershell_alone_and_only_to_retry(made: cluster.Cluster) -> None:
    for verb in ("retry", "status", "stop", "boot", ""):
        one = linked_follower(made)
        outputs = one.handle(events.Heard(LINK, messages.Ask(1, verb, "", True, b"")), 1.0)
        (answer,) = cluster.said(outputs, messages.Answer)
        assert isinstance(answer, messages.Answer)
        assert answer.code == ("" if verb == "retry" else "not_allowed")
        assert (follower.Retry() in outputs) == (verb == "retry")
        assert not one.handle(events.Heard(names.LinkId(2), messages.Ask(1, verb, "", True, b"")), 1.0)


def test_a_node_that_is_asked_to_retry_tells_its_roles(made: cluster.Cluster, tmp_path: pathlib.Path) -> None:
    given = spec.Spec(
        cluster=cluster.CLUSTER,
        server=names.ServerName("n1"),
        node=cluster.NODE,
        boot=1,
        trust=made.trust.raw,
        socket=f"{tmp_path}/socket",
        server_directory=str(tmp_path),
        node_directory=str(tmp_path),
        version=names.NO_VERSION,
        given_up="",
    )

    async def perform() -> node.Node:
        one = node.Node(given)
        one._perform(follower.Retry())
        return one

    assert role_events.Retry() in anyio.run(perform)._host._inbox


# --- frozen nodes ---------------------------------------------------------------------------------------------------


def ticking(shell: core.Shell, since: float, until: float, step: float = 1.0) -> list[object]:
    outputs: list[object] = []
    now = since
    while now <= until:
        outputs += shell.handle(events.Tick(), now)
        now += step
    return outputs


def signals(outputs: list[object]) -> list[shell_events.SignalNode]:
    return [one for one in outputs if isinstance(one, shell_events.SignalNode)]


KILLED = shell_events.SignalNode(cluster.NODE, PROCESS, machine.SIGKILL, True)


def test_a_node_that_runs_and_is_not_heard_is_killed_and_named(made: cluster.Cluster) -> None:
    shell = with_node(made)
    shell.handle(events.Gone(LINK, "silent"), 10.0)
    assert signals(ticking(shell, 10.0, 9.0 + limits.READY_TIMEOUT_S)) == []
    assert shell.deadline <= 10.0 + limits.READY_TIMEOUT_S
    assert signals(ticking(shell, 10.0 + limits.READY_TIMEOUT_S, 80.0)) == [KILLED]
    said = shell.status(80.0)
    assert said.outcome == "failed"
    assert said.detail.startswith("node_silent: ")
    assert "no sign of life for 60 s" in said.detail
    ended = effects.Exit(PROCESS, -machine.SIGKILL)
    shell.handle(shell_events.NodeExited(cluster.NODE, ended), 80.0)
    assert shell.nodes[cluster.NODE].restarts == 1
    spawned = [one for one in ticking(shell, 81.0, 82.0) if isinstance(one, shell_events.SpawnNode)]
    assert [one.name for one in spawned] == [cluster.NODE]
    shell.handle(shell_events.NodeStarted(cluster.NODE, msgspec.structs.replace(PROCESS, pid=200)), 83.0)
    assert shell.status(83.0).detail.startswith("node_silent: ")
    cluster.come(shell, 3, "process 200", made.hello(cluster.KINDS.NODE, cluster.NODE), 84.0)
    assert shell.status(84.0).detail == ""


def test_a_node_that_comes_back_in_time_is_left_alone(made: cluster.Cluster) -> None:
    shell = with_node(made)
    shell.handle(events.Gone(LINK, "silent"), 10.0)
    assert signals(ticking(shell, 10.0, 50.0)) == []
    cluster.come(shell, 3, "process 100", made.hello(cluster.KINDS.NODE, cluster.NODE), 50.0)
    shell.handle(events.Gone(names.LinkId(3), "silent"), 60.0)
    assert signals(ticking(shell, 60.0, 110.0)) == []


def test_a_node_is_not_blamed_for_the_time_its_servershell_stood_still(made: cluster.Cluster) -> None:
    shell = with_node(made)
    shell.handle(events.Gone(LINK, "silent"), 10.0)
    assert signals(ticking(shell, 10.0, 20.0)) == []
    assert signals(ticking(shell, 500.0, 540.0)) == []
    assert signals(ticking(shell, 541.0, 560.0)) == [KILLED]


# --- what is said of roles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "outcome", "health", "shown"),
    [
        (messages.Level.READY, messages.Outcome.OK, "healthy", "healthy"),
        (messages.Level.APPLIED, messages.Outcome.OK, "progressing", "progressing"),
        (messages.Level.APPLIED, messages.Outcome.OK, "degraded", "degraded"),
        (messages.Level.APPLIED, messages.Outcome.FAILED, "degraded", "degraded"),
        (messages.Level.APPLIED, messages.Outcome.FAILED, "progressing", "failed"),
        (messages.Level.ACCEPTED, messages.Outcome.REFUSED, "", "failed"),
        (messages.Level.ACCEPTED, messages.Outcome.OK, "", "progressing"),
    ],
)
def test_a_role_is_shown_in_its_own_word(
    made: cluster.Cluster, level: messages.Level, outcome: messages.Outcome, health: str, shown: str
) -> None:
    shell = with_node(made)
    role = shell.nodes[cluster.NODE].roles[0]
    told = messages.RoleAck(role, level, outcome, "", "", health)
    ack = made.ack(level=level, outcome=outcome, roles=(told,))
    cluster.hear(shell, 1, messages.Ack(ack))
    (one,) = [each for each in shell.status(3.0).nodes if each.node == cluster.NODE]
    assert one.roles[0].health == shown
