"""What is decided about etcd without one: addresses, versions, values over its bound, and transactions in its words."""

import itertools
import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st

from coordinator import errors, names
from coordinator.host import disk
from coordinator.runtime import engine
from coordinator.store import commands
from coordinator.store.backends.etcd import access, keys, large, messages, refusals, transactions

OURS = transactions.Ours("/p", "root", 7)
GROUP = bytes(large.GROUP_BYTES)


def test_addresses_and_versions_are_read_strictly() -> None:
    read = access.parse_address("etcd://10.0.0.1,[fd00::1]:1234,etcd.example:2379/a/b/")
    assert read.endpoints == ("10.0.0.1:2379", "[fd00::1]:1234", "etcd.example:2379")
    assert str(read) == "etcd://10.0.0.1:2379,[fd00::1]:1234,etcd.example:2379/a/b"
    for wrong in ("http://h/p", "etcd://h", "etcd://h/", "etcd://u:p@h/x", "etcd://h,h/x", "etcd://h:0/x",
                  "etcd://h/x?y", "etcd:///x", "etcd://h/x y", "etcd://h/../x//"):  # fmt: skip
        with pytest.raises(errors.UsageError):
            access.parse_address(wrong)
    for good in ("3.4.22", "3.4.33", "3.5.6", "3.5.17", "3.6.0-rc.1", "4.0.0"):
        access.check_version(good, "h:1")
    for bad in ("", "2.3.8", "3.3.27", "3.4.21", "3.5.0", "3.5.5", "none"):
        with pytest.raises(errors.RefusedError, match="version"):
            access.check_version(bad, "h:1")


def test_a_password_is_never_shown_and_never_sent_in_clear_elsewhere() -> None:
    far = access.parse_address("etcd://10.0.0.1/x")
    with pytest.raises(errors.UsageError, match="in clear"):
        access.check(access.Access(far, user="mic", password="s3cret"))
    near = access.Access(access.parse_address("etcd://127.0.0.1/x"), user="mic", password="s3cret")
    assert access.check(near) is near
    assert "s3cret" not in repr(near)
    assert access.parse_user("mic:s3:cret\n") == ("mic", "s3:cret")
    for wrong in ("", "mic", "mic:", ":x", "\nmic:x"):
        with pytest.raises(errors.UsageError) as raised:
            access.parse_user(wrong)
        assert "x" not in raised.value.message


def test_the_settings_of_an_engine_are_kept_for_their_owner_alone(tmp_path: pathlib.Path) -> None:
    root = disk.DirectoryDisk(tmp_path)
    assert engine.load(root) is None
    used = access.Access(access.parse_address("etcd://127.0.0.1/x"), "", "mic", "s3cret")
    engine.save(root, used)
    assert engine.load(root) == used
    assert (tmp_path / engine.FILE).stat().st_mode & 0o777 == 0o600
    root.write(engine.FILE, b"{")
    with pytest.raises(errors.DamagedError):
        engine.load(root)
    engine.save(root, None)
    assert engine.load(root) is None


@hypothesis.given(
    st.lists(
        st.binary(max_size=6) | st.binary(max_size=4).map(lambda v: b"\x00\xff" + v), min_size=2, max_size=2
    )
)
def test_a_value_is_read_as_it_was_put_and_compares_as_it_did(values: list[bytes]) -> None:
    one, other = values
    assert [large.opened(large.sealed(value)) for value in values] == values
    assert (large.sealed(one) < large.sealed(other)) == (one < other)


