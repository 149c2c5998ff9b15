"""How a tier of the world finds its own copy on its disk: as every production tier does."""

from coordinator import names
from coordinator.hop import ledger
from coordinator.propagation import bodies, mirror
from coordinator.trust import signing
from tests.simulation import office


def load(trust: bytes, book: ledger.Ledger) -> tuple[mirror.Content, bodies.Shelf, names.Version]:
    """The own copy of a tier, as every production tier loads it: what has lost its body counts as not there."""
    stored = book.load()
    keyring = signing.Keyring.trusting(trust, office.CLUSTER)
    content = mirror.from_ledger({mirror.TRUST_KEY: trust, **stored.objects}, keyring)
    shelf = bodies.Shelf()
    body = book.body(content.digest) if content.target is not None else None
    if body is None:
        return mirror.Content(content.trust, None, None, content.admissions), shelf, stored.accepted
    shelf.add(content.digest, body)
    assert content.target is not None
    prepared = content.target.content.prepared
    held = None if prepared is None else book.body(prepared.digest)
    if prepared is not None and held is not None:
        shelf.add(prepared.digest, held)
    return content, shelf, stored.accepted
