"""Settings: how one process runs (never the configuration, which is the document), and where its files are.

From flags and `TIERCAST_*` variables. A worker node reads this too, hence msgspec rather than pydantic.
"""

import enum
import hashlib
import pathlib
from collections.abc import Mapping

import msgspec

from coordinator import errors, limits

PREFIX = "TIERCAST_"


class LogForm(enum.StrEnum):
    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Of one process; each field is also the variable `TIERCAST_<FIELD>`."""

    dir: str = "/var/lib/tiercast"
    log_form: LogForm = LogForm.AUTO
    log_level: LogLevel = LogLevel.INFO


def read(environment: Mapping[str, str], flags: Mapping[str, str | None] | None = None) -> Settings:
    """Flags win over variables, variables over defaults. Raises `UsageError`."""
    fields = Settings.__struct_fields__
    found = {
        field: environment[PREFIX + field.upper()]
        for field in fields
        if PREFIX + field.upper() in environment
    }
    found |= {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return msgspec.convert(found, Settings)
    except msgspec.ValidationError as wrong:
        raise errors.UsageError(
            f"a setting cannot be used: {wrong}", hint="see `tiercast server run --help`"
        ) from None


class Layout:
    """Where everything stands below a server's directory."""

    def __init__(self, root: str | pathlib.Path) -> None:
        self.root = pathlib.Path(root).absolute()
        self.identity = self.root / "identity"
        self.ledger = self.root / "ledger"
        self.store = self.root / "store"
        self.nodes = self.root / "nodes"
        self.state = self.root / "state"
        self.run = self.root / "run"
        self.logs = self.root / "logs"

    def socket(self, name: str) -> str:
        """Path of a Unix socket under `run`; a long name becomes its hash. Raises `UsageError` where no name fits."""
        short = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.sock"
        paths = [str(self.run / file) for file in (f"{name}.sock", short)]
        for path in paths:
            if len(path.encode()) <= limits.UNIX_PATH_BYTES:
                return path
        found = f"(got {len(paths[-1].encode())}, have {limits.UNIX_PATH_BYTES})"
        raise errors.UsageError(f"the path of a socket is too long {found}", hint="choose a shorter --dir")