@hypothesis.given(st.lists(st.integers(0, 400_000), max_size=8))
def test_values_over_the_bound_are_named_and_nothing_is_lost(sizes: list[int]) -> None:
    puts = tuple(commands.put(b"%d" % at, bytes([at]) * size) for at, size in enumerate(sizes))
    parted = large.part(commands.Txn(success=puts), GROUP)
    assert all(len(piece) <= large.PIECE_BYTES for piece in parted.pieces)
    assert bool(parted.pieces) <= (sum(sizes) > large.INLINE_BYTES // 2)
    for put, stored in zip(puts, parted.txn.success, strict=True):
        assert isinstance(stored, commands.Put)
        found = large.opened(stored.value)
        if isinstance(found, large.Reference):
            found = parted.pieces[found.piece][found.offset : found.offset + found.size]
        assert found == put.value
    assert (
        sum(len(one.value) for one in parted.txn.success if isinstance(one, commands.Put))
        <= large.INLINE_BYTES
    )


def test_what_is_no_value_of_ours_is_damage() -> None:
    for broken in (b"\x00\xff", b"\x00\xffR", b"\x00\xffX12345678901234567890", b"\x00\xffR" + bytes(40)):
        with pytest.raises(errors.DamagedError):
            large.opened(broken)


def allowed(asked: messages.Message, room: int = transactions.MAX_OPERATIONS) -> bool:
    """Etcd's own rule: what a level holds is taken off the room of those below it."""
    branches = [asked.get("success", []), asked.get("failure", [])]
    width = max(len(asked.get("compare", [])), *map(len, branches))
    below = [one["request_txn"] for one in itertools.chain(*branches) if "request_txn" in one]
    return width <= room and all(allowed(one, room - width) for one in below)


def puts_in(asked: list[messages.Message]) -> list[bytes]:
    found = []
    for one in asked:
        if "request_put" in one:
            found.append(one["request_put"]["key"])
        elif "request_txn" in one and not one["request_txn"].get("compare"):
            found += puts_in(one["request_txn"]["success"])
    return found


@hypothesis.given(
    st.integers(0, 3900), st.integers(0, 200), st.integers(0, transactions.COMPARES), st.integers(0, 1)
)
@hypothesis.settings(max_examples=40)
def test_many_operations_are_nested_as_etcd_takes_them(
    done: int, else_done: int, compared: int, known: int
) -> None:
    request = commands.RequestId(1, 2, 2) if known else None
    compare = (commands.absent(b"c"),) * compared
    success = tuple(commands.put(b"s%d" % at, b"") for at in range(done))
    failure = tuple(commands.put(b"f%d" % at, b"") for at in range(else_done))
    try:
        asked = transactions.encoded(large.Parted(commands.Txn(compare, success, failure, request)), OURS)
    except errors.TooLargeError:
        assert compared > 40
        return
    assert allowed(asked)
    root = keys.Root("/p", "root")
    assert puts_in(asked["success"])[known:] == [root.data(put.key) for put in success]
    inner = asked["failure"][-1]["request_txn"]["success"]
    assert puts_in(inner)[known:] == [root.data(put.key) for put in failure]
    assert not done or "request_put" in asked["success"][known]  # etcd's quota looks no deeper


def test_a_refusal_says_whether_anything_was_done() -> None:
    fates = {
        "etcdserver: no leader": refusals.Fate.NOT_NOW,
        "etcdserver: request timed out": refusals.Fate.UNKNOWN,
        "etcdserver: leader changed": refusals.Fate.UNKNOWN,
        "etcdserver: mvcc: database space exceeded": refusals.Fate.REFUSED,
        "etcdserver: invalid auth token": refusals.Fate.LOGIN,
        "what nobody has ever heard of": refusals.Fate.UNKNOWN,
    }
    assert {text: refusals.judge(messages.Refusal(14, text)).fate for text in fates} == fates


def test_keys_of_users_and_of_the_store_never_meet() -> None:
    root = keys.Root("/p", "root")
    ours = [root.session(1), root.request(1, 2), root.piece(GROUP, 3), root.holders(GROUP)]
    assert not [key for key in ours if key.startswith(root.data(b""))]
    assert root.key(root.data(b"/config/target")) == b"/config/target"
    assert root.end(commands.EVERY_KEY_END) == root.end(b"") > root.data(b"\xff" * 1024)
    assert names.ClusterId("c") == keys.Guard(1, names.ClusterId("c"), "r").cluster
