"""May this MIC issue anything from this store? What it finds against what it, its server and the seed remember.

The mark is kept outside the store, so that a store that is lost, emptied or restored from an old copy is noticed: from
such a store a revision number would be issued twice (I1). Recovery is never automatic.
Law: the mark never falls; a seed is taken only where there is no sign that anything was ever issued here.
"""

import msgspec

from coordinator import effects, errors, names
from coordinator.host import logs
from coordinator.propagation import mirror

NAME = "high-water"

_LOG = logs.Log("mic")


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The greatest that was ever issued."""

    version: names.Version
    target: names.Serial


class HighWater:
    """The mark's file."""

    def __init__(self, disk: effects.Disk) -> None:
        self._disk = disk
        self.damaged = False
        self.mark = self._read()

    def _read(self) -> Mark | None:
        data = self._disk.read(NAME)
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=Mark)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _LOG.error("high-water mark damaged", size=len(data))
            self.damaged = True
            return None

    def raise_to(self, mark: Mark) -> None:
        """Durable when it returns; blocks for an fsync. A lower mark changes nothing."""
        if self.mark is not None:
            mark = Mark(max(mark.version, self.mark.version), max(mark.target, self.mark.target))
        if mark == self.mark and not self.damaged:
            return
        self._disk.write(NAME, msgspec.json.encode(mark))
        self.mark, self.damaged = mark, False


def mark_of(content: mirror.Content) -> Mark:
    """What this content, once issued, leaves as mark."""
    return Mark(content.version, content.numbers.target)


class TakeSeed(msgspec.Struct, frozen=True):
    """Nothing was ever issued here: the seed is the beginning."""


class Sound(msgspec.Struct, frozen=True):
    """The store is the newest there is."""


class Recover(msgspec.Struct, frozen=True):
    """It is not; nothing may be issued."""

    reason: str


def judge(
    stored: mirror.Content | None,
    mark: HighWater,
    ledger: mirror.Content | None,
    seed: mirror.Content | None,
) -> TakeSeed | Sound | Recover:
    """`stored` is None where the store is empty, `ledger` is what the own server accepted."""
    known = names.NO_SERIAL if ledger is None else ledger.numbers.target
    if stored is None:
        return _empty(mark, known, seed)
    have = stored.numbers.target
    if mark.mark is not None and (mark.mark.target > have or mark.mark.version > stored.version):
        return Recover(
            f"the store is older than what was issued (got {stored.version}, have {mark.mark.version})"
        )
    if known > have:
        assert ledger is not None
        return Recover(f"this server has newer than the store (got {stored.version}, have {ledger.version})")
    return Sound()


def _empty(mark: HighWater, known: names.Serial, seed: mirror.Content | None) -> TakeSeed | Recover:
    if mark.mark is not None or mark.damaged:
        issued = "something" if mark.mark is None else str(mark.mark.version)
        return Recover(f"the store is empty, and {issued} was issued from it")
    if seed is None:
        return Recover("the store is empty, and there is no seed of `server init`")
    if known > seed.numbers.target:
        return Recover("the store is empty, and this server has newer than the seed")
    return TakeSeed()


def refuse(reason: str) -> errors.NeedsRecoveryError:
    """What every change is answered."""
    return errors.NeedsRecoveryError(
        f"nothing can be changed: {reason}", hint="see `tiercast store recover`; everything runs on meanwhile"
    )
