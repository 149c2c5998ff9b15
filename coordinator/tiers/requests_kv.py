"""What may be asked of the users' own keys, as values: range, transactions, watch, leases.

Names: a key that starts with `/` is written in full, any other stands below `/kv/`. Keys and values are text; with
`encoding: "base64"` those of a request are base64, and an answer's item that is not UTF-8 says the same of itself.
"""

from typing import Literal

import msgspec

Encoding = Literal["", "base64"]


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    encoding: Encoding = ""


class Range(_Asked, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One key, or with `prefix` every key that starts with it; an empty key with `prefix` is all of `/kv/`."""

    key: str = ""
    prefix: bool = False
    after: str = ""
    """Only keys greater than this one: the last of the page before."""
    limit: int = 0
    revision: int = 0
    """As of this revision of the store; 0: now."""
    keys_only: bool = False


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it stands, or stood."""

    key: str
    value: str = ""
    encoding: Encoding = ""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class Ranged(msgspec.Struct, frozen=True, kw_only=True):
    """Keys in order as of `revision`; `more`: ask again with `after` and this revision."""

    revision: int
    items: tuple[Item, ...]
    more: bool = False


class _Change(_Asked, frozen=True, forbid_unknown_fields=True, kw_only=True):
    request: str = ""
    """Sent again under the same id it is done once, for ten minutes; empty: it is never known again."""


class Put(_Change, frozen=True, forbid_unknown_fields=True, kw_only=True):
    key: str
    value: str = ""
    lease: int = 0


class Delete(_Change, frozen=True, forbid_unknown_fields=True, kw_only=True):
    key: str
    prefix: bool = False


class Compare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One condition; an absent key has version 0 and no value."""

    key: str
    target: Literal["version", "create", "mod", "lease", "value"] = "version"
    relation: Literal["=", "!=", "<", ">"] = "="
    number: int = 0
    value: str = ""


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the fields of `Put`, `Delete` or `Range`, as `op` says."""

    op: Literal["put", "delete", "get"]
    key: str
    value: str = ""
    lease: int = 0
    prefix: bool = False
    limit: int = 0


class Txn(_Change, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """If every condition holds, `success` is done, else `failure`; all of it at one revision, or nothing."""

    compare: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """Of one operation, in their order."""

    op: Literal["put", "delete", "get"]
    deleted: int = 0
    items: tuple[Item, ...] = ()
    more: bool = False


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """`repeated`: the same request had been done before; its outcome stands here, its responses are not kept."""

    revision: int
    succeeded: bool = True
    responses: tuple[Response, ...] = ()
    repeated: bool = False


class Watch(_Asked, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Changes at or after `revision` (0: those after now), as soon as there is one, or after `wait_s`."""

    key: str = ""
    prefix: bool = False
    revision: int = 0
    wait_s: float = 0.0


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A change; of a deletion the item carries the key and the revision."""

    type: Literal["put", "delete"]
    item: Item


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """Complete up to `revision`: ask again with `revision + 1`.

    `reset`: the changes cannot be told one by one any more (compacted); read the keys again, as of `revision` or later.
    """

    revision: int
    events: tuple[Event, ...] = ()
    reset: bool = False


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    ttl_s: float


class LeaseAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    lease: int


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """`left_s` counts from the last renewal that this MIC saw; the lease never ends earlier."""

    lease: int
    ttl_s: float
    left_s: float
    holder: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A lease is over, and so are its keys."""

    lease: int


class Leases(msgspec.Struct, frozen=True, kw_only=True):
    leases: tuple[Lease, ...]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing more is said."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Of everything below `/kv/`."""

    revision: int
    keys: int
    size_bytes: int
    quota_keys: int
    quota_bytes: int
