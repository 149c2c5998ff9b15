"""The durable log of one member: entries, cuts, term and vote in one run of records, in files of bounded size.

It may not know what an entry means. Laws: what `sync` has returned for is read again by `open`, or `open` refuses;
term and vote are written in the same run, so that their order to the entries is never in doubt; the first record of
every file repeats identity, term and vote, so that older files can go. Reading stops at a torn tail and cuts it;
damage anywhere before that is refused. The last batch before a crash alone cannot be told from a torn tail, which is
why a sync must have returned before anything is promised.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from coordinator import effects, errors, names
from coordinator.store.backends.raft import files, log, records

FORMAT: Final = 1
RESERVE_BYTES: Final = 1024 * 1024
RESERVE_MOST_BYTES: Final = (
    16 * 1024 * 1024
)  # at once: a file that grows fast asks seldom, for asking costs a sync as much as the bytes do
MARGIN_BYTES: Final = 64 * 1024  # room that is always left for term and vote on a full disk
SEGMENT_BYTES: Final = 64 * 1024 * 1024
HEADER_BYTES: Final = 4096  # five members of 64 bytes and more, many times over
PREFIX: Final = "journal-"
UNFINISHED: Final = ".new"


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """Who keeps this journal, and with whom; never read from anywhere else."""

    cluster: names.ClusterId
    member: str
    members: tuple[str, ...]


class Header(msgspec.Struct, frozen=True, array_like=True):
    """The first record of every file; `prev` is the last entry before it."""

    format: int
    identity: Identity
    seq: int
    salt: int
    term: int
    vote: str | None
    prev: log.Position


class Recovered(msgspec.Struct, frozen=True):
    """What stands in a journal."""

    identity: Identity
    term: int
    vote: str | None
    held: log.Log
    records: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Header)
_POSITIONS = msgspec.msgpack.Decoder(log.Position)
_VOTES = msgspec.msgpack.Decoder(str | None)


def exists(directory: files.Files) -> bool:
    """Whether a journal was ever begun here."""
    return bool(_segments(directory))


def identity(directory: files.Files) -> Identity | None:
    """Whose journal it is, by the header of its first file; None where there is none. Raises DamagedError."""
    segments = _segments(directory)
    if not segments:
        return None
    opened = directory.reader(segments[0])
    try:
        found = records.read(opened.read(0, HEADER_BYTES), 0, 0)
    finally:
        opened.close()
    if found is None or found.record.kind != records.HEADER:
        raise _damaged(segments[0], 0, "its header does not check")
    reader = _Reader()
    reader._take_header(segments[0], found.record.payload)  # noqa: SLF001 the only reader of headers
    assert reader.header is not None
    return reader.header.identity


class Journal:
    """The writing end; blocking, used by one thread at a time."""

    def __init__(
        self, directory: files.Files, random: effects.Random, header: Header, last: log.Position
    ) -> None:
        self._files = directory
        self._random = random
        self._header = header
        self._last = last
        self._term, self._vote = header.term, header.vote
        self._starts: list[tuple[str, log.Position]] = []
        self._base = 0
        self._file: files.Appender | None = None

    @property
    def size_bytes(self) -> int:
        """Of the file that grows now."""
        return self._appender.offset

    def room(self, size_bytes: int) -> bool:
        """Whether the disk has promised room for so much more."""
        return self._appender.offset + size_bytes + MARGIN_BYTES <= self._appender.reserved

    def reserve(self, size_bytes: int) -> None:
        """Have the disk promise room; raises NoSpaceError, and nothing has changed then."""
        needed = self._appender.offset + size_bytes + MARGIN_BYTES
        ahead = min(max(RESERVE_BYTES, self._appender.offset), RESERVE_MOST_BYTES)
        if ahead > RESERVE_BYTES and self._reserved(needed + ahead):
            return
        if not self._reserved(needed + RESERVE_BYTES):
            raise errors.NoSpaceError(
                "the disk of the store is full", hint="make room; the store goes on by itself"
            )

    def _reserved(self, size_bytes: int) -> bool:
        """False where the disk is full."""
        try:
            self._appender.reserve(size_bytes)
        except OSError as error:
            if error.errno in files.FULL:
                return False
            raise
        return True

    def append(
        self, term: int, vote: str | None, cut: log.Position | None, entries: Sequence[log.Entry]
    ) -> None:
        """Write, without promise: a changed term or vote, the loss of all behind `cut` (if any), entries."""
        parts: list[bytes] = []
        if (term, vote) != (self._term, self._vote):
            parts.append(self._encode(records.OFFICE, 0, term, _ENCODER.encode(vote)))
            self._term, self._vote = term, vote
        if cut is not None:
            parts.append(self._encode(records.CUT, cut.index, cut.term, b""))
            self._last = cut
        for entry in entries:
            record = records.Record(records.ENTRY, entry.index, entry.term, bytes((entry.kind,)))
            parts += records.framed(record, self._header.salt, self._base, entry.data)
        self._appender.write(parts)
        if entries:
            self._last = entries[-1].position

    def sync(self) -> None:
        """Return once everything appended is durable; an error here is for ever."""
        self._appender.sync()
        self._base = self._appender.offset
        if self._base > SEGMENT_BYTES:
            self.roll()

    def roll(self) -> None:
        """Go on in a new file; everything before must be synced. On a full disk the old one grows further."""
        header = msgspec.structs.replace(
            self._header,
            seq=self._header.seq + 1,
            salt=int(self._random.token(4), 16),
            term=self._term,
            vote=self._vote,
            prev=self._last,
        )
        self._begin(header)

    def replace(self, prev: log.Position, last: log.Position) -> None:
        """A snapshot that ends at `prev` takes the place of all up to there; `last` is the end of the log then."""
        self._appender.write([self._encode(records.REPLACED, prev.index, prev.term, _ENCODER.encode(last))])
        self._last = last
        self.sync()

    def drop_before(self, index: int) -> None:
        """Remove files that hold only entries up to `index`, the oldest first: a gap would look like a loss."""
        while len(self._starts) > 1 and self._starts[1][1].index <= index:
            self._files.remove(self._starts.pop(0)[0])
            self._files.sync_directory()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _appender(self) -> files.Appender:
        assert self._file is not None, "a journal is used while it is open"
        return self._file

    def _encode(self, kind: int, index: int, term: int, payload: bytes) -> bytes:
        return records.encode(records.Record(kind, index, term, payload), self._header.salt, self._base)

    def _begin(self, header: Header) -> None:
        name = _name(header.seq)
        try:
            fresh = self._made(name + UNFINISHED, header)
            self._files.rename(name + UNFINISHED, name)
        except OSError as error:
            if error.errno in files.FULL and self._file is not None:
                files.forget(self._files, name + UNFINISHED)
                return
            raise
        self._files.sync_directory()
        self.close()
        self._file, self._header, self._base = fresh, header, fresh.offset
        self._starts.append((name, header.prev))

    def _made(self, name: str, header: Header) -> files.Appender:
        fresh = self._files.open(name, 0)
        try:
            fresh.reserve(RESERVE_BYTES + MARGIN_BYTES)
            fresh.write([records.encode(records.Record(records.HEADER, 0, 0, _ENCODER.encode(header)), 0, 0)])
            fresh.sync()
        except OSError:
            fresh.close()
            raise
        return fresh

    def _resume(
        self, starts: list[tuple[str, log.Position]], term: int, vote: str | None, end: int, *, torn: bool
    ) -> None:
        self._starts = starts
        self._term, self._vote = term, vote
        self._file = self._files.open(starts[-1][0], end)
        if torn:
            self._file.cut(end)
        # What a killed process wrote and never synced was read back from memory; only now is it on disk.
        self._file.sync()
        self._base = end


def create(
    directory: files.Files, identity: Identity, random: effects.Random, prev: log.Position = log.NOTHING
) -> Journal:
    """Begin a journal in a directory without one, behind a snapshot that ends at `prev`; all or nothing."""
    header = Header(FORMAT, identity, 1, int(random.token(4), 16), prev.term, None, prev)
    journal = Journal(directory, random, header, prev)
    journal._begin(header)  # noqa: SLF001 the other half of the constructor
    return journal


def open_journal(directory: files.Files, random: effects.Random) -> tuple[Journal, Recovered]:
    """Read everything and go on at the end; raises DamagedError."""
    reader = _read_all(directory)
    header = reader.header
    assert header is not None, "the caller saw that there is a journal"
    for name in directory.names():
        if name.startswith(PREFIX) and name.endswith(UNFINISHED):
            directory.remove(name)
    journal = Journal(directory, random, header, reader.held.last)
    journal._resume(reader.starts, reader.term, reader.vote, reader.end, torn=reader.torn)  # noqa: SLF001 as above
    return journal, reader.recovered()


def check(directory: files.Files) -> Recovered:
    """Read everything and change nothing; raises DamagedError."""
    return _read_all(directory).recovered()


class _Reader:
    """Replays files in order."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.starts: list[tuple[str, log.Position]] = []
        self.held = log.Log(log.NOTHING)
        self.floor = 0
        """Up to there a snapshot stood for the log when its records were written: nothing before it was ever cut."""
        self.term = 0
        self.vote: str | None = None
        self.end = 0
        self.torn = False
        self.records = 0

    def read(self, name: str, data: bytes, *, newest: bool) -> None:
        found = records.read(data, 0, 0)
        if found is None or found.record.kind != records.HEADER:
            raise _damaged(name, 0, "its header does not check")
        self._take_header(name, found.record.payload)
        assert self.header is not None
        salt, offset = self.header.salt, found.end
        while (found := records.read(data, offset, salt)) is not None:
            self._take(name, offset, found.record)
            offset = found.end
            self.records += 1
        damage = records.damage(data, offset, salt)
        if damage and (damage.promised or not newest):
            raise _damaged(name, offset, "records that were promised do not check")
        self.end, self.torn = offset, damage is not None

    def recovered(self) -> Recovered:
        assert self.header is not None, "there is at least one file"
        return Recovered(self.header.identity, self.term, self.vote, self.held, self.records)

    def _take_header(self, name: str, payload: bytes) -> None:
        try:
            header = _DECODER.decode(payload)
        except msgspec.MsgspecError as error:
            raise _damaged(name, 0, f"its header does not decode: {error}") from error
        if header.format != FORMAT:
            raise _damaged(name, 0, f"unknown format (got {header.format}, have {FORMAT})")
        before = self.header
        if before is None:
            self.held = log.Log(header.prev)
            self.floor = header.prev.index if header.seq == 1 else 0
        elif (header.seq, header.identity, header.prev) != (before.seq + 1, before.identity, self.held.last):
            raise _damaged(name, 0, "it does not continue the file before it; one may be missing")
        self.header = header
        self.term, self.vote = header.term, header.vote
        self.starts.append((name, header.prev))

    def _take(self, name: str, offset: int, record: records.Record) -> None:
        last = self.held.last.index
        match record.kind:
            case records.OFFICE:
                self.term, self.vote = record.term, _VOTES.decode(record.payload)
            case records.CUT if self.held.prev.index <= record.number <= last:
                self.held.cut(record.number + 1)
            case records.CUT if self.floor <= record.number < self.held.prev.index:
                # Files that are gone held what is cut here: a snapshot held as many entries as they did, and later ones.
                self.held = log.Log(log.Position(record.number, record.term))
            case records.ENTRY if record.number == last + 1 and record.payload:
                entry = log.Entry(record.number, record.term, record.payload[0], record.payload[1:])
                self.held.append((entry,))
            case records.REPLACED:
                self._replace(log.Position(record.number, record.term), _POSITIONS.decode(record.payload))
            case _:
                raise _damaged(
                    name, offset, f"a record is out of place (kind {record.kind}, index {record.number})"
                )

    def _replace(self, prev: log.Position, last: log.Position) -> None:
        """What stood behind `prev` stayed or went as a whole: the files before may have held it, and be gone."""
        self.floor = max(self.floor, prev.index)
        if last.index > prev.index:
            self.held.compact(prev.index)
        else:
            self.held = log.Log(prev)


def _read_all(directory: files.Files) -> _Reader:
    reader = _Reader()
    segments = _segments(directory)
    for name in segments:
        reader.read(name, directory.read(name), newest=name == segments[-1])
    return reader


def _segments(directory: files.Files) -> list[str]:
    return sorted(n for n in directory.names() if n.startswith(PREFIX) and not n.endswith(UNFINISHED))


def _name(seq: int) -> str:
    return f"{PREFIX}{seq:012d}"


def _damaged(name: str, offset: int, reason: str) -> errors.DamagedError:
    return errors.DamagedError(
        f"{name} is damaged at byte {offset}: {reason}",
        hint="set the store's directory aside and restore it, or `tiercast store recover`",
    )
