"""Keys of MIC's store, in one place: what stands where, and how a number becomes a key that sorts.

Below `/config/` stands what children may see, below `/private/` what none ever does.
"""

from coordinator import names

TARGET = b"/config/target"
TRUST = b"/config/trust"
RECORDS = b"/config/records/"
ADMISSIONS = b"/config/admission/"
ROLLOUTS = b"/rollouts/"
SEEN = b"/seen/"
AUDIT = b"/audit/"
MEMBERS = b"/members/"
"""Servers that may run MIC, where the engine's members are none of ours."""
TERM = b"/private/term"
LEASE = b"/private/lease"
AUDIT_NEXT = b"/private/audit-next"
DRAFTS = b"/private/drafts/"
PREPARATIONS = b"/private/preparations"
"""What was prepared and taken back lately, by which a repeated request is known."""
TRIES = b"/private/tries"
"""Of passwords, not yet regained."""
KV = b"/kv/"
KV_LEASES = b"/private/kv-leases/"
KV_REQUESTS = b"/private/kv-requests/"

NOWHERE = "-"
"""In place of a site, for servers that have none."""


def record(revision: int) -> bytes:
    return RECORDS + _number(revision)


def body(digest: str) -> bytes:
    """Prefix of the pieces of a body."""
    return b"/config/bodies/" + digest.encode() + b"/"


def admission(server: names.ServerId) -> bytes:
    return ADMISSIONS + server.encode()


def rollout(rollout_id: names.RolloutId) -> bytes:
    return ROLLOUTS + rollout_id.encode()


def seen(site: str) -> bytes:
    return SEEN + (site or NOWHERE).encode()


def document(revision: int) -> bytes:
    """Prefix of the pieces of the text that became this revision."""
    return b"/private/documents/" + _number(revision) + b"/"


def draft(draft_id: str) -> bytes:
    return DRAFTS + draft_id.encode()


def draft_text(draft_id: str) -> bytes:
    """Prefix of the pieces of a draft's text; beside the drafts, so that a list of drafts does not read them."""
    return b"/private/draft-texts/" + draft_id.encode() + b"/"


def kv_lease(lease: int) -> bytes:
    """There as long as the lease is; only whoever finds it here may end it."""
    return KV_LEASES + _number(lease)


def kv_request(digest: str) -> bytes:
    """Of a repeatable request: what came of it."""
    return KV_REQUESTS + digest.encode()


def draft_body(draft_id: str) -> bytes:
    """Prefix of the pieces of a valid draft's canonical form."""
    return b"/private/draft-bodies/" + draft_id.encode() + b"/"


def member(server: names.ServerId) -> bytes:
    return MEMBERS + server.encode()


def sealed(server: names.ServerId) -> bytes:
    """The authority's keys, sealed to the server of a member of MIC."""
    return b"/private/authority/" + server.encode()


def audit(number: int) -> bytes:
    return AUDIT + _number(number)


def _number(value: int) -> bytes:
    """Sorts as the number does."""
    return b"%016d" % value
