"""The command as its user meets it: a process of its own, mutual distrust by TLS, a terminal, Ctrl-C, a WS that restarts."""

import contextlib
import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
import anyio.abc
import anyio.from_thread
import anyio.streams.tls
import anyio.to_thread
import pytest
from aiohttp import web

from coordinator import errors, names
from coordinator.api import server
from coordinator.cli import client, https
from coordinator.host import clock, contexts, metrics
from coordinator.tiers import requests
from coordinator.trust import authority, certificates, tls
from tests import terminal, upstream

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

TIERCAST = [sys.executable, "-c", "from coordinator.cli.main import main; main()"]
ROLLOUT = requests.Verb.ROLLOUT
RUNNING = upstream.rollout("running", ready=4, blocking=(upstream.LATE,), index=3)
WITHIN_S = 60.0


class System:
    """A WS over TLS with a certificate of its own authority, before a MIC that answers from a table."""

    def __init__(self, directory: pathlib.Path, mic: upstream.FakeUpstream | None = None) -> None:
        wall_s = clock.SystemClock().wall()
        self.authority = authority.create_authority(names.ClusterId("cluster"), wall_s)
        key_pem = certificates.new_key()
        public = certificates.public_pem(key_pem)
        cert_pem = authority.issue_https(self.authority, public, ["127.0.0.1"], [], wall_s)
        self.tls = tls.https_context(cert_pem, key_pem)
        self.mic = mic or upstream.FakeUpstream()
        self.port = 0
        self.contexts = directory / "contexts.yaml"

    async def start(self) -> web.AppRunner:
        app = server.application(self.mic, clock.SystemClock(), clock.SystemRandom(), metrics.Metrics())
        runner = await server.serve(app, "127.0.0.1", self.port, self.tls)
        self.port = runner.addresses[0][1]
        return runner

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def asked_by(self, clock: terminal.Clock, sleep: Callable[[float], None]) -> https.HttpsClient:
        """A command line whose time is another."""
        at = contexts.Context(self.url, self.authority.ca_pem.decode(), "token")
        return https.HttpsClient(at, clock, sleep)

    def known_as(self, *servers: str, ca_pem: bytes | None = None) -> None:
        contexts.write_context(self.contexts, "test", servers, ca_pem or self.authority.ca_pem, "token")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, contexts.VARIABLE: str(self.contexts), "TERM": "xterm"}

    def popen(
        self, *words: str, stdin: int = subprocess.DEVNULL, stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*TIERCAST, *words],
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    async def run(self, *words: str) -> tuple[int, str, str]:
        with ended(self.popen(*words)) as process:
            out, talk = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=WITHIN_S))
        return process.returncode, out, talk


@contextlib.asynccontextmanager
async def system(directory: pathlib.Path, mic: upstream.FakeUpstream | None = None) -> AsyncIterator[System]:
    made = System(directory, mic)
    runner = await made.start()
    made.known_as(made.url)
    try:
        yield made
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """A port that the kernel gives nobody else meanwhile; nobody listens there, until a server of the test does."""
    with socket.socket() as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind(("127.0.0.1", 0))
        yield holding.getsockname()[1]


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """It does not outlive the test, however that goes."""
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(WITHIN_S):
        while not true():
            await anyio.sleep(0.02)


async def test_a_context_is_enough_to_ask_a_system(tmp_path: pathlib.Path) -> None:
    async with system(tmp_path) as asked:
        code, out, talk = await asked.run("status")
    assert (code, talk) == (0, "")
    assert out.startswith("revision 42")
    assert asked.mic.calls[0][1].token == "token"


async def test_a_system_that_cannot_prove_itself_is_not_told_the_token(tmp_path: pathlib.Path) -> None:
    stranger = authority.create_authority(names.ClusterId("other"), clock.SystemClock().wall())
    async with system(tmp_path) as asked:
        asked.known_as(asked.url, ca_pem=stranger.ca_pem)
        code, _, talk = await asked.run("status")
    assert code == 9
    assert "is not the system of this context" in talk
    assert asked.mic.calls == []


