"""Opening the store's member of this server, alone or with the others of its group.

A store is made only where `init` left its seed and MIC is to run nowhere else: whether anything may be issued from an
empty one is decided in `standing`. Anywhere else a missing store is a refusal, for an empty disk is no member.
Law: who the members are stands in the journal; a member listens to servers whose certificate names one of them.
"""

import os
import pathlib
from collections.abc import Callable

import anyio
import anyio.to_thread

from coordinator import effects, errors, limits, names
from coordinator.runtime import home
from coordinator.store import membership
from coordinator.store.backends.raft import files, journal, transport
from coordinator.store.backends.raft import store as raft
from coordinator.tiers import seed
from coordinator.trust import tls

WAIT_S = 15.0  # for whoever holds the directory to let go: `store join` does, once a revision puts mic here
LOOK_S = 0.25


async def open_store(
    directory: pathlib.Path, here: home.Home, clock: effects.Clock, random: effects.Random
) -> raft.RaftStore:
    """Raises `InUseError`, `NotFoundError`, `DamagedError`, `IdentityError`, `NoSpaceError`, `OSError`."""
    await anyio.to_thread.run_sync(finish, directory)
    first = here.root.read(seed.FILE) is not None and len(home.coordinators(here, here.body or b"")) <= 1
    found = await _identity(directory)
    if found is None and not first:
        raise errors.NotFoundError(
            "there is no member of the store on this server",
            hint="on the machine that has one: `tiercast store members --set ...`; here: `tiercast store join FILE`",
        )
    group = None if found is None or len(found.members) == 1 else group_of(found, here, clock)
    return await raft.open_store(
        directory, cluster=here.identity.cluster, clock=clock, random=random, create=first, group=group
    )


def finish(directory: pathlib.Path) -> bool:
    """Do the last step of a hand-over that was interrupted before it; whether there was one to do.

    The old group's store has been put aside by then, and the new one's is whole: without that step the directory would be
    missing, and on the first server a missing one is made anew, empty.
    """
    following = next_to(directory)
    if directory.exists() or not following.exists():
        return False
    held = files.DiskFiles(following)
    try:
        whole = journal.exists(held)
    finally:
        held.close()
    if whole:
        rename(following, directory)
    return whole


def next_to(directory: pathlib.Path) -> pathlib.Path:
    """Where the new group's store is made, until it takes the old one's name."""
    return directory.with_name(f"{directory.name}.next")


def rename(old: pathlib.Path, new: pathlib.Path) -> None:
    """Durable when it returns."""
    old.rename(new)
    parent = os.open(new.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


async def _identity(directory: pathlib.Path) -> journal.Identity | None:
    """Once nobody holds the directory any more. Raises `InUseError`, `DamagedError`."""
    left = round(WAIT_S / LOOK_S)
    while True:
        left -= 1
        try:
            held = files.DiskFiles(directory)
        except errors.InUseError:
            if not left:
                raise
            await anyio.sleep(LOOK_S)
            continue
        try:
            return journal.identity(held)
        finally:
            held.close()


def group_of(found: journal.Identity, here: home.Home, clock: effects.Clock) -> transport.Group:
    """The links of this member. Raises `IdentityError` where it is another server's, `DamagedError`."""
    seats = membership.seats(found.members)
    own = membership.seat(found.member)
    if own is None or own.server != here.identity.server_id:
        raise errors.IdentityError(
            f"the member of the store is another server's (got {found.member}, have {here.identity.server_id})"
        )
    return transport.Group(
        {one.member: (one.address, limits.PORT_RAFT) for one in seats},
        lambda: here.own.server,
        lambda: here.own.client,
        _identify(here, {one.server: one.member for one in seats}, clock),
    )


def _identify(
    here: home.Home, members: dict[names.ServerId, str], clock: effects.Clock
) -> Callable[[bytes], str]:
    here.own.trust(here.content.trust.content.roots, here.content.trust.content.revoked)

    def identify(certificate: bytes) -> str:
        shown = tls.identified(certificate, here.identity.cluster, clock.wall())
        peer, pinned = shown.server_id, here.own.pins.get(shown.server_id)
        if pinned is not None and not pinned(shown.key):
            raise errors.IdentityError(f"it holds another key than its admission names (got {peer})")
        if not here.own.counts(shown):
            raise errors.IdentityError(f"its certificate is of a CA that counts no more (got {peer})")
        if peer in here.own.revoked or peer not in members:
            raise errors.IdentityError(f"not a member of the store (got {peer})")
        return members[peer]

    return identify
