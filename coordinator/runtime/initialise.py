"""`server init`: the first server of a new system, made in one step or not at all.

Everything is written into a directory beside the wanted one, which takes its name at the very end; a crash before that
leaves nothing that could be taken for a server.
"""

import contextlib
import errno
import pathlib
import shutil
import socket
from collections.abc import Iterator

import msgspec

from coordinator import effects, errors, limits, names
from coordinator.config import first, model, validation
from coordinator.hop import ledger
from coordinator.host import catalogue, disk, settings
from coordinator.propagation import mirror
from coordinator.runtime import engine, etcd_work
from coordinator.store.backends.etcd import access
from coordinator.tiers import seed
from coordinator.trust import authority, tokens

CLUSTER_BYTES = 8
SERVER_ID_BYTES = 8


class First(msgspec.Struct, frozen=True, kw_only=True):
    """What the administrator says of the first server."""

    name: str
    address: str
    site: str
    master_domain: str
    fqdn: str


class Made(msgspec.Struct, frozen=True):
    """What came of it; the token is shown to nobody but its context file."""

    cluster: names.ClusterId
    server_id: names.ServerId
    ca_pem: bytes
    token: tokens.Token


def initialise(
    layout: settings.Layout,
    wanted: First,
    document: model.Document,
    clock: effects.Clock,
    random: effects.Random,
    etcd: access.Access | None = None,
) -> Made:
    """Make the directory. Raises `InUseError`, `UsageError` (the address), `OSError`, and what `etcd` refuses."""
    check_unused(layout.root)
    check_address(wanted.address)
    fresh = layout.root.with_name(layout.root.name + ".new")
    with _or_nothing(fresh) as root:
        wall = clock.wall()
        cluster = names.ClusterId(random.token(CLUSTER_BYTES))
        if etcd is not None:
            etcd_work.check_ours(etcd, cluster)
        server_id = names.ServerId(random.token(SERVER_ID_BYTES))
        keys = authority.create_authority(cluster, wall)
        token = tokens.new_token(random)
        identity = authority.enrolled(keys, server_id, wall)
        first_server = seed.First(server_id, names.ServerName(wanted.name), identity.key_digest)
        made = seed.first_objects(keys, first_server, document, token, wall)
        keys.save(root)
        root.write(authority.TRUST_FILE, made.trust)
        root.write(authority.JOINED_FILE, b"[]")
        root.write(seed.FILE, seed.encode(made))
        engine.save(root, etcd)
        _first_ledger(fresh, made, cluster)
        identity.save(root)
        if layout.root.is_dir():
            layout.root.rmdir()  # empty: checked above
        fresh.rename(layout.root)
    return Made(cluster, server_id, keys.ca_pem, token)


@contextlib.contextmanager
def _or_nothing(fresh: pathlib.Path) -> Iterator[disk.DirectoryDisk]:
    """A directory that is gone again where it could not be filled."""
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        yield disk.DirectoryDisk(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _first_ledger(fresh: pathlib.Path, made: seed.Seed, cluster: names.ClusterId) -> None:
    content = seed.content(made, cluster)
    book = ledger.Ledger(disk.DirectoryDisk(fresh / "ledger"))
    book.store(mirror.to_ledger(content), (content.digest, made.body), ())


def basic_document(wanted: First) -> model.Document:
    """What the first server runs: MIC, DC and WS."""
    return first.basic_document(
        server=names.ServerName(wanted.name),
        address=wanted.address,
        site=names.SiteName(wanted.site),
        master_domain=wanted.master_domain,
        fqdn=wanted.fqdn,
    )


def check_unused(root: pathlib.Path) -> None:
    """Raises `InUseError` where anything stands in the directory."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        hint = "name another directory with --dir, or remove it if it is really not needed"
        raise errors.InUseError(f"{root} is not empty", hint=hint)


def check_address(address: str) -> None:
    """Raises `UsageError` where it is no address of this machine, `InUseError` where a port of ours is taken."""
    for port in (limits.PORT_SHELL, limits.PORT_MIC, limits.PORT_WS):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as problem:
                raise _explained(problem, address, port) from problem


def _explained(problem: OSError, address: str, port: int) -> errors.TiercastError:
    if problem.errno == errno.EADDRINUSE:
        hint = f"see who holds it with `ss -lptn 'sport = :{port}'`"
        return errors.InUseError(f"port {port} of {address} is taken", hint=hint)
    hint = "see the addresses of this machine with `ip address`"
    return errors.UsageError(f"{address} is not an address of this machine", hint=hint)


def checked(document: model.Document) -> model.Document:
    """Raises `UsageError` with the first finding where names or addresses break a rule."""
    wrong = [f for f in validation.validate(document, catalogue.load()) if f.severity == "error"]
    if wrong:
        raise errors.UsageError(f"{wrong[0].rule}: {wrong[0].message}", hint=wrong[0].hint)
    return document
