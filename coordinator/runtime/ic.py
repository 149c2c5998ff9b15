"""The role `ic`: a site's relay. Mirrors MIC on its own disk, serves the servers of its site, rolls up their acks.

It listens once it has a configuration to serve, which may be what its own server has accepted: a site can start while
MIC is away.
"""

import functools

import anyio
import msgspec

from coordinator import errors, limits, names, role
from coordinator.config import kinds
from coordinator.hop import door, driver, ledger, upward
from coordinator.host import disk, logs, settings
from coordinator.propagation import asks, bodies, events, joining, messages, mirror, relay
from coordinator.runtime import home, keyholding
from coordinator.trust import signing

LISTEN_RETRY_S = 2.0

_LOG = logs.Log("ic")


class IcRole:
    """One instance."""

    def __init__(self) -> None:
        self._context: role.Context
        self._home: home.Home
        self._relay: relay.Relay | None = None
        self._driver: driver.Driver | None = None
        self._params = kinds.IcParams()
        self._upward = upward.Upward(self._ask)
        self._ready = anyio.Event()
        self._drained = anyio.Event()
        self._listening = False
        self._trouble = role.Report(
            role.Health.PROGRESSING, "no_configuration", "waits for a first configuration"
        )

    async def start(self, params: kinds.IcParams, context: role.Context) -> None:
        """Load the own mirror, follow MIC, and listen at once where there is something to serve."""
        self._context, self._params = context, params
        try:
            self._home = home.find(context)
            book = ledger.Ledger(disk.DirectoryDisk(context.state_directory))
            content, shelf = _mirror(self._home, book)
        except errors.TiercastError as problem:
            raise home.refused(problem, "") from problem
        me = self._home.me(messages.ChildKind.IC, context)
        self._relay = relay.Relay(me, content, shelf, home.check, floor=book.load().accepted)
        self._driver = driver.Driver(self._relay, self._home.ground(context), self._perform, book)
        self._follow(self._body() or context.view().body)
        self._driver.start()
        if content.target is not None:
            await self._listen()
        else:
            context.background(self._listen_later)
        context.background(self._watch)
        layout = settings.Layout(context.server_directory)
        context.background(functools.partial(keyholding.follow, self._home, layout, self._learned))

    def _learned(self, held: keyholding.Papers) -> None:
        if held.returned and self._relay is not None and self._driver is not None:
            self._driver.act(self._relay.redial(self._context.clock.monotonic()))

    async def _watch(self) -> None:
        assert self._driver is not None
        raise await self._driver.failed

    # --- listening ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Raises `RoleRefusedError`."""
        assert self._driver is not None
        place = f"{self._context.address}:{self._params.port}"
        try:
            await self._driver.listen(self._context.address, self._params.port, self._door())
        except errors.TiercastError as problem:
            raise home.refused(problem, place) from problem
        self._listening = True
        self._context.changed()

    def _door(self) -> door.Door:
        """Machines without an identity may ask here; MIC answers them."""

        def shown() -> door.Shown:
            assert self._relay is not None
            return door.Shown(self._home.own.identity, self._relay.content.trust.content.roots)

        return door.Door(shown, functools.partial(self._upward.ask, joining.JOIN), self._context.clock)

    def _ask(self, number: int, verb: str, data: bytes) -> None:
        assert self._driver is not None
        assert self._relay is not None
        self._driver.act(self._relay.ask(number, verb, data, self._context.clock.monotonic()))

    async def _listen_later(self) -> None:
        """Once there is a configuration; a port that is taken is tried again."""
        await self._ready.wait()
        while not self._listening:
            try:
                await self._listen()
            except role.RoleRefusedError as problem:
                self._trouble = role.Report(role.Health.FAILED, problem.code, problem.detail)
                self._context.changed()
                await anyio.sleep(LISTEN_RETRY_S)

    # --- the machine ----------------------------------------------------------------------------------------------

    def _perform(self, output: object) -> None:
        assert self._relay is not None
        match output:
            case events.Accepted(version, _, body):
                _LOG.info("mirrored", revision=str(version))
                self._follow(body)
                self._ready.set()
            case asks.Asked(link, number):
                now = self._context.clock.monotonic()
                assert self._driver is not None
                self._driver.act(self._relay.answer(link, number, "not_allowed", b"", now))
            case asks.Answered(number, code, data):
                self._upward.answered(number, code, data)
            case relay.Drained():
                self._drained.set()
            case _:
                raise AssertionError(f"not an output of an IC: {output}")

    def _body(self) -> bytes | None:
        assert self._relay is not None
        return self._relay.intake.shelf.get(self._relay.content.digest)

    def _follow(self, body: bytes) -> None:
        assert self._relay is not None
        assert self._driver is not None
        parents = home.coordinators(self._home, body)
        if parents:
            self._driver.act(self._relay.follow(parents, self._context.clock.monotonic()))

    # --- the host -------------------------------------------------------------------------------------------------

    async def apply(self, old: kinds.IcParams, new: kinds.IcParams) -> role.Applied:
        return role.AppliedHot() if old == new else role.RestartNeeded("the port is bound at the start")

    async def configured(self, view: role.View) -> None:
        """The server may know of a MIC that this mirror has not heard of."""
        if self._relay is not None and view.version > self._relay.content.version:
            self._follow(view.body)

    async def stop(self) -> None:
        """Serve on until every linked server has accepted the newest, then end."""
        if self._driver is None or self._relay is None:
            return
        if self._listening and not self._driver.failed.done():
            self._driver.act(self._relay.drain(self._context.clock.monotonic()))
            with anyio.move_on_after(limits.DRAIN_S):
                await self._drained.wait()
            self._driver.act(home.farewell(self._relay.publisher, "IC stops"))
        with anyio.CancelScope(shield=True):
            await self._driver.close("IC stops")

    def report(self) -> role.Report:
        if self._driver is not None and self._driver.failed.done():
            return role.Report(role.Health.FAILED, "exception", str(self._driver.failed.result()))
        return role.Report(role.Health.HEALTHY) if self._listening else self._trouble


