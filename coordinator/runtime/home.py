"""What a core role finds on its server: identity, trust, and what the server itself has accepted. Read-only.

The ServerShell writes the ledger while this reads it; its head is replaced at once and its body stays, so a reader sees
one state or the next.
"""

import errno
import ipaddress
from collections.abc import Sequence

import msgspec

from coordinator import effects, errors, names, role
from coordinator.config import topology
from coordinator.hop import credentials, driver, ledger
from coordinator.host import disk, logs, settings
from coordinator.propagation import bodies, events, gates, intake, messages, mirror, publisher, subscriber
from coordinator.trust import authority, signing

RETRY_AFTER_S = (
    0.5  # children of a role that stops come back at once: it, or another, is usually there by then
)

_LOG = logs.Log("runtime")


class Untouched:
    """A directory that somebody else writes: whatever the reader would mend is left as it is."""

    def __init__(self, below: disk.DirectoryDisk) -> None:
        self._below = below

    def read(self, name: str) -> bytes | None:
        return self._below.read(name)

    def names(self, prefix: str = "") -> Sequence[str]:
        return self._below.names(prefix)

    def write(self, name: str, data: bytes) -> None:
        """Not ours to write."""

    def remove(self, name: str) -> None:
        """Not ours to remove."""


class Home(msgspec.Struct, frozen=True):
    """See the module."""

    root: disk.DirectoryDisk
    identity: authority.Identity
    first_trust: bytes
    """Of the identity, from which every newer one is reached."""
    content: mirror.Content
    """Verified; without target where the server has accepted nothing that could be read."""
    body: bytes | None
    """Of the target."""
    own: credentials.Credentials

    def me(self, kind: messages.ChildKind, context: role.Context) -> subscriber.Me:
        return subscriber.Me(self.identity.cluster, kind, context.role, self.identity.server_id)

    def ground(self, context: role.Context) -> driver.Ground:
        """Servers that share one machine dial from their own loopback address."""
        address = context.address
        shared = bool(address) and ipaddress.ip_address(address).is_loopback
        return driver.Ground(context.clock, context.random, self.own, address if shared else None)


def find(context: role.Context) -> Home:
    """Raises `NotFoundError`, `DamagedError`, `SignatureError`."""
    return at(settings.Layout(context.server_directory), context.clock)


def at(layout: settings.Layout, clock: effects.Clock) -> Home:
    """As `find`, of whatever server lives there."""
    root = disk.DirectoryDisk(layout.root)
    identity = authority.Identity.load(root)
    trust = root.read(authority.TRUST_FILE)
    if trust is None:
        raise errors.DamagedError(f"{authority.TRUST_FILE} is missing", hint="enroll this server again")
    content, body = _accepted(layout, root, identity, trust)
    roots = content.trust.content.roots
    own = credentials.Credentials(identity, clock, roots)
    return Home(root, identity, trust, content, body, own)


def _accepted(
    layout: settings.Layout, root: disk.DirectoryDisk, identity: authority.Identity, trust: bytes
) -> tuple[mirror.Content, bytes | None]:
    keyring = signing.Keyring.trusting(trust, identity.cluster)
    stored = {mirror.TRUST_KEY: trust}
    admission = root.read(authority.ADMISSION_FILE)
    if admission is not None:
        stored[mirror.ADMISSION_PREFIX + identity.server_id] = admission
    book = ledger.Ledger(Untouched(disk.DirectoryDisk(layout.ledger)))
    try:
        content = mirror.from_ledger({**stored, **book.load().objects}, keyring)
    except errors.SignatureError as problem:
        _LOG.warning("the server's ledger does not verify", reason=problem.message)
        content = mirror.from_ledger(stored, keyring)
    body = None if content.target is None else book.body(content.digest)
    if body is None or content.record is None:
        return msgspec.structs.replace(content, target=None, record=None), None
    return content, body


def coordinators(home: Home, body: bytes) -> tuple[events.Parent, ...]:
    """Where MIC is by this document; where it names none, by the own admission."""
    if body:
        expanded = gates.Reader().read(bodies.digest_of(body), body)
        assert expanded is not None
        found = topology.coordinator_parents(expanded)
        if found:
            return tuple(events.Parent(one.server, one.address, one.port) for one in found)
    own = home.content.admissions.get(home.identity.server_id)
    seats = () if own is None else own.content.parents
    return tuple(events.Parent(one.server, one.address, one.port) for one in seats)


def check(body: bytes) -> intake.Refusal | None:
    """A relay's own look at a document: it must be readable here."""
    try:
        gates.Reader().read(bodies.digest_of(body), body)
    except (msgspec.MsgspecError, ValueError) as problem:
        return intake.Refusal("invalid_document", str(problem))
    return None


def shelf_of(digest: names.Digest, body: bytes | None) -> bodies.Shelf:
    """One body, if there is one."""
    shelf = bodies.Shelf()
    if body is not None:
        shelf.add(digest, body)
    return shelf


def farewell(below: publisher.Publisher, reason: str) -> tuple[publisher.Output, ...]:
    """Close the links of all children politely; what it means for acks concerns nobody any more."""
    return tuple(
        one for one in below.say_bye(reason, RETRY_AFTER_S) if isinstance(one, events.Send | events.Close)
    )


def refused(problem: errors.TiercastError | OSError, place: str) -> role.RoleRefusedError:
    """Why a role cannot listen, with a constant code."""
    match problem:
        case errors.InUseError() | OSError(errno=errno.EADDRINUSE):
            return role.RoleRefusedError("port_taken", f"{place} is taken by another program")
        case errors.UnreachableError() | OSError(errno=errno.EADDRNOTAVAIL):
            return role.RoleRefusedError("no_address", f"{place} is not an address of this machine")
        case errors.TiercastError():
            return role.RoleRefusedError(problem.code, problem.message)
        case _:
            return role.RoleRefusedError("cannot_listen", f"{place} cannot be opened: {problem.strerror}")
