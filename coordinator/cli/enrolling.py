"""`tiercast server enroll`: the identity of another server, as one file to be taken there.

The private key is made here and never sent: the system gets a signing request. The key is on disk before anything is
asked, so that whatever goes wrong afterwards, the same command again repeats the same request and yields the same
identity; a name is not used up by a failure.
"""

import pathlib

import click
import msgspec

from coordinator import errors, names
from coordinator.cli import client, exits, options, session

AGAIN_S = 30.0  # as for a change: the web role may restart under a request
AGAIN_PAUSE_S = 1.0
KEY_SUFFIX = ".key"
"""Of the file beside the wanted one that keeps the private key until the identity is whole."""


class Enrolled(msgspec.Struct, frozen=True):
    """What the system issued; bytes are base64 in JSON."""

    server_id: str
    certificate_pem: str
    ca_pem: str
    trust: bytes
    admission: bytes
    cluster: str
    parents: tuple[tuple[str, str, int], ...]
    """(server, address, port) of each place to subscribe at first."""


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Write the identity here; it holds a private key.",
)
@options.system
def enroll(name: str, output: pathlib.Path) -> int:
    """Issue the identity of the server NAME; it is parked until a revision names it."""
    from coordinator.host import disk  # noqa: PLC0415 cryptography takes time that no other command of the group needs
    from coordinator.trust import authority, certificates  # noqa: PLC0415

    shown = session.current()
    if output.exists():
        raise errors.InUseError(
            f"{output} exists already", hint="an identity is never overwritten; name another file"
        )
    try:
        folder = disk.DirectoryDisk(output.absolute().parent)
        kept = output.name + KEY_SUFFIX
        key_pem = folder.read(kept)
        if key_pem is None:
            key_pem = certificates.new_key()
            folder.write(kept, key_pem)
    except OSError as problem:
        raise errors.UsageError(
            f"{output} cannot be written: {problem.strerror}", hint="name another file with -o"
        ) from problem
    request = {"name": name, "request_pem": certificates.signing_request(key_pem, name).decode()}
    issued = _issued(shown, msgspec.json.encode(request))
    server_id, cluster = names.ServerId(issued.server_id), names.ClusterId(issued.cluster)
    certificate, root = issued.certificate_pem.encode(), issued.ca_pem.encode()
    identity = authority.Identity(server_id, cluster, key_pem, certificate, root)
    parents = [(address, port) for _server, address, port in issued.parents]
    bundle = authority.bundle(identity, issued.trust, issued.admission, parents)
    folder.write(output.name, bundle)
    folder.remove(kept)
    shown.tell(f"{name} is {server_id} of cluster {cluster}; its identity is in {output}, keep it private")
    shown.tell(f"on that machine: tiercast server run --identity {output.name}")
    return exits.Exit.OK


def _issued(shown: session.Session, body: bytes) -> Enrolled:
    asked = shown.client()
    ask = client.post(f"{client.ADMIN}/servers", body, shown.random.token(16))
    end = shown.clock.monotonic() + AGAIN_S
    while True:
        try:
            return asked.call(ask).as_(Enrolled)
        except errors.TiercastError as error:
            if client.code_of(error) not in {"unknown_outcome", "no_coordinator", "lost"}:
                raise
            if shown.clock.monotonic() >= end:
                raise
            shown.progress(f"no answer from {asked.place}, retrying: {error.message}")
            shown.sleep(AGAIN_PAUSE_S)
