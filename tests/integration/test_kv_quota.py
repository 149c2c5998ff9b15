"""A full quota of the users' keys, with writers that do not give up, stops no change of the configuration: real store and roles."""

import pathlib

import anyio
import msgspec
import pytest

from coordinator import limits
from coordinator.config import kinds, model
from coordinator.runtime import mic, ws
from coordinator.tiers import requests, requests_kv
from tests import builders, micworld
from tests.integration import test_mic_roles as town

pytestmark = pytest.mark.integration
QUOTA_BYTES = 64 * 1024
WRITERS = 8


def labelled(word: str) -> model.Document:
    """The system, with a word that makes it another document."""
    return builders.bent(lambda plain: plain["servers"]["c1"].update(labels={"word": word}), town.two_sites())


def test_whoever_fills_the_quota_delays_no_apply(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KV_QUOTA_BYTES", QUOTA_BYTES)
    codes: dict[str, int] = {}

    async def writing(served: ws.WsRole, token: str, number: int) -> None:
        """Puts of a kilobyte, one after the other, for ever."""
        count = 0
        while True:
            count += 1
            asked = requests_kv.Put(key=f"w{number}/{count}", value="x" * 1000)
            call = requests.Call(token, "test", f"{number}-{count}", msgspec.json.encode(asked))
            assert served._link is not None
            code, _ = await served._link.ask(requests.Verb.KV_PUT, msgspec.msgpack.encode(call))
            codes[code] = codes.get(code, 0) + 1

    async def refused_again() -> None:
        before = codes["no_space"]
        await micworld.until(lambda: codes["no_space"] > before)

    async def main() -> None:
        async with (
            town.first_server(tmp_path) as (c1, token),
            c1.running("mic1", mic.MicRole(), kinds.MicParams()),
            c1.running("ws1", ws.WsRole(), kinds.WsParams()) as served,
            anyio.create_task_group() as tasks,
        ):
            await town.enrolled(served, token, tmp_path / "n1")
            for number in range(WRITERS):
                tasks.start_soon(writing, served, token, number)
            await micworld.until(lambda: codes.get("no_space", 0) > WRITERS)
            for word in ("one", "two", "three"):
                source = requests.Source(files=(micworld.file(labelled(word)),))
                await town.ask(served, token, requests.Verb.APPLY, requests.Apply(source=source))
                await refused_again()
            used = await town.ask(served, token, requests.Verb.KV_USAGE, requests_kv.Nothing())
            assert used["size_bytes"] <= QUOTA_BYTES
            tasks.cancel_scope.cancel()

    anyio.run(main)
    assert codes.keys() <= {"", "no_space"}, codes
