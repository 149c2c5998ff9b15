"""etcd's `Maintenance.Status`, `Cluster.MemberList` and `Auth.Authenticate`: what clients ask before they begin."""

from typing import Any, Final

from aetcd.rpc import rpc_pb2

from coordinator import errors
from coordinator.api.etcd import service
from coordinator.domains import people

VERSION: Final = "3.4.0"
"""Of the API that is spoken here; clients choose what they dare to ask by it."""


async def status(asked: service.Asked) -> Any:
    """The active MIC is the one member that clients see, and its leader."""
    now = await asked.at.store.status()
    header = await service.header(asked.at, rpc_pb2.ResponseHeader)
    return rpc_pb2.StatusResponse(
        header=header,
        version=VERSION,
        dbSize=now.size_bytes,
        dbSizeInUse=now.size_bytes,
        leader=header.member_id,
        raftIndex=now.committed,
        raftAppliedIndex=now.applied,
        raftTerm=now.term,
    )


async def member_list(asked: service.Asked) -> Any:
    header = await service.header(asked.at, rpc_pb2.ResponseHeader)
    member = rpc_pb2.Member(ID=header.member_id, name=asked.at.means.server)
    return rpc_pb2.MemberListResponse(header=header, members=[member])


async def authenticate(asked: service.Asked) -> Any:
    """The password is an API token (`tiercast admin token create`) of whoever is named; it is the token from then on.

    Raises `UnauthenticatedError`.
    """
    at, request = asked.at, asked.request
    person = await people.whose(at.store, request.password, at.clock.wall(), at.fallback)
    if request.name not in {person.name, person.called(at.master_domain)}:
        raise errors.UnauthenticatedError("this token is somebody else's")
    header = await service.header(at, rpc_pb2.ResponseHeader)
    return rpc_pb2.AuthenticateResponse(header=header, token=request.password)
