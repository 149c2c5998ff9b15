"""What WS and DC may ask of MIC (the active master), as values: one verb, one request, one answer.

A request travels as `Call` (msgpack) in an `Ask`; the answer is the JSON that the HTTP API returns, so WS translates
nothing but the outside. An answer with a code is a `Problem` (JSON). MIC checks the token of every call itself.
"""

import enum
from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.config import findings as faults


class Verb(enum.StrEnum):
    """Every verb of MIC; the permission of each stands in `coordinator.tiers.permissions`."""

    UPLOAD = "cfg.upload"
    VALIDATE = "cfg.validate"
    PLAN = "cfg.plan"
    APPLY = "cfg.apply"
    ROLLBACK = "cfg.rollback"
    PREPARE = "cfg.prepare"
    WITHDRAW = "cfg.withdraw"
    PREPARED = "cfg.prepared"
    ROLLOUT = "cfg.rollout"
    STATUS = "cfg.status"
    DESCRIBE = "cfg.describe"
    HISTORY = "cfg.history"
    SHOW = "cfg.show"
    DRAFTS = "cfg.drafts"
    SERVERS = "cfg.servers"
    NODES = "cfg.nodes"
    ROLES = "cfg.roles"
    DIFF = "cfg.diff"
    EVENTS = "cfg.events"
    STATE = "system.state"
    KV_GET = "kv.get"
    KV_PUT = "kv.put"
    KV_DELETE = "kv.delete"
    KV_TXN = "kv.txn"
    KV_WATCH = "kv.watch"
    KV_USAGE = "kv.usage"
    KV_GRANT = "kv.grant"
    KV_KEEPALIVE = "kv.keepalive"
    KV_REVOKE = "kv.revoke"
    KV_LEASES = "kv.leases"
    ENROLL = "servers.enroll"
    LINE_CREATE = "join.create"
    LINES = "join.list"
    LINE_REVOKE = "join.revoke"
    ACCEPT = "servers.accept"
    EXPEL = "servers.expel"
    WHOAMI = "people.whoami"
    LOGIN = "people.login"
    CLAIM = "people.claim"
    LOGOUT = "people.logout"
    PEOPLE = "people.list"
    PERSON_ADD = "people.add"
    PERSON_REMOVE = "people.remove"
    PERSON_ROLE = "people.role"
    PERSON_PASSWORD = "people.password"  # noqa: S105 the name of a verb
    TOKENS = "people.tokens"
    TOKEN_CREATE = "people.token-create"  # noqa: S105 the name of a verb
    TOKEN_REVOKE = "people.token-revoke"  # noqa: S105 the name of a verb
    DOMAINS = "domains.list"
    ATTACH = "domains.attach"
    DETACH = "domains.detach"
    DOMAIN_EXPORT = "domains.export"
    DOMAIN_IMPORT = "domains.import"
    AUDIT = "audit.list"


class Call(msgspec.Struct, frozen=True, array_like=True):
    """Around every request: who asks, from where, and an id that makes a repetition harmless."""

    token: str
    source: str
    """Address of the caller as WS saw it, for the audit only."""
    request_id: str
    body: bytes
    """JSON of the request struct."""


class Fault(faults.Finding, frozen=True):
    """A finding with the line that it stands in, for those who have not the text at hand."""

    text: str = ""
    """The line, cut where it is long; empty where there is none."""
    caret: int = 0
    """Where in `text` the column is, from 1."""


class Problem(msgspec.Struct, frozen=True):
    """Why not; becomes an RFC 9457 problem document."""

    code: str
    """Of `coordinator.errors`, or `invalid` with findings."""
    detail: str
    hint: str = ""
    findings: tuple[Fault, ...] = ()


class File(msgspec.Struct, frozen=True):
    """One uploaded file, as text."""

    name: str
    text: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A document: exactly one of these is given."""

    files: tuple[File, ...] = ()
    draft: str = ""
    revision: int = 0


class Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    files: tuple[File, ...]
    message: str = ""


class Uploaded(msgspec.Struct, frozen=True):
    """A draft is saved whether valid or not; what cannot be read at all is not."""

    draft: str
    valid: bool
    digest: str
    size_bytes: int
    findings: tuple[Fault, ...]


class Validate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    files: tuple[File, ...]


class Validated(msgspec.Struct, frozen=True):
    valid: bool
    findings: tuple[Fault, ...]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: Source
    full: bool = False
    """The text names everything, not only the first of many."""


class Planned(msgspec.Struct, frozen=True):
    """`text` is the plan as people read it; `plan` the same as data."""

    verdict: str
    base: names.Version
    base_digest: str
    digest: str
    text: str
    plan: msgspec.Raw
    findings: tuple[Fault, ...] = ()


class Apply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    source: Source
    if_revision: int = 0
    """Compare-and-set on the active revision; 0: on whatever the plan was made against."""
    if_generation: int = 0
    """Its generation, where the caller knows it; 0: any."""
    if_digest: str = ""
    """What the document must be, as a plan named it; empty: whatever it is."""
    if_base_digest: str = ""
    """What the active document must be: tells two systems with the same revision number apart."""
    message: str = ""
    dry_run: bool = False


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    to: int = 0
    """0: the last that is known to run, as `HistoryView.back` names it."""
    if_revision: int = 0
    """Compare-and-set on the active revision; 0: any."""
    if_generation: int = 0
    message: str = ""
    dry_run: bool = False


class Applied(msgspec.Struct, frozen=True):
    """`unchanged`: the document is the active one already; no rollout was started."""

    version: names.Version
    digest: str
    rollout: str
    unchanged: bool
    plan_text: str = ""
    warnings: tuple[str, ...] = ()


class WaitRollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    rollout: str
    index: int = 0
    """Answer once the view's index is above this, or after `wait_s`."""
    wait_s: float = 0.0
    by_site: bool = False
    """Counts of every site too."""


