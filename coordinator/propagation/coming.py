"""The newest target on its way in, until its record and its body are here: what to ask for, and when to ask again.

Law: one piece is asked for at a time; a delta that does not fit costs one full pull, never a loop.
"""

import msgspec

from coordinator import names
from coordinator.propagation import bodies, messages, mirror


class Wanted(msgspec.Struct):
    """A verified target that waits for its record or its body."""

    link: names.LinkId
    target: mirror.SignedTarget
    record: mirror.SignedRecord | None = None
    assembly: bodies.Assembly | None = None
    full: bool = False
    """A delta failed once: pull without base, once."""
    asked: int | None = None
    """Offset of the piece asked for last."""
    nudged: int | None = None
    """Offset still missing at the last heartbeat."""

    def awaits(self, record: mirror.SignedRecord) -> None:
        """Its record is here; its body comes next."""
        self.record = record
        self.assembly = bodies.Assembly(record.content.digest, record.content.size_bytes)

    def next_pull(self, base: str) -> messages.Pull | None:
        """What to ask the parent for now, once; `base` is the digest of the body that is here."""
        if self.assembly is None or self.asked == self.assembly.offset:
            return None
        self.asked = self.assembly.offset
        return messages.Pull(self.assembly.digest, "" if self.full else base, self.asked)

    def nudge(self) -> None:
        """Called every heartbeat: what was asked for at the last one and has not come is asked for again."""
        if self.assembly is None:
            return
        if self.nudged == self.assembly.offset:
            self.asked = None
        self.nudged = self.assembly.offset

    def is_stuck(self, link: names.LinkId, raw: bytes) -> bool:
        """Whether the body of this very target is awaited from another link, which has been asked and stays silent."""
        if self.assembly is None or self.link == link:
            return False
        return self.target.raw == raw and self.nudged == self.assembly.offset

    def start_again(self) -> bool:
        """What came does not fit; False where it was the whole body already."""
        if self.full:
            return False
        assert self.record is not None
        self.full, self.asked = True, None
        self.awaits(self.record)
        return True
