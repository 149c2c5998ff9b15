"""HTTPS to the API, with nothing but the standard library: a command starts in milliseconds.

Only the context's own CA is trusted. Several addresses are tried in order, also where one has no coordinator; a change that was sent and not answered is
never sent elsewhere in silence: its outcome is unknown, and whoever asked may repeat it under the same key. Where nobody
listens it is tried again for a moment (`patience`).
"""

import http.client
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence

from coordinator import effects, errors, limits
from coordinator.cli import client, patience
from coordinator.host import clock as clocks
from coordinator.host import contexts

CONNECT_S = 5.0
ANSWER_BYTES = 2 * limits.DOCUMENT_BYTES  # a document as a JSON string
LINE_BYTES = 4 * 1024 * 1024  # of a stream: the state of the largest system in one event


class HttpsClient:
    """See the module."""

    def __init__(
        self,
        context: contexts.Context,
        clock: effects.Clock = clocks.SystemClock(),  # noqa: B008 it holds nothing
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._servers = [address(server) for server in context.servers]
        self._token = context.token
        self._tls = _pinned(context.ca)
        self.place = context.servers[0]

    def call(self, ask: client.Ask) -> client.Answer:
        """Of the first server that can be reached and has a coordinator; else what the first one had to say."""
        said: list[client.Answer | client.ProblemError] = []
        silence = self._silence(ask)
        for connection in self._connections(ask, silence):
            try:
                answer = self._answer(connection, ask)
            except client.ProblemError as problem:
                if problem.problem.code not in _ELSEWHERE:
                    raise
                said.append(problem)
            except (OSError, http.client.HTTPException) as wrong:
                if ask.method != "GET":
                    raise _unknown(_place(connection), wrong) from wrong
                silence.because(connection, wrong)
            else:
                if not answer.as_of:
                    return answer
                said.insert(0, answer)
        if not said:
            raise silence.error()
        if isinstance(said[0], client.ProblemError):
            raise said[0]
        return said[0]

    def follow(self, ask: client.Ask) -> Iterator[bytes]:
        """From the first server that can be reached; a silence of `ask.timeout_s` ends it."""
        silence = self._silence(ask)
        for connection in self._connections(ask, silence):
            try:
                response = self._asked(connection, ask)
                if response.status >= 400:
                    client.answered(response.status, response.read(ANSWER_BYTES))
                while line := response.readline(LINE_BYTES):
                    yield line.rstrip(b"\n")
            except (OSError, http.client.HTTPException) as wrong:
                raise errors.UnreachableError(f"{_place(connection)}: {_reason(wrong)}") from wrong
            return
        raise silence.error()

    def _silence(self, ask: client.Ask) -> "_Silence":
        for_s = min(limits.CONNECT_PATIENCE_S, ask.timeout_s) if ask.patient else 0.0
        return _Silence(patience.Patience(self._clock, self._sleep, for_s))

    def _connections(self, ask: client.Ask, silence: "_Silence") -> Iterator[http.client.HTTPSConnection]:
        """To each server that answers, one after the other; why others do not is told to `silence`."""
        servers, reached = self._servers, False
        while servers:
            shut = []
            for host, port in servers:
                timeout_s = min(CONNECT_S, ask.timeout_s)
                connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
                try:
                    _connect(connection)
                except (OSError, http.client.HTTPException) as wrong:
                    silence.because(connection, wrong)
                    shut += [(host, port)] if isinstance(wrong, patience.PASSING) else []
                    continue
                reached = True
                try:
                    yield connection
                finally:
                    connection.close()
            servers = shut if not reached and shut and silence.patience.again() else []

    def _asked(self, connection: http.client.HTTPSConnection, ask: client.Ask) -> http.client.HTTPResponse:
        connection.sock.settimeout(ask.timeout_s)
        headers = {"Accept": client.JSON, "User-Agent": "tiercast", "Connection": "close", **ask.headers}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection.request(ask.method, ask.path, body=ask.body or None, headers=headers)
        return connection.getresponse()

    def _answer(self, connection: http.client.HTTPSConnection, ask: client.Ask) -> client.Answer:
        response = self._asked(connection, ask)
        body = response.read(ANSWER_BYTES + 1)
        if len(body) > ANSWER_BYTES:
            raise errors.ProtocolError(f"the answer is too large (have {ANSWER_BYTES} bytes)")
        return client.answered(response.status, body, response.headers.get(client.AS_OF, ""))


_ELSEWHERE = frozenset({"no_coordinator", "unreachable"})
"""Nothing was done, because this server has no link to a coordinator; another one may have."""


def _place(connection: http.client.HTTPSConnection) -> str:
    return f"https://{_shown(connection.host)}:{connection.port}"


class _Silence:
    """Why no server answered."""

    def __init__(self, waiting: patience.Patience) -> None:
        self.patience = waiting
        self._reasons: dict[str, str] = {}

    def because(self, connection: http.client.HTTPSConnection, wrong: Exception) -> None:
        """The last reason of each counts."""
        self._reasons[_place(connection)] = _reason(wrong)

    def error(self) -> errors.UnreachableError:
        told = "; ".join(f"{place}: {reason}" for place, reason in self._reasons.items())
        return errors.UnreachableError(
            f"no answer from {told}{self.patience.told()}",
            hint="is the server running? `tiercast context list` tells which one is asked",
        )


def _connect(connection: http.client.HTTPSConnection) -> None:
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as wrong:
        where = f"https://{_shown(connection.host)}:{connection.port}"
        raise errors.IdentityError(
            f"{where} is not the system of this context: {wrong.verify_message}", hint=_hint(wrong)
        ) from wrong


_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def _hint(wrong: ssl.SSLCertVerificationError) -> str:
    if wrong.verify_code in {_NOT_YET_VALID, _EXPIRED}:
        return "a clock is wrong: compare `date -u` on this machine and on the server"
    return "its certificate is not of the context's CA; is it another system, or initialised anew?"


def _pinned(ca: str) -> ssl.SSLContext:
    """As `trust.tls.pinned_client_context`, without the time that loading cryptography takes."""
    if not ca:
        raise errors.UsageError(
            "there is no CA to know the system by", hint="use a context, or set TIERCAST_CA to a file"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError, TypeError) as wrong:  # the last of what is not ASCII
        raise errors.UsageError(
            "the CA cannot be read", hint="it is PEM, as `server init` writes it"
        ) from wrong
    return context


def shows(servers: Sequence[str], ca: str) -> str:
    """The first of these that shows a certificate of this CA; nothing is asked of it.

    Raises `IdentityError` where one shows another, `UnreachableError` where none answers.
    """
    tls, silent = _pinned(ca), []
    for host, port in map(address, servers):
        connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=tls)
        try:
            _connect(connection)
        except (OSError, http.client.HTTPException) as wrong:
            silent.append(f"{_place(connection)}: {_reason(wrong)}")
        else:
            return _place(connection)
        finally:
            connection.close()
    raise errors.UnreachableError(
        f"no answer from {'; '.join(silent)}", hint="nothing was changed; try again"
    )


def address(server: str) -> tuple[str, int]:
    """Host and port of a system's URL. Raises `UsageError`."""
    parts = urllib.parse.urlsplit(server if "://" in server else f"https://{server}")
    try:
        port = parts.port or limits.PORT_WS
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or not port or parts.path.strip("/"):
        raise errors.UsageError(
            f"not an address of a system (got {server[:80]!r})", hint="write https://host:8443"
        )
    return parts.hostname, port


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reason(wrong: Exception) -> str:
    if isinstance(wrong, TimeoutError):
        return "no answer in time"
    told = wrong.strerror if isinstance(wrong, OSError) and wrong.strerror else str(wrong)
    return (told or type(wrong).__name__).lower()


def _unknown(where: str, wrong: Exception) -> errors.UnknownOutcomeError:
    return errors.UnknownOutcomeError(
        f"{where} took the request and did not answer: {_reason(wrong)}; it may or may not have been done",
        hint="`tiercast history` tells",
    )
