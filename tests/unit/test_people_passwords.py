import threading

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import errors, limits
from coordinator.domains import gate
from coordinator.trust import passwords
from tests import micworld

CHEAP = passwords.Cost(memory_kib=8, passes=1)
WORDS = "correct horse battery"


def kept(password: str, cost: passwords.Cost = CHEAP) -> str:
    return passwords.hashed(passwords.checked(password, "alice"), cost, micworld.Random())


@given(st.text(min_size=12, max_size=40))
def test_a_password_matches_its_own_form_and_no_other(password: str) -> None:
    try:
        stored = kept(password)
    except errors.UsageError:
        return
    assert passwords.usable(stored)
    assert passwords.matches(password, stored, CHEAP)
    assert not passwords.matches(password + "x", stored, CHEAP)
    assert password not in stored


def test_two_ways_of_typing_one_letter_are_one_password() -> None:
    assert passwords.matches("cafe\u0301 au lait 1", kept("caf\u00e9 au lait 1"), CHEAP)


@pytest.mark.parametrize("bad", ["", "short", "x" * 300, "aaaaaaaaaaaa", "administrator", "\ud800"])
def test_a_password_that_is_guessed_at_once_is_refused_without_being_told_again(bad: str) -> None:
    with pytest.raises(errors.UsageError) as refused:
        passwords.checked(bad, "administrator")
    assert not bad or bad not in str(refused.value)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "$argon2i$v=19$m=8,t=1,p=1$YWFhYWFhYWFhYWFhYWFhYQ$XeBSuTLqfzBuv7hK2raStKxWi0T1ofEdXjKNnzxthxo",
        "$argon2id$v=19$m=9999999,t=1,p=1$YWFhYWFhYWFhYWFhYWFhYQ$XeBSuTLqfzBuv7hK2raStKxWi0T1ofEdXjKNnzxthxo",
        "$argon2id$v=19$m=8,t=99,p=1$YWFhYWFhYWFhYWFhYWFhYQ$XeBSuTLqfzBuv7hK2raStKxWi0T1ofEdXjKNnzxthxo",
        "$argon2id$v=19$m=8,t=0,p=9$YWFhYWFhYWFhYWFhYWFhYQ$XeBSuTLqfzBuv7hK2raStKxWi0T1ofEdXjKNnzxthxo",
    ],
)
def test_a_form_that_is_not_ours_or_asks_for_too_much_matches_nothing(stored: str) -> None:
    assert not passwords.usable(stored)
    assert not passwords.matches(WORDS, stored, CHEAP)


def test_what_is_spent_by_default_is_what_the_bounds_say() -> None:
    stored = kept(WORDS, passwords.Cost())
    assert f"m={64 * 1024},t={limits.PASSWORD_PASSES},p=1" in stored
    assert passwords.matches(WORDS, stored, passwords.Cost())


def test_only_so_many_passwords_are_worked_at_together_and_only_so_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once: list[int] = []
    let_go, lock = threading.Event(), threading.Lock()
    working: set[int] = set()

    def slow(*_arguments: object) -> bool:
        with lock:
            working.add(threading.get_ident())
            at_once.append(len(working))
        let_go.wait(10)
        with lock:
            working.discard(threading.get_ident())
        return True

    monkeypatch.setattr(passwords, "matches", slow)

    async def main() -> None:
        made = gate.Gate(CHEAP, micworld.Random())
        busy: list[bool] = []

        async def one() -> None:
            try:
                await made.matches(WORDS, "")
            except gate.CrowdedError:
                busy.append(True)

        async with anyio.create_task_group() as tasks:
            for _ in range(limits.PASSWORDS_WAITING + 7):
                tasks.start_soon(one)
            await micworld.until(lambda: len(busy) == 7 and len(at_once) == limits.PASSWORDS_AT_ONCE)
            let_go.set()
        assert max(at_once) == limits.PASSWORDS_AT_ONCE
        assert await made.matches(WORDS, "")

    anyio.run(main)
