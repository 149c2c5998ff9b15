"""A web role on a server without the authority: its certificate comes from MIC, for what the document says and no more."""

import contextlib
import ipaddress
import pathlib
import stat
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest
from cryptography import x509

from coordinator import names, role
from coordinator.config import kinds, model
from coordinator.runtime import mic, ws, ws_certificate
from coordinator.tiers import requests, web
from coordinator.trust import certificates, tls
from tests import builders, micworld
from tests.integration import test_mic_roles as town

pytestmark = pytest.mark.integration

MASTER = kinds.MicParams()
DAY_S = 86400.0


def with_web_role(*, admin: bool = True) -> model.Document:
    params = {"admin": True} if admin else {}
    return builders.bent(
        lambda plain: (
            plain["roles"].update(wsn1={"type": "ws", "params": params}),
            plain["structure"]["north"].update(n1=["icn1", "wsn1"]),
        ),
        town.two_sites(),
    )


class Later:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return town.CLOCK.monotonic()

    def wall(self) -> float:
        return town.CLOCK.wall() + self.ahead_s


class Elsewhere(town.House):
    """A server whose document is the active one."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.clock = Later()
        self.site = "north"
        self.body = b""

    def context(self, name: str, scopes: list[anyio.CancelScope]) -> role.Context:
        plain = super().context(name, scopes)
        view = role.View(names.Version(1, 2), model.digest(self.body), self.body)
        return msgspec.structs.replace(
            plain, clock=self.clock, site=names.SiteName(self.site), view=lambda: view
        )


@contextlib.asynccontextmanager
async def two_servers(
    tmp_path: pathlib.Path, document: model.Document
) -> AsyncIterator[tuple[town.House, Elsewhere, str]]:
    """MIC on c1 with that document active; n1 enrolled, nothing of it running yet."""
    async with (
        town.first_server(tmp_path) as (c1, token),
        c1.running("mic1", mic.MicRole(), MASTER),
        c1.running("ws1", ws.WsRole(), kinds.WsParams()) as first,
    ):
        await town.enrolled(first, token, tmp_path / "n1")
        source = requests.Source(files=(micworld.file(document),))
        await town.ask(first, token, requests.Verb.APPLY, requests.Apply(source=source))
        n1 = Elsewhere(tmp_path / "n1", "n1", town.N1, c1._tasks)
        n1.body = model.canonical(document)
        yield c1, n1, token


async def get(c1: town.House, token: str, path: str) -> int:
    """By the CA that the context pins, at the other server's address."""
    ca = (c1.directory / "identity" / "ca.pem").read_bytes()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"https://{town.N1}:8443{path}", headers=headers, ssl=tls.pinned_client_context(ca)
        ) as response,
    ):
        return response.status


STATUS = "/api/admin/v1/cfg/status"


def healthy(served: ws.WsRole) -> bool:
    return served.report().health is role.Health.HEALTHY


def test_a_web_role_elsewhere_is_certified_by_mic_and_serves_clients_of_the_same_context(
    tmp_path: pathlib.Path,
) -> None:
    async def main() -> None:
        async with (
            two_servers(tmp_path, with_web_role()) as (c1, n1, token),
            n1.running("wsn1", ws.WsRole(), kinds.WsParams(admin=True)) as served,
        ):
            await micworld.until(lambda: healthy(served))
            assert await get(c1, token, STATUS) == 200
            assert await get(c1, "nobody", STATUS) == 401
            key = n1.directory / "state" / "wsn1" / ws_certificate.KEY_FILE
            assert stat.S_IMODE(key.stat().st_mode) == 0o600

    anyio.run(main)


