"""The body of the prepared revision on its way in: pulled beside everything else, durable and checked before it is `held`.

It is not to run: nothing here touches what is accepted. When a later target makes it active, its body is here already,
and one small object moves. Law: of the revision that the newest target prepares, and of no other, a body is pulled; one
that the tier refuses is pulled once and never held, unless it was for want of room, which may be found later; and whatever
is wrong with it is `told` to whoever asks, from the moment it is known until it is held.
"""

import enum

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import bodies, events, messages, objects

Refusal = events.Refusal
NO_ROOM = "no_room"
"""Code of a refusal for want of room on the disk."""
DIFFERS = "body_differs"
"""Code where the parent sends something else than that body; it is asked for again all the same."""
AGAIN_BEATS = 30  # a minute of heartbeats until the disk may have room


class Trouble(msgspec.Struct, frozen=True):
    """One thing that cannot work; of one role, or, where that is empty, of the whole."""

    role: str
    code: str
    message: str


class Told(msgspec.Struct, frozen=True):
    """What a tier answers about the prepared revision."""

    revision: int
    digest: str
    stage: str
    """Of `Stage`."""
    troubles: tuple[Trouble, ...] = ()


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
        self._beats = 0
        self.frame = (names.Digest(""), b"")
        """Of the body that came last, where it came as one zstd frame."""
        self._came: bodies.Assembly | None = None

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
        if pointer is None:
            return
        if pointer.size_bytes > limits.DOCUMENT_BYTES:
            self.refused(Refusal("too_large", f"body of {pointer.size_bytes} bytes"))
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
        if self.stage is Stage.REFUSED and self.refusal is not None and self.refusal.code == NO_ROOM:
            self._beats += 1
            if self._beats >= AGAIN_BEATS:
                self.again()
        if self._assembly is None:
            return
        if self._nudged == self._assembly.offset:
            self._asked = None
        self._nudged = self._assembly.offset

    def again(self) -> None:
        """Take what was refused another time; why it was stays told until it is held."""
        if self.stage is Stage.REFUSED and self.pointer is not None:
            if self.pointer.size_bytes > limits.DOCUMENT_BYTES:
                return
            self.stage, self._full = Stage.COMING, False
            self._assembly = bodies.Assembly(self.pointer.digest, self.pointer.size_bytes)
            self._asked = self._nudged = None

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
        except errors.ProtocolError as problem:
            again, self._full = self._full, True
            if again:
                self.refusal = Refusal(DIFFERS, problem.message)
            self.gone()
            self._asked = 0 if again else None
            return None
        if body is not None:
            self._came, self._assembly = None if self._full else self._assembly, None
            self.frame = (chunk.digest, self._came.frame if self._came is not None else b"")
        return body

    def teach(self, shelf: bodies.Shelf, own: names.Digest) -> None:
        """Of a relay: the body passes on best in the encoding in which it came; `own` is that of what is active here."""
        if self._came is not None:
            shelf.learn(self._came, own)
            self._came = None

    def refused(self, refusal: Refusal) -> None:
        """The tier's own check does not like it."""
        self.stage, self.refusal, self._beats = Stage.REFUSED, refusal, 0

    def stored(self) -> None:
        """It is durable."""
        self.stage, self.refusal = Stage.HELD, None

    def told(self) -> Told:
        """To whoever asks; a tier may find more on its machine that is wrong."""
        refusal = self.refusal
        found = () if refusal is None else (Trouble("", refusal.code, refusal.detail),)
        revision = 0 if self.pointer is None else self.pointer.revision
        return Told(revision, self.digest, self.stage.value, found)