class SiteProgress(msgspec.Struct, frozen=True):
    """How far one site is; `sync` is the worst of its servers."""

    site: str
    sync: str
    ready: int
    reachable: int
    asked: int


class Blocking(msgspec.Struct, frozen=True):
    """A server that is not there yet."""

    server: str
    site: str
    sync: str
    reason: str
    since_s: float
    """Seconds ago."""


class RolloutView(msgspec.Struct, frozen=True):
    """A rollout now. `blocking` names reachable servers, `absent` the others, both bounded."""

    id: str
    version: names.Version
    digest: str
    state: str
    ready: int
    reachable: int
    asked: int
    elapsed_s: float
    converged_after_ms: float | None
    roles: int
    sites: int
    blocking: tuple[Blocking, ...]
    absent: tuple[Blocking, ...]
    index: int
    by_site: tuple[SiteProgress, ...] = ()
    """Of the active revision's rollout, where it is asked for."""


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    site: str = ""
    not_converged: bool = False
    details: bool = False
    """Servers by name, not only counts per site."""
    index: int = 0
    """Answer once the view's index is above this, or after `wait_s`."""
    wait_s: float = 0.0


class ServerView(msgspec.Struct, frozen=True):
    """One server; `revision` is what its last ack names, `since_s` how long `sync` has been so, where that is not well."""

    server: str
    site: str
    sync: str
    level: str
    revision: str
    linked: bool
    reason: str
    since_s: float | None
    roles: tuple[str, ...] = ()
    id: str = ""
    """Of those that are parked or expelled."""


class SiteView(msgspec.Struct, frozen=True):
    """`sync` is the worst of its servers."""

    site: str
    sync: str
    counts: Mapping[str, int]
    servers: tuple[ServerView, ...]


class StatusView(msgspec.Struct, frozen=True):
    """The whole system, rolled up."""

    version: names.Version
    digest: str
    rollout: RolloutView | None
    sites: tuple[SiteView, ...]
    parked: tuple[ServerView, ...]
    coordinator: str
    """`active` or `needs recovery`."""
    index: int = 0
    left_out: int = 0
    """Servers and parked ones beside those named; all of them by page: `cfg.servers`."""
    expelled: tuple[ServerView, ...] = ()
    """The last of those that were taken out for ever."""
    expelled_count: int = 0
    remarked: tuple[ServerView, ...] = ()
    """Of those that run what they should, with whose identity or clock something is wrong, the first by name."""
    remarked_count: int = 0


class Describe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    server: str


class RoleView(msgspec.Struct, frozen=True):
    role: str
    type: str
    health: str
    level: str
    revision: str
    code: str
    detail: str


class NodeView(msgspec.Struct, frozen=True):
    node: str
    state: str
    pid: int
    restarts: int
    roles: tuple[RoleView, ...]


class Described(msgspec.Struct, frozen=True):
    """What the server itself says, asked over its link; `nodes` empty and `reason` set where it cannot be reached."""

    server: ServerView
    address: str
    boot: int
    accepted: str
    parent: str
    nodes: tuple[NodeView, ...]
    reason: str


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    before: int = 0
    limit: int = 50
    index: int = 0
    """Answer once the view's index is above this, or after `wait_s`."""
    wait_s: float = 0.0


class RevisionView(msgspec.Struct, frozen=True):
    version: names.Version
    state: str
    digest: str
    size_bytes: int
    author: str
    message: str
    issued: float
    """Seconds since 1970."""
    outcome: str = ""
    """How its rollout ended, or stood when the next one overtook it; empty where that is not known."""


class HistoryView(msgspec.Struct, frozen=True):
    revisions: tuple[RevisionView, ...]
    next: int
    """Ask again with `before` this; 0: that was all."""
    back: int = 0
    """Where a rollback without a number goes; 0: nowhere."""
    index: int = 0


class Show(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    revision: int = 0
    """0: the active one."""
    draft: str = ""
    document: bool = False


class DraftView(msgspec.Struct, frozen=True):
    """What is known of a draft without reading it."""

    draft: str
    valid: bool
    digest: str
    size_bytes: int
    author: str
    message: str
    saved: float
    """Seconds since 1970."""


class Shown(msgspec.Struct, frozen=True):
    """A revision or a draft, whichever was asked for."""

    revision: RevisionView | None
    files: tuple[File, ...]
    """As uploaded, comments kept; empty unless asked for."""
    draft: DraftView | None = None


class Enroll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    request_pem: str
    """Certificate signing request; the private key stays where it was made."""


class Enrolled(msgspec.Struct, frozen=True):
    server_id: str
    certificate_pem: str
    ca_pem: str
    trust: bytes
    admission: bytes
    cluster: str
    parents: tuple[tuple[str, str, int], ...]
    """(server, address, port) of MIC."""


class Who(msgspec.Struct, frozen=True):
    name: str
    role: str
    cluster: str
    domain: str = ""
    master_domain: str = ""
    scopes: tuple[str, ...] = ()
    """What the token was narrowed to; none: all that the role allows."""
    expires: float = 0.0
    """Of the token, seconds since 1970; 0: never."""
    first: bool = False
    """The one-time secret of `server init`, which is nobody in particular."""
