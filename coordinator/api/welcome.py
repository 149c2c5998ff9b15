"""What a browser is shown that comes to `/`: what this is, and where to go.

Law: the same text for everybody, without a word about the system: neither its names nor its version.
"""

from coordinator.api import routes

_TEXT = """\
This is the web role of a Tiercast system. It has no pages yet.

From a terminal, on a machine that has a context of this system:

    tiercast status
    tiercast --help

From a program, with a token (tiercast admin token create NAME):

    curl --cacert ca.pem -H "Authorization: Bearer TOKEN" https://HERE/api/admin/v1/cfg/status

For everybody:

"""


def text() -> str:
    """With the open paths as they stand in the table."""
    width = max(len(path) for path in routes.OPEN)
    return _TEXT + "".join(f"    {path.ljust(width)}  {what}\n" for path, what in routes.OPEN.items())
