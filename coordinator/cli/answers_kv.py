"""What the command line reads of the API's answers about the users' keys. Unknown fields are passed over."""

import base64

import msgspec


class Item(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    value: str = ""
    encoding: str = ""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    @property
    def data(self) -> bytes:
        """The value's bytes."""
        return base64.b64decode(self.value) if self.encoding else self.value.encode()

    @property
    def name(self) -> str:
        """The key for people; what is no text shows as it would stand in a program."""
        return base64.b64decode(self.key).decode("utf-8", "backslashreplace") if self.encoding else self.key


class Ranged(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    items: tuple[Item, ...]
    more: bool = False


class Response(msgspec.Struct, frozen=True, kw_only=True):
    op: str
    deleted: int = 0
    items: tuple[Item, ...] = ()


class Done(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    succeeded: bool = True
    responses: tuple[Response, ...] = ()
    repeated: bool = False


class Event(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    item: Item


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    events: tuple[Event, ...] = ()
    reset: bool = False


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    lease: int
    ttl_s: float
    left_s: float
    holder: str = ""


class Leases(msgspec.Struct, frozen=True, kw_only=True):
    leases: tuple[Lease, ...]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    keys: int
    size_bytes: int
    quota_keys: int
    quota_bytes: int