def test_what_it_was_given_is_used_again_when_mic_is_away(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with town.first_server(tmp_path) as (c1, token):
            async with (
                c1.running("mic1", mic.MicRole(), MASTER),
                c1.running("ws1", ws.WsRole(), kinds.WsParams()) as first,
            ):
                await town.enrolled(first, token, tmp_path / "n1")
                source = requests.Source(files=(micworld.file(with_web_role()),))
                await town.ask(first, token, requests.Verb.APPLY, requests.Apply(source=source))
                n1 = Elsewhere(tmp_path / "n1", "n1", town.N1, c1._tasks)
                n1.body = model.canonical(with_web_role())
                async with n1.running("wsn1", ws.WsRole(), kinds.WsParams(admin=True)) as served:
                    await micworld.until(lambda: healthy(served))
            async with n1.running("wsn1", ws.WsRole(), kinds.WsParams(admin=True)) as served:
                assert healthy(served)
                assert served.report().code == "no_coordinator"
                assert await get(c1, token, "/livez") == 200
                assert await get(c1, token, "/readyz") == 503

    anyio.run(main)


def test_without_mic_and_without_a_certificate_it_waits_and_says_for_what(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.tiers.upstream.LINK_WAIT_S", 0.05)

    async def main() -> None:
        async with town.first_server(tmp_path) as (c1, _):
            (c1.directory / "identity" / "authority" / "cluster").unlink()
            async with c1.running("ws1", ws.WsRole(), kinds.WsParams()) as served:
                await micworld.until(lambda: served.report().code == "no_certificate")
                assert served.report().health is role.Health.PROGRESSING

    anyio.run(main)


def test_it_is_renewed_at_half_of_its_life_and_nobody_notices(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws, "LOOK_S", 0.05)

    async def main() -> None:
        async with (
            two_servers(tmp_path, with_web_role()) as (c1, n1, token),
            n1.running("wsn1", ws.WsRole(), kinds.WsParams(admin=True)) as served,
        ):
            await micworld.until(lambda: healthy(served))
            place = n1.directory / "state" / "wsn1" / ws_certificate.CERTIFICATE_FILE
            before = place.read_bytes()
            n1.clock.ahead_s = 200 * DAY_S
            await micworld.until(lambda: place.read_bytes() != before)
            assert await get(c1, token, STATUS) == 200
            n1.clock.ahead_s = 0.0

    anyio.run(main)


def test_away_from_the_master_site_it_administers_only_where_the_role_says_so(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with (
            two_servers(tmp_path, with_web_role(admin=False)) as (c1, n1, token),
            n1.running("wsn1", ws.WsRole(), kinds.WsParams()) as served,
        ):
            await micworld.until(lambda: healthy(served))
            assert await get(c1, token, STATUS) == 404
            assert await get(c1, token, "/api/monitor/v1/system/state") == 200

    anyio.run(main)


def test_what_happens_is_told_over_the_link_of_any_web_role(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with (
            two_servers(tmp_path, with_web_role()) as (c1, n1, token),
            n1.running("wsn1", ws.WsRole(), kinds.WsParams(admin=True)) as served,
        ):
            await micworld.until(lambda: healthy(served))
            link = served._link
            assert link is not None
            ca = (c1.directory / "identity" / "ca.pem").read_bytes()
            headers = {"Authorization": f"Bearer {token}"}
            url = f"https://{town.N1}:8443/api/admin/v1/cfg/events"
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, headers=headers, ssl=tls.pinned_client_context(ca)) as response,
            ):
                with anyio.fail_after(micworld.DEADLINE_S):
                    while await response.content.readline() != b"event: state\n":
                        pass
                    change = builders.bent(
                        lambda plain: plain["sites"]["north"].update(description="told of"), with_web_role()
                    )
                    source = requests.Source(files=(micworld.file(change),))
                    await town.ask(served, token, requests.Verb.APPLY, requests.Apply(source=source))
                    while await response.content.readline() != b"event: revision\n":
                        pass

    anyio.run(main)


def test_mic_certifies_the_addresses_of_the_document_and_nothing_that_is_asked_for(
    tmp_path: pathlib.Path,
) -> None:
    """And it certifies nobody but a ws role that the document places."""

    async def main() -> None:
        async with (
            two_servers(tmp_path, with_web_role()) as (c1, n1, token),
            n1.running("wsn1", ws.WsRole(), kinds.WsParams(admin=True)) as served,
        ):
            await micworld.until(lambda: healthy(served))
            link = served._link
            assert link is not None
            request = certificates.signing_request(certificates.new_key(), "c1").decode()
            code, data = await link.ask(web.CERTIFICATE, msgspec.json.encode(web.Wanted(request)))
            assert code == ""
            issued = x509.load_pem_x509_certificate(
                msgspec.json.decode(data, type=web.Issued).certificate_pem.encode()
            )
            named = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert named.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(town.N1)]
            assert named.get_values_for_type(x509.DNSName) == ["n1", "localhost"]
            for wrong in (b"", b"{}", b'{"request_pem": "x"}', b'{"request_pem": "x", "addresses": []}'):
                assert (await link.ask(web.CERTIFICATE, wrong))[0] == "usage"
            assert (await get(c1, token, STATUS)) == 200

    anyio.run(main)
