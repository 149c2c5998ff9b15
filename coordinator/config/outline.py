"""What the rules of change, and servers that look for a parent, see of a document: everything but most parameters.

Pure. Law: of two documents with one outline every rule of change says the same, whatever they are compared with; so that of
a hundred revisions that differ in parameters one has to be planned against.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator import names
from coordinator.config import model

_SEEN = ("port", "stateful")
"""Parameters that a rule looks at: where a parent answers, and whether a role leaves something behind."""


def outline(document: model.Document) -> names.Digest:
    """A digest of it."""
    bare = msgspec.structs.replace(
        document,
        aliases=model.Aliases(),
        requirements=model.Requirements(),
        overrides={},
        transition=None,
        templates={
            name: msgspec.structs.replace(one, params=_bare(one.params))
            for name, one in document.templates.items()
        },
        roles={
            name: msgspec.structs.replace(one, params=_bare(one.params))
            for name, one in document.roles.items()
        },
    )
    return names.Digest(hashlib.sha256(model.canonical(bare)).hexdigest())


def _bare(params: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: params[key] for key in _SEEN if key in params}
