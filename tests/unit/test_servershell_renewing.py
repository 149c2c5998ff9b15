"""A server's certificate over time: when it is renewed, what a crash leaves, and what is not believed of an answer."""

import pathlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import msgspec
import pytest

from coordinator import names
from coordinator.hop import credentials, driver
from coordinator.host import disk, settings
from coordinator.propagation import asks, events, joining, messages, mirror, objects
from coordinator.trust import authority, certificates, renewals, signing
from nodeagent.servershell import core, renewing
from nodeagent.servershell import events as shell_events
from tests import micworld
from tests.security import cluster

pytestmark = pytest.mark.anyio
DAY_S = 86_400.0
ME = cluster.sid("n1")


class Clock:
    """Both clocks move by the real one; the wall is ahead by whatever a test says."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return cluster.WALL + self.ahead_s


class Acting:
    """In place of the driver: the machine's outputs are performed as far as storing goes."""

    def __init__(self, machine: core.Shell) -> None:
        self._machine = machine

    def act(self, outputs: Iterable[object]) -> None:
        for output in outputs:
            if isinstance(output, events.Store):
                self.act(self._machine.handle(events.Stored(output.ticket), 0.0))


class Stand:
    """A server in a directory, and a MIC that answers as a test wants."""

    def __init__(self, root: pathlib.Path) -> None:
        self.layout = settings.Layout(root)
        self.disk = disk.DirectoryDisk(root)
        self.made = cluster.Cluster()
        self.clock = Clock()
        self.keys = self.made.authority
        self.asked: list[renewals.Wanted] = []
        self.answer: Callable[[renewals.Wanted], tuple[str, bytes]] = self.granted
        self.made.identity("n1", cluster.WALL).save(self.disk)
        self.seat = self.made.admissions[ME].content

    def granted(self, wanted: renewals.Wanted) -> tuple[str, bytes]:
        return "", msgspec.json.encode(self.issued(wanted, self.keys))

    def issued(self, wanted: renewals.Wanted, keys: authority.Authority) -> renewals.Renewed:
        certificate = authority.issue(keys, wanted.server_id, wanted.public_pem, self.clock.wall())
        if wanted.digest != self.seat.key_digest:
            former = self.seat.key_digest
            self.seat = msgspec.structs.replace(
                self.seat, seq=self.seat.seq + 50, key_digest=wanted.digest, former=former
            )
        elif wanted.uses and self.seat.former:
            self.seat = msgspec.structs.replace(self.seat, seq=self.seat.seq + 50, former="")
        raw = self.made.sign(objects.Kind.ADMISSION, self.seat)
        return renewals.Renewed(certificate, keys.ca_pem, self.made.trust.raw, raw)

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        assert verb == asks.RENEW
        wanted = renewals.read(cluster.CLUSTER, joining.carried(data).body)
        self.asked.append(wanted)
        return self.answer(wanted)

    @asynccontextmanager
    async def running(self, *, new_key: bool | None = None) -> AsyncIterator[credentials.Credentials]:
        """One life of a ServerShell."""
        machine = self.made.shell()
        machine.handle(shell_events.Begin(), 0.0)
        own = credentials.Credentials(authority.Identity.load(self.disk), self.clock)
        ground = driver.Ground(self.clock, micworld.Random(), own)
        acting = cast("Any", Acting(machine))
        used = renewing.Renewing(self.layout, ground, machine, acting, self.ask)
        if new_key is not None:
            used.ask_now(new_key=new_key)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(used.run)
            yield own
            tasks.cancel_scope.cancel()


