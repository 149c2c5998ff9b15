"""Administrators' tokens: `tca_<id>_<secret>`, made once, shown once, stored as a hash.

Pure. A plain sha256 is enough here, where it would not be for a password: the secret has 256 random bits, so there is
nothing to guess, and a slow hash would only make every request slow. Law: a token is compared in constant time.
"""

import hashlib
import hmac
import re

import msgspec

from coordinator import effects

ID_BYTES = 6
SECRET_BYTES = 32
_FORM = re.compile(rf"tca_([0-9a-f]{{{2 * ID_BYTES}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}")


class Token(msgspec.Struct, frozen=True):
    """A new token: its public id and the whole text, which is shown once."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"Token(id={self.id!r})"


def new_token(random: effects.Random) -> Token:
    identifier = random.token(ID_BYTES)
    return Token(identifier, f"tca_{identifier}_{random.token(SECRET_BYTES)}")


def identifier(text: str) -> str | None:
    """The public id within a token, or None where the text is no token."""
    found = _FORM.fullmatch(text)
    return None if found is None else found[1]


def digest(text: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(text: str, stored: str) -> bool:
    """Whether the text is the token whose digest is stored."""
    return hmac.compare_digest(digest(text), stored)
