"""Where ZooKeeper stands on this machine: its jars, as Debian's package puts them or as its own archive does."""

import pathlib
import shutil

DEBIAN = pathlib.Path("/usr/share/java/zookeeper.jar")  # its manifest names what it needs
_SCRIPT = "zkServer.sh"


def classpath() -> str:
    """For `java -cp`; empty where there is none."""
    if DEBIAN.is_file():
        return str(DEBIAN)
    libraries = _libraries()
    return f"{libraries}/*" if libraries is not None and any(libraries.glob("zookeeper-*.jar")) else ""


def version() -> str:
    """As a jar is called; empty where there is none."""
    libraries = DEBIAN.parent if DEBIAN.is_file() else _libraries()
    found = [] if libraries is None else sorted(libraries.glob("zookeeper-[0-9]*.jar"))
    return found[0].stem if found else ""


def _libraries() -> pathlib.Path | None:
    """Of the archive whose script is on the path."""
    script = shutil.which(_SCRIPT)
    return None if script is None else pathlib.Path(script).resolve().parent.parent / "lib"
