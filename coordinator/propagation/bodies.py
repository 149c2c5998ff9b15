"""Bodies in pieces: how a body is encoded for a child, and how a child puts it together again.

An encoding is one zstd frame, with the child's own body as prefix where the parent has that too (a change of one server
of a thousand is then about 130 bytes). `window_log` covers prefix and body, and long-distance matching is on, because
the gain vanishes silently above 2 MiB otherwise. An encoding as long as the body is the body itself: what fits into
one or two packets anyway costs every child less to read than to expand.
Law: `Assembly` fed with every chunk of `encoding(body, base)` gives `body`, or `errors.ProtocolError`; it never holds
more than the bound of the signed record.
"""

import hashlib
from collections import OrderedDict
from typing import cast

from backports import zstd

from coordinator import errors, limits, names
from coordinator.propagation import messages, trails

_LEVEL = 1  # of a document, 3 wins three hundredths at best; a delta in vain takes twice as long, and all wait for it
_ENCODINGS_KEPT = 20  # full and delta of each of MIC's four bodies: no order of pulls makes one twice
_PLAIN_BYTES = 2048  # bodies up to this travel as they are
_WORTH_IT = 4  # times smaller than the body: otherwise a delta costs both ends more than it saves
_BASE_BYTES_MIN = 8  # zstd takes no shorter prefix
_WINDOW_LOG_MIN = 17
_WINDOW_LOG_MAX = 27  # 128 MiB covers prefix and body at the bound of a document (2 x 32 MiB)


def digest_of(body: bytes) -> names.Digest:
    """sha256 of exactly these bytes."""
    return names.Digest(hashlib.sha256(body).hexdigest())


def _window_log(size_bytes: int) -> int:
    return max(_WINDOW_LOG_MIN, min(_WINDOW_LOG_MAX, (size_bytes + 1024).bit_length()))


def encode(body: bytes, base: bytes | None) -> bytes:
    """One zstd frame of `body`, against `base` as prefix if given; or the body itself."""
    if base is None and len(body) <= _PLAIN_BYTES:
        return body or zstd.compress(body)
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {parameter.compression_level: _LEVEL}
    if base is None:
        packed = zstd.compress(body, options=options)
        return packed if len(packed) < len(body) else body
    options[parameter.window_log] = _window_log(len(body) + len(base))
    options[parameter.enable_long_distance_matching] = 1
    return zstd.compress(body, options=options, zstd_dict=zstd.ZstdDict(base, is_raw=True).as_prefix)


def decode(data: bytes, base: bytes | None, size_bytes: int) -> bytes:
    """The body again, of exactly `size_bytes`. Raises `errors.ProtocolError`."""
    if len(data) == size_bytes and base is None:
        return data
    window_log = _window_log(
        size_bytes + (0 if base is None else len(base))
    )  # lest a small body claim 128 MiB
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: window_log}
    if base is not None and len(base) < _BASE_BYTES_MIN:
        raise errors.ProtocolError(f"a delta against next to nothing (got {len(base)} bytes)")
    prefix = None if base is None else zstd.ZstdDict(base, is_raw=True).as_prefix
    try:
        decompressor = zstd.ZstdDecompressor(zstd_dict=prefix, options=options)
        body = decompressor.decompress(data, max_length=size_bytes + 1)
    except zstd.ZstdError as problem:
        raise errors.ProtocolError(f"body does not decompress ({problem})") from None
    if len(body) != size_bytes:
        raise errors.ProtocolError(
            f"body has another size than its record (got {len(body)}, have {size_bytes})"
        )
    return body


