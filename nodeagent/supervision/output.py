"""Log files of programs: appended to by the program itself, kept below a bound by us.

The program holds the file open and never learns of a rotation, so the file is copied and cut, not renamed: writes go
on at its new end, because it was opened for appending. A line written between copy and cut is lost.
"""

import contextlib
import os
import pathlib
import shutil


def rotate(path: pathlib.Path, limit_bytes: int) -> bool:
    """Move what is in `path` to `<path>.1` once it has reached the bound; True if it did."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size >= limit_bytes:
            older = path.with_name(path.name + ".1")
            shutil.copyfile(path, older)
            older.chmod(0o600)
            os.truncate(path, 0)
            return True
    return False


def last_line(path: pathlib.Path, size_bytes: int) -> str:
    """The end of what the program said, for a person who asks why it ended."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size_bytes))
            lines = file.read(size_bytes).decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines else ""
