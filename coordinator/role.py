"""The contract of a role: what BasedRole (the host of a worker node) asks of a program with parameters.

A role type is found by name in the entry-point group `nodeagent.roles`; the entry point's value is a `RoleType`,
light to import, whose `load` brings in the implementation only in the node that runs it.
Law: `apply` either changes nothing and says so (`RestartNeeded`, `Refused`) or the role runs the new parameters
when it returns `AppliedHot`.
"""

import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

import msgspec

from coordinator import effects, names


class Health(enum.StrEnum):
    """What a role says of itself; `HEALTHY` alone makes an ack `ready`."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPED = "stopped"


class Report(msgspec.Struct, frozen=True):
    """Health with a reason: `code` is a constant word, `detail` a sentence for people."""

    health: Health
    code: str = ""
    detail: str = ""


class AppliedHot(msgspec.Struct, frozen=True):
    """The role runs the new parameters, and did not restart."""


class RestartNeeded(msgspec.Struct, frozen=True):
    """The host must stop and start it; nothing has changed yet."""

    reason: str = ""


class Refused(msgspec.Struct, frozen=True):
    """These parameters cannot run here; nothing has changed."""

    code: str
    detail: str


Applied = AppliedHot | RestartNeeded | Refused


class RoleRefusedError(Exception):
    """Raised by `start` when these parameters cannot run here."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class View(msgspec.Struct, frozen=True):
    """The configuration that this node's server has accepted."""

    version: names.Version
    digest: names.Digest
    body: bytes
    """Canonical JSON of the whole document."""


class Context(msgspec.Struct, frozen=True):
    """What a role is given of its place. Directories exist and are 0700."""

    role: names.RoleName
    server: names.ServerName
    site: names.SiteName
    address: str
    """Of the role's interface."""
    node_directory: str
    """`nodes/<node>/`; goes when the node goes."""
    state_directory: str
    """`state/<role>/`; stays with the server, whatever the node is called."""
    server_directory: str
    """The server's own directory, with `identity/` in it."""
    log_path: str
    socket: str
    """Where programs watch this server's own view (`TIERCAST_SOCKET`)."""
    clock: effects.Clock
    random: effects.Random
    launcher: effects.Launcher
    view: Callable[[], View]
    """The view at this moment."""
    changed: Callable[[], None]
    """To be called by the role when `report` or what it runs has changed."""
    background: Callable[[Callable[[], Awaitable[None]]], None]
    """Run a coroutine function beside the role, in the node's event loop, until it returns or `stop` has returned (it is
    cancelled then). If it raises, this role has failed and is stopped; its neighbours do not notice."""


class Role(Protocol):
    """One instance. All coroutines run in the node's event loop (asyncio, by way of anyio); none may block it."""

    async def start(self, params: Any, context: Context) -> None:  # noqa: ANN401 the type's own params struct
        """Return once it runs (not: once it is ready). Raises `RoleRefusedError` where it cannot."""
        ...

    async def apply(self, old: Any, new: Any) -> Applied:  # noqa: ANN401
        """Take new parameters; `old` is what it runs now."""
        ...

    async def configured(self, view: View) -> None:
        """The server has accepted another configuration; own parameters may be unchanged."""
        ...

    async def stop(self) -> None:
        """Return once nothing of it runs; bounded by the caller."""
        ...

    def report(self) -> Report:
        """Health now; cheap, called often."""
        ...


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every role type's parameters."""


class RoleType(msgspec.Struct, frozen=True):
    """What must be known of a type to validate, place and plan it without importing its implementation."""

    name: names.RoleTypeName
    params: type[Params]
    load: Callable[[], Callable[[], Role]]
    """Imports the implementation and returns its factory."""
    stateful: Callable[[Params], bool] = lambda _params: False
    ports: Callable[[Params], tuple[int, ...]] = lambda _params: ()
    """Every TCP port it listens on, for rule S15."""
    hot: Callable[[Params, Params], bool] = lambda _old, _new: False
    """Whether a change from old to new needs no restart, for the plan."""
    check: Callable[[Params], tuple[str, ...]] = lambda _params: ()
    """What of these parameters cannot work on this machine, as sentences; asked before anything of them runs, in a
    thread. It may look at files and starts nothing."""
    unique_order: bool = False
    """Active/passive: `order` is distinct within its group (rule S12)."""

    ENTRY_POINTS: ClassVar[str] = "nodeagent.roles"

    def params_schema(self) -> Mapping[str, Any]:
        """JSON Schema of the parameters."""
        return msgspec.json.schema(self.params)


Catalogue = Mapping[names.RoleTypeName, RoleType]
"""All role types known here, by name."""
