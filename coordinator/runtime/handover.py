"""Another list of members for the store: the old group is sealed, and its snapshot begins the new one on every member.

Every act may be repeated after a crash: what the seal says stands in the old group's log for ever, and the store's directory
changes by renames. The file that is carried to the other members holds the authority's private keys, for every MIC issues
identities and signs. Law: forward only, and never two groups: the new one begins from the old one's last word.
"""

import pathlib
import shutil
from collections.abc import Iterator

import anyio
import msgspec

from coordinator import effects, errors, names
from coordinator.host import disk, settings
from coordinator.propagation import mirror, objects
from coordinator.runtime import engine, home, keyholding, mic_store, store_files
from coordinator.store import membership, port
from coordinator.store.backends.etcd import access
from coordinator.store.backends.raft import journal, recovery, snapshot
from coordinator.store.backends.raft import store as raft
from coordinator.tiers import keys
from coordinator.trust import authority, signing

QUORUM_S = 30.0
LOOK_S = 1.0  # how often a joined member looks whether a revision puts mic on its server
_FORMAT = 1
_PART = "store-handover.part"


class HandOver(msgspec.Struct, frozen=True, array_like=True):
    """What a member of the new group begins from; secret."""

    cluster: names.ClusterId
    members: tuple[str, ...]
    snapshot: bytes
    ca_key_pem: bytes
    ca_pem: bytes
    signing_private: bytes
    etcd: access.Access | None = None
    """Where the store is, if it is none of ours: then there is no snapshot."""
    authority: bytes = b""
    """All of it, where keys were rotated since `init`."""


class _File(msgspec.Struct, frozen=True, array_like=True):
    format: int
    content: HandOver


class Ground(msgspec.Struct, frozen=True):
    """Where it happens."""

    layout: settings.Layout
    clock: effects.Clock
    random: effects.Random

    @property
    def next(self) -> pathlib.Path:
        """The new group's store until it takes the old one's name."""
        return mic_store.next_to(self.layout.store)


def decode(data: bytes) -> HandOver:
    """Raises `DamagedError`."""
    try:
        file = msgspec.msgpack.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.DamagedError(f"the file is none of `store members`: {wrong}") from wrong
    if file.format != _FORMAT:
        raise errors.DamagedError(f"the file is of another kind (got {file.format}, have {_FORMAT})")
    return file.content


# --- the old group --------------------------------------------------------------------------------------------------


def hand_over(at: Ground, wanted: dict[names.ServerName, str], output: pathlib.Path | None) -> Iterator[str]:
    """Lines. Raises `NotFoundError`, `InUseError`, `RefusedError`, `UsageError`, `NoQuorumError`, `DamagedError`."""
    here = home.at(at.layout, at.clock)
    if mic_store.finish(at.layout.store):
        yield "done      what an interrupted run had left"
    with store_files.held(at.layout.store) as held:
        image = store_files.read(held, here.identity.cluster)
    if len(wanted) > 1 and output is None:
        raise errors.UsageError("the other members need a file", hint="name one with -o")
    if set(wanted.items()) == _named(image):
        yield "done      these are the members"
        return
    if output is not None and output.exists() and not _written_before(output, image.state.sealed):
        raise errors.InUseError(f"{output} exists already", hint="name another file")
    part = at.layout.root / _PART
    part.unlink(missing_ok=True)
    members = anyio.run(_sealed, at, here, wanted, part)
    data = part.read_bytes()
    part.unlink()
    yield f"sealed    the old group ({', '.join(image.identity.members)}) has ended"
    if output is not None:
        write(here, output, members, data)
        yield f"written   {output}: private keys are in it; take it to the other members over a way you trust"
    own = next((one for one in membership.seats(members) if one.server == here.identity.server_id), None)
    if own is not None:
        begin(at, here.identity.cluster, own.member, members, data)
    aside = at.layout.root / f"store.before-{_short(image.identity.member)}"
    mic_store.rename(at.layout.store, aside)
    yield f"kept      the old group's files in {aside}"
    if own is not None:
        mic_store.rename(at.next, at.layout.store)
    for member in members:
        yield f"member    {member}" + ("  (this)" if own is not None and member == own.member else "")


