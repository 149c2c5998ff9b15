"""Members of a made-up etcd that answer, refuse, break off and lie: what is sent to whom, and how often."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from bench import ports
from coordinator import errors
from coordinator.store.backends.etcd import access, gateway, messages
from tests import etcdcluster, pace

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

Reply = Callable[[web.Request], web.Response | None]
"""None: the connection breaks off without an answer."""


def good(revision: int = 5, term: int = 2) -> Reply:
    header = {"cluster_id": "7", "revision": str(revision), "raft_term": str(term)}
    return lambda _: web.json_response({"header": header, "succeeded": True})


def refusal(code: int, text: str) -> Reply:
    return lambda _: web.json_response({"error": text, "message": text, "code": code}, status=400)


def broken(_request: web.Request) -> None:
    """It was sent, and nobody knows."""


class Member:
    """One endpoint; what it was asked stands in `asked`."""

    def __init__(self, *replies: Reply, version: str = "3.4.23", cluster: str = "7") -> None:
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.endpoint = ""
        self._replies = list(replies)
        self._status = {"header": {"cluster_id": cluster}, "version": version, "leader": "1"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.asked.append(request.path)
        if request.path == messages.STATUS:
            return web.json_response(self._status)
        if request.path == messages.LOGIN:
            return web.json_response({"token": f"t{self.asked.count(messages.LOGIN)}"})
        self.tokens.append(request.headers.get("Authorization", ""))
        assert request.headers["Grpc-Metadata-hasleader"] == "true"
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        made = reply(request)
        if made is None:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return made

    def count(self, path: str) -> int:
        return self.asked.count(path)


@contextlib.asynccontextmanager
async def cluster(*members: Member, user: str = "") -> AsyncIterator[gateway.Gateway]:
    runners = []
    for member, port in zip(members, ports.several(len(members)), strict=True):
        app = web.Application()
        app.router.add_post("/{any:.*}", member.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        member.endpoint = f"127.0.0.1:{port}"
        runners.append(runner)
    address = access.Address(tuple(member.endpoint for member in members), "/x")
    made = gateway.Gateway(access.Access(address, "", user, "pw" if user else ""), etcdcluster.CLOCK)
    try:
        yield made
    finally:
        await made.close()
        for runner in runners:
            await runner.cleanup()


async def txn(through: gateway.Gateway, sending: gateway.Sending) -> messages.Txn:
    return await through.call(messages.TXN, {"success": []}, messages.Txn, sending)


async def test_a_write_that_may_have_been_done_is_not_sent_again() -> None:
    first, second = Member(broken), Member(good())
    async with cluster(first, second) as through:
        with pytest.raises(errors.UnknownOutcomeError):
            await txn(through, gateway.Sending.ONCE)
    assert (first.count(messages.TXN), second.count(messages.TXN)) == (1, 0)


@pytest.mark.parametrize("sending", [gateway.Sending.READ, gateway.Sending.REPEATABLE])
async def test_what_is_done_once_however_often_it_is_said_goes_to_the_next_member(
    sending: gateway.Sending,
) -> None:
    first, second = Member(broken), Member(good())
    async with cluster(first, second) as through:
        assert (await txn(through, sending)).succeeded
    assert (first.count(messages.TXN), second.count(messages.TXN)) == (1, 1)


async def test_a_write_that_was_certainly_not_done_is_sent_again() -> None:
    first, second = Member(refusal(14, "etcdserver: no leader")), Member(good())
    async with cluster(first, second) as through:
        assert (await txn(through, gateway.Sending.ONCE)).succeeded
    assert (first.count(messages.TXN), second.count(messages.TXN)) == (1, 1)


async def test_after_a_doubt_no_refusal_says_that_nothing_was_done() -> None:
    full = refusal(8, "etcdserver: mvcc: database space exceeded")
    first, second = Member(broken), Member(full)
    async with cluster(first, second) as through:
        with pytest.raises(errors.UnknownOutcomeError):
            await txn(through, gateway.Sending.REPEATABLE)
    async with cluster(Member(full)) as through:
        with pytest.raises(errors.NoSpaceError):
            await txn(through, gateway.Sending.REPEATABLE)


async def test_a_refusal_that_shows_that_an_earlier_try_did_it_is_no_refusal() -> None:
    gone = refusal(5, "etcdserver: requested lease not found")
    async with cluster(Member(broken, gone)) as through:
        with pytest.raises(gateway.DoneBeforeError):
            await through.call(
                messages.REVOKE, {}, messages.Answer, gateway.Sending.REPEATABLE, errors.NotFoundError
            )
    async with cluster(Member(gone)) as through:
        with pytest.raises(errors.NotFoundError):
            await through.call(
                messages.REVOKE, {}, messages.Answer, gateway.Sending.REPEATABLE, errors.NotFoundError
            )


async def test_nobody_leads_is_told_within_two_seconds() -> None:
    nobody = refusal(14, "etcdserver: no leader")
    with pace.within(2.0 + 2.0):
        async with cluster(Member(nobody), Member(nobody)) as through:
            with pytest.raises(errors.NoQuorumError, match="no leader"):
                await txn(through, gateway.Sending.ONCE)
            assert through.doubtful


async def test_a_token_that_is_too_old_is_fetched_anew_and_the_write_sent_again() -> None:
    stale = refusal(16, "etcdserver: invalid auth token")
    member = Member(good(), stale, good(6))
    async with cluster(member, user="mic") as through:
        for _ in range(2):
            assert (await txn(through, gateway.Sending.ONCE)).succeeded
    assert member.count(messages.LOGIN) == 2
    assert member.tokens == ["t1", "t1", "t2"]


@pytest.mark.parametrize("version", ["3.5.3", "3.4.10", "", "2.3.8"])
async def test_a_version_that_is_not_used_is_refused_at_once_and_asked_nothing_else(version: str) -> None:
    member = Member(good(), version=version)
    with pace.within(gateway.CALL_S):
        async with cluster(member) as through:
            with pytest.raises(errors.RefusedError, match="version"):
                await txn(through, gateway.Sending.READ)
    assert set(member.asked) == {messages.STATUS}


async def test_one_member_of_an_unwanted_version_or_another_cluster_is_passed_over() -> None:
    for stranger in (Member(good(), version="3.5.0"), Member(good(), cluster="8")):
        home = Member(good(), refusal(14, "etcdserver: no leader"), good(6))
        async with cluster(home, stranger) as through:
            for _ in range(2):
                assert (await txn(through, gateway.Sending.ONCE)).succeeded
        assert stranger.count(messages.TXN) == 0


@pytest.mark.parametrize("older", [good(revision=4), good(revision=9, term=1)])
async def test_an_answer_older_than_one_before_is_the_last(older: Reply) -> None:
    member = Member(good(revision=5, term=2), older, good(revision=50))
    async with cluster(member) as through:
        await txn(through, gateway.Sending.READ)
        for _ in range(2):
            with pytest.raises(errors.NeedsRecoveryError, match="older data"):
                await txn(through, gateway.Sending.READ)
    assert member.count(messages.TXN) == 2


async def test_what_is_no_etcd_is_told_so() -> None:
    page: Reply = lambda _: web.Response(text="<html>", status=502)  # noqa: E731
    async with cluster(Member(page)) as through:
        with pytest.raises(errors.NoQuorumError, match="does not speak etcd"):
            await txn(through, gateway.Sending.READ)
    assert json.loads(messages.encode({"key": b"a"})) == {"key": "YQ=="}
