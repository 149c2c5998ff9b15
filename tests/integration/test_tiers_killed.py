"""Each tier is killed (SIGKILL) once while a change is being applied: the change arrives everywhere all the same.

What is not killed goes on: its process stays the same, unless the change itself restarts it. No process is left over,
and status never says that everything has converged while a program still says something else.
"""

from collections.abc import Iterator, Mapping

import pytest

from bench.demo import world
from tests.integration import town as towns


@pytest.fixture(scope="module")
def town() -> Iterator[towns.Town]:
    with world.World(towns.PLACES) as running:
        made = towns.Town(running)
        try:
            made.begin()
        except AssertionError as wrong:
            raise AssertionError(f"{wrong}\n{made.log()}") from None
        yield made


@pytest.fixture(autouse=True)
def logs_of_a_failure(town: towns.Town, request: pytest.FixtureRequest) -> Iterator[None]:
    """Shown by pytest where the test fails."""
    yield
    print(town.log())


def restarted(town: towns.Town, before: Mapping[str, object]) -> set[str]:
    """Who is another process now, apart from those that the change itself restarts."""
    after = town.holders()
    assert after.keys() == before.keys()
    return {name for name, process in before.items() if after[name] != process} - towns.BY_CHANGE


@pytest.mark.parametrize(
    ("name", "victim", "together"),
    [
        ("MIC", "mic", {"mic"}),
        ("the node with WS, DC and the IC of central", "core", {"core"}),
        ("the IC of north", "ic of north", {"ic of north"}),
        ("a worker node with a role in it", "greetn2", {"greetn2"}),
        ("a program of a role", "staysn2", {"staysn2"}),
    ],
)
def test_killed_during_an_apply_it_comes_back_and_the_apply_arrives(
    town: towns.Town, name: str, victim: str, together: set[str]
) -> None:
    before = town.holders()
    with towns.Truth(town) as truth:
        town.apply(f"word-{victim}".replace(" ", "-"))
        assert town.state() == "running"
        town.kill(towns.EVERYBODY[victim])
        town.settled()
    assert truth.lies == []
    assert truth.asked > 0
    assert restarted(town, before) == together, name


def test_a_killed_shell_comes_back_to_its_running_nodes(town: towns.Town) -> None:
    before = town.holders()
    with towns.Truth(town) as truth:
        town.apply("word-shell")
        assert town.state() == "running"
        town.world.shells["n2"].kill()
        town.world.shells["n2"].wait()
        towns.until(
            lambda: town.sync("n2") in {"lost", "pending"}, lambda: f"n2 is told lost: {town.status()}"
        )
        assert town.state() in {"running", "failed"}
        town.world.start("n2")
        town.settled()
    assert truth.lies == []
    assert restarted(town, before) == {"n2"}


def test_a_prepared_revision_is_checked_where_it_will_run_and_activated_by_its_number(
    town: towns.Town,
) -> None:
    before, held = town.holders(), town.revision
    file = town.world.root / "broken.yaml"
    file.write_text(town.document("broken").replace("[python3, -m", "[no-such-program, -m"))
    refused = town.world.run("apply", "--prepare", str(file), "--yes", "--timeout", "30s")
    assert refused.code == 5, refused
    assert "n2 (north): staysn2: there is no program 'no-such-program' that can be run" in refused.out
    assert town.holders() == before, "nothing of it runs"
    file.write_text(town.document("prepared"))
    good = town.run("apply", "--prepare", str(file), "--yes", "--timeout", "30s")
    assert f"revision {held + 2} held by 4 of 4" in good.out
    assert town.wrong() == []
    town.kill(towns.IC_NORTH)
    town.world.shells["n2"].kill()
    town.world.shells["n2"].wait()
    town.world.start("n2")
    town.run("apply", "--prepared", "--yes", "--wait", "none")
    town.revision, town.word = held + 2, "prepared"
    town.settled()