async def test_the_next_server_is_asked_where_the_first_is_away(tmp_path: pathlib.Path) -> None:
    async with system(tmp_path) as asked:
        asked.known_as("https://127.0.0.1:1", asked.url)
        code, out, _ = await asked.run("whoami")
        assert (code, out) == (0, "admin, administrator, of cluster cluster\n")
        asked.known_as("https://127.0.0.1:1")
        code, _, talk = await asked.run("whoami")
    assert code == 8
    assert "no answer from https://127.0.0.1:1: connection refused, tried for" in talk


@pytest.mark.parametrize(
    "ask", [client.Ask(path=f"{client.CFG}/status"), client.post(f"{client.CFG}/withdraw", b"", "key")]
)
async def test_who_restarts_is_waited_for_and_asked_once(tmp_path: pathlib.Path, ask: client.Ask) -> None:
    asked, clock, runners = System(tmp_path), terminal.Clock(), list[web.AppRunner]()

    def sleep(span_s: float) -> None:
        clock.sleep(span_s)
        if len(clock.slept) == 3:
            runners.append(anyio.from_thread.run(asked.start))

    with held_port() as asked.port:
        try:
            await anyio.to_thread.run_sync(asked.asked_by(clock, sleep).call, ask)
        finally:
            for runner in runners:
                await runner.cleanup()
    assert (len(clock.slept), len(asked.mic.calls)) == (3, 1)


async def test_patience_with_nobody_ends_and_says_so(tmp_path: pathlib.Path) -> None:
    asked, clock = System(tmp_path), terminal.Clock()
    with held_port() as asked.port:
        caller = asked.asked_by(clock, clock.sleep)
        with pytest.raises(errors.UnreachableError, match=r": connection refused, tried for [45]\.\d s$"):
            await anyio.to_thread.run_sync(caller.call, client.post("/x", b"{}", "key"))
        before = len(clock.slept)
        with pytest.raises(errors.UnreachableError, match=r": connection refused$"):
            await anyio.to_thread.run_sync(caller.call, client.Ask(path="/x", patient=False))
    assert len(clock.slept) == before


async def test_a_stranger_is_not_tried_again(tmp_path: pathlib.Path) -> None:
    clock = terminal.Clock()
    other = System(tmp_path)
    async with system(tmp_path) as asked:
        other.port = asked.port
        with pytest.raises(errors.IdentityError):
            await anyio.to_thread.run_sync(
                other.asked_by(clock, clock.sleep).call, client.Ask(path=f"{client.CFG}/status")
            )
    assert clock.slept == []


async def test_waiting_outlives_the_restart_of_whoever_answers(tmp_path: pathlib.Path) -> None:
    asked = System(tmp_path)
    asked.mic.answers[ROLLOUT] = RUNNING
    with held_port() as asked.port:
        runner = await asked.start()
        asked.known_as(asked.url)
        with ended(asked.popen("apply", "d-7f3a", "--yes")) as process:
            await until(lambda: any(verb == ROLLOUT for verb, _ in asked.mic.calls))
            await runner.cleanup()
            told = await anyio.to_thread.run_sync(_until_told, process, "retrying")
            asked.mic.answers[ROLLOUT] = upstream.rollout()
            runner = await asked.start()
            try:
                out, talk = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=WITHIN_S))
            finally:
                await runner.cleanup()
    assert process.returncode == 0
    assert (
        out
        == "converged: revision 42, 2 sites, 6 servers, 14 roles, 412 ms (ready 6 of reachable 6 of asked 6)\n"
    )
    assert f"no answer from {asked.url}: " in told + talk
    assert ", retrying" in told + talk


