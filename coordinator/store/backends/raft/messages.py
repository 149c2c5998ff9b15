"""What the members of one group say to each other, and the acts of the core around it.

Pure. Messages are msgpack arrays with numbered tags: never renumber, new fields last with a default. The transport
vouches for the sender; a message carries no name of its own.
The contract of outputs: a shell performs the outputs of one batch of inputs in order, except that an `early` Send may
leave at once, and that nothing behind a `Persist` is performed before it is durable.
"""

import msgspec

from coordinator.store.backends.raft import log

# Messages.


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Asks for a vote in `term`; `pre`: asks whether one would be given, and binds nobody.

    `bidden`: the leader itself wants to be followed, so that hearing from it is no reason to refuse.
    """

    term: int
    last: log.Position
    pre: bool = False
    bidden: bool = False


class Voted(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`term` is the asked one where granted, else the sender's own."""

    term: int
    granted: bool
    pre: bool = False


class Append(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Entries that follow `prev`; without entries a heartbeat. `round` numbers read barriers."""

    term: int
    prev: log.Position
    entries: tuple[log.Entry, ...]
    commit: int
    round: int


class Appended(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Success: the sender's log equals the leader's up to `index`. Else: try again from `index`."""

    term: int
    success: bool
    index: int
    round: int


class Install(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A piece of the snapshot that ends at `end`."""

    term: int
    end: log.Position
    offset: int
    data: bytes
    last: bool


class Installed(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The sender holds the first `offset` bytes of the snapshot that ends at `end`."""

    term: int
    end: log.Position
    offset: int


class Succeed(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The leader of `term` is about to go: stand at once."""

    term: int


Message = Vote | Voted | Append | Appended | Install | Installed | Succeed

# What a member asks of the leader for its own callers; the core knows nothing of these.


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Propose this."""

    ticket: int
    data: bytes


class Forwarded(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Where it stands in the log now; None: it was not taken, for `reason`."""

    ticket: int
    position: log.Position | None
    reason: str = ""


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A barrier."""

    ticket: int


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Read once this index is applied; None: no barrier could be had."""

    ticket: int
    index: int | None


Request = Forward | Forwarded | Ask | Answer
Frame = Message | Request

# Inputs of the core.


class Tick(msgspec.Struct, frozen=True):
    """The deadline may have passed."""


class Received(msgspec.Struct, frozen=True):
    sender: str
    message: Message


class Propose(msgspec.Struct, frozen=True):
    """Commands, each with the shell's ticket for it."""

    items: tuple[tuple[int, bytes], ...]


class Read(msgspec.Struct, frozen=True):
    """Ask for a barrier: when may a state be read that holds everything acknowledged before now."""

    ticket: int


class Persisted(msgspec.Struct, frozen=True):
    """Everything up to this position of the own log is durable."""

    position: log.Position


class Snapshotted(msgspec.Struct, frozen=True):
    """A snapshot up to `index` is durable; entries before `keep` may be forgotten."""

    keep: int


class Replaced(msgspec.Struct, frozen=True):
    """The snapshot from `leader` is durable and restored."""

    leader: str
    end: log.Position


class Reconnected(msgspec.Struct, frozen=True):
    """A new link to this member: what was sent on the old one may be lost."""

    member: str


class Resign(msgspec.Struct, frozen=True):
    """If the own member leads, let another lead: `to`, if it holds everything now, or whoever holds most."""

    to: str | None = None


Input = Tick | Received | Propose | Read | Persisted | Snapshotted | Replaced | Reconnected | Resign

# Outputs of the core.


class Persist(msgspec.Struct, frozen=True):
    """Make durable: term and vote, the loss of everything behind `cut` (None: of nothing), entries."""

    term: int
    vote: str | None
    cut: log.Position | None = None
    entries: tuple[log.Entry, ...] = ()


class Send(msgspec.Struct, frozen=True):
    """`early`: promises nothing that is not durable yet."""

    to: str
    message: Message
    early: bool = False


class SendPiece(msgspec.Struct, frozen=True):
    """Send the newest snapshot's bytes from `offset` on, as Install of `term`; `end` names the one begun with, if any."""

    to: str
    term: int
    offset: int
    end: log.Position | None


class KeepPiece(msgspec.Struct, frozen=True):
    """Keep a piece and answer Installed; once whole and restored, give Replaced."""

    sender: str
    piece: Install


class Commit(msgspec.Struct, frozen=True):
    """Apply these; they follow what was committed before."""

    entries: tuple[log.Entry, ...]


class Accepted(msgspec.Struct, frozen=True):
    """The command stands at this position of the leader's log; committed only when it is."""

    ticket: int
    position: log.Position


class Declined(msgspec.Struct, frozen=True):
    """Not here, or not now: nothing was done."""

    ticket: int


class Readable(msgspec.Struct, frozen=True):
    """Read once everything up to `index` is applied."""

    ticket: int
    index: int


class Office(msgspec.Struct, frozen=True):
    """Who leads in which term, as far as this member knows."""

    term: int
    leader: str | None
    leading: bool


Output = Persist | Send | SendPiece | KeepPiece | Commit | Accepted | Declined | Readable | Office
