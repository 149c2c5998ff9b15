"""The roles of one node, as short stories told to the pure machine."""

from typing import Any

import pytest

from coordinator import limits, names, role
from coordinator.propagation import messages
from nodeagent.basedrole import acks, events, lifecycle, slot

ONE, TWO = names.RoleName("one"), names.RoleName("two")
HEALTHY = role.Report(role.Health.HEALTHY)


def view(revision: int) -> role.View:
    return role.View(names.Version(1, revision), names.Digest(f"{revision:064x}"), b"{}")


def wanted(name: str = "one", address: str = "127.0.0.1", **params: Any) -> events.WantedRole:
    return events.WantedRole(
        name=names.RoleName(name),
        type=names.RoleTypeName("greeter"),
        params=params,
        server=names.ServerName("c1"),
        site=names.SiteName("central"),
        address=address,
    )


def configured(revision: int, *roles: events.WantedRole) -> events.Configured:
    return events.Configured(view(revision), roles)


class Node:
    """A machine with what it said last, and what it asked to be done."""

    def __init__(self) -> None:
        self.machine = lifecycle.Machine()
        self.now = 0.0
        self.ack: acks.NodeAck | None = None
        self.done: list[events.Output] = []

    def feed(self, *inputs: events.Input) -> list[events.Output]:
        """Outputs but acks and views, in order."""
        self.done = []
        for event in inputs:
            for act in self.machine.handle(event, self.now):
                match act:
                    case events.Acked(ack=ack):
                        self.ack = ack
                    case events.Tell():
                        pass
                    case _:
                        self.done.append(act)
        return self.done

    def says(self) -> tuple[int, str, str, str]:
        assert self.ack is not None
        return self.ack.version.revision, self.ack.level.word, str(self.ack.outcome), self.ack.code

    def running(self, revision: int = 1, **params: Any) -> "Node":
        self.feed(
            configured(revision, wanted(**params)), events.RoleStarted(ONE), events.Reported(ONE, HEALTHY)
        )
        assert self.says() == (revision, "ready", "ok", "")
        return self


def test_a_role_is_accepted_then_applied_then_ready() -> None:
    node = Node()
    assert node.feed(configured(1, wanted(a=1))) == [events.Start(ONE, wanted(a=1))]
    assert node.says() == (1, "accepted", "ok", "")
    node.feed(events.RoleStarted(ONE))
    assert node.says() == (1, "applied", "ok", "")
    node.feed(events.Reported(ONE, HEALTHY))
    assert node.says() == (1, "ready", "ok", "")


def test_accepted_is_said_before_anything_is_begun() -> None:
    node = Node().running(a=1)
    outputs = node.machine.handle(configured(2, wanted(a=2)), 0.0)
    assert isinstance(outputs[0], events.Acked)
    assert outputs[0].ack.level is messages.Level.ACCEPTED


def test_an_unchanged_role_is_not_touched_and_its_ack_moves_to_the_new_version() -> None:
    node = Node().running(a=1)
    assert node.feed(configured(2, wanted(a=1))) == []
    assert node.says() == (2, "ready", "ok", "")


def test_a_running_role_is_told_of_every_view() -> None:
    node = Node().running(a=1)
    assert events.Tell(ONE, view(2)) in node.machine.handle(configured(2, wanted(a=1)), 0.0)


def test_new_parameters_are_applied_hot() -> None:
    node = Node().running(a=1)
    assert node.feed(configured(2, wanted(a=2)))[-1] == events.Apply(ONE, wanted(a=1), wanted(a=2))
    node.feed(events.RoleAppliedHot(ONE))
    assert node.says() == (2, "applied", "ok", "")
    node.feed(events.Reported(ONE, HEALTHY))
    assert node.says() == (2, "ready", "ok", "")


def test_a_restart_stops_and_starts_with_the_new_parameters() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)))
    assert node.feed(events.RoleRestartNeeded(ONE)) == [events.Stop(ONE)]
    assert node.feed(events.RoleStopped(ONE)) == [events.Start(ONE, wanted(a=2))]
    assert node.says() == (2, "accepted", "ok", "")


