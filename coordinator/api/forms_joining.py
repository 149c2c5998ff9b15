"""From what came by HTTP to the request that MIC understands: join lines, and servers that come and go. No I/O."""

import msgspec

from coordinator.api import forms
from coordinator.tiers import requests_joining


class Naming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name for a server that has none."""

    name: str


class Expelling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: str = ""
    """For the audit."""


def create(given: forms.Given) -> requests_joining.CreateLine:
    return forms.decoded(given, requests_joining.CreateLine, empty=requests_joining.CreateLine())


def lines(given: forms.Given) -> requests_joining.ListLines:
    return requests_joining.ListLines(every=forms.flag(given, "all"))


def revoke(given: forms.Given) -> requests_joining.RevokeLine:
    return requests_joining.RevokeLine(forms.name(given, "token"))


def accept(given: forms.Given) -> requests_joining.Accept:
    return requests_joining.Accept(forms.name(given, "server"), forms.decoded(given, Naming).name)


def expel(given: forms.Given) -> requests_joining.Expel:
    said = forms.decoded(given, Expelling, empty=Expelling())
    return requests_joining.Expel(server=forms.name(given, "server"), reason=said.reason)
