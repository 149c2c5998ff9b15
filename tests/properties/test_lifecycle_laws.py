"""Laws of the roles of one node, under any order of configurations, answers, health and time.

The world here knows what each role truly runs; no ack may claim more.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coordinator import names, role
from coordinator.propagation import messages
from nodeagent.basedrole import acks, events, lifecycle, slot

NAMES = tuple(names.RoleName(name) for name in ("one", "two"))
PLACE = (names.ServerName("c1"), names.SiteName("central"), "127.0.0.1")


def wanted(name: names.RoleName, value: int) -> events.WantedRole:
    return events.WantedRole(name, names.RoleTypeName("greeter"), {"value": value}, *PLACE)


class AnyHistory(RuleBasedStateMachine):
    """Roles that take, refuse, break and change their health as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = lifecycle.Machine()
        self.now = 0.0
        self.revision = 0
        self.wanted: dict[names.RoleName, events.WantedRole] = {}
        self.truth: dict[names.RoleName, events.WantedRole] = {}
        self.health: dict[names.RoleName, role.Health] = {}
        self.under_way: dict[names.RoleName, events.RoleOutput] = {}
        self.ack: acks.NodeAck | None = None

    def feed(self, event: events.Input) -> None:
        for act in self.machine.handle(event, self.now):
            match act:
                case events.Acked(ack=ack):
                    self.ack = ack
                case events.Start(name=name) | events.Apply(name=name) | events.Stop(name=name):
                    assert name not in self.under_way
                    assert (name in self.truth) != isinstance(act, events.Start)
                    if isinstance(act, events.Apply):
                        assert act.old == self.truth[name]
                    self.under_way[name] = act
                case _:
                    pass

    @rule(values=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)))
    def configure(self, values: dict[names.RoleName, int]) -> None:
        self.revision += 1
        self.wanted = {name: wanted(name, value) for name, value in values.items()}
        view = role.View(names.Version(1, self.revision), names.Digest("0" * 64), b"")
        self.feed(events.Configured(view, tuple(self.wanted.values())))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.under_way)))
        act = self.under_way.pop(name)
        match act:
            case events.Start():
                self.answer_start(act, data.draw(st.sampled_from(("runs", "refused", "failed"))))
            case events.Apply():
                self.answer_apply(act, data.draw(st.sampled_from(("hot", "restart", "refused", "failed"))))
            case _:
                self.truth.pop(name, None)
                self.health.pop(name, None)
                self.feed(events.RoleStopped(name))

    def answer_start(self, act: events.Start, how: str) -> None:
        if how == "runs":
            self.runs(act.name, act.wanted, events.RoleStarted(act.name))
        elif how == "refused":
            self.feed(events.RoleRefused(act.name, "params", "no"))
        else:
            self.feed(events.RoleFailed(act.name, "exception", "boom"))

    def answer_apply(self, act: events.Apply, how: str) -> None:
        if how == "hot":
            self.runs(act.name, act.new, events.RoleAppliedHot(act.name))
        elif how == "restart":
            self.feed(events.RoleRestartNeeded(act.name))
        elif how == "refused":
            self.feed(events.RoleRefused(act.name, "params", "no"))
        else:
            self.feed(events.RoleFailed(act.name, "exception", "boom"))

    def runs(self, name: names.RoleName, params: events.WantedRole, answer: events.RoleInput) -> None:
        self.truth[name] = params
        self.health[name] = role.Health.PROGRESSING
        self.feed(answer)

    @precondition(lambda self: self.health)
    @rule(data=st.data(), health=st.sampled_from(role.Health))
    def report(self, data: st.DataObject, health: role.Health) -> None:
        name = data.draw(st.sampled_from(sorted(self.health)))
        self.health[name] = health
        self.feed(events.Reported(name, role.Report(health)))

    @rule(seconds=st.floats(0.0, 100.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.feed(events.Tick())

    @rule()
    def retry(self) -> None:
        self.feed(events.Retry())

    @invariant()
    def the_ack_is_of_the_newest_version_and_of_every_wanted_role(self) -> None:
        if self.ack is not None:
            assert self.ack.version.revision == self.revision
            assert {ack.role for ack in self.ack.roles} == set(self.wanted)

    @invariant()
    def no_ack_claims_more_than_is_true(self) -> None:
        for ack in self.ack.roles if self.ack else ():
            runs = self.truth.get(ack.role) == self.wanted[ack.role]
            if ack.level >= messages.Level.APPLIED:
                assert runs
                assert ack.role not in self.under_way
            assert (ack.level is messages.Level.READY) <= (
                runs and self.health[ack.role] is role.Health.HEALTHY
            )

    @invariant()
    def whoever_falls_short_says_why_or_is_on_its_way(self) -> None:
        for ack in self.ack.roles if self.ack else ():
            if ack.level < messages.Level.APPLIED and ack.outcome is messages.Outcome.OK:
                assert ack.role in self.under_way

    @invariant()
    def whoever_runs_nothing_will_be_tried_again(self) -> None:
        for name, one in self.machine.slots.items():
            if one.phase is slot.Phase.DOWN:
                assert name not in self.under_way
                assert one.deadline is not None

    def teardown(self) -> None:
        """Once the roles behave and somebody says retry, everything wanted is ready and nothing else runs."""
        for _ in range(8):
            for name, act in tuple(self.under_way.items()):
                del self.under_way[name]
                match act:
                    case events.Start(wanted=params):
                        self.runs(name, params, events.RoleStarted(name))
                    case events.Apply(new=params):
                        self.runs(name, params, events.RoleAppliedHot(name))
                    case _:
                        self.truth.pop(name, None)
                        self.health.pop(name, None)
                        self.feed(events.RoleStopped(name))
            for name in tuple(self.health):
                self.health[name] = role.Health.HEALTHY
                self.feed(events.Reported(name, role.Report(role.Health.HEALTHY)))
            self.feed(events.Retry())
        assert self.truth == self.wanted
        assert self.ack is None or self.ack.level is messages.Level.READY


TestAnyHistory = AnyHistory.TestCase
