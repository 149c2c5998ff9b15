"""The core roles over real links on loopback: MIC, DC and WS on one server, an IC on another, two bare leaves."""

import contextlib
import pathlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import anyio
import anyio.abc
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from coordinator import names, role
from coordinator.config import kinds, model
from coordinator.hop import credentials, driver
from coordinator.host import clock, disk, settings
from coordinator.propagation import bodies, events, intake, messages, mirror, subscriber
from coordinator.runtime import dc, ic, initialise, mic, types, ws
from coordinator.tiers import requests
from coordinator.trust import authority, certificates, signing, tls
from tests import builders, micworld

pytestmark = pytest.mark.integration

C1, N1 = "127.0.21.1", "127.0.21.2"
CLOCK, RANDOM = clock.SystemClock(), clock.SystemRandom()
Verb = requests.Verb


def two_sites() -> model.Document:
    return builders.bent(
        lambda plain: (
            plain["servers"].update(c1={"interfaces": {"lan": C1}}, n1={"interfaces": {"lan": N1}}),
            plain["roles"].pop("web1"),
            plain["structure"]["north"].update(n1=["icn1"]),
        )
    )


class Leaf:
    """A ServerShell that takes whatever comes and says at once that it is ready."""

    def __init__(self, directory: pathlib.Path, address: str) -> None:
        root = disk.DirectoryDisk(directory)
        identity = authority.Identity.load(root)
        trust, admission = root.read(authority.TRUST_FILE), root.read(authority.ADMISSION_FILE)
        assert trust is not None
        keyring = signing.Keyring.trusting(trust, identity.cluster)
        content = mirror.Content(mirror.SignedTrust(trust, keyring.body))
        if admission is not None:
            content = content.take(mirror.verify(admission, keyring))
        self._seq = 0
        me = subscriber.Me(identity.cluster, messages.ChildKind.SHELL, "", identity.server_id)
        taking = intake.Intake(content, bodies.Shelf(), identity.cluster, lambda _body: None)
        self.machine = subscriber.Subscriber(me, taking, boot=1)
        own = credentials.Credentials(identity, CLOCK)
        self.driver = driver.Driver(
            _Quiet(self.machine), driver.Ground(CLOCK, RANDOM, own, address), self._perform
        )
        self.view = role.View(names.NO_VERSION, names.Digest(""), b"")

    def follow(self, server: str, address: str, port: int) -> None:
        parent = events.Parent(names.ServerName(server), address, port)
        self.driver.act(self.machine.follow((parent,), CLOCK.monotonic()))

    def _perform(self, output: object) -> None:
        match output:
            case events.Accepted(version, digest, body):
                self.view = role.View(version, digest, body)
                self.tell(messages.Level.READY)
            case subscriber.TellAgain():
                self.tell(messages.Level.READY)
            case _:
                pass

    def tell(self, level: messages.Level) -> None:
        self._seq += 1
        epoch = names.Epoch(1, self._seq)
        ack = messages.AckState(self.view.version, self.view.digest, level, messages.Outcome.OK, epoch)
        self.driver.act(self.machine.tell(ack))


class _Quiet:
    def __init__(self, machine: subscriber.Subscriber) -> None:
        self._machine = machine

    @property
    def deadline(self) -> float:
        return self._machine.deadline

    def handle(self, event: events.Input, now: float) -> tuple[object, ...]:
        return self._machine.handle(event, now)

    def drained(self, link: names.LinkId, now: float) -> tuple[object, ...]:
        return ()


class House:
    """One server's directory and the roles in it; the host of a node reduced to its contract."""

    def __init__(
        self, directory: pathlib.Path, server: str, address: str, tasks: anyio.abc.TaskGroup
    ) -> None:
        self.directory = directory
        self.server = server
        self.address = address
        self.leaf: Leaf | None = None
        self._tasks = tasks

    def context(self, name: str, scopes: list[anyio.CancelScope]) -> role.Context:
        state = self.directory / "state" / name
        state.mkdir(parents=True, exist_ok=True)

        def background(function: Callable[[], Awaitable[None]]) -> None:
            scope = anyio.CancelScope()
            scopes.append(scope)

            async def guarded() -> None:
                with scope:
                    await function()

            self._tasks.start_soon(guarded)

        nothing = role.View(names.NO_VERSION, names.Digest(""), b"")
        return role.Context(
            role=names.RoleName(name),
            server=names.ServerName(self.server),
            site=names.SiteName("central" if self.server == "c1" else "north"),
            address=self.address,
            node_directory=str(self.directory),
            state_directory=str(state),
            server_directory=str(self.directory),
            log_path="",
            socket="",
            clock=CLOCK,
            random=RANDOM,
            launcher=None,  # type: ignore[arg-type]  # core roles start no programs
            view=lambda: nothing if self.leaf is None else self.leaf.view,
            changed=lambda: None,
            background=background,
        )

    @contextlib.asynccontextmanager
    async def running(self, name: str, instance: Any, params: role.Params) -> AsyncIterator[Any]:
        scopes: list[anyio.CancelScope] = []
        await instance.start(params, self.context(name, scopes))
        try:
            yield instance
        finally:
            used = instance._link.driver if hasattr(instance, "_link") else instance._driver
            await instance.stop()
            failed = used.failed.done() and used.failed.result()
            for scope in scopes:
                scope.cancel()
        assert not failed


