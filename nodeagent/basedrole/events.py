"""Inputs and outputs of the machine of one node's roles (`lifecycle`), as values.

Contract of the outputs: they are performed in order; the operations of one role one at a time; `Start`, `Apply` and
`Stop` are answered by exactly one input each; `RoleStarted` and `RoleAppliedHot` are followed by a `Reported`.
"""

import msgspec

from coordinator import names, role
from nodeagent.basedrole import acks


class WantedRole(msgspec.Struct, frozen=True):
    """One role of the document, expanded, with the place it has there."""

    name: names.RoleName
    type: names.RoleTypeName
    params: dict[str, object]
    server: names.ServerName
    site: names.SiteName
    address: str
    """Of the role's interface."""

    @property
    def place(self) -> tuple[str, ...]:
        """What a running role cannot take as a parameter."""
        return (self.type, self.server, self.site, self.address)


class GivenUp(msgspec.Struct, frozen=True):
    """The node itself kept crashing under this configuration: start from the last good parameters (R4)."""

    code: str
    detail: str


class Configured(msgspec.Struct, frozen=True):
    """The server has accepted a configuration; these are all roles of this node in it."""

    view: role.View
    roles: tuple[WantedRole, ...]
    given_up: GivenUp | None = None


class Recalled(msgspec.Struct, frozen=True):
    """Before the first configuration: last good parameters, as `Remember` told them in an earlier life."""

    roles: tuple[WantedRole, ...]


class Retry(msgspec.Struct, frozen=True):
    """Somebody asks to try again what was refused or failed."""


class StopAll(msgspec.Struct, frozen=True):
    """The node is to end; answered by `AllStopped`."""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed; worth sending from `deadline` on."""


class RoleStarted(msgspec.Struct, frozen=True):
    """It runs what `Start` named."""

    name: names.RoleName


class RoleAppliedHot(msgspec.Struct, frozen=True):
    """It runs what `Apply` named, without a restart."""

    name: names.RoleName


class RoleRestartNeeded(msgspec.Struct, frozen=True):
    """Nothing has changed yet; it must be stopped and started."""

    name: names.RoleName


class RoleRefused(msgspec.Struct, frozen=True):
    """These parameters cannot run here; nothing has changed."""

    name: names.RoleName
    code: str
    detail: str


class RoleFailed(msgspec.Struct, frozen=True):
    """An operation broke, or the role while it ran."""

    name: names.RoleName
    code: str
    detail: str


class RoleStopped(msgspec.Struct, frozen=True):
    """Nothing of it runs."""

    name: names.RoleName


class Reported(msgspec.Struct, frozen=True):
    """Its health, of its own accord or asked."""

    name: names.RoleName
    report: role.Report


RoleInput = (
    RoleStarted | RoleAppliedHot | RoleRestartNeeded | RoleRefused | RoleFailed | RoleStopped | Reported
)
Input = Configured | Recalled | Retry | StopAll | Tick | RoleInput


class Start(msgspec.Struct, frozen=True):
    """A new instance of the role's type."""

    name: names.RoleName
    wanted: WantedRole


class Apply(msgspec.Struct, frozen=True):
    """Only the parameters differ."""

    name: names.RoleName
    old: WantedRole
    new: WantedRole


class Stop(msgspec.Struct, frozen=True):
    """For a restart or for good."""

    name: names.RoleName


class Tell(msgspec.Struct, frozen=True):
    """The role's `configured`; not answered."""

    name: names.RoleName
    view: role.View


class Remember(msgspec.Struct, frozen=True):
    """Last good parameters of a role, worth keeping over a restart of the node; not answered."""

    name: names.RoleName
    good: WantedRole


class Acked(msgspec.Struct, frozen=True):
    """What may be said upwards has changed."""

    ack: acks.NodeAck


class AllStopped(msgspec.Struct, frozen=True):
    """Nothing of the node's roles runs."""


RoleOutput = Start | Apply | Stop | Tell | Remember
Output = RoleOutput | Acked | AllStopped
