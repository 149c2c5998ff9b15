"""What the MIC of `tests.upstream` answers about people, tokens, domains and the audit."""

from typing import Any

from coordinator import names
from coordinator.tiers import requests, requests_people

MADE = 1_700_000_000.0
ISSUED = requests_people.Issued(
    token="tca_000000000001_" + "5e" * 32,
    id="000000000001",
    name="ada",
    domain="acme",
    role="administrator",
    expires=MADE + 43_200.0,
)
ADA = requests_people.PersonView("ada", "acme", "administrator", True, 2, "", MADE, "admin")
CI = requests_people.PersonView("ci", "branch", "viewer", False, 1, "nightly report", MADE, "bea@branch")
TOKEN = requests_people.TokenView(
    "000000000002", "ci", "branch", "viewer", "api", ("cfg:r",), "nightly report", MADE, "bea@branch",
    MADE + 7_776_000.0, False,
)  # fmt: skip
USERS = requests_people.EntityView("users", "ldap1", "n1", "of the directory", MADE, "ada")
DOMAINS = requests_people.DomainsView(
    (
        requests_people.DomainView("acme", "acme.example", True, ("central",), 1, 1, ()),
        requests_people.DomainView("branch", "branch.acme.example", False, ("north",), 2, 1, (USERS,)),
        requests_people.DomainView("old", "", False, (), 1, 0, (), configured=False),
    )
)
CARRIED = requests_people.Carried(
    format="tiercast-domain/1",
    domain="branch",
    cluster="cluster",
    exported=MADE,
    people=(requests_people.CarriedPerson("ci", "viewer", "", "nightly report"),),
    entities=(requests_people.CarriedEntity("users", "ldap1", "of the directory"),),
    digest="d" * 64,
)


def audited(number: int, **changes: Any) -> requests_people.AuditView:
    plain = {
        "number": number,
        "at": MADE + number,
        "who": "ada",
        "source": "10.9.9.9",
        "verb": "cfg.apply",
        "outcome": "ok",
        "detail": "revision 42: more web servers",
        "request": f"q{number}",
        "digest": "e" * 64,
        "version": names.Version(1, 42),
    }
    return requests_people.AuditView(**{**plain, **changes})


REFUSED = audited(
    8,
    who="bea@branch",
    outcome="not_allowed",
    detail="cfg.apply is for the master domain alone (got branch, have need of acme)",
)
STRANGER = audited(
    7, who="", verb="people.login", outcome="unauthenticated", detail="wrong name or password (for 'x@acme')"
)
PAGE = requests_people.AuditPage((audited(9), REFUSED, STRANGER), 3, 9, 7, True)
Verb = requests.Verb
GOOD: dict[str, Any] = {
    Verb.LOGIN: ISSUED,
    Verb.CLAIM: ISSUED,
    Verb.LOGOUT: requests_people.Done("ada is logged out"),
    Verb.PEOPLE: requests_people.PeopleView((ADA, CI)),
    Verb.PERSON_ADD: requests_people.Done("ci of acme was added, viewer"),
    Verb.PERSON_REMOVE: requests_people.Done("ci of acme was removed, and 1 token with them"),
    Verb.PERSON_ROLE: requests_people.Done("ci of acme is operator"),
    Verb.PERSON_PASSWORD: requests_people.Done("the password of ada of acme was set; 0 other logins ended"),
    Verb.TOKENS: requests_people.TokensView((TOKEN,)),
    Verb.TOKEN_CREATE: ISSUED,
    Verb.TOKEN_REVOKE: requests_people.Done("token 000000000002 of ci of branch revoked"),
    Verb.DOMAINS: DOMAINS,
    Verb.ATTACH: requests_people.Done("users of branch is attached to ldap1"),
    Verb.DETACH: requests_people.Done("users of branch is detached from ldap1"),
    Verb.DOMAIN_EXPORT: CARRIED,
    Verb.DOMAIN_IMPORT: requests_people.Imported("branch", ("ci",), (), 0),
    Verb.AUDIT: PAGE,
}
