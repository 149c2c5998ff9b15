"""A group rises to a feature level once every member has said that it understands it."""

import pytest

from coordinator.store import commands, image, mvcc
from coordinator.store.backends.raft import levels


def test_a_level_is_due_once_all_understand_it_and_not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LEVEL", 3)
    of_three = levels.Levels(("m2", "m3"))
    assert of_three.due(1) is None
    of_three.understands("m2", 3)
    assert of_three.due(1) is None, "one is away"
    of_three.understands("m3", 2)
    assert of_three.due(1) == commands.RaiseLevel(2)
    assert of_three.due(2) is None
    of_three.understands("m3", None)
    assert of_three.due(1) is None, "it may come back as another"
    assert levels.Levels(()).due(1) == commands.RaiseLevel(3)


def test_a_program_below_the_group_stops_rather_than_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    level = commands.LEVEL + 1
    state, _result = mvcc.apply(mvcc.State(), commands.RaiseLevel(level))
    chunks = list(image.encode(state))
    raised = commands.encode(commands.RaiseLevel(level))
    for act in (lambda: commands.decode(raised), lambda: image.decode(chunks)):
        with pytest.raises(commands.AboveLevelError):
            act()
    monkeypatch.setattr(commands, "LEVEL", level)
    assert image.decode(chunks).level == level
    assert commands.decode(raised) == commands.RaiseLevel(level)
