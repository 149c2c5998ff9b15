"""How often somebody may try a password: per source, per account from one source, and per account from all others.

Pure: buckets of tries that fill again with time, each try paid before it is made and given back where it was right.
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


class Tries:
    """See the module."""

    def __init__(self, kept: int = limits.TRIES_KEPT) -> None:
        self._kept = kept
        self._spent: collections.OrderedDict[_Key, tuple[float, float]] = collections.OrderedDict()
        """Tries not yet regained, and as of when."""
        self._entered: collections.OrderedDict[_Key, None] = collections.OrderedDict()

    def take(self, account: str, source: str, now: float) -> float:
        """Pay for one try; else the seconds until there is one again, and nothing is paid."""
        buckets = self._buckets(account, place(source))
        wait_s = max(self._wait_s(key, pace, now) for key, pace in buckets)
        if wait_s > 0:
            return wait_s
        for key, pace in buckets:
            self._spend(key, self._left_of(key, pace, now) + 1.0, now)
        return 0.0

    def entered(self, account: str, source: str, now: float) -> None:
        """The try was right: what it cost is given back, and this place is known for this account."""
        here = place(source)
        for key, pace in self._buckets(account, here):
            self._spend(key, max(0.0, self._left_of(key, pace, now) - 1.0), now)
        self._spent.pop(("here", account, here), None)
        self._remember(account, here)

    def _remember(self, account: str, here: str) -> None:
        self._entered[account, here] = None
        self._entered.move_to_end((account, here))
        if len(self._entered) > self._kept:
            self._entered.popitem(last=False)

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
