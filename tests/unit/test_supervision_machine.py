"""Supervision of one process, cell by cell and as short stories."""

import pytest

from coordinator import effects, limits
from nodeagent.supervision import machine

PROCESS = effects.ProcessId(100, 7, "boot")
OTHER = effects.ProcessId(200, 9, "boot")
RUN = machine.Want(machine.Wanted.RUNNING)
STOP = machine.Want(machine.Wanted.STOPPED)


def exited(status: int | None = 1, process: effects.ProcessId = PROCESS) -> machine.Exited:
    return machine.Exited(effects.Exit(process, status))


def in_state(state: machine.State) -> machine.Machine:
    one = machine.Machine(machine.Policy())
    ways: dict[machine.State, tuple[machine.Input, ...]] = {
        machine.State.STOPPED: (),
        machine.State.STARTING: (RUN,),
        machine.State.RUNNING: (RUN, machine.Started(PROCESS)),
        machine.State.STOPPING: (RUN, machine.Started(PROCESS), STOP),
        machine.State.KILLING: (RUN, machine.Started(PROCESS), STOP, machine.Tick()),
        machine.State.BACKOFF: (RUN, machine.Started(PROCESS), exited()),
    }
    for event in ways[state]:
        now = limits.STOP_TIMEOUT_S if isinstance(event, machine.Tick) else 0.0
        one.handle(event, now)
    assert one.state is state
    return one


def test_the_table_has_a_cell_for_every_state_and_event() -> None:
    assert set(machine.TABLE) == set(machine.State)
    for row in machine.TABLE.values():
        assert set(row) == set(machine.Event)


@pytest.mark.parametrize("state", machine.State)
@pytest.mark.parametrize(
    "event",
    [
        RUN,
        STOP,
        machine.Started(OTHER),
        machine.SpawnFailed("no such file"),
        exited(),
        exited(process=OTHER),
        machine.Adopted(OTHER),
        machine.Renewed(),
        machine.Frozen(),
        machine.Tick(),
    ],
)
def test_every_input_is_taken_in_every_state(state: machine.State, event: machine.Input) -> None:
    one = in_state(state)
    one.handle(event, 1000.0)
    assert one.state in machine.State
    assert (one.process is not None) == (
        one.state in (machine.State.RUNNING, machine.State.STOPPING, machine.State.KILLING)
    )


def test_a_wanted_process_is_spawned_and_reported_when_it_runs() -> None:
    one = machine.Machine(machine.Policy())
    assert one.handle(RUN, 0.0) == (machine.Spawn(),)
    assert one.handle(machine.Started(PROCESS), 0.1) == (machine.ReportUp(PROCESS),)
    assert one.handle(RUN, 0.2) == ()


def test_a_process_that_does_not_stop_is_killed_with_its_group_until_it_has_gone() -> None:
    one = in_state(machine.State.RUNNING)
    assert one.handle(STOP, 1.0) == (machine.Signal(PROCESS, machine.SIGTERM, group=False),)
    assert one.deadline == 1.0 + limits.STOP_TIMEOUT_S
    assert one.handle(machine.Tick(), one.deadline - 0.001) == ()
    for _ in range(3):
        assert one.handle(machine.Tick(), one.deadline) == (
            machine.Signal(PROCESS, machine.SIGKILL, group=True),
        )
    outputs = one.handle(exited(-9), 20.0)
    assert outputs[1] == machine.ReportDown(wanted=True, detail="ended by signal 9")
    assert one.state is machine.State.STOPPED
    assert one.deadline is None


def test_the_group_never_outlives_its_leader() -> None:
    for state in (machine.State.RUNNING, machine.State.STOPPING, machine.State.KILLING):
        first = in_state(state).handle(exited(), 50.0)[0]
        assert first == machine.Signal(PROCESS, machine.SIGKILL, group=True)


def test_a_stop_decided_while_it_starts_is_done_once_it_has_started() -> None:
    one = in_state(machine.State.STARTING)
    assert one.handle(STOP, 0.0) == ()
    assert one.handle(machine.Started(PROCESS), 0.0)[-1] == machine.Signal(
        PROCESS, machine.SIGTERM, group=False
    )


def test_a_run_decided_while_it_stops_starts_it_again_once_it_has_ended() -> None:
    one = in_state(machine.State.STOPPING)
    assert one.handle(RUN, 0.0) == ()
    assert one.handle(exited(0), 0.0)[-1] == machine.Spawn()
    assert one.state is machine.State.STARTING


