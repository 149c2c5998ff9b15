"""The role `dc`, a domain centre: a copy of the domains and of who is in them, kept on its own disk.

MIC's store alone holds people and tokens, and MIC checks every token itself; a domain centre decides nothing. It asks MIC
over its link for the roster (names, roles, what is attached; no password, no token) and keeps the last one, so that on its
machine `tiercast domains list --local` answers while no MIC does.
Law: nothing that it keeps lets anybody in; a roster that it cannot get leaves the last one, with its age.
"""

import functools

import anyio
import anyio.to_thread
import msgspec

from coordinator import errors, limits, role
from coordinator.config import kinds
from coordinator.host import disk, logs, settings
from coordinator.propagation import messages
from coordinator.runtime import home, keyholding
from coordinator.tiers import requests_people, upstream

FILE = "roster.json"
"""Below the state directory of the role."""
COPY_S = 20.0  # a change of people shows in the copy within this
AGAIN_S = 3.0
AGED_S = 300.0  # an unchanged roster is written anew this often, to say as of when it is

_LOG = logs.Log("dc")


class DcRole:
    """One instance."""

    def __init__(self) -> None:
        self._context: role.Context
        self._home: home.Home
        self._link: upstream.Upstream | None = None

    async def start(self, _params: kinds.DcParams, context: role.Context) -> None:
        self._context = context
        try:
            self._home = home.find(context)
        except errors.TiercastError as problem:
            raise home.refused(problem, "") from problem
        me = self._home.me(messages.ChildKind.DC, context)
        self._link = upstream.Upstream(me, self._home.content, self._home.ground(context))
        self._link.start(home.coordinators(self._home, context.view().body))
        context.background(self._watch)
        context.background(self._copy)
        layout = settings.Layout(context.server_directory)
        learn = functools.partial(keyholding.tell, self._link)
        context.background(functools.partial(keyholding.follow, self._home, layout, learn))

    async def _watch(self) -> None:
        assert self._link is not None
        raise await self._link.driver.failed

    async def _copy(self) -> None:
        """Keep the roster; whatever goes wrong, the next one is asked for."""
        assert self._link is not None
        kept, held = disk.DirectoryDisk(self._context.state_directory), b""
        while True:
            asked_again_s = AGAIN_S
            try:
                code, data = await self._link.ask(requests_people.ROSTER, b"")
                if code:
                    _LOG.info("no roster", code=code)
                elif _same(data, held):
                    asked_again_s = COPY_S
                else:
                    await anyio.to_thread.run_sync(kept.write, FILE, data)
                    held, asked_again_s = data, COPY_S
            except errors.NoCoordinatorError:
                pass
            except (OSError, msgspec.MsgspecError) as problem:
                _LOG.warning("roster not kept", reason=str(problem))
            await anyio.sleep(asked_again_s)

    async def apply(self, _old: kinds.DcParams, _new: kinds.DcParams) -> role.Applied:
        return role.AppliedHot()

    async def configured(self, view: role.View) -> None:
        if self._link is not None:
            self._link.follow(home.coordinators(self._home, view.body))

    async def stop(self) -> None:
        if self._link is not None:
            await self._link.close()

    def report(self) -> role.Report:
        """A MIC that restarts is no trouble; one that stays away is."""
        if self._link is None:
            return role.Report(role.Health.PROGRESSING, "starting")
        since = self._link.away_since
        if since is None:
            return role.Report(role.Health.HEALTHY)
        away = self._context.clock.monotonic() - since
        health = role.Health.HEALTHY if away <= limits.STALE_S else role.Health.DEGRADED
        return role.Report(health, "no_coordinator", "no MIC answers")


def _same(data: bytes, held: bytes) -> bool:
    """But for its age, which is written at most once in `AGED_S`. Raises `msgspec.MsgspecError`."""
    new = msgspec.json.decode(data, type=requests_people.Roster)
    if not held:
        return False
    old = msgspec.json.decode(held, type=requests_people.Roster)
    return new.at - old.at < AGED_S and msgspec.structs.replace(new, at=old.at) == old
