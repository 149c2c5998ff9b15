"""What a ServerShell answers about the prepared revision, while revisions go on."""

from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from coordinator import names
from coordinator.host import clock
from coordinator.propagation import asks, holding, objects
from nodeagent.servershell import checking, shell

pytestmark = pytest.mark.anyio
FIRST = objects.Pointer(1, names.Digest("1" * 64), 5)
SECOND = objects.Pointer(2, names.Digest("2" * 64), 5)
TROUBLE = holding.Trouble("db", "port", "taken")
ASKED = asks.Asked(names.LinkId(1), 7, asks.CHECK, "", b"")


class Machine:
    """Holds the body of the first revision."""

    def __init__(self) -> None:
        self.intake = SimpleNamespace(holding=holding.Holding())
        self.intake.holding.want(FIRST, held=True)
        self.admission = SimpleNamespace(name=names.ServerName("s1"))
        self.prepared = b"first"
        self.expanded = None
        self.told: list[holding.Told] = []

    def answer(self, _link: names.LinkId, _number: int, _code: str, data: bytes, _now: float) -> tuple[()]:
        self.told.append(msgspec.json.decode(data, type=holding.Told))
        return ()


async def test_what_is_wrong_with_one_revision_is_not_said_of_the_one_prepared_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()

    def look(*_given: object) -> tuple[holding.Trouble, ...]:
        machine.intake.holding.want(SECOND, held=False)
        return (TROUBLE,)

    monkeypatch.setattr(checking, "look", look)
    one = SimpleNamespace(
        machine=machine,
        driver=SimpleNamespace(act=lambda _outputs: None),
        _catalogue=None,
        _place=SimpleNamespace(ground=SimpleNamespace(clock=clock.SystemClock())),
    )
    await shell.ServerShell._check(cast("shell.ServerShell", one), ASKED)
    assert machine.told == [holding.Told(1, FIRST.digest, "held", (TROUBLE,))]