def test_the_third_crash_in_a_minute_is_announced_once_and_restarts_go_on_ever_slower() -> None:
    one = machine.Machine(machine.Policy())
    one.handle(RUN, 0.0)
    now, announced, delays = 0.0, 0, []
    for _ in range(12):
        one.handle(machine.Started(PROCESS), now)
        outputs = one.handle(exited(), now)
        announced += sum(isinstance(act, machine.CrashLooping) for act in outputs)
        down = next(act for act in outputs if isinstance(act, machine.ReportDown))
        assert down.retry_in_s is not None
        delays.append(down.retry_in_s)
        assert one.deadline is not None
        now = one.deadline
        assert one.handle(machine.Tick(), now) == (machine.Spawn(),)
    assert announced == 1
    assert delays == sorted(delays)
    assert delays[0] == limits.RESTART_BACKOFF_MIN_S
    assert delays[-1] == limits.RESTART_BACKOFF_MAX_S


def test_a_failing_spawn_counts_as_a_crash() -> None:
    one = in_state(machine.State.STARTING)
    assert one.handle(machine.SpawnFailed("no such file"), 0.0) == (
        machine.ReportDown(wanted=False, detail="no such file", retry_in_s=limits.RESTART_BACKOFF_MIN_S),
    )


def test_a_steady_run_ends_the_episode() -> None:
    one = machine.Machine(machine.Policy())
    one.handle(RUN, 0.0)
    for now in (0.0, 1.0, 3.0):
        one.handle(machine.Started(PROCESS), now)
        one.handle(exited(), now)
        one.handle(machine.Tick(), now + 1.0)
    one.handle(machine.Started(PROCESS), 4.0)
    outputs = one.handle(exited(), 4.0 + limits.CRASH_WINDOW_S)
    assert outputs[1:] == (
        machine.ReportDown(
            wanted=False, detail="exited with status 1", retry_in_s=limits.RESTART_BACKOFF_MIN_S
        ),
    )


def test_an_adopted_process_is_wanted_until_somebody_says_otherwise() -> None:
    one = machine.Machine(machine.Policy())
    assert one.handle(machine.Adopted(PROCESS), 0.0) == (machine.ReportUp(PROCESS),)
    assert one.wanted is machine.Wanted.RUNNING
    assert one.handle(STOP, 0.0) == (machine.Signal(PROCESS, machine.SIGTERM, group=False),)


def test_a_second_process_is_never_kept() -> None:
    one = in_state(machine.State.RUNNING)
    assert one.handle(machine.Adopted(OTHER), 0.0) == (machine.Signal(OTHER, machine.SIGKILL, group=True),)
    assert one.handle(machine.Adopted(PROCESS), 0.0) == ()
    assert one.handle(exited(process=OTHER), 0.0) == ()
    assert one.process == PROCESS


def test_a_stop_during_back_off_ends_it_and_forgets_the_crashes() -> None:
    one = in_state(machine.State.BACKOFF)
    assert one.handle(STOP, 0.0) == ()
    assert one.state is machine.State.STOPPED
    assert one.handle(RUN, 0.0) == (machine.Spawn(),)


def test_other_parameters_start_at_once_and_their_crashes_are_counted_anew() -> None:
    one = machine.Machine(machine.Policy())
    one.handle(RUN, 0.0)
    old: list[machine.Output] = []
    for now in (1.0, 2.0, 3.0):
        one.handle(machine.Started(PROCESS), now)
        old += one.handle(exited(), now)
        one.handle(machine.Tick(), now + limits.RESTART_BACKOFF_MAX_S)
    assert any(isinstance(output, machine.CrashLooping) for output in old)
    one.handle(machine.Started(PROCESS), 4.0)
    one.handle(exited(), 4.0)
    assert one.state is machine.State.BACKOFF
    assert one.handle(machine.Renewed(), 4.0) == (machine.Spawn(),)
    new: list[machine.Output] = []
    for now in (5.0, 6.0, 7.0):
        one.handle(machine.Started(PROCESS), now)
        new += one.handle(exited(), now)
        one.handle(machine.Tick(), now + limits.RESTART_BACKOFF_MAX_S)
    assert [type(output) for output in new].count(machine.CrashLooping) == 1


def test_a_frozen_process_is_killed_with_its_group_and_its_end_is_a_crash() -> None:
    one = in_state(machine.State.RUNNING)
    assert one.handle(machine.Frozen(), 1.0) == (machine.Signal(PROCESS, machine.SIGKILL, group=True),)
    outputs = one.handle(exited(-9), 2.0)
    assert any(isinstance(act, machine.ReportDown) and not act.wanted for act in outputs)
    assert one.state is machine.State.BACKOFF
