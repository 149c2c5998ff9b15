"""Where the demo stands: the document as edited so far, who was seen to run, and how each claim is checked.

Whatever changed is observed by asking the running programs (`observe`), never from `status`; the command line is asked
only for what it alone can say: who is parked, who is absent, that the rollout it waits for has converged.
"""

import pathlib
import time
from collections.abc import Callable

from bench.demo import editions, engine, observe, place, show, world
from bench.demo.observe import UnseenError

READY_S = 60.0
WAIT = "80s"  # an apply that has not settled by then names who it waits for
LOOK_S = 0.1
NORTH = "north"


class Story:
    """One run of the demo."""

    def __init__(self, at: world.World, shown: show.Show, kind: engine.Kind = engine.Kind.RAFT) -> None:
        self.world = at
        self.engine = kind
        self.show = shown
        self.programs: editions.Programs = {}
        self.processes: dict[str, observe.Process] = {}
        """By role, as last seen."""
        self.fixed: dict[observe.Endpoint, observe.Process] = {}
        """Who holds the ports of MIC, WS and the ServerShells; checked after every step."""
        self.closing = ""
        """The last word of the rollout that everybody had to reach."""
        self._text = place.document().read_text(encoding="utf-8")

    # --- the document ---------------------------------------------------------------------------------------------

    def file(self, edition: editions.Edition) -> pathlib.Path:
        """Where its text is; the first is the example itself."""
        if not edition.edits:
            return place.document()
        return self.world.root / f"two-sites-{edition.revision}.yaml"

    def edit(self, edition: editions.Edition) -> list[str]:
        """Write the edition's file; the lines that differ."""
        old, self._text = self._text, editions.edited(self._text, edition.edits)
        self.file(edition).write_text(self._text, encoding="utf-8")
        return editions.differing(old, self._text)

    def apply_words(self, edition: editions.Edition, level: str) -> tuple[str, ...]:
        """The command that makes it active."""
        return ("apply", str(self.file(edition)), "--yes", "--wait", level, "--timeout", WAIT)

    # --- who runs -------------------------------------------------------------------------------------------------

    def see(self, edition: editions.Edition, *, central: bool = False) -> dict[str, observe.Process]:
        """See every program of the edition answer; those that ran before. Raises `UnseenError`."""
        before = self.processes
        programs = {r: p for r, p in edition.programs.items() if not (central and is_north(p))}
        self.processes = dict(observe.seen(programs, edition.revision))
        self.programs = programs
        return before

    def kept(self, before: dict[str, observe.Process]) -> None:
        """Raises `UnseenError` where one of these has restarted."""
        for role, process in before.items():
            now = self.processes[role]
            if now != process:
                raise UnseenError(f"{role} was not to restart (got pid {now.pid}, had {process.pid})")

    def hold(self, *endpoints: observe.Endpoint) -> None:
        """From now on whoever listens there is not to change."""
        for endpoint in endpoints:
            self.fixed[endpoint] = observe.holder(endpoint)

    def held(self) -> None:
        """MIC, WS and the ServerShells are who they were. Raises `UnseenError`."""
        for endpoint, process in self.fixed.items():
            now = observe.holder(endpoint)
            if now != process:
                where = f"{endpoint[0]}:{endpoint[1]}"
                raise UnseenError(f"{where} was not to restart (got pid {now.pid}, had {process.pid})")

    # --- the command line -----------------------------------------------------------------------------------------

    def run(self, *words: str) -> world.Ran:
        """A command that must succeed. Raises `UnseenError`."""
        return good(self.world.run(*words))

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Return once it holds. Raises `UnseenError` where it takes too long, or a ServerShell has ended."""
        until = time.monotonic() + READY_S
        while not condition():
            if fallen := self.world.fallen():
                raise UnseenError(f"the ServerShell of {', '.join(fallen)} has ended by itself")
            if time.monotonic() > until:
                raise UnseenError(f"{what}: not within {READY_S:g} s")
            time.sleep(LOOK_S)


def good(ran: world.Ran) -> world.Ran:
    """Raises `UnseenError` where the command did not succeed."""
    if ran.code:
        told = f"{ran.out}\n{ran.talk}".strip()
        raise UnseenError(f"`tiercast {' '.join(ran.words)}` exits with {ran.code}: {told}")
    return ran


def converged(ran: world.Ran) -> str:
    """The closing line of an apply that everybody reached. Raises `UnseenError`."""
    if not good(ran).last.startswith("converged: "):
        raise UnseenError(f"`converged` was to be its last line (got {ran.last!r})")
    return ran.last


def is_north(program: editions.Program) -> bool:
    """Whether it runs on the site that loses its power."""
    return place.PLACES[program.server].site == NORTH
