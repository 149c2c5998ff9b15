"""The endpoints of one cluster: which one is asked next, and what must be known of it before it is asked anything.

It sends single requests and repeats none. Laws: a member of another cluster, or of a version that is refused, is never
asked for more than its status; a member that failed is looked at again before it is used.
"""

import asyncio
import io
import os
import ssl
from typing import Final, TypeVar

import aiohttp
import msgspec

from coordinator import effects, errors
from coordinator.store.backends.etcd import access, messages, refusals

LOOKED_S: Final = 1.0  # a look at a member serves everybody who asks for one meanwhile

A = TypeVar("A")
_REFUSAL: Final = msgspec.json.Decoder(messages.Refusal, strict=False)


class NotSentError(Exception):
    """There was no connection: nothing can have been done."""

    def __init__(self, error: errors.TiercastError) -> None:
        super().__init__(error.message)
        self.error = error


class UnansweredError(Exception):
    """It was sent, and no answer came."""

    def __init__(self, error: errors.TiercastError) -> None:
        super().__init__(error.message)
        self.error = error


class RefusedError(Exception):
    """etcd refuses."""

    def __init__(self, refusal: messages.Refusal, endpoint: str) -> None:
        super().__init__(refusal.message)
        self.fate = refusals.judge(refusal).fate
        self.error = refusals.error(refusal, endpoint)


class Member:
    """One endpoint."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.known = False
        """It was looked at since it last failed."""
        self.looked: tuple[float, messages.Status] | None = None
        self.looking = asyncio.Lock()


class Members:
    """All endpoints and the connections to them."""

    def __init__(self, used: access.Access, clock: effects.Clock) -> None:
        self._access = used
        self._clock = clock
        self._all = [Member(endpoint) for endpoint in used.address.endpoints]
        self._at = 0
        self._session: aiohttp.ClientSession | None = None
        self._tls = _context(used.ca_pem) if used.ca_pem else None
        self.cluster = 0
        """Of the first member that ever answered; the others must be of the same."""

    def __len__(self) -> int:
        return len(self._all)

    @property
    def now(self) -> Member:
        """Whom to ask."""
        return self._all[self._at]

    def failed(self, member: Member) -> None:
        """Look at it again before it is used, and ask the next one meanwhile."""
        member.known, member.looked = False, None
        if member is self.now:
            self._at = (self._at + 1) % len(self._all)

    async def ask(
        self,
        member: Member,
        path: str,
        body: bytes,
        answer: type[A],
        *,
        headers: dict[str, str],
        limit_s: float,
    ) -> A:
        """One request, sent once; `limit_s` is how long it may be silent.

        Raises `NotSentError`, `UnansweredError`, `RefusedError` of this module.
        """
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(limit_s) as patience:
                response = await self.post(member, path, body, headers, connect_s=limit_s)
                async with response:
                    data = bytearray()
                    async for part in response.content.iter_any():
                        data += part
                        patience.reschedule(
                            now() + limit_s
                        )  # a long answer over a slow line is one all the same
        except TimeoutError:
            raise UnansweredError(_silent(member, limit_s)) from None
        except aiohttp.ClientError as wrong:
            raise UnansweredError(
                errors.NoQuorumError(f"etcd at {member.endpoint} broke off: {wrong}")
            ) from None
        return _decoded(member, response.status, data, answer)

    async def post(
        self, member: Member, path: str, body: bytes, headers: dict[str, str], *, connect_s: float
    ) -> aiohttp.ClientResponse:
        """Send it and wait for the first of the answer. Raises `NotSentError`, `aiohttp.ClientError`, `TimeoutError`."""
        url = f"{self._access.scheme}://{member.endpoint}{path}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s * 0.9)
        try:
            return await self._connected().post(
                url,
                data=io.BytesIO(body),
                headers=headers,
                timeout=timeout,
                ssl=self._tls or False,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorCertificateError as wrong:
            told = f"the certificate of etcd at {member.endpoint} is not of the authority that was named"
            raise NotSentError(
                errors.IdentityError(f"{told}: {wrong.certificate_error}", hint="see --store-ca")
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as wrong:
            told = f"etcd at {member.endpoint} cannot be reached"
            raise NotSentError(errors.NoQuorumError(f"{told}: {_reason(wrong)}")) from None

    async def look(self, member: Member, limit_s: float, old_s: float = LOOKED_S) -> messages.Status:
        """Who it is, as of at most `old_s` ago. Raises `IdentityError`, `RefusedError` of `coordinator.errors`, and what `ask` raises."""
        async with member.looking:
            now = self._clock.monotonic()
            if member.looked is not None and now - member.looked[0] < old_s:
                return member.looked[1]
            found = await self.ask(
                member, messages.STATUS, b"{}", messages.Status, headers={}, limit_s=limit_s
            )
            access.check_version(found.version, member.endpoint)
            self._check_cluster(member, found.header.cluster_id)
            member.known, member.looked = True, (now, found)
            return found

    def _check_cluster(self, member: Member, cluster: int) -> None:
        self.cluster = self.cluster or cluster
        if cluster != self.cluster:
            raise errors.IdentityError(
                f"etcd at {member.endpoint} is of another cluster (got {cluster:x}, have {self.cluster:x})",
                hint="was it begun anew? the endpoints of one store are members of one cluster",
            )

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0
            )  # a watch holds one; requests are bounded by their callers
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _decoded(member: Member, status: int, data: bytearray, answer: type[A]) -> A:
    try:
        if status == 200:
            return msgspec.json.decode(data, type=answer, strict=False)
        refusal = _REFUSAL.decode(data)
    except msgspec.MsgspecError:
        refusal = messages.Refusal(2, f"it does not speak etcd's JSON (HTTP {status})")
    raise RefusedError(refusal, member.endpoint)


def _context(ca_pem: str) -> ssl.SSLContext:
    """Of this one root and no other, host name or address checked. Raises `UsageError`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as wrong:
        raise errors.UsageError("the CA file of the store holds no certificate in PEM") from wrong
    return made


def _silent(member: Member, limit_s: float) -> errors.NoQuorumError:
    return errors.NoQuorumError(f"etcd at {member.endpoint} has not answered within {limit_s:.1f} s")


def _reason(wrong: Exception) -> str:
    below = getattr(wrong, "os_error", None)
    if isinstance(below, OSError) and below.errno is not None and below.errno > 0:
        return os.strerror(below.errno).lower()  # its own text repeats the address in Python's words
    if isinstance(wrong, TimeoutError):
        return "no connection in time"
    return str(getattr(below, "strerror", None) or wrong).lower()
