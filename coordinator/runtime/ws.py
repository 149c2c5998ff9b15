"""The role `ws`: HTTPS for people and programs; every request goes on to MIC with the caller's own token.

It runs on any server; the administration API is served on the master site, elsewhere where the role says `admin: true`.
Its certificate comes from the cluster's authority, by MIC where the authority is not here. Law: it is trusted for nothing;
MIC checks every token itself.
"""

import functools
import ssl

import anyio
from aiohttp import web

from coordinator import errors, role
from coordinator.api import kept, server
from coordinator.config import kinds
from coordinator.host import logs, metrics, settings
from coordinator.propagation import messages
from coordinator.runtime import home, keyholding, ws_certificate
from coordinator.tiers import upstream
from coordinator.trust import tls

AGAIN_S = 1.0  # while there is no certificate, nobody can come
LOOK_S = 60.0  # whether it is time to renew

_LOG = logs.Log("ws")


class WsRole:
    """One instance."""

    def __init__(self) -> None:
        self._context: role.Context
        self._params: kinds.WsParams
        self._home: home.Home
        self._certificate: ws_certificate.Certificate
        self._link: upstream.Upstream | None = None
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None
        self._look = anyio.Event()
        """Set where something has changed that a certificate depends on."""
        self._waits = role.Report(role.Health.PROGRESSING, "starting")

    async def start(self, params: kinds.WsParams, context: role.Context) -> None:
        """Raises `RoleRefusedError`."""
        self._context, self._params = context, params
        try:
            self._home = home.find(context)
        except errors.TiercastError as problem:
            raise home.refused(problem, "") from problem
        me = self._home.me(messages.ChildKind.WS, context)
        self._link = link = upstream.Upstream(me, self._home.content, self._home.ground(context))
        link.start(home.coordinators(self._home, context.view().body))
        self._certificate = ws_certificate.Certificate(context, self._home, link)
        pair = self._certificate.kept() or self._certificate.here()
        if pair is not None:
            await self._listen(pair)
        context.background(self._watch)
        context.background(self._certified)
        layout = settings.Layout(context.server_directory)
        context.background(functools.partial(keyholding.follow, self._home, layout, self._learned))

    def _learned(self, held: keyholding.Papers) -> None:
        assert self._link is not None
        keyholding.tell(self._link, held)
        self._look.set()

    async def _listen(self, pair: ws_certificate.Pair) -> None:
        """Raises `RoleRefusedError`."""
        context, link = self._context, self._link
        assert link is not None
        app = server.application(
            link,
            context.clock,
            context.random,
            metrics.Metrics(),
            ready=lambda: link.linked,
            own=self._own,
            admin=self._params.admin or _on_master_site(context),
        )
        self._tls = tls.https_context(pair.certificate, pair.key)
        try:
            self._runner = await server.serve(app, context.address, self._params.port, self._tls)
        except OSError as problem:
            raise home.refused(problem, f"{context.address}:{self._params.port}") from problem

    def _own(self) -> kept.Own | None:
        """What this server has accepted, as old as the link to MIC is gone."""
        view, since = self._context.view(), None if self._link is None else self._link.away_since
        age_s = 0.0 if since is None else self._context.clock.monotonic() - since
        return kept.Own(view.version, view.digest, view.body, age_s) if view.body else None

    async def _watch(self) -> None:
        assert self._link is not None
        raise await self._link.driver.failed

    async def _certified(self) -> None:
        """Until cancelled: a certificate to begin with, and another one in time."""
        pair = self._certificate.kept()
        while True:
            self._look = anyio.Event()
            if pair is None or self._certificate.due(pair):
                try:
                    pair = self._certificate.here() or await self._certificate.asked()
                except errors.TiercastError as problem:
                    self._without(problem)
                else:
                    await self._shown(pair)
            with anyio.move_on_after(AGAIN_S if pair is None else LOOK_S):
                await self._look.wait()

    def _without(self, problem: errors.TiercastError) -> None:
        waits = role.Report(role.Health.PROGRESSING, "no_certificate", problem.message)
        if waits != self._waits:
            self._waits = waits
            _LOG.warning("no certificate yet", code=problem.code, reason=problem.message)
            self._context.changed()

    async def _shown(self, pair: ws_certificate.Pair) -> None:
        if self._tls is not None:
            tls.renew_https(self._tls, pair.certificate, pair.key)
            return
        await self._listen(pair)
        self._context.changed()

    async def apply(self, old: kinds.WsParams, new: kinds.WsParams) -> role.Applied:
        if old.port != new.port:
            return role.RestartNeeded("the port is bound at the start")
        if old.admin != new.admin:
            return role.RestartNeeded("what is served is chosen at the start")
        return role.AppliedHot()

    async def configured(self, view: role.View) -> None:
        if self._link is not None:
            self._link.follow(home.coordinators(self._home, view.body))

    async def stop(self) -> None:
        """Requests under way are answered first, within the server's own bound."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._link is not None:
            await self._link.close()

    def report(self) -> role.Report:
        """It serves; whether a MIC answers is told to whoever asks."""
        if self._runner is None:
            return self._waits
        if self._link is not None and not self._link.linked:
            return role.Report(role.Health.HEALTHY, "no_coordinator", "no MIC answers")
        return role.Report(role.Health.HEALTHY)


def _on_master_site(context: role.Context) -> bool:
    """Where the view is empty this server runs what `init` made: it is the master's."""
    document = ws_certificate.accepted(context)
    if document is None:
        return True
    site = document.sites.get(context.site)
    return site is not None and site.type != "communication"
