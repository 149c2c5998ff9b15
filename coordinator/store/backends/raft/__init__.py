"""The embedded store: our own Raft, journal and snapshots (docs/decisions/0001-own-raft-core.md).

Reading order: `log`, `messages` (the contract), `leading`, `core` (pure); `records`, `journal`, `snapshot`, `recovery`
(disk); `member` (drives all of it); `store` (the port).
"""

from coordinator.store.backends.raft.store import RaftStore, open_store

__all__ = ["RaftStore", "open_store"]