def test_another_address_restarts_without_asking_the_role() -> None:
    node = Node().running(a=1)
    assert node.feed(configured(2, wanted(address="127.0.0.2", a=1)))[-1] == events.Stop(ONE)


def test_refused_parameters_leave_the_last_good_running_and_are_not_tried_again() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), events.RoleRefused(ONE, "params", "no"))
    assert node.says() == (2, "accepted", "refused", "params")
    assert node.feed(configured(3, wanted(a=2))) == []
    assert node.says() == (3, "accepted", "refused", "params")
    assert node.feed(configured(4, wanted(a=1))) == []
    assert node.says() == (4, "ready", "ok", "")


def test_a_retry_tries_refused_parameters_again() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), events.RoleRefused(ONE, "params", "no"))
    assert node.feed(events.Retry()) == [events.Apply(ONE, wanted(a=1), wanted(a=2))]
    node.feed(events.RoleAppliedHot(ONE), events.Reported(ONE, HEALTHY))
    assert node.says() == (2, "ready", "ok", "")


def test_a_restart_that_fails_goes_back_to_the_last_good_parameters() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), events.RoleRestartNeeded(ONE), events.RoleStopped(ONE))
    assert node.feed(events.RoleRefused(ONE, "port_taken", "by another")) == [events.Start(ONE, wanted(a=1))]
    node.feed(events.RoleStarted(ONE), events.Reported(ONE, HEALTHY))
    assert node.says() == (2, "accepted", "refused", "port_taken")
    assert node.ack is not None
    assert node.ack.roles[0].detail == "by another; the last good parameters run"


def test_an_apply_that_breaks_the_role_restarts_it_with_the_last_good_parameters() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)))
    assert node.feed(events.RoleFailed(ONE, "exception", "boom")) == [events.Stop(ONE)]
    assert node.feed(events.RoleStopped(ONE)) == [events.Start(ONE, wanted(a=1))]
    assert node.says() == (2, "accepted", "failed", "exception")


def test_a_first_start_that_is_refused_is_tried_again_slower_and_slower() -> None:
    node = Node()
    node.feed(configured(1, wanted(a=1)))
    pauses = []
    for _ in range(10):
        assert node.feed(events.RoleRefused(ONE, "port_taken", "by another")) == []
        assert node.says() == (1, "accepted", "refused", "port_taken")
        assert node.machine.deadline is not None
        pauses.append(node.machine.deadline - node.now)
        node.now = node.machine.deadline
        assert node.feed(events.Tick()) == [events.Start(ONE, wanted(a=1))]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(limits.RESTART_BACKOFF_MAX_S)
    node.feed(events.RoleStarted(ONE), events.Reported(ONE, HEALTHY))
    assert node.says() == (1, "ready", "ok", "")


def test_a_role_that_fails_under_new_parameters_goes_back_to_the_last_good_ones() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), events.RoleAppliedHot(ONE), events.Reported(ONE, HEALTHY))
    node.now = slot.GOOD_AFTER_S - 1
    failed = role.Report(role.Health.FAILED, "crash_loop", "ended 3 times")
    assert node.feed(events.Reported(ONE, failed)) == [events.Stop(ONE)]
    assert node.feed(events.RoleStopped(ONE)) == [events.Start(ONE, wanted(a=1))]
    node.feed(events.RoleStarted(ONE), events.Reported(ONE, HEALTHY))
    assert node.says() == (2, "accepted", "failed", "crash_loop")


def test_parameters_that_were_healthy_for_long_are_the_good_ones() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), events.RoleAppliedHot(ONE), events.Reported(ONE, HEALTHY))
    node.now = slot.GOOD_AFTER_S
    assert node.feed(events.Tick()) == [events.Remember(ONE, wanted(a=2))]
    assert node.feed(events.Reported(ONE, role.Report(role.Health.FAILED, "crash_loop"))) == []
    assert node.says() == (2, "accepted", "failed", "crash_loop")


