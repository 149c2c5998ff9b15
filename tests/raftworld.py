"""A seeded world for the Raft core: members on disks that tear, a network that does everything a network may do.

The production machines run in it: core, journal, snapshot, recovery, transfer. Only time, messages and the disk are
made up. Every step is checked: one leader per term, logs that match, leaders that hold all that was committed, one
order of what is applied, nothing acknowledged lost, no read that misses what was acknowledged before it was asked for.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence

import msgspec

from coordinator import names
from coordinator.store import commands, image, mvcc
from coordinator.store.backends.raft import core, journal, log, messages, recovery, snapshot, transfer
from tests import storedisk

CLUSTER = names.ClusterId("world")
SNAPSHOT_EVERY = 25
PIECE_BYTES = 2000
_MESSAGE: msgspec.msgpack.Decoder[messages.Message] = msgspec.msgpack.Decoder(messages.Message)


class Read(msgspec.Struct, frozen=True):
    """A barrier that was asked for, and what had been acknowledged by then."""

    acknowledged: int
    index: int = 0


Batch = tuple[list[messages.Output], list[messages.Persist]]
"""What the core said, and what of it is on its way to the disk."""


class Node:
    """One member: what `member.Member` is in production, without its event loop."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.disk = storedisk.FakeFiles()
        self.up = False
        self.paused = False
        self.life = 0
        identity = journal.Identity(CLUSTER, name, world.names)
        recovery.begin(self.disk, identity, storedisk.SeededRandom(world.source.getrandbits(32)))

    def start(self) -> None:
        source = storedisk.SeededRandom(self.world.source.getrandbits(32))
        opened = recovery.resume(self.disk, CLUSTER, source)
        self.opened = opened
        self.up, self.busy = True, False
        self.life += 1
        self.state = opened.state
        self.applied = self.snapshot_at = opened.held.prev.index
        self.core = core.Core(
            self.name,
            opened.identity.members,
            opened.held,
            (opened.term, opened.vote),
            lambda: source.uniform(0, 0.1 if self.world.like_minded else 1),
        )
        self.incoming = transfer.Incoming(self.disk)
        self.outgoing = transfer.Outgoing(self.disk, PIECE_BYTES)
        self.inbox: list[messages.Input] = []
        self.asked: dict[int, bytes] = {}
        self.waiting: dict[int, tuple[int, bytes]] = {}
        self.reads: dict[int, Read] = {}
        self.core.start(self.world.now)
        self.set_timer()

    def crash(self) -> None:
        self.up = False
        self.disk.power_cut(self.world.source)

    def give(self, given: messages.Input) -> None:
        if not self.up:
            return
        self.inbox.append(given)
        self.go_on()

    def go_on(self) -> None:
        if not self.busy:
            batch = self.begin()
            if batch is not None:
                self.see_through(*batch)

    def begin(self) -> Batch | None:
        """Let the core have what waits, and the disk what follows from it."""
        if not self.up or self.paused or not self.inbox:
            return None
        inbox, self.inbox = self.inbox, []
        outputs = [o for given in inbox for o in self.core.handle(given, self.world.now)]
        for output in outputs:
            if isinstance(output, messages.Send) and output.early:
                self.world.send(self.name, output.to, output.message)
        written = [o for o in outputs if isinstance(o, messages.Persist)]
        for persist in written:
            self.opened.writer.append(persist.term, persist.vote, persist.cut, persist.entries)
        return outputs, written

    def see_through(self, outputs: list[messages.Output], written: list[messages.Persist]) -> None:
        if not written:
            self.perform(outputs)
            self.set_timer()
            return
        self.busy = True
        life = self.life
        self.world.after(self.world.disk_delay(), lambda: self.synced(life, outputs, written))

    def synced(self, life: int, outputs: list[messages.Output], written: list[messages.Persist]) -> None:
        if life != self.life or not self.up:
            return
        self.opened.writer.sync()
        self.busy = False
        last = next((p.entries[-1].position for p in reversed(written) if p.entries), None)
        if last is not None:
            outputs += self.core.handle(messages.Persisted(last), self.world.now)
        alone = any(isinstance(output, messages.KeepPiece) for output in outputs)
        following = None if alone else self.begin()
        self.perform(outputs)
        if following is None:
            self.maybe_snapshot()
        self.set_timer()
        if following is not None:
            self.see_through(*following)
        self.go_on()

    def perform(self, outputs: Sequence[messages.Output]) -> None:  # noqa: C901 one line per kind of output
        for output in outputs:
            match output:
                case messages.Send(to, message, False):
                    self.world.send(self.name, to, message)
                case messages.SendPiece(to):
                    piece = self.outgoing.piece(output)
                    if piece is not None:
                        self.world.send(self.name, to, piece)
                case messages.KeepPiece(sender, piece):
                    self.keep(sender, piece)
                case messages.Commit(entries):
                    self.apply(entries)
                case messages.Accepted(ticket, position):
                    self.waiting[position.index] = (position.term, self.asked.pop(ticket))
                case messages.Declined(ticket):
                    self.asked.pop(ticket, None)
                    self.reads.pop(ticket, None)
                case messages.Readable(ticket, index):
                    self.read(self.reads.pop(ticket), index)
                case messages.Office(term, _leader, True):
                    self.world.elected(self, term)
                case _:
                    pass

    def apply(self, entries: Sequence[log.Entry]) -> None:
        for entry in entries:
            assert entry.index == self.applied + 1
            self.world.committed(entry, self.core.term)
            if entry.kind == log.COMMAND:
                self.state, _result = mvcc.apply(self.state, commands.decode(entry.data))
            self.applied = entry.index
            waiting = self.waiting.pop(entry.index, None)
            if waiting is not None and waiting[0] == entry.term:
                self.world.acknowledged(waiting[1])

    def read(self, read: Read, index: int) -> None:
        assert index <= self.applied, "a leader has applied what it has committed"
        assert len(self.state.keys) >= read.acknowledged, "a read missed what was acknowledged before it"

    def keep(self, sender: str, piece: messages.Install) -> None:
        kept = self.incoming.keep(self.core.term, piece)
        if isinstance(kept, messages.Installed):
            self.world.send(self.name, sender, kept)
        elif kept is not None and kept.header.end.index > self.core.commit:
            end = kept.header.end
            held = log.Log(self.core.log.prev, self.core.log.entries)
            held.replace(end)
            transfer.install(self.disk, self.opened.writer, end, held.last)
            self.state, self.applied = kept.state, end.index
            self.perform(self.core.handle(messages.Replaced(sender, end), self.world.now))
            self.world.installs += 1

    def maybe_snapshot(self) -> None:
        if self.applied - self.snapshot_at < SNAPSHOT_EVERY:
            return
        self.snapshot_at = self.applied
        term = self.core.log.term_at(self.applied)
        assert term is not None
        end = log.Position(self.applied, term)
        header = snapshot.Header(snapshot.FORMAT, CLUSTER, end, self.world.names)
        snapshot.write(self.disk, header, snapshot.encode(header, self.state))
        self.opened.writer.roll()
        self.opened.writer.drop_before(end.index)
        snapshot.drop_before(self.disk, end.index)
        self.core.handle(messages.Snapshotted(max(end.index - 3, self.core.log.prev.index)), self.world.now)

    def set_timer(self) -> None:
        life, deadline = self.life, self.core.deadline

        def fire() -> None:
            if life == self.life and self.up and self.core.deadline <= self.world.now:
                self.give(messages.Tick())

        if deadline < float("inf"):
            self.world.after(max(deadline - self.world.now, 0) + 1e-6, fire)