async def _sealed(
    at: Ground,
    here: home.Home,
    wanted: dict[names.ServerName, str],
    part: pathlib.Path,
) -> tuple[str, ...]:
    """Seal, unless that was done before; the new members, with the last snapshot in `part`."""
    store = await mic_store.open_store(at.layout.store, here, at.clock, at.random)
    async with store:
        with anyio.move_on_after(QUORUM_S):
            while not await _quorum(store):
                pass
        if not await _quorum(store):
            raise errors.NoQuorumError(
                "no majority of the store's members answers, so nothing was changed",
                hint="start the MICs (or `tiercast store join`) on the other members first; where a majority is lost for "
                "good: `tiercast store recover`",
            )
        servers = await servers_of(store, here, wanted)
        # Not what the files say: their very end may be a seal that no majority had, and that is gone.
        if not store.sealed:
            seats = [
                membership.Seat(at.random.token(membership.TOKEN_BYTES), servers[name], address)
                for name, address in wanted.items()
            ]
            await store.seal(tuple(one.member for one in seats))
        members = store.sealed
        said = {(one.server, one.address) for one in membership.seats(members)}
        if said != {(servers[name], address) for name, address in wanted.items()}:
            raise errors.RefusedError(
                f"the store is sealed for other members already ({', '.join(members)})",
                hint="say those again with --set; afterwards they can be changed once more",
            )
        await store.snapshot(part)
    return members


def _named(image: store_files.Image) -> set[tuple[names.ServerName, str]]:
    """Name and address of the present members, where their ids say so."""
    by_id = {one.content.server_id: one.content.name for one in _admissions(image)}
    seats = [membership.seat(member) for member in image.identity.members]
    return {(by_id[one.server], one.address) for one in seats if one is not None and one.server in by_id}


def _admissions(image: store_files.Image) -> list[mirror.SignedAdmission]:
    """Those that verify."""
    held = {item.key: item.value for item in image.items}
    if keys.TRUST not in held:
        return []
    keyring = signing.Keyring.trusting(held[keys.TRUST], image.identity.cluster)
    signed = [mirror.verify(value, keyring) for key, value in held.items() if key.startswith(keys.ADMISSIONS)]
    return [one for one in signed if isinstance(one, mirror.SignedAdmission)]


def _written_before(output: pathlib.Path, sealed: tuple[str, ...]) -> bool:
    """Whether an interrupted run of this very hand-over has left the file."""
    try:
        return bool(sealed) and decode(output.read_bytes()).members == sealed
    except errors.DamagedError:
        return False


async def _quorum(store: raft.RaftStore) -> bool:
    try:
        await store.get(keys.TERM)
    except errors.NoQuorumError:
        return False
    return True


async def servers_of(
    store: port.Store, here: home.Home, wanted: dict[names.ServerName, str]
) -> dict[names.ServerName, names.ServerId]:
    """Ids of the wanted servers, each enrolled. Raises `NotFoundError`."""
    trust = await store.get(keys.TRUST)
    if trust is None:
        raise errors.NotFoundError("nothing was ever issued from this store")
    keyring = signing.Keyring.trusting(trust.value, here.identity.cluster)
    signed = [mirror.verify(item.value, keyring) for item in (await store.scan(keys.ADMISSIONS)).items]
    found = {
        one.content.name: one.content.server_id
        for one in signed
        if isinstance(one, mirror.SignedAdmission)
        and one.content.state is not objects.AdmissionState.EXPELLED
    }
    missing = [name for name in wanted if name not in found]
    if missing:
        raise errors.NotFoundError(
            f"not enrolled: {', '.join(missing)}", hint="`tiercast server enroll NAME -o FILE` first"
        )
    return {name: found[name] for name in wanted}


def write(
    here: home.Home,
    output: pathlib.Path,
    members: tuple[str, ...],
    data: bytes,
    used: access.Access | None = None,
) -> None:
    """Raises `NotFoundError` without the authority, `OSError`."""
    own = authority.Authority.load(here.root)
    content = HandOver(
        here.identity.cluster,
        members,
        data,
        own.ca_key_pem,
        own.ca_pem,
        own.signing_private,
        used,
        own.encode(),
    )
    encoded = msgspec.msgpack.encode(_File(_FORMAT, content))
    disk.DirectoryDisk(output.absolute().parent).write(output.name, encoded)


