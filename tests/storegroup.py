"""A group of store members on loopback addresses, each with its own directory, certificate and port."""

import asyncio  # noqa: TID251 the backends are asyncio's
import pathlib
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence

import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID

from bench import ports
from coordinator import errors, names
from coordinator.store import commands
from coordinator.store.backends import raft
from coordinator.store.backends.raft import transport
from tests import storedisk, storewriter

CLUSTER = names.ClusterId("c1")
MEMBERS = ("m1", "m2", "m3")


def identify(certificate: bytes) -> str:
    """The member in a certificate: its common name."""
    subject = x509.load_der_x509_certificate(certificate).subject
    found = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not found:
        raise errors.IdentityError("a certificate without a name")
    return str(found[0].value)


def contexts(authority: trustme.CA, member: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For serving and for dialling as this member."""
    certificate = authority.issue_cert("127.0.0.1", common_name=member)
    both = []
    for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(kind)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        certificate.configure_cert(context)
        authority.configure_trust(context)
        both.append(context)
    return both[0], both[1]


class Group:
    """Members that are opened and closed one by one."""

    def __init__(self, base: pathlib.Path, members: Sequence[str] = MEMBERS) -> None:
        self.base = base
        self.members = tuple(members)
        self.authority = trustme.CA()
        self.addresses = {name: ("127.0.0.1", ports.free()) for name in members}
        self.stores: dict[str, raft.RaftStore] = {}
        self.stops: list[BaseException] = []

    async def make(self, snapshot_file: pathlib.Path | None = None) -> None:
        for name in self.members:
            identity = raft.Identity(CLUSTER, name, self.members)
            source = storedisk.SeededRandom(time.monotonic_ns())
            await raft.create_member(self.base / name, identity, source, snapshot_file)

    def links(self, name: str, authority: trustme.CA | None = None) -> transport.Group:
        server, client = contexts(authority or self.authority, name)
        return raft.Group(self.addresses, lambda: server, lambda: client, identify)

    async def open(self, *names_: str) -> None:
        for name in names_ or self.members:
            self.stores[name] = await raft.open_store(
                self.base / name,
                cluster=CLUSTER,
                clock=storewriter.RealClock(),
                random=storedisk.SeededRandom(time.monotonic_ns()),
                create=False,
                group=self.links(name),
                halt=self.stops.append,
            )

    async def close(self, *names_: str) -> None:
        for name in names_ or tuple(self.stores):
            await self.stores.pop(name).close()

    async def leader(self) -> str:
        """The member that leads, once one does and all open ones know."""
        found: set[str | None] = set()

        async def agreed() -> bool:
            found.clear()
            found.update([(await store.status()).leader for store in self.stores.values()])
            return len(found) == 1 and found <= set(self.stores)

        await until(agreed)
        name = found.pop()
        assert name is not None
        return name

    async def risen(self) -> None:
        """Return once all that are open have the newest feature level."""

        async def newest() -> bool:
            return all(store._state.level == commands.LEVEL for store in self.stores.values())

        await until(newest)

    async def put(self, name: str, key: str, value: bytes = b"") -> int:
        txn = commands.Txn(success=(commands.put(key.encode(), value),))
        return (await self.stores[name].commit(txn)).revision


async def until(condition: Callable[[], Awaitable[bool]], limit_s: float = 60.0) -> None:
    """Wait for it, at most so long."""
    deadline = time.monotonic() + limit_s
    while not await condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)
