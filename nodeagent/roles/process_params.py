"""Parameters of the role type `process`, and what can be known from them alone; light to import."""

import pathlib
import re
import shutil
import signal
from typing import Annotated

import msgspec

from coordinator import limits, role
from nodeagent.roles import durations

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
STOP_TIMEOUT_MAX_S = 40.0  # below limits.NODE_STOP_TIMEOUT_S, so that a node can end its programs in peace
assert limits.NODE_STOP_TIMEOUT_S > STOP_TIMEOUT_MAX_S

Text = Annotated[str, msgspec.Meta(min_length=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Duration = Annotated[str, msgspec.Meta(pattern=durations.PATTERN)]


def signal_number(name: str) -> int:
    """Raises ValueError for a name the system does not know."""
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise ValueError(f"no such signal (got {name!r})") from None


class Ready(role.Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When it counts as doing its work; exactly one of these."""

    tcp: Port | None = None
    """A connection to the role's address and this port is taken."""
    exec: tuple[Text, ...] | None = None
    """This command exits with status 0."""
    after: Duration | None = None
    """It still runs after this time."""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        given = [name for name in ("tcp", "exec", "after") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"ready takes exactly one of tcp, exec, after (got {', '.join(given) or 'none'})"
            )
        if self.exec is not None and not self.exec:
            raise ValueError("ready.exec is empty")


class Stop(role.Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How it is asked to end; after the time-out it is killed with all it started."""

    signal: str = "SIGTERM"
    timeout: Duration = f"{limits.STOP_TIMEOUT_S:g}s"

    def __post_init__(self) -> None:
        """Raises ValueError."""
        signal_number(self.signal)
        if durations.seconds(self.timeout) > STOP_TIMEOUT_MAX_S:
            raise ValueError(f"stop.timeout is too long (got {self.timeout}, have {STOP_TIMEOUT_MAX_S:g}s)")


class ProcessParams(role.Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One program; `{files} {server} {address} {role} {site}` are replaced in command, environment and files."""

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    directory: str = ""
    """Absolute; left out: the node's directory."""
    files: dict[str, str] = msgspec.field(default_factory=dict)
    """Written under the node's directory, which `{files}` names."""
    reload: str | None = None
    """A signal that makes the program read its files again: a change of `files` alone is then hot."""
    ready: Ready = Ready(after="1s")
    stop: Stop = Stop()
    stateful: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not self.command[0]:
            raise ValueError("the first word of command is empty")
        if self.directory and not self.directory.startswith("/"):
            raise ValueError(f"directory is not absolute (got {self.directory!r})")
        if self.reload is not None:
            signal_number(self.reload)
        for name in self.files:
            if FILE_NAME.fullmatch(name) is None:
                raise ValueError(
                    f"file name is not a plain name of letters, digits, '.', '_' and '-' (got {name!r})"
                )
        for name in self.environment:
            if not name or "=" in name or "\0" in name:
                raise ValueError(f"not a name for an environment variable (got {name!r})")


def hot(old: role.Params, new: role.Params) -> bool:
    """Only `files` changed, and the program reads them again on a signal."""
    assert isinstance(old, ProcessParams)
    assert isinstance(new, ProcessParams)
    return new.reload is not None and msgspec.structs.replace(old, files=new.files) == new


def changed(old: ProcessParams, new: ProcessParams) -> tuple[str, ...]:
    """Names of the parameters that differ."""
    return tuple(name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name))


def ports(params: role.Params) -> tuple[int, ...]:
    """The port it is probed on is the one it listens on."""
    assert isinstance(params, ProcessParams)
    return () if params.ready.tcp is None else (params.ready.tcp,)


def stateful(params: role.Params) -> bool:
    """Only the document knows what an unknown program keeps."""
    assert isinstance(params, ProcessParams)
    return params.stateful


def missing(params: role.Params) -> tuple[str, ...]:
    """What of it is not on this machine: the program, the directory. Placeholders are known only where it runs."""
    assert isinstance(params, ProcessParams)
    found = []
    for command in (params.command, params.ready.exec):
        program = command[0] if command else ""
        if program and "{" not in program and shutil.which(program) is None:
            found.append(f"there is no program {program!r} that can be run")
    if params.directory and "{" not in params.directory and not pathlib.Path(params.directory).is_dir():
        found.append(f"there is no directory {params.directory!r}")
    return tuple(found)
