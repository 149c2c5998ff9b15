"""The editions of the document that the demo applies, and what every program must answer under each.

The first is `examples/two-sites.yaml` as it stands; each further one is made as a person would make it, by changing a few
lines of its text. What the programs are to answer is written down here by hand: nothing of it is derived by the code
that is on trial.
"""

import difflib
from collections.abc import Mapping, Sequence

import msgspec

from coordinator import errors


class Edit(msgspec.Struct, frozen=True):
    """A piece of the text that stands there exactly once, and what takes its place."""

    old: str
    new: str


class Greeter(msgspec.Struct, frozen=True):
    """Answers a connection with one line that names the revision its server has accepted."""

    server: str
    port: int
    greeting: str

    def answer(self, role: str, revision: int) -> str:
        return f"{self.greeting} from {role} revision {revision}"


class Web(msgspec.Struct, frozen=True):
    """Answers HTTP with a page."""

    server: str
    port: int
    page: str

    def answer(self, _role: str, _revision: int) -> str:
        return self.page


Program = Greeter | Web
Programs = Mapping[str, Program]
"""By role; where each answers, and what."""


class Edition(msgspec.Struct, frozen=True):
    """One revision of the demo."""

    revision: int
    edits: tuple[Edit, ...]
    programs: Programs


BASIC = 1
"""The revision that `server init` makes: mic, dc and ws on the first server."""

_FIRST: Programs = {
    "greetc1": Greeter("c1", 9001, "good day"),
    "greetc2": Greeter("c2", 9002, "good day"),
    "greetc3": Greeter("c3", 9003, "good day"),
    "greetn1": Greeter("n1", 9011, "moin"),
    "greetn2": Greeter("n2", 9012, "moin"),
    "greetn3": Greeter("n3", 9013, "moin"),
    "webc1": Web("c2", 8080, "webc1 on c2 in central"),
    "webc2": Web("c3", 8080, "webc2 on c3 in central"),
    "webn1": Web("n2", 8080, "webn1 on n2 in north"),
    "webn2": Web("n3", 8081, "webn2 on n3 in north"),
}
_CHANGED: Programs = {
    **_FIRST,
    "greetc2": Greeter("c2", 9002, "how do you do"),
    "greetn3": Greeter("n3", 9013, "moin moin"),
    "webn1": Web("n3", 8080, "webn1 on n3 in north"),
    "webn2": Web("n3", 8082, "webn2 on n3 in north"),
    "webc3": Web("c1", 8080, "webc3 on c1 in central"),
}
_WITHOUT_NORTH: Programs = {
    role: msgspec.structs.replace(program, page=f"{program.page}, third edition")
    if isinstance(program, Web)
    else program
    for role, program in _CHANGED.items()
}
_CORRECTED: Programs = {
    **_WITHOUT_NORTH,
    "greetc1": Greeter("c1", 9001, "good evening"),
    "greetn1": Greeter("n1", 9011, "good evening"),
}

EXAMPLE = Edition(2, (), _FIRST)
CHANGE = Edition(
    3,
    (
        # hot: a greeting on each site
        Edit("{port: 9002, greeting: good day}", "{port: 9002, greeting: how do you do}"),
        Edit("{port: 9013, greeting: moin}", "{port: 9013, greeting: moin moin}"),
        # restart: webn2 gets another port
        Edit('http.server, "8081"', 'http.server, "8082"'),
        Edit("ready: {tcp: 8081}", "ready: {tcp: 8082}"),
        # move: webn1 from n2 to n3
        Edit("    n2:\n      - webn1\n", "    n2:\n"),
        Edit("    n3:\n      - webn2\n", "    n3:\n      - webn1\n      - webn2\n"),
        # start: webc3 is new, on c1 beside the coordinator
        Edit("  webc2: {like: web}\n", "  webc2: {like: web}\n  webc3: {like: web}\n"),
        Edit("      - icc1\n      - greetc1\n", "      - icc1\n      - webc3\n      - greetc1\n"),
    ),
    _CHANGED,
)
WITHOUT_NORTH = Edition(
    4,
    # hot in the template: every web server of both sites gets another page
    (Edit("{role} on {server} in {site}\n", "{role} on {server} in {site}, third edition\n"),),
    _WITHOUT_NORTH,
)
CORRECTED = Edition(
    5,
    (
        Edit("{port: 9001, greeting: good day}", "{port: 9001, greeting: good evening}"),
        Edit("{port: 9011, greeting: moin}", "{port: 9011, greeting: good evening}"),
    ),
    _CORRECTED,
)


def edited(text: str, edits: Sequence[Edit]) -> str:
    """The text with every edit made. Raises `UsageError` where a piece does not stand there exactly once."""
    for edit in edits:
        found = text.count(edit.old)
        if found != 1:
            raise errors.UsageError(
                f"the demo cannot edit the example: {edit.old.strip()!r} stands there {found} times",
                hint="take examples/two-sites.yaml as it came",
            )
        text = text.replace(edit.old, edit.new)
    return text


def differing(old: str, new: str) -> list[str]:
    """The lines that differ, marked + and -."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and not line.startswith(("+++", "---"))]
