"""The body of the prepared revision on its way in: pulled beside everything else, durable and checked before it is `held`.

It is not to run: nothing here touches what is accepted. When a later target makes it active, its body is here already,
and one small object moves. Law: of the revision that the newest target prepares, and of no other, a body is pulled; one
that the tier refuses is pulled once and never held.
"""

import enum

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import bodies, messages, objects


class Refusal(msgspec.Struct, frozen=True):
    """Why a tier does not take a body."""

    code: str
    detail: str


class Stage(enum.Enum):
    """How far it has come."""

    NOTHING = "nothing"
    """No revision is prepared."""
    COMING = "coming"
    REFUSED = "refused"
    HELD = "held"
    """Durable."""


class Holding:
    """Of one tier."""

    def __init__(self) -> None:
        self.pointer: objects.Pointer | None = None
        self.stage = Stage.NOTHING
        self.refusal: Refusal | None = None
        self._assembly: bodies.Assembly | None = None
        self._full = False
        self._asked: int | None = None
        self._nudged: int | None = None

    @property
    def digest(self) -> names.Digest:
        """Of the prepared body; empty where there is none."""
        return names.Digest("") if self.pointer is None else self.pointer.digest

    def want(self, pointer: objects.Pointer | None, *, held: bool) -> None:
        """What the newest target prepares; `held`: its body is here, durably."""
        if pointer == self.pointer and (self.stage is not Stage.NOTHING or pointer is None):
            return
        self.pointer, self.stage, self.refusal = pointer, Stage.NOTHING, None
        self._assembly, self._full = None, False
        self._asked = self._nudged = None
        if pointer is None or pointer.size_bytes > limits.DOCUMENT_BYTES:
            return
        self.stage = Stage.HELD if held else Stage.COMING
        if not held:
            self._assembly = bodies.Assembly(pointer.digest, pointer.size_bytes)

    def next_pull(self, base: str) -> messages.Pull | None:
        """What to ask the parent for now, once; `base` is the digest of the body that is here."""
        if self._assembly is None or self._asked == self._assembly.offset:
            return None
        self._asked = self._assembly.offset
        return messages.Pull(self._assembly.digest, "" if self._full else base, self._assembly.offset)

    def nudge(self) -> None:
        """Called every heartbeat: what was asked for at the last one and has not come is asked for again."""
        if self._assembly is None:
            return
        if self._nudged == self._assembly.offset:
            self._asked = None
        self._nudged = self._assembly.offset

    def gone(self) -> None:
        """Whoever was asked will not answer: begin again with the next parent."""
        if self._assembly is not None and self.pointer is not None:
            self._assembly = bodies.Assembly(self.pointer.digest, self.pointer.size_bytes)
            self._asked = self._nudged = None

    def piece(self, chunk: messages.Chunk, base: bytes | None) -> bytes | None:
        """The body once it is whole. A delta that does not fit costs one full pull at once; a full one that does not, one
        after the next heartbeats.
        """
        if self._assembly is None or chunk.digest != self._assembly.digest:
            return None
        try:
            body = self._assembly.add(chunk, base)
        except errors.ProtocolError:
            again, self._full = self._full, True
            self.gone()
            self._asked = 0 if again else None
            return None
        if body is not None:
            self._assembly = None
        return body

    def refused(self, refusal: Refusal) -> None:
        """The tier's own check does not like it."""
        self.stage, self.refusal = Stage.REFUSED, refusal

    def stored(self) -> None:
        """It is durable."""
        self.stage = Stage.HELD
