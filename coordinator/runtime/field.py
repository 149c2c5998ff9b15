"""What the servers of the field hold, asked one by one as any server asks another: the newest, and their own admission.

It changes nothing anywhere and keeps nothing. Law: what it hands back has been verified, and whoever did not answer is named.
"""

from collections.abc import Mapping, Sequence

import anyio
import msgspec

from coordinator import effects, limits, names
from coordinator.hop import driver
from coordinator.propagation import bodies, events, intake, messages, mirror, subscriber
from coordinator.runtime import home

ANSWER_S = 15.0  # a dial, a greeting and a large document over a slow line
AT_ONCE = 64


class Told(msgspec.Struct, frozen=True):
    """One server's answer; its name is that of its admission."""

    server: names.ServerName
    content: mirror.Content
    body: bytes | None
    admission: mirror.SignedAdmission
    """Its own."""


class Place(msgspec.Struct, frozen=True):
    """A ServerShell to be asked; without a name, whoever answers there."""

    server: names.ServerName
    address: str

    @property
    def told(self) -> str:
        return self.server or self.address


class _Listening:
    """A subscriber whose parent's own admission is kept."""

    def __init__(self, machine: subscriber.Subscriber) -> None:
        self.machine = machine
        self.shown = b""

    @property
    def deadline(self) -> float:
        return self.machine.deadline

    def handle(self, event: events.Input, now: float) -> tuple[object, ...]:
        outputs = self.machine.handle(event, now)
        linked = any(isinstance(one, subscriber.Up) for one in outputs)
        if linked and isinstance(event, events.Heard) and isinstance(event.frame, messages.Welcome):
            self.shown = event.frame.admission
        return outputs

    def drained(self, _link: names.LinkId, _now: float) -> tuple[object, ...]:
        return ()


async def ask(
    here: home.Home, clock: effects.Clock, random: effects.Random, places: Sequence[Place]
) -> Mapping[Place, Told]:
    """Everybody at once, within `ANSWER_S`; whoever is missing in the answer did not say anything."""
    found: dict[Place, Told] = {}
    slots = anyio.Semaphore(AT_ONCE)

    async def one(place: Place) -> None:
        async with slots:
            told = await _asked(here, clock, random, place)
        if told is not None:
            found[place] = told

    async with anyio.create_task_group() as tasks:
        for place in places:
            tasks.start_soon(one, place)
    return found


async def _asked(here: home.Home, clock: effects.Clock, random: effects.Random, place: Place) -> Told | None:
    content = msgspec.structs.replace(here.content, target=None, record=None)
    shelf = bodies.Shelf()
    taking = intake.Intake(content, shelf, here.identity.cluster, home.check, own=here.identity.server_id)
    me = subscriber.Me(here.identity.cluster, messages.ChildKind.SHELL, "", here.identity.server_id)
    machine = _Listening(subscriber.Subscriber(me, taking, boot=0))
    enough = anyio.Event()

    def perform(output: object) -> None:
        if isinstance(output, events.Accepted):
            enough.set()

    used = driver.Driver(machine, driver.Ground(clock, random, here.own), perform)
    parent = events.Parent(place.server, place.address, limits.PORT_SHELL)
    try:
        used.act(machine.machine.follow((parent,), clock.monotonic()))
        used.start()
        with anyio.move_on_after(ANSWER_S):
            await enough.wait()
    finally:
        with anyio.CancelScope(shield=True):
            await used.close("asked enough")
    if not machine.shown:
        return None
    own = mirror.verify(machine.shown, taking.keyring)
    assert isinstance(own, mirror.SignedAdmission), "a subscriber trusts no other parent"
    body = shelf.get(taking.content.digest) if taking.content.target is not None else None
    return Told(own.content.name, taking.content, body, own)
