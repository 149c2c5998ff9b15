"""The suites of `make soak`, by name; each is loaded when it is played."""

import importlib
from typing import Final

from tests.soak import rounds

SUITES: Final = {
    "store": "tests.soak.store:SUITE",
    "store-power": "tests.soak.store:CUT_SUITE",
    "store-crash": "tests.soak.storecrash:SUITE",
    "store-members": "tests.soak.members:SUITE",
    "raft": "tests.soak.raft:SUITE",
    "etcd": "tests.soak.etcd:SUITE",
}
"""Where each stands: `module:name` of a `rounds.Suite`."""


def load(name: str) -> rounds.Suite:
    """Raises `KeyError`."""
    module, _, attribute = SUITES[name].partition(":")
    suite = getattr(importlib.import_module(module), attribute)
    assert isinstance(suite, rounds.Suite)
    return suite
