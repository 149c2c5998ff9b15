"""Figures that the pages tell: each is a bound of `coordinator/limits.py`, and stands in the page as it is there."""

import pytest

from coordinator import limits
from tests.tidy import tree

MIB = 1024 * 1024
DAY_S = 86400.0
FIGURES = [
    ("operations.md", f"A password has {limits.PASSWORD_CHARACTERS_MIN} to {limits.PASSWORD_CHARACTERS} characters"),
    ("operations.md", f"({limits.PASSWORD_MEMORY_KIB // 1024} MiB, three passes)"),
    ("operations.md", f"Two are worked at together and {limits.PASSWORDS_WAITING} may wait"),
    ("operations.md", f"{limits.TRIES_AT_ACCOUNT} tries at an account and then one every {limits.TRY_AT_ACCOUNT_S:.0f} s"),
    ("operations.md", f"{limits.TRIES_OF_SOURCE} over all accounts, then one every {limits.TRY_OF_SOURCE_S:.0f} s"),
    (
        "operations.md",
        f"{limits.TRIES_AT_ACCOUNT_ALL} tries at an account, then one every {limits.TRY_AT_ACCOUNT_ALL_S:.0f} s",
    ),
    ("operations.md", f"for {limits.LOGIN_TTL_S / 3600:.0f} h (--ttl)"),
    ("operations.md", f"({limits.TOKEN_TTL_S / DAY_S:.0f} days unless `--ttl` says otherwise"),
    ("operations.md", f"at most {limits.TOKEN_TTL_MAX_S / DAY_S:.0f})"),
    ("operations.md", f"The last {limits.AUDIT_ENTRIES:,} entries are kept"),
    ("operations.md", f"the last {limits.REVISIONS_KEPT} are"),
    ("operations.md", f"rotated at {limits.LOG_ROTATE_BYTES // MIB} MiB"),
    ("operations.md", f"as of a heartbeat at most {limits.SILENT_S:.0f} s old"),
    ("operations.md", f"A node that crashes three times in {limits.CRASH_WINDOW_S:.0f} s"),
    ("operations.md", f"one request of at most {limits.FRAME_BYTES_UNAUTHENTICATED // 1024} KiB"),
    ("operations.md", f"| {limits.PORT_SHELL} | ServerShell"),
    ("operations.md", f"| {limits.PORT_MIC} | MIC"),
    ("operations.md", f"| {limits.PORT_IC} | IC"),
    ("operations.md", f"| {limits.PORT_RAFT} | the store's members"),
    ("operations.md", f"| {limits.PORT_WS} | WS"),
    ("glossary.md", f"MIC signs every {limits.FRESH_S:.0f} s"),
    ("glossary.md", f"without a new one for {limits.STALE_S:.0f} s"),
    ("glossary.md", f"at most {limits.DRAIN_S:.0f} s"),
    ("glossary.md", f"the last {limits.AUDIT_ENTRIES:,} entries"),
    ("keys.md", f"{limits.KV_QUOTA_BYTES // MIB} MiB, {limits.KV_KEYS:,} keys"),
    ("keys.md", f"| one value | {limits.STORE_VALUE_BYTES // MIB} MiB |"),
    ("keys.md", f"{limits.KV_TXN_BYTES / MIB} MiB, {limits.KV_TXN_OPERATIONS} operations"),
    ("keys.md", f"{limits.STORE_KEY_BYTES:,} bytes with `/kv/`"),
    ("keys.md", f"{limits.KV_REQUESTS_PER_S:,.0f} a second, {limits.KV_REQUESTS_BURST:,.0f} at once"),
    ("keys.md", f"{limits.KV_DELETE_KEYS:,} keys"),
    ("keys.md", f"the last {limits.STORE_HISTORY_REVISIONS:,} changes"),
    ("keys.md", f"{limits.KV_LEASE_MIN_S:.0f} s to {limits.KV_LEASE_MAX_S / DAY_S:.0f} days"),
    ("api.md", f"after that time (at most {limits.HTTP_WAIT_S:.0f} s)"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "told"), FIGURES)
def test_what_a_page_says_of_a_bound_is_the_bound(page: str, told: str) -> None:
    text = " ".join((tree.ROOT / "docs" / page).read_text(encoding="utf-8").split())
    assert told in text, f"docs/{page} should say so"
