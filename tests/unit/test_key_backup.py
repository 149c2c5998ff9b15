"""The sealed backup of the keys: it comes back whole, and to nobody without the passphrase."""

import pathlib
from collections.abc import Iterator

import click.testing
import pytest

from coordinator import errors
from coordinator.host import clock, settings
from coordinator.runtime import initialise, key_backup, key_commands
from coordinator.trust import passphrases

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """A guess costs half a second where it matters."""
    assert passphrases.COST >= 2**17
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passphrases, "COST", 2**10)
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> settings.Layout:
    layout = settings.Layout(tmp_path_factory.mktemp("keys") / "c1")
    wanted = initialise.First(
        name="c1", address="127.0.83.2", site="central", master_domain="acme", fqdn="acme.example"
    )
    document = initialise.basic_document(wanted)
    initialise.initialise(layout, wanted, document, clock.SystemClock(), clock.SystemRandom())
    return layout


@pytest.fixture(scope="module")
def backup(first: settings.Layout, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    output = tmp_path_factory.mktemp("backup") / "c1.keys"
    key_backup.export(first, output, PASSPHRASE, clock.SystemClock())
    return output


def files(root: pathlib.Path) -> dict[str, bytes]:
    below = root / "identity"
    return {str(one.relative_to(root)): one.read_bytes() for one in below.rglob("*") if one.is_file()}


def test_what_comes_back_is_what_was_there_for_its_owner_alone(
    first: settings.Layout, backup: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    layout = settings.Layout(tmp_path / "again")
    key_backup.restore(layout, backup.read_bytes(), PASSPHRASE)
    assert files(layout.root) == files(first.root)
    assert "identity/authority/ca.key" in files(layout.root)
    for one in (layout.root, *layout.root.rglob("*"), backup):
        assert one.stat().st_mode & 0o077 == 0, one


def test_the_file_shows_nothing_of_what_it_holds(first: settings.Layout, backup: pathlib.Path) -> None:
    held = backup.read_bytes()
    assert b"PRIVATE KEY" not in held
    for data in files(first.root).values():
        assert data[:40] not in held


def test_a_wrong_passphrase_and_a_changed_byte_are_refused_and_leave_nothing(
    backup: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    layout, good = settings.Layout(tmp_path / "again"), backup.read_bytes()
    with pytest.raises(errors.NotAllowedError):
        key_backup.restore(layout, good, PASSPHRASE + "!")
    for place in (len(passphrases.MAGIC) + 20, len(good) // 2, len(good) - 1):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises((errors.NotAllowedError, errors.DamagedError)):
            key_backup.restore(layout, bytes(bad), PASSPHRASE)
    for cut in (b"", good[:10], good[:100], b"x" * 500):
        with pytest.raises(errors.DamagedError):
            key_backup.restore(layout, cut, PASSPHRASE)
    assert not layout.root.exists()


def test_it_is_never_written_over_anything_and_never_put_into_a_used_directory(
    first: settings.Layout, backup: pathlib.Path
) -> None:
    with pytest.raises(errors.InUseError):
        key_backup.export(first, backup, PASSPHRASE, clock.SystemClock())
    with pytest.raises(errors.InUseError):
        key_backup.restore(first, backup.read_bytes(), PASSPHRASE)


def test_a_short_passphrase_and_a_server_without_the_authority_are_refused(
    first: settings.Layout, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.UsageError):
        key_backup.export(first, tmp_path / "short", "eleven char", clock.SystemClock())
    with pytest.raises(errors.NotFoundError):
        key_backup.export(
            settings.Layout(tmp_path / "nobody"), tmp_path / "out", PASSPHRASE, clock.SystemClock()
        )
    assert list(tmp_path.iterdir()) == []


def test_the_passphrase_comes_from_a_file_or_standard_input_and_nobody_is_waited_for(
    first: settings.Layout, tmp_path: pathlib.Path
) -> None:
    runner, where = click.testing.CliRunner(), ["--dir", str(first.root)]
    kept = tmp_path / "passphrase"
    kept.write_text(PASSPHRASE + "\n")
    for number, words in enumerate((["--passphrase-file", str(kept)], ["--passphrase-file", "-"])):
        output = tmp_path / f"{number}.keys"
        asked = [*where, "-o", str(output), *words]
        done = runner.invoke(key_commands.export_keys, asked, input=PASSPHRASE + "\n")
        assert done.exit_code == 0, done.output
        assert PASSPHRASE not in done.output
        back = settings.Layout(tmp_path / f"back{number}")
        key_backup.restore(back, output.read_bytes(), PASSPHRASE)
    nobody = runner.invoke(key_commands.export_keys, [*where, "-o", str(tmp_path / "never")])
    assert isinstance(nobody.exception, errors.UsageError)
