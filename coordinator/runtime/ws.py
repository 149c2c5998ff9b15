"""The role `ws`: HTTPS for people and programs; every request goes on to MIC with the caller's own token.

Its certificate comes from the cluster's authority, whose key only the master's server holds: elsewhere the role is
refused until MIC issues certificates over the link. Law: it is trusted for nothing; MIC checks every token itself.
"""

import ipaddress

from aiohttp import web

from coordinator import errors, role
from coordinator.api import server
from coordinator.config import kinds, model
from coordinator.host import metrics
from coordinator.propagation import messages
from coordinator.runtime import home
from coordinator.tiers import upstream
from coordinator.trust import authority, certificates, tls


class WsRole:
    """One instance."""

    def __init__(self) -> None:
        self._context: role.Context
        self._home: home.Home
        self._link: upstream.Upstream | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, params: kinds.WsParams, context: role.Context) -> None:
        """Raises `RoleRefusedError`."""
        self._context = context
        try:
            self._home = home.find(context)
            held = authority.Authority.load(self._home.root)
        except errors.NotFoundError as problem:
            detail = "a web role runs on the master's server only: its certificate is issued there"
            raise role.RoleRefusedError("no_authority", detail) from problem
        except errors.TiercastError as problem:
            raise home.refused(problem, "") from problem
        me = self._home.me(messages.ChildKind.WS, context)
        self._link = link = upstream.Upstream(me, self._home.content, self._home.ground(context))
        link.start(home.coordinators(self._home, context.view().body))
        app = server.application(
            link, context.clock, context.random, metrics.Metrics(), ready=lambda: link.linked
        )
        key = certificates.new_key()
        cert = authority.issue_https(
            held, certificates.public_pem(key), _addresses(context), [context.server, "localhost"],
            context.clock.wall(),
        )  # fmt: skip
        try:
            self._runner = await server.serve(app, context.address, params.port, tls.https_context(cert, key))
        except OSError as problem:
            raise home.refused(problem, f"{context.address}:{params.port}") from problem
        context.background(self._watch)

    async def _watch(self) -> None:
        assert self._link is not None
        raise await self._link.driver.failed

    async def apply(self, old: kinds.WsParams, new: kinds.WsParams) -> role.Applied:
        return (
            role.AppliedHot()
            if old.port == new.port
            else role.RestartNeeded("the port is bound at the start")
        )

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
            return role.Report(role.Health.PROGRESSING, "starting")
        if self._link is not None and not self._link.linked:
            return role.Report(role.Health.HEALTHY, "no_coordinator", "no MIC answers")
        return role.Report(role.Health.HEALTHY)


def _addresses(context: role.Context) -> list[str]:
    """Every address of this server, so that clients may come by any of its interfaces."""
    found = [context.address]
    body = context.view().body
    known = model.decode(body).servers.get(context.server) if body else None
    if known is not None:
        found += known.interfaces.values()
    return list(dict.fromkeys(one for one in found if _is_address(one)))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
