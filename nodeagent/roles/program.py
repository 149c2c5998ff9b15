"""What a `process` role puts on disk and into the environment, and what it checks before it starts anything.

Law: `check` changes nothing; every refusal has a stable code and names what is missing.
"""

import os
import pathlib
import shutil
import socket

import msgspec

from coordinator import effects, role
from nodeagent.roles import ports, process_params
from nodeagent.supervision import leftovers

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Program(msgspec.Struct, frozen=True):
    """Parameters in their place."""

    params: process_params.ProcessParams
    context: role.Context

    @property
    def files_directory(self) -> pathlib.Path:
        return pathlib.Path(self.context.node_directory) / "files" / self.context.role

    @property
    def directory(self) -> pathlib.Path:
        """Where it runs."""
        return pathlib.Path(self.params.directory or self.context.node_directory)

    def command(self, argv: tuple[str, ...]) -> effects.Command:
        """One of its commands, ready to start."""
        return effects.Command(
            argv=tuple(self._filled(word) for word in argv),
            environment=self.environment(),
            directory=str(self.directory),
            log_path=self.context.log_path,
        )

    def environment(self) -> dict[str, str]:
        """Nothing of ours is inherited; the marks come last, so that leftovers can always be found."""
        context = self.context
        own = {name: self._filled(value) for name, value in self.params.environment.items()}
        return {
            "PATH": SEARCH_PATH,
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),
            "TIERCAST_SERVER": context.server,
            "TIERCAST_SITE": context.site,
            "TIERCAST_ADDRESS": context.address,
            **own,
            "TIERCAST_SOCKET": context.socket,
            **leftovers.mark(pathlib.Path(context.node_directory), context.role),
        }

    def check(self, *, port_is_ours: bool) -> None:
        """Raises RoleRefusedError: `directory_missing`, `command_missing`, `command_not_executable`,
        `address_missing`, `port_taken`.
        """
        if not self.directory.is_dir():
            raise role.RoleRefusedError("directory_missing", f"no such directory: {self.directory}")
        self._check_command(self._filled(self.params.command[0]))
        if self.params.ready.exec is not None:
            self._check_command(self._filled(self.params.ready.exec[0]))
        if self.params.ready.tcp is not None and not port_is_ours:
            _check_port(self.context.address, self.params.ready.tcp)

    def write_files(self) -> None:
        """Replace each file at once, and take away those that are not wanted any more."""
        directory = self.files_directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in self.params.files.items():
            _replace(directory / name, self._filled(text).encode())
        for path in directory.iterdir():
            if path.name not in self.params.files:
                path.unlink()

    def _check_command(self, word: str) -> None:
        path = self.environment()["PATH"]
        if "/" not in word:
            if shutil.which(word, path=path) is None:
                raise role.RoleRefusedError("command_missing", f"no command {word!r} in {path}")
            return
        program = self.directory / word
        made_by_us = program.parent == self.files_directory and program.name in self.params.files
        if made_by_us:
            raise role.RoleRefusedError(
                "command_not_executable", f"files are not executable, name an interpreter first: {word}"
            )
        if not program.is_file():
            raise role.RoleRefusedError("command_missing", f"no such command: {word}")
        if not os.access(program, os.X_OK):
            raise role.RoleRefusedError("command_not_executable", f"not executable: {word}")

    def _filled(self, text: str) -> str:
        """Only these five words in braces mean something; every other brace stays."""
        for name, value in (
            ("{files}", str(self.files_directory)),
            ("{server}", self.context.server),
            ("{address}", self.context.address),
            ("{role}", self.context.role),
            ("{site}", self.context.site),
        ):
            text = text.replace(name, value)
        return text


def _replace(path: pathlib.Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)


def _check_port(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return  # the program may hold a right that we do not
        except OSError as error:
            raise ports.refusal(error, address, port) from error
