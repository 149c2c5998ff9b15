"""Requests over an open link, in both directions: cut into parts, put together, relayed, answered, timed out.

Laws: every ask that leaves `ask` ends in exactly one `Answered` for its owner, with code `unreachable`, `lost` or
`timed_out` if nothing better; requests under way are bounded by `limits.ASKS_UNDER_WAY` per link and direction; what is kept of requests
that are not whole yet is bounded per link by what the tier allows that link, and of an answer by what was asked.
"""

import msgspec

from coordinator import limits, names
from coordinator.propagation import events, joining, messages

ASK_TIMEOUT_S = 30.0  # the longest verb is validating 32 MiB in a child process
DOWNWARD_BYTES = 1024 * 1024  # nothing but an upload is larger than this
WORD_CHARACTERS = 64  # of a verb, a code or a server id; a longer one is none of ours

RAISE_BOOT = "boot"
"""Asked of a server that speaks under a number it has used before: the greatest boot counter known of it, decimal."""
RETRY = "retry"
"""Asked of a ServerShell by its own machine, and by it of its nodes: try again what was refused or failed."""

CHECK = "check"
"""Asked of a ServerShell: how far the prepared revision has come there, and what of it cannot work on that machine. Of an
IC: how far it has come, and why it cannot hold it, on whom all its servers depend."""

RENEW = "servers.renew"
"""Asked by a ServerShell, relayed to MIC: another certificate; the request is signed by the key of the present one."""
OF_EXPIRED = frozenset({RENEW})
"""All that may be asked over a link whose certificate has run out."""

UPWARD_VERBS = frozenset({"servers.enroll", joining.JOIN, joining.LEAVE, RENEW})
"""What a child may have relayed to MIC, which decides by what stands in it; nothing else goes up through a relay."""
UNREACHABLE = "unreachable"
LOST = "lost"
"""The link went after the request had been sent: it may or may not have been done (I13)."""
TIMED_OUT = "timed_out"
TOO_LARGE = "too_large"
BUSY = "busy"


class Owner(msgspec.Struct, frozen=True):
    """Whose request it is: a number of the tier's own (`link` None), or the ask `id` of `link` that is being relayed."""

    link: names.LinkId | None
    id: int


class Asked(msgspec.Struct, frozen=True):
    """Output: a whole request came in; `answer` it, or `ask` it on under `Owner(link, id)`."""

    link: names.LinkId
    id: int
    verb: str
    server: str
    data: bytes


class Answered(msgspec.Struct, frozen=True):
    """Output: a request of the tier's own has ended; `code` empty is good."""

    id: int
    code: str
    data: bytes


Output = events.Send | Asked | Answered


class _Pending(msgspec.Struct):
    owner: Owner
    link: names.LinkId
    expires: float
    most_bytes: int
    data: bytearray


class _Incoming(msgspec.Struct):
    verb: str
    server: str
    data: bytearray


