"""`tiercast bench ...`: how fast it is on your machine. One command per question; each is loaded when it is used."""

import importlib

import click

from bench import signals
from coordinator.host import grouping

COMMANDS = {
    "compare": "bench.compare:compare",
    "convergence": "bench.convergence:convergence",
    "documents": "bench.documents:documents",
    "growth": "bench.growth:growth",
    "herd": "bench.links:herd",
    "idle": "bench.links:idle",
    "api": "bench.api.command:api",
    "kv": "bench.kv.command:kv",
    "propagation": "bench.propagation.command:propagation",
    "report": "bench.report:report",
    "store": "bench.store.command:store",
}


class _Group(grouping.Group):
    """Loads a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's own signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 as above
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Group)
def bench() -> None:
    """How fast it is on this machine, side by side with others."""
    click.get_current_context().with_resource(signals.as_interrupts())
