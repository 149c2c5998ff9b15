"""Role types known on this machine, by their entry points; one that cannot be loaded is told of and left out.

For judging documents without a server. The coordinator judges by its own catalogue, and its word counts.
"""

import importlib.metadata
from collections.abc import Callable

from coordinator import names, role


def loaded(tell: Callable[[str], None]) -> role.Catalogue:
    """By name; a type that is not here makes S18 a warning."""
    found: dict[names.RoleTypeName, role.RoleType] = {}
    for entry in importlib.metadata.entry_points(group=role.RoleType.ENTRY_POINTS):
        try:
            kind = entry.load()
        except Exception as wrong:  # noqa: BLE001 somebody else's package; a broken one must not end the command
            tell(f"warning: role type {entry.name!r} cannot be loaded: {type(wrong).__name__}: {wrong}")
            continue
        if isinstance(kind, role.RoleType):
            found[names.RoleTypeName(entry.name)] = kind
    return found
