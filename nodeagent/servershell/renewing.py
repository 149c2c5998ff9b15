"""The server's own certificate over time: renewed at half its life, when the CA changes, and when somebody wants it.

MIC is asked through whoever is the parent; everything else goes on with the certificate that there is, run out or not.
Law: a new key is durable before anybody hears of it, a new certificate before it is shown; at every moment there is one
identity on the disk that the cluster takes. Nothing of an answer counts that the trust held here does not vouch for.
"""

from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import msgspec

from coordinator import errors
from coordinator.hop import credentials, driver
from coordinator.host import disk, logs, settings
from coordinator.propagation import asks, joining
from coordinator.trust import authority, certificates, renewals, signing
from nodeagent.servershell import core, status

LOOK_S = 1.0
SKEW_S = 300.0  # as at a join; steps of it, so that a drift does not make an ack every second
SPREAD_S = 5.0  # a thousand servers that hear of another CA do not ask at once
AGAIN_MIN_S, AGAIN_MAX_S = 2.0, 60.0
SAYS_AFTER_S = 5.0  # with a new key in use: until then the roles of this server show the old one too
SETTLED_S = 3600.0  # a clock that lies must not make a server ask for ever

_LOG = logs.Log("servershell")


Ask = Callable[[str, bytes], Awaitable[tuple[str, bytes]]]
"""Verb and data; (code, data) of MIC's answer, the code empty if it is good."""


