"""What goes wrong in a world, drawn by chance; every fault ends by itself, and all have ended before the last phase."""

import random
from collections.abc import Callable

from coordinator import names
from tests.simulation import documents, network, servers, tiers, world

CALM = network.Weather()
ACTIVATED = 0.7  # of what is prepared
FULL = 0.4  # of what is prepared, it is large and some disk has no room for it
ROOM_BYTES = 50_000
LARGE_BYTES = 400_000


class Faults:
    """Draws one fault at a time and ends it some time later."""

    def __init__(self, stage: world.World) -> None:
        self._world = stage
        self._rng = stage.engine.rng
        self._over = False
        self._heals: dict[int, Callable[[], None]] = {}
        self._count = 0
        self.kinds: tuple[tuple[int, Callable[[], None]], ...] = (
            (30, self.apply),
            (4, self.prepare),
            (6, self.ask),
            (6, self.crash_shell),
            (8, self.crash_node),
            (3, self.reboot),
            (3, self.cut_power_while_writing),
            (8, self.cut_pair),
            (8, self.cut_site),
            (4, self.cut_one_way),
            (6, self.pause),
            (3, self.slow_disk),
            (8, self.snap),
            (3, self.away),
            (2, self.lose_disk),
            (2, self.restore_disk),
            (2, self.fail_spawns),
            (4, self.flap),
            (1, self.rotate_keys),
        )
        self._weights = [weight for weight, _ in self.kinds]

    def one(self) -> None:
        """Something happens."""
        if not self._over:
            self._world.faults += 1
            act = self._rng.choices(self.kinds, self._weights)[0][1]
            self._world.engine.note(act.__name__)
            act()

    def end(self) -> None:
        """The last fault heals: everything is up, connected and as fast as it was."""
        self._over = True
        for heal in list(self._heals.values()):
            heal()
        self._heals.clear()
        self._world.network.weather = CALM
        self._world.ground.disk_delay_s.clear()
        for server in self._world.servers.values():
            server.spawns_fail = 0
            for disk in (server.disk, *server.states.values()):
                disk.cut_in = disk.room = None
            server.up = True
            server.start()

    def _later(self, low: float, high: float, heal: Callable[[], None]) -> None:
        """Heal it after a while, or at the end."""
        self._count += 1
        number = self._count
        self._heals[number] = heal

        def due() -> None:
            found = self._heals.pop(number, None)
            if found is not None:
                found()

        self._world.engine.after(self._rng.uniform(low, high), due)

    def _server(self) -> servers.Server:
        return self._world.servers[self._rng.choice(list(self._world.servers))]

    # --- kinds ----------------------------------------------------------------------------------------------------

    def apply(self) -> None:
        self._world.design.bend(self._rng, self._world.parked())
        self._world.apply()

    def prepare(self) -> None:
        """Ship a revision beside the active one, and often activate it a while later."""
        self._world.design.bend(self._rng, self._world.parked())
        self._fill_disk()
        version = self._world.prepare()
        if version is not None and self._rng.random() < ACTIVATED:
            self._later(0.5, 20.0, lambda: self._activate(version))

    def _fill_disk(self) -> None:
        """Drawn apart: what else happens in a world does not depend on it."""
        rng, engine = random.Random(self._world.faults), self._world.engine
        if rng.random() >= FULL:
            return
        server = self._world.servers[rng.choice(list(self._world.servers))]
        disk = rng.choice([server.disk, *server.states.values()])
        self._world.design.padding, disk.room = LARGE_BYTES, ROOM_BYTES

        def heal() -> None:
            disk.room = None

        engine.after(rng.uniform(5.0, 90.0), heal)

    def _activate(self, version: names.Version) -> None:
        if self._world.office.prepared == version:
            self._world.activate()

    def ask(self) -> None:
        if self._world.mic is not None:
            self._world.mic.ask(self._server().id)

    def crash_shell(self) -> None:
        self._server().crash_shell(self._rng.uniform(0.2, 8.0))

    def crash_node(self) -> None:
        server = self._server()
        if server.nodes:
            server.kill_node(self._rng.choice(list(server.nodes)))

    def reboot(self) -> None:
        server = self._server()
        server.power_off()
        self._later(1.0, 15.0, server.power_on)

    def away(self) -> None:
        """For long, and the world goes on."""
        server = self._server()
        if server.name != documents.MASTER:
            server.power_off()
            self._later(30.0, 90.0, server.power_on)

    def cut_power_while_writing(self) -> None:
        server = self._server()
        for disk in (server.disk, *server.states.values()):
            disk.cut_in = self._rng.randrange(3)
        self.apply()

    def cut_pair(self) -> None:
        one, other = self._server().name, self._server().name
        self._later(0.5, 40.0, self._world.network.cut([one], [other]))

    def cut_one_way(self) -> None:
        one, other = self._server().name, self._server().name
        self._later(0.5, 40.0, self._world.network.cut([one], [other], both=False))

    def cut_site(self) -> None:
        """All its servers, from everyone else."""
        sites = self._world.design.sites
        site = self._rng.choice(list(sites))
        rest = [name for name in self._world.servers if name not in sites[site]]
        self._later(1.0, 90.0, self._world.network.cut(list(sites[site]), rest))

    def pause(self) -> None:
        server = self._server()
        stage = self._world
        found: list[servers.ShellProcess | tiers.RelayProcess | tiers.MasterProcess] = [
            one for one in stage.relays.values() if one.alive
        ]
        if server.shell is not None and server.shell.alive:
            found.append(server.shell)
        if stage.mic is not None:
            found.append(stage.mic)
        if found:
            self._rng.choice(found).pause(self._rng.uniform(0.5, 12.0))

    def slow_disk(self) -> None:
        host = self._server().name
        self._world.ground.disk_delay_s[host] = self._rng.uniform(0.05, 3.0)
        self._later(5.0, 40.0, lambda: self._fast(host))

    def _fast(self, host: str) -> None:
        self._world.ground.disk_delay_s.pop(host, None)

    def snap(self) -> None:
        self._world.network.snap()

    def lose_disk(self) -> None:
        """A server comes back with an empty ledger, or an IC does."""
        server = self._server()
        server.power_off()
        if server.states and self._rng.random() < 0.5:
            role = self._rng.choice(list(server.states))
            server.states[role].files.clear()
            self._world.checks.disk_lost(f"{role} on {server.name}")
        elif server.name != documents.MASTER:
            server.lose_disk()
        self._later(1.0, 10.0, server.power_on)

    def restore_disk(self) -> None:
        """A server comes back from a backup of a while ago."""
        server = self._server()
        if server.name == documents.MASTER:
            return
        kept = dict(server.disk.files)

        def restore() -> None:
            server.power_off()
            server.disk.files = kept
            self._world.checks.disk_lost(f"shell {server.name}")
            self._later(1.0, 10.0, server.power_on)

        self._later(10.0, 60.0, restore)

    def fail_spawns(self) -> None:
        self._server().spawns_fail = self._rng.randrange(1, 4)

    def flap(self) -> None:
        for node in self._server().nodes.values():
            for hosted in node.hosted.values():
                if self._rng.random() < 0.5:
                    hosted.flap()

    def rotate_keys(self) -> None:
        self._world.office.rotate()
        self._world.serve()


def design(rng: random.Random) -> documents.Design:
    """Two or three sites of two to four servers, with a role or two each."""
    sites = {documents.MASTER_SITE: [documents.MASTER]}
    for site in ("central", "north", "south")[: rng.choice((2, 3))]:
        for number in range(1, rng.randint(2, 4) + 1):
            server = f"{site[0]}{number}"
            if server not in sites.setdefault(site, []):
                sites[site].append(server)
    made = documents.Design(sites, {}, {})
    for server in made.everyone():
        for _ in range(rng.randint(1, 2)):
            made.add_role(server)
    return made


def weather(rng: random.Random) -> network.Weather:
    """Half the worlds have TCP; the others lose, repeat and reorder frames within a connection."""
    slow = rng.choice((0.01, 0.05, 0.3))
    if rng.random() < 0.5:
        return network.Weather((0.0005, slow))
    return network.Weather(
        (0.0005, slow), rng.choice((0.0, 0.01, 0.05)), rng.choice((0.0, 0.02)), reliable=False
    )
