"""The language of etcd's JSON gateway, as far as we speak it: bytes in base64, numbers as text, absent means zero.

Pure. Law: what it does not know of an answer it ignores, for a newer etcd says more.
"""

from typing import Any, Final

import msgspec

RANGE: Final = "/v3/kv/range"
TXN: Final = "/v3/kv/txn"
COMPACT: Final = "/v3/kv/compaction"
GRANT: Final = "/v3/lease/grant"
REVOKE: Final = "/v3/lease/revoke"
LEASED: Final = "/v3/lease/timetolive"
KEEP_ALIVE: Final = "/v3/lease/keepalive"
WATCH: Final = "/v3/watch"
STATUS: Final = "/v3/maintenance/status"
MEMBERS: Final = "/v3/cluster/member/list"
LOGIN: Final = "/v3/auth/authenticate"

Message = dict[str, Any]
"""A request before it is encoded; every value in it is text, a number, bytes, a list or another one of these."""


class Header(msgspec.Struct, frozen=True):
    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0


class Item(msgspec.Struct, frozen=True):
    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class Answer(msgspec.Struct, frozen=True):
    """Of anything of which nothing else is needed."""

    header: Header = Header()


class Range(msgspec.Struct, frozen=True):
    header: Header = Header()
    kvs: tuple[Item, ...] = ()
    more: bool = False
    count: int = 0


class Deleted(msgspec.Struct, frozen=True):
    deleted: int = 0


class Done(msgspec.Struct, frozen=True):
    """One operation of a transaction; what is not None says which."""

    response_range: Range | None = None
    response_delete_range: Deleted | None = None
    response_txn: "Txn | None" = None


class Txn(msgspec.Struct, frozen=True):
    header: Header = Header()
    succeeded: bool = False
    responses: tuple[Done, ...] = ()


class Lease(msgspec.Struct, frozen=True):
    header: Header = Header()
    ID: int = 0  # the gateway's own spelling
    TTL: int = 0


class Leased(msgspec.Struct, frozen=True):
    """What stands under a lease; TTL is below 0 where there is none."""

    header: Header = Header()
    TTL: int = 0
    keys: tuple[bytes, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    """A stream of one."""

    result: Lease = Lease()


class Status(msgspec.Struct, frozen=True, rename="camel"):
    header: Header = Header()
    version: str = ""
    leader: int = 0
    raft_index: int = 0
    raft_term: int = 0
    raft_applied_index: int = 0
    db_size: int = 0
    db_size_in_use: int = 0
    errors: tuple[str, ...] = ()


class Member(msgspec.Struct, frozen=True):
    ID: int = 0
    name: str = ""
    clientURLs: tuple[str, ...] = ()  # noqa: N815 the gateway's own spelling


class Members(msgspec.Struct, frozen=True):
    header: Header = Header()
    members: tuple[Member, ...] = ()


class Login(msgspec.Struct, frozen=True):
    token: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """What comes instead of an answer."""

    code: int = 0
    message: str = ""
    error: str = ""


class Change(msgspec.Struct, frozen=True):
    kv: Item = Item()
    type: str = "PUT"


class Watched(msgspec.Struct, frozen=True):
    header: Header = Header()
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    fragment: bool = False
    events: tuple[Change, ...] = ()


class StreamRefusal(msgspec.Struct, frozen=True):
    grpc_code: int = 0
    message: str = ""


class WatchLine(msgspec.Struct, frozen=True):
    """One line of a watch's stream."""

    result: Watched | None = None
    error: StreamRefusal | None = None


def encode(message: Message) -> bytes:
    return msgspec.json.encode(message)


_WATCH_LINE = msgspec.json.Decoder(WatchLine, strict=False)


def watch_line(line: bytes) -> WatchLine:
    """Raises `msgspec.MsgspecError`."""
    return _WATCH_LINE.decode(line)