class World:
    """Time, the network, the clients, the faults and the checks of one seed."""

    def __init__(self, seed: int, size: int) -> None:
        self.source = random.Random(seed)
        self.now = 0.0
        self.installs = 0
        self.commits = 0
        self.loss = 0.0
        self.twice = 0.0
        self.slow = 0.0
        # Slow networks make elections long, so that crashes fall into them; like minds make votes split.
        self.latency = self.source.choice(((0.001, 0.01), (0.01, 0.1), (0.05, 0.25)))
        self.like_minded = self.source.random() < 0.5
        self.blocked: set[tuple[str, str]] = set()
        self.names = tuple(f"m{at}" for at in range(size))
        self.log: dict[int, log.Entry] = {}
        self.commit_terms: dict[int, int] = {}
        self.leaders: dict[int, tuple[str, int]] = {}
        self.done: dict[bytes, float] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)
        self.nodes = {name: Node(self, name) for name in self.names}
        for node in self.nodes.values():
            node.start()

    # Time and network.

    def after(self, delay: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), act))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _order, act = heapq.heappop(self._events)
            act()
        self.now = until

    def disk_delay(self) -> float:
        return self.source.uniform(0.0002, 0.003) + (0.4 if self.source.random() < self.slow else 0.0)

    def send(self, sender: str, to: str, message: messages.Message) -> None:
        if self.source.random() < 0.02:
            message = _MESSAGE.decode(msgspec.msgpack.encode(message))
        for _copy in range(1 + (self.source.random() < self.twice)):
            if self.source.random() < self.loss:
                continue
            delay = self.source.uniform(*self.latency) * (10 if self.source.random() < self.twice else 1)
            self.after(delay, lambda: self.arrive(sender, to, message))

    def arrive(self, sender: str, to: str, message: messages.Message) -> None:
        if (sender, to) not in self.blocked:
            self.nodes[to].give(messages.Received(sender, message))

    # Clients.

    def clients(self, until: float) -> None:
        """Writes and reads at random members until then, more often at one that leads."""
        node = self.nodes[self.source.choice(self.names)]
        leading = [n for n in self.nodes.values() if n.up and n.core.lead is not None]
        if leading and self.source.random() < 0.8:
            node = self.source.choice(leading)
        if node.up and not node.paused:
            if self.source.random() < 0.7:
                self.write(node, self.source.randrange(1, 4))
            else:
                self.ask(node)
        if self.now < until:
            self.after(self.source.expovariate(1 / 0.05), lambda: self.clients(until))

    def write(self, node: Node, count: int) -> None:
        items = []
        for _ in range(count):
            number = next(self._numbers)
            put = commands.put(b"/n/%06d" % number, bytes(number % 200))
            data = commands.encode(commands.Txn(success=(put,)))
            node.asked[number] = data
            items.append((number, data))
        node.give(messages.Propose(tuple(items)))

    def ask(self, node: Node) -> None:
        ticket = next(self._numbers)
        node.reads[ticket] = Read(len(self.done))
        node.give(messages.Read(ticket))

    # Faults.

    def faults(self, until: float) -> None:
        """One fault after the other until then."""
        source = self.source
        if self.now >= until:
            return
        leading = [n.name for n in self.nodes.values() if n.up and n.core.lead is not None]
        name = source.choice(leading) if leading and source.random() < 0.5 else source.choice(self.names)
        node = self.nodes[name]
        others = [n for n in self.names if n != name]
        kind = source.randrange(12)
        if kind <= 2 and node.up:
            node.crash()
            away = source.choice((source.uniform(0.001, 0.1), source.uniform(0.1, 2)))
            self.after(away, lambda: None if node.up else node.start())
        elif kind == 3:
            self.blocked |= {(name, o) for o in others} | {(o, name) for o in others}
        elif kind == 4:
            self.blocked |= {(name, o) for o in others if source.random() < 0.7}
        elif kind == 5:
            self.loss, self.twice = source.choice((0, 0.05, 0.2)), source.choice((0, 0.1, 0.3))
        elif kind == 6:
            self.slow = source.choice((0, 0.1))
        elif kind == 7 and node.up:
            self.pause(node, source.uniform(0.2, 2.5))
        elif kind == 8:
            node.give(messages.Resign())
        else:
            self.blocked.clear()
        self.after(source.uniform(0.1, 1.2), lambda: self.faults(until))

    def pause(self, node: Node, length: float) -> None:
        node.paused = True

        def resume() -> None:
            node.paused = False
            node.go_on()

        self.after(length, resume)

    def heal(self) -> None:
        self.blocked.clear()
        self.loss = self.twice = self.slow = 0.0
        self.latency = (0.001, 0.01)
        for node in self.nodes.values():
            node.paused = False
            if not node.up:
                node.start()
            node.go_on()

    # Checks.

    def committed(self, entry: log.Entry, term: int) -> None:
        self.commits += 1
        known = self.log.setdefault(entry.index, entry)
        self.commit_terms.setdefault(entry.index, term)
        assert known == entry, f"two entries were committed at {entry.index}"

    def acknowledged(self, data: bytes) -> None:
        self.done[data] = self.now

    def elected(self, node: Node, term: int) -> None:
        known = self.leaders.setdefault(term, (node.name, node.life))
        assert known == (node.name, node.life), f"two leaders in term {term}"
        held = node.core.log
        for index, entry in self.log.items():
            # One that slept may learn late that it won an older term, which owes nothing to later ones.
            owed = self.commit_terms[index] < term and index > held.prev.index
            assert not owed or held.term_at(index) == entry.term, (
                f"the leader of term {term} lacks committed entry {index}"
            )
        self.check_logs()

    def check_logs(self) -> None:
        """Logs that agree on a position agree on everything before it."""
        for one, other in itertools.combinations(self.nodes.values(), 2):
            mine = {e.index: e for e in one.core.log.entries}
            same = False
            for entry in reversed(other.core.log.entries):
                held = mine.get(entry.index)
                if held is not None and (same or held.term == entry.term):
                    same = True
                    assert held == entry, f"logs differ below {entry.index}"

    def check_end(self) -> None:
        """After the faults: everyone holds the same, and all that was acknowledged."""
        self.check_logs()
        leaders = [n for n in self.nodes.values() if n.core.lead is not None]
        assert len(leaders) == 1, "one member leads"
        committed = {entry.data for entry in self.log.values()}
        assert set(self.done) <= committed, "something acknowledged is gone"
        pictures = [list(image.encode(n.state)) for n in self.nodes.values()]
        assert all(picture == pictures[0] for picture in pictures), "states differ"
        keys = {key for key, _item in leaders[0].state.keys.pairs()}
        assert len(keys) >= len(self.done)
