"""Laws of supervising one process, under any order of decisions, deaths and time."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coordinator import effects
from nodeagent.supervision import machine


class AnyHistory(RuleBasedStateMachine):
    """An obedient caller with an unruly process."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = machine.Machine(machine.Policy())
        self.now = 0.0
        self.spawning = False
        self.living: list[effects.ProcessId] = []
        self.next_pid = 1

    def feed(self, event: machine.Input) -> None:
        for act in self.machine.handle(event, self.now):
            match act:
                case machine.Spawn():
                    assert not self.spawning
                    assert not self.living
                    self.spawning = True
                case machine.Signal(process=process, signal=machine.SIGKILL) if process in self.living:
                    self.die(process, -9)
                case _:
                    pass

    def die(self, process: effects.ProcessId, status: int) -> None:
        self.living.remove(process)
        self.feed(machine.Exited(effects.Exit(process, status)))

    @rule(wanted=st.sampled_from(machine.Wanted))
    def decide(self, wanted: machine.Wanted) -> None:
        self.feed(machine.Want(wanted))

    @precondition(lambda self: self.spawning)
    @rule(works=st.booleans())
    def answer_spawn(self, *, works: bool) -> None:
        self.spawning = False
        if works:
            process = effects.ProcessId(self.next_pid, self.next_pid, "boot")
            self.next_pid += 1
            self.living.append(process)
            self.feed(machine.Started(process))
        else:
            self.feed(machine.SpawnFailed("no"))

    @precondition(lambda self: self.living)
    @rule(status=st.integers(-15, 3))
    def end(self, status: int) -> None:
        self.die(self.living[0], status)

    @rule()
    def renew(self) -> None:
        self.feed(machine.Renewed())

    @rule(seconds=st.floats(0.0, 100.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.feed(machine.Tick())

    @invariant()
    def at_most_one_lives_and_it_is_known(self) -> None:
        assert len(self.living) <= 1
        assert ([self.machine.process] if self.machine.process else []) == self.living

    @invariant()
    def whoever_waits_has_a_deadline(self) -> None:
        waits = (machine.State.BACKOFF, machine.State.STOPPING, machine.State.KILLING)
        assert (self.machine.deadline is not None) == (self.machine.state in waits)

    def teardown(self) -> None:
        """Left alone, the observed becomes the wanted: the process obeys, time passes."""
        for _ in range(10):
            if self.spawning:
                self.answer_spawn(works=True)
            if self.machine.state in (machine.State.STOPPING, machine.State.KILLING):
                self.die(self.living[0], 0)
            self.pass_time(100.0)
        observed = self.machine.state is machine.State.RUNNING
        assert observed == (self.machine.wanted is machine.Wanted.RUNNING)


TestAnyHistory = AnyHistory.TestCase
