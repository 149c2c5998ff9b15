"""HTTPS to the API, with nothing but the standard library: a command starts in milliseconds.

Only the context's own CA is trusted. Several addresses are tried in order; a change that was sent and not answered is
never sent elsewhere in silence: its outcome is unknown, and whoever asked may repeat it under the same key.
"""

import http.client
import ssl
import urllib.parse

from coordinator import errors, limits
from coordinator.cli import client
from coordinator.host import contexts

CONNECT_S = 5.0
ANSWER_BYTES = 2 * limits.DOCUMENT_BYTES  # a document as a JSON string


class HttpsClient:
    """See the module."""

    def __init__(self, context: contexts.Context) -> None:
        self._servers = [_address(server) for server in context.servers]
        self._token = context.token
        self._tls = _pinned(context.ca)
        self.place = context.servers[0]

    def call(self, ask: client.Ask) -> client.Answer:
        """Of the first server that can be reached."""
        refused: list[str] = []
        for host, port in self._servers:
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=self._tls)
            try:
                _connect(connection)
            except (OSError, http.client.HTTPException) as wrong:
                refused.append(f"https://{_shown(host)}:{port}: {_reason(wrong)}")
                continue
            try:
                return self._answer(connection, ask)
            except (OSError, http.client.HTTPException) as wrong:
                if ask.method != "GET":
                    raise _unknown(f"https://{_shown(host)}:{port}", wrong) from wrong
                refused.append(f"https://{_shown(host)}:{port}: {_reason(wrong)}")
            finally:
                connection.close()
        raise errors.UnreachableError(
            f"no answer from {'; '.join(refused)}",
            hint="is the server running? `tiercast context list` tells which one is asked",
        )

    def _answer(self, connection: http.client.HTTPSConnection, ask: client.Ask) -> client.Answer:
        connection.sock.settimeout(ask.timeout_s)
        headers = {"Accept": client.JSON, "User-Agent": "tiercast", "Connection": "close", **ask.headers}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection.request(ask.method, ask.path, body=ask.body or None, headers=headers)
        response = connection.getresponse()
        body = response.read(ANSWER_BYTES + 1)
        if len(body) > ANSWER_BYTES:
            raise errors.ProtocolError(f"the answer is too large (have {ANSWER_BYTES} bytes)")
        return client.answered(response.status, body)


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


def _address(server: str) -> tuple[str, int]:
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
