"""The role types known on this machine, found by entry point."""

import importlib.metadata

from coordinator import names, role
from coordinator.host import logs

_LOG = logs.Log("catalogue")


def load(group: str = role.RoleType.ENTRY_POINTS) -> role.Catalogue:
    """All types that can be loaded, by name; one that cannot is logged and left out, so that it is refused where it
    is wanted and hurts nobody else.
    """
    found: dict[names.RoleTypeName, role.RoleType] = {}
    for point in importlib.metadata.entry_points(group=group):
        try:
            value = point.load()
        except Exception:  # noqa: BLE001 a foreign module may raise anything at import
            _LOG.crashed("role type not loaded", role_type=point.name)
            continue
        if not isinstance(value, role.RoleType):
            _LOG.error("role type is not a RoleType", role_type=point.name)
            continue
        found[names.RoleTypeName(point.name)] = value
    return found
