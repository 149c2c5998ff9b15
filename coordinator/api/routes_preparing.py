"""Rows of prepared revisions: ship one, look at how far it has come, take it back."""

from coordinator.api import forms, forms_configuration, routing
from coordinator.tiers import requests, requests_preparing


def _withdraw(given: forms.Given) -> requests_preparing.Withdraw:
    return forms.decoded(given, requests_preparing.Withdraw, empty=requests_preparing.Withdraw())


def _look(_given: forms.Given) -> requests_preparing.Look:
    return requests_preparing.Look()


ROUTES = (
    routing.Route(
        method="POST",
        path=f"{routing.CFG}/prepare",
        verb=requests.Verb.PREPARE,
        build=forms_configuration.apply,
        takes=requests.Apply,
        gives=requests_preparing.Prepared,
        permission=routing.Permission.ADMINISTRATOR,
        summary="Ship a document to every reachable server and have it checked there; nothing of it runs.",
        body=routing.Body.DOCUMENT,
        query=("name", "message", "dry_run", "if_revision"),
        codes=(*routing.DOCUMENT_CODES, *routing.CHANGE_CODES),
        mutates=True,
    ),
    routing.Route(
        method="POST",
        path=f"{routing.CFG}/withdraw",
        verb=requests.Verb.WITHDRAW,
        build=_withdraw,
        takes=requests_preparing.Withdraw,
        gives=requests_preparing.Withdrawn,
        permission=routing.Permission.ADMINISTRATOR,
        summary="Nothing is prepared any more.",
        body=routing.Body.SMALL,
        codes=(
            *("too_large", "media_type", "slow"),
            *("not_found", "conflict", "reused_key", "unknown_outcome", "no_space"),
        ),
        mutates=True,
    ),
    routing.Route(
        method="GET",
        path=f"{routing.CFG}/prepared",
        verb=requests.Verb.PREPARED,
        build=_look,
        takes=requests_preparing.Look,
        gives=requests_preparing.PreparedView,
        permission=routing.Permission.VIEWER,
        summary="How far the prepared revision has come, and what cannot work where.",
        codes=("not_found",),
    ),
)
