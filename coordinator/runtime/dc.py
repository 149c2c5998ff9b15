"""The role `dc`, a domain centre: so far a link to MIC and nothing behind it.

Domains, their administrators and tokens arrive with "Life of a revision"; until then MIC keeps the one administrator by
itself, and this role only shows that a domain centre here would reach it. It stores nothing.
"""

import functools

from coordinator import errors, limits, role
from coordinator.config import kinds
from coordinator.host import settings
from coordinator.propagation import messages
from coordinator.runtime import home, keyholding
from coordinator.tiers import upstream


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
        layout = settings.Layout(context.server_directory)
        learn = functools.partial(keyholding.tell, self._link)
        context.background(functools.partial(keyholding.follow, self._home, layout, learn))

    async def _watch(self) -> None:
        assert self._link is not None
        raise await self._link.driver.failed

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
