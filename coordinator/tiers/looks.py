"""What servers said about the prepared revision, and when: memory of one MIC, asked anew by the next."""

import anyio
import msgspec

from coordinator import names
from coordinator.tiers import requests_preparing


class Answer(msgspec.Struct, frozen=True):
    """What a ServerShell says; the same shape as it sends."""

    revision: int = 0
    digest: str = ""
    stage: str = ""
    troubles: tuple[requests_preparing.Trouble, ...] = ()


class Looks:
    """Of one revision at a time."""

    def __init__(self) -> None:
        self.digest = ""
        self.said: dict[names.ServerId, Answer | str] = {}
        """An answer, or why there is none."""
        self.relays: dict[names.LinkId, Answer | str] = {}
        """The same of the ICs that are linked."""
        self.at = float("-inf")
        """Monotonic second of the last look."""
        self.turn = anyio.Lock()

    def of(self, digest: str) -> None:
        """From here on it is about this one."""
        if self.digest != digest:
            self.digest, self.said, self.relays, self.at = digest, {}, {}, float("-inf")
