"""Who stands at the other end of a hop, as a value; light to import, for every worker node does."""

import msgspec

from coordinator import names


class PeerIdentity(msgspec.Struct, frozen=True):
    """Who a hop's certificate says is there; its chain has been verified."""

    server_id: names.ServerId
    cluster: names.ClusterId
    expired: bool
    """It may only receive signed objects, ack and renew."""
    key: str = ""
    """sha256 of its public key, hexadecimal, as its admission names it."""
    issuer: str = ""
    """Of which CA its certificate is, as `certificates.authority_id` names it."""