def test_parameters_that_failed_are_no_good_ones() -> None:
    node = Node()
    node.feed(configured(1, wanted(a=1)), events.RoleStarted(ONE))
    node.feed(events.Reported(ONE, role.Report(role.Health.FAILED, "crash_loop")))
    node.feed(configured(2, wanted(a=2)), events.RoleRefused(ONE, "params", "no"))
    assert node.ack is not None
    assert node.ack.roles[0].detail == "no; the former parameters run"
    assert node.machine.slots[ONE].good is None


def test_remembered_parameters_are_fallen_back_on_in_the_next_life() -> None:
    node = Node()
    node.feed(events.Recalled((wanted(a=1),)), configured(2, wanted(a=2)))
    assert node.feed(events.RoleRefused(ONE, "params", "no")) == [events.Start(ONE, wanted(a=1))]


def test_a_node_that_was_given_up_starts_with_the_remembered_parameters() -> None:
    node = Node()
    given_up = events.GivenUp("crash_loop", "the node ended 3 times")
    started = node.feed(events.Recalled((wanted(a=1),)), events.Configured(view(2), (wanted(a=2),), given_up))
    assert started == [events.Start(ONE, wanted(a=1))]
    assert node.says() == (2, "accepted", "failed", "crash_loop")


def test_a_newer_configuration_overtakes_one_under_way_and_nothing_in_between_is_started() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)))
    assert node.feed(configured(3, wanted(a=3)), configured(4, wanted(a=4))) == []
    assert node.feed(events.RoleAppliedHot(ONE)) == [events.Apply(ONE, wanted(a=2), wanted(a=4))]
    node.feed(events.RoleAppliedHot(ONE), events.Reported(ONE, HEALTHY))
    assert node.says() == (4, "ready", "ok", "")


def test_a_refusal_of_overtaken_parameters_is_not_held_against_the_wanted_ones() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), configured(3, wanted(a=3)))
    assert node.feed(events.RoleRefused(ONE, "params", "no")) == [events.Apply(ONE, wanted(a=1), wanted(a=3))]
    assert node.says() == (3, "accepted", "ok", "")


def test_a_change_taken_back_before_the_restart_restarts_nothing() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), configured(3, wanted(a=1)))
    assert node.feed(events.RoleRestartNeeded(ONE), events.Reported(ONE, HEALTHY)) == []
    assert node.says() == (3, "ready", "ok", "")


def test_ready_is_lowered_the_moment_the_role_is_not_healthy() -> None:
    node = Node().running(a=1)
    node.feed(events.Reported(ONE, role.Report(role.Health.DEGRADED, "probe_failed", "no answer")))
    assert node.says() == (1, "applied", "ok", "")
    assert node.ack is not None
    assert node.ack.roles[0].code == "probe_failed"


def test_a_role_that_never_gets_healthy_has_failed_after_the_ready_time_out() -> None:
    node = Node()
    node.feed(configured(1, wanted(a=1)), events.RoleStarted(ONE))
    node.now = limits.READY_TIMEOUT_S
    node.feed(events.Tick())
    assert node.says() == (1, "applied", "failed", "ready_timeout")
    node.feed(events.Reported(ONE, HEALTHY))
    assert node.says() == (1, "ready", "ok", "")


def test_the_node_is_as_far_as_its_slowest_role_and_as_well_as_its_worst() -> None:
    node = Node()
    node.feed(configured(1, wanted("one"), wanted("two")))
    node.feed(events.RoleStarted(ONE), events.Reported(ONE, HEALTHY), events.RoleStarted(TWO))
    assert node.says() == (1, "applied", "ok", "")
    node.feed(events.RoleFailed(TWO, "exception", "boom"))
    assert node.says() == (1, "accepted", "failed", "exception")
    assert node.ack is not None
    assert [ack.level for ack in node.ack.roles] == [messages.Level.READY, messages.Level.ACCEPTED]


