"""I1, I4, I7 over MIC's store: whatever two masters and their restarts do, each number is given once and kept."""

from typing import Any

import anyio
import hypothesis
from hypothesis import strategies as st

from coordinator import errors, names
from coordinator.store import commands
from coordinator.tiers import history, keys, mic
from tests import builders, micworld

Act = tuple[str, int]
ACTS = st.lists(
    st.tuples(st.sampled_from(["apply", "lose", "restart", "enroll"]), st.integers(0, 1)),
    min_size=1,
    max_size=12,
)


def edition(number: int) -> Any:
    """Another document every time; the same number is the same document."""
    role = {"type": "greeter", "params": {"port": 9000, "greeting": f"hello {number}"}}
    return builders.bent(
        lambda plain: (
            plain["roles"].update(greet=role),
            plain["structure"]["north"]["n1"].append("greet"),
        )
    )


class Play:
    """Two masters upon one store; the newest in office wins, the other learns it."""

    def __init__(self) -> None:
        self.world = micworld.World()
        self.masters: list[mic.Mic] = []
        self.acknowledged: dict[int, str] = {}
        self.issued: dict[int, str] = {}
        self._edition = 0

    async def start(self) -> None:
        for _ in range(2):
            self.masters.append((await self.world.open())[0])

    async def act(self, act: Act) -> None:
        kind, which = act
        match kind:
            case "restart":
                self.masters[which] = (await self.world.open())[0]
            case "enroll":
                await self._enroll(which)
            case _:
                self.world.store.after = self._lost if kind == "lose" else lambda _txn: None
                await self._apply(which)
        await self._check()

    def _lost(self, txn: commands.Txn) -> None:
        if any(op.key == keys.TARGET for op in txn.success):
            self.world.store.after = lambda _txn: None
            raise errors.UnknownOutcomeError("lost")

    async def _apply(self, which: int) -> None:
        self._edition += 1
        code, answer = await self.world.apply(self.masters[which], edition(self._edition))
        if code == "":
            revision = answer["version"][1]
            assert revision not in self.acknowledged
            self.acknowledged[revision] = answer["digest"]
        else:
            assert code in {"no_coordinator", "conflict"}

    async def _enroll(self, which: int) -> None:
        self._edition += 1
        before = self.masters[which].fallen
        try:
            await self.world.enroll(self.masters[which], f"spare{self._edition}")
        except AssertionError:
            assert self.masters[which].fallen is not None or before is not None

    async def _check(self) -> None:
        past = await history.load(self.world.store, micworld.CLUSTER)
        assert past is not None
        held = {revision: str(record.digest) for revision, record in past.records.items()}
        assert held.items() >= self.acknowledged.items()  # I4
        assert held.items() >= self.issued.items()  # I1: one digest each
        assert past.version == names.Version(1, max(held))
        assert sorted(held) == list(range(1, max(held) + 1))
        self.issued = held
        numbers = [one.content.seq for one in past.content.admissions.values()]
        assert len(numbers) == len(set(numbers))


@hypothesis.settings(max_examples=25)
@hypothesis.given(ACTS)
def test_each_number_is_given_once_and_memory_is_what_the_store_gives_anew(acts: list[Act]) -> None:
    async def main() -> None:
        play = Play()
        await play.start()
        for act in acts:
            await play.act(act)
        in_office = max(play.masters, key=lambda one: one.at.office.term if one.at.office else 0)
        assert in_office.fallen is None
        assert await history.load(play.world.store, micworld.CLUSTER) == in_office.at.past

    anyio.run(main)
