"""The embedded store: our own Raft, journal and snapshots (docs/decisions/0001-own-raft-core.md).

Reading order: `log`, `messages` (the contract), `leading`, `core` (pure); `records`, `journal`, `snapshot`, `transfer`,
`recovery`, `keeper` (disk); `incoming`, `transport`, `forwarding`, `levels` (other members); `intake`, `machine` (before
the log and behind it), `member` (drives all of it); `calls`, `store` (the port).
"""

from coordinator.store.backends.raft.journal import Identity
from coordinator.store.backends.raft.store import RaftStore, create_member, open_store
from coordinator.store.backends.raft.transport import Group

__all__ = ["Group", "Identity", "RaftStore", "create_member", "open_store"]
