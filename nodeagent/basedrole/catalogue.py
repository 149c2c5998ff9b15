"""The role types known on this machine, found by entry point."""

import importlib.metadata
import logging

from coordinator import names, role

log = logging.getLogger(__name__)


def load(group: str = role.RoleType.ENTRY_POINTS) -> role.Catalogue:
    """All types that can be loaded, by name; one that cannot is logged and left out, so that it is refused where it
    is wanted and hurts nobody else.
    """
    found: dict[names.RoleTypeName, role.RoleType] = {}
    for point in importlib.metadata.entry_points(group=group):
        try:
            value = point.load()
        except Exception:  # a foreign module may raise anything at import
            log.exception("role type not loaded", extra={"role_type": point.name})
            continue
        if not isinstance(value, role.RoleType):
            log.error("role type is not a RoleType", extra={"role_type": point.name})
            continue
        found[names.RoleTypeName(point.name)] = value
    return found
