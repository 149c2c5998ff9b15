"""The listener of etcd's API: TLS with certificates of the cluster on both ends, and the table of all methods.

A certificate says which machine asks, the token in the metadata on whose behalf. Law: what is not in `ROWS` is
unimplemented.
"""

from collections.abc import Callable
from typing import Any, Final

import grpc
import grpc.aio
import msgspec
from aetcd.rpc import rpc_pb2

from coordinator import errors, limits
from coordinator.api.etcd import about, kv, leases, service, watches
from coordinator.tiers import mic, requests

_V = requests.Verb
_KV, _LEASE, _WATCH = "etcdserverpb.KV", "etcdserverpb.Lease", "etcdserverpb.Watch"
_CLUSTER, _MAINTENANCE, _AUTH = "etcdserverpb.Cluster", "etcdserverpb.Maintenance", "etcdserverpb.Auth"
_Row = service.Row

ROWS: Final[tuple[service.Row, ...]] = (
    _Row(_KV, "Range", rpc_pb2.RangeRequest, rpc_pb2.RangeResponse, _V.KV_GET, kv.range_),
    _Row(_KV, "Put", rpc_pb2.PutRequest, rpc_pb2.PutResponse, _V.KV_PUT, kv.put),
    _Row(_KV, "DeleteRange", rpc_pb2.DeleteRangeRequest, rpc_pb2.DeleteRangeResponse, _V.KV_DELETE, kv.delete_range),
    _Row(_KV, "Txn", rpc_pb2.TxnRequest, rpc_pb2.TxnResponse, _V.KV_TXN, kv.txn),
    _Row(_KV, "Compact", rpc_pb2.CompactionRequest, rpc_pb2.CompactionResponse, _V.KV_TXN, kv.compact),
    _Row(_LEASE, "LeaseGrant", rpc_pb2.LeaseGrantRequest, rpc_pb2.LeaseGrantResponse, _V.KV_GRANT, leases.grant),
    _Row(_LEASE, "LeaseRevoke", rpc_pb2.LeaseRevokeRequest, rpc_pb2.LeaseRevokeResponse, _V.KV_REVOKE, leases.revoke),
    _Row(
        _LEASE, "LeaseKeepAlive", rpc_pb2.LeaseKeepAliveRequest, rpc_pb2.LeaseKeepAliveResponse, _V.KV_KEEPALIVE,
        stream=leases.keep_alive,
    ),
    _Row(
        _LEASE, "LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest, rpc_pb2.LeaseTimeToLiveResponse, _V.KV_LEASES,
        leases.time_to_live,
    ),
    _Row(_LEASE, "LeaseLeases", rpc_pb2.LeaseLeasesRequest, rpc_pb2.LeaseLeasesResponse, _V.KV_LEASES, leases.listed),
    _Row(_WATCH, "Watch", rpc_pb2.WatchRequest, rpc_pb2.WatchResponse, _V.KV_WATCH, stream=watches.watch),
    _Row(_MAINTENANCE, "Status", rpc_pb2.StatusRequest, rpc_pb2.StatusResponse, _V.KV_USAGE, about.status),
    _Row(_CLUSTER, "MemberList", rpc_pb2.MemberListRequest, rpc_pb2.MemberListResponse, _V.KV_USAGE, about.member_list),
    _Row(_AUTH, "Authenticate", rpc_pb2.AuthenticateRequest, rpc_pb2.AuthenticateResponse, None, about.authenticate),
)  # fmt: skip


class Tls(msgspec.Struct, frozen=True):
    """What the listener shows, and whom it believes. PEM."""

    cert: bytes
    key: bytes
    roots: bytes


class _Shown:
    """What was given to gRPC last; it asks from a thread of its own, at every connection."""

    def __init__(self, tls: Callable[[], Tls]) -> None:
        self._tls = tls
        self._last = tls()

    def now(self) -> Any:
        last = self._last
        return grpc.ssl_server_certificate_configuration(
            [(last.key, last.cert)], root_certificates=last.roots
        )

    def changed(self) -> Any:
        """None where it is what it was."""
        given = self._tls()
        if given == self._last:
            return None
        self._last = given
        return self.now()


class Listener:
    """One listening port; made inside the running event loop."""

    def __init__(self, served: mic.Mic) -> None:
        options = (
            ("grpc.max_receive_message_length", 2 * limits.KV_TXN_BYTES),
            ("grpc.max_send_message_length", 2 * limits.KV_ETCD_ANSWER_BYTES),
            ("grpc.max_concurrent_streams", limits.KV_ETCD_STREAMS),
            ("grpc.so_reuseport", 0),
            ("grpc.server_handshake_timeout_ms", int(limits.HELLO_S * 1000)),
            ("grpc.max_allowed_incoming_connections", limits.KV_ETCD_CONNECTIONS),
            ("grpc.max_connection_idle_ms", int(limits.KV_ETCD_IDLE_S * 1000)),
        )
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.KV_ETCD_STREAMS)
        self._server.add_generic_rpc_handlers(service.Service(served).handlers(ROWS))

    async def listen(self, address: str, port: int, tls: Callable[[], Tls]) -> int:
        """The port; every connection is shown, and judged by, what `tls` gives then. Raises `InUseError`."""
        shown = _Shown(tls)
        credentials = grpc.dynamic_ssl_server_credentials(
            shown.now(), shown.changed, require_client_authentication=True
        )
        host = f"[{address}]" if ":" in address else address
        try:
            bound = self._server.add_secure_port(f"{host}:{port}", credentials)
        except RuntimeError as problem:
            raise errors.InUseError(f"cannot listen at {address}:{port} for etcd's API") from problem
        await self._server.start()
        return int(bound)

    async def close(self) -> None:
        """Requests under way have a second."""
        await self._server.stop(1.0)