class Asks:
    """See the module; one per tier, over all its links."""

    def __init__(self) -> None:
        self._pending: dict[int, _Pending] = {}
        self._incoming: dict[names.LinkId, dict[int, _Incoming]] = {}
        self._open: dict[names.LinkId, int] = {}
        self._ids = 0

    @property
    def deadline(self) -> float | None:
        """When the first pending request expires."""
        return min(p.expires for p in self._pending.values()) if self._pending else None

    def ask(
        self, owner: Owner, link: names.LinkId | None, verb: str, server: str, data: bytes, now: float
    ) -> tuple[Output, ...]:
        """Send a request on; `link` None means that there is no way there now."""
        if link is None:
            return self._finish(owner, UNREACHABLE, b"")
        if len(data) > limits.ASK_BYTES:
            return self._finish(owner, TOO_LARGE, b"")
        if sum(p.link == link for p in self._pending.values()) >= limits.ASKS_UNDER_WAY:
            return self._finish(owner, BUSY, b"")
        self._ids += 1
        most_bytes = DOWNWARD_BYTES if server else limits.ASK_BYTES
        self._pending[self._ids] = _Pending(owner, link, now + ASK_TIMEOUT_S, most_bytes, bytearray())
        return tuple(
            events.Send((link,), messages.Ask(self._ids, verb, server, last, part))
            for part, last in _parts(data)
        )

    def answer(self, link: names.LinkId, ask_id: int, code: str, data: bytes) -> tuple[Output, ...]:
        """Answer what `Asked` brought."""
        if self._open.get(link, 0) > 0:
            self._open[link] -= 1
        if len(data) > limits.ASK_BYTES:
            code, data = TOO_LARGE, b""
        return tuple(
            events.Send((link,), messages.Answer(ask_id, code, last, part)) for part, last in _parts(data)
        )

    def asked(
        self, link: names.LinkId, frame: messages.Ask, *, most_bytes: int = DOWNWARD_BYTES
    ) -> tuple[Output, ...]:
        """A part of a request came in, over a link that may keep `most_bytes` of unfinished ones here."""
        of_link = self._incoming.setdefault(link, {})
        incoming = of_link.get(frame.id)
        if incoming is None:
            if self._open.get(link, 0) >= limits.ASKS_UNDER_WAY:
                return tuple(events.Send((link,), messages.Answer(frame.id, BUSY, True, b"")) for _ in (1,))
            self._open[link] = self._open.get(link, 0) + 1
            verb, server = frame.verb[:WORD_CHARACTERS], frame.server[:WORD_CHARACTERS]
            incoming = of_link[frame.id] = _Incoming(verb, server, bytearray())
        incoming.data += frame.data
        if sum(len(one.data) for one in of_link.values()) > most_bytes:
            del of_link[frame.id]
            return self.answer(link, frame.id, TOO_LARGE, b"")
        if not frame.last:
            return ()
        del of_link[frame.id]
        return (Asked(link, frame.id, incoming.verb, incoming.server, bytes(incoming.data)),)

    def answered(self, link: names.LinkId, frame: messages.Answer) -> tuple[Output, ...]:
        """A part of an answer came in; from another link than the one asked it counts for nothing."""
        pending = self._pending.get(frame.id)
        if pending is None or pending.link != link:
            return ()
        pending.data += frame.data
        if len(pending.data) > pending.most_bytes:
            del self._pending[frame.id]
            return self._finish(pending.owner, TOO_LARGE, b"")
        if not frame.last:
            return ()
        del self._pending[frame.id]
        return self._finish(pending.owner, frame.code[:WORD_CHARACTERS], bytes(pending.data))

    def gone(self, link: names.LinkId) -> tuple[Output, ...]:
        """A link is closed: what was asked over it gets no answer, what came over it needs none."""
        self._incoming.pop(link, None)
        self._open.pop(link, None)
        outputs: list[Output] = []
        for number in [n for n, p in self._pending.items() if p.link == link]:
            outputs += self._finish(self._pending.pop(number).owner, LOST, b"")
        return tuple(outputs)

    def tick(self, now: float) -> tuple[Output, ...]:
        """End what has expired."""
        outputs: list[Output] = []
        for number in [n for n, p in self._pending.items() if p.expires <= now]:
            outputs += self._finish(self._pending.pop(number).owner, TIMED_OUT, b"")
        return tuple(outputs)

    def _finish(self, owner: Owner, code: str, data: bytes) -> tuple[Output, ...]:
        if owner.link is None:
            return (Answered(owner.id, code, data),)
        return self.answer(owner.link, owner.id, code, data)


def refusal(link: names.LinkId, ask: messages.Ask) -> events.Send:
    """To one who may not ask that at all; nothing of the request is kept."""
    return events.Send((link,), messages.Answer(ask.id, "not_allowed", True, b""))


def _parts(data: bytes) -> list[tuple[bytes, bool]]:
    """In pieces of a part's size, each with whether it is the last; nothing is one empty piece."""
    size = limits.ASK_PART_BYTES
    starts = range(0, max(len(data), 1), size)
    return [(data[at : at + size], at + size >= len(data)) for at in starts]