@contextlib.asynccontextmanager
async def first_server(tmp_path: pathlib.Path) -> AsyncIterator[tuple[House, str]]:
    """Made by `init`; with the administrator's token."""
    wanted = initialise.First(
        name="c1", address=C1, site="central", master_domain="acme", fqdn="acme.example"
    )
    layout = settings.Layout(tmp_path / "c1")
    made = initialise.initialise(layout, wanted, initialise.basic_document(wanted), CLOCK, RANDOM)
    async with anyio.create_task_group() as tasks:
        house = House(layout.root, "c1", C1, tasks)
        yield house, made.token.text
        tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def leaf_of(house: House) -> AsyncIterator[Leaf]:
    house.leaf = leaf = Leaf(house.directory, house.address)
    leaf.driver.start()
    try:
        yield leaf
    finally:
        house.leaf = None
        await leaf.driver.close("test ends")


async def ask(web: ws.WsRole, token: str, verb: Verb, asked: msgspec.Struct) -> Any:
    call = requests.Call(token, "test", RANDOM.token(8), msgspec.json.encode(asked))
    assert web._link is not None
    code, data = await web._link.ask(verb, msgspec.msgpack.encode(call))
    assert code == "", data
    return msgspec.json.decode(data)


async def enrolled(web: ws.WsRole, token: str, directory: pathlib.Path) -> None:
    """What `server enroll` and the first `server run` do."""
    key_pem = certificates.new_key()
    key = serialization.load_pem_private_key(key_pem, None)
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())  # type: ignore[arg-type]
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    answer = msgspec.convert(
        await ask(web, token, Verb.ENROLL, requests.Enroll("n1", pem)), requests.Enrolled, strict=False
    )
    root = disk.DirectoryDisk(directory)
    authority.Identity(
        names.ServerId(answer.server_id),
        names.ClusterId(answer.cluster),
        key_pem,
        answer.certificate_pem.encode(),
        answer.ca_pem.encode(),
    ).save(root)
    root.write(authority.TRUST_FILE, answer.trust)
    root.write(authority.ADMISSION_FILE, answer.admission)


async def converged(web: ws.WsRole, token: str, rollout: str, ready: int) -> Any:
    index = 0
    with anyio.fail_after(60):
        while True:
            asked = requests.WaitRollout(rollout=rollout, index=index, wait_s=10)
            view = await ask(web, token, Verb.ROLLOUT, asked)
            if view["state"] == "converged":
                assert (view["ready"], view["reachable"], view["asked"]) == (ready, ready, ready)
                return view
            index = view["index"]


