"""etcd's `Lease` service over the users' leases. Ids are the store's to give."""

from collections.abc import AsyncIterator
from typing import Any

from aetcd.rpc import rpc_pb2

from coordinator import errors
from coordinator.api.etcd import refusals, service, spans
from coordinator.tiers import desk, keys, kv, kv_leases, requests_kv


async def grant(asked: service.Asked) -> Any:
    if asked.request.ID:
        raise refusals.unsupported("a lease id of the client's choice")
    made = await kv_leases.grant(asked.at, asked.caller, requests_kv.Grant(ttl_s=float(asked.request.TTL)))
    header = await service.header(asked.at, rpc_pb2.ResponseHeader)
    return rpc_pb2.LeaseGrantResponse(header=header, ID=made.lease, TTL=int(made.ttl_s))


async def revoke(asked: service.Asked) -> Any:
    await kv_leases.revoke(asked.at, asked.caller, requests_kv.LeaseAsked(lease=asked.request.ID))
    return rpc_pb2.LeaseRevokeResponse(header=await service.header(asked.at, rpc_pb2.ResponseHeader))


async def keep_alive(
    at: desk.Desk, caller: desk.Caller, asked: AsyncIterator[Any], write: service.Write
) -> None:
    """One answer for each request; a lease that is over is answered with no time left, as etcd does."""
    async for one in asked:
        try:
            kept = await kv_leases.keep_alive(at, caller, requests_kv.LeaseAsked(lease=one.ID))
            left = int(kept.ttl_s)
        except errors.NotFoundError:
            left = 0
        header = await service.header(at, rpc_pb2.ResponseHeader)
        await write(rpc_pb2.LeaseKeepAliveResponse(header=header, ID=one.ID, TTL=left))


async def time_to_live(asked: service.Asked) -> Any:
    held = await kv_leases.listed(asked.at, asked.caller, requests_kv.Nothing())
    found = next((one for one in held.leases if one.lease == asked.request.ID), None)
    header = await service.header(asked.at, rpc_pb2.ResponseHeader)
    if found is None:
        return rpc_pb2.LeaseTimeToLiveResponse(header=header, ID=asked.request.ID, TTL=-1)
    names = []
    if asked.request.keys:
        access = kv.Access(asked.at, asked.caller)
        access.rights.may_read(keys.KV)
        items = (await asked.at.store.scan(keys.KV)).items
        access.charge(len(items))
        names = [spans.shown(item.key) for item in items if item.lease == found.lease]
    return rpc_pb2.LeaseTimeToLiveResponse(
        header=header, ID=found.lease, TTL=int(found.left_s), grantedTTL=int(found.ttl_s), keys=names
    )


async def listed(asked: service.Asked) -> Any:
    held = await kv_leases.listed(asked.at, asked.caller, requests_kv.Nothing())
    return rpc_pb2.LeaseLeasesResponse(
        header=await service.header(asked.at, rpc_pb2.ResponseHeader),
        leases=[rpc_pb2.LeaseStatus(ID=one.lease) for one in held.leases],
    )
