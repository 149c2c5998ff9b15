"""The audit as it is read: by page, filtered, followed, and all of it for an export.

What is written stands in `desk`: every change with its transaction, every refusal by itself. It is bounded by count and
by the size of an entry; the oldest is cut, and every page says which number is the first that is kept.
Law: one answer passes over little more than `limits.AUDIT_LOOKED_AT` entries, and says where to go on.
"""

import anyio
import msgspec

from coordinator import limits
from coordinator.tiers import desk, entries, keys, requests_people

WAIT_S = 25.0  # below the 30 s after which an ask over a link is given up
BLOCK = 200  # entries read at once
OK = "ok"
REFUSED = "refused"
"""As a filter: whatever is not `ok`."""

_Found = tuple[int, entries.AuditEntry]


async def listed(
    at: desk.Desk, _caller: desk.Caller, asked: requests_people.ListAudit
) -> requests_people.AuditPage:
    """Newest first and below `before`; or oldest first and above `after`, once there is something."""
    if asked.oldest_first and asked.wait_s > 0:
        with anyio.move_on_after(min(asked.wait_s, WAIT_S)):
            while at.past.audit_next <= asked.after + 1 and at.fallen is None:
                await at.news.wait()
    first, last = max(0, at.past.audit_next - limits.AUDIT_ENTRIES), at.past.audit_next - 1
    start = _start(asked, first, last)
    shown, ahead = await _page(
        at, asked, range(start, last + 1) if asked.oldest_first else range(start, first - 1, -1)
    )
    following = ahead - 1 if asked.oldest_first else ahead + 1
    more = first <= ahead <= last
    return requests_people.AuditPage(tuple(shown), first, last, following, more)


def _start(asked: requests_people.ListAudit, first: int, last: int) -> int:
    if asked.oldest_first:
        return max(asked.after + 1, first)
    return min(asked.before - 1, last) if asked.before > 0 else last


async def _page(
    at: desk.Desk, asked: requests_people.ListAudit, numbers: range
) -> tuple[list[requests_people.AuditView], int]:
    """Entries of these numbers in that order, and the first number that was not looked at."""
    limit = max(1, min(asked.limit, limits.AUDIT_PAGE))
    shown: list[requests_people.AuditView] = []
    for passed in range(0, min(len(numbers), limits.AUDIT_LOOKED_AT), BLOCK):
        for number, entry in await _read(at, numbers[passed : passed + BLOCK]):
            if _matches(entry, asked):
                if len(shown) == limit:
                    return shown, number
                shown.append(_view(number, entry))
    ahead = numbers[limits.AUDIT_LOOKED_AT] if len(numbers) > limits.AUDIT_LOOKED_AT else numbers.stop
    return shown, ahead


async def _read(at: desk.Desk, numbers: range) -> list[_Found]:
    """What stands under these numbers, in their order."""
    low, high = min(numbers), max(numbers)
    after = keys.audit(low - 1) if low else b""
    items = (await at.store.scan(keys.AUDIT, limit=high - low + 1, after=after)).items
    found = [
        (int(item.key.removeprefix(keys.AUDIT)), entries.AUDIT_ENTRY.decode(item.value)) for item in items
    ]
    wanted = [one for one in found if low <= one[0] <= high]
    return wanted if numbers.step > 0 else wanted[::-1]


def _matches(entry: entries.AuditEntry, asked: requests_people.ListAudit) -> bool:
    outcome = asked.outcome in {"", entry.outcome} or (asked.outcome == REFUSED and entry.outcome != OK)
    named = asked.who in {"", entry.who} and asked.verb in {"", entry.verb}
    return outcome and named and entry.wall >= asked.since


def _view(number: int, entry: entries.AuditEntry) -> requests_people.AuditView:
    plain = {field: getattr(entry, field) for field in msgspec.structs.asdict(entry) if field != "wall"}
    return requests_people.AuditView(number=number, at=entry.wall, **plain)
