"""What stands where in etcd: one system below one prefix, and each of its histories below a root of its own.

Pure. `<prefix>/guard` says whose the prefix is and which root is in force; below a root stand the keys of the store's
users (`data`, followed by the key as it is), the sessions of request ids, what was done under them, and large values.
Law: `key(data(k)) == k`; nothing of ours begins with `data` but the users' keys.
"""

from typing import Final

import msgspec

from coordinator import names
from coordinator.store import commands

FORMAT: Final = 1
_DATA: Final = b"data"


class Guard(msgspec.Struct, frozen=True):
    """As JSON, so that whoever meets it with etcdctl can read it."""

    format: int
    cluster: names.ClusterId
    root: str


def guard(prefix: str) -> bytes:
    return prefix.encode() + b"/guard"


def everything(prefix: str) -> tuple[bytes, bytes]:
    """The range of all keys of a system."""
    start = prefix.encode() + b"/"
    return start, commands.prefix_end(start)


class Root:
    """The keys of one history."""

    def __init__(self, prefix: str, token: str) -> None:
        self.all = f"{prefix}/{token}/".encode()
        self._data = self.all + _DATA
        self._end = commands.prefix_end(self._data)

    def data(self, key: bytes) -> bytes:
        return self._data + key

    def key(self, full: bytes) -> bytes:
        return full[len(self._data) :]

    def end(self, end: bytes) -> bytes:
        """Of a range; where ours reaches over all keys, etcd's must stop behind the last of ours."""
        return self._end if not end or end >= commands.EVERY_KEY_END else self._data + end

    def session(self, session: int) -> bytes:
        return self.all + b"sessions/%016x" % session

    @property
    def sessions(self) -> bytes:
        return self.all + b"sessions/"

    def request(self, session: int, number: int) -> bytes:
        return self.all + b"requests/%016x/%016x" % (session, number)

    def requests(self, session: int) -> bytes:
        return self.all + b"requests/%016x/" % session

    def piece(self, group: bytes, number: int) -> bytes:
        return self.large(group) + b"%04x" % number

    def large(self, group: bytes) -> bytes:
        """Prefix of the pieces of a group."""
        return self.all + b"large/" + group.hex().encode() + b"/"

    def holders(self, group: bytes) -> bytes:
        """Which keys were put with values in that group."""
        return self.holding + group.hex().encode()

    @property
    def holding(self) -> bytes:
        return self.all + b"holders/"