def _mirror(here: home.Home, book: ledger.Ledger) -> tuple[mirror.Content, bodies.Shelf]:
    """The own copy, verified; what its server has accepted and it has not is added, durably. Raises `DamagedError`."""
    content, body = _own(here, book)
    added = _newer(here, content, floor=book.load().accepted)
    moved = any(isinstance(one, mirror.SignedTarget) for one in added)
    content = content.take_all(added)
    body = here.body if moved else body
    raws = {mirror.ledger_key(one): one.raw for one in added if one.raw}
    if raws:
        book.store(raws, (content.digest, body) if moved and body is not None else None, (content.digest,))
    shelf = home.shelf_of(content.digest, body)
    prepared = None if content.target is None else content.target.content.prepared
    if prepared is not None and (held := book.body(prepared.digest)) is not None:
        shelf.add(prepared.digest, held)
    return content, shelf


def _newer(here: home.Home, content: mirror.Content, floor: names.Version) -> tuple[mirror.AnySigned, ...]:
    """What the server holds that is newer: trust, the own admission, and the configuration.

    `floor` is what was accepted here once, whose body may be lost since: nothing older is taken.
    """
    server, me = here.content, here.identity.server_id
    added: list[mirror.AnySigned] = []
    if server.trust.content.serial > content.trust.content.serial or not content.trust.raw:
        added.append(server.trust)
    own, held = server.admissions.get(me), content.admissions.get(me)
    if own is not None and (held is None or own.content.serial > held.content.serial):
        added.append(own)
    ahead = server.numbers.target > content.numbers.target and server.version >= floor
    if server.target is not None and ahead:
        assert server.record is not None
        added += [server.record, server.target]
    return tuple(added)


def _own(here: home.Home, book: ledger.Ledger) -> tuple[mirror.Content, bytes | None]:
    """What the own ledger holds; what cannot be verified or read counts as not there, and is fetched again."""
    keyring = signing.Keyring.trusting(here.first_trust, here.identity.cluster)
    try:
        content = mirror.from_ledger({mirror.TRUST_KEY: here.first_trust, **book.load().objects}, keyring)
    except errors.SignatureError as problem:
        _LOG.error("ledger does not verify", reason=problem.message)
        return mirror.Content(here.content.trust), None
    body = None if content.target is None else book.body(names.Digest(content.digest))
    if body is None or content.record is None:
        return msgspec.structs.replace(content, target=None, record=None), None
    return content, body