@pytest.fixture
def stand(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(renewing, "LOOK_S", 0.01)
    monkeypatch.setattr(renewing, "SAYS_AFTER_S", 0.02)
    monkeypatch.setattr(renewing, "AGAIN_MIN_S", 0.01)
    return Stand(tmp_path)


@pytest.mark.parametrize(
    ("days", "renewed"), [(1, False), (170, False), (190, True), (400, True), (4000, True)]
)
async def test_it_is_renewed_from_half_its_life_on_and_once(stand: Stand, days: int, renewed: bool) -> None:
    stand.clock.ahead_s = days * DAY_S
    async with stand.running() as own:
        if renewed:
            await micworld.until(
                lambda: own.identity != stand.made.identity("n1", cluster.WALL) and stand.asked
            )
        await anyio.sleep(0.1)
        assert len(stand.asked) == renewed
    after = authority.Identity.load(stand.disk)
    ahead = certificates.validity(after.cert_pem)[1] - stand.clock.wall()
    assert (ahead > 363 * DAY_S) == (renewed or days == 1)


async def test_another_key_is_used_and_then_said_to_be(stand: Stand) -> None:
    before = authority.Identity.load(stand.disk)
    async with stand.running(new_key=True) as own:
        await micworld.until(lambda: len(stand.asked) == 2)
        await micworld.until(lambda: not stand.seat.former)
        assert own.identity.key_pem != before.key_pem
    first, second = stand.asked
    assert (first.uses, second.uses) == (False, True)
    assert first.digest == second.digest == second.signer != first.signer
    assert authority.Identity.load(stand.disk) == own.identity or stand.asked
    assert stand.disk.read(authority.NEXT_KEY_FILE) is None


async def test_a_lost_answer_costs_nothing(stand: Stand) -> None:
    answers = iter([asks.LOST, asks.TIMED_OUT, asks.UNREACHABLE])

    def losing(wanted: renewals.Wanted) -> tuple[str, bytes]:
        granted = stand.granted(wanted)
        code = next(answers, "")
        return (code, b"") if code else granted

    stand.answer = losing
    async with stand.running(new_key=True) as own:
        await micworld.until(
            lambda: own.identity.key_digest == stand.seat.key_digest and len(stand.asked) >= 4
        )
    assert len({one.digest for one in stand.asked[:4]}) == 1, "one key, however often it is asked for"


@pytest.mark.parametrize("cut", range(4))
async def test_a_crash_at_any_write_leaves_the_old_identity_or_the_new_one(
    stand: Stand, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it leaves, the cluster takes its key, and the next life gets to the same end."""
    writes = 0

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def act(own: disk.DirectoryDisk, *rest: Any) -> None:
            nonlocal writes
            if writes == cut:
                raise OSError("the power is gone")
            writes += 1
            real(own, *rest)

        return act

    with monkeypatch.context() as power:
        for name in ("write", "remove"):
            power.setattr(disk.DirectoryDisk, name, counted(getattr(disk.DirectoryDisk, name)))
        async with stand.running(new_key=True):
            await anyio.sleep(0.1)
    found = authority.Identity.load(stand.disk)
    assert stand.seat.names_key(found.key_digest)
    waiting = stand.disk.read(authority.NEXT_KEY_FILE)
    writes = -1
    async with stand.running(new_key=cut == 0 or None) as own:
        await micworld.until(
            lambda: own.identity.key_digest == stand.seat.key_digest and not stand.seat.former
        )
    assert waiting in {None, own.identity.key_pem}


@pytest.mark.parametrize("lie", ["another CA", "another server", "another key", "altered trust", "junk"])
async def test_an_answer_that_somebody_made_up_changes_nothing(stand: Stand, lie: str) -> None:
    before = authority.Identity.load(stand.disk)
    foreign = authority.create_authority(cluster.CLUSTER, cluster.WALL)
    other = certificates.public_pem(certificates.new_key())

    def lying(wanted: renewals.Wanted) -> tuple[str, bytes]:
        good = stand.issued(wanted, stand.keys)
        match lie:
            case "another CA":
                good = stand.issued(wanted, foreign)
            case "another server":
                good = stand.issued(msgspec.structs.replace(wanted, server_id=cluster.sid("n2")), stand.keys)
            case "another key":
                good = stand.issued(msgspec.structs.replace(wanted, public_pem=other), stand.keys)
            case "altered trust":
                good = msgspec.structs.replace(good, trust=foreign.first_trust())
            case _:
                return "", b"junk"
        return "", msgspec.json.encode(good)

    stand.answer = lying
    async with stand.running(new_key=False) as own:
        await micworld.until(lambda: len(stand.asked) >= 2)
        assert own.identity == before
    assert authority.Identity.load(stand.disk) == before
    assert stand.disk.read(authority.CURRENT_FILE) is None


async def test_another_ca_is_asked_for_as_soon_as_trust_names_it(stand: Stand) -> None:
    stand.keys = stand.made.authority.with_new_ca(cluster.WALL)
    body = msgspec.structs.replace(
        stand.made.trust.content, seq=9, roots=(stand.made.authority.ca_pem, stand.keys.ca_pem)
    )
    stand.made.trust = mirror.SignedTrust(stand.made.sign(objects.Kind.TRUST, body), body)
    stand.made.content = msgspec.structs.replace(stand.made.content, trust=stand.made.trust)
    async with stand.running() as own:
        await micworld.until(lambda: own.identity.ca_pem == stand.keys.ca_pem)
    assert signing.root_id(authority.Identity.load(stand.disk).ca_pem) == signing.root_id(stand.keys.ca_pem)
    assert len(stand.asked) == 1


async def test_a_mic_without_the_newest_ca_is_asked_once_and_not_for_ever(stand: Stand) -> None:
    newer = stand.made.authority.with_new_ca(cluster.WALL)
    body = msgspec.structs.replace(
        stand.made.trust.content, seq=9, roots=(stand.made.authority.ca_pem, newer.ca_pem)
    )
    stand.made.trust = mirror.SignedTrust(stand.made.sign(objects.Kind.TRUST, body), body)
    stand.made.content = msgspec.structs.replace(stand.made.content, trust=stand.made.trust)
    async with stand.running():
        await micworld.until(lambda: stand.asked)
        await anyio.sleep(0.1)
    assert len(stand.asked) == 1


@pytest.mark.parametrize(
    ("ahead_s", "told"),
    [
        (0.0, ""),
        (100.0, ""),
        (-100.0, ""),
        (1800.0, "30 minutes ahead of"),
        (-7_000.0, "115 minutes behind MIC's"),
        (86_400.0, "24 hours ahead of MIC's"),
        (-86_400.0 * 400, "400 days behind MIC's"),
    ],
)
async def test_a_clock_that_is_minutes_away_from_mics_is_told(
    stand: Stand, ahead_s: float, told: str
) -> None:
    machine = stand.made.shell()
    link = cluster.linked_upwards(machine, stand.made)
    fresh = objects.Fresh(1, 1, 1, names.Serial(1, 1), names.Serial(1, 2), cluster.WALL)
    sign = stand.made.sign(objects.Kind.FRESH, fresh)
    beat = messages.Heartbeat(sign, stand.made.content.numbers, 0)
    machine.handle(events.Heard(link, beat), stand.clock.monotonic())
    stand.clock.ahead_s = ahead_s
    own = credentials.Credentials(authority.Identity.load(stand.disk), stand.clock)
    ground = driver.Ground(stand.clock, micworld.Random(), own)
    used = renewing.Renewing(stand.layout, ground, machine, cast("Any", Acting(machine)), stand.ask)
    detail = machine.status(stand.clock.monotonic()).detail
    assert detail == "" if not told else f"{messages.CLOCK}: " in detail
    assert told in detail
    stand.clock.ahead_s = 0.0  # somebody has set it
    used._show(own)
    assert machine.status(stand.clock.monotonic()).detail == ""
