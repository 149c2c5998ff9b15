"""From what came by HTTP to the request that MIC understands: people, tokens, domains and the audit.

Whether a name exists and who may ask are MIC's to say. No I/O.
Law: every builder either returns its request or raises a `TiercastError` that says what to write instead.
"""

import msgspec

from coordinator import errors
from coordinator.api import forms
from coordinator.host import durations
from coordinator.tiers import requests_people as people


def login(given: forms.Given) -> people.Login:
    return forms.decoded(given, people.Login)


def claim(given: forms.Given) -> people.Claim:
    return forms.decoded(given, people.Claim)


def logout(_given: forms.Given) -> people.Logout:
    return people.Logout()


def listed(given: forms.Given) -> people.ListPeople:
    return people.ListPeople(given.query.get("domain", ""))


def add(given: forms.Given) -> people.AddPerson:
    return forms.decoded(given, people.AddPerson)


def remove(given: forms.Given) -> people.RemovePerson:
    return people.RemovePerson(forms.name(given, "name"), forms.name(given, "domain"))


def role(given: forms.Given) -> people.SetRole:
    asked = forms.decoded(given, people.SetRole)
    return msgspec.structs.replace(asked, name=forms.name(given, "name"), domain=forms.name(given, "domain"))


def password(given: forms.Given) -> people.SetPassword:
    asked = forms.decoded(given, people.SetPassword)
    return msgspec.structs.replace(asked, name=forms.name(given, "name"), domain=forms.name(given, "domain"))


def tokens(given: forms.Given) -> people.ListTokens:
    return people.ListTokens(given.query.get("domain", ""), given.query.get("person", ""))


def create_token(given: forms.Given) -> people.CreateToken:
    return forms.decoded(given, people.CreateToken, empty=people.CreateToken())


def revoke_token(given: forms.Given) -> people.RevokeToken:
    return people.RevokeToken(forms.name(given, "token"))


def domains(_given: forms.Given) -> people.ListDomains:
    return people.ListDomains()


def attach(given: forms.Given) -> people.Attach:
    asked = forms.decoded(given, people.Attach)
    return msgspec.structs.replace(asked, domain=forms.name(given, "domain"))


def detach(given: forms.Given) -> people.Detach:
    return people.Detach(forms.name(given, "entity"), forms.name(given, "domain"))


def export(given: forms.Given) -> people.ExportDomain:
    return people.ExportDomain(forms.name(given, "domain"))


def take(given: forms.Given) -> people.ImportDomain:
    asked = forms.decoded(given, people.ImportDomain)
    return msgspec.structs.replace(asked, domain=forms.name(given, "domain"))


def audit(given: forms.Given) -> people.ListAudit:
    """`since` is written as a span by people and as seconds since 1970 by programs."""
    plain = people.ListAudit()
    return people.ListAudit(
        oldest_first=forms.flag(given, "oldest_first"),
        before=forms.number(given, "before", plain.before),
        after=forms.number(given, "after", plain.after),
        limit=forms.number(given, "limit", plain.limit),
        since=_since(given),
        who=given.query.get("who", ""),
        verb=given.query.get("verb", ""),
        outcome=given.query.get("outcome", ""),
        wait_s=min(durations.seconds(given.query.get("wait", "0s")), forms.WAIT_S),
    )


def _since(given: forms.Given) -> float:
    text = given.query.get("since", "0")
    try:
        return float(forms.number(given, "since", 0))
    except errors.UsageError as wrong:
        raise errors.UsageError(
            f"since is a moment in seconds since 1970 (got {text[:40]!r})", hint="such as since=1700000000"
        ) from wrong
