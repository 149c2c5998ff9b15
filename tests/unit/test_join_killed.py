"""`server join` and `import-keys`, killed at every write: said again they finish, and nobody has become two servers."""

import pathlib
from collections.abc import Callable

import pytest

from coordinator import errors, names
from coordinator.host import disk, settings
from coordinator.propagation import joining, objects
from coordinator.runtime import key_backup
from coordinator.trust import authority, certificates, joinlines, passphrases, signing
from nodeagent.main import joining as mechanics
from nodeagent.main import knocking
from tests import micworld

WALL = 1_700_000_000.0
CLUSTER = names.ClusterId("acme")
PLACE = knocking.Place("10.0.0.1", 7401)
LINE = joinlines.Line("0" * 64, "1" * 16, "2" * 64)
PASSPHRASE = "correct horse battery staple"
WANTED = mechanics.Wanted(LINE, (PLACE,), 0.0)


class KilledError(BaseException):
    """The command ends here."""


class Killing:
    """Ends the command before, or right after, its n-th act on the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.points = 0
        self.until = 0
        for name in ("write", "remove"):
            self._patch(monkeypatch, name, getattr(disk.DirectoryDisk, name))

    def _patch(self, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[..., None]) -> None:
        def acts(one: disk.DirectoryDisk, *given: object) -> None:
            self.point()
            act(one, *given)
            self.point()

        monkeypatch.setattr(disk.DirectoryDisk, name, acts)

    def point(self) -> None:
        self.points += 1
        if self.points == self.until:
            raise KilledError

    def at(self, until: int) -> None:
        self.points, self.until = 0, until


class Mic:
    """Gives a line to the first key that asks, and to that key again and again."""

    def __init__(self) -> None:
        self.held = authority.create_authority(CLUSTER, WALL)
        self.keys: dict[str, names.ServerId] = {}

    def granted(
        self, _wanted: mechanics.Wanted, key_pem: bytes, _means: mechanics.Means
    ) -> tuple[knocking.Place, names.ClusterId, joining.Grant]:
        key = certificates.key_digest(certificates.private_key(key_pem).public_key())
        if self.keys and key not in self.keys:
            raise errors.NotAllowedError("this join line was used by another key")
        server = self.keys.setdefault(key, names.ServerId("id-n1"))
        seat = objects.Admission(
            1, 5, server, key, objects.AdmissionState.PARKED, names.ServerName("n1"), names.SiteName(""), ()
        )
        pem = authority.issue(self.held, server, certificates.public_pem(key_pem), WALL)
        raw = self.held.signer().sign(objects.Kind.ADMISSION, objects.encode(seat))
        grant = joining.Grant(
            server, seat.name, "parked", pem, self.held.ca_pem, self.held.first_trust(), raw,
            ((PLACE.address, PLACE.port),),
        )  # fmt: skip
        return PLACE, CLUSTER, grant


def means() -> mechanics.Means:
    return mechanics.Means(micworld.Clock(), micworld.Random(), lambda _s: None, lambda _text: None)


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Killing:
    return Killing(monkeypatch)


def test_a_join_killed_at_any_write_is_said_again_and_is_the_same_server(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, killing: Killing
) -> None:
    first = Mic()
    monkeypatch.setattr(mechanics, "_granted", first.granted)
    mechanics.join(settings.Layout(tmp_path / "whole"), WANTED, means())
    points = killing.points
    assert points >= 14
    for until in range(1, points + 1):
        mic, layout = Mic(), settings.Layout(tmp_path / str(until))
        monkeypatch.setattr(mechanics, "_granted", mic.granted)
        killing.at(until)
        with pytest.raises(KilledError):
            mechanics.join(layout, WANTED, means())
        killing.at(0)
        joined = mechanics.join(layout, WANTED, means())
        assert (joined.server_id, joined.name) == ("id-n1", "n1"), until
        assert len(mic.keys) <= 1, until
        root = disk.DirectoryDisk(layout.root)
        identity = authority.Identity.load(root)
        assert identity.key_digest in mic.keys
        signing.Keyring.trusting(root.read(authority.TRUST_FILE) or b"", CLUSTER)
        for name in (authority.ADMISSION_FILE, authority.JOINED_FILE, mechanics.LINE_FILE):
            assert root.read(name), (until, name)
        assert root.read(mechanics.KEY_FILE) is None
        assert mechanics.join(layout, WANTED, means()).again


def test_keys_that_were_being_put_back_are_put_back_when_it_is_said_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, killing: Killing
) -> None:
    monkeypatch.setattr(passphrases, "COST", 2**10)
    layout = settings.Layout(tmp_path / "old")
    root = disk.DirectoryDisk(layout.root)
    held = authority.create_authority(CLUSTER, WALL)
    held.save(root)
    authority.enrolled(held, names.ServerId("id-c1"), WALL).save(root)
    root.write(authority.TRUST_FILE, held.first_trust())
    copy = tmp_path / "c1.keys"
    key_backup.export(layout, copy, PASSPHRASE, micworld.Clock())
    killing.at(0)
    data = copy.read_bytes()
    key_backup.restore(settings.Layout(tmp_path / "whole"), data, PASSPHRASE)
    points = killing.points
    for until in range(1, points + 1):
        target = settings.Layout(tmp_path / f"new{until}")
        killing.at(until)
        with pytest.raises(KilledError):
            key_backup.restore(target, data, PASSPHRASE)
        killing.at(0)
        try:
            key_backup.restore(target, data, PASSPHRASE)
        except errors.InUseError:
            assert until == points, "whole by then"
        for name, kept in _files(layout.root):
            assert (target.root / name).read_bytes() == kept, (until, name)


def _files(root: pathlib.Path) -> list[tuple[str, bytes]]:
    below = root / "identity"
    return [(str(one.relative_to(root)), one.read_bytes()) for one in below.rglob("*") if one.is_file()]
