"""How often this process asked its disk to make something durable, so that nobody need believe that it does."""

from coordinator.store.backends.raft import files


class Counted(files.DiskAppender):
    count = 0

    def sync(self) -> None:
        Counted.count += 1
        super().sync()


def begin() -> None:
    """Count from here on, in every file that is opened after this."""
    files.DiskAppender = Counted  # type: ignore[misc]


def syncs() -> int:
    """Of journals and snapshots so far."""
    return Counted.count
