"""What the core roles of a server hold of keys, kept up to date without a restart: certificate, roots, the authority.

The ServerShell writes identity and ledger, another process: the files are looked at, and read anew when they have changed.
Law: a newer authority is durable on this machine before anything is done with it; an older one never takes its place.
"""

import contextlib
from collections.abc import Callable

import anyio
import anyio.to_thread
import msgspec

from coordinator import effects, errors
from coordinator.config import kinds, topology
from coordinator.hop import ledger
from coordinator.host import disk, logs, settings
from coordinator.propagation import mirror
from coordinator.runtime import home
from coordinator.store import membership, port
from coordinator.tiers import asking, desk, keys, rotating, upstream
from coordinator.trust import authority, certificates, sealing, signing

LOOK_S = 1.0
PIN_S = 2.0  # sooner than a server that changed its key says that it uses it

_LOG = logs.Log("runtime")
_UNOPENED: set[int] = set()


class Papers(msgspec.Struct, frozen=True):
    """What the server holds now."""

    identity: authority.Identity
    trust: mirror.SignedTrust
    admission: bytes
    """Its own, as signed; empty where there is none."""
    returned: bool = False
    """The certificate before this one had run out, or is of an older CA: links that it opened have few rights, or soon none."""


def _nobody(_held: Papers) -> None:
    """Most roles hear of trust by their own link."""


async def follow(here: home.Home, layout: settings.Layout, told: Callable[[Papers], None] = _nobody) -> None:
    """Until cancelled: whatever changes is shown at the next handshake, and `told`."""
    seen: object = None
    while True:
        marks = await anyio.to_thread.run_sync(_marks, layout)
        if marks != seen:
            with contextlib.suppress(OSError, errors.TiercastError):  # being written: looked at again
                held = await anyio.to_thread.run_sync(read, layout)
                seen = marks
                if here.own.identity != held.identity:
                    returned = here.own.expired or here.own.identity.ca_pem != held.identity.ca_pem
                    held = msgspec.structs.replace(held, returned=returned)
                    here.own.renew(held.identity)
                here.own.trust(held.trust.content.roots, held.trust.content.revoked)
                told(held)
        await anyio.sleep(LOOK_S)


def _marks(layout: settings.Layout) -> object:
    places = (layout.root / authority.CURRENT_FILE, layout.ledger / ledger.HEAD)
    found: list[tuple[int, int, int] | None] = []
    for place in places:
        try:
            facts = place.stat()
        except OSError:
            found.append(None)
        else:
            found.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
    return found


def read(layout: settings.Layout) -> Papers:
    """Raises `NotFoundError`, `DamagedError`, `SignatureError`, `OSError`."""
    root = disk.DirectoryDisk(layout.root)
    identity = authority.Identity.load(root)
    first = root.read(authority.TRUST_FILE)
    if first is None:
        raise errors.DamagedError(f"{authority.TRUST_FILE} is missing", hint="enroll this server again")
    ring = signing.Keyring.trusting(first, identity.cluster)
    stored = ledger.Ledger(home.Untouched(disk.DirectoryDisk(layout.ledger))).load().objects
    raw = stored.get(mirror.TRUST_KEY, first)
    trust = mirror.SignedTrust(raw, ring.renewed(raw).body)
    return Papers(identity, trust, stored.get(mirror.ADMISSION_PREFIX + identity.server_id, b""))


def tell(link: upstream.Upstream, held: Papers) -> None:
    """To a role that is shown no trust by its parent: without it, it would not know MIC after a rotation."""
    link.learn(tuple(raw for raw in (held.trust.raw, held.admission) if raw))
    if held.returned:
        link.redial()


# --- the authority ------------------------------------------------------------------------------------------------------


async def newest(
    store: port.Store, root: effects.Disk, identity: authority.Identity, held: authority.Authority
) -> authority.Authority:
    """The authority as the store has it for this server, where it is newer; durable here then.

    What was sealed to a key that this server has no more (it was put back from a copy) is left: whether the keys that are
    here still count is decided where office is taken. Raises what the store raises.
    """
    item = await store.get(keys.sealed(identity.server_id))
    if item is None:
        return held
    try:
        opened = sealing.opened(identity.key_pem, item.value, identity.server_id)
        found = authority.Authority.decode(opened)
    except errors.DamagedError as problem:
        if item.mod_revision not in _UNOPENED:  # a MIC that stands by looks twice a second
            _UNOPENED.add(item.mod_revision)
            _LOG.warning("the newest keys cannot be opened here", reason=problem.message)
        return held
    if found.number <= held.number:
        return held
    await anyio.to_thread.run_sync(found.save, root)
    _LOG.info("authority taken over", number=found.number)
    return found


async def pin(here: home.Home, store: port.Store) -> None:
    """Until cancelled: of the other members' servers those keys count that their admissions name."""
    while True:
        with contextlib.suppress(errors.TiercastError):  # no quorum, or nothing issued yet: looked at again
            seats = [membership.seat(one.member) for one in (await store.status()).members]
            trust = await store.get(keys.TRUST)
            for seat in seats:
                item = None if seat is None else await store.get(keys.admission(seat.server))
                if seat is not None and item is not None and trust is not None:
                    ring = signing.Keyring.trusting(trust.value, here.identity.cluster)
                    found = mirror.verify(item.value, ring)
                    assert isinstance(found, mirror.SignedAdmission)
                    here.own.pins[seat.server] = found.content.names_key
        await anyio.sleep(PIN_S)


async def rotated(
    at: desk.Desk, what: str, store: port.Store, identity: authority.Identity
) -> rotating.Progress:
    """`rotate-ca`, `rotate-keys`, or nothing of it: how far they are. Raises as `rotating` does."""
    caller = desk.Caller("root", f"{at.means.server}, local", f"server.{what}", "")
    if what == "rotation":
        return rotating.progress(at)
    seats = [membership.seat(one.member) for one in (await store.status()).members]
    members = [one.server for one in seats if one is not None]
    live = asking.by_name(at.past.content)
    placed = (one.server for one in topology.services(at.past.expanded, kinds.MIC))
    members += [live[name].server_id for name in placed if name in live]
    publics = await rotating.publics(at, members, certificates.public_pem(identity.key_pem))
    act = rotating.rotate_ca if what == "rotate-ca" else rotating.rotate_keys
    await act(at, publics, caller)
    return rotating.progress(at)