class Renewing:
    """See the module; without TLS of its own (in tests) it does nothing."""

    def __init__(
        self,
        layout: settings.Layout,
        ground: driver.Ground,
        machine: core.Shell,
        used: driver.Driver,
        ask: Ask,
    ) -> None:
        self._root = disk.DirectoryDisk(layout.root)
        self._ground = ground
        self._machine = machine
        self._driver = used
        self._own = ground.own if isinstance(ground.own, credentials.Credentials) else None
        self._ask = ask
        self._wake = anyio.Event()
        self._wanted = self._root.read(authority.NEXT_KEY_FILE) is not None  # a life before this one began it
        self._new_key = False
        self._due_at: float | None = None
        self._pause_s = AGAIN_MIN_S
        self._settled_until = 0.0
        self._says_from = 0.0
        self._asked_for = b""
        """The newest CA when this was renewed last: a MIC that has not its key issues under another one."""
        self._failures = 0
        self._told = ""
        if self._own is not None:
            trust = machine.content.trust.content
            self._own.trust(trust.roots, trust.revoked)
            machine.shows(self._papers(self._own), ground.clock.monotonic())  # so that the first ack says it

    def ask_now(self, *, new_key: bool) -> None:
        """Without waiting for half its life."""
        self._wanted, self._due_at = True, None
        self._new_key = self._new_key or new_key
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while self._own is not None:
            self._show(self._own)
            now = self._ground.clock.monotonic()
            if not self._is_due(self._own):
                self._due_at = None
            elif self._due_at is None:
                spread = 0.0 if self._wanted else self._ground.random.uniform(0.0, SPREAD_S)
                self._due_at = now + spread
            elif now >= self._due_at:
                await self._try(self._own)
                continue
            self._wake = anyio.Event()
            with anyio.move_on_after(0.0 if self._due_at is not None and now >= self._due_at else LOOK_S):
                await self._wake.wait()

    # --- whether ------------------------------------------------------------------------------------------------------

    def _show(self, own: credentials.Credentials) -> None:
        """Trust and certificate as they are now, for the handshakes to come and for whoever asks."""
        trust = self._machine.content.trust.content
        own.trust(trust.roots, trust.revoked)
        self._driver.act(self._machine.shows(self._papers(own), self._ground.clock.monotonic()))

    def _papers(self, own: credentials.Credentials) -> status.Papers:
        identity, wall = own.identity, self._ground.clock.wall()
        until = certificates.validity(identity.cert_pem)[1]
        public = certificates.public_pem(identity.key_pem).decode()
        ahead_s = self._machine.subscriber.freshness.ahead_s(wall, self._ground.clock.monotonic())
        minutes = round(ahead_s / SKEW_S) * round(SKEW_S / 60)
        return status.Papers(signing.root_id(identity.ca_pem), public, until, until < wall, minutes)

    def _is_due(self, own: credentials.Credentials) -> bool:
        roots, seat = self._machine.content.trust.content.roots, self._machine.admission
        another = bool(roots) and roots[-1].strip() != own.identity.ca_pem.strip()
        if self._wanted or (another and roots[-1] != self._asked_for):
            return True
        if seat is not None and seat.former and self._ground.clock.monotonic() >= self._says_from:
            return True  # the system waits to hear that the new key is used
        begins, ends = certificates.validity(own.identity.cert_pem)
        half = self._ground.clock.wall() > (begins + ends) / 2
        return half and self._ground.clock.monotonic() >= self._settled_until

    # --- how ----------------------------------------------------------------------------------------------------------

    async def _try(self, own: credentials.Credentials) -> None:
        try:
            await self._renewed(own)
        except (errors.TiercastError, OSError) as problem:
            self._failures += (
                1  # once is nothing: whoever says that it uses a new key loses the links of the old one
            )
            if self._failures > 1 and str(problem) != self._told:
                self._told = str(problem)
                _LOG.warning("identity not renewed yet", reason=self._told)
            self._pause_s = min(2 * self._pause_s, AGAIN_MAX_S)
            pause = self._ground.random.uniform(AGAIN_MIN_S, self._pause_s)
            self._due_at = self._ground.clock.monotonic() + pause
            with anyio.move_on_after(min(pause, LOOK_S)):
                await self._wake.wait()
            return
        self._wanted, self._due_at, self._told = False, None, ""
        self._pause_s, self._failures = AGAIN_MIN_S, 0
        self._settled_until = self._ground.clock.monotonic() + SETTLED_S

    async def _renewed(self, own: credentials.Credentials) -> None:
        """Raises `TiercastError`, `OSError`; nothing has changed then but a key that waits."""
        old = own.identity
        key = await anyio.to_thread.run_sync(self._key, old)
        uses = key == old.key_pem
        asked = renewals.request(old.cluster, old.server_id, old.key_pem, key, uses=uses)
        answer = await self._asked(asked)
        identity = self._checked(answer, old, key)
        now = self._ground.clock.monotonic()
        self._driver.act(self._machine.takes((answer.trust, answer.admission), now))
        await anyio.to_thread.run_sync(self._keep, identity)
        again = own.expired or old.ca_pem != identity.ca_pem
        own.renew(identity)
        if again:  # few rights, or soon none: everybody in their own time, before the old CA goes
            self._driver.act(self._machine.redial(now))
        self._asked_for = next(reversed(self._machine.content.trust.content.roots), b"")
        self._new_key = False
        self._says_from = now + (0.0 if uses else SAYS_AFTER_S)
        until = certificates.validity(identity.cert_pem)[1]
        _LOG.info("identity renewed", new_key=not uses, until=int(until), ca=signing.root_id(identity.ca_pem))

    def _key(self, old: authority.Identity) -> bytes:
        """The present one, or one that is durable from here on."""
        waiting = self._root.read(authority.NEXT_KEY_FILE)
        if waiting is None and self._new_key:
            waiting = certificates.new_key()
            self._root.write(authority.NEXT_KEY_FILE, waiting)
        return old.key_pem if waiting is None else waiting

    def _keep(self, identity: authority.Identity) -> None:
        identity.replace(self._root)
        if self._root.read(authority.NEXT_KEY_FILE) == identity.key_pem:
            self._root.remove(authority.NEXT_KEY_FILE)

    async def _asked(self, asked: bytes) -> renewals.Renewed:
        code, data = await self._ask(asks.RENEW, joining.encode(joining.Carried("", asked)))
        if code:
            raise errors.UnreachableError(f"MIC answers {code}")
        try:
            return msgspec.json.decode(data, type=renewals.Renewed)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise errors.ProtocolError("MIC's answer cannot be read") from wrong

    def _checked(self, answer: renewals.Renewed, old: authority.Identity, key: bytes) -> authority.Identity:
        """Raises `SignatureError`, `DamagedError`, `IdentityError`: whoever relayed it may have made it up."""
        body = self._machine.intake.keyring.renewed(answer.trust).body
        if answer.ca_pem.strip() not in {root.strip() for root in body.roots}:
            raise errors.IdentityError("the certificate is of a CA that trust does not name")
        whom = certificates.belonging(key, answer.certificate_pem, answer.ca_pem)
        if whom != (old.cluster, old.server_id):
            raise errors.IdentityError("the certificate is another server's")
        return authority.Identity(old.server_id, old.cluster, key, answer.certificate_pem, answer.ca_pem)
