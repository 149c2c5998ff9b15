"""One member as a process of its own, with clients in it that write, read and print what they saw.

`python -m tests.storenode BASE MEMBER SEED`; `group.json` and the authority's files lie in BASE. Lines: `i ID START` when
a write is sent, `w ID END REVISION` when it was acknowledged, `r START END REVISION ID` for a read. What has no second
line may or may not have been done. Times are of the machine's monotonic clock, the same for all processes.
"""

import asyncio  # noqa: TID251 the backends are asyncio's
import json
import os
import pathlib
import random
import sys
import time
from collections.abc import Sequence

import trustme

from coordinator import errors
from coordinator.store import commands
from coordinator.store.backends import raft
from coordinator.store.backends.raft import member
from tests import storedisk, storegroup, storewriter

CLIENTS = 4
REGISTER = b"/register"


def prepare(base: pathlib.Path, group: storegroup.Group) -> None:
    """Leave what the processes need."""
    (base / "group.json").write_text(json.dumps(group.addresses))
    (base / "authority.pem").write_bytes(group.authority.cert_pem.bytes())
    (base / "authority.key").write_bytes(group.authority.private_key_pem.bytes())


async def opened(base: pathlib.Path, name: str) -> raft.RaftStore:
    addresses = {
        key: (host, port) for key, (host, port) in json.loads((base / "group.json").read_text()).items()
    }
    authority = trustme.CA.from_pem(
        (base / "authority.pem").read_bytes(), (base / "authority.key").read_bytes()
    )
    server, client = storegroup.contexts(authority, name)
    return await raft.open_store(
        base / name,
        cluster=storegroup.CLUSTER,
        clock=storewriter.RealClock(),
        random=storedisk.SeededRandom(time.monotonic_ns()),
        create=False,
        group=raft.Group(addresses, server, client, storegroup.identify),
    )


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def write(store: raft.RaftStore, identity: int) -> None:
    name = b"%d" % identity
    say("i", identity, time.monotonic())
    puts = (commands.put(REGISTER, name), commands.put(b"/n/" + name, b""))
    with_outcome = await store.commit(commands.Txn(success=puts))
    say("w", identity, time.monotonic(), with_outcome.revision)


async def read(store: raft.RaftStore) -> None:
    started = time.monotonic()
    item = await store.get(REGISTER)
    if item is not None:
        say("r", started, time.monotonic(), item.mod_revision, item.value.decode())


async def client(store: raft.RaftStore, first: int, source: random.Random) -> None:
    identity = first
    while True:
        try:
            if source.random() < 0.6:
                identity += CLIENTS
                await write(store, identity)
            else:
                await read(store)
        except errors.TiercastError:
            await asyncio.sleep(0.01)


async def main(arguments: Sequence[str]) -> None:
    base, name, seed = pathlib.Path(arguments[0]), arguments[1], int(arguments[2])
    member.SNAPSHOT_ENTRIES, member.KEEP_ENTRIES = 400, 20
    store = await opened(base, name)
    source = random.Random(seed)
    first = (seed * 64 + os.getpid() % 64) * 1_000_000
    await asyncio.gather(*(client(store, first + at, source) for at in range(CLIENTS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