# --- a member of the new group --------------------------------------------------------------------------------------


def begin(at: Ground, cluster: names.ClusterId, member: str, members: tuple[str, ...], data: bytes) -> None:
    """Make the new group's member beside the store. Raises `DamagedError`."""
    shutil.rmtree(at.next, ignore_errors=True)
    at.next.mkdir(mode=0o700, parents=True)
    loaded = snapshot.decode("the snapshot", data)
    with store_files.held(at.next) as held:
        recovery.begin_from(held, journal.Identity(cluster, member, members), at.random, loaded)


def join(at: Ground, content: HandOver) -> Iterator[str]:
    """Become the member that the file names for this server; to be repeated at will.

    Lines. Raises `IdentityError` where it names none, `InUseError` where a store is there that was not handed over.
    """
    here = home.at(at.layout, at.clock)
    cluster = here.identity.cluster
    seats = membership.seats(content.members)
    own = next((one for one in seats if one.server == here.identity.server_id), None)
    if content.cluster != cluster or own is None:
        raise errors.IdentityError("this server is none of the members that the file names")
    _take_authority(here, content)
    if content.etcd is not None:
        engine.save(here.root, content.etcd)
        yield f"etcd      {content.etcd.address}, for {len(seats)} servers"
        return
    if _make_way(at, cluster, own.member):
        begin(at, cluster, own.member, content.members, content.snapshot)
        mic_store.rename(at.next, at.layout.store)
    yield f"member    {own.member} of {len(seats)}"


def _make_way(at: Ground, cluster: names.ClusterId, member: str) -> bool:
    """Put a sealed store aside; False where the wanted member is there already."""
    mic_store.finish(at.layout.store)
    if not at.layout.store.exists():
        return True
    with store_files.held(at.layout.store) as held:
        found = journal.identity(held)
        sealed = found is not None and bool(store_files.read(held, cluster).state.sealed)
    if found is None:
        shutil.rmtree(at.layout.store)
        return True
    if found.member == member:
        return False
    if not sealed:
        raise errors.InUseError(
            f"there is a store of another group here, which was not handed over ({found.member})",
            hint=f"if that group has ended, move {at.layout.store} away by hand",
        )
    mic_store.rename(at.layout.store, at.layout.root / f"store.before-{_short(found.member)}")
    return True


def _take_authority(here: home.Home, content: HandOver) -> None:
    """What the file holds, unless what is here is as new; keys that were rotated since are newer."""
    given = authority.Authority(content.cluster, content.ca_key_pem, content.ca_pem, content.signing_private)
    if content.authority:
        given = authority.Authority.decode(content.authority)
    try:
        held = authority.Authority.load(here.root)
    except errors.NotFoundError:
        given.save(here.root)
        return
    if held.cluster != content.cluster:
        raise errors.IdentityError("this server holds the authority of another cluster")
    if held.number < given.number:
        given.save(here.root)


async def serve(at: Ground) -> names.Version | None:
    """Be a member until a revision puts mic on this server, whose business it is then; that revision."""
    here = home.at(at.layout, at.clock)
    if _placed(here):
        return here.content.version
    store = await mic_store.open_store(at.layout.store, here, at.clock, at.random)
    async with store, anyio.create_task_group() as tasks:
        tasks.start_soon(keyholding.follow, here, at.layout)
        tasks.start_soon(keyholding.pin, here, store)
        now = here
        while not _placed(now):
            await anyio.sleep(LOOK_S)
            now = await anyio.to_thread.run_sync(home.at, at.layout, at.clock)
        tasks.cancel_scope.cancel()
    return now.content.version


def _placed(here: home.Home) -> bool:
    """Whether what this server has accepted puts mic on it."""
    own = here.content.admissions.get(here.identity.server_id)
    if own is None or here.body is None:
        return False
    return own.content.name in {parent.server for parent in home.coordinators(here, here.body)}


def _short(member: str) -> str:
    return member.partition("/")[0]
