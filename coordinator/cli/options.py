"""Options that several commands share: which system, what a command prints, how long it waits."""

from collections.abc import Callable
from typing import Any

import click

from coordinator import errors
from coordinator.cli import completing, session
from coordinator.host import durations

_Command = Callable[..., Any]


def system(command: _Command) -> _Command:
    """`--server` and `--context`, of every command that asks the API."""
    for option in (
        click.option(
            "--server",
            metavar="URL",
            expose_value=False,
            callback=_kept("server"),
            help="Ask here (TIERCAST_SERVER).",
        ),
        click.option(
            "--context",
            metavar="NAME",
            expose_value=False,
            callback=_kept("context"),
            help="Of `tiercast context list`.",
            shell_complete=completing.known_contexts,
        ),
    ):
        command = option(command)
    return command


def context(command: _Command) -> _Command:
    """`--context` alone, of a command whose `--server` names something else."""
    return click.option(
        "--context",
        metavar="NAME",
        expose_value=False,
        callback=_kept("context"),
        help="Of `tiercast context list`.",
        shell_complete=completing.known_contexts,
    )(command)


def _kept(field: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def keep(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        shown = context.find_object(session.Session)
        if value and shown is not None:
            setattr(shown, field, value)

    return keep


class Duration(click.ParamType[float]):
    """`90s`, `5m`."""

    name = "duration"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:  # noqa: ANN401 click's own signature
        if isinstance(value, float):
            return value
        try:
            return durations.seconds(str(value))
        except errors.UsageError as error:
            self.fail(f"{error.message}; {error.hint}", parameter, context)


class Place(click.ParamType[str]):
    """`10.1.0.11:7401`, `[fd00::11]:7401`."""

    name = "place"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:  # noqa: ANN401 click's own signature
        host, _, port = str(value).rpartition(":")
        if (
            not host
            or (host.startswith("["), host.endswith("]")) != ((":" in host),) * 2
            or not port.isdecimal()
            or int(port) > 65535
        ):
            self.fail(
                f"not a place (got {value!r}); write HOST:PORT, such as 10.1.0.11:7401", parameter, context
            )
        return str(value)


def examples(*lines: str) -> str:
    """What stands below the options of a command's help, each line as it is."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


yes = click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
message = click.option("-m", "--message", default="", help="Why; stands in the history.")
dry_run = click.option("--dry-run", is_flag=True, help="Judge and show the plan, change nothing.")
if_revision = click.option(
    "--if-revision",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Only if N is the active revision.",
)
wait = click.option(
    "--wait", "level", type=click.Choice(("none", "reachable", "all")), default="reachable", show_default=True,
    help="How far to wait.",
)  # fmt: skip
timeout = click.option(
    "--timeout",
    type=Duration(),
    default="10m",
    show_default=True,
    help="Stop waiting then; the rollout goes on.",
)
