"""Reading a request's body within its bound, its time and the memory that all bodies together may take.

Laws: not a byte over the bound is kept; what is announced as too large, or compressed, is refused before it is read; and
nothing that is not small is read of anybody whom MIC does not know.
"""

import contextlib
from collections.abc import Iterator

import anyio
from aiohttp import hdrs, web

from coordinator import errors, limits
from coordinator.api import forms, routing

UNDER_WAY_BYTES = (
    4 * limits.HTTP_BODY_BYTES
)  # a few administrators at once; the same is held once more as a request
SMALL_BYTES = (
    64 * 1024
)  # what a stranger may have us hold; the memory of all bodies is for those who are known
READ_S = 60.0  # the largest document over 5 Mbit/s
CHUNK_BYTES = 256 * 1024


class SlowError(errors.TiercastError):
    """The body did not arrive in time."""

    code = "slow"


class BusyError(errors.TiercastError):
    """Too much at once; the same may succeed shortly."""

    code = "busy"


class Budget:
    """Bytes of bodies that are being held, over all requests."""

    def __init__(self, size_bytes: int = UNDER_WAY_BYTES) -> None:
        self._left = size_bytes

    @contextlib.contextmanager
    def held(self, size_bytes: int) -> Iterator[None]:
        """Raises `BusyError`."""
        if size_bytes > self._left:
            raise BusyError("too many documents are being uploaded", hint="try again shortly")
        self._left -= size_bytes
        try:
            yield
        finally:
            self._left += size_bytes


def announced(request: web.Request, body: routing.Body) -> int:
    """The most bytes that this request will need, judged by its head. Raises `TooLargeError`, `MediaTypeError`."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise forms.MediaTypeError("a compressed body is not read here", hint="send it as it is")
    length = request.content_length
    if length is None:
        return body.value if request.body_exists else 0
    if length > body.value:
        raise _too_large(length, body.value)
    return length


async def read(request: web.Request, body: routing.Body) -> bytes:
    """The whole body. Raises `TooLargeError`, `SlowError`."""
    parts: list[bytes] = []
    size = 0
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the head of the answer is still to come
    try:
        with anyio.fail_after(READ_S):
            async for chunk in request.content.iter_chunked(CHUNK_BYTES):
                size += len(chunk)
                if size > body.value:
                    raise _too_large(size, body.value)
                parts.append(chunk)
    except TimeoutError:
        raise SlowError(f"the body did not arrive in time (got {size} bytes in {READ_S:.0f} s)") from None
    return b"".join(parts)


def _too_large(got: int, have: int) -> errors.TooLargeError:
    if have == 0:
        return errors.TooLargeError(f"no body is read here (got {got} bytes)")
    return errors.TooLargeError(f"the body is too large (got {got} bytes or more, have {have})")
