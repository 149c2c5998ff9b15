"""`server enroll`: a failure never uses up the name, because the key is kept until the identity is whole."""

import pathlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from coordinator.tiers import requests
from tests import terminal, upstream

ENROLL = requests.Verb.ENROLL


@pytest.fixture
def driven(tmp_path: pathlib.Path) -> terminal.Terminal:
    return terminal.Terminal(tmp_path)


def key_asked_for(driven: terminal.Terminal) -> bytes:
    request = x509.load_pem_x509_csr(driven.system.request(ENROLL).request_pem.encode())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return request.public_key().public_bytes(serialization.Encoding.DER, form)


def enrolled(driven: terminal.Terminal, output: pathlib.Path) -> terminal.Done:
    return driven.run("server", "enroll", "n1", "-o", str(output))


def test_an_identity_is_written_for_its_owner_alone(
    driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "n1.identity"
    assert enrolled(driven, output).exit == 0
    assert output.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("n1.*")] == ["n1.identity"]


def test_the_same_command_again_asks_for_the_same_key(
    driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "n1.identity"
    good, driven.system.answers[ENROLL] = driven.system.answers[ENROLL], requests.Problem("internal", "broke")
    assert enrolled(driven, output).exit == 1
    first = key_asked_for(driven)
    driven.system.answers[ENROLL] = good
    assert enrolled(driven, output).exit == 0
    assert key_asked_for(driven) == first


def test_a_file_that_cannot_be_written_is_found_before_anything_is_asked(driven: terminal.Terminal) -> None:
    done = enrolled(driven, pathlib.Path("/proc/nowhere/n1.identity"))
    assert done.exit == 64
    assert "cannot be written" in done.talk
    assert driven.system.asked == []


def test_no_answer_is_asked_for_again(driven: terminal.Terminal, tmp_path: pathlib.Path) -> None:
    away = requests.Problem("no_coordinator", "no coordinator (MIC) answers now")
    driven.system.answers[ENROLL] = [away, upstream.GOOD[ENROLL]]
    assert enrolled(driven, tmp_path / "n1.identity").exit == 0