class Shelf:
    """The bodies a tier holds, by digest, and the encodings made of them lately."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        self._encodings: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._chosen: dict[tuple[names.Digest, names.Digest], str] = {}
        """By body and a base that is here: the base that is used."""
        self._trails: dict[str, trails.Trail] = {}
        """Of large bodies that came in: the next one is mostly the same."""

    def __contains__(self, digest: object) -> bool:
        return digest in self._bodies

    @property
    def digests(self) -> tuple[names.Digest, ...]:
        """Of all that is here."""
        return cast("tuple[names.Digest, ...]", tuple(self._bodies))

    def get(self, digest: str) -> bytes | None:
        return self._bodies.get(digest)

    def add(self, digest: names.Digest, body: bytes) -> None:
        self._bodies[digest] = body

    def keep(self, digests: frozenset[names.Digest]) -> None:
        """Drop every other body."""
        for digest in self._bodies.keys() - digests:
            del self._bodies[digest]
        if self._encodings:
            for pair in [p for p in self._encodings if p[0] not in self._bodies]:
                del self._encodings[pair]
        for gone in self._trails.keys() - self._bodies.keys():
            del self._trails[gone]
        if self._chosen:
            self._chosen = {pair: used for pair, used in self._chosen.items() if digests.issuperset(pair)}

    def _encoding(self, digest: names.Digest, base: str) -> bytes:
        pair = (digest, base)
        if pair in self._encodings:
            self._encodings.move_to_end(pair)
            return self._encodings[pair]
        made = encode(self._bodies[digest], self.get(base) if base else None)
        self._keep_encoding(pair, made)
        return made

    def _keep_encoding(self, pair: tuple[str, str], made: bytes) -> None:
        self._encodings[pair] = made
        while len(self._encodings) > _ENCODINGS_KEPT:
            self._encodings.popitem(last=False)

    def chunk(self, digest: names.Digest, base: str, offset: int) -> messages.Chunk | None:
        """The piece at `offset`, as a delta if `base` is here too; None if there is no such body or piece."""
        if digest not in self._bodies:
            return None
        used = self._used(digest, base)
        encoding = self._encoding(digest, used)
        if not 0 <= offset < len(encoding):
            return None
        data = encoding[offset : offset + limits.CHUNK_BYTES]
        return messages.Chunk(digest, used, offset, len(encoding), len(self._bodies[digest]), data)

    def _used(self, digest: names.Digest, base: str) -> str:
        """`base`, where a delta against it can be made and is worth it; else empty."""
        if len(self._bodies.get(base, b"")) < _BASE_BYTES_MIN:
            return ""
        pair = (digest, names.Digest(base))
        used = self._chosen.get(pair)
        if used is None:
            used = self._chosen[pair] = base if self._is_worth_it(digest, base) else ""
        return used

    def _is_worth_it(self, digest: names.Digest, base: str) -> bool:
        return len(self._encoding(digest, base)) * _WORTH_IT <= len(self._bodies[digest])

    def put_together(self, assembly: "Assembly", chunk: messages.Chunk) -> bytes | None:
        """As `Assembly.add`, with the base that is here."""
        if not chunk.base:
            body = assembly.add(chunk, None)
        else:
            body = assembly.add(chunk, self.get(chunk.base), self._trails.get(chunk.base, ()))
        if assembly.trail:
            self._trails[assembly.digest] = assembly.trail
        return body

    def learn(self, came: "Assembly", own: names.Digest) -> None:
        """An encoding came in whole: whoever is below need not be made another one.

        `own` is the base that was here: where the whole came all the same, a delta against that was not worth it.
        """
        self._keep_encoding((came.digest, came.base), came.encoding)
        if came.base in ("", own):
            self._chosen[came.digest, own] = came.base

    def inline(self, digest: names.Digest, base: str) -> messages.Chunk | None:
        """The whole encoding in one chunk, where it is small enough to travel inside an offer."""
        chunk = self.chunk(digest, base, 0)
        return chunk if chunk is not None and chunk.total <= limits.INLINE_BYTES else None


class Assembly:
    """One body on its way in, chunk by chunk, in order."""

    def __init__(self, digest: names.Digest, size_bytes: int) -> None:
        self.digest = digest
        self._size = size_bytes
        self.base = ""
        self.encoding = b""
        """Once it is whole."""
        self.trail: trails.Trail = ()
        """Of the body, once it is whole, where it is large."""
        self._pieces: list[bytes] = []
        self.offset = 0

    @property
    def frame(self) -> bytes:
        """The body as one zstd frame, if it came as one; else nothing."""
        return b"" if self.base or len(self.encoding) == self._size else self.encoding

    @property
    def came(self) -> tuple[names.Digest, str, bytes]:
        """The body's digest, and as what it came: a frame against the body of that digest, or a whole one, or nothing."""
        return (self.digest, self.base, self.encoding if self.base else self.frame)

    def add(self, chunk: messages.Chunk, base: bytes | None, trail: trails.Trail = ()) -> bytes | None:
        """The body once it is whole and its digest right, else None; `base` are the bytes of `chunk.base`.

        `trail` is what is known of their digest.

        Raises `errors.ProtocolError` on anything that does not fit: the caller pulls it once more, in full.
        """
        if chunk.digest != self.digest or chunk.offset != self.offset:
            return None  # repeated or out of order: what is missing is asked for again
        if not chunk.data:
            raise errors.ProtocolError("empty piece")
        if chunk.size != self._size or chunk.total > self._size + limits.CHUNK_BYTES:
            raise errors.ProtocolError(f"size differs from the record (got {chunk.size}, have {self._size})")
        if self._pieces and chunk.base != self.base:
            raise errors.ProtocolError("the base changed between pieces")
        if chunk.base and base is None:
            raise errors.ProtocolError("delta against a body that is not here")
        self.base = chunk.base
        self._pieces.append(chunk.data)
        self.offset += len(chunk.data)
        if self.offset < chunk.total:
            return None
        self.encoding = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        body = decode(self.encoding, base if chunk.base else None, self._size)
        if self._size < trails.STEP_BYTES:
            digest = digest_of(body)
        else:
            digest, self.trail = trails.walk(body, base, trail)
        if digest != self.digest:
            self.trail = ()
            raise errors.ProtocolError("body has another digest than its record")
        return body
