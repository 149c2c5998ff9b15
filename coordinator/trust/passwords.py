"""Passwords by argon2id, as PHC strings: what is kept of them, and whether one is right.

Blocks for its whole cost (266 ms at 64 MiB), without holding the interpreter: to be run in a worker thread, few at once.
Law: a stored form that asks for more than this program would spend is not computed, wherever it came from; a password
that is wrong and one of nobody cost the same.
"""

import re
import unicodedata

import msgspec
from cryptography import exceptions
from cryptography.hazmat.primitives.kdf import argon2

from coordinator import effects, errors, limits

SALT_BYTES = 16
DIGEST_BYTES = 32
_STORED = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d)\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{22,86}", re.ASCII
)
_NOBODYS = b"\0" * SALT_BYTES


class Cost(msgspec.Struct, frozen=True):
    """Of one password; tests use a small one."""

    memory_kib: int = limits.PASSWORD_MEMORY_KIB
    passes: int = limits.PASSWORD_PASSES
    lanes: int = 1


def checked(password: str, name: str) -> bytes:
    """In the one form in which it is hashed. Raises `UsageError` on one that is too short, too long or the name itself."""
    plain = unicodedata.normalize("NFKC", password)
    if not limits.PASSWORD_CHARACTERS_MIN <= len(plain) <= limits.PASSWORD_CHARACTERS:
        raise errors.UsageError(
            f"a password has {limits.PASSWORD_CHARACTERS_MIN} to {limits.PASSWORD_CHARACTERS} characters",
            hint="a few words are easy to remember and hard to guess",
        )
    if any(unicodedata.category(one) in {"Cc", "Cs"} for one in plain):
        raise errors.UsageError("a password is one line of text", hint="without control characters")
    if plain.casefold().strip() == name.casefold() or len(set(plain)) < 4:
        raise errors.UsageError("this password is guessed at once", hint="a few words do better")
    return _bytes(plain)


def hashed(password: bytes, cost: Cost, random: effects.Random) -> str:
    """What is kept of a password that `checked` has seen."""
    return _kdf(cost, bytes.fromhex(random.token(SALT_BYTES))).derive_phc_encoded(password)


def matches(password: str, stored: str, cost: Cost) -> bool:
    """Whether it is the one; where there is none to be right (`stored` is empty), after as long a time."""
    given = _bytes(unicodedata.normalize("NFKC", password[: limits.PASSWORD_CHARACTERS + 1]))
    if not usable(stored):
        _kdf(cost, _NOBODYS).derive(given)
        return False
    try:
        argon2.Argon2id.verify_phc_encoded(given, stored)
    except exceptions.InvalidKey:
        return False
    return True


def usable(stored: str) -> bool:
    """Whether it is a form of ours that costs no more than what we make."""
    found = _STORED.fullmatch(stored)
    if found is None:
        return False
    memory, passes, lanes = (int(part) for part in found.groups())
    bounded = memory <= limits.PASSWORD_MEMORY_KIB and passes <= limits.PASSWORD_PASSES
    return bounded and 1 <= lanes <= memory // 8 and passes > 0


def _kdf(cost: Cost, salt: bytes) -> argon2.Argon2id:
    return argon2.Argon2id(
        salt=salt,
        length=DIGEST_BYTES,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
