"""The configuration document as data: one frozen struct per noun, its canonical bytes and their digest.

May not read text for people (that is `config.reading`) nor judge anything but shape (that is `config.validation`).
Law: `decode(canonical(d)) == d`, and `canonical` does not depend on the order of keys. Templates stay templates.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from coordinator import names

SCHEMA = "tiercast/1"
CORE_TYPES = ("mic", "ic", "dc", "ws")

SiteType = Literal["master", "communication", "master_communication"]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every part of the document: an unknown key is an error, a default is not written."""


class General(Struct, frozen=True):
    """What the system is."""

    master_domain: str


class Aliases(Struct, frozen=True):
    """Names for values that many places use; `alias://paths/data` stands for `paths["data"]`."""

    paths: Mapping[str, str] = {}


class Domain(Struct, frozen=True):
    """A domain of administration."""

    fqdn: str
    description: str = ""


class Template(Struct, frozen=True):
    """What many roles share."""

    type: names.RoleTypeName
    interface: str | None = None
    group: str | None = None
    enabled: bool | None = None
    separate: bool | None = None
    node: str | None = None
    params: Mapping[str, Any] = {}


class Site(Struct, frozen=True):
    """A place with servers."""

    type: SiteType
    domains: tuple[str, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = {}
    former: tuple[names.SiteName, ...] = ()
    """Old names, during a rename."""


class Server(Struct, frozen=True):
    """A machine, or at least an address with a ServerShell on it."""

    interfaces: Mapping[str, str]
    control: str | None = None
    """The interface where ServerShell answers; may be left out if there is one."""
    labels: Mapping[str, str] = {}
    paths: Mapping[str, str] = {}
    """Of this server alone; they go before `aliases.paths`."""
    former: Mapping[str, tuple[str, ...]] = {}
    """Old addresses by interface, still accepted while listed."""


class Role(Struct, frozen=True):
    """A program with parameters; where it runs stands in `structure`."""

    type: names.RoleTypeName | None = None
    """May be left out where `like` names a template."""
    like: str | None = None
    interface: str | None = None
    order: int | None = None
    group: str | None = None
    id: int | None = None
    enabled: bool | None = None
    separate: bool | None = None
    node: str | None = None
    params: Mapping[str, Any] = {}


class Requirements(Struct, frozen=True):
    """Role types that must be present, each enabled at least once."""

    every_communication_site: tuple[names.RoleTypeName, ...] = ()


class Override(Struct, frozen=True):
    """Somebody takes a rule of change upon themselves, for some days."""

    reason: str
    author: str
    expires: dt.date


class Transition(Struct, frozen=True):
    """Marks a document on the way between two; written by the planner only."""

    plan: str
    relaxes: tuple[str, ...] = ()


class Document(Struct, frozen=True):
    """The whole system: who exists, and what runs where."""

    schema: str
    general: General
    aliases: Aliases = Aliases()
    domains: Mapping[str, Domain] = {}
    templates: Mapping[str, Template] = {}
    sites: Mapping[names.SiteName, Site] = {}
    servers: Mapping[names.ServerName, Server] = {}
    roles: Mapping[names.RoleName, Role] = {}
    structure: Mapping[names.SiteName, Mapping[names.ServerName, tuple[names.RoleName, ...]]] = {}
    requirements: Requirements = Requirements()
    overrides: Mapping[str, Override] = {}
    """By the id of the overridden rule (`D4`)."""
    transition: Transition | None = None


class _Outline(Document, frozen=True):
    """A document whose large parts are not read yet."""

    servers: Mapping[names.ServerName, msgspec.Raw] = {}  # type: ignore[assignment]  # each is read on its own
    roles: Mapping[names.RoleName, msgspec.Raw] = {}  # type: ignore[assignment]  # as above
    structure: Mapping[names.SiteName, msgspec.Raw] = {}  # type: ignore[assignment]  # as above


_DECODER = msgspec.json.Decoder(Document)
_OUTLINE = msgspec.json.Decoder(_Outline)
_SERVER = msgspec.json.Decoder(Server)
_ROLE = msgspec.json.Decoder(Role)
_PLACES = msgspec.json.Decoder(Mapping[names.ServerName, tuple[names.RoleName, ...]])
_ENCODER = msgspec.json.Encoder(order="sorted")


def decode(body: bytes) -> Document:
    """The document in these canonical bytes. Raises `msgspec.DecodeError` (of which `ValidationError` is one)."""
    try:
        return _DECODER.decode(body)
    except (RecursionError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError(str(error)) from error


def decode_by_parts(body: bytes) -> Document:
    """As `decode`, for a thread: a large document is one step of the interpreter no longer, and other threads have turns."""
    try:
        outline = _OUTLINE.decode(body)
        return Document(
            schema=outline.schema,
            general=outline.general,
            aliases=outline.aliases,
            domains=outline.domains,
            templates=outline.templates,
            sites=outline.sites,
            servers={name: _SERVER.decode(raw) for name, raw in outline.servers.items()},
            roles={name: _ROLE.decode(raw) for name, raw in outline.roles.items()},
            structure={name: _PLACES.decode(raw) for name, raw in outline.structure.items()},
            requirements=outline.requirements,
            overrides=outline.overrides,
            transition=outline.transition,
        )
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return decode(body)  # which says where in the whole it is wrong


def canonical(document: Document) -> bytes:
    """JSON, keys sorted, defaults omitted, without spaces."""
    return _ENCODER.encode(document)


def digest(body: bytes) -> names.Digest:
    """Of the bytes as they are; nothing is re-encoded to verify."""
    return names.Digest(hashlib.sha256(body).hexdigest())
