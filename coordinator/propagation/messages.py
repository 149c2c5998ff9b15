"""Everything that travels over a hop, as values. Every frame is one msgpack array whose first item is its tag.

Downwards: `Welcome Offer Chunk Heartbeat Ask Answer Bye`. Upwards: `Hello Pull Ack Rollup Heartbeat Ask Answer Newest
Bye`, and `Offer`/`Chunk` where a child is ahead of its parent.
"""

import enum

import msgspec

from coordinator import names
from coordinator.propagation import objects

PROTOCOL = 1
"""Protocol N works with N - 1."""


class Level(enum.IntEnum):
    """How far one server (or node, or role) has come with one revision; lowered the moment it stops being true."""

    NONE = 0
    HELD = 1
    ACCEPTED = 2
    APPLIED = 3
    READY = 4
    RELEASED = 5

    @property
    def word(self) -> str:
        return self.name.lower()


class Outcome(enum.StrEnum):
    """`refused`: not taken; `failed`: taken, and did not run."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


STALE = "stale"
"""Code of the ack of a server that is linked and has had no sign of life of MIC, or not what it speaks of, for too long."""
REFUSES = "objects_refused"
"""Code of the ack of a server whose parent shows it objects that do not verify; it runs on with the last good ones."""
CLOCK = "clock_skew"
"""Code of the ack of a server whose clock is minutes away from MIC's: its logs and ages mislead whoever reads them."""
EXPIRED = "certificate_expired"
"""Code of the ack of a server whose certificate has run out and is not renewed yet."""


class ChildKind(enum.StrEnum):
    """What a child is; decides what it may see and say."""

    IC = "ic"
    SHELL = "shell"
    NODE = "node"
    WS = "ws"
    DC = "dc"
    LOCAL = "local"
    """A program on the same server, over the Unix socket."""


PEOPLE = frozenset({ChildKind.WS, ChildKind.DC})
"""Those who speak for people: only their requests and answers hold whole documents."""


class RoleAck(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A role's own part in an ack."""

    role: names.RoleName
    level: Level
    outcome: Outcome
    code: str = ""
    detail: str = ""
    health: str = ""
    """Of what runs as wanted, in the role's own word (`role.Health`); empty where that does not run."""


class AckState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """State, not an event: the whole truth about one server, replacing whatever was known at a lower `epoch`."""

    # MIC keeps one of every server: values without cycles, which the collector need not walk through (`gc=False`).

    version: names.Version
    digest: names.Digest
    level: Level
    outcome: Outcome
    epoch: names.Epoch
    code: str = ""
    detail: str = ""
    roles: tuple[RoleAck, ...] = ()
    """Of a server: those in trouble, at most `limits.ACK_ROLES`; of a node: all of them."""
    holds: objects.Numbers = objects.Numbers()
    """Of a server: the signed objects that it keeps durably; old keys are given up by it."""
    issuer: str = ""
    """Of a server: which CA its certificate is of (`signing.root_id`)."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a relay knows of one server: whether it holds its link, and the greatest ack."""

    server: names.ServerId
    linked: bool
    ack: AckState | None
    remark: str = ""
    """What the relay itself notes about this link; empty where all is well."""


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """Base of everything on the wire."""


class Hello(Frame, frozen=True, tag=1):
    """The child's first frame."""

    protocol: int
    cluster: names.ClusterId
    kind: ChildKind
    name: str
    """Node name of a node, role name of an IC, WS or DC; empty for a ServerShell, whose name is its admission's."""
    boot: int
    numbers: objects.Numbers
    base: str
    """Digest of the body it can take deltas against; empty if none."""
    admission: bytes
    """Its own signed admission, empty from a node."""
    ack: AckState | None


class Welcome(Frame, frozen=True, tag=2):
    """The parent's answer: the link is open."""

    protocol: int
    cluster: names.ClusterId
    boot: int
    """Greatest boot counter known of that server; 0 if none."""
    numbers: objects.Numbers
    admission: bytes
    trust: bytes = b""
    """The signed `trust`, for a child whose number of it is older: it may know none of the keys that signed the rest."""


class Chunk(Frame, frozen=True, tag=3):
    """A piece of a body's encoding: zstd, with the body `base` as prefix where `base` is not empty."""

    digest: names.Digest
    base: str
    offset: int
    total: int
    size: int
    """Of the body itself, in bytes; checked against the signed record before anything is allocated."""
    data: bytes


class Offer(Frame, frozen=True, tag=4):
    """Signed objects newer than the peer's numbers, each whole; a small body may come along."""

    objects: tuple[bytes, ...]
    body: Chunk | None
    after: names.Serial = names.NO_SERIAL
    """Of all admissions in rising order: these follow that one. Who does not have it takes none of them, and says with
    its next heartbeats how far it is."""


class Pull(Frame, frozen=True, tag=5):
    """The piece of `digest` at `offset`, as a delta against `base` if the parent can."""

    digest: names.Digest
    base: str
    offset: int


class Ack(Frame, frozen=True, tag=6):
    """A ServerShell's or node's own ack."""

    state: AckState


class Rollup(Frame, frozen=True, tag=7):
    """What an IC knows of the servers whose links it holds or held; `full` replaces all it said before."""

    seq: int
    """Rises by one with every roll-up of a link; a gap makes the parent ask for the whole (`Newest`)."""
    full: bool
    rows: tuple[Row, ...]


class Heartbeat(Frame, frozen=True, tag=8):
    """Sign of life of this link, and what should have arrived over it by now, so that whatever was lost is noticed."""

    fresh: bytes
    """MIC's own sign of life, relayed unchanged; empty if none is known, and upwards."""
    numbers: objects.Numbers
    """Downwards: complete for your prefix up to here. Upwards: what the child holds."""
    told: int
    """Upwards: `epoch.seq` of the last ack, or `seq` of the last roll-up. Downwards 0."""


class Ask(Frame, frozen=True, tag=9):
    """A request, in parts; `server` empty: the peer itself, else relayed to that server."""

    id: int
    verb: str
    server: str
    last: bool
    data: bytes


class Answer(Frame, frozen=True, tag=10):
    """The answer, in parts; `code` empty: good."""

    id: int
    code: str
    last: bool
    data: bytes


class Newest(Frame, frozen=True, tag=11):
    """The whole state again, please. Upwards: offer everything newer than `numbers`; downwards: ack or full roll-up."""

    numbers: objects.Numbers


class Bye(Frame, frozen=True, tag=12):
    """The link ends, and why; come back after so many seconds."""

    reason: str
    retry_after_s: float


AnyFrame = Hello | Welcome | Chunk | Offer | Pull | Ack | Rollup | Heartbeat | Ask | Answer | Newest | Bye
