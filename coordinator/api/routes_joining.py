"""Rows of servers that come and go: join lines, a name for whoever has none, and the way out."""

from coordinator.api import forms_joining, routing
from coordinator.tiers import requests, requests_joining

_CHANGE = ("too_large", "media_type", "slow", "conflict", "unknown_outcome", "no_space")

ROUTES = (
    routing.Route(
        method="POST",
        path=f"{routing.ADMIN}/tokens",
        verb=requests.Verb.LINE_CREATE,
        build=forms_joining.create,
        takes=requests_joining.CreateLine,
        gives=requests_joining.LineMade,
        permission=routing.Permission.ADMINISTRATOR,
        summary="Make a join line; its secret is told this once.",
        body=routing.Body.SMALL,
        success=201,
        codes=_CHANGE,
        mutates=True,
    ),
    routing.Route(
        method="GET",
        path=f"{routing.ADMIN}/tokens",
        verb=requests.Verb.LINES,
        build=forms_joining.lines,
        gives=requests_joining.Lines,
        permission=routing.Permission.OPERATOR,
        summary="Join lines, newest first, without their secrets.",
        query=("all",),
    ),
    routing.Route(
        method="POST",
        path=f"{routing.ADMIN}/tokens/{{token}}/revoke",
        verb=requests.Verb.LINE_REVOKE,
        build=forms_joining.revoke,
        gives=requests_joining.LineView,
        permission=routing.Permission.ADMINISTRATOR,
        summary="Nobody joins by this line any more.",
        body=routing.Body.SMALL,
        codes=(*_CHANGE, "not_found"),
        mutates=True,
    ),
    routing.Route(
        method="POST",
        path=f"{routing.ADMIN}/servers/{{server}}/accept",
        verb=requests.Verb.ACCEPT,
        build=forms_joining.accept,
        takes=forms_joining.Naming,
        gives=requests_joining.Seat,
        permission=routing.Permission.ADMINISTRATOR,
        summary="Give a name to a server that joined without one.",
        body=routing.Body.SMALL,
        codes=(*_CHANGE, "not_found"),
        mutates=True,
    ),
    routing.Route(
        method="POST",
        path=f"{routing.ADMIN}/servers/{{server}}/expel",
        verb=requests.Verb.EXPEL,
        build=forms_joining.expel,
        takes=forms_joining.Expelling,
        gives=requests_joining.Seat,
        permission=routing.Permission.ADMINISTRATOR,
        summary="Revoke a server's identity: it is out at once, for ever, and its name is free.",
        body=routing.Body.SMALL,
        codes=(*_CHANGE, "not_found", "refused"),
        mutates=True,
    ),
)
