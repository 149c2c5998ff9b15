"""Where an etcd cluster is, who we are there, and which versions of it may be trusted with anything.

Pure. Law: a password is never shown, and never sent in clear to another machine.
"""

import ipaddress
import re
from typing import Final
from urllib import parse

import msgspec

from coordinator import errors

SCHEME: Final = "etcd"
PORT: Final = 2379
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]{1,64}){1,8}")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_NEWEST_BROKEN: Final = (3, 5, 5)  # its line can corrupt data in a crash, up to and with this one
_OLDEST_34: Final = (3, 4, 22)  # the first of its line with the fixes that were found with those


class Address(msgspec.Struct, frozen=True):
    """`etcd://host:port[,host:port]/prefix`."""

    endpoints: tuple[str, ...]
    """host:port each; they are asked in this order."""
    prefix: str
    """All keys of one system stand below it; begins with a slash and ends without one."""

    def __str__(self) -> str:
        return f"{SCHEME}://{','.join(self.endpoints)}{self.prefix}"


class Access(msgspec.Struct, frozen=True):
    """An address, and what is needed to be let in there."""

    address: Address
    ca_pem: str = ""
    """Of the authority that signed etcd's certificates; with it every connection is TLS."""
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Access({self.address}, {'TLS' if self.ca_pem else 'clear'}, user {self.user or 'none'})"

    @property
    def scheme(self) -> str:
        return "https" if self.ca_pem else "http"


def parse_address(text: str) -> Address:
    """Raises `UsageError`."""
    hint = "an address looks like etcd://10.1.0.1:2379,10.1.0.2:2379/tiercast"
    split = parse.urlsplit(text)
    if split.scheme != SCHEME or "@" in split.netloc or any(one in text for one in "?# "):
        raise errors.UsageError(f"this is no address of an etcd cluster (got {text[:200]!r})", hint=hint)
    endpoints = tuple(_endpoint(word, hint) for word in split.netloc.split(","))
    if len(set(endpoints)) != len(endpoints):
        raise errors.UsageError(f"an endpoint is named twice (got {split.netloc[:200]!r})", hint=hint)
    prefix = split.path.removesuffix("/")
    if ".." in prefix or not _PREFIX.fullmatch(prefix):
        raise errors.UsageError(
            f"the keys need a prefix of plain words (got {split.path[:200]!r})",
            hint=f"{hint}; every system has a prefix of its own",
        )
    return Address(endpoints, prefix)


def parse_user(text: str) -> tuple[str, str]:
    """User and password of a file's first line, `user:password`. Raises `UsageError`, which shows neither."""
    user, colon, password = text.split("\n", 1)[0].rstrip("\r").partition(":")
    if not user or not colon or not password:
        raise errors.UsageError("the user file holds no `user:password` in its first line")
    return user, password


def check(access: Access) -> Access:
    """Raises `UsageError` where a password would cross a network in clear."""
    clear = [one for one in access.address.endpoints if not _is_here(one)]
    if access.user and not access.ca_pem and clear:
        raise errors.UsageError(
            f"the password of {access.user} would be sent in clear to {clear[0]}",
            hint="let etcd serve TLS and name its authority with --store-ca",
        )
    return access


def check_version(version: str, endpoint: str) -> None:
    """Raises `RefusedError` for versions of etcd that may lose what they acknowledged."""
    found = _VERSION.match(version)
    parts = tuple(int(part) for part in found.groups()) if found else (0, 0, 0)
    good = parts >= _OLDEST_34 if parts < (3, 5, 0) else parts > _NEWEST_BROKEN
    if not good:
        raise errors.RefusedError(
            f"etcd at {endpoint} is of a version that is not used (got {version or 'none'}, "
            f"have 3.4.22 and newer, 3.5.6 and newer)",
            hint="3.5.0 to 3.5.5 can corrupt data after a crash; upgrade etcd first",
        )


def _endpoint(word: str, hint: str) -> str:
    host, port = _host_and_port(word.strip())
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise errors.UsageError(f"this is no host and port (got {word[:100]!r})", hint=hint)
    return f"{host}:{int(port)}"


def _host_and_port(word: str) -> tuple[str, str]:
    if word.startswith("["):
        host, _bracket, rest = word.partition("]")
        return f"{host}]", rest.removeprefix(":") or str(PORT)
    host, _colon, port = word.partition(":")
    return host, port or str(PORT)


def _is_here(endpoint: str) -> bool:
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
