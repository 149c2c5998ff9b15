"""The HTTPS certificate of a web role, asked for over its own link to MIC and made with the CA that contexts pin.

No person asks for it: the link has proved the server, its gate that the document places this ws role there. Law: it is
issued for the addresses that the document in force gives that server, and for nothing that the request says.
"""

import msgspec
from cryptography import exceptions, x509

from coordinator import errors, names
from coordinator.config import kinds, model
from coordinator.propagation import children, messages
from coordinator.tiers import desk, enrolling
from coordinator.trust import authority

CERTIFICATE = "ws.certificate"
OVER = frozenset({messages.ChildKind.WS})
"""Over which links the verb comes; by the link alone it is known who asks."""


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request: PKCS #10, PEM; of it the key is used and nothing else."""

    request_pem: str


class Issued(msgspec.Struct, frozen=True):
    """PEM; the CA beside it is that of contexts."""

    certificate_pem: str
    ca_pem: str


def issue(at: desk.Desk, child: children.Child | None, data: bytes) -> Issued:
    """Raises `NotAllowedError`, `UsageError`, `IdentityError`."""
    if child is None or child.hello.kind not in OVER:
        raise errors.NotAllowedError(f"{CERTIFICATE} is asked by a ws role alone")
    placed = at.past.expanded.roles.get(names.RoleName(child.hello.name))
    if placed is None or placed.server != child.admit.server or placed.type != kinds.WS:
        raise errors.NotAllowedError(f"the document places no such ws role on {child.admit.server}")
    try:
        wanted = msgspec.json.decode(data, type=Wanted)
        key = enrolling.proven_key(x509.load_pem_x509_csr(wanted.request_pem.encode(errors="replace")))
    except (
        msgspec.DecodeError,
        ValueError,
        TypeError,
        x509.InvalidVersion,
        exceptions.UnsupportedAlgorithm,
    ) as wrong:
        raise errors.UsageError(
            "the certificate request cannot be read", hint="it is PEM (PKCS #10)"
        ) from wrong
    places = addresses(at.past.document, child.admit.server)
    host_names = (child.admit.server, "localhost")
    held = at.means.authority
    made = authority.issue_https(held, enrolling.public_pem(key), places, host_names, at.clock.wall())
    return Issued(made.decode(), held.ca_pem.decode())


def addresses(document: model.Document, server: str) -> tuple[str, ...]:
    """Every address of that server, so that clients may come by any of its interfaces."""
    known = document.servers.get(names.ServerName(server))
    return () if known is None else tuple(dict.fromkeys(known.interfaces.values()))
