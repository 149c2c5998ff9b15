"""`tiercast demo`: two sites of three servers on this machine, changed, cut off, and caught up; then nothing is left."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.demo import engine, show, world

FAILED = 1
INTERRUPTED = 130


@click.command()
@click.option("--keep", is_flag=True, help="Keep it running until Ctrl-C, and say how to look at it.")
@click.option(
    "--store",
    type=click.Choice(["raft", "etcd", "etcd3"]),
    default="raft",
    show_default=True,
    help="The engine of the coordinator's store: its own, or a private etcd of one or three members.",
)
def demo(keep: bool, store: str) -> int:
    """Two sites of three servers on this machine: apply, change, cut one site off, and see it catch up.

    Everything lives below one temporary directory that is gone at the end. Exits with 0 only if all of it was seen.
    """
    from bench.demo import engine, footing, show, world  # noqa: PLC0415 only this command needs them

    kind = engine.Kind(store)
    footing.check(kind)
    shown = show.Show()
    try:
        with _terminable(), world.World() as at:
            closing = _told(at, shown, kind, keep=keep)
    except KeyboardInterrupt:
        shown.say("interrupted: everything that ran is ended, the temporary directory is gone")
        return INTERRUPTED
    if not closing:
        return FAILED
    shown.say(closing)
    return 0


def _told(at: "world.World", shown: "show.Show", kind: "engine.Kind", *, keep: bool) -> str:
    """The closing line; empty where something was not seen."""
    from bench.demo import editions, engine, figures, observe, steps, story, tree  # noqa: PLC0415 as above

    shown.say(
        f"two sites of three servers on this machine, below {at.root}; the store's engine is {engine.told(kind)}"
    )
    try:
        told = story.Story(at, shown, kind)
        for step in steps.STEPS:
            step(told)
        tree.show(told, editions.CORRECTED.revision)
        figures.show(told)
        if keep:
            _keep(at, shown)
        if keep and (gone := _stopped(at)):  # somebody tried what happens then, as they should
            shown.say(f"ended by hand: {', '.join(gone)}; the rest ends now")
        else:
            steps.stop(told)
    except (observe.UnseenError, OSError) as wrong:
        shown.say(f"failed: {wrong}")
        shown.tails(at.telling_logs())
        return ""
    return told.closing


def _keep(at: "world.World", shown: "show.Show") -> None:
    """Until Ctrl-C."""
    shown.say("it stays until Ctrl-C; in another terminal:")
    shown.say(f"  export TIERCAST_CONTEXT_FILE={at.context_file}")
    shown.say("  tiercast status")
    shown.say("  tiercast describe n2")
    shown.say(f"  tiercast server status --dir {at.directory('n2')}")
    shown.say("  curl http://127.0.20.3:8080/")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()


def _stopped(at: "world.World") -> list[str]:
    """Servers that answer no command any more, though their process may still be on its way out."""
    return [name for name in at.shells if not (at.directory(name) / "run" / "shell.sock").exists()]


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does: in order."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
