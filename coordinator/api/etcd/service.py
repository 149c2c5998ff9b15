"""One request of etcd's API: on whose behalf it is made, and the table of all methods with the right that each needs.

Law: a method without a row is unimplemented, and one with a row is not begun before its caller is known and allowed.
"""

import functools
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import anyio
import grpc
import msgspec

from coordinator import errors, names
from coordinator.api.etcd import refusals
from coordinator.host import logs
from coordinator.propagation import objects
from coordinator.store import port
from coordinator.tiers import desk, mic, requests
from coordinator.trust import certificates, peers, tls

TOKEN = "token"  # noqa: S105 the name of the metadata in which etcd's clients show it
CERTIFICATE = "x509_pem_cert"
_LOG = logs.Log("etcd_api")


class Asked(msgspec.Struct, frozen=True):
    """A request whose caller may make it."""

    at: desk.Desk
    caller: desk.Caller
    request: Any
    """As the client sent it."""


_Answer = TypeVar("_Answer")
Unary = Callable[[Asked], Awaitable[Any]]
Write = Callable[[Any], Awaitable[None]]
Stream = Callable[[desk.Desk, desk.Caller, AsyncIterator[Any], Write], Awaitable[None]]


class Row(msgspec.Struct, frozen=True):
    """Of one method. `verb` says which permission it needs; None: it only proves who somebody is."""

    service: str
    method: str
    takes: Any
    gives: Any
    verb: requests.Verb | None
    unary: Unary | None = None
    stream: Stream | None = None


class Service:
    """Rows as handlers of gRPC."""

    def __init__(self, served: mic.Mic) -> None:
        self._mic = served
        self._peers: dict[bytes, peers.PeerIdentity] = {}

    def handlers(self, rows: tuple[Row, ...]) -> tuple[Any, ...]:
        """One generic handler for each service."""
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            found.setdefault(row.service, {})[row.method] = self._handler(row)
        return tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in found.items())

    def _handler(self, row: Row) -> Any:
        wires = {
            "request_deserializer": row.takes.FromString,
            "response_serializer": row.gives.SerializeToString,
        }
        if row.stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._streaming(row, row.stream), **wires)
        assert row.unary is not None, "a row is one or the other"
        return grpc.unary_unary_rpc_method_handler(self._unary(row, row.unary), **wires)

    def _unary(self, row: Row, act: Unary) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: Any) -> Any:
            try:
                return await self._allowed(row, context, lambda at, caller: act(Asked(at, caller, request)))
            except errors.TiercastError as error:
                await context.abort(*refusals.said(error))
            except Exception:
                _LOG.crashed("request failed", method=row.method)
                raise

        return answer

    def _streaming(self, row: Row, act: Stream) -> Callable[[Any, Any], Awaitable[None]]:
        async def answer(requests_of: Any, context: Any) -> None:
            try:
                at, caller = await self._allowed(row, context, _known)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._still, row, context)
                    await act(at, caller, aiter(requests_of), context.write)
                    tasks.cancel_scope.cancel()
            except errors.TiercastError as error:
                await context.abort(*refusals.said(error))
            except BaseExceptionGroup as several:
                problem = _first(several)
                if not isinstance(problem, errors.TiercastError):
                    _LOG.crashed("stream failed", method=row.method)
                    raise problem from several
                await context.abort(*refusals.said(problem))

        return answer

    async def _still(self, row: Row, context: Any) -> None:
        """A stream lives for days, and the right to it may end meanwhile. Raises why it has."""
        while True:
            await anyio.sleep(AGAIN_S)
            try:
                await self._allowed(row, context, _known)
            except (errors.UnauthenticatedError, errors.NotAllowedError, errors.IdentityError):
                raise
            except errors.TiercastError:
                continue  # of a moment, such as no quorum

    async def _allowed(
        self,
        row: Row,
        context: Any,
        act: Callable[[desk.Desk, desk.Caller], Awaitable[_Answer]],
    ) -> _Answer:
        """Raises `UnauthenticatedError`, `IdentityError`, `NotAllowedError`, and what `act` raises."""
        self._check_machine(context)
        metadata = {key: value for key, value in context.invocation_metadata() if key == TOKEN}
        if row.verb is None:
            return await act(self._mic.at, desk.Caller("", context.peer(), row.method, ""))
        call = requests.Call(str(metadata.get(TOKEN, "")), context.peer(), "", b"")
        return await self._mic.on_behalf(call, row.verb, act)

    def _check_machine(self, context: Any) -> None:
        """The certificate's chain was checked by TLS; whether its server still belongs here is checked for each request."""
        at = self._mic.at
        pems = context.auth_context().get(CERTIFICATE, ())
        pem = pems[0] if pems else b""
        if pem not in self._peers:
            if len(self._peers) >= PEERS_KNOWN:
                self._peers.clear()
            self._peers[pem] = tls.identified_pem(pem, at.means.cluster, at.clock.wall())
        content, shown = at.past.content, self._peers[pem]
        server, own = shown.server_id, content.admissions.get(shown.server_id)
        known = own is not None and own.content.state is not objects.AdmissionState.EXPELLED
        if own is None or not known or server in content.trust.content.revoked:
            raise errors.NotAllowedError(f"this machine does not belong here (server {server})")
        if not own.content.names_key(shown.key):
            raise errors.NotAllowedError(f"another key than the server's admission names (server {server})")
        if shown.issuer not in _issuers(content.trust.content.roots):
            raise errors.NotAllowedError(f"the certificate is of a CA that counts no more (server {server})")


@functools.lru_cache(maxsize=4)
def _issuers(roots: tuple[bytes, ...]) -> frozenset[str]:
    """Every certificate was issued by this MIC or one before it, so there is none of a CA that it has not heard of."""
    return frozenset(certificates.authority_id(root) for root in roots)


PEERS_KNOWN = 4096
AGAIN_S = 5.0  # how long at most a stream outlives the right to it


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of errors in groups of groups."""
    found: BaseException = several
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


async def _known(at: desk.Desk, caller: desk.Caller) -> tuple[desk.Desk, desk.Caller]:
    return at, caller


def cluster_number(cluster: names.ClusterId) -> int:
    """Clusters and members of etcd have numbers."""
    return int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:7], "big")


async def header(at: desk.Desk, make: Any, revision: int = 0) -> Any:
    """Of every answer; `revision` 0: the store's present one."""
    status: port.StoreStatus = await at.store.status()
    return make(
        cluster_id=cluster_number(at.means.cluster),
        member_id=cluster_number(names.ClusterId(at.means.server_id)),
        revision=revision or status.revision,
        raft_term=status.term,
    )
