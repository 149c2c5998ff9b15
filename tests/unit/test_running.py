"""Starting a server: a clock that is certainly wrong is said, and stops nothing."""

from coordinator import names
from coordinator.trust import authority, certificates
from nodeagent.main import running

WALL = 1_790_000_000.0
DAY = 86_400.0


def test_a_clock_behind_the_making_of_the_own_identity_is_found() -> None:
    ours = authority.create_authority(names.ClusterId("aa"), WALL)
    identity = authority.enrolled(ours, names.ServerId("bb"), WALL)
    assert running.clock_behind_s(identity, WALL) == 0
    assert running.clock_behind_s(identity, WALL + 400 * DAY) == 0
    assert running.clock_behind_s(identity, WALL - 30 * DAY) == 30 * DAY - certificates.BACKDATED_S
