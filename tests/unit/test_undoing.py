"""The way back on the machine of MIC: what it may, what it leaves in the audit, and who is answered at all."""

import pathlib

import anyio
import anyio.to_thread
import msgspec
import pytest

from coordinator import errors, names
from coordinator.config import pair
from coordinator.hop import link
from coordinator.runtime import store_socket, undoing
from coordinator.tiers import mic, requests
from tests import micworld
from tests.unit.test_mic_way_in import Verb, apply_by, document

pytestmark = pytest.mark.anyio


async def moved() -> tuple[micworld.World, mic.Mic]:
    """The only way in is another one since revision 2."""
    world = micworld.World()
    served, _ = await world.open()
    assert (await world.apply(served, document(port=9443, override=True)))[0] == ""
    return world, served


async def audited(world: micworld.World, served: mic.Mic) -> list[tuple[str, str, str, str]]:
    _, answer = await world.ask(served, Verb.AUDIT)
    return [(one["who"], one["source"], one["verb"], one["outcome"]) for one in answer["entries"]]


async def test_it_brings_back_a_way_in_that_http_would_not_and_is_audited() -> None:
    world, served = await moved()
    assert (await world.ask(served, Verb.ROLLBACK, requests.Rollback()))[0] == "refused"
    planned = await undoing.rollback(served.at, requests.Rollback(dry_run=True))
    assert served.at.past.version.revision == 2
    assert any(one.startswith("D12: ") for one in planned.applied.warnings)
    done = await undoing.rollback(served.at, requests.Rollback(to=planned.to, if_revision=2))
    assert (done.to, done.applied.version.revision) == (1, 3)
    assert (await audited(world, served))[0] == ("local root", "c1, this machine", "server.rollback", "ok")
    assert served.at.past.records[3].author == "local root"
    view = await undoing.rollout(served.at, requests.WaitRollout(rollout=done.applied.rollout))
    assert view.version.revision == 3


async def test_a_refusal_is_audited_and_a_look_is_not() -> None:
    world, served = await moved()
    before = await audited(world, served)
    with pytest.raises(errors.ConflictError):
        await undoing.rollback(served.at, requests.Rollback(to=1, if_revision=7, dry_run=True))
    assert await audited(world, served) == before
    with pytest.raises(errors.ConflictError):
        await undoing.rollback(served.at, requests.Rollback(to=1, if_revision=7))
    assert (await audited(world, served))[0] == (
        "local root",
        "c1, this machine",
        "server.rollback",
        "conflict",
    )


async def test_a_mic_that_needs_recovery_takes_nothing_back() -> None:
    _, served = await moved()
    served.at.recovery = "older than what a server shows"
    with pytest.raises(errors.TiercastError) as refused:
        await undoing.rollback(served.at, requests.Rollback(to=1))
    assert refused.value.code == "needs_recovery"


async def test_whoever_takes_its_own_ws_away_is_answered_before_that_is_published() -> None:
    world = micworld.World()
    served, _ = await world.open()
    entry = pair.Entry(pair.Through(micworld.C1, names.RoleName("gone")))
    code, _ = await apply_by(world, served, document(second=True), entry)
    assert (code, served.at.owed) == ("", True)
    served.at.publish_owed()
    assert served.at.owed is False


# --- the socket -------------------------------------------------------------------------------------------------------


def served_by(undone: undoing.Undone | errors.TiercastError) -> store_socket.Served:
    async def rollback(_asked: requests.Rollback) -> undoing.Undone:
        if isinstance(undone, errors.TiercastError):
            raise undone
        return undone

    async def never(*_: object) -> None:
        raise AssertionError("not asked for")

    return store_socket.Served("m", lambda: "active", never, never, never, never, rollback, never)  # type: ignore[arg-type]  # never answers


UNDONE = undoing.Undone(requests.Applied(names.Version(1, 3), "d", "r3-a", unchanged=False), 1)
ASK = store_socket.Ask("rollback", back=requests.Rollback())


async def asked(path: str, ask: store_socket.Ask) -> store_socket.Answer | None:
    while not pathlib.Path(path).exists():  # noqa: ASYNC110, ASYNC240 its file says that it is there
        await anyio.sleep(0.005)
    return await anyio.to_thread.run_sync(store_socket.ask, path, ask)


async def test_an_answer_and_a_refusal_with_its_hint_come_over_the_socket(tmp_path: pathlib.Path) -> None:
    outcomes: list[undoing.Undone | errors.TiercastError] = [
        UNDONE,
        errors.RefusedError("refused by D3", hint="steps"),
    ]
    for number, what in enumerate(outcomes):
        path = str(tmp_path / f"{number}.sock")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store_socket.serve, path, served_by(what))
            if number == 0:
                answer = await asked(path, ASK)
                assert answer is not None
                assert answer.undone == UNDONE
                with pytest.raises(errors.UsageError):
                    await asked(path, store_socket.Ask("rollback"))
            else:
                with pytest.raises(errors.RefusedError) as refused:
                    await asked(path, ASK)
                assert refused.value.hint == "steps"
            tasks.cancel_scope.cancel()


async def test_another_user_is_not_answered(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stranger(_connected: object) -> link.UnixPeer:
        raise errors.IdentityError("the process at the socket is another user's")

    monkeypatch.setattr(link, "unix_peer", stranger)
    path = str(tmp_path / "s.sock")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store_socket.serve, path, served_by(UNDONE))
        with pytest.raises(errors.TiercastError):
            await asked(path, ASK)
        tasks.cancel_scope.cancel()


def test_an_ask_does_not_show_its_password() -> None:
    assert "secret" not in repr(store_socket.Ask("reset-admin", password="secret"))
    assert msgspec.json.decode(msgspec.json.encode(ASK), type=store_socket.Ask) == ASK
