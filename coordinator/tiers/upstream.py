"""A link to MIC for those who only ask and are asked nothing: WS and DC.

The machine is the subscriber of every hop with requests beside it; it is shown no configuration (its server's own view
is enough) and keeps nothing. Law: every `ask` ends, with `unreachable` at once where there is no MIC.
"""

from collections.abc import Callable

import anyio

from coordinator import errors, names
from coordinator.hop import driver
from coordinator.propagation import asks, bodies, events, intake, messages, mirror, subscriber

_NO_LINK = names.LinkId(0)
LINK_WAIT_S = 3.0  # a MIC that restarts is back within this; whoever asks meanwhile need not know

Output = (
    events.Dial
    | events.Send
    | events.Authenticated
    | events.Close
    | events.Store
    | events.Note
    | asks.Answered
    | subscriber.Up
    | subscriber.Down
)
_INNER = events.Dial | events.Send | events.Authenticated | events.Close | events.Store | events.Note


class Asker:
    """The machine: a subscriber that asks."""

    def __init__(self, me: subscriber.Me, content: mirror.Content) -> None:
        """Of `content` the trust and the own admission are used, nothing else."""
        own = content.admissions.get(me.server_id)
        seats = {} if own is None else {me.server_id: own}
        taking = intake.Intake(
            mirror.Content(content.trust, admissions=seats), bodies.Shelf(), me.cluster, _any_body
        )
        self.subscriber = subscriber.Subscriber(me, taking, boot=0)
        self.asks = asks.Asks()

    @property
    def deadline(self) -> float:
        """When `Tick` is due."""
        other = self.asks.deadline
        return self.subscriber.deadline if other is None else min(self.subscriber.deadline, other)

    def handle(self, event: events.Input, now: float) -> tuple[Output, ...]:
        """One input of the link, or time."""
        match event:
            case events.Heard(link, messages.Answer() as answer):
                return self._passed(self.asks.answered(link, answer))
            case events.Heard(link, messages.Ask() as ask):
                return self._passed(self.asks.asked(link, ask))
            case events.Tick():
                return self._passed((*self.asks.tick(now), *self.subscriber.handle(event, now)))
            case events.Gone(link):
                return self._passed((*self.asks.gone(link), *self.subscriber.handle(event, now)))
            case _:
                return self._passed(self.subscriber.handle(event, now))

    def ask(self, number: int, verb: str, data: bytes, now: float) -> tuple[Output, ...]:
        """Ask MIC; ends in `Answered(number, ...)`."""
        owner = asks.Owner(None, number)
        return self._passed(self.asks.ask(owner, self.subscriber.link, verb, "", data, now))

    def follow(self, parents: tuple[events.Parent, ...], now: float) -> tuple[Output, ...]:
        """Where MIC is now."""
        return self._passed(self.subscriber.follow(parents, now))

    def redial(self, now: float) -> tuple[Output, ...]:
        """As `Subscriber.redial`."""
        return self._passed(self.subscriber.redial(now))

    def learn(self, objects: tuple[bytes, ...], now: float) -> tuple[Output, ...]:
        """Newer than what is held, or nothing; it is kept in memory, so it counts at once."""
        subscriber_, taken = (
            self.subscriber,
            self.subscriber.intake.offered(_NO_LINK, messages.Offer(objects, None)),
        )
        stored = [one.ticket for one in taken if isinstance(one, events.Store)]
        outputs = [one for one in taken if not isinstance(one, events.Store)]
        for ticket in stored:
            outputs += subscriber_.handle(events.Stored(ticket), now)  # type: ignore[arg-type]
        return self._passed(tuple(outputs))

    def drained(self, _link: names.LinkId, _now: float) -> tuple[Output, ...]:
        """Nothing here waits for that."""
        return ()

    def _passed(self, inner: tuple[subscriber.Output | asks.Output, ...]) -> tuple[Output, ...]:
        outputs: list[Output] = []
        for one in inner:
            if isinstance(one, asks.Asked):
                outputs += self._passed(self.asks.answer(one.link, one.id, "not_allowed", b""))
            elif isinstance(one, _INNER | asks.Answered | subscriber.Up | subscriber.Down):
                outputs.append(one)
        return tuple(outputs)


def _any_body(_body: bytes) -> intake.Refusal | None:
    """None is ever offered."""
    return None


class Upstream:
    """The machine with its driver. To be made inside the running event loop."""

    def __init__(self, me: subscriber.Me, content: mirror.Content, ground: driver.Ground) -> None:
        self._clock = ground.clock
        self._machine = Asker(me, content)
        self.driver = driver.Driver(self._machine, ground, self._perform)
        self._numbers = 0
        self._answers: dict[int, Callable[[str, bytes], None]] = {}
        self._up = anyio.Event()
        self.away_since: float | None = self._clock.monotonic()
        """Monotonic second since which there is no MIC; None while there is one."""

    def start(self, parents: tuple[events.Parent, ...]) -> None:
        self.follow(parents)
        self.driver.start()

    def follow(self, parents: tuple[events.Parent, ...]) -> None:
        """Where MIC is now; nothing is forgotten where nobody says."""
        if parents:
            self.driver.act(self._machine.follow(parents, self._clock.monotonic()))

    @property
    def linked(self) -> bool:
        return self.away_since is None

    def redial(self) -> None:
        """The certificate with which the link was opened had run out."""
        now = self._clock.monotonic()
        self.driver.act(self._machine.redial(now))

    def learn(self, objects: tuple[bytes, ...]) -> None:
        """Trust and own admission, as the server of this role has them now."""
        self.driver.act(self._machine.learn(objects, self._clock.monotonic()))

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        """(code, data) of MIC's answer; code empty is good. Raises `NoCoordinatorError`."""
        with anyio.move_on_after(LINK_WAIT_S):
            await self._up.wait()
        if not self.linked:
            hint = "everything runs on as it is; try again shortly"
            raise errors.NoCoordinatorError("no coordinator (MIC) answers now", hint=hint)
        self._numbers += 1
        number, done = self._numbers, anyio.Event()
        found: list[tuple[str, bytes]] = []

        def answered(code: str, answer: bytes) -> None:
            found.append((code, answer))
            done.set()

        self._answers[number] = answered
        try:
            self.driver.act(self._machine.ask(number, verb, data, self._clock.monotonic()))
            await done.wait()
        finally:
            self._answers.pop(number, None)
        return found[0]

    def _perform(self, output: object) -> None:
        match output:
            case asks.Answered(number, code, data):
                answered = self._answers.get(number)
                if answered is not None:
                    answered(code, data)
            case subscriber.Up():
                self.away_since = None
                self._up.set()
            case subscriber.Down():
                self.away_since = self._clock.monotonic()
                self._up = anyio.Event()
            case _:
                raise AssertionError(f"not an output of this machine: {output}")

    async def close(self) -> None:
        await self.driver.close("stopped")
        for answered in list(self._answers.values()):
            answered(asks.LOST, b"")
