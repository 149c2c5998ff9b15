"""HTTPS to the API, with nothing but the standard library: a command starts in milliseconds.

Only the context's own CA is trusted. Several addresses are tried in order, also where one has no coordinator; a change that was sent and not answered is
never sent elsewhere in silence: its outcome is unknown, and whoever asked may repeat it under the same key.
"""

import http.client
import ssl
import urllib.parse
from collections.abc import Iterator

from coordinator import errors, limits
from coordinator.cli import client
from coordinator.host import contexts

CONNECT_S = 5.0
ANSWER_BYTES = 2 * limits.DOCUMENT_BYTES  # a document as a JSON string
LINE_BYTES = 4 * 1024 * 1024  # of a stream: the state of the largest system in one event


class HttpsClient:
    """See the module."""

    def __init__(self, context: contexts.Context) -> None:
        self._servers = [address(server) for server in context.servers]
        self._token = context.token
        self._tls = _pinned(context.ca)
        self.place = context.servers[0]

    def call(self, ask: client.Ask) -> client.Answer:
        """Of the first server that can be reached and has a coordinator; else what the first one had to say."""
        said: list[client.Answer | client.ProblemError] = []
        refused: list[str] = []
        for connection in self._connections(ask, refused):
            try:
                answer = self._answer(connection, ask)
            except client.ProblemError as problem:
                if problem.problem.code not in _ELSEWHERE:
                    raise
                said.append(problem)
            except (OSError, http.client.HTTPException) as wrong:
                if ask.method != "GET":
                    raise _unknown(_place(connection), wrong) from wrong
                refused.append(f"{_place(connection)}: {_reason(wrong)}")
            else:
                if not answer.as_of:
                    return answer
                said.insert(0, answer)
        if not said:
            raise _unreachable(refused)
        if isinstance(said[0], client.ProblemError):
            raise said[0]
        return said[0]

    def follow(self, ask: client.Ask) -> Iterator[bytes]:
        """From the first server that can be reached; a silence of `ask.timeout_s` ends it."""
        refused: list[str] = []
        for connection in self._connections(ask, refused):
            response = self._asked(connection, ask)
            if response.status >= 400:
                client.answered(response.status, response.read(ANSWER_BYTES))
            try:
                while line := response.readline(LINE_BYTES):
                    yield line.rstrip(b"\n")
            except (OSError, http.client.HTTPException) as wrong:
                raise errors.UnreachableError(f"{_place(connection)}: {_reason(wrong)}") from wrong
            return
        raise _unreachable(refused)

    def _connections(self, ask: client.Ask, refused: list[str]) -> Iterator[http.client.HTTPSConnection]:
        """To each server that answers, one after the other; why not is added to `refused`."""
        for host, port in self._servers:
            timeout_s = min(CONNECT_S, ask.timeout_s)
            connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
            try:
                _connect(connection)
            except (OSError, http.client.HTTPException) as wrong:
                refused.append(f"https://{_shown(host)}:{port}: {_reason(wrong)}")
                continue
            try:
                yield connection
            finally:
                connection.close()

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


def _unreachable(refused: list[str]) -> errors.UnreachableError:
    return errors.UnreachableError(
        f"no answer from {'; '.join(refused)}",
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
    except (ssl.SSLError, ValueError) as wrong:
        raise errors.UsageError(
            "the CA of this context cannot be read", hint="it is PEM, as `server init` writes it"
        ) from wrong
    return context


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
