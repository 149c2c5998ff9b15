"""One member of a group as a thing to say single messages to, over our core with its journal and over stock pysyncobj.

Both keep their files on a real directory and have no network: what they send is kept to be looked at. Entries are
counted as ours are, from 1; the library has an entry of its own before them.
`python -m tests.contracts.machines SIDE DIRECTORY CANDIDATE TERM` asks for one vote, says it and ends without closing.
"""

import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import pysyncobj.transport

from coordinator import names
from coordinator.store import commands
from coordinator.store.backends.raft import core, files, journal, log, messages, recovery
from tests import stockgroup, stockstore, storedisk

OWN: Final = "m1"
THREE: Final = (OWN, "m2", "m3")
FIVE: Final = (*THREE, "m4", "m5")
CLUSTER: Final = names.ClusterId("c1")
LONG_S: Final = 60.0  # no leader was heard for so long
SETTLE_S: Final = 5.0


class Machine(Protocol):
    """The member `m1`, spoken to by the others."""

    def follow(self, leader: str, term: int, prev: log.Position, terms: Sequence[int], commit: int) -> None:
        """An append of entries of these terms behind `prev`."""
        ...

    def gives_vote(self, candidate: str, term: int, last: log.Position) -> bool:
        """Whether it votes for a candidate whose log ends at `last`, nobody having led for a while."""
        ...

    def stand(self) -> None:
        """It has heard nobody, has asked for votes in a new term, and got none so far."""
        ...

    def voted(self, voter: str) -> None:
        """A member votes for it in the present term."""
        ...

    def propose(self) -> int:
        """Take a command as a leader; answers where it stands."""
        ...

    def agreed(self, follower: str, term: int, index: int) -> None:
        """The answer of a follower, given in `term`: it has everything up to `index`."""
        ...

    @property
    def leads(self) -> bool: ...

    @property
    def term(self) -> int: ...

    @property
    def committed(self) -> int: ...

    def close(self) -> None: ...


Opening = Callable[[pathlib.Path, Sequence[str]], Machine]
"""Opens, or makes, the member `m1` of these in a directory."""


def entry(index: int, term: int) -> log.Entry:
    command = commands.Txn(success=(commands.put(b"/%d" % index, b"%d" % term),))
    return log.Entry(index, term, log.COMMAND, commands.encode(command))


