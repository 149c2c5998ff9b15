"""Tells a story of a few lines to the simulated world and writes down what it answers.

A line is a command; what it answers stands behind `->`. `#` begins a remark. `STORIES=rewrite pytest tests/scenarios`
writes the answers anew; read the difference before you keep it.

    site NAME: SERVERS [via SERVERS]    who is where, and who holds its ICs (the first server, if nothing is said)
    apply | prepare | activate | held SERVERS | enroll S | place S SITE | remove S | roles S COUNT MODE | mode S MODE | large
    full S ROLE | room S ROLE | said
    off S | on S | cut PLACE [PLACE] | heal | crash SERVER ROLE | restart S | wipe S
    picky S | easy S | forget S
    wait SECONDS | settle | status | accepted S | parent S | processes S | sent S
"""

import collections
from collections.abc import Callable

from coordinator import names
from coordinator.propagation import convergence, events, intake, messages
from nodeagent.servershell import events as shell_events
from tests.simulation import documents, network, servers, world

ARROW = " -> "
SETTLE_S = 60.0
COLUMN = 44
FULL_BYTES = 50_000


class Story:
    """One world and what has happened in it."""

    def __init__(self) -> None:
        self.world: world.World | None = None
        self._design = documents.Design({}, {}, {})
        self._heals: list[Callable[[], None]] = []
        self._sent: collections.Counter[str] = collections.Counter()
        self._accepted: dict[str, list[str]] = {}

    def tell(self, line: str) -> str:
        """Do what it says; the answer, empty where there is none."""
        word, *rest = line.split()
        answer: str | None = getattr(self, f"do_{word}")(*rest)
        return answer or ""

    # --- the stage ------------------------------------------------------------------------------------------------

    def do_site(self, name: str, *rest: str) -> None:
        members = list(rest[: rest.index("via")] if "via" in rest else rest)
        site = name.removesuffix(":")
        self._design.sites[site] = members
        holders = rest[rest.index("via") + 1 :] if "via" in rest else ()
        if len(holders) > 1:
            self._design.second[site] = holders[1]
        for server in members:
            self._design.add_role(server)

    @property
    def stage(self) -> world.World:
        """Built when the first command needs it: every server is enrolled and on."""
        if self.world is None:
            self.world = made = world.World(0, self._design, network.Weather())
            made.engine.run(30.0, lambda: made.mic is not None)
            made.network.watch = self._watch(made, made.network.watch)
            for server in self._design.everyone():
                if server != documents.MASTER:
                    self.do_enroll(server)
            made.run(2.0)
        return self.world

    def _watch(
        self, stage: world.World, before: Callable[[network.Peer, messages.AnyFrame], None]
    ) -> Callable[[network.Peer, messages.AnyFrame], None]:
        def watch(process: network.Peer, frame: messages.AnyFrame) -> None:
            before(process, frame)
            if isinstance(process, servers.ShellProcess):
                self._sent.update(_kinds(process.host, frame))
                content = process.machine.content
                version = "nothing" if content.target is None else str(content.version)
                known = self._accepted.setdefault(process.host, [])
                if known[-1:] != [version]:
                    known.append(version)

        return watch

    def _server(self, name: str) -> servers.Server:
        return self.stage.servers[name]

    # --- the administrator ----------------------------------------------------------------------------------------

    def do_apply(self) -> str:
        self._design.turn(self.stage.applies + 1)
        version = self.stage.apply()
        return "no coordinator" if version is None else str(version)

    def do_prepare(self) -> str:
        self._design.turn(self.stage.applies + 1)
        version = self.stage.prepare()
        return "no coordinator" if version is None else str(version)

    def do_activate(self) -> str:
        version = self.stage.activate()
        return "no coordinator" if version is None else str(version)

    def do_held(self, *servers: str) -> str:
        """How far the body of the prepared revision has come."""
        shells = [(server, self._server(server).shell) for server in servers]
        return " ".join(
            f"{server} {'off' if shell is None else shell.machine.intake.holding.stage.value}"
            for server, shell in shells
        )

    def do_said(self) -> str:
        """What ICs answer MIC about what is prepared."""
        stage = self.stage
        assert stage.mic is not None
        stage.mic.check()
        stage.run(1.0)
        return ", ".join(f"{role} {told}" for role, told in sorted(stage.mic.said.items()))

    def do_enroll(self, server: str) -> None:
        self.stage.enroll(server)
        self._server(server).start()

    def do_place(self, server: str, site: str) -> None:
        self._design.add_server(site, server)
        self._design.add_role(server)

    def do_remove(self, server: str) -> None:
        self._design.remove_server(server)

    def do_roles(self, server: str, count: str, mode: str) -> None:
        for _ in range(int(count)):
            self._design.add_role(server, mode=mode)

    def do_mode(self, server: str, mode: str) -> None:
        for role, where in self._design.workers.items():
            if where == server:
                self._design.params[role]["mode"] = mode

    def do_large(self) -> None:
        self._design.padding = 300_000

    # --- the world ------------------------------------------------------------------------------------------------

    def do_off(self, server: str) -> None:
        self._server(server).power_off()

    def do_on(self, server: str) -> None:
        self._server(server).power_on()

    def do_wipe(self, server: str) -> None:
        self._server(server).lose_disk()

    def do_restart(self, server: str) -> None:
        self._server(server).crash_shell(0.5)

    def do_cut(self, place: str, other: str = "") -> None:
        ours = self._design.sites.get(place, [place])
        theirs = self._design.sites.get(other, [other]) if other else list(self.stage.servers)
        self._heals.append(self.stage.network.cut(list(ours), [one for one in theirs if one not in ours]))

    def do_heal(self) -> None:
        while self._heals:
            self._heals.pop()()

    def do_crash(self, server: str, role: str) -> None:
        nodes = self._server(server).nodes
        pid = next(pid for pid, node in nodes.items() if names.RoleName(role) in node.hosted)
        self._server(server).kill_node(pid)

    def do_full(self, server: str, role: str) -> None:
        """No body of more than a few pages fits on its disk."""
        self._server(server).states[names.RoleName(role)].room = FULL_BYTES

    def do_room(self, server: str, role: str) -> None:
        self._server(server).states[names.RoleName(role)].room = None

    def do_picky(self, server: str) -> None:
        shell = self._server(server).shell
        assert shell is not None
        shell.machine.intake._check = lambda _body: intake.Refusal("invalid_document", "not here")

    def do_easy(self, server: str) -> None:
        shell = self._server(server).shell
        assert shell is not None
        shell.machine.intake._check = lambda _body: None
        shell.call(lambda now: shell.machine.handle(shell_events.Retry(), now))

    def do_forget(self, server: str) -> None:
        """MIC believes that a child of its own still has the first document."""
        assert self.stage.mic is not None
        first = self.stage.checks.issued[names.Version(1, 1)]
        for child in self.stage.mic.machine.publisher.children.values():
            if child.peer == self._server(server).id:
                child.holds = first

    # --- looking --------------------------------------------------------------------------------------------------

    def do_wait(self, seconds: str) -> None:
        self.stage.run(float(seconds))

    def do_settle(self) -> str:
        stage = self.stage
        done = stage.engine.run(stage.engine.now + SETTLE_S, stage.converged)
        return self.do_status() if done else f"not within {SETTLE_S:.0f} s; {self.do_status()}"

    def do_status(self) -> str:
        picture = self.stage.picture
        if picture is None:
            return "no coordinator"
        summary = picture.summary
        counts = f"ready {summary.ready} of reachable {summary.reachable} of asked {summary.asked}"
        late = [
            f"{asked.name} {picture.facts[server].sync}"
            for server, asked in sorted(picture.asked.items())
            if picture.facts[server].sync is not convergence.Sync.CONVERGED
        ]
        return "; ".join([f"{picture.version} {summary.state}: {counts}", *late])

    def do_accepted(self, server: str) -> str:
        return " ".join(self._accepted.get(server, []))

    def do_parent(self, server: str) -> str:
        shell = self._server(server).shell
        parent: events.Parent | None = None if shell is None else shell.machine.subscriber.parent
        return "none" if parent is None else f"{parent.server}:{parent.port}"

    def do_processes(self, server: str) -> str:
        return str(self._server(server)._pids)

    def do_sent(self, server: str) -> str:
        """Of configuration, since this was asked last."""
        found = {key: count for key, count in self._sent.items() if key.startswith(f"{server} ")}
        for key in found:
            del self._sent[key]
        return (
            ", ".join(f"{key.removeprefix(server + ' ')} x{found[key]}" for key in sorted(found)) or "nothing"
        )


def _kinds(host: str, frame: messages.AnyFrame) -> list[str]:
    match frame:
        case messages.Offer(body=body):
            how = "" if body is None else " with a delta" if body.base else " with the whole"
            return [f"{host} offer{how}"]
        case messages.Chunk(base=base, offset=0):
            return [f"{host} {'delta' if base else 'whole'} in pieces"]
        case _:
            return []


def retold(text: str) -> str:
    """The same story with the answers that the world gives today."""
    story = Story()
    lines = []
    for line in text.splitlines():
        command = line.partition(ARROW.rstrip())[0].rstrip()
        answer = story.tell(command) if command and not command.startswith("#") else ""
        lines.append(f"{command:<{COLUMN}}{ARROW.strip()} {answer}" if answer else command)
    return "\n".join(lines) + "\n"
