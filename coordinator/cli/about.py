"""Commands about the command line itself: `version`, `completion`."""

import importlib.metadata
import platform

import click
import msgspec

from coordinator.cli import exits, printing, session

DISTRIBUTION = "tiercast"


@click.command()
@printing.output("table", "json", "yaml")
def version(form: str) -> int:
    """Which version this is."""
    shown = session.current()
    number = importlib.metadata.version(DISTRIBUTION)
    python = platform.python_version()
    structured = printing.structured(form, msgspec.json.encode({"tiercast": number, "python": python}))
    shown.say(structured if structured is not None else f"tiercast {number} (python {python})")
    return exits.Exit.OK


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> int:
    """Print what makes a shell complete commands: eval "$(tiercast completion bash)"."""
    from click import shell_completion  # noqa: PLC0415 nothing else needs it

    shown = session.current()
    root = click.get_current_context().find_root()
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    shown.raw(kind(root.command, {}, "tiercast", "_TIERCAST_COMPLETE").source())
    return exits.Exit.OK
