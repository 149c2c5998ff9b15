"""What the shell of a tier tells a machine and what the machine wants done. See the package docstring for the order."""

import enum
from collections.abc import Callable, Mapping

import msgspec

from coordinator import names
from coordinator.propagation import messages


class Parent(msgspec.Struct, frozen=True):
    """Where a child may dial: a server expected at an address, or a Unix socket path (then `port` is 0)."""

    server: names.ServerName
    address: str
    port: int


class Refusal(msgspec.Struct, frozen=True):
    """Why a tier does not take a body."""

    code: str
    detail: str


# --- inputs ---------------------------------------------------------------------------------------------------------


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


class Proof(msgspec.Struct, frozen=True):
    """What the handshake has shown of the peer beside its id."""

    key: str = ""
    """Digest of the public key that it holds, as an admission names it; empty where there was no TLS."""
    expired: bool = False
    """Its certificate had run out: it may only receive, ack and renew."""


NO_PROOF = Proof()


class Opened(msgspec.Struct, frozen=True):
    """The dial numbered `dial` succeeded; TLS says the parent is `peer`."""

    dial: int
    link: names.LinkId
    peer: names.ServerId
    proof: Proof = NO_PROOF


class DialFailed(msgspec.Struct, frozen=True):
    """The dial numbered `dial` failed."""

    dial: int
    reason: str


class Arrived(msgspec.Struct, frozen=True):
    """A child connected; TLS (or the Unix socket) says it is `peer`."""

    link: names.LinkId
    peer: names.ServerId
    proof: Proof = NO_PROOF


class Heard(msgspec.Struct, frozen=True):
    """A frame came in."""

    link: names.LinkId
    frame: messages.AnyFrame


class Gone(msgspec.Struct, frozen=True):
    """The link is closed, by whichever side."""

    link: names.LinkId
    reason: str


class Stored(msgspec.Struct, frozen=True):
    """What `Store` asked for is durable; or, where it was `spare` and there is a `problem`, nothing of it is."""

    ticket: int
    problem: str = ""


class Judged(msgspec.Struct, frozen=True):
    """What `Judge` asked for: why not, if so."""

    digest: names.Digest
    refusal: Refusal | None


# --- outputs --------------------------------------------------------------------------------------------------------


class Dial(msgspec.Struct, frozen=True):
    """Connect to `parent` after a random delay of at most `delay_s`; answer with `Opened` or `DialFailed`."""

    dial: int
    parent: Parent
    delay_s: float


class Send(msgspec.Struct, frozen=True):
    """One frame to one or many links; encode it once."""

    links: tuple[names.LinkId, ...]
    frame: messages.AnyFrame


class Authenticated(msgspec.Struct, frozen=True):
    """The peer is known: large frames may pass from here on."""

    link: names.LinkId
    documents: bool = False
    """Whole documents are asked and answered over it: it is WS or DC with MIC."""


class Close(msgspec.Struct, frozen=True):
    """Close the link; no `Gone` is expected for it any more, and one that comes does no harm."""

    link: names.LinkId
    reason: str


class Store(msgspec.Struct, frozen=True):
    """Make this durable as one: `objects` by ledger key replace those stored, `body` is added. Then `Stored`."""

    ticket: int
    objects: Mapping[str, bytes]
    body: tuple[names.Digest, bytes] | None
    keep: tuple[names.Digest, ...]
    """Bodies that must not be dropped."""
    frame: bytes = b""
    """`body` as one zstd frame, where it came as one: it need not be compressed again."""
    base: str = ""
    """Digest of the body against which `frame` is one; empty where it is whole."""
    spare: bool = False
    """Nothing of it is to run yet: where the disk has no room for it, that is an answer."""


class Judge(msgspec.Struct, frozen=True):
    """Look at `body` with `check`, in nobody's way: it is large, and nothing of it is to run yet. Then `Judged`."""

    digest: names.Digest
    body: bytes
    check: Callable[[bytes], Refusal | None]


class Accepted(msgspec.Struct, frozen=True):
    """Durable and to run: act on it."""

    version: names.Version
    digest: names.Digest
    body: bytes


class Severity(enum.StrEnum):
    """How loud a note is."""

    INFO = "info"
    WARNING = "warning"


class Note(msgspec.Struct, frozen=True):
    """For the log: a constant phrase and its facts."""

    severity: Severity
    phrase: str
    facts: Mapping[str, str | int | float]


Input = Tick | Opened | DialFailed | Arrived | Heard | Gone | Stored | Judged
HopOutput = Dial | Send | Authenticated | Close | Store | Judge | Accepted | Note
