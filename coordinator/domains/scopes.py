"""What a token may be used for, beside the rank of whom it stands for: `cfg`, `cfg:r`, `kv:/app/:rw`, `people:operator`.

Pure. A scope names an area of verbs (the part of a verb before its dot), where that area has keys a prefix of them, where it
has people the highest rank of those that it reaches, and whether it may change anything (`rw`, unless it says `r`). Law: a
scope only takes away; a token without any has all that its person may do, and one with scopes has what one of them names
and nothing else: whoever it makes, or lets in by another password, can do no more than it names either.
"""

import re

import msgspec

from coordinator import errors, limits

KEYED = frozenset({"kv"})
"""Areas whose scopes may name a prefix of keys."""
RANKED = {"people": ("viewer", "operator", "administrator")}
"""Areas whose scopes name a rank, lowest first; one without reaches nobody's rights, and is for looking."""
READ, WRITE = "r", "rw"

_AREA = re.compile(r"[a-z]{1,32}", re.ASCII)


class Scope(msgspec.Struct, frozen=True, array_like=True):
    """One of them."""

    area: str
    prefix: str = ""
    """Of keys, as UTF-8; empty: all of them. Of people, the highest rank; empty: none."""
    writes: bool = True

    def __str__(self) -> str:
        access = READ if not self.writes else WRITE if self.prefix and self.area in KEYED else ""
        return ":".join(part for part in (self.area, self.prefix, access) if part)


def parse(text: str) -> Scope:
    """Raises `UsageError`."""
    area, _, rest = text.partition(":")
    prefix, _, access = rest.rpartition(":")
    if access not in {READ, WRITE, ""}:
        prefix, access = rest, ""
    if prefix in RANKED.get(area, ()) and access != READ:
        return Scope(area, prefix)
    known = (
        _AREA.fullmatch(area) is not None and len(prefix.encode(errors="replace")) <= limits.STORE_KEY_BYTES
    )
    if (
        not known
        or (prefix and (area not in KEYED or not prefix.startswith("/")))
        or not prefix.isprintable()
    ):
        raise errors.UsageError(
            f"this is no scope (got {text[:80]!r})",
            hint="such as cfg, cfg:r, kv:/app/:rw, people:operator, people:r, audit:r",
        )
    return Scope(area, prefix, access != READ)


def reach(scopes: tuple[Scope, ...], area: str, *, writes: bool) -> bool:
    """Whether anything of an area may be done; of an area with keys the verb asks for its key besides."""
    return not scopes or any(one.area == area and (one.writes or not writes) for one in scopes)


def reach_key(scopes: tuple[Scope, ...], area: str, key: bytes, *, writes: bool) -> bool:
    """Whether it may be done to this key, or to every key with this prefix."""
    return not scopes or any(
        one.area == area and (one.writes or not writes) and key.startswith(one.prefix.encode())
        for one in scopes
    )


def within(new: tuple[Scope, ...], own: tuple[Scope, ...]) -> bool:
    """Whether `new` reaches nothing that `own` does not."""
    return not own or (bool(new) and all(any(_holds(held, one) for held in own) for one in new))


def _holds(held: Scope, one: Scope) -> bool:
    if held.area != one.area or (one.writes and not held.writes):
        return False
    if one.area in RANKED:
        return _rank(one) <= _rank(held)
    return one.prefix.startswith(held.prefix)


def highest(scopes: tuple[Scope, ...], area: str) -> int:
    """Of the ranks of an area, from 1, the highest that may be kept; 0: none."""
    if not scopes:
        return len(RANKED[area])
    return max((_rank(one) for one in scopes if one.area == area and one.writes), default=0)


def _rank(scope: Scope) -> int:
    ranks = RANKED[scope.area]
    return ranks.index(scope.prefix) + 1 if scope.prefix in ranks else 0
