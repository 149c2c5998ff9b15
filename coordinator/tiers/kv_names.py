"""Names of keys as users write them, and who may read or write which.

Pure. Deny by default: whatever is not below `/kv/` is writable to nobody, and readable only where it stands in `SHOWN`,
to administrators of the master domain. People of another domain have what lies below `/kv/@<their domain>/`:
no other first part of a key becomes theirs, whatever a domain is called one day.
"""

import base64

from coordinator import errors, limits
from coordinator.domains import people, scopes
from coordinator.store import port
from coordinator.tiers import keys, requests_kv

AREA = "kv"
SHOWN = (b"/config/", b"/rollouts/", b"/seen/", b"/acks/", b"/audit/", b"/members/")
"""Of the system's own keys. Not `/private/`, and not `/domains/`, where digests of tokens and passwords stand."""


def full(name: bytes) -> bytes:
    """The key in the store. Raises `UsageError`, `TooLargeError`."""
    key = name if name.startswith(b"/") else keys.KV + name
    if key == keys.KV:
        raise errors.UsageError("a key needs a name", hint="such as app/leader, which is /kv/app/leader")
    return _bounded(key)


def full_prefix(name: bytes) -> bytes:
    """As `full`; nothing is everything below `/kv/`. Raises `TooLargeError`."""
    return _bounded(name if name.startswith(b"/") else keys.KV + name)


def _bounded(key: bytes) -> bytes:
    if len(key) > limits.STORE_KEY_BYTES:
        raise errors.TooLargeError(
            f"a key is too long (got {len(key)} bytes, have {limits.STORE_KEY_BYTES})",
            hint="the name counts with /kv/",
        )
    return key


def of_domain(domain: str) -> bytes:
    """Where the keys of a domain's people lie."""
    return keys.KV + b"@" + domain.encode() + b"/"


class Rights:
    """What one person may do."""

    def __init__(self, person: people.Person, master: str) -> None:
        self._person = person
        self._of_master = person.domain in {master, ""}

    def may_read(self, key: bytes) -> None:
        """The key, or every key with this prefix. Raises `NotAllowedError`."""
        if key.startswith(keys.KV):
            self._below(key, writes=False)
        elif not key.startswith(SHOWN):
            raise errors.NotAllowedError(
                f"these keys are shown to nobody (got {shown(key)!r})",
                hint=f"to be read: /kv/, and by administrators {', '.join(one.decode() for one in SHOWN)}",
            )
        elif not self._of_master or self._person.rank < people.Rank.ADMINISTRATOR:
            raise errors.NotAllowedError(
                f"keys of the system are read by administrators of the master domain (got {shown(key)!r})"
            )
        else:
            self._narrowed(key, writes=False)

    def may_write(self, key: bytes) -> None:
        """The key, or every key with this prefix. Raises `NotAllowedError`."""
        if not key.startswith(keys.KV):
            raise errors.NotAllowedError(
                f"keys of the system are written by nobody (got {shown(key)!r})",
                hint="yours stand below /kv/",
            )
        if self._person.rank < people.Rank.OPERATOR:
            raise errors.NotAllowedError(
                f"writing keys needs another role (got {self._person.rank.word}, have need of operator)"
            )
        self._below(key, writes=True)

    def _below(self, key: bytes, *, writes: bool) -> None:
        if not self._of_master and not key.startswith(own := of_domain(self._person.domain)):
            raise errors.NotAllowedError(
                f"people of domain {self._person.domain} have the keys below {shown(own)} (got {shown(key)!r})"
            )
        self._narrowed(key, writes=writes)

    def _narrowed(self, key: bytes, *, writes: bool) -> None:
        if not scopes.reach_key(self._person.scopes, AREA, key, writes=writes):
            have = ", ".join(map(str, self._person.scopes))
            act = "write" if writes else "read"
            raise errors.NotAllowedError(
                f"this token may not {act} that key (got {shown(key)!r}, have {have})"
            )


def shown(key: bytes) -> str:
    """For a message."""
    return key[:80].decode("utf-8", "backslashreplace")


def given(text: str, encoding: requests_kv.Encoding) -> bytes:
    """A key or value of a request. Raises `UsageError`."""
    try:
        return base64.b64decode(text, validate=True) if encoding else text.encode()
    except ValueError as wrong:  # of base64, of UTF-8, or of what is not ASCII
        raise errors.UsageError(f"this is not {encoding or 'UTF-8'} (got {text[:40]!r}): {wrong}") from None


def item(
    found: port.KeyValue, *, encoding: requests_kv.Encoding = "", keys_only: bool = False
) -> requests_kv.Item:
    """As it is answered; base64 where it is asked for, or where it is no text."""
    value = b"" if keys_only else found.value
    written: requests_kv.Encoding = (
        encoding if encoding or (_is_text(found.key) and _is_text(value)) else "base64"
    )
    return requests_kv.Item(
        key=_text(found.key, written),
        value=_text(value, written),
        encoding=written,
        create_revision=found.create_revision,
        mod_revision=found.mod_revision,
        version=found.version,
        lease=found.lease,
    )


def _text(data: bytes, encoding: requests_kv.Encoding) -> str:
    return base64.b64encode(data).decode() if encoding else data.decode()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
