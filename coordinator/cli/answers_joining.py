"""What the command line reads of the answers about servers that come and go."""

import msgspec


class LineMade(msgspec.Struct, frozen=True):
    id: str
    line: str
    server: str
    expires: float
    at: tuple[str, ...]


class LineView(msgspec.Struct, frozen=True):
    id: str
    state: str
    server: str
    server_id: str
    author: str
    made: float
    expires: float


class Lines(msgspec.Struct, frozen=True):
    lines: tuple[LineView, ...]


class Seat(msgspec.Struct, frozen=True):
    server_id: str
    server: str
    state: str
    site: str = ""
