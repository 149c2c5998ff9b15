"""How often somebody may try a password: per source, per account from one source, and per account from all others.

Pure: buckets of tries that fill again with time, each try paid before it is made and given back where it was right.
What is spent is kept by MIC and given to the next one (`kept`, `restore`): a change of MIC is no new beginning.
Laws: whoever tries an account from one place takes nothing from those who try it from elsewhere (the bucket of all
places fills faster than one place can empty it), and from a place where the account was entered lately nobody else's
tries count at all; what is remembered is bounded, and what was touched longest ago is forgotten first.
"""

import collections
import ipaddress

import msgspec

from coordinator import limits


class Pace(msgspec.Struct, frozen=True):
    """So many at once, then one every so many seconds."""

    burst: int
    every_s: float


OF_SOURCE = Pace(limits.TRIES_OF_SOURCE, limits.TRY_OF_SOURCE_S)
OF_ACCOUNT_HERE = Pace(limits.TRIES_AT_ACCOUNT, limits.TRY_AT_ACCOUNT_S)
OF_ACCOUNT = Pace(limits.TRIES_AT_ACCOUNT_ALL, limits.TRY_AT_ACCOUNT_ALL_S)
"""From all sources together; above `OF_ACCOUNT_HERE` in both, so that one or two sources cannot empty it."""

_Key = tuple[str, ...]
_PACES = {"source": OF_SOURCE, "here": OF_ACCOUNT_HERE, "account": OF_ACCOUNT}
"""By the first word of a bucket's key."""
KEPT_MOST = 1000  # of each kind, at most 250 bytes each: one small value of the store


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What outlives a MIC."""

    spent: tuple[tuple[_Key, float], ...] = ()
    """Tries not yet regained, those that wait longest first."""
    entered: tuple[_Key, ...] = ()


class Tries:
    """See the module."""

    def __init__(self, kept: int = limits.TRIES_KEPT) -> None:
        self._kept = kept
        self._spent: collections.OrderedDict[_Key, tuple[float, float]] = collections.OrderedDict()
        """Tries not yet regained, and as of when."""
        self._entered: collections.OrderedDict[_Key, None] = collections.OrderedDict()
        self.marks = 0
        """Rises with every try that was not right, and with every place where an account was entered first."""

    def take(self, account: str, source: str, now: float) -> float:
        """Pay for one try; else the seconds until there is one again, and nothing is paid."""
        buckets = self._buckets(account, place(source))
        wait_s = max(self._wait_s(key, pace, now) for key, pace in buckets)
        if wait_s > 0:
            return wait_s
        self.marks += 1
        for key, pace in buckets:
            self._spend(key, self._left_of(key, pace, now) + 1.0, now)
        return 0.0

    def entered(self, account: str, source: str, now: float) -> None:
        """The try was right: what it cost is given back, and this place is known for this account."""
        here = place(source)
        self.marks -= (account, here) in self._entered
        for key, pace in self._buckets(account, here):
            self._spend(key, max(0.0, self._left_of(key, pace, now) - 1.0), now)
        self._spent.pop(("here", account, here), None)
        self._remember(account, here)

    def _remember(self, account: str, here: str) -> None:
        self._entered[account, here] = None
        self._entered.move_to_end((account, here))
        if len(self._entered) > self._kept:
            self._entered.popitem(last=False)

    def kept(self, now: float) -> Kept:
        """At most `KEPT_MOST` of each, those that matter most."""
        left = [(key, self._left_of(key, _PACES[key[0]], now)) for key in self._spent]
        left = [one for one in left if one[1] > 0.0]
        left.sort(key=lambda one: one[1] / _PACES[one[0][0]].burst, reverse=True)
        return Kept(tuple(left[:KEPT_MOST]), tuple(self._entered)[-KEPT_MOST:])

    def restore(self, kept: Kept, now: float, ago_s: float) -> None:
        """What another one kept so long ago; what waits longest is forgotten last."""
        for key, spent in reversed(kept.spent):
            pace = _PACES.get(key[0]) if key else None
            if pace is not None:
                self._spend(key, max(0.0, spent - max(0.0, ago_s) / pace.every_s), now)
        for key in kept.entered:
            self._entered[key] = None

    def _buckets(self, account: str, here: str) -> tuple[tuple[_Key, Pace], ...]:
        own = ((("source", here), OF_SOURCE), (("here", account, here), OF_ACCOUNT_HERE))
        return own if (account, here) in self._entered else (*own, (("account", account), OF_ACCOUNT))

    def _left_of(self, key: _Key, pace: Pace, now: float) -> float:
        """What of the spent is not regained yet."""
        spent, at = self._spent.get(key, (0.0, now))
        return max(0.0, spent - (now - at) / pace.every_s)

    def _wait_s(self, key: _Key, pace: Pace, now: float) -> float:
        return max(0.0, self._left_of(key, pace, now) + 1.0 - pace.burst) * pace.every_s

    def _spend(self, key: _Key, spent: float, now: float) -> None:
        self._spent[key] = (spent, now)
        self._spent.move_to_end(key)
        if len(self._spent) > self._kept:
            self._spent.popitem(last=False)


def place(source: str) -> str:
    """Of an address what one person may hold many of: an IPv6 network of 64 bits counts as one place."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source[: limits.SOURCE_CHARACTERS]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
