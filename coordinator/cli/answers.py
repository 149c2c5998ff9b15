"""What the command line reads of the API's answers; the contract is JSON, these are its fields as shown to people.

Unknown fields are passed over, so that an older command line works with a newer system.
"""

from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.config import findings as faults


class Fault(faults.Finding, frozen=True):
    """A finding with its line."""

    text: str = ""
    caret: int = 0


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457, with ours."""

    code: str = "internal"
    detail: str = ""
    hint: str = ""
    errors: tuple[Fault, ...] = ()
    request_id: str = ""


class Uploaded(msgspec.Struct, frozen=True):
    draft: str
    valid: bool
    digest: str
    size_bytes: int
    findings: tuple[Fault, ...] = ()


class Planned(msgspec.Struct, frozen=True):
    verdict: str
    base: names.Version
    text: str
    base_digest: str = ""
    digest: str = ""
    findings: tuple[Fault, ...] = ()


class Applied(msgspec.Struct, frozen=True):
    version: names.Version
    rollout: str
    unchanged: bool
    plan_text: str = ""
    warnings: tuple[str, ...] = ()


class Blocking(msgspec.Struct, frozen=True):
    """A server that is not there yet; `since_s` seconds ago."""

    server: str
    site: str
    sync: str
    reason: str
    since_s: float


class SiteProgress(msgspec.Struct, frozen=True):
    site: str
    sync: str
    ready: int
    reachable: int
    asked: int


class RolloutView(msgspec.Struct, frozen=True):
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


class ServerView(msgspec.Struct, frozen=True):
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


class SiteView(msgspec.Struct, frozen=True):
    site: str
    sync: str
    counts: Mapping[str, int]
    servers: tuple[ServerView, ...]


class StatusView(msgspec.Struct, frozen=True):
    version: names.Version
    digest: str
    rollout: RolloutView | None
    sites: tuple[SiteView, ...]
    parked: tuple[ServerView, ...]
    coordinator: str
    left_out: int = 0
    index: int = 0
    expelled: tuple[ServerView, ...] = ()
    expelled_count: int = 0
    remarked: tuple[ServerView, ...] = ()
    remarked_count: int = 0


class RoleView(msgspec.Struct, frozen=True):
    role: str
    type: str
    health: str
    level: str
    revision: str
    detail: str


class NodeView(msgspec.Struct, frozen=True):
    node: str
    state: str
    pid: int
    restarts: int
    roles: tuple[RoleView, ...]


class Described(msgspec.Struct, frozen=True):
    server: ServerView
    address: str
    boot: int
    accepted: str
    parent: str
    nodes: tuple[NodeView, ...]
    reason: str


class RevisionView(msgspec.Struct, frozen=True):
    version: names.Version
    state: str
    digest: str
    size_bytes: int
    author: str
    message: str
    issued: float
    outcome: str = ""


class HistoryView(msgspec.Struct, frozen=True):
    revisions: tuple[RevisionView, ...]
    next: int
    back: int = 0


class File(msgspec.Struct, frozen=True):
    name: str
    text: str


class DraftView(msgspec.Struct, frozen=True):
    draft: str
    valid: bool
    digest: str
    size_bytes: int
    author: str
    message: str
    saved: float


class Shown(msgspec.Struct, frozen=True):
    revision: RevisionView | None
    files: tuple[File, ...]
    draft: DraftView | None = None


class Who(msgspec.Struct, frozen=True):
    name: str
    role: str
    cluster: str
    domain: str = ""
    master_domain: str = ""
    scopes: tuple[str, ...] = ()
    expires: float = 0.0
    first: bool = False
