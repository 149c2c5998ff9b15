"""`tiercast store recover`: the newest configuration that the field still shows becomes the store's again.

The highest (generation, revision) found is adopted as (generation + 1, revision): every server takes it, for its generation
is higher, and restarts nothing, for its digest is the same. Trust is the newest found with the revocations of all as a union;
admissions are the newest of each server. It is never automatic: a person has seen what was found, and who did not answer.
Law: only what verifies counts; the old store is put aside, not overwritten.
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import anyio
import msgspec

from coordinator import errors, names
from coordinator.config import expansion, model, topology
from coordinator.hop import ledger
from coordinator.host import disk, lock
from coordinator.propagation import mirror, objects
from coordinator.runtime import engine, etcd_work, field, handover, home, mic_store, store_files
from coordinator.store import commands, membership, mvcc
from coordinator.store.backends.etcd import access
from coordinator.store.backends.raft import journal, log, snapshot
from coordinator.tiers import entries, keys, pieces, seed
from coordinator.trust import authority, signing

ROLLOUT_BYTES = 3


class Source(msgspec.Struct, frozen=True):
    """One place where something was found."""

    name: str
    content: mirror.Content
    body: bytes | None

    @property
    def version(self) -> names.Version:
        """What could be adopted from it."""
        return names.NO_VERSION if self.body is None or self.content.record is None else self.content.version


class Found(msgspec.Struct, frozen=True):
    """All there is to decide from."""

    best: Source
    trust: mirror.SignedTrust
    revoked: tuple[names.ServerId, ...]
    admissions: Mapping[names.ServerId, mirror.SignedAdmission]
    sources: tuple[Source, ...]
    silent: tuple[str, ...]
    """Servers, or addresses, that did not answer."""
    state: mvcc.State
    """Of the store or snapshot, with its history; empty where there is none."""
    reason: str
    """Why the store here cannot be read, if it cannot."""
    end: log.Position

    @property
    def version(self) -> names.Version:
        """What it becomes."""
        highest = max(source.content.version.generation for source in self.sources)
        return names.Version(highest + 1, self.best.version.revision)

    @property
    def missing(self) -> tuple[names.ServerName, ...]:
        """Servers of the document whose admission nobody showed."""
        document = model.decode(self.best.body or b"")
        known = {one.content.name for one in self.admissions.values()}
        return tuple(sorted(name for name in topology.places(document) if name not in known))


# --- looking --------------------------------------------------------------------------------------------------------


def look(
    at: handover.Ground,
    file: pathlib.Path | None,
    addresses: Sequence[str] = (),
    into: access.Access | None = None,
) -> Found:
    """Read what is here, or where that is nothing what `into` holds already; then ask the field, and `addresses` besides.

    Raises `InUseError`, `NotFoundError`, `DamagedError`, `IdentityError`.
    """
    here = home.at(at.layout, at.clock)
    state, end, reason = _stored(at, here, file, into)
    sources = [*_of_state(state, here), *_of_ledgers(at, here), *_of_seed(here)]
    if here.content.target is not None:
        sources.append(Source("this server", here.content, here.body))
    here = _admitted(here, sources)
    asked: dict[field.Place, field.Told | None] = {}
    places = [field.Place(names.ServerName(""), address) for address in addresses]
    while places := [one for one in (*places, *_places(_best(sources), here)) if one not in asked]:
        told = anyio.run(field.ask, here, at.clock, at.random, places)
        asked.update({place: told.get(place) for place in places})
        sources += [Source(f"server {one.server}", one.content, one.body) for one in told.values()]
    best, answers = _best(sources), [one for one in asked.values() if one is not None]
    if best is None:
        raise errors.NotFoundError(
            "nothing was found", hint="give a --snapshot, or --ask ADDRESS of some server"
        )
    named = {one.server for one in answers}
    silent = [place.told for place, one in asked.items() if one is None and place.told not in named]
    trust = max((source.content.trust for source in sources), key=lambda one: one.content.serial)
    revoked = {server for source in sources for server in source.content.trust.content.revoked}
    held = [one for source in sources for one in source.content.admissions.values()]
    admissions = _newest([*held, *(one.admission for one in answers)])
    return Found(
        best, trust, tuple(sorted(revoked)), admissions, tuple(sources), tuple(silent), state, reason, end
    )


def _best(sources: Sequence[Source]) -> Source | None:
    usable = [one for one in sources if one.version > names.NO_VERSION]
    return max(usable, key=lambda one: one.version, default=None)


def _admitted(here: home.Home, sources: list[Source]) -> home.Home:
    """With the newest admission of this server that is known, for others ask to see it."""
    me = here.identity.server_id
    found = _newest([one for source in sources for one in source.content.admissions.values()])
    trust = max(
        (source.content.trust for source in sources), key=lambda one: one.content.serial, default=None
    )
    content = here.content if trust is None else msgspec.structs.replace(here.content, trust=trust)
    own = {me: found[me]} if me in found else content.admissions
    return msgspec.structs.replace(here, content=msgspec.structs.replace(content, admissions=own))


def _newest(admissions: Iterable[mirror.SignedAdmission]) -> dict[names.ServerId, mirror.SignedAdmission]:
    found: dict[names.ServerId, mirror.SignedAdmission] = {}
    for one in admissions:
        held = found.get(one.content.server_id)
        if held is None or held.content.serial < one.content.serial:
            found[one.content.server_id] = one
    return found


def _places(best: Source | None, here: home.Home) -> list[field.Place]:
    """The other servers of the newest document found so far; a newer one may name others."""
    if best is None:
        return []
    document = model.decode(best.body or b"")
    own = here.content.admissions.get(here.identity.server_id)
    others = [one for one in sorted(topology.places(document)) if own is None or one != own.content.name]
    return [field.Place(one, expansion.control_address(document.servers[one])) for one in others]


def _stored(
    at: handover.Ground, here: home.Home, file: pathlib.Path | None, into: access.Access | None
) -> tuple[mvcc.State, log.Position, str]:
    """The state of the snapshot or of the store here; an empty one and why where neither can be read."""
    if file is not None:
        loaded = store_files.load_snapshot(file)
        if loaded.header.cluster != here.identity.cluster:
            raise errors.IdentityError("the snapshot is of another cluster")
        return loaded.state, loaded.header.end, ""
    used = engine.load(here.root)
    if used is not None:
        state, reason = etcd_work.stored(used, here.identity.cluster)
        return state, log.NOTHING, reason
    try:
        with store_files.held(at.layout.store) as held:
            image = store_files.read(held, here.identity.cluster)
    except (errors.NotFoundError, errors.DamagedError) as problem:
        state = mvcc.State() if into is None else etcd_work.stored(into, here.identity.cluster)[0]
        return state, log.NOTHING, "" if state.revision else problem.message
    return image.state, image.last, ""


def _of_state(state: mvcc.State, here: home.Home) -> tuple[Source, ...]:
    """What the store would serve, where all of that verifies."""
    items = {item.key: item for _key, item in state.keys.pairs()}
    trust, target = items.get(keys.TRUST), items.get(keys.TARGET)
    if trust is None or target is None:
        return ()
    try:
        keyring = signing.Keyring.trusting(trust.value, here.identity.cluster)
        raws = [target.value, *(one.value for key, one in items.items() if key.startswith(keys.ADMISSIONS))]
        content = mirror.Content(mirror.SignedTrust(trust.value, keyring.body))
        content = content.take_all(tuple(mirror.verify(raw, keyring) for raw in raws))
        record = items.get(keys.record(content.version.revision))
        if record is None:
            return ()
        content = content.take(mirror.verify(record.value, keyring))
        prefix = keys.body(content.digest)
        body = pieces.joined(one for key, one in items.items() if key.startswith(prefix))
    except (errors.SignatureError, errors.DamagedError):
        return ()
    if body is None or model.digest(body) != content.digest:
        return ()
    return (Source("the store", content, body),)


def _of_seed(here: home.Home) -> tuple[Source, ...]:
    """What `init` made: the beginning of everything, and an admission by which others know this server."""
    data = here.root.read(seed.FILE)
    if data is None:
        return ()
    first = seed.decode(data)
    return (Source("the seed of init", seed.content(first, here.identity.cluster), first.body),)


def _of_ledgers(at: handover.Ground, here: home.Home) -> Iterator[Source]:
    """Of the ICs on this server: they mirror everything, all admissions too."""
    keyring = signing.Keyring.trusting(here.first_trust, here.identity.cluster)
    for head in sorted(at.layout.state.glob(f"*/{ledger.HEAD}")):
        book = ledger.Ledger(disk.DirectoryDisk(head.parent))
        try:
            content = mirror.from_ledger(book.load().objects, keyring)
        except errors.SignatureError:
            continue
        body = None if content.target is None else book.body(content.digest)
        yield Source(f"role {head.parent.name}", content, body)


# --- adopting -------------------------------------------------------------------------------------------------------


def adopt(at: handover.Ground, found: Found, into: access.Access | None = None) -> str:
    """Make a store that holds it, in etcd or of one member, and let this server have accepted it; the old one is put aside.

    A word on where the old one is. Raises `InUseError` while the server runs, `NotFoundError` without the authority,
    `OSError`, and what etcd refuses.
    """
    with lock.DirectoryLock(at.layout.root):
        here = home.at(at.layout, at.clock)
        puts = _puts(at, here, found)
        state = _with(found.state, puts)
        if into is None:
            told = _into_raft(at, here, found, state)
        else:
            told = etcd_work.begin(into, here.identity.cluster, state)
            told += _put_aside(at)
        engine.save(here.root, into)
        _accepted(at, here, found, {put.key: put.value for put in puts})
        return told


def _into_raft(at: handover.Ground, here: home.Home, found: Found, state: mvcc.State) -> str:
    header = snapshot.Header(snapshot.FORMAT, here.identity.cluster, found.end, ())
    member = at.random.token(membership.TOKEN_BYTES)
    handover.begin(at, here.identity.cluster, member, (member,), b"".join(snapshot.encode(header, state)))
    told = _put_aside(at)
    mic_store.rename(at.next, at.layout.store)
    return told


def _put_aside(at: handover.Ground) -> str:
    """The files of our own store, if there are any."""
    if not at.layout.store.exists():
        return ""
    aside = at.layout.root / f"store.before-{at.random.token(membership.TOKEN_BYTES)}"
    with store_files.held(at.layout.store) as held:
        had = journal.exists(held)
        mic_store.rename(at.layout.store, aside)
    return f"the old store's files are in {aside}" if had else ""


def _accepted(at: handover.Ground, here: home.Home, found: Found, held: Mapping[bytes, bytes]) -> None:
    """A server that lost its own copy would not know that it is to run MIC."""
    me = here.identity.server_id
    raws = {
        mirror.TRUST_KEY: held[keys.TRUST],
        mirror.TARGET_KEY: held[keys.TARGET],
        mirror.RECORD_KEY: held[keys.record(found.version.revision)],
    }
    if keys.admission(me) in held:
        raws[mirror.ADMISSION_PREFIX + me] = held[keys.admission(me)]
    assert found.best.body is not None
    body = (found.best.content.digest, found.best.body)
    ledger.Ledger(disk.DirectoryDisk(at.layout.ledger)).store(raws, body, ())


def _with(state: mvcc.State, operations: tuple[commands.Put, ...]) -> mvcc.State:
    """After one more transaction, whose size is bounded by nothing but the document."""
    fresh = msgspec.structs.replace(state, sealed=())
    after, result = mvcc.apply(fresh, commands.Txn((), operations))
    assert isinstance(result, mvcc.Applied), result
    return after


def _puts(at: handover.Ground, here: home.Home, found: Found) -> tuple[commands.Put, ...]:
    best, version = found.best, found.version
    assert best.content.record is not None
    assert best.body is not None
    signer, wall = authority.Authority.load(here.root).signer(), at.clock.wall()
    old = best.content.record.content
    message = f"recovered from {best.version}: {old.message}"
    record = msgspec.structs.replace(old, generation=version.generation, message=message, issued=wall)
    rollout = names.RolloutId(f"r{version.revision}-{at.random.token(ROLLOUT_BYTES)}")
    pointer = objects.Pointer(version.revision, old.digest)
    target = objects.Target(version.generation, 1, pointer, None, rollout, 0)
    expanded = expansion.expand(model.decode(best.body))
    made = entries.Rollout(
        rollout,
        version,
        old.digest,
        wall,
        roles=sum(one.running for one in expanded.roles.values()),
        sites=len(expanded.document.sites),
        asked=len(topology.places(expanded.document)),
        author="store recover",
    )
    prefix = keys.body(old.digest)
    there = any(key.startswith(prefix) for key, _item in found.state.keys.pairs())
    first = here.root.read(seed.FILE)
    token = None if first is None else seed.decode(first).token
    return (
        commands.put(keys.TRUST, _trust(found, signer, version)),
        commands.put(keys.TARGET, signer.sign(objects.Kind.TARGET, objects.encode(target))),
        commands.put(keys.record(version.revision), signer.sign(objects.Kind.RECORD, objects.encode(record))),
        commands.put(keys.rollout(rollout), entries.encode(made)),
        *(commands.put(keys.admission(server), one.raw) for server, one in found.admissions.items()),
        *(() if there else pieces.split(prefix, best.body)),
        *(() if token is None or found.state.revision else (commands.put(token.key, entries.encode(token)),)),
    )


def _trust(found: Found, signer: signing.Signer, version: names.Version) -> bytes:
    """The newest, signed anew where somebody else's revocations are to be added."""
    body = found.trust.content
    if found.trust.raw and set(body.revoked) == set(found.revoked):
        return found.trust.raw
    made = msgspec.structs.replace(body, generation=version.generation, seq=1, revoked=found.revoked)
    return signer.sign(signing.TRUST, msgspec.msgpack.encode(made))


def told(found: Found) -> Iterator[str]:
    """What a person reads before deciding."""
    if found.reason:
        yield f"store     cannot be read: {found.reason}"
    for source in sorted(found.sources, key=lambda one: one.version, reverse=True):
        yield f"found     {source.version} {source.content.digest[:12]}  {source.name}"
    yield f"silent    {', '.join(found.silent) or 'nobody: every other server answered'}"
    yield f"adopt     {found.best.version} of {found.best.name}, as {found.version}"
    if found.state.revision == 0:
        yield "lost      history, drafts, audit, tokens but the first: neither store nor snapshot was readable"
    else:
        newest = max((history_revision(found.state)), default=0)
        if newest < found.best.version.revision:
            yield f"lost      records of revisions {newest + 1} to {found.best.version.revision - 1}, if there were any"
    if found.missing:
        yield f"lost      the admissions of {', '.join(found.missing)}: enroll them again"


def history_revision(state: mvcc.State) -> Iterator[int]:
    """Numbers of the records in it."""
    for key, _item in state.keys.pairs(keys.RECORDS, commands.prefix_end(keys.RECORDS)):
        yield int(key.removeprefix(keys.RECORDS))
