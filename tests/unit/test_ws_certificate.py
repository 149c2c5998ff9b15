"""Which HTTPS certificate a web role keeps, and when it wants another one, while CAs follow each other."""

import pathlib
from collections.abc import Sequence

import pytest

from coordinator import names, role
from coordinator.hop import credentials
from coordinator.host import disk
from coordinator.propagation import messages, mirror
from coordinator.runtime import home, ws_certificate
from coordinator.tiers import upstream
from coordinator.trust import authority, certificates, signing
from nodeagent.supervision import launcher
from tests import micworld

pytestmark = pytest.mark.anyio
ADDRESS = "10.1.0.11"


class Stand:
    """A server with a web role, its directory and its clock; MIC is away."""

    def __init__(self, root: pathlib.Path) -> None:
        self.clock = micworld.Clock()
        self.first = authority.create_authority(micworld.CLUSTER, self.clock.wall())
        self.next = self.first.with_new_ca(self.clock.wall())
        self.disk = disk.DirectoryDisk(root)
        self.state = root / "state" / "ws1"
        self.state.mkdir(parents=True)
        self.own = credentials.Credentials(self.identity(self.first), self.clock, [self.first.ca_pem])

    def identity(self, of: authority.Authority) -> authority.Identity:
        return authority.enrolled(of, micworld.FIRST, self.clock.wall())

    def certificate(self) -> ws_certificate.Certificate:
        raw = self.first.first_trust()
        body = signing.Keyring.trusting(raw, micworld.CLUSTER).body
        content = mirror.Content(mirror.SignedTrust(raw, body))
        here = home.Home(self.disk, self.own.identity, raw, content, None, self.own)
        context = self.context()
        link = upstream.Upstream(here.me(messages.ChildKind.WS, context), content, here.ground(context))
        return ws_certificate.Certificate(context, here, link)

    def context(self) -> role.Context:
        place = str(self.state)
        return role.Context(
            role=names.RoleName("ws1"),
            server=names.ServerName("c1"),
            site=names.SiteName("central"),
            address=ADDRESS,
            node_directory=place,
            state_directory=place,
            server_directory=str(self.state.parent.parent),
            log_path="",
            socket="",
            clock=self.clock,
            random=micworld.Random(),
            launcher=launcher.LinuxLauncher(),
            view=lambda: role.View(names.NO_VERSION, names.Digest(""), b""),
            changed=lambda: None,
            background=lambda _act: None,
        )

    def put(self, of: authority.Authority, addresses: Sequence[str] = (ADDRESS,)) -> None:
        """What an earlier start, or somebody, has left in the directory."""
        key = certificates.new_key()
        made = authority.issue_https(of, certificates.public_pem(key), addresses, ["c1"], self.clock.wall())
        kept = disk.DirectoryDisk(self.state)
        kept.write(ws_certificate.KEY_FILE, key)
        kept.write(ws_certificate.CERTIFICATE_FILE, made)


@pytest.fixture
def stand(tmp_path: pathlib.Path) -> Stand:
    return Stand(tmp_path)


async def test_one_of_an_older_ca_is_shown_as_long_as_that_counts_and_another_is_wanted(stand: Stand) -> None:
    """The name of the CA was compared, which all of them share: it stayed for half a year."""
    stand.put(stand.first)
    one = stand.certificate()
    kept = one.kept()
    assert kept is not None
    assert not one.due(kept)
    stand.own.trust((stand.first.ca_pem, stand.next.ca_pem))
    stand.own.renew(stand.identity(stand.next))
    assert one.kept() == kept
    assert one.due(kept)
    stand.own.trust((stand.next.ca_pem,))
    assert one.kept() is None


async def test_one_of_a_foreign_ca_of_the_same_name_is_not_shown(stand: Stand) -> None:
    foreign = authority.create_authority(micworld.CLUSTER, stand.clock.wall())
    stand.put(foreign)
    assert stand.certificate().kept() is None


async def test_a_server_on_which_mic_ran_once_issues_none_with_the_keys_of_those_days(stand: Stand) -> None:
    stand.first.save(stand.disk)
    one = stand.certificate()
    made = one.here()
    assert made is not None
    assert certificates.is_of(made.certificate, stand.first.ca_pem)
    stand.own.trust((stand.first.ca_pem, stand.next.ca_pem))
    assert one.here() is None