def test_a_configuration_goes_from_mic_through_an_ic_to_a_leaf_and_its_ack_comes_back(
    tmp_path: pathlib.Path,
) -> None:
    async def main() -> None:
        async with (
            first_server(tmp_path) as (c1, token),
            c1.running("mic1", mic.MicRole(), kinds.MicParams()) as top,
        ):
            assert top.report().health is role.Health.HEALTHY
            async with leaf_of(c1) as leaf:
                leaf.follow("c1", C1, 7401)
                await micworld.until(lambda: leaf.view.version == names.Version(1, 1))
                async with (
                    c1.running("dc1", dc.DcRole(), kinds.DcParams()) as domain,
                    c1.running("ws1", ws.WsRole(), kinds.WsParams()) as web,
                ):
                    await applied(c1, leaf, web, token)
                    await micworld.until(lambda: domain.report() == role.Report(role.Health.HEALTHY))

    async def applied(c1: House, leaf: Leaf, web: ws.WsRole, token: str) -> None:
        await enrolled(web, token, tmp_path / "n1")
        source = requests.Source(files=(micworld.file(two_sites()),))
        answer = await ask(web, token, Verb.APPLY, requests.Apply(source=source))
        assert (answer["version"], answer["warnings"]) == ([1, 2], [])
        n1 = House(tmp_path / "n1", "n1", N1, c1._tasks)
        async with n1.running("icn1", ic.IcRole(), kinds.IcParams()) as relay, leaf_of(n1) as far:
            far.follow("n1", N1, 7402)
            view = await converged(web, token, answer["rollout"], 2)
            assert view["converged_after_ms"] is not None
            assert far.view == leaf.view
            assert relay.report().health is role.Health.HEALTHY
            await answers_over_https(c1, token)

    async def answers_over_https(c1: House, token: str) -> None:
        ca = (c1.directory / "identity" / "ca.pem").read_bytes()
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as session:
            url = f"https://{C1}:8443/api/admin/v1/cfg/status"
            async with session.get(url, headers=headers, ssl=tls.pinned_client_context(ca)) as response:
                assert response.status == 200
                status = await response.json()
        assert [site["sync"] for site in status["sites"]] == ["converged", "converged"]

    anyio.run(main)


def test_a_mic_that_comes_back_goes_on_where_it_was_and_a_lost_store_is_served_read_only(
    tmp_path: pathlib.Path,
) -> None:
    async def main() -> None:
        async with first_server(tmp_path) as (c1, _):
            async with leaf_of(c1) as leaf:
                leaf.follow("c1", C1, 7401)
                async with c1.running("mic1", mic.MicRole(), kinds.MicParams()) as first:
                    at = first._running.mic.at
                    await micworld.until(lambda: at.past.rollouts[at.past.rollout].state == "converged")
                async with c1.running("mic1", mic.MicRole(), kinds.MicParams()) as second:
                    at = second._running.mic.at
                    assert at.office.term == 2
                    assert at.past.rollouts[at.past.rollout].state == "converged"
                    assert at.past.seen["central"].servers
                    await micworld.until(lambda: at.master.convergence.summary.ready == 1)
            for file in (c1.directory / "store").iterdir():
                file.unlink()
            async with c1.running("mic1", mic.MicRole(), kinds.MicParams()) as third:
                assert third.report().health is role.Health.DEGRADED
                assert third.report().code == "needs_recovery"
                assert third._running.mic.at.past.version == names.Version(1, 1)

    anyio.run(main)


def test_an_ic_whose_mic_is_away_serves_what_its_server_has_accepted_and_keeps_it(
    tmp_path: pathlib.Path,
) -> None:
    async def serve(c1: House) -> None:
        async with c1.running("icc1", ic.IcRole(), kinds.IcParams()) as relay, leaf_of(c1) as leaf:
            assert relay.report().health is role.Health.HEALTHY
            leaf.follow("c1", C1, 7402)
            await micworld.until(lambda: leaf.view.version == names.Version(1, 1))

    async def main() -> None:
        async with first_server(tmp_path) as (c1, _):
            await serve(c1)
            (c1.directory / "ledger" / "head").unlink()
            await serve(c1)  # from its own copy alone

    anyio.run(main)


def test_a_port_that_is_taken_is_a_refusal_with_its_code_and_leaves_nothing_open(
    tmp_path: pathlib.Path,
) -> None:
    async def main() -> None:
        async with first_server(tmp_path) as (c1, _):
            taken: tuple[tuple[str, Any, role.Params], ...] = (
                ("mic1", mic.MicRole, kinds.MicParams(port=7411)),
                ("ws1", ws.WsRole, kinds.WsParams(port=7411)),
                ("ic1", ic.IcRole, kinds.IcParams(port=7411)),
            )
            for name, made, params in taken:
                with socket.create_server((C1, 7411)):
                    instance = made()
                    with pytest.raises(role.RoleRefusedError) as refused:
                        await instance.start(params, c1.context(name, []))
                    assert refused.value.code == "port_taken"
                    await instance.stop()
            c1._tasks.cancel_scope.cancel()

    anyio.run(main)


def test_the_core_types_are_those_of_the_document_and_light_to_import() -> None:
    assert {kind.name for kind in (types.MIC, types.IC, types.DC, types.WS)} == set(model.CORE_TYPES)
    assert [kind.load() for kind in (types.MIC, types.IC, types.DC, types.WS)] == [
        mic.MicRole,
        ic.IcRole,
        dc.DcRole,
        ws.WsRole,
    ]
