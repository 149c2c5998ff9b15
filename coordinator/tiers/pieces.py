"""Something larger than one value of the store: compressed, in pieces under one prefix.

Law: `joined(split(prefix, data)) == data`; whatever is missing, foreign or too large is `DamagedError`, never data.
"""

from collections.abc import Iterable

from backports import zstd

from coordinator import errors, limits
from coordinator.store import commands, port

_LEVEL = 1  # an apply waits for this


def split(prefix: bytes, data: bytes) -> tuple[commands.Put, ...]:
    """Puts of all pieces; at least one."""
    packed = zstd.compress(data, level=_LEVEL)
    starts = range(0, len(packed), limits.CHUNK_BYTES)
    return tuple(
        commands.put(prefix + b"%06d" % number, packed[at : at + limits.CHUNK_BYTES])
        for number, at in enumerate(starts)
    )


def joined(items: Iterable[port.KeyValue]) -> bytes | None:
    """The data of the pieces of one prefix, in order; None where there are none. Raises `DamagedError`."""
    packed = b"".join(item.value for item in items)
    if not packed:
        return None
    try:
        data = zstd.ZstdDecompressor().decompress(packed, max_length=limits.HTTP_BODY_BYTES + 1)
    except zstd.ZstdError as wrong:
        raise errors.DamagedError(f"a stored text does not decompress ({wrong})") from wrong
    if len(data) > limits.HTTP_BODY_BYTES:
        raise errors.DamagedError(
            f"a stored text is too large (have room for {limits.HTTP_BODY_BYTES} bytes)"
        )
    return data


async def read(store: port.Store, prefix: bytes) -> bytes | None:
    """What stands under the prefix; None where there is nothing."""
    return joined((await store.scan(prefix)).items)
