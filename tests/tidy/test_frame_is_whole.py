"""The frame of the repository agrees with itself: lock, packages, suites."""

import re
import tomllib
from typing import Any

from packaging import requirements, utils

from tests import conftest
from tests.tidy import tree

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)$")


def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((tree.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return loaded


def locked() -> dict[str, str]:
    lines = (tree.ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    options = ("#", "--only-binary ", "--no-binary ")
    pins = {line: PIN.match(line) for line in lines if line and not line.startswith(options)}
    assert all(pins.values()), [line for line, match in pins.items() if match is None]
    return {utils.canonicalize_name(match[1]): match[2] for match in pins.values() if match}


UNLOCKED = {"bench"}  # a picture for people; no test needs it, and it would triple what is installed


def asked() -> list[requirements.Requirement]:
    table = project()
    optional = table["project"]["optional-dependencies"]
    extras = [line for name, lines in optional.items() if name not in UNLOCKED for line in lines]
    lines = [*table["build-system"]["requires"], *table["project"]["dependencies"], *extras]
    return [requirements.Requirement(line) for line in lines]


def test_the_lock_answers_everything_that_the_project_asks_for() -> None:
    pins = locked()
    missing = [
        str(wanted)
        for wanted in asked()
        if not wanted.specifier.contains(
            pins.get(utils.canonicalize_name(wanted.name), "0"), prereleases=True
        )
    ]
    assert not missing, "run make lock"


def test_every_test_stands_in_a_suite() -> None:
    tests = tree.ROOT / "tests"
    outside = [
        tree.place(path)
        for path in tests.rglob("test_*.py")
        if path.relative_to(tests).parts[0] not in conftest.SUITE_TIMEOUT_S
    ]
    assert not outside


def test_no_two_test_files_share_a_name() -> None:
    names = [path.name for path in (tree.ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