def _until_told(process: subprocess.Popen[str], word: str) -> str:
    """What it says up to the line with the word."""
    assert process.stderr is not None
    told = ""
    while word not in told and (line := process.stderr.readline()):
        told += line
    return told


class Screen:
    """The other end of a terminal."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.seen = ""

    def shows(self, text: str) -> bool:
        with contextlib.suppress(BlockingIOError, OSError):
            self.seen += os.read(self.ours, 65536).decode(errors="replace")
        return text in self.seen

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def close(self) -> None:
        os.close(self.ours)


async def test_ctrl_c_at_a_terminal_detaches_and_aborts_nothing(tmp_path: pathlib.Path) -> None:
    async with system(tmp_path) as asked:
        asked.mic.answers[ROLLOUT] = RUNNING
        screen = Screen()
        with ended(asked.popen("apply", "d-7f3a", stdin=screen.theirs, stderr=screen.theirs)) as process:
            os.close(screen.theirs)
            await until(lambda: screen.shows("apply on top of revision 41? [y/N]"))
            screen.type("y\n")
            await until(lambda: screen.shows("n2 (north): applying, role web2 is not ready yet"))
            process.send_signal(signal.SIGINT)
            await until(lambda: screen.shows("detached; the rollout goes on: tiercast status ro-7 -w"))
            out = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=WITHIN_S)[0])
        screen.close()
    assert process.returncode == 130
    assert out.startswith("running: revision 42")
    assert {verb for verb, _ in asked.mic.calls} == {requests.Verb.PLAN, requests.Verb.APPLY, ROLLOUT}


async def test_ctrl_c_at_the_question_changes_nothing(tmp_path: pathlib.Path) -> None:
    async with system(tmp_path) as asked:
        screen = Screen()
        with ended(asked.popen("apply", "d-7f3a", stdin=screen.theirs, stderr=screen.theirs)) as process:
            os.close(screen.theirs)
            await until(lambda: screen.shows("[y/N]"))
            process.send_signal(signal.SIGINT)
            await until(lambda: screen.shows("interrupted"))
            await anyio.to_thread.run_sync(lambda: process.wait(timeout=WITHIN_S))
        screen.close()
    assert process.returncode == 130
    assert [verb for verb, _ in asked.mic.calls] == [requests.Verb.PLAN]


async def test_an_answer_that_is_lost_leaves_a_change_unknown_and_a_question_unanswered(
    tmp_path: pathlib.Path,
) -> None:
    made = System(tmp_path)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    address = listener.extra(anyio.abc.SocketAttribute.local_address)
    made.tls.check_hostname = False
    asked = https.HttpsClient(
        contexts.Context(f"https://127.0.0.1:{address[1]}", made.authority.ca_pem.decode())
    )

    async def hangs_up(stream: anyio.abc.SocketStream) -> None:
        secure = await anyio.streams.tls.TLSStream.wrap(
            stream, server_side=True, ssl_context=made.tls, standard_compatible=False
        )
        await secure.receive()
        await secure.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hangs_up)
        with pytest.raises(errors.UnknownOutcomeError, match="it may or may not have been done"):
            await anyio.to_thread.run_sync(asked.call, client.post("/x", b"{}", "key"))
        with pytest.raises(errors.UnreachableError, match="no answer from"):
            await anyio.to_thread.run_sync(asked.call, client.Ask(path="/x"))
        with pytest.raises(errors.UnreachableError, match=r"127\.0\.0\.1"):
            await anyio.to_thread.run_sync(next, asked.follow(client.Ask(path="/x")))
        tasks.cancel_scope.cancel()
    await listener.aclose()


async def test_a_pipe_that_nobody_reads_any_more_is_no_stack_trace(tmp_path: pathlib.Path) -> None:
    async with system(tmp_path) as asked:
        with ended(asked.popen("schema")) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            await anyio.to_thread.run_sync(lambda: process.wait(timeout=WITHIN_S))
            assert "Traceback" not in process.stderr.read()
