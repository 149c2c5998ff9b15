"""Why an address and port cannot be listened on, in the same words for every role."""

import errno

from coordinator import role

CODES = {errno.EADDRINUSE: "port_taken", errno.EADDRNOTAVAIL: "address_missing"}


def refusal(error: OSError, address: str, port: int) -> role.RoleRefusedError:
    """Codes `port_taken`, `address_missing` (not on this machine), `cannot_listen`."""
    code = CODES.get(error.errno or 0, "cannot_listen")
    return role.RoleRefusedError(code, f"cannot listen on {address}:{port}: {error.strerror or error}")