class RaftMachine:
    """Our core, its acts performed on its journal at once."""

    def __init__(self, directory: pathlib.Path, members: Sequence[str]) -> None:
        self._files = files.DiskFiles(directory)
        source = storedisk.SeededRandom(1)
        try:
            if not journal.exists(self._files):
                recovery.begin(self._files, journal.Identity(CLUSTER, OWN, tuple(members)), source)
            self._opened = recovery.resume(self._files, CLUSTER, source)
        except BaseException:
            self._files.close()
            raise
        self._members = members
        self._now = 0.0
        opened = self._opened
        self.core = core.Core(OWN, members, opened.held, (opened.term, opened.vote), lambda: 0.5)
        self.core.start(self._now)

    def follow(self, leader: str, term: int, prev: log.Position, terms: Sequence[int], commit: int) -> None:
        entries = tuple(entry(prev.index + at, one) for at, one in enumerate(terms, start=1))
        self._hear(leader, messages.Append(term, prev, entries, commit, 0))

    def gives_vote(self, candidate: str, term: int, last: log.Position) -> bool:
        self._now += LONG_S
        answers = self._hear(candidate, messages.Vote(term, last))
        return messages.Voted(term, granted=True) in answers

    def stand(self) -> None:
        self._now += LONG_S
        self._give(messages.Tick())
        for other in self._members[1 : len(self._members) // 2 + 1]:
            self._hear(other, messages.Voted(self.core.term + 1, granted=True, pre=True))
        assert self.core.standing is core.Standing.CANDIDATE

    def voted(self, voter: str) -> None:
        self._hear(voter, messages.Voted(self.core.term, granted=True))

    def propose(self) -> int:
        self._give(messages.Propose(((1, entry(0, 0).data),)))
        return self.core.log.last.index

    def agreed(self, follower: str, term: int, index: int) -> None:
        self._hear(follower, messages.Appended(term, success=True, index=index, round=0))

    @property
    def leads(self) -> bool:
        return self.core.lead is not None

    @property
    def term(self) -> int:
        return self.core.term

    @property
    def committed(self) -> int:
        return self.core.commit

    def close(self) -> None:
        self._opened.writer.close()
        self._files.close()

    def _hear(self, sender: str, message: messages.Message) -> list[messages.Message]:
        return self._give(messages.Received(sender, message))

    def _give(self, given: messages.Input) -> list[messages.Message]:
        """Perform what follows; answers what was sent."""
        outputs = self.core.handle(given, self._now)
        writer = self._opened.writer
        for output in outputs:
            if isinstance(output, messages.Persist):
                writer.append(output.term, output.vote, output.cut, output.entries)
                writer.sync()
        sent = [output.message for output in outputs if isinstance(output, messages.Send)]
        if any(isinstance(output, messages.Persist) and output.entries for output in outputs):
            sent += self._give(messages.Persisted(self.core.log.last))
        return sent


class Recorder(pysyncobj.transport.Transport):  # type: ignore[misc] # the library has no types
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        super().__init__(None, None, ())
        self.sent: list[dict[str, Any]] = []

    def send(self, _node: object, message: dict[str, Any]) -> bool:
        self.sent.append(message)
        return True


class StockMachine:
    """A stock member that is ticked only when it must act by itself."""

    def __init__(self, directory: pathlib.Path, members: Sequence[str]) -> None:
        self._wire = Recorder()
        self._nodes = {name: stockgroup.named(name) for name in members}
        others = [node for name, node in self._nodes.items() if name != OWN]
        settings = {**stockstore.LONE, **stockstore.kept(directory)}
        self.node = stockstore.Node(self._nodes[OWN], others, settings, self._wire)
        for other in others:
            self._wire._onNodeConnected(other)

    def follow(self, leader: str, term: int, prev: log.Position, terms: Sequence[int], commit: int) -> None:
        entries = [self._entry(prev.index + at, one) for at, one in enumerate(terms, start=1)]
        behind = {"prevLogIdx": prev.index + 1, "prevLogTerm": prev.term}
        self._hear(
            leader,
            {
                "type": "append_entries",
                "term": term,
                "entries": entries,
                "commit_index": commit + 1,
                **behind,
            },
        )

    def gives_vote(self, candidate: str, term: int, last: log.Position) -> bool:
        said = {"last_log_index": last.index + 1, "last_log_term": last.term}
        answers = self._hear(candidate, {"type": "request_vote", "term": term, **said})
        return {"type": "response_vote", "term": term} in answers

    def stand(self) -> None:
        """Tick until it has asked for votes."""
        before, deadline = self.node.raftCurrentTerm, time.monotonic() + SETTLE_S
        while self.node.raftCurrentTerm == before:
            assert time.monotonic() < deadline, "it never stood for election"
            self.node.doTick(0.001)

    def voted(self, voter: str) -> None:
        self._hear(voter, {"type": "response_vote", "term": self.node.raftCurrentTerm})

    def propose(self) -> int:
        self.node.apply(entry(0, 0).data)
        self.node.doTick(0.0)
        return self._last()

    def agreed(self, follower: str, _term: int, index: int) -> None:
        self._hear(
            follower, {"type": "next_node_idx", "next_node_idx": index + 2, "reset": False, "success": True}
        )
        self.node.doTick(0.0)

    @property
    def leads(self) -> bool:
        return self.node.leading()

    @property
    def term(self) -> int:
        return int(self.node.raftCurrentTerm)

    @property
    def committed(self) -> int:
        return int(self.node.raftCommitIndex) - 1

    def close(self) -> None:
        self.node.destroy()

    def _last(self) -> int:
        return int(self.node.getStatus()["log_len"]) - 1

    def _entry(self, index: int, term: int) -> tuple[bytes, int, int]:
        return (b"\x01", index + 1, term)  # of no command: no machine has to make sense of it

    def _hear(self, sender: str, message: Mapping[str, object]) -> list[dict[str, Any]]:
        self._wire.sent.clear()
        self._wire._onMessageReceived(self._nodes[sender], dict(message))
        return self._wire.sent


MACHINES: Final[Mapping[str, Opening]] = {"raft": RaftMachine, "pysyncobj": StockMachine}


class Maker:
    """Makes the member of one test, again where it was closed, and closes it in the end."""

    def __init__(self, side: str, directory: pathlib.Path) -> None:
        self.directory = directory
        self._opening = MACHINES[side]
        self._made: list[Machine] = []

    def __call__(self, members: Sequence[str] = THREE) -> Machine:
        """Raises what opening raises."""
        self._made.append(self._opening(self.directory, members))
        return self._made[-1]

    def close(self) -> None:
        while self._made:
            self._made.pop().close()


def main(side: str, directory: str, candidate: str, term: str) -> None:
    given = Maker(side, pathlib.Path(directory))().gives_vote(candidate, int(term), log.Position(1, 1))
    sys.stdout.write("yes" if given else "no")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