def test_a_role_that_is_not_wanted_any_more_is_stopped_and_leaves_the_ack() -> None:
    node = Node()
    node.feed(configured(1, wanted("one"), wanted("two")), events.RoleStarted(ONE), events.RoleStarted(TWO))
    node.feed(events.Reported(ONE, HEALTHY), events.Reported(TWO, HEALTHY))
    assert node.feed(configured(2, wanted("one"))) == [events.Stop(TWO)]
    assert node.says() == (2, "ready", "ok", "")


def test_stopping_the_node_waits_for_what_is_under_way() -> None:
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)))
    assert node.feed(events.StopAll()) == []
    assert node.feed(events.RoleAppliedHot(ONE)) == [events.Stop(ONE)]
    assert node.feed(configured(3, wanted(a=3))) == []
    assert node.feed(events.RoleStopped(ONE)) == [events.AllStopped()]


def test_a_node_without_roles_stops_at_once() -> None:
    assert Node().feed(events.StopAll()) == [events.AllStopped()]


@pytest.mark.parametrize("phase", slot.Phase)
@pytest.mark.parametrize(
    "event",
    [
        events.RoleStarted(ONE),
        events.RoleAppliedHot(ONE),
        events.RoleRestartNeeded(ONE),
        events.RoleRefused(ONE, "params", "no"),
        events.RoleFailed(ONE, "exception", "boom"),
        events.RoleStopped(ONE),
        events.Reported(ONE, HEALTHY),
    ],
)
def test_every_event_is_taken_in_every_phase(phase: slot.Phase, event: events.RoleInput) -> None:
    node = Node()
    ways: dict[slot.Phase, tuple[events.Input, ...]] = {
        slot.Phase.DOWN: (events.RoleRefused(ONE, "params", "no"),),
        slot.Phase.STARTING: (),
        slot.Phase.UP: (events.RoleStarted(ONE),),
        slot.Phase.APPLYING: (events.RoleStarted(ONE), configured(2, wanted(a=2))),
        slot.Phase.STOPPING: (events.RoleStarted(ONE), configured(2)),
    }
    node.feed(configured(1, wanted(a=1)), *ways[phase])
    assert node.machine.slots[ONE].phase is phase
    node.feed(event)
    assert set(slot.TABLE) == set(slot.Phase)


def test_what_is_being_stopped_is_not_said_to_run() -> None:
    node = Node().running(a=1)
    assert node.feed(events.RoleFailed(ONE, "exception", "it broke")) == [events.Stop(ONE)]
    assert node.ack is not None
    assert node.ack.roles[0].detail == "it broke; they are being stopped"
    node = Node().running(a=1)
    node.feed(configured(2, wanted(a=2)), events.RoleFailed(ONE, "exception", "it broke"))
    assert node.ack is not None
    assert node.ack.roles[0].detail == "it broke; the last good parameters are being stopped"


def test_the_word_of_a_role_for_its_health_is_passed_on() -> None:
    node = Node().running(a=1)
    assert node.ack is not None
    assert node.ack.roles[0].health == "healthy"
    node.feed(events.Reported(ONE, role.Report(role.Health.DEGRADED, "slow", "half of it answers")))
    assert node.says() == (1, "applied", "ok", "")
    assert node.ack.roles[0].health == "degraded"
    node.feed(configured(2, wanted(a=2)))
    assert node.ack.roles[0].health == ""


def test_a_role_that_runs_and_has_failed_is_started_anew_on_request() -> None:
    node = Node().running(a=1)
    node.feed(events.Reported(ONE, role.Report(role.Health.FAILED, "crash_loop", "ended 3 times")))
    assert node.says() == (1, "accepted", "failed", "crash_loop")
    assert node.feed(events.Retry()) == [events.Stop(ONE)]
    assert node.feed(events.RoleStopped(ONE)) == [events.Start(ONE, wanted(a=1))]
    node.feed(events.RoleStarted(ONE), events.Reported(ONE, HEALTHY))
    assert node.says() == (1, "ready", "ok", "")
    assert node.feed(events.Retry()) == []
