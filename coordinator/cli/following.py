"""The command `events -f`: what happens, as it happens, over restarts of whatever answers.

Law: an event is printed once; what could not be told one by one is said to be missing, never passed over.
"""

import urllib.parse
from collections.abc import Iterator
from typing import Any, NoReturn

import click
import msgspec

from coordinator import errors
from coordinator.cli import (
    answers,
    answers_looking,
    client,
    exits,
    looking,
    options,
    printing,
    session,
    waiting,
)

SILENCE_S = 40.0  # the server says at least something every 15 s
AGAIN_S = 1.0
_OURS = frozenset({"state", "reset", "coordinator"})


@click.command()
@click.option("-f", "--follow", is_flag=True, help="As they happen, until Ctrl-C.")
@click.option("--after", default="", metavar="ID", help="Go on after this event.")
@options.system
@printing.output("table", "json")
def events(after: str, form: str, *, follow: bool) -> int:
    """What happens: revisions, rollouts, servers that change. As JSON, one event a line."""
    shown = session.current()
    if not follow:
        raise errors.UsageError(
            "events are told as they happen", hint="tiercast events -f; `tiercast history` tells what was"
        )
    told = _Told(shown, form, after)
    try:
        told.follow(shown.client())
    except KeyboardInterrupt:
        shown.tell(f"to go on: tiercast events -f --after {told.last}" if told.last else "interrupted")
        return exits.Exit.INTERRUPTED


class _Told:
    """What has been printed, up to the event `last`."""

    def __init__(self, shown: session.Session, form: str, after: str) -> None:
        self._shown = shown
        self._form = form
        self.last = after
        self._waits = ""

    def follow(self, asked: client.Client) -> NoReturn:
        """For ever. Raises `TiercastError` for what waiting cannot mend."""
        while True:
            try:
                for number, kind, data in events_of(asked.follow(self._ask())):
                    self._waits = ""
                    self._take(number, kind, data)
                why = "the stream has ended"
            except errors.TiercastError as problem:
                if client.code_of(problem) not in waiting.PASSING:
                    raise
                why = problem.message
            if why != self._waits:
                self._waits = why
                self._shown.tell(f"{why}; trying again")
            self._shown.sleep(AGAIN_S)

    def _ask(self) -> client.Ask:
        query = f"?{urllib.parse.urlencode({'after': self.last})}" if self.last else ""
        headers = {"Accept": "text/event-stream"}
        return client.Ask(
            path=f"{client.CFG}/events{query}", headers=headers, timeout_s=SILENCE_S, patient=False
        )

    def _take(self, number: str, kind: str, data: bytes) -> None:
        if kind not in _OURS:
            self.last = number
            self._print(data)
            return
        if kind == "coordinator":
            state = msgspec.json.decode(data, type=dict[str, Any]).get("state", "")
            self._shown.tell(f"coordinator (MIC): {state}")
            return
        if kind == "reset":
            self._shown.tell("some events are not kept any more; this is how it is now:")
        self.last = number
        view = msgspec.json.decode(data, type=answers.StatusView)
        self._shown.tell(session.clean(looking.plain_headline(view)))

    def _print(self, data: bytes) -> None:
        if self._form == "json":
            self._shown.say(data.decode())
        else:
            self._shown.say_coloured(
                [line(self._shown, msgspec.json.decode(data, type=answers_looking.Event))]
            )


def events_of(lines: Iterator[bytes]) -> Iterator[tuple[str, str, bytes]]:
    """(id, kind, data) of a stream of server-sent events; comments are passed over."""
    fields: dict[bytes, bytes] = {}
    for raw in lines:
        if raw:
            key, _, value = raw.partition(b": ")
            fields[key] = value
            continue
        if b"data" in fields:
            kind, number = fields.get(b"event", b"message"), fields.get(b"id", b"")
            yield number.decode(errors="replace"), kind.decode(errors="replace"), fields[b"data"]
        fields = {}


def line(shown: session.Session, one: answers_looking.Event) -> str:
    """One event for people."""
    moment = printing.moment(one.wall)
    clean = session.clean
    match one.kind:
        case "revision":
            why = f": {one.message}" if one.message else ""
            told = f"revision {one.version} by {one.author}{why}"
            return f"{moment}  {clean(told)}"
        case "rollout":
            numbers = f"ready {one.ready} of reachable {one.reachable} of asked {one.asked}"
            return f"{moment}  rollout {clean(one.rollout)}  {shown.coloured(clean(one.now))}: {numbers}"
        case "server":
            was = f"{clean(one.before)} -> " if one.before else ""
            reason = f": {clean(one.reason)}" if one.reason else ""
            return f"{moment}  {clean(one.server)} ({clean(one.site)})  {was}{shown.coloured(clean(one.now))}{reason}"
        case "site":
            counts = ", ".join(f"{number} {state}" for state, number in one.counts.items())
            return f"{moment}  site {clean(one.site)}: {clean(counts)}"
        case _:
            return f"{moment}  {clean(one.kind)} {clean(one.id)}"
